r"""
07 MABN from parts
==================

Modified batch normalisation (tutorial 06) has two batch statistics left: :math:`\chi`, the root mean square of the
inputs, in forward, and :math:`\Psi`, the mean of :math:`y_b u_b`, in backward. With two images per batch the first
is rough and the second mostly noise. Moving Average Batch Normalization, MABN, averages both over several batches,
the one in backward too. What is it made of, line by line?
"""

# %%
# Six batches of two
# ------------------
#
# One channel, six normalisation batches of two values each, and the gradients that the layers after it send back. The
# fourth batch happens to be large.

# sphinx_gallery_thumbnail_number = 2
from collections import deque

import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.norms import mabn, modified_batch_norm

np.set_printoptions(precision=4, suppress=True)

xs = [[1.0, -2.0], [0.5, 1.5], [-1.0, 2.0], [6.0, -4.0], [1.0, 1.0], [-0.5, 2.5]]
dzs = [[0.2, 0.9], [-0.4, 0.3], [0.7, 0.1], [-0.2, 0.6], [0.5, -0.8], [0.3, 0.3]]
xs, dzs = np.array(xs), np.array(dzs)
gamma, beta = 1.5, 0.1
window, decay, clip, eps = 3, 0.9, 1.5, 1e-5

# %%
# The forward statistic: a simple average
# ---------------------------------------
#
# Each batch has its mean square :math:`q_t`, :eq:`modified-statistics` (15). MABN divides by the root of the mean of
# the last :math:`m` of them, this batch's included, :eq:`sma-backward` (13). (Tutorial 04 gave the forward statistics
# the long average. It comes in below, as :math:`r`.) A ``deque`` of length :math:`m` forgets the oldest by itself.
# While there are fewer than :math:`m`, we take the mean of those; the paper does not say what to do.

held = deque(maxlen=window)
averaged = []
for x in xs:
    held.append(np.mean(x**2))
    averaged.append(np.mean(held))
of_batch, averaged = np.mean(xs**2, axis=1), np.array(averaged)
print("of the batch:", of_batch)
print("last three:  ", averaged)
number = [1, 2, 3, 4, 5, 6]
draw(
    "Six batches of two, and the mean of the last three",
    "batch (number)",
    "mean square (units of x²)",
    (number, of_batch, GREY, "o:", "of the batch"),
    (number, averaged, BLUE, "o-", "mean of the last three: divides"),
    height=2.6,
    xticks=number,
)

# %%
# The large batch moves the average, but only by a third of its own change. Then the values are divided by
# :math:`\bar\chi = \sqrt{\bar q + \epsilon}`, :eq:`mabn-forward` (19):
#
# .. math:: y_b = \frac{x_b}{\bar\chi} .

chi = np.sqrt(averaged + eps)
ys = xs / chi[:, None]
print(ys)

# %%
# The exponential average, and renormalisation
# --------------------------------------------
#
# Inference needs one fixed number, and uses an exponential average :math:`\hat q`, :eq:`ema-forward` (12). It starts
# at 1, and its decay :math:`\alpha` is the weight of the old value:
#
# .. math:: \hat q_t = \alpha \, \hat q_{t-1} + (1 - \alpha) \, q_t .
#
# Training and inference should agree. To this end, the normalised values are multiplied by the ratio of the two
# averages, :eq:`mabn-renormalise` (19), with :math:`\hat\chi = \sqrt{\hat q + \epsilon}` from before this batch. The
# ratio is clipped because :math:`\hat q` lags far behind at the start and whenever the weights move fast:
#
# .. math:: r = \operatorname{clip}_{[1/\lambda, \, \lambda]} \Big( \frac{\bar\chi}{\hat\chi} \Big), \qquad
#    z_b = \gamma \, ( r \, y_b ) + \beta .

ema, rs = 1.0, []
for q, chi_t in zip(of_batch, chi, strict=True):
    rs.append(np.clip(chi_t / np.sqrt(ema + eps), 1 / clip, clip))
    ema = decay * ema + (1 - decay) * q
r = np.array(rs)
zs = gamma * (r[:, None] * ys) + beta
print("r", r)
print("z of the last batch", zs[-1])

