r"""
03 The batch statistics nobody looks at
=======================================

Batch normalisation uses a mean and a variance of the batch. Its backward pass uses two more statistics. What are
they, and how good are they when the batch has two images? A remedy such as Batch Renormalization (tutorial 05)
corrects only the first two. If the other two are worse, most of the problem is still there.
"""

# %%
# Two means in the backward pass
# ------------------------------
#
# Six values of one channel, normalised, and a loss that wants them to be near six targets: :math:`L = \frac12 \sum_b
# (y_b - t_b)^2`.

# sphinx_gallery_thumbnail_number = 3
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
from _plots import BLUE, GREY, RED, TEXT, draw, panel

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm

np.set_printoptions(precision=3, suppress=True)

config = batch_norm.Config()
x = np.array([0.2, 1.9, -0.4, 1.1, 0.7, -1.2])[:, None]
targets = np.array([0.5, 1.0, 0.0, 1.5, 0.5, 0.0])
state = batch_norm.init(1, config, dtype=x.dtype)
_, cache, state = batch_norm.forward(x, np.ones(1), np.zeros(1), state, config)
y = cache.y.ravel()


def loss(y):
    return 0.5 * np.sum((y - targets) ** 2)


u = y - targets  # the gradient of the loss with respect to y
print("y =", y)
print("u =", u)

# %%
# From :math:`u` the backward pass takes two means over the batch, :eq:`bn-gradient-statistics` (5),
#
# .. math:: g = \frac1M \sum_b u_b, \qquad \Psi = \frac1M \sum_b y_b u_b ,
#
# and subtracts both from the gradient, :eq:`bn-backward` (4):
#
# .. math:: \d{L}{x_b} = \frac{1}{\sigma} \left( u_b - g - y_b \Psi \right) .

g, psi = np.mean(u), np.mean(y * u)
print(f"g = {g:.4f}, Psi = {psi:.4f}")

# %%
# A step down the gradient moves :math:`y_b` by :math:`-u_b`, here exactly to its target. Each such step has three
# parts: :math:`-g`, the same for all six; :math:`-y_b \Psi`, in proportion to the value itself; and what is left.

axes = panel("The three parts of a step down the gradient", "value of y (no unit)", "sample b (number)", height=4)
samples = np.arange(1, 7)
axes.plot(y, samples, "o", color=TEXT, label="$y_b$")
axes.plot(targets, samples, "o", markerfacecolor="none", color=TEXT, label="its target, $y_b - u_b$")
start, lift = y, -0.2
for label, colour, part in (
    ("$-g$, a shift", BLUE, np.full(6, -g)),
    (r"$-y_b \Psi$, a stretch", RED, -y * psi),
    (r"$-(u_b - g - y_b \Psi)$, the rest", GREY, -(u - g - y * psi)),
):
    where = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008}
    axes.quiver(start, samples + lift, part, 0 * part, color=colour, label=label, **where)
    start, lift = start + part, lift + 0.2
axes.invert_yaxis()
axes.figure.legend(loc="outside lower center", ncols=2)
plt.show()

# %%
# Only the rest goes on to :math:`x`; the blue and the red arrows are what :math:`g` and :math:`\Psi` take out. In the
# package the two have a function of their own:

print(batch_norm.gradient_statistics(u[:, None], cache))

# %%
# What they mean
# --------------
#
# Shift all six values by the same small amount and the loss changes at the rate :math:`\sum_b u_b = M g`. Stretch
# all six by a factor near 1, and each moves in proportion to its own :math:`y_b`: the rate is
# :math:`\sum_b u_b \, y_b = M \Psi`. That is :eq:`gradient-statistics-oracle`, and finite differences confirm it:

h = 1e-5
print("g   by shifting  ", (loss(y + h) - loss(y - h)) / (2 * h) / 6)
print("Psi by stretching", (loss((1 + h) * y) - loss((1 - h) * y)) / (2 * h) / 6)

# %%
# Shifting and stretching is also what :math:`\beta` and :math:`\gamma` do. So :math:`g` and :math:`\Psi` are the
# gradients of these two, :eq:`affine-backward`, apart from the factor :math:`\gamma / M`, which here is one sixth:

_, dgamma, dbeta, _ = batch_norm.backward(u[:, None], cache, state)
print("g =", dbeta / 6, " Psi =", dgamma / 6)

