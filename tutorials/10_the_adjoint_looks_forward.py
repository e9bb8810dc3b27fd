r"""
10 The adjoint looks forward
============================

MABN's backward pass is not the derivative of its forward pass. A gradient check fails, and rightly. Then what is it?
Is there any function whose derivative it is close to? Without an answer nobody could say whether an implementation is
right, or when the method should work at all.
"""

# %%
# An average of the past, and its transpose
# -----------------------------------------
#
# Leave normalisation aside for a moment. A simple moving average takes a sequence :math:`q_1, \dots, q_T` and returns
# another, :math:`\bar q_t = \frac1m \sum_{k=0}^{m-1} q_{t-k}`. This map is a matrix, and we get it by averaging unit
# vectors. For :math:`m = 3` and six iterations, multiplied by three:

# sphinx_gallery_thumbnail_number = 3
import matplotlib.pyplot as plt
import numpy as np
from _plots import BLUE, GREY, RED, draw, panel
from matplotlib.colors import LogNorm

from mabn_ref.norms import mabn
from mabn_ref.norms.common import sma

np.set_printoptions(precision=4, suppress=True)

average = sma(np.zeros((3, 6)), np.eye(6))[0]
print((3 * average).astype(int))

# %%
# Row :math:`t` looks at :math:`t` and the two iterations before. Now let a loss depend on the averages, and let
# :math:`p_t` be its derivative with respect to the average of iteration :math:`t`. What is its derivative with
# respect to :math:`q_t`? By the chain rule the sum, over all averages :math:`s` that contain it, of :math:`p_s` times
# the entry of the matrix in row :math:`s` and column :math:`t`. So the backward pass of a matrix is its transpose.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    Which iterations does row :math:`t` of the transpose look at? What does that mean for a backward pass that has to
#    be computed at iteration :math:`t`?

print((3 * average.T).astype(int))

# %%
# Row :math:`t` of the transpose looks at :math:`t` and the two iterations **after**. It must: :math:`q_t` is still in
# the window then, and affects the losses to come. Averaging the past in forward means averaging the future in
# backward.

axes = panel("Which iterations row 4 is made of", "iteration (number)", "", height=2.4)
for height, matrix, colour in ((1, average, BLUE), (0, average.T, RED)):
    used = np.flatnonzero(matrix[3]) + 1
    axes.plot(range(1, 7), [height] * 6, "o", color=GREY, markerfacecolor="none", markersize=12)
    axes.plot(used, [height] * 3, "o", color=colour, markersize=12)
axes.text(6.6, 1, "forward: the average\nof $q_2$, $q_3$, $q_4$", va="center")
axes.text(6.6, 0, "backward: the average\nof $p_4$, $p_5$, $p_6$", va="center")
axes.set(xlim=(0.5, 9.5), ylim=(-0.6, 1.6), xticks=range(1, 7), yticks=[])
plt.show()

# %%
# MABN over eight iterations
# --------------------------
#
# Now with the normaliser: :math:`T = 8` iterations of four values, a window of three, no renormalisation, and losses
# :math:`L_t = \sum_b c_{tb} z_{tb}` with random :math:`c`. One call with ``norm_batch=4`` runs all of them in order.

rng = np.random.default_rng(2)
T, M, m = 8, 4, 3
config = mabn.Config(norm_batch=M, window=m, clip=1.0)
one, zero = np.ones(1), np.zeros(1)
begin = mabn.init(1, config, dtype=np.float64)
# The window is full already.
begin = begin._replace(chi2_window=rng.uniform(0.5, 2.0, (m, 1)), iteration=m)
x, c = rng.standard_normal((2, T, M))


def losses(x):
    """The loss of each iteration, (T,)."""
    z, _, _ = mabn.forward(x.reshape(T * M, 1), one, zero, begin, config)
    return np.sum(c * z.reshape(T, M), axis=1)


_, cache, state = mabn.forward(x.reshape(T * M, 1), one, zero, begin, config)
chi = cache.chi[:, 0, 0]
psi = mabn.gradient_statistics(c.reshape(T * M, 1), cache)[1][:, 0]
y = x / chi[:, None]
print("chi", chi)
print("Psi", psi)

# %%
# Move each :math:`x_{tb}` a little up and down and watch all eight losses. That gives
# :math:`\partial L_s / \partial x_{tb}` for every pair of iterations:

h = 1e-6
felt = np.empty((T, M, T))
for t in range(T):
    for b in range(M):
        step = np.zeros_like(x)
        step[t, b] = h
        felt[t, b] = (losses(x + step) - losses(x - step)) / (2 * h)

