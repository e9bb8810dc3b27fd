r"""
04 Moving averages
==================

The statistics of two images are noisy. The batches before had statistics too: what does averaging over them gain, and
what does it cost?
"""

# %%
# Two averages, by hand
# ---------------------
#
# Six values of some batch statistic, one an iteration. A *simple* moving average is the mean of the last :math:`m`.
# An *exponential* one takes a part of the new value and keeps :math:`\alpha` of the old average. As sums over all
# values :math:`\xi_i` so far, :eq:`averages` (7), they are
#
# .. math::
#
#    S_t = \frac1m \sum_{i = t - m + 1}^{t} \xi_i, \qquad
#    E_t = (1 - \alpha) \sum_{i=1}^{t} \alpha^{t - i} \, \xi_i .

# sphinx_gallery_thumbnail_number = 3
from collections import deque

import matplotlib.pyplot as plt
import numpy as np

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
# Two choices hide in these lines. While fewer than :math:`m` values are there, we take the mean of those. And the
# exponential average starts at 0, of which :math:`\alpha^t` is left after :math:`t` values, so it is too small at
# first. The package makes the first choice too; the start is the caller's.
#
# One call to a normaliser can hold many batches, so both functions map a sequence to a sequence: a row a batch, a
# column a channel. `mabn_ref.norms.common.ema` returns the average before and after each value,
# `mabn_ref.norms.common.sma` the averages and the window for the next call.

column = np.array(xi)[:, None]
averages, window = sma(np.zeros((3, 1)), column, seen=0)
before, after = ema(np.zeros(1), column, 0.5)
print("simple:     ", averages.ravel(), "   window for the next call:", window.ravel())
print("exponential:", after.ravel())

# %%
# What both have in common is that they are weighted means of the past. They differ in the weights. Here are the two
# that MABN uses, with the paper's :math:`m = 16` and :math:`\alpha = 0.98`, and a third that will be of interest.

m, alpha, equal = 16, 0.98, 15 / 17
ages = np.arange(60)
figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.step(ages, (ages < m) / m, where="mid", color="black", label="simple, m = 16")
axes.plot(ages, (1 - alpha) * alpha**ages, "--", color="black", label="exponential, α = 0.98")
axes.plot(ages, (1 - equal) * equal**ages, ".", color="0.5", label="exponential, α = 15/17")
axes.set_title("How much an average trusts the past")
axes.set_xlabel("age of the value (iterations)")
axes.set_ylabel("weight in the average (parts of 1)")
axes.legend()
plt.show()

# %%
# What is gained
# --------------
#
# Say that the values are independent and of one distribution, with variance :math:`w`. The paper's Theorem 1 says how
# much of it is left: :eq:`ema-moments` (9) and :eq:`sma-moments` (11),
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
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.plot(t, np.var(simple, axis=1) / w, "s", color="0.6", markersize=4, label="simple, measured")
axes.plot(t, 1 / np.minimum(t, m), "-", color="black", label="simple, 1/m (1/t until m values are there)")
axes.plot(t, np.var(exponential, axis=1) / w, "o", color="0.6", markersize=3, label="exponential, measured")
theory = (1 - alpha ** (2 * t)) * (1 - alpha) / (1 + alpha)
axes.plot(t, theory, "--", color="black", label="exponential, equation (9)")
axes.set_yscale("log")
axes.set_title("Variance of moving averages, m = 16, α = 0.98")
axes.set_xlabel("t (iterations)")
axes.set_ylabel("variance (parts of one value's)")
axes.legend(fontsize="small")
plt.show()

# %%
# The long average has a sixth of the short one's variance. Its small variance at the very start means little: it is
# the variance of a number that is still almost zero.
#
# What it costs
# -------------
#
# An average of the past is about the past. If the statistic moves by :math:`h` an iteration, the averages are late,
# by
#
# .. math:: \frac{m - 1}{2} \quad \text{and} \quad \frac{\alpha}{1 - \alpha}
#
# iterations: the mean age of their values. :doc:`/derivations/moving_averages` has the sums.

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
# So the bargain is noise against delay. The long average is for what settles: the forward statistics at the end of
# training, :eq:`ema-forward` (12). The short one is for what keeps moving: those of the backward pass,
# :eq:`sma-backward` (13).
#
# But the exponential average with :math:`\alpha = (m - 1) / (m + 1) = 15/17` makes the very same bargain as the
# window of 16: equally noisy, equally late. What only the window has is an end. Sixteen iterations after a jump,
# which may be a cut of the learning rate, nothing of the time before is left in it:

truth = np.concatenate([np.full(60, 1.0), np.full(80, 0.2), 0.2 + 0.01 * np.arange(100)])
noisy = (truth + 0.3 * rng.standard_normal(240))[:, None]

figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
axes.plot(noisy, ".", color="0.75", markersize=4, label="batch values")
axes.plot(truth, "-", color="0.6", linewidth=4, label="what they estimate")
axes.plot(sma(np.ones((m, 1)), noisy)[0], "-", color="black", label="simple, m = 16")
axes.plot(ema(np.ones(1), noisy, equal)[1], ":", color="black", label="exponential, α = 15/17")
axes.plot(ema(np.ones(1), noisy, alpha)[1], "--", color="black", label="exponential, α = 0.98")
axes.set_title("A jump, a rest and a drift")
axes.set_xlabel("t (iterations)")
axes.set_ylabel("batch statistic (its own unit)")
axes.set_ylim(top=2.3)  # room for the legend
axes.legend(ncols=2, fontsize="small", loc="upper center")
plt.show()

# %%
# One way not to compute it
# -------------------------
#
# A mean over a window is a difference of two cumulative sums, which is short to write. It cancels: the sums grow with
# every iteration, and the difference does not. In single precision, after 200,000 iterations:

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
# 1. You want one hundredth of the variance. Which :math:`m` does it take, which :math:`\alpha`, and how late are
#    they?
# 2. An exponential average with :math:`\alpha = 0.98` starts at 1, and the statistic is 0 all the time. After how
#    many iterations is the average below 0.01? What does that mean for inference after a short training?
# 3. Theorem 1 wants independent values. In training, neighbouring batch statistics may be correlated, since the
#    weights are nearly the same. With a correlation of :math:`\rho` between neighbours, what is the variance of the
#    mean of two? Is (11) too large or too small for :math:`\rho > 0`?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. :math:`m = 100`. From :math:`(1 - \alpha) / (1 + \alpha) = 1 / 100` follows :math:`\alpha = 99 / 101 \approx
#       0.98`. Both are 49.5 iterations late.
#    2. :math:`0.98^t < 0.01` from :math:`t = 228` on. After a shorter training the moving statistics still contain a
#       noticeable part of their start, and inference normalises by wrong numbers.
#    3. :math:`\frac14 (w + w + 2 \rho w) = \frac{1 + \rho}{2} w`, where (11) says :math:`\frac12 w`. It is too small:
#       correlated values bring less news than independent ones.

# %%
# Exercises
# ---------
#
# .. exercises::