# %%
# So :math:`g` says how much the loss would change if the whole channel shifted, and :math:`\Psi` how much if it
# stretched. Batch normalisation undoes shifts and stretches of its input, so neither change of the input would alter
# the output, and (4) takes both out of the gradient.
#
# With *all* images in the batch these would be two fixed numbers. With a few images they are estimates, as the mean
# and the variance are, and again the question is how good they are.
#
# In a real network
# -----------------
#
# We ask the small network of this project, on its own generated images. First we train it for 50 steps with
# :math:`|B| = 32`, so that its gradients are those of a network at work.

train, _ = embedded.generate(train_size=1600, test_size=10, seed=0)
images = to_float(train.images, *channel_statistics(train.images))

layers = networks.small_network(batch_norm, batch_norm.Config(norm_batch=32), width=8)
params, states = network.init(layers, np.random.default_rng(0))
velocity = optimiser.init(params)
for step in range(50):
    now = slice(32 * step, 32 * (step + 1))
    logits, caches, states = network.forward(layers, params, states, images[now])
    value, cache = softmax_cross_entropy.forward(logits, train.labels[now])
    if step in (0, 49):
        print(f"loss at step {step}: {value:.2f}")
    dlogits = softmax_cross_entropy.backward(1.0, cache)
    grads, states = network.backward(layers, dlogits, caches, states)
    params, velocity = optimiser.step(params, grads, velocity, lr=0.05, momentum=0.9, weight_decay=5e-4)

# %%
# Now keep the weights fixed, and send the same 512 images through with different \|B\|. The images and labels are
# always the same; only which images share statistics changes. A normaliser is a module with functions, so we can hand
# the network one that also records what it sees. It follows the fourth convolution, whose maps have 8 by 8 positions.


def statistics_seen(size):
    """All batch statistics of the fourth normaliser, of 512 images in batches of `size`."""
    seen = {}

    def forward(x, gamma, beta, state, config):
        seen["mean"], seen["variance"] = batch_norm.statistics(x, config)
        return batch_norm.forward(x, gamma, beta, state, config)

    def backward(dz, cache, state):
        seen["g"], seen["Ψ"] = batch_norm.gradient_statistics(dz, cache)
        seen["u"] = np.sqrt(np.mean((dz * cache.gamma) ** 2, axis=(0, 1, 2)))  # typical size
        return batch_norm.backward(dz, cache, state)

    noting = SimpleNamespace(**vars(batch_norm) | {"forward": forward, "backward": backward})
    layers = networks.small_network(batch_norm, batch_norm.Config(norm_batch=size), width=8)
    layers = [layer._replace(module=noting) if layer.name == "norm4" else layer for layer in layers]
    logits, caches, after = network.forward(layers, params, states, images[:512])
    _, cache = softmax_cross_entropy.forward(logits, train.labels[:512])
    network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, after)
    return seen


sizes = [2, 4, 8, 16, 32, 64, 128]
seen = {size: statistics_seen(size) for size in [*sizes, 512]}
print("g of |B| = 2, one row per batch, one column per channel:", seen[2]["g"].shape)

# %%
# Here is :math:`\Psi` of one channel, batch after batch.

