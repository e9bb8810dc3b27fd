r"""
03 The batch statistics nobody looks at
=======================================

Batch normalisation uses a mean and a variance of the batch. Its backward pass uses two more. What are they, and how
good are they when the batch has two images?
"""

# %%
# Two means in the backward pass
# ------------------------------
#
# Six values of one channel, normalised, and a loss that wants them to be near six targets: :math:`L = \frac12 \sum_b
# (y_b - t_b)^2`.

# sphinx_gallery_thumbnail_number = 2
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm

np.set_printoptions(precision=3, suppress=True)

config = batch_norm.Config()
x = np.array([0.2, 1.9, -0.4, 1.1, 0.7, -1.2])[:, None]
targets = np.array([0.5, 1.0, 0.0, 1.5, 0.5, 0.0])
state = batch_norm.init(1, config, dtype=x.dtype)
_, cache, state = batch_norm.forward(x, np.ones(1), np.zeros(1), state, config)
y = cache.y.ravel()


def loss(y):
    return 0.5 * np.sum((y - targets) ** 2)


u = y - targets  # the gradient of the loss with respect to y
print("y =", y)
print("u =", u)

# %%
# From :math:`u` the backward pass takes two means over the batch, :eq:`bn-gradient-statistics` (5),
#
# .. math:: g = \frac1M \sum_b u_b, \qquad \Psi = \frac1M \sum_b y_b u_b ,
#
# and subtracts what they say, :eq:`bn-backward` (4):
#
# .. math:: \d{L}{x_b} = \frac{1}{\sigma} \left( u_b - g - y_b \Psi \right) .

g, psi = np.mean(u), np.mean(y * u)
print(f"g = {g:.4f}, Psi = {psi:.4f}")

# %%
# In the package they have a function of their own:

print(batch_norm.gradient_statistics(u[:, None], cache))

# %%
# What they mean
# --------------
#
# Shift all six values by the same small amount and the loss changes at the rate :math:`M g`. Stretch all six, and it
# changes at the rate :math:`M \Psi`. That is :eq:`gradient-statistics-oracle`, and differences confirm it:

h = 1e-5
print("g   by shifting  ", (loss(y + h) - loss(y - h)) / (2 * h) / 6)
print("Psi by stretching", (loss((1 + h) * y) - loss((1 - h) * y)) / (2 * h) / 6)

# %%
# Shifting and stretching is also what :math:`\beta` and :math:`\gamma` do. So :math:`g` and :math:`\Psi` are the
# gradients of these two, :eq:`affine-backward`, but for the factor :math:`\gamma / M`, which here is one sixth:

_, dgamma, dbeta, _ = batch_norm.backward(u[:, None], cache, state)
print("g =", dbeta / 6, " Psi =", dgamma / 6)

# %%
# So :math:`g` is how much the loss would like the whole channel to shift, and :math:`\Psi` how much it would like it
# to stretch. Batch normalisation undoes shifts and stretches of its input, neither wish can come true, and (4) takes
# both out of the gradient.
#
# With *all* images in the batch these would be two fixed numbers. With a few, they are estimates, like the mean and
# the variance, and as with those the question is how good.
#
# In a real network
# -----------------
#
# Ask the small network of this project, on its own generated images. First 50 steps of training with :math:`|B| =
# 32`, so that its gradients are those of a network at work.

train, _ = embedded.generate(train_size=1600, test_size=10, seed=0)
images = to_float(train.images, *channel_statistics(train.images))

layers = networks.small_network(batch_norm, batch_norm.Config(norm_batch=32), width=8)
params, states = network.init(layers, np.random.default_rng(0))
velocity = optimiser.init(params)
for step in range(50):
    now = slice(32 * step, 32 * (step + 1))
    logits, caches, states = network.forward(layers, params, states, images[now])
    value, cache = softmax_cross_entropy.forward(logits, train.labels[now])
    if step in (0, 49):
        print(f"loss at step {step}: {value:.2f}")
    dlogits = softmax_cross_entropy.backward(1.0, cache)
    grads, states = network.backward(layers, dlogits, caches, states)
    params, velocity = optimiser.step(params, grads, velocity, lr=0.05, momentum=0.9, weight_decay=5e-4)

