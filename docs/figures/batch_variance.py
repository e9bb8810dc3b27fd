"""The biased variance of a batch and Psi, as shares of what they estimate, by the number of values."""

import matplotlib.pyplot as plt
import numpy as np

SIZES, RUNS = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32]), 20_000
rng = np.random.default_rng(0)
shares = []
for size in SIZES:
    x = rng.standard_normal((RUNS, size))
    u = 0.5 * x + rng.standard_normal(x.shape)  # Psi of the population: 0.5
    centred = x - np.mean(x, axis=1, keepdims=True)
    shares.append((np.mean(centred**2), np.mean(centred * u) / 0.5))

figure, axes = plt.subplots()
size = np.linspace(SIZES[0], SIZES[-1], 200)
axes.plot(size, 1 - 1 / size, color="black", label="1 − 1/M")
for share, style, label in zip(zip(*shares, strict=True), ("oC0", "sC1"), ("v, variance", "Ψ"), strict=True):
    axes.plot(SIZES, share, style, markerfacecolor="none", label=f"{label}, mean of {RUNS:,} batches")
axes.axhline(1, color="0.5", linewidth=0.8, linestyle=":")
axes.set(xlabel="values in the batch, M", ylabel="share of the population's", ylim=(0, 1.05))
axes.set_title("Small batches estimate too little")
axes.legend(loc="lower right")
