"""Precision over recall of five guesses, three of them right; the mean height of the steps is average precision."""

import matplotlib.pyplot as plt
import numpy as np

right = np.array([1, 0, 1, 1, 0])
precision, recall = np.cumsum(right) / np.arange(1, 6), np.cumsum(right) / right.sum()
best = np.maximum.accumulate(precision[::-1])[::-1]
figure, axes = plt.subplots(figsize=(4.6, 3))
axes.plot(recall, precision, "C0o--", label="down the list")
axes.step([0, *recall[:-1]], [best[0], *best[:-1]], "C1-", where="pre", label="best from here on")
for k, place in enumerate(zip(recall, precision, strict=True), start=1):
    axes.annotate(str(k), place, (5, -10), textcoords="offset points")
axes.set_xlim(0, 1.05)
axes.set_ylim(0, 1.05)
axes.set_xlabel("recall: part of the true discs that is found")
axes.set_ylabel("precision: part of the\nguesses that is right")
axes.legend(loc="lower left")
