r"""
01 What batch normalisation does
================================

The inputs of a layer have whatever mean and spread the weights before it give them. What does batch normalisation
make of them, why did anyone want that, and what does it cost?
"""

# %%
# Why anyone wanted it
# --------------------
#
# Deep networks used to be hard to train: the learning rate had to be just right, and so did the initial weights. Let
# us look at that before we define anything. Here is a network of eight small layers for the images that this package
# generates, shrunk to 8 by 8 pixels. We train it for 100 steps with six learning rates, as it is and with batch
# normalisation after each layer, and with the initial weights times two values of ``gain``: 1, with which each ReLU
# halves the mean square of the signal, and :math:`\sqrt 2`, which makes up for that.

# sphinx_gallery_thumbnail_number = 4
import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm

np.set_printoptions(precision=3, suppress=True)

train, _ = embedded.generate(train_size=640, test_size=1, seed=0)
images = to_float(train.images, *channel_statistics(train.images))
pixels = images.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(640, 192)


def last_loss(rate, normalised, gain):
    """Train for 100 steps of 64 images; return the mean loss of the last 20."""
    layers, rng = [], np.random.default_rng(0)
    for i in range(8):
        layers.append(network.Linear(f"linear{i}", 192 if i == 0 else 32, 32))
        if normalised:
            layers.append(network.Norm(f"norm{i}", batch_norm, 32, batch_norm.Config()))
        layers.append(network.ReLU(f"relu{i}"))
    layers.append(network.Linear("answer", 32, 10))
    params, states = network.init(layers, rng)
    for p in params[:-1]:
        if "w" in p:
            p["w"] *= gain
    velocity, losses = optimiser.init(params), []
    for _ in range(100):
        chosen = rng.integers(640, size=64)
        logits, caches, states = network.forward(layers, params, states, pixels[chosen])
        loss, cache = softmax_cross_entropy.forward(logits, train.labels[chosen])
        dlogits = softmax_cross_entropy.backward(1.0, cache)
        grads, states = network.backward(layers, dlogits, caches, states)
        params, velocity = optimiser.step(params, grads, velocity, lr=rate, momentum=0.0, weight_decay=0.0)
        losses.append(float(loss))
    return np.mean(losses[-20:])


# %%
# .. admonition:: Predict before you run
#    :class: predict
#
#    Guessing among ten classes costs :math:`\log 10 \approx 2.30` nats, the unit of a loss with natural logarithms.
#    At how many of the six learning rates will the network do clearly better than that, with either size of
#    initial weights? And with batch normalisation?

rates = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
looks = {
    "as it is, gain 1": (False, 1.0, RED, "s--"),
    "as it is, gain √2": (False, np.sqrt(2), RED, "^:"),
    "batch norm, gain 1": (True, 1.0, BLUE, "o-"),
    "batch norm, gain √2": (True, np.sqrt(2), BLUE, "v-."),
}
print(f"{'learning rate':20}", *(f"{rate:5.2f}" for rate in rates))
curves = []
for name, (normalised, gain, *look) in looks.items():
    with np.errstate(all="ignore"):  # some of these runs are meant to fail
        losses = [last_loss(rate, normalised, gain) for rate in rates]
    print(f"{name:20}", *(f"{loss:5.2f}" for loss in losses))
    curves.append((rates, losses, *look, name))
draw(
    "One network, six learning rates (no point: overflow)",
    "learning rate (per step)",
    "loss after 100 steps (nats)",
    *curves,
    ([0.01, 3], [np.log(10)] * 2, GREY, ":", "guessing"),
    xscale="log",
)

# %%
# As it is, the network learns at two of the six rates or at five, depending on its initial weights. With batch
# normalisation it learns at all six, its best loss is lower, and the initial weights hardly matter. That is why
# people wanted it: deep networks train without a search for the right settings.
#
# Why it works is less settled. Its inventors pointed to the moving inputs: each layer has to follow what the layers
# before it change (Ioffe and Szegedy, 2015). But networks train just as well when noise is put back after the
# normaliser (Santurkar et al., 2018), so that cannot be the whole story. Two effects are well supported. Signals keep
# their size at every depth, whatever the initial weights are; and a step that is too long makes the weights longer,
# which makes the following steps count less (question 2 below). Both allow larger learning rates (Bjorck et al.,
# 2018). One small network with one seed, as here, shows the effect and does not explain it.
#
# Four samples by hand
# --------------------
#
# A *channel* is one feature of the data. Here are four samples with two channels, samples down, channels across. The
# channels could hardly differ more: one has a mean near 3, the other near 200.

x = np.array([[2.0, 100.0], [4.0, 300.0], [3.0, 150.0], [3.0, 250.0]])
print(x)

# %%
# Batch normalisation takes the mean and the variance of each channel over the batch, :eq:`bn-statistics` (2). (Such a
# name leads to the derivation of the equation. The number, where there is one, is that of the paper by Yan et al.,
# ICLR 2020, so (2) comes before (1) here.)
#
# .. math::
#
#    \mu = \frac1M \sum_{b=1}^M x_b, \qquad v = \frac1M \sum_{b=1}^M (x_b - \mu)^2 .
#
# :math:`M` is the number of values per channel in the batch, here 4. The variance is divided by :math:`M`, not by
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
# The small :math:`\epsilon` is for a channel that does not vary: without it we would divide by zero.

eps = 1e-5
sigma = np.sqrt(v + eps)
y = (x - mu) / sigma
print(y)
print("mean              ", np.mean(y, axis=0))
print("standard deviation", np.std(y, axis=0))

# %%
# Now both channels have mean zero and standard deviation one, and they are the same size:

