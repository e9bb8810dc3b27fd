"""Theorem 1: the variance of both moving averages of a stationary sequence, beside its formulas."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import average_moments, expectations

STEPS, WINDOW = 300, 16
t = np.arange(1, STEPS + 1)
sequence = expectations("constant", STEPS)

figure, (upper, lower) = plt.subplots(2, 1, figsize=(4.6, 6.2))
for decay, dash, compared in ((0.98, "--", True), ((WINDOW - 1) / (WINDOW + 1), ":", False)):
    simple, exponential = average_moments(sequence, window=WINDOW, decay=decay, rng=np.random.default_rng(1))
    claimed = (1 - decay ** (2 * t)) * (1 - decay) / (1 + decay)
    upper.fill_between(t, exponential.variance.low, exponential.variance.high, color="C1", alpha=0.25, linewidth=0)
    upper.plot(t, claimed, dash, color="C1", label=f"exponential, α = {decay:.3g}: formula (9)")
    if compared:
        lower.fill_between(
            t, exponential.variance.low / claimed, exponential.variance.high / claimed, color="C1", alpha=0.25
        )
        lower.plot(t, exponential.variance.mean / claimed, dash, color="C1")
full = slice(WINDOW - 1, None)  # before, the mean is of fewer values
upper.fill_between(t, simple.variance.low, simple.variance.high, color="C0", alpha=0.25, linewidth=0)
upper.plot(t[full], 1 / WINDOW + 0 * t[full], "-", color="C0", label=f"simple, m = {WINDOW}: formula (11)")
lower.fill_between(
    t[full], WINDOW * simple.variance.low[full], WINDOW * simple.variance.high[full], color="C0", alpha=0.25
)
lower.plot(t[full], WINDOW * simple.variance.mean[full], "-", color="C0")
lower.axhline(1, color="black", linewidth=0.5)
lower.set_ylim(0.85, 1.15)
upper.set_yscale("log")
upper.set_ylabel("variance of the average, in Var[ξ]")
upper.set_title("What is left of the variance (bands: simulated, 95 %)")
upper.set_ylim(1e-4, 2)
upper.legend(loc="lower right")
lower.set_ylabel("simulated variance / formula")
lower.set_title("Simple (solid) and exponential, α = 0.98 (dashed)")
for axes in (upper, lower):
    axes.set_xlabel("iterations t")