axes = panel(
    "Which loss a change of which input affects", "loss of iteration s (number)", "input of iteration t (number)"
)
size = np.sqrt(np.mean(felt**2, axis=1))
shown = axes.imshow(np.where(size > 1e-6, size, np.nan), cmap="Blues", norm=LogNorm(vmin=0.003))  # no colour: zero
axes.figure.colorbar(shown, extend="min", label="size of the derivative (loss / x)")
plt.show()

# %%
# The input of an iteration affects its own loss, and the next two losses through the window; how strongly depends on
# the :math:`\Psi` of those iterations, which may be near zero. So there are two derivatives that you could mean.
#
# (a) One call
# ------------
#
# The diagonal: the loss of this iteration alone. The batch makes up a third of the window, and so a third of
# :math:`\Psi` appears, :eq:`mabn-one-call`. (With :math:`\gamma = r = 1`,
# :math:`u_{tb} = \partial L_t / \partial y_{tb}` is :math:`c_{tb}`.)
#
# .. math:: \frac{\partial L_t}{\partial x_{tb}} = \frac{1}{\chi_t} \Big( u_{tb} - \frac{y_{tb} \Psi_t}{m} \Big) .

one_call = (c - y * psi[:, None] / m) / chi[:, None]
diagonal = np.stack([felt[t, :, t] for t in range(T)])
print(f"largest difference: {np.max(np.abs(one_call - diagonal)):.0e}")

# %%
# (b) All calls
# -------------
#
# The sum of a row: all losses together, :eq:`mabn-adjoint`. Here the window looks forward:
#
# .. math:: \frac{\partial}{\partial x_{tb}} \sum_s L_s
#    = \frac{u_{tb}}{\chi_t} - x_{tb} \, \frac1m \sum_{k=0}^{m-1} \frac{\Psi_{t+k}}{\chi_{t+k}^2} .


def future_mean(values, m):
    """Mean of this value and the next m - 1: a moving average of the reversed sequence."""
    return sma(np.zeros((m, 1)), values[::-1, None])[0][::-1, 0]


all_calls = c / chi[:, None] - x * future_mean(psi / chi**2, m)[:, None]
print(f"largest difference: {np.max(np.abs(all_calls - np.sum(felt, axis=2))):.0e}")

# %%
# And MABN
# --------
#
# Its backward pass, :eq:`mabn-backward` (20), written the same way, is
#
# .. math:: \frac{u_{tb}}{\chi_t} - x_{tb} \, \frac1m \sum_{k=0}^{m-1} \frac{\Psi_{t-k}}{\chi_t^2} .
#
# That is (b) with a **past** window in place of the future one, which nobody knows yet, and the present
# :math:`\chi_t` in place of those to come. Here are the values of one iteration, computed in all three ways:

of_mabn, _, _, _ = mabn.backward(c.reshape(T * M, 1), cache, state)
t = 4
print("one call (a) ", one_call[t])
print("all calls (b)", all_calls[t])
print("MABN (20)    ", of_mabn.reshape(T, M)[t])

# %%
# They are not even close. This is not surprising: the :math:`c` are drawn at random, so the expectation of
# :math:`\Psi` is close to zero, and three values say nothing about the next three.
#
# How good is the approximation?
# ------------------------------
#
# Past and future agree if nothing changes. Take 4,000 iterations in which :math:`\Psi` has a fixed expectation, and
# 4,000 in which it swings slowly, one full swing in 400 iterations, and compare (20) with (b) for windows of all
# sizes.

T, M = 4000, 8
x, noise = rng.standard_normal((2, T, M))
swing = np.cos(2 * np.pi * np.arange(T) / 400)
sequences = {"steady": np.ones(T), "swinging": swing}


def both_ways(c, m):
    """MABN's dx and the derivative of all losses, and the past and future means of Psi."""
    config = mabn.Config(norm_batch=M, window=m, clip=1.0)
    state = mabn.init(1, config, dtype=x.dtype)
    _, cache, state = mabn.forward(x.reshape(T * M, 1), one, zero, state, config)
    psi = mabn.gradient_statistics(c.reshape(T * M, 1), cache)[1]
    dx, *_ = mabn.backward(c.reshape(T * M, 1), cache, state)
    chi = cache.chi[:, 0]
    exact = c / chi - x * future_mean((psi / chi**2)[:, 0], m)[:, None]
    past, _ = sma(np.zeros((m, 1)), psi)
    return dx.reshape(T, M), exact, past[:, 0], future_mean(psi[:, 0], m)


