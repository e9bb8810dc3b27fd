"""Theorem 1: how far both moving averages lag behind sequences that do not stand still."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import average_moments, exact_moments, expectations

WINDOW = 16
KINDS = {"drift": (300, "a steady drift: 0.01 an iteration"), "slow": (2000, "slow change: sin(4 log t), (10) holds")}
KINDS |= {"jump": (300, "a jump by 1 at t = 150")}
EQUAL = (WINDOW - 1) / (WINDOW + 1)

figure, panels = plt.subplots(3, 1, figsize=(4.6, 7))
for axes, (kind, (steps, title)) in zip(panels, KINDS.items(), strict=True):
    t, sequence = np.arange(1, steps + 1), expectations(kind, steps)
    for decay, dash in ((0.98, "--"), (EQUAL, ":")):
        settings = {"window": WINDOW, "decay": decay}
        simple, exponential = average_moments(sequence, **settings, rng=np.random.default_rng(3), runs=1000)
        (simple_bias, _), (exponential_bias, _) = exact_moments(sequence, **settings)
        drawn = [(exponential, exponential_bias, dash, "C1", f"exponential, α = {decay:.3g}")]
        if decay == EQUAL:
            drawn.append((simple, simple_bias, "-", "C0", f"simple, m = {WINDOW}"))
        for moments, bias, line, shade, label in drawn:
            axes.fill_between(t, moments.bias.low, moments.bias.high, color=shade, alpha=0.25, linewidth=0)
            axes.plot(t, bias, line, color=shade, label=label)
    axes.axhline(0, color="0.5", linewidth=0.5)
    axes.set_title(title)
panels[2].set_xlabel("iterations t")
panels[1].set_ylabel("E[average] − E[ξ], in deviations of ξ")
panels[0].legend()
figure.suptitle("Lag of the averages: exact lines, simulated 95 % bands")
