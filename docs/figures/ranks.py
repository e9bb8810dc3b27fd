"""Two ranks whose values lie apart: the variance of each, and that of all values."""

import matplotlib.pyplot as plt
import numpy as np

RANKS = {"rank 1": np.array([1.0, 2.0, 3.0]), "rank 2": np.array([7.0, 8.0, 9.0])}
LOOKS = ("C0", "o"), ("C1", "s")
together = np.concatenate(list(RANKS.values()))

figure, axes = plt.subplots(figsize=(4.6, 2.2))
lines = [*zip(RANKS.items(), LOOKS, (2, 1), strict=True), (("together", together), ("0.3", "d"), 0)]
for (_, values), (colour, marker), height in lines:
    mean, spread = values.mean(), values.std()
    axes.plot([mean - spread, mean + spread], [height] * 2, color=colour, linewidth=5, alpha=0.3)
    axes.plot(values, np.full(values.shape, height), marker, color=colour)
    axes.plot(mean, height, "|", color="black", markersize=16, markeredgewidth=1.5)
    axes.annotate(
        f"mean {mean:g}, variance {values.var():.2f}",
        (mean, height),
        xytext=(0, 11),
        textcoords="offset points",
        ha="center",
        size=8.5,
    )
axes.set(xlim=(0, 10), ylim=(-0.5, 2.7), xlabel="x")
axes.set_yticks([height for *_, height in lines], [name for (name, _), *_ in lines])
axes.spines["left"].set_visible(False)
axes.tick_params(axis="y", length=0)