# %%
# Now hold the weights, and send the same 512 images through with different \|B\|. The images and labels are always
# the same, only who shares statistics with whom changes. A normaliser is a module with functions, so the network can
# be handed one that also notes what it sees. It stands behind the fourth convolution, whose maps have 8 by 8
# positions.


def statistics_seen(size):
    """All batch statistics of the fourth normaliser, of 512 images in batches of `size`."""
    seen = {}

    def forward(x, gamma, beta, state, config):
        seen["mean"], seen["variance"] = batch_norm.statistics(x, config)
        return batch_norm.forward(x, gamma, beta, state, config)

    def backward(dz, cache, state):
        seen["g"], seen["Ψ"] = batch_norm.gradient_statistics(dz, cache)
        seen["u"] = np.sqrt(np.mean((dz * cache.gamma) ** 2, axis=(0, 1, 2)))  # typical size
        return batch_norm.backward(dz, cache, state)

    noting = SimpleNamespace(**vars(batch_norm) | {"forward": forward, "backward": backward})
    layers = networks.small_network(batch_norm, batch_norm.Config(norm_batch=size), width=8)
    layers = [layer._replace(module=noting) if layer.name == "norm4" else layer for layer in layers]
    logits, caches, after = network.forward(layers, params, states, images[:512])
    _, cache = softmax_cross_entropy.forward(logits, train.labels[:512])
    network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, after)
    return seen


sizes = [2, 4, 8, 16, 32, 64, 128]
seen = {size: statistics_seen(size) for size in [*sizes, 512]}
print("g of |B| = 2, a row a batch, a column a channel:", seen[2]["g"].shape)

# %%
# Here is :math:`\Psi` of one channel, batch after batch.

