r"""
04 Moving averages
==================

The statistics of two images are noisy. Earlier batches had statistics too: what does averaging over them gain, and
what does it cost? MABN is built on the answer: it averages all its statistics, some in one way and some in another.
"""

# %%
# Two averages, by hand
# ---------------------
#
# Take six values of some batch statistic, one per iteration. A *simple* moving average is the mean of the last
# :math:`m`. An *exponential* one keeps a fraction :math:`\alpha` of the old average and adds :math:`1 - \alpha` of
# the new value. As sums over all values :math:`\xi_i` so far, :eq:`averages` (7), they are
#
# .. math::
#
#    S_t = \frac1m \sum_{i = t - m + 1}^{t} \xi_i, \qquad
#    E_t = (1 - \alpha) \sum_{i=1}^{t} \alpha^{t - i} \, \xi_i .

# sphinx_gallery_thumbnail_number = 3
from collections import deque

import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.norms.common import ema, sma

np.set_printoptions(precision=4, suppress=True)

xi = [3.0, 5.0, 4.0, 8.0, 6.0, 7.0]

last_three, simple = deque(maxlen=3), []
average, exponential = 0.0, []
for value in xi:
    last_three.append(value)
    simple.append(sum(last_three) / len(last_three))
    average = 0.5 * average + 0.5 * value
    exponential.append(average)
print("simple,      m = 3:      ", np.array(simple))
print("exponential, alpha = 0.5:", np.array(exponential))

# %%
# Two choices hide in these lines. While there are fewer than :math:`m` values, we take the mean of those. And the
# exponential average starts at 0, whose weight is still :math:`\alpha^t` after :math:`t` values, so it is too small
# at first. The package makes the first choice too; the caller chooses the start.
#
# One call to a normaliser can hold many batches, so both functions map a sequence to a sequence: one row per batch,
# one column per channel. `mabn_ref.norms.common.ema` returns the average before and after each value,
# `mabn_ref.norms.common.sma` the averages and the window for the next call.

column = np.array(xi)[:, None]
averages, window = sma(np.zeros((3, 1)), column, seen=0)
before, after = ema(np.zeros(1), column, 0.5)
print("simple:     ", averages.ravel(), "   window for the next call:", window.ravel())
print("exponential:", after.ravel())

# %%
# Both are weighted means of the past; they differ in the weights. Here are the two that MABN uses, with the paper's
# :math:`m = 16` and :math:`\alpha = 0.98`, and a third that we shall need below.

m, alpha, equal = 16, 0.98, 15 / 17
ages = np.arange(60)
draw(
    "How much weight an average gives to the past",
    "age of the value (iterations)",
    "weight (fraction of 1)",
    (ages, (ages < m) / m, BLUE, "o", "simple, m = 16"),
    (ages, (1 - alpha) * alpha**ages, RED, "--", "exponential, α = 0.98"),
    (ages, (1 - equal) * equal**ages, GREY, ".", "exponential, α = 15/17"),
)

# %%
# What is gained
# --------------
#
# Suppose that the values are independent and have the same distribution, with variance :math:`w`. The paper's Theorem
# 1 says how much of the variance is left: :eq:`ema-moments` (9) and :eq:`sma-moments` (11),
#
# .. math::
#
#    \Var[E_t] = (1 - \alpha^{2t}) \, \frac{1 - \alpha}{1 + \alpha} \, w, \qquad
#    \Var[S_t] = \frac{w}{m} .
#
# Try it: 4000 channels of random numbers, 120 iterations.

rng = np.random.default_rng(0)
values = rng.uniform(0, 2, size=(120, 4000))
w = 1 / 3  # the variance of these numbers

simple, _ = sma(np.zeros((m, 4000)), values, seen=0)
_, exponential = ema(np.zeros(4000), values, alpha)
print(f"simple:      {np.var(simple[-1]) / w:.4f} of the variance left, (11) says {1 / m:.4f}")
left = (1 - alpha ** (2 * 120)) * (1 - alpha) / (1 + alpha)
print(f"exponential: {np.var(exponential[-1]) / w:.4f} of the variance left, (9) says {left:.4f}")

t = np.arange(1, 121)
draw(
    "Variance of moving averages, m = 16, α = 0.98",
    "t (iterations)",
    "variance (relative to that of one value)",
    (t, np.var(simple, axis=1) / w, GREY, "s", "simple, measured"),
    (t, 1 / np.minimum(t, m), BLUE, "-", "simple, (11); 1/t while t < m"),
    (t, np.var(exponential, axis=1) / w, GREY, ".", "exponential, measured"),
    (t, (1 - alpha ** (2 * t)) * (1 - alpha) / (1 + alpha), RED, "--", "exponential, (9)"),
    yscale="log",
)