# %%
# Here :math:`r` reaches its clip, 1.5, in the first iteration, since the exponential average starts at 1, and again
# with the large batch. Where :math:`r` is not clipped, the value is :math:`r y_b = x_b / \hat\chi`, exactly as at
# inference.
#
# The backward statistic: a simple average
# ----------------------------------------
#
# The backward pass is that of modified batch normalisation, with an average in place of :math:`\Psi`,
# :eq:`mabn-backward` (20). Both :math:`\gamma` and :math:`r` stand between :math:`y` and :math:`z`, and :math:`r` is
# treated as a constant:
#
# .. math:: u_b = \gamma \, r \, \frac{\partial L}{\partial z_b}, \qquad \Psi_t = \frac1M \sum_b y_b u_b, \qquad
#    \frac{\partial L}{\partial x_b} = \frac{1}{\bar\chi} \big( u_b - y_b \bar\Psi_t \big) .

us = gamma * r[:, None] * dzs
psi = np.mean(ys * us, axis=1)
held, averaged_psi = deque(maxlen=window), []
for value in psi:
    held.append(value)
    averaged_psi.append(np.mean(held))
averaged_psi = np.array(averaged_psi)
print("Psi of the batch:", psi)
print("last three:      ", averaged_psi)

dxs = (us - ys * averaged_psi[:, None]) / chi[:, None]
dgamma, dbeta = np.sum(r[:, None] * ys * dzs), np.sum(dzs)
print("dx of the last batch", dxs[-1])

# %%
# That is all of it
# -----------------
#
# The package does the same for all channels at once, and for all normalisation batches of a call at once:
# ``norm_batch`` is :math:`|B|`, and the twelve samples of one call are six batches of two.

config = mabn.Config(norm_batch=2, window=window, decay=decay, clip=clip, eps=eps)
state = mabn.init(1, config, dtype=xs.dtype)
learned = np.array([gamma]), np.array([beta])
z, cache, state = mabn.forward(xs.reshape(12, 1), *learned, state, config)
dx, of_gamma, of_beta, state = mabn.backward(dzs.reshape(12, 1), cache, state)

ours = {"z": zs, "dx": dxs, "dgamma": dgamma, "dbeta": dbeta, "moving mean square": ema}
of_package = z, dx, of_gamma, of_beta, state.chi2
for (name, mine), theirs in zip(ours.items(), of_package, strict=True):
    difference = np.max(np.abs(np.ravel(mine) - theirs.ravel()))
    print(f"{name:18} largest difference {difference:.0e}")

# %%
# They are equal up to rounding. How the batches are spread over calls makes no difference either. One call per batch,
# with the state handed on, gives the same:

one_by_one, apart = mabn.init(1, config, dtype=xs.dtype), []
for x, dz in zip(xs, dzs, strict=True):
    _, cache, one_by_one = mabn.forward(x[:, None], *learned, one_by_one, config)
    part, _, _, one_by_one = mabn.backward(dz[:, None], cache, one_by_one)
    apart.append(part)
print("largest difference:", np.max(np.abs(np.concatenate(apart) - dx)))

# %%
# What each part is for
# ---------------------
#
# Switch the parts off. With a window of one batch and :math:`\lambda = 1`, which makes :math:`r = 1`, what is left is
# modified batch normalisation:

outputs = []
for norm, config in (
    (mabn, mabn.Config(norm_batch=2, window=1, clip=1.0, eps=eps)),
    (modified_batch_norm, modified_batch_norm.Config(norm_batch=2, eps=eps)),
):
    state = norm.init(1, config, dtype=xs.dtype)
    outputs.append(norm.forward(xs.reshape(12, 1), *learned, state, config)[0])
print("largest difference:", np.max(np.abs(outputs[0] - outputs[1])))

# %%
# A longer run shows what they do: 400 batches of two images with 16 positions each, whose scale doubles in the
# middle.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    The window is 16 batches long, and the decay of the exponential average is 0.98. How many batches after the jump
#    has each of the two reached the new scale? And which way does :math:`r` go meanwhile, up or down?

rng = np.random.default_rng(0)
steps, jump = 400, 200
scale = np.where(np.arange(steps) < jump, 1.0, 2.0)[:, None, None]
of_image = rng.standard_normal((steps, 2, 1))
of_position = rng.standard_normal((steps, 2, 16))
x = scale * (of_image + of_position) / np.sqrt(2)
u = 0.3 * x / scale + rng.standard_normal(x.shape)

