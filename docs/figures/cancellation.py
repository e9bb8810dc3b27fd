"""Standard deviation of normalised values in single precision, with the variance computed in two ways."""

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
means = np.logspace(0, 6, 61)
noise = rng.standard_normal(4096)
centred, one_pass = [], []
for mean in means:
    x = (noise + mean).astype(np.float32)
    mu = np.mean(x)
    for spreads, variance in (
        (centred, np.mean((x - mu) ** 2)),
        (one_pass, np.maximum(np.mean(x * x) - mu * mu, np.float32(0))),
    ):
        y = (x - mu) / np.sqrt(variance + np.float32(1e-5))
        spreads.append(float(np.std(y.astype(np.float64))))

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.loglog(means, one_pass, "o", color="0.55", markersize=4, label="E[x²] − E[x]², negative values set to 0")
axes.loglog(means, centred, "-", color="black", label="mean of (x − E[x])²")
axes.set_xlabel("mean of the inputs, in standard deviations")
axes.set_ylabel("standard deviation after normalising")
axes.set_title("Batch normalisation in single precision: it should be 1")
axes.legend()
