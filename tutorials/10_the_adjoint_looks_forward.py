r"""
10 The adjoint looks forward
============================

MABN's backward pass is not the derivative of its forward pass. A gradient check fails, and rightly. Then what is it?
Is there any function whose derivative it is close to?
"""

# %%
# An average of the past, and its transpose
# -----------------------------------------
#
# Leave normalisation aside for a moment. A simple moving average takes a sequence :math:`q_1, \dots, q_T` and returns
# another, :math:`\bar q_t = \frac1m \sum_{k=0}^{m-1} q_{t-k}`. That is a matrix, and we get it by averaging unit
# vectors. For :math:`m = 3` and six iterations, times three:

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.norms import mabn
from mabn_ref.norms.common import sma

np.set_printoptions(precision=4, suppress=True)

average = sma(np.zeros((3, 6)), np.eye(6))[0]
print((3 * average).astype(int))

# %%
# Row :math:`t` looks at :math:`t` and the two before. Now let a loss depend on the averages, with derivatives
# :math:`p_t`. What is its derivative with respect to :math:`q_t`? The backward pass of a matrix is its transpose:

print((3 * average.T).astype(int))

# %%
# Row :math:`t` of the transpose looks at :math:`t` and the two **after**. It must: :math:`q_t` is still in the window
# then, and has its effect on the losses to come. Averaging the past in forward is averaging the future in backward.
#
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

figure, axes = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
shown = axes.imshow(np.sqrt(np.mean(felt**2, axis=1)), cmap="Greys", vmax=1)
axes.set_title("Which loss feels a change of which input")
axes.set_xlabel("loss of iteration s (number)")
axes.set_ylabel("input of iteration t (number)")
figure.colorbar(shown, extend="max", label="size of the derivative (loss / x)")
plt.show()

# %%
# The input of an iteration is felt in its own loss, strongly, and in the next two, through the window. So there are
# two derivatives that one could mean.
#
# (a) One call
# ------------
#
# The diagonal: the loss of this iteration alone. The batch has a third of the window, and so there is a third of
# :math:`\Psi`, :eq:`mabn-one-call`:
#
# .. math:: \frac{\partial L_t}{\partial x_{tb}} = \frac{1}{\chi_t} \Big( u_{tb} - \frac{y_{tb} \Psi_t}{m} \Big) .

one_call = (c - y * psi[:, None] / m) / chi[:, None]
diagonal = np.stack([felt[t, :, t] for t in range(T)])
print(f"largest difference: {np.max(np.abs(one_call - diagonal)):.0e}")

# %%
# (b) All calls
# -------------
#
# The sum of a row: all losses together, :eq:`mabn-adjoint`. Here is the window that looks forward:
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
# That is (b) with a **past** window in place of the future one, which nobody knows yet, and today's :math:`\chi_t` in
# place of those to come. The values of one iteration, all three ways:

of_mabn, _, _, _ = mabn.backward(c.reshape(T * M, 1), cache, state)
t = 4
print("one call (a) ", one_call[t])
print("all calls (b)", all_calls[t])
print("MABN (20)    ", of_mabn.reshape(T, M)[t])

# %%
# They are not even close. No wonder: the :math:`c` are drawn at random, so that :math:`\Psi` has no expectation to
# speak of, and three of them tell nothing about the next three.
#
# How good is the approximation?
# ------------------------------
#
# Past and future agree if nothing changes. Take 4,000 iterations in which :math:`\Psi` has a fixed expectation, and
# 4,000 in which it swings slowly, once in 400 iterations, and compare (20) with (b) for windows of all sizes.

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
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for (name, strength), marker in zip(sequences.items(), "os", strict=True):
    distances = []
    for m in windows:
        dx, exact, *_ = both_ways(strength[:, None] * x + noise, m)
        off, exact = (dx - exact)[512:-512], exact[512:-512]  # windows are not full at the ends
        distances.append(np.sqrt(np.mean(off**2) / np.mean(exact**2)))
    print(f"{name:9}", np.array(distances))
    axes.plot(windows, distances, f"{marker}-", color="black", label=f"{name} Ψ")
    axes.lines[-1].set_markerfacecolor("white" if name == "swinging" else "black")
axes.set_xscale("log", base=2)
axes.set_xticks(windows, [str(m) for m in windows])
axes.set_title("MABN's gradient and the derivative of all losses")
axes.set_xlabel("window m (normalisation batches)")
axes.set_ylabel("distance (relative to the derivative)")
axes.legend()
plt.show()

# %%
# At :math:`m = 1` they are one. From two on, with a steady :math:`\Psi`, the distance falls as the window grows: both
# averages approach the same number. With a swinging one it falls at first and then rises, for the past is another
# time than the future. (At 256, more than half a swing, both averages are close to zero again, and worth nothing.)
# What that looks like for :math:`m = 64`:

dx, exact, past, future = both_ways(swing[:, None] * x + noise, 64)
at = np.arange(1000, 1800)
figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
axes.plot(at, swing[at], "-", color="0.7", linewidth=4, label="expectation of Ψ")
axes.plot(at, past[at], "-", color="black", label="MABN: mean of the past 64")
axes.plot(at, future[at], "--", color="black", label="derivative: mean of the next 64")
axes.set_title("One is late by half a window, the other early")
axes.set_xlabel("iteration (normalisation batches)")
axes.set_ylabel("Ψ (units of the loss)")
axes.set_ylim(-1.4, 2.4)
axes.legend()
plt.show()

# %%
# So a window should be short beside the time in which the statistics of backward change, and long enough to calm
# them. In training they change with the weights, that is with the learning rate. The whole derivation is in
# :doc:`/derivations/adjoint`.
#
# Questions
# ---------
#
# 1. A colleague checks MABN by finite differences of one call and finds an error of some per cent. Is the
#    implementation wrong? Which two things could be compared instead?
# 2. Could one compute (b) exactly in training, instead of approximating it?
# 3. An exponential average is causal as well. What is its transpose, and what would that mean for a normaliser that
#    divides by an exponential average and means to be exact?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Not for that reason. One call has derivative (a), with :math:`\Psi_t / m`, and (20) is something else. One can
#       compare (a), worked out from the same :math:`\bar\chi` and :math:`\Psi`, with the differences, and (20) with
#       the plain recurrence: a deque of :math:`\Psi`.
#    2. Only by waiting: the gradient of an iteration needs :math:`\Psi` of the next :math:`m - 1`, and so their
#       forward and backward passes. If all batches of the window belong to one step of the optimiser, as the
#       micro-batches of a gradient batch do, they are there before the step. But the next step's window reaches back
#       into this one, and its weights depend on it.
#    3. Weights :math:`(1 - \alpha) \alpha^k` for the iterations *after*: all of the future counts, ever less. To be
#       exact it would have to wait for the end of training, or cut the sum off.

# %%
# Exercises
# ---------
#
# .. exercises::
