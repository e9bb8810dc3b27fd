"""A statistic of the forward pass and one of the backward pass: from 2 images, from 32, and from 2 with MABN."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.norms.common import sma

STEPS, SHOWN, WINDOW, CHANNEL = 120, 60, 16, 0
rng = np.random.default_rng(0)
train, _ = embedded.generate(train_size=32 * STEPS, test_size=10, seed=0)
images = to_float(train.images, *channel_statistics(train.images))
order = rng.permutation(len(images))
variance, psi = {2: [], 32: []}, {2: [], 32: []}
chi2, mabn_psi, seen = [], [], []


def forward(x, gamma, beta, state, config):
    """MABN's forward pass; the variances that batch norm would use are noted."""
    for size in variance:
        variance[size].append(batch_norm.statistics(x, batch_norm.Config(norm_batch=size))[1][:, CHANNEL])
    chi2.append(mabn.statistics(x, config)[:, CHANNEL])
    seen.append((x, gamma, beta))
    return mabn.forward(x, gamma, beta, state, config)


def backward(dz, cache, state):
    """MABN's backward pass; the Psi that batch norm would use is noted."""
    x, gamma, beta = seen[-1]
    for size in psi:
        config = batch_norm.Config(norm_batch=size)
        begin = batch_norm.init(len(gamma), config, dtype=x.dtype)
        of_batch_norm = batch_norm.forward(x, gamma, beta, begin, config)[1]
        psi[size].append(batch_norm.gradient_statistics(dz, of_batch_norm)[1][:, CHANNEL])
    mabn_psi.append(mabn.gradient_statistics(dz, cache)[1][:, CHANNEL])
    return mabn.backward(dz, cache, state)


recording = SimpleNamespace(**vars(mabn) | {"forward": forward, "backward": backward})
layers = networks.small_network(mabn, mabn.Config(norm_batch=2, window=WINDOW), centralized=True, width=8)
layers = [layer._replace(module=recording) if layer.name == "norm4" else layer for layer in layers]
params, states = network.init(layers, rng)
velocity = optimiser.init(params)
for step in range(STEPS):
    now = order[32 * step : 32 * (step + 1)]
    logits, caches, states = network.forward(layers, params, states, images[now])
    _, cache = softmax_cross_entropy.forward(logits, train.labels[now])
    grads, states = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, states)
    params, velocity = optimiser.step(params, grads, velocity, lr=0.05, momentum=0.9, weight_decay=5e-4)


def averaged(values):
    """The mean of the last `WINDOW` batches of two, as MABN takes it."""
    return sma(np.zeros((WINDOW, 1)), np.concatenate(values)[:, None].astype(np.float64), seen=0)[0].ravel()


def over_time(values):
    """Where each value lies on the way from the first shown update to the last, and how large it is."""
    values = np.concatenate([np.ravel(value) for value in values])
    shown = values[len(values) * (STEPS - SHOWN) // STEPS :]
    return np.linspace(0, 1, len(shown)), shown


ROWS = {
    "forward pass:\nin full view": (variance[2], variance[32], [averaged(chi2)], "#0072B2", "o"),
    "backward pass:\nwhere nobody looks": (psi[2], psi[32], [averaged(mabn_psi)], "#D55E00", "s"),
}
COLUMNS = ("2 images\nper batch", "32 images\nper batch", "2 images,\nMABN")
figure, grid = plt.subplots(2, 3, figsize=(4.6, 4.3), sharex=True, sharey=True)
for panels, (name, (*shown, colour, marker)) in zip(grid, ROWS.items(), strict=True):
    usual = np.sqrt(np.mean(np.square(over_time(shown[1])[1])))
    for axes, values in zip(panels, shown, strict=True):
        at, sizes = over_time(values)
        axes.plot(at, sizes / usual, marker, color=colour, markersize=2.2, markeredgewidth=0, alpha=0.8)
        axes.axhline(0, color="0.5", linewidth=0.8, zorder=0)
        if name.startswith("backward"):
            axes.axvspan(-0.1, 1.1, color="0.5", alpha=0.2, linewidth=0, zorder=0)  # out of sight
    panels[0].set_ylabel(name)
for axes, title in zip(grid[0], COLUMNS, strict=True):
    axes.set_title(title)
for axes in grid.flat:
    axes.set(xticks=[], xlim=(-0.1, 1.1), ylim=(-8, 8), yticks=(-5, 0, 5))
grid[1, 1].set_xlabel("training time →")
figure.suptitle(
    "What one layer measures in every batch\n(a dot is a batch; 1 = usual size with 32 images)", fontsize=10
)