config = mabn.Config(norm_batch=2, window=16, decay=0.98, clip=5.0)
state = mabn.init(1, config, dtype=x.dtype)
moving, chis, rs, psi = [], [], [], []
one, zero = np.ones(1), np.zeros(1)
for batch, dz in zip(x, u, strict=True):
    moving.append(np.sqrt(state.chi2[0]))
    _, cache, state = mabn.forward(batch[:, :, None], one, zero, state, config)
    psi.append(mabn.gradient_statistics(dz[:, :, None], cache)[1][0, 0])
    _, _, _, state = mabn.backward(dz[:, :, None], cache, state)
    chis.append(cache.chi.item())
    rs.append(cache.r.item())

at = np.arange(steps)
draw(
    "Root mean square χ: the batch's, and its averages",
    "iteration (normalisation batches)",
    "χ (units of x)",
    (at, np.sqrt(np.mean(x**2, axis=(1, 2))), GREY, ".", "one batch of two"),
    (at, chis, BLUE, "-", "simple, m = 16: divides"),
    (at, moving, RED, "--", "exponential, α = 0.98: inference"),
)

# %%
# The batch's own :math:`\chi` scatters. The simple average is calm, and :math:`m = 16` batches after the jump it has
# forgotten the old scale. The exponential one is calmer still and takes more than a hundred. Meanwhile :math:`r` goes
# up, to 1.6, and makes up for the difference:

draw(
    "Renormalisation makes up for the difference",
    "iteration (normalisation batches)",
    "r (ratio)",
    ([0, steps], [1, 1], GREY, "--", ""),
    (at, rs, BLUE, "-", ""),
    height=2.6,
)

# %%
# The same for :math:`\Psi`. With two images, :math:`\Psi` scatters by almost its own size.

averaged_psi = np.convolve(psi, np.ones(16) / 16)[15:steps]
draw(
    "The statistic of the backward pass, Ψ",
    "iteration (normalisation batches)",
    "Ψ (units of the loss)",
    ([0, steps], [0, 0], GREY, "--", ""),
    (at, psi, GREY, ".", "one batch of two"),
    (at[15:], averaged_psi, BLUE, "-", "mean of the last 16: subtracted"),
)

print(f"mean {np.mean(psi):.3f}")
raw, smooth = np.std(psi), np.std(averaged_psi)
print(f"standard deviation: of the batches {raw:.3f}, of the averages {smooth:.3f}")

# %%
# This has a price. The averages come from *other* batches, seen with earlier weights, and so the backward pass is no
# longer the derivative of the forward pass. :doc:`The tutorial about the adjoint <10_the_adjoint_looks_forward>`
# shows what it is instead. :doc:`/choices` says how the paper and the published code differ in the details, and how
# to get either.
#
# Questions
# ---------
#
# 1. Where :math:`r` is not clipped, :math:`z` does not contain :math:`\bar\chi` at all. Where does :math:`\bar\chi`
#    still matter?
# 2. The backward pass reads the iteration of its forward pass from the cache, and not from the state. In which order
#    of calls would the state give a wrong answer?
# 3. A window of 16 batches of two images has seen 32 images. Why is the average not as good as the statistic of one
#    batch of 32?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. In backward. There the first term of :math:`\partial L / \partial x_b` is
#       :math:`\gamma \, (\partial L / \partial z_b) / \hat\chi`, but the second is
#       :math:`x_b \bar\Psi / \bar\chi^2`, and :math:`\bar\Psi` averages values that contain the :math:`\bar\chi` of
#       their own iteration.
#    2. Two forward passes and then two backward passes, as when a layer is used twice or a batch is cut into parts.
#       At the first backward pass the state already counts both batches.
#    3. If all went through the same weights, the mean square would be exactly that of the 32: a mean of means. But
#       only the last of the 16 batches of a step has all of them in its window; the windows of the others reach back
#       to images that went through earlier weights. And each :math:`\Psi` in a window was computed with the
#       :math:`\bar\chi` of its own batch.

# %%
# Exercises
# ---------
#
# .. exercises::
