"""Psi of one channel while a small network trains: from 2 images, from 32, and averaged over 16 batches of 2."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import mabn, modified_batch_norm
from mabn_ref.norms.common import sma

STEPS, SKIPPED, CHANNEL = 120, 60, 0
rng = np.random.default_rng(0)
train, _ = embedded.generate(train_size=32 * STEPS, test_size=10, seed=0)
images = to_float(train.images, *channel_statistics(train.images))
order = rng.permutation(len(images))


def recording(norm, psi):
    """The normaliser `norm`, whose backward notes the batch statistic Psi."""

    def backward(dz, cache, state):
        psi.append(norm.gradient_statistics(dz, cache)[1][:, CHANNEL])
        return norm.backward(dz, cache, state)

    return SimpleNamespace(**vars(norm) | {"backward": backward})


def net(norm, config, psi):
    """The small network, the normaliser after the fourth convolution recording."""
    layers = networks.small_network(norm, config, centralized=True, width=8)
    return [layer._replace(module=recording(norm, psi)) if layer.name == "norm4" else layer for layer in layers]


small, regular = [], []
layers = net(mabn, mabn.Config(norm_batch=2, window=16), small)
all_32 = net(modified_batch_norm, modified_batch_norm.Config(norm_batch=32), regular)
params, states = network.init(layers, rng)
_, states_32 = network.init(all_32, rng)
velocity = optimiser.init(params)
for step in range(STEPS):
    now = order[32 * step : 32 * (step + 1)]
    for which in (all_32, layers):  # the same weights and images through both; MABN's gradients train
        begin = states_32 if which is all_32 else states
        logits, caches, after = network.forward(which, params, begin, images[now])
        _, cache = softmax_cross_entropy.forward(logits, train.labels[now])
        grads, after = network.backward(which, softmax_cross_entropy.backward(1.0, cache), caches, after)
    states = after
    params, velocity = optimiser.step(params, grads, velocity, lr=0.05, momentum=0.9, weight_decay=5e-4)

of_two = np.concatenate(small)
averaged = sma(np.zeros((16, 1)), of_two[:, None].astype(np.float64), seen=0)[0].ravel()
of_32 = np.concatenate(regular)
begin = 16 * SKIPPED
at = np.arange(len(of_two))

figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
axes.plot(at[begin:], 1e3 * of_two[begin:], ".", color="0.72", markersize=3, label="one batch of 2 images")
axes.plot(at[15::16][SKIPPED:], 1e3 * of_32[SKIPPED:], "o", color="white", markeredgecolor="black", markersize=4)
axes.plot([], [], "o", color="white", markeredgecolor="black", markersize=4, label="one batch of 32 images")
axes.plot(at[begin:], 1e3 * averaged[begin:], "-", color="black", linewidth=1, label="mean of 16 batches of 2")
axes.set_xlabel("normalisation batches of 2 images")
axes.set_ylabel("Ψ, in thousandths")
axes.set_title("The batch statistic Ψ of the backward pass, in training")
axes.legend(loc="upper right", framealpha=1)
limit = 1.3 * np.quantile(np.abs(1e3 * of_two[begin:]), 0.97)
axes.set_ylim(-limit, 1.6 * limit)  # room for the legend
