"""Theorem 2: what g adds to the total variance of the gradient and to its noise, over |B|, as a share of Var[g]."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import dependent_pairs, exact_gaps, gradient_gaps

BATCHES = np.array([2, 4, 8, 16, 32])
rng = np.random.default_rng(0)
images, single = dependent_pairs(20_000, 4, rng), dependent_pairs(20_000, 1, rng)
DRAWN = (
    ("centred", images, BATCHES, "-", "o", "C0", "frozen, y centred in the batch: (i)"),
    ("frozen", images, BATCHES, "--", "s", "C0", "frozen, population's mean: (iii)"),
    ("batch", images, BATCHES, ":", "^", "C1", "each batch its own σ or χ"),
    ("batch", single, 4 * BATCHES, "-.", "v", "C1", "the same, positions independent"),
    ("scaled", images, BATCHES, (0, (1, 3)), "D", "C2", "each batch its own, at one scale"),
)

figure, panels = plt.subplots(2, 1, figsize=(4.6, 7.6), sharex=True)
for statistics, (x, u), batches, dash, marker, colour, label in DRAWN:
    gaps = gradient_gaps(x, u, batches, statistics=statistics, rng=np.random.default_rng(1), runs=10_000)
    unit = exact_gaps(x, u, batches, statistics="centred")[0]
    for axes, found, proved in zip(panels, (gaps.total, gaps.noise), (1, 2), strict=True):
        line = (
            found.mean
            if statistics in ("batch", "scaled")
            else exact_gaps(x, u, batches, statistics=statistics)[proved]
        )
        axes.fill_between(BATCHES, found.low / unit, found.high / unit, color=colour, alpha=0.25, linewidth=0)
        axes.plot(BATCHES, found.mean / unit, marker, color=colour, markerfacecolor="none", label=label)
        axes.plot(BATCHES, line / unit, linestyle=dash, color=colour, linewidth=1)
panels[0].axhline(1, color="black", linewidth=2.5)
panels[0].annotate("(17) as printed: on this line or above", (2, 1.08))
for axes, title in zip(panels, ("Total variance", "Noise: squared distance to the population's"), strict=True):
    axes.set_xscale("log", base=2)
    axes.set_xticks(BATCHES, [str(size) for size in BATCHES])
    axes.axhline(0, color="0.5", linewidth=0.5)
    axes.set_title(title)
    axes.set_ylabel("vanilla minus modified, in Var[g] / s²")
panels[1].set_xlabel("|B|, samples of four positions")
figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center")
figure.suptitle("What subtracting g does to a gradient:\nproved lines, simulated points with 95 % bands")