CHANNEL = 0
psi_of = {size: 1e6 * seen[size]["Ψ"][:, CHANNEL] for size in (2, 32, 512)}
middle_of = {size: size * (np.arange(512 // size) + 0.5) for size in (2, 32)}
draw(
    "Ψ of one channel, the weights fixed",
    "position of the batch (images)",
    "Ψ (millionths of the loss)",
    (middle_of[2], psi_of[2], RED, ".", "batches of 2 images"),
    (middle_of[32], psi_of[32], BLUE, "o", "batches of 32 images"),
    ([0, 512], [psi_of[512]] * 2, GREY, "--", "all 512 images"),
)

# %%
# How good are they?
# ------------------
#
# For each of the four statistics, take the spread over batches and divide it by the value for all 512 images, both as
# a root mean square over the channels. At a ratio of 0.1 the estimate is good; above 1 it is more noise than value.
# (``ddof=1``, because the spread is about the mean of the same few batches: four at \|B\| = 128.)
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    At :math:`|B| = 2` the mean is off by 7 % and the variance by 33 %. What do you expect of :math:`g` and
#    :math:`\Psi`: less than that, about as much, or more? And are they good at :math:`|B| = 32`, where batch
#    normalisation works well?


def relative_spread(size, name):
    spread = np.std(seen[size][name], axis=0, ddof=1)
    value = seen[512][name]
    return np.sqrt(np.mean(spread**2) / np.mean(value**2))


names = ["mean", "variance", "g", "Ψ"]
print("|B|" + "".join(f"{name:>10}" for name in names))
table = {name: [relative_spread(size, name) for size in sizes] for name in names}
for i, size in enumerate(sizes):
    print(f"{size:3}" + "".join(f"{table[name][i]:10.2f}" for name in names))

# %%
# The forward statistics of two images are rough but usable. Those of the backward pass vary, at the same \|B\|, by
# many times what they estimate. (:doc:`/findings/figures` says three and a half times: it compares with batches of
# 32, whose :math:`g` and :math:`\Psi` are noisy themselves.) That is not an accident: they are the gradients of
# :math:`\gamma` and :math:`\beta`, which training drives towards zero. The value to be estimated shrinks; the noise
# stays. All four improve slowly: the mean with the square root of \|B\|, the other three somewhat faster.

draw(
    "How much a batch statistic varies from batch to batch",
    "size of the batch |B| (images)",
    "spread (relative to all images)",
    ([2, 128], [1, 1], GREY, "-", "above: more noise than value"),
    (sizes, table["mean"], BLUE, "o-", "mean (forward)"),
    (sizes, table["variance"], BLUE, "s--", "variance (forward)"),
    (sizes, table["g"], RED, "^-", "g (backward)"),
    (sizes, table["Ψ"], RED, "D--", "Ψ (backward)"),
    (sizes, 0.25 * np.sqrt(2 / np.array(sizes)), GREY, ":", "like 1 over the root of |B|"),
    yscale="log",
    sizes=sizes,
    height=4.2,
)

# %%
# What it does to the gradient
# ----------------------------
#
# Put the :math:`g_\ast` and :math:`\Psi_\ast` of all images in place of the batch's, and (4) changes by
# :math:`\frac1\sigma ((g - g_\ast) + y_b (\Psi - \Psi_\ast))`. Compared with a typical :math:`u_b` that is not much:

for size in (2, 32):
    spread = [np.mean(np.std(seen[size][name], axis=0) / seen[size]["u"]) for name in ("g", "Ψ")]
    print(f"|B| = {size:2}: g varies by {spread[0]:.1%} of a typical u, Psi by {spread[1]:.1%}")

# %%
# But it is the *same* error for all values of the batch, and a weight's gradient is a sum over them. Independent
# errors largely cancel in such a sum; a shared one does not:

rng = np.random.default_rng(0)
for M in (8, 128, 2048):
    independent = np.sum(0.1 * rng.standard_normal((2000, M)), axis=1)
    shared = np.sum(0.1 * rng.standard_normal((2000, 1)) * np.ones(M), axis=1)
    print(f"sum of {M:4} errors of 0.1: independent {np.std(independent):6.2f}, shared {np.std(shared):6.2f}")

# %%
# A word of caution. At :math:`|B| = 32`, too, :math:`g` and :math:`\Psi` are more noise than value, and there batch
# normalisation is known to train well. So noise is not fatal by itself, and the figure alone does not show that noise
# is the cause of what goes wrong at :math:`|B| = 2`. A shared error of :math:`g` can even *help* a weight, whose
# gradient adds up the :math:`u_b - g`: in a batch whose :math:`g` happens to be too large, so are the :math:`u_b` on
# average, and the two errors cancel (:doc:`/derivations/hidden_statistics`). The paper's answer is to take the noise
# away and see what happens. :doc:`/derivations/theorem2` says what can be proved about it.
#
# Questions
# ---------
#
# 1. For the loss :math:`\frac12 \sum_b (y_b - t_b)^2`, write :math:`g` and :math:`\Psi` in terms of the targets. When
#    is each of them zero?
# 2. Batch Renormalization normalises by moving averages in the forward pass, and keeps (4) in the backward pass.
#    Which of the four curves does it lower?
# 3. Suppose that we averaged the last 16 batches of two, with nearly the same weights in all of them. How far would
#    the curves of :math:`g` and :math:`\Psi` fall at :math:`|B| = 2`? What if the weights are not nearly the
#    same?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. With :math:`\sum_b y_b = 0`, :math:`g` is minus the mean of the targets. With :math:`\frac1M \sum_b y_b^2
#       \approx 1`, :math:`\Psi` is 1 minus the mean of :math:`y_b t_b`. They vanish when the targets have mean zero,
#       and when the straight line that fits the targets best has slope one: when no shift and no stretch would help.
#    2. Those of the mean and the variance. :math:`g` and :math:`\Psi` still come from the batch alone.
#    3. Independent noise falls by the square root of 16, to a quarter: from about 20 to about 5. (A batch of 32 has
#       3: there the forward pass is steadier, too.) If the weights have moved, the average contains old values too,
#       and lags behind the present one. Tutorial 04 is about this trade-off.

# %%
# Exercises
# ---------
#
# .. exercises::
