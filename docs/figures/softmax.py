"""Probabilities of three classes, the truth, and the gradient of the loss, which is their difference."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.nn import softmax_cross_entropy

SCORES, RIGHT = np.array([[2.0, 1.0, 0.0]]), 1
_, cache = softmax_cross_entropy.forward(SCORES, np.array([RIGHT]))
(gradient,) = softmax_cross_entropy.backward(1.0, cache)
truth = np.eye(3)[RIGHT]
places = np.arange(3)

figure, (left, right) = plt.subplots(1, 2, figsize=(4.6, 2.6), width_ratios=(1.4, 1))
left.bar(places - 0.2, gradient + truth, 0.36, color="C0", label="probability")
left.bar(places + 0.2, truth, 0.36, facecolor="none", edgecolor="C1", hatch="///", label="truth")
left.set(title="What the network says", ylim=(0, 1.45), yticks=(0, 0.5, 1))
left.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.2)
right.bar(places, gradient, 0.5, color="0.45")
right.axhline(0, color="black", linewidth=0.8)
for place, value in zip(places, gradient, strict=True):
    right.annotate(
        f"{value:.2f}",
        (place, value),
        xytext=(0, 3 if value > 0 else -10),
        textcoords="offset points",
        ha="center",
        size=8.5,
    )
right.set(title="Gradient by the score", ylim=(-0.95, 0.95), yticks=())
right.spines[["left", "bottom"]].set_visible(False)
for axes in (left, right):
    axes.set_xticks(places, [f"{score:g}" for score in SCORES[0]])
    axes.set_xlabel("score")
