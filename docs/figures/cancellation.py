"""Standard deviation of normalised values in single precision, their statistics computed in three ways."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.norms import batch_norm

means = np.logspace(0, 6, 31)
noise = np.random.default_rng(0).standard_normal((1, 256, 256, 2))
ones, eps = np.ones(noise.size // 2, dtype=np.float32), np.float32(1e-5)
gamma, beta, config = np.ones(2, dtype=np.float32), np.zeros(2, dtype=np.float32), batch_norm.Config()
state = batch_norm.init(2, config, dtype=np.float32)
one_pass, two_passes, corrected = [], [], []
for mean in means:
    x = (noise + mean).astype(np.float32)
    values = x.reshape(-1, 2)
    mu = ones @ values / ones.size  # one long sum
    centred = values - mu
    for spreads, y in (
        (one_pass, centred / np.sqrt(np.maximum(ones @ (values * values) / ones.size - mu * mu, 0) + eps)),
        (two_passes, centred / np.sqrt(ones @ (centred * centred) / ones.size + eps)),
        (corrected, batch_norm.forward(x, gamma, beta, state, config)[0]),
    ):
        spreads.append(float(np.std(y.reshape(-1, 2)[:, 0].astype(np.float64))))

figure, axes = plt.subplots(figsize=(4.6, 4.0))
axes.loglog(means, one_pass, "s", color="C1", label="E[x²] − E[x]², 0 if negative")
axes.loglog(means, two_passes, "o", color="C0", markerfacecolor="none", label="mean of (x − E[x])²")
axes.loglog(means, corrected, "-", color="black", label="the same, without the rounding of E[x]")
axes.set_xlabel("mean of the inputs, in standard deviations")
axes.set_ylabel("standard deviation (should be 1)")
axes.set_title("Spread after batch norm in single precision")
figure.legend(loc="outside lower center")
