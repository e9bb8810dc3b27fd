r"""
01 What batch normalisation does
================================

The inputs of a layer have whatever mean and spread the weights before it give them. What does batch normalisation
make of them, and what does it cost?
"""

# %%
# Four samples by hand
# --------------------
#
# A *channel* is one feature of the data. Here are four samples with two channels, samples down, channels across. The
# channels could hardly differ more: one has a mean near 3, the other near 200.

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.norms import batch_norm

np.set_printoptions(precision=3, suppress=True)

x = np.array([[2.0, 100.0], [4.0, 300.0], [3.0, 150.0], [3.0, 250.0]])
print(x)

# %%
# Batch normalisation takes the mean and the variance of each channel over the batch, :eq:`bn-statistics` (2):
#
# .. math::
#
#    \mu = \frac1M \sum_{b=1}^M x_b, \qquad v = \frac1M \sum_{b=1}^M (x_b - \mu)^2 .
#
# :math:`M` is the number of values a channel has in the batch, here 4. The variance is divided by :math:`M`, not by
# :math:`M - 1`.

mu = np.sum(x, axis=0) / 4
v = np.sum((x - mu) ** 2, axis=0) / 4
print("mean    ", mu)
print("variance", v)

# %%
# Then every value is shifted by the mean and divided by the root of the variance, :eq:`bn-normalise` (1):
#
# .. math:: y_b = \frac{x_b - \mu}{\sigma}, \qquad \sigma = \sqrt{v + \epsilon} .
#
# The small :math:`\epsilon` is there for a channel that does not vary: without it, it would be divided by zero.

eps = 1e-5
sigma = np.sqrt(v + eps)
y = (x - mu) / sigma
print(y)
print("mean              ", np.mean(y, axis=0))
print("standard deviation", np.std(y, axis=0))

# %%
# Both channels have mean zero and standard deviation one now, and are of one size:

figure, axes = plt.subplots(1, 2, figsize=(7.2, 3), layout="constrained")
for ax, values, title in zip(axes, (x, y), ("Before", "After"), strict=True):
    ax.plot([1, 2, 3, 4], values[:, 0], "o--", color="black", label="channel 0")
    ax.plot([1, 2, 3, 4], values[:, 1], "s-", color="0.55", label="channel 1")
    ax.set_xticks([1, 2, 3, 4])
    ax.set_title(title)
    ax.set_xlabel("sample (number)")
axes[0].set_ylabel("x (units of the data)")
axes[1].set_ylabel("y (standard deviations)")
axes[0].legend()
plt.show()

# %%
# Some layers want another mean and another spread. So two numbers a channel, :math:`\gamma` and :math:`\beta`, are
# learned with the weights, :eq:`affine` (3):
#
# .. math:: z_b = \gamma \, y_b + \beta .

gamma, beta = np.array([1.0, 0.5]), np.array([0.0, 10.0])
print(gamma * y + beta)

# %%
# The same with the package
# -------------------------
#
# A normaliser is a handful of pure functions. `mabn_ref.norms.batch_norm.forward` takes the input, the two learned
# numbers, a state and a configuration. It returns the output, what the backward pass will need, and a new state.

config = batch_norm.Config(eps=eps)
state = batch_norm.init(2, config, dtype=x.dtype)
z, cache, new_state = batch_norm.forward(x, gamma, beta, state, config)
print("largest difference to our own:", np.max(np.abs(z - (gamma * y + beta))))

# %%
# Images work the same way. They have the shape (N, H, W, C), *channels last*, and all positions of all images of a
# channel count as its values: four images of 8 by 8 pixels give :math:`M = 4 \cdot 8 \cdot 8 = 256`.

rng = np.random.default_rng(0)
images = 5 + 3 * rng.standard_normal((4, 8, 8, 2))
of_images, _, _ = batch_norm.forward(images, np.ones(2), np.zeros(2), state, config)
print("mean              ", np.mean(of_images, axis=(0, 1, 2)))
print("standard deviation", np.std(of_images, axis=(0, 1, 2)))

# %%
# What it is good for
# -------------------
#
# Shift a channel, or stretch it, and batch normalisation undoes both. Whatever the layer before does to the mean and
# the scale of its output, the layer after does not notice. Weights may grow, and nothing blows up.