number = [1, 2, 3, 4]
for title, unit, values in (
    ("Two channels before batch normalisation", "x (units of the data)", x),
    ("The same two after it", "y (standard deviations)", y),
):
    first = (number, values[:, 0], BLUE, "o-", "channel 0")
    second = (number, values[:, 1], RED, "s--", "channel 1")
    draw(title, "sample (number)", unit, first, second, height=2.6, xticks=number)

# %%
# Some layers need a different mean and spread. Therefore two numbers per channel, :math:`\gamma` and
# :math:`\beta`, are learned along with the weights, :eq:`affine` (3):
#
# .. math:: z_b = \gamma \, y_b + \beta .

gamma, beta = np.array([1.0, 0.5]), np.array([0.0, 10.0])
print(gamma * y + beta)

# %%
# The same with the package
# -------------------------
#
# A normaliser is a handful of pure functions. `mabn_ref.norms.batch_norm.forward` takes the input, the two learned
# numbers per channel, a state and a configuration. It returns the output, what the backward pass will need, and a new
# state.

config = batch_norm.Config(eps=eps)
state = batch_norm.init(2, config, dtype=x.dtype)
z, cache, new_state = batch_norm.forward(x, gamma, beta, state, config)
print("largest difference from our own:", np.max(np.abs(z - (gamma * y + beta))))

# %%
# Images work the same way. They have the shape (N, H, W, C), *channels last*. A channel has one value at each
# position of each image: four images of 8 by 8 pixels give :math:`M = 4 \cdot 8 \cdot 8 = 256`.

rng = np.random.default_rng(0)
four_images = 5 + 3 * rng.standard_normal((4, 8, 8, 2))
of_images, _, _ = batch_norm.forward(four_images, np.ones(2), np.zeros(2), state, config)
print("mean              ", np.mean(of_images, axis=(0, 1, 2)))
print("standard deviation", np.std(of_images, axis=(0, 1, 2)))

# %%
# What it is good for
# -------------------
#
# Shift a channel, or stretch it, and batch normalisation undoes both. Whatever the layer before does to the mean and
# the scale of its output, the layer after does not notice. Weights may grow without anything blowing up.


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
# The output for a sample depends on the other samples in its batch. Here is the same first sample, :math:`x = 1`, in
# two batches:

print(normalised(np.array([[1.0], [0.2], [-0.5], [0.1]])).ravel())
print(normalised(np.array([[1.0], [2.0], [1.5], [0.8]])).ravel())

# %%
# In the first it comes out large, in the second small. The mean and the variance of a batch :math:`B` are *estimates*
# of those of all data, and the smaller the batch, the worse the estimates; :math:`|B|` is the number of its samples.
# Draw the other members of the batch from a normal distribution with mean 0 and variance 1. Over all data,
# :math:`x = 1` would become :math:`y = 1`, :eq:`population` (6).
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    What can :math:`x = 1` become in a batch of two? And how large must a batch be before nine results out of ten lie
#    between 0.75 and 1.25?

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
# With two values in the batch nothing is left of the number itself: the larger one becomes 1 and the smaller one -1,
# whatever they are. Nine results out of ten lie between 0.75 and 1.25 only with 128 values; with 64 they just miss
# it. This noise is what the next tutorials are about.

low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=1)
draw(
    "What x = 1 becomes in a batch",
    "size of the batch |B| (samples)",
    "y (standard deviations)",
    (sizes, high, RED, "^:", "nine out of ten batches lie between"),
    (sizes, low, RED, "v:", "these two"),
    (sizes, middle, BLUE, "o-", "median"),
    ([2, 128], [1, 1], GREY, "--", "over all data"),
    sizes=sizes,
)

# %%
# At inference
# ------------
#
# An answer must not depend on which other images happen to be classified at the same time. For this, training keeps
# moving averages of the batch means and variances in the state, and inference uses them instead, :eq:`bn-infer`.
# The averages start at mean 0 and variance 1 and take some batches to settle:

state = batch_norm.init(1, config, dtype=x.dtype)
one, zero = np.ones(1), np.zeros(1)
for batch in range(1, 101):
    data = 5 + 3 * rng.standard_normal((32, 1))
    _, _, state = batch_norm.forward(data, one, zero, state, config)
    if batch in (1, 10, 100):
        print(f"after {batch:3} batches: mean {state.mean[0]:.2f}, variance {state.var[0]:.2f}")

alone = batch_norm.infer(np.array([[8.0]]), one, zero, state, config)
print("x = 8, on its own, becomes", alone.ravel())

# %%
# The data have mean 5 and standard deviation 3, so 8 should become 1. It becomes 1.07. After 100 batches nothing of
# the start is left. But each batch takes the place of a tenth of the average, so the last twenty or so make up most
# of it, and it is noisy itself.
#
# Questions
# ---------
#
# 1. A convolution before batch normalisation has a bias, a number added to each channel. What does it do to the
#    output, and what will its gradient be?
# 2. Someone doubles all weights of the convolution before batch normalisation. What happens to the output? And to the
#    gradient of the loss with respect to those weights?
# 3. At :math:`|B| = 2` with one value per sample, :math:`y` is 1 or -1 (almost). What information about :math:`x`
#    gets through? Why can a network for images still be trained at :math:`|B| = 2`?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Nothing: the mean contains the bias and is subtracted. So its gradient is zero. That is why the convolutions
#       of this project have no bias.
#    2. The output stays the same, apart from the effect of :math:`\epsilon`. The gradient is halved, so with the same
#       learning rate the step is half as long; relative to weights twice as long, it is a quarter. The longer the
#       weights, the more slowly they turn.
#    3. Only which of the two is larger. An image has many positions, and :math:`M` counts them all: differences
#       between positions within an image get through. The average of its channel is compared with that of only one
#       other image.

# %%
# Exercises
# ---------
#
# .. exercises::
