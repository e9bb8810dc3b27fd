"""Theorem 2: what g adds to the total variance of the gradient and to its noise, over |B|, as a share of Var[g]."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import dependent_pairs, exact_gaps, gradient_gaps

BATCHES = np.array([2, 4, 8, 16, 32])
rng = np.random.default_rng(0)
images, single = dependent_pairs(20_000, 4, rng), dependent_pairs(20_000, 1, rng)
DRAWN = (
    ("centred", images, BATCHES, "-", "o", "frozen, y centred in the batch: (i)"),
    ("frozen", images, BATCHES, "--", "s", "frozen, population's mean: (iii)"),
    ("batch", images, BATCHES, ":", "^", "each batch its own σ or χ"),
    ("batch", single, 4 * BATCHES, "-.", "v", "the same, positions independent"),
    ("scaled", images, BATCHES, (0, (1, 3)), "D", "each batch its own, at one scale"),
)

figure, panels = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
for statistics, (x, u), batches, dash, marker, label in DRAWN:
    gaps = gradient_gaps(x, u, batches, statistics=statistics, rng=np.random.default_rng(1), runs=10_000)
    unit = exact_gaps(x, u, batches, statistics="centred")[0]
    for axes, found, proved in zip(panels, (gaps.total, gaps.noise), (1, 2), strict=True):
        line = (
            found.mean
            if statistics in ("batch", "scaled")
            else exact_gaps(x, u, batches, statistics=statistics)[proved]
        )
        axes.fill_between(BATCHES, found.low / unit, found.high / unit, color="0.75", linewidth=0)
        axes.plot(BATCHES, found.mean / unit, marker, color="black", markerfacecolor="white", label=label)
        axes.plot(BATCHES, line / unit, linestyle=dash, color="black", linewidth=1)
panels[0].axhline(1, color="black", linewidth=2.5)
panels[0].annotate("(17) as printed: on this line or above", (2, 1.08), fontsize="small")
for axes, title in zip(panels, ("Total variance", "Noise: squared distance to the population's"), strict=True):
    axes.set_xscale("log", base=2)
    axes.set_xticks(BATCHES, [str(size) for size in BATCHES])
    axes.set_xlabel("|B|, samples of four positions")
    axes.axhline(0, color="0.5", linewidth=0.5)
    axes.set_title(title, fontsize="medium")
panels[0].set_ylabel("vanilla minus modified, in Var[g] / s²")
panels[1].legend(fontsize="small")
figure.suptitle("What subtracting g does to a gradient: proved lines, simulated points with 95 % bands")
