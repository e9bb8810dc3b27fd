"""Recorded cost against samples, positions, channels and window, each relative to the reference size."""

import matplotlib.pyplot as plt
import numpy as np
from benchmarks import recorded

tables = recorded()["results"]["scaling"]["tables"]
NAMES = {"N": "samples N", "H*W": "positions H·W", "C": "channels C, first layer", "m": "window m"}
LINES = {"training step with MABN 2": ("o-", "C0"), "MABN 2, forward + backward": ("s--", "C1")}

figure, grid = plt.subplots(2, 2, figsize=(4.6, 4.8))
for axes, (axis, name) in zip(grid.flat, NAMES.items(), strict=True):
    for title, (style, colour) in LINES.items():
        timings = tables[f"{title}, by {axis}"]
        sizes = np.array([float(size) for size in timings])
        median, low, high = np.array(list(timings.values())).T
        errors = (median - low, high - median)
        axes.errorbar(sizes, median, yerr=errors, fmt=style, color=colour, markersize=4, label=title)
        if axis in ("N", "H*W"):
            slope, cut = np.polyfit(sizes, median, 1, w=1 / median)
            axes.plot(sizes, slope * sizes + cut, ":", color=colour, linewidth=1)
    axes.set_xlabel(name)
    axes.set_ylabel("ms")
    if axis in ("C", "m"):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    if axis == "C":
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0)
figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center")