windows = [1, 2, 4, 8, 16, 32, 64, 128, 256]
distances = {name: [] for name in sequences}
for name, strength in sequences.items():
    for m in windows:
        dx, exact, *_ = both_ways(strength[:, None] * x + noise, m)
        off, exact = (dx - exact)[512:-512], exact[512:-512]  # windows are not full at the ends
        distances[name].append(np.sqrt(np.mean(off**2) / np.mean(exact**2)))
    print(f"{name:9}", np.array(distances[name]))

draw(
    "MABN's gradient and the derivative of all losses",
    "window m (normalisation batches)",
    "distance (relative to (b))",
    (windows, distances["steady"], BLUE, "o-", "steady Ψ"),
    (windows, distances["swinging"], RED, "s--", "swinging Ψ"),
    sizes=windows,
)

# %%
# At :math:`m = 1` the two are identical. From :math:`m = 2` on, with a steady :math:`\Psi`, the distance falls as the
# window grows: both averages approach the same number. With a swinging one it falls at first and then rises, because
# the past differs from the future. (A window of 256 spans more than half a swing and averages much of it away: both
# numbers are smaller, and so is their distance, but the past is no better a guide to the future.) Here is what that
# looks like for :math:`m = 64`:

dx, exact, past, future = both_ways(swing[:, None] * x + noise, 64)
at = np.arange(1000, 1800)
draw(
    "One is late by half a window, the other early",
    "iteration (normalisation batches)",
    "Ψ (units of the loss)",
    (at, swing[at], GREY, "-", "expectation of Ψ"),
    (at, past[at], BLUE, "-", "MABN: mean of the past 64"),
    (at, future[at], RED, "--", "derivative: mean of the next 64"),
)

# %%
# So a window should be short compared with the time in which the backward statistics change, and long enough to calm
# them. In training they change with the weights, and so with the learning rate. The whole derivation is in
# :doc:`/derivations/adjoint`.
#
# What if one took the derivative?
# --------------------------------
#
# Cross-Iteration BN, a rival of MABN, has a window too, and sends back the true derivative of one call: batch norm's
# backward pass with both of its statistics divided by the length of the window, :eq:`cbn-backward`. For a normaliser
# without a mean that is (a). A normaliser's backward pass is there to remove the part of the gradient along
# :math:`y`. How much of it do (a) and (20) leave, with a steady :math:`\Psi`?

c = x + noise
for m in (1, 4, 16, 64):
    config = mabn.Config(norm_batch=M, window=m, clip=1.0)
    _, cache, _ = mabn.forward(x.reshape(T * M, 1), one, zero, mabn.init(1, config, dtype=x.dtype), config)
    y, psi = cache.y[:, :, 0], mabn.gradient_statistics(c.reshape(T * M, 1), cache)[1]
    taken = {"one call (a)": psi / m, "MABN (20)": sma(np.zeros((m, 1)), psi)[0]}
    left = {name: np.mean((y * (c - y * off))[512:]) / np.mean(psi[512:]) for name, off in taken.items()}
    print(f"m = {m:2}", *(f"  {name}: {round(100 * part):3} % left" for name, part in left.items()))

# %%
# A single call hardly changes a long window, so its derivative removes only :math:`1/m` of that part and leaves
# :math:`1 - 1/m`. (A little less in short windows, where :math:`y` and :math:`\Psi` are large together.) MABN removes
# all of it at any length, since its window averages :math:`\Psi` as well. :doc:`/derivations/cross_iteration` derives
# the first.
#
# Questions
# ---------
#
# 1. A colleague checks MABN by finite differences of one call and finds an error of a few per cent. Is the
#    implementation wrong? Which two things could be compared instead?
# 2. Could one compute (b) exactly in training, instead of approximating it?
# 3. An exponential average also looks only at the past. What is its transpose, and what would that mean for a
#    normaliser that divides by an exponential average and is meant to be exact?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Not for that reason. The derivative of one call is (a), with :math:`\Psi_t / m`, and (20) is something else.
#       One can compare (a), worked out from the same :math:`\bar\chi` and :math:`\Psi`, with the finite differences,
#       and (20) with the plain recurrence: a deque of :math:`\Psi`.
#    2. Only by waiting: the gradient of an iteration needs :math:`\Psi` of the next :math:`m - 1` iterations, and so
#       their forward and backward passes. If all batches of the window belong to one step of the optimiser, as the
#       micro-batches of a gradient batch do, they are available before the step. But the next step's window reaches
#       back into this one, and its weights depend on it.
#    3. Weights :math:`(1 - \alpha) \alpha^k` for the iterations *after*: all of the future counts, with ever smaller
#       weight. To be exact, the normaliser would have to wait for the end of training, or truncate the sum.

# %%
# Exercises
# ---------
#
# .. exercises::