# %%
# The long average has a sixth of the short one's variance. Its small variance at the very start means little: the
# average itself is still close to zero there.
#
# What it costs
# -------------
#
# An average of the past describes the past. If the statistic moves by :math:`h` per iteration, the averages are late
# by
#
# .. math:: \frac{m - 1}{2} \quad \text{and} \quad \frac{\alpha}{1 - \alpha}
#
# iterations: the mean age of their values. :doc:`/derivations/moving_averages` has the sums.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    Work out both delays for :math:`m = 16` and :math:`\alpha = 0.98`. Then a harder one: which :math:`\alpha` is
#    exactly as late as a window of 16, and is it noisier than the window or calmer?

drift = 0.1 * np.arange(1, 1001)[:, None]
simple, _ = sma(np.zeros((m, 1)), drift, seen=0)
for name, decay in (("alpha = 0.98", alpha), ("alpha = 15/17", equal)):
    _, exponential = ema(np.zeros(1), drift, decay)
    late = (drift[-1, 0] - exponential[-1, 0]) / 0.1
    variance = (1 - decay) / (1 + decay)
    print(f"{name:14} late by {late:5.2f} iterations, {variance:.2%} of the variance left")
late = (drift[-1, 0] - simple[-1, 0]) / 0.1
print(f"{'m = 16':14} late by {late:5.2f} iterations, {1 / m:.2%} of the variance left")

# %%
# So we trade noise against delay. The long average is for what settles: the forward statistics at the end of
# training, :eq:`ema-forward` (12). The short one is for what keeps moving: the statistics of the backward pass,
# :eq:`sma-backward` (13).
#
# But the exponential average with :math:`\alpha = (m - 1) / (m + 1) = 15/17` makes exactly the same trade as the
# window of 16: equally noisy, equally late. Only the window has an end. Sixteen iterations after a jump, such as a
# cut of the learning rate, it contains nothing from before:

truth = np.concatenate([np.full(60, 1.0), np.full(80, 0.2), 0.2 + 0.01 * np.arange(100)])
noisy = (truth + 0.3 * rng.standard_normal(240))[:, None]

t = np.arange(240)
draw(
    "A jump, a rest and a drift",
    "t (iterations)",
    "batch statistic (its own unit)",
    (t, noisy, GREY, ".", "batch values"),
    (t, truth, GREY, "-", "what they estimate"),
    (t, sma(np.ones((m, 1)), noisy)[0], BLUE, "-", "simple, m = 16"),
    (t, ema(np.ones(1), noisy, equal)[1], BLUE, ":", "exponential, α = 15/17"),
    (t, ema(np.ones(1), noisy, alpha)[1], RED, "--", "exponential, α = 0.98"),
    height=4,
)

# %%
# One way not to compute it
# -------------------------
#
# A mean over a window is a difference of two cumulative sums, which is short to write. But the difference loses
# digits by cancellation: the sums grow with every iteration, and the difference does not. In single precision, after
# 200,000 iterations:

many = (1 + 0.01 * rng.standard_normal((200_000, 1))).astype(np.float32)
exact = np.mean(many[-m:].astype(np.float64))
sums = np.cumsum(many, axis=0)
by_difference = (sums[-1, 0] - sums[-1 - m, 0]) / m
by_window = sma(np.zeros((m, 1), np.float32), many, seen=0)[0][-1, 0]
print(f"exact {exact:.7f}, cumulative sums {by_difference:.7f}, sma {by_window:.7f}")

# %%
# Questions
# ---------
#
# 1. You want one hundredth of the variance. Which :math:`m` do you need, which :math:`\alpha`, and how late are they?
# 2. An exponential average with :math:`\alpha = 0.98` starts at 1, and the statistic is always 0. After how
#    many iterations is the average below 0.01? What does that mean for inference after a short training?
# 3. Theorem 1 requires independent values. In training, neighbouring batch statistics may be correlated, since the
#    weights are nearly the same. With a correlation of :math:`\rho` between neighbours, what is the variance of the
#    mean of two? Is (11) too large or too small for :math:`\rho > 0`?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. :math:`m = 100`. From :math:`(1 - \alpha) / (1 + \alpha) = 1 / 100` follows :math:`\alpha = 99 / 101 \approx
#       0.98`. Both are 49.5 iterations late.
#    2. :math:`0.98^t < 0.01` from :math:`t = 228` on. After shorter training the moving statistics still contain a
#       noticeable part of their start, and inference normalises by the wrong numbers.
#    3. :math:`\frac14 (w + w + 2 \rho w) = \frac{1 + \rho}{2} w`, where (11) says :math:`\frac12 w`. It is too small:
#       correlated values carry less information than independent ones.

# %%
# Exercises
# ---------
#
# .. exercises::
