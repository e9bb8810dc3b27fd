"""Outputs of some filters on inputs after a ReLU, with their weights as they are and centralised."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.nn import centralize

FILTERS, INPUTS, PATCHES = 12, 9 * 16, 2000
rng = np.random.default_rng(0)
patches = np.maximum(rng.standard_normal((PATCHES, INPUTS)), 0)
weights = rng.standard_normal((3, 3, INPUTS // 9, FILTERS)) * np.sqrt(2 / INPUTS)
numbers = np.arange(1, FILTERS + 1)

figure, axes = plt.subplots()
for k, (kernel, style, label) in enumerate(
    ((weights, "oC0", "weights as they are"), (centralize.centred(weights), "sC1", "centralised weights"))
):
    outputs = patches @ kernel.reshape(INPUTS, FILTERS)
    axes.errorbar(
        numbers + 0.25 * k, np.mean(outputs, axis=0), np.std(outputs, axis=0), fmt=style, markersize=4, label=label
    )
axes.axhline(0, color="0.5", linewidth=0.8)
axes.set(xlabel="output filter", ylabel="output: mean ± standard deviation", xticks=numbers)
axes.set_title("Inputs after a ReLU: their common part drops out")
figure.legend(loc="outside lower center", ncols=2)