CHANNEL = 0
figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
for size, style in ((2, {"marker": ".", "color": "0.65"}), (32, {"marker": "o", "color": "black"})):
    middles = size * (np.arange(512 // size) + 0.5)
    values = 1e6 * seen[size]["Ψ"][:, CHANNEL]
    axes.plot(middles, values, linestyle="none", label=f"batches of {size} images", **style)
all_images = 1e6 * seen[512]["Ψ"][0, CHANNEL]
axes.axhline(all_images, color="black", linestyle="--", label="all 512 images")
axes.set_title("Ψ of one channel, the weights held")
axes.set_xlabel("where the batch stands (images)")
axes.set_ylabel("Ψ (millionths of the loss)")
axes.legend(loc="upper right", framealpha=1)
plt.show()

# %%
# How good are they?
# ------------------
#
# For each of the four statistics take the spread over batches, and divide it by what all 512 images give, both as a
# root mean square over the channels. A ratio of 0.1 is a good estimate; above 1 it is more noise than value.


def relative_spread(size, name):
    spread = np.std(seen[size][name], axis=0)
    value = seen[512][name]
    return np.sqrt(np.mean(spread**2) / np.mean(value**2))


names = ["mean", "variance", "g", "Ψ"]
print("|B|" + "".join(f"{name:>10}" for name in names))
table = {name: [relative_spread(size, name) for size in sizes] for name in names}
for i, size in enumerate(sizes):
    print(f"{size:3}" + "".join(f"{table[name][i]:10.2f}" for name in names))

# %%
# The forward statistics of two images are rough but usable. Those of the backward pass vary, at the same \|B\|, by
# many times what they estimate. That is no accident: they are the gradients of :math:`\gamma` and :math:`\beta`,
# which training drives towards zero. What is to be estimated shrinks, the noise stays. All four improve at the same
# slow rate, with the root of \|B\|.

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, style in zip(names, ("o-", "s--", "^-", "D--"), strict=True):
    colour = "black" if name in ("g", "Ψ") else "0.6"
    where = "backward" if name in ("g", "Ψ") else "forward"
    axes.loglog(sizes, table[name], style, color=colour, label=f"{name} ({where})")
guide = 0.25 * np.sqrt(2 / np.array(sizes))
axes.loglog(sizes, guide, ":", color="black", linewidth=1, label="1 over the root of |B|")
axes.axhline(1, color="0.85", linewidth=4, zorder=0)
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.minorticks_off()
axes.set_title("How much a batch statistic varies from batch to batch")
axes.set_xlabel("size of the batch |B| (images)")
axes.set_ylabel("spread (relative to the value of all images)")
axes.legend(ncols=2, fontsize="small")
plt.show()

# %%
# What it does to the gradient
# ----------------------------
#
# Put the :math:`\bar g` and :math:`\bar\Psi` of all images in place of the batch's, and (4) changes by
# :math:`\frac1\sigma ((g - \bar g) + y_b (\Psi - \bar\Psi))`. Beside a typical :math:`u_b` that is not much:

for size in (2, 32):
    spread = [np.mean(np.std(seen[size][name], axis=0) / seen[size]["u"]) for name in ("g", "Ψ")]
    print(f"|B| = {size:2}: g varies by {spread[0]:.1%} of a typical u, Psi by {spread[1]:.1%}")

# %%
# But it is the *same* error for all values of the batch, and a weight's gradient is a sum over them. Errors that are
# independent cancel in such a sum; a shared one does not:

rng = np.random.default_rng(0)
for M in (8, 128, 2048):
    independent = np.sum(0.1 * rng.standard_normal((2000, M)), axis=1)
    shared = np.sum(0.1 * rng.standard_normal((2000, 1)) * np.ones(M), axis=1)
    print(f"sum of {M:4} errors of 0.1: independent {np.std(independent):6.2f}, shared {np.std(shared):6.2f}")

# %%
# A word of caution. At :math:`|B| = 32`, too, :math:`g` and :math:`\Psi` are more noise than value, and there batch
# normalisation is known to train well: so noise is not fatal by itself, and the figure alone does not show that it is
# the cause of what goes wrong at :math:`|B| = 2`. A shared error of :math:`g` even *helps* a weight: the sum of the
# :math:`u_b` is off by the same amount, and one is subtracted from the other (:doc:`/derivations/hidden_statistics`).
# The paper's answer is to take the noise away and to see what happens. What can be proved about it is in
# :doc:`/derivations/theorem2`.
#
# Questions
# ---------
#
# 1. For the loss :math:`\frac12 \sum_b (y_b - t_b)^2`, write :math:`g` and :math:`\Psi` in terms of the targets. When
#    is each of them zero?
# 2. Batch Renormalization normalises by moving averages in the forward pass, and keeps (4) in the backward pass.
#    Which of the four curves does it bring down?
# 3. Suppose the last 16 batches of two were averaged, with the weights nearly the same in all of them. How far would
#    the curves of :math:`g` and :math:`\Psi` come down at :math:`|B| = 2`? What if the weights are not nearly the
#    same?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. With :math:`\sum_b y_b = 0`, :math:`g` is minus the mean of the targets. With :math:`\frac1M \sum_b y_b^2
#       \approx 1`, :math:`\Psi` is 1 minus the mean of :math:`y_b t_b`. They vanish when the targets have mean zero,
#       and when the straight line that fits the targets best has slope one: when no shift and no stretch would help.
#    2. Those of the mean and the variance. :math:`g` and :math:`\Psi` still come from the batch alone.
#    3. Independent noise falls by the root of 16, to a quarter: what a batch of 32 has. If the weights have moved,
#       the average is of old values too, and lags behind the present one. Tutorial 04 is about this bargain.

# %%
# Exercises
# ---------
#
# .. exercises::
