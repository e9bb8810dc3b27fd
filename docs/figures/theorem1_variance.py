"""Theorem 1: the variance of both moving averages of a stationary sequence, beside its formulas."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import average_moments, expectations

STEPS, WINDOW = 300, 16
t = np.arange(1, STEPS + 1)
sequence = expectations("constant", STEPS)

figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
for decay, dash, shade in ((0.98, "--", "0.8"), ((WINDOW - 1) / (WINDOW + 1), ":", None)):
    simple, exponential = average_moments(sequence, window=WINDOW, decay=decay, rng=np.random.default_rng(1))
    claimed = (1 - decay ** (2 * t)) * (1 - decay) / (1 + decay)
    left.fill_between(t, exponential.variance.low, exponential.variance.high, color="0.75", linewidth=0)
    left.plot(t, claimed, dash, color="black", label=f"exponential, α = {decay:.3g}: formula (9)")
    if shade:
        right.fill_between(t, exponential.variance.low / claimed, exponential.variance.high / claimed, color=shade)
        right.plot(t, exponential.variance.mean / claimed, dash, color="black", linewidth=0.8)
full = slice(WINDOW - 1, None)  # before, the mean is of fewer values
left.fill_between(t, simple.variance.low, simple.variance.high, color="0.75", linewidth=0, label="simulated, 95 %")
left.plot(t[full], 1 / WINDOW + 0 * t[full], "-", color="black", label=f"simple, m = {WINDOW}: formula (11)")
right.fill_between(t[full], WINDOW * simple.variance.low[full], WINDOW * simple.variance.high[full], color="0.55")
right.plot(t[full], WINDOW * simple.variance.mean[full], "-", color="black", linewidth=0.8)
right.axhline(1, color="black", linewidth=0.5)
right.set_ylim(0.85, 1.15)
left.set_yscale("log")
left.set_ylabel("variance of the average, in Var[ξ]")
left.set_title("What is left of the variance")
left.set_ylim(1e-4, 2)
left.legend(fontsize="small", loc="lower right")
right.set_ylabel("simulated variance / formula")
right.set_title("Simple (dark) and exponential, α = 0.98 (light)")
for axes in (left, right):
    axes.set_xlabel("iterations t")
