"""The outputs of a layer normalisation over its inputs, for made-up words, and the curve that takes its place."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.norms import group_norm

WORDS, CHANNELS = 60, 64
rng = np.random.default_rng(1)
x = rng.standard_normal((WORDS, CHANNELS))
x[:, 0] *= 10 ** rng.uniform(0, 1.7, WORDS)  # in some words one channel is very large
one, zero, config = np.ones(CHANNELS), np.zeros(CHANNELS), group_norm.Config(groups=1)
y, *_ = group_norm.forward(x, one, zero, group_norm.init(CHANNELS, config, dtype=x.dtype), config)

figure, axes = plt.subplots(figsize=(4.6, 4))
for word, out in zip(x, y, strict=True):
    order = np.argsort(word)
    axes.plot(word[order], out[order], color="C0", linewidth=0.5, alpha=0.5)
axes.plot(x.ravel(), y.ravel(), ".", color="C0", markersize=3, label=f"{WORDS} words, a line each")
at = np.linspace(-np.abs(x).max(), np.abs(x).max(), 400)
axes.plot(at, 8 * np.tanh(at / 10), color="C1", linewidth=2, label="8 tanh(x / 10)")
axes.set(xlabel="input x", ylabel="output y", title="Layer normalisation, all words in one picture")
axes.legend(loc="upper left")