def normalised(x):
    """Batch normalisation with gamma = 1 and beta = 0."""
    channels = x.shape[-1]
    state = batch_norm.init(channels, config, dtype=x.dtype)
    return batch_norm.forward(x, np.ones(channels), np.zeros(channels), state, config)[0]


changed = 100 * x + 7
print("largest change of y:", f"{np.max(np.abs(normalised(changed) - normalised(x))):.6f}")

# %%
# What is left of the stretch comes from :math:`\epsilon` alone.
#
# What it costs
# -------------
#
# The output for a sample depends on its company. Here is the first sample, :math:`x = 1`, in two batches:

print(normalised(np.array([[1.0], [0.2], [-0.5], [0.1]])).ravel())
print(normalised(np.array([[1.0], [2.0], [1.5], [0.8]])).ravel())

# %%
# First it is large, then it is small. The mean and the variance of a batch are *estimates* of those of all data, and
# the smaller the batch, the worse the estimates. Draw the other members of the batch from a normal distribution with
# mean 0 and variance 1. Over all data, :math:`x = 1` would become :math:`y = 1`, :eq:`population` (6). What does it
# become in a batch?

sizes = [2, 4, 8, 16, 32, 64, 128]
draws = []
for size in sizes:
    batches = rng.standard_normal((size, 4000))  # 4000 batches at once, as 4000 channels
    batches[0] = 1.0
    draws.append(normalised(batches)[0])

for size, values in zip(sizes, draws, strict=True):
    low, high = np.quantile(values, [0.05, 0.95])
    print(f"|B| = {size:3}: nine out of ten between {low:5.2f} and {high:5.2f}")

# %%
# With two values in the batch there is nothing left of the number: the larger one becomes 1 and the smaller one -1,
# whatever they are. This noise is what the next tutorials are about.

low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=1)

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.fill_between(sizes, low, high, color="0.85", label="nine out of ten batches")
axes.plot(sizes, middle, "o-", color="black", label="median")
axes.axhline(1, color="black", linestyle="--", linewidth=1, label="over all data")
axes.set_xscale("log", base=2)
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.set_title("What $x = 1$ becomes in a batch")
axes.set_xlabel("size of the batch |B| (samples)")
axes.set_ylabel("normalised value y (standard deviations)")
axes.legend(loc="lower right")
plt.show()

# %%
# At inference
# ------------
#
# An answer must not depend on which other images are asked about at the same time. So training keeps moving averages
# of the batch means and variances, in the state, and inference uses those in place of the batch's, :eq:`bn-infer`.
# The averages start at mean 0 and variance 1 and take some batches to settle:

state = batch_norm.init(1, config, dtype=x.dtype)
one, zero = np.ones(1), np.zeros(1)
for batch in range(1, 101):
    data = 5 + 3 * rng.standard_normal((32, 1))
    _, _, state = batch_norm.forward(data, one, zero, state, config)
    if batch in (1, 10, 100):
        print(f"after {batch:3} batches: mean {state.mean[0]:.2f}, variance {state.var[0]:.2f}")

alone = batch_norm.infer(np.array([[8.0]]), one, zero, state, config)
print("x = 8, all alone, becomes", alone.ravel())

# %%
# The data have mean 5 and standard deviation 3, so 8 should become 1, and nearly does.
#
# Questions
# ---------
#
# 1. A convolution in front of batch normalisation has a bias, a number added to each channel. What does it do to the
#    output, and what will its gradient be?
# 2. Somebody doubles all weights of the convolution in front of batch normalisation. What happens to the output? And
#    to the gradient of the loss with respect to those weights?
# 3. At :math:`|B| = 2` with one value a sample, :math:`y` is 1 or -1 (almost). Which information about :math:`x` gets
#    through? Why can a network for images be trained at :math:`|B| = 2` all the same?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Nothing: the mean contains it and is subtracted. So its gradient is zero. That is why the convolutions of this
#       project have no bias.
#    2. The output stays the same, but for :math:`\epsilon`. The gradient is halved, so with the same learning rate
#       the step is half as long, and beside weights twice as long it counts for a quarter. The longer the weights,
#       the slower they turn.
#    3. Only which of the two is larger. An image has many positions, and :math:`M` counts them all: what one image
#       has here and not there gets through. What its channel is on average is compared with one other image only.

# %%
# Exercises
# ---------
#
# .. exercises::
