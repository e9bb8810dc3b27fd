r"""
06 Dropping the mean
====================

Batch normalisation estimates two numbers in forward, :math:`\mu` and :math:`\sigma`, and two in backward, :math:`g`
and :math:`\Psi`. Every estimate is a source of noise. What happens to a normaliser that does without the mean?
"""

# %%
# Four values by hand
# -------------------
#
# One channel, four values.

# sphinx_gallery_thumbnail_number = 3
import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.nn import centralize, conv2d, relu
from mabn_ref.norms import batch_norm, modified_batch_norm

np.set_printoptions(precision=4, suppress=True)

x = np.array([3.0, 1.0, -1.0, 5.0])

# %%
# The modified normaliser takes the mean square and divides by its root. Nothing is subtracted,
# :eq:`modified-statistics` and :eq:`modified-normalise` (15):
#
# .. math:: \chi = \sqrt{q + \epsilon}, \qquad q = \frac1M \sum_{b=1}^M x_b^2, \qquad y_b = \frac{x_b}{\chi} .

eps = 1e-5
q = np.mean(x**2)
chi = np.sqrt(q + eps)
y = x / chi
print("q  ", q)
print("chi", chi)
print("y  ", y)

# %%
# The mean square is the variance plus the square of the mean. Where the mean is zero the two normalisers are one.

print("v + mu^2 =", np.var(x) + np.mean(x) ** 2)

# %%
# In the package, with one channel last:

one, zero = np.ones(1), np.zeros(1)
config = modified_batch_norm.Config(eps=eps)
state = modified_batch_norm.init(1, config, dtype=x.dtype)
z, cache, state = modified_batch_norm.forward(x[:, None], one, zero, state, config)
print("largest difference:", np.max(np.abs(z[:, 0] - y)))

# %%
# The backward pass is shorter
# ----------------------------
#
# Batch normalisation has three terms, :eq:`bn-backward` (4):
#
# .. math:: \frac{\partial L}{\partial x_b} = \frac1\sigma \big( u_b - g - y_b \Psi \big), \qquad
#    g = \frac1M \sum_b u_b, \quad \Psi = \frac1M \sum_b y_b u_b, \quad u_b = \frac{\partial L}{\partial y_b} .
#
# :math:`g` came from the derivative of the mean. There is no mean now, and the rest stays, :eq:`modified-backward`
# (16):
#
# .. math:: \frac{\partial L}{\partial x_b} = \frac1\chi \big( u_b - y_b \Psi \big) .

u = np.array([0.3, -1.2, 0.5, 0.8])  # from the layers after it
psi = np.mean(y * u)
dx = (u - y * psi) / chi
print("Psi", psi)
print("dx ", dx)

# %%
# Is it true? With the loss :math:`L = \sum_b u_b y_b` move each :math:`x_b` a little up and down, and look:


def loss(x):
    """Sum of u * y, y being x normalised."""
    return np.sum(u * x / np.sqrt(np.mean(x**2) + eps))


h = 1e-6
differences = [(loss(x + h * unit) - loss(x - h * unit)) / (2 * h) for unit in np.eye(4)]
of_package, *_ = modified_batch_norm.backward(u[:, None], cache, state)
print("by differences:", np.array(differences))
print("the package:   ", of_package[:, 0])

# %%
# What is lost
# ------------
#
# A stretch of all values is undone as before, a shift is not. If the values have a mean, so has the output, and the
# mean takes up the room: the mean square of :math:`y` is one, whatever happens, so the larger the mean of :math:`y`,
# the smaller its spread.

rng = np.random.default_rng(0)
noise = rng.standard_normal((4096, 1))
means = np.linspace(0, 6, 25)
spread = {norm: [] for norm in (batch_norm, modified_batch_norm)}
for mean in means:
    for norm, values in spread.items():
        config = norm.Config()
        state = norm.init(1, config, dtype=noise.dtype)
        values.append(np.std(norm.forward(noise + mean, one, zero, state, config)[0]))

figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.plot(means, spread[batch_norm], "o-", color="0.55", label="batch normalisation")
axes.plot(means, spread[modified_batch_norm], "s-", color="black", label="modified")
axes.set_title("A mean takes the room of the signal")
axes.set_xlabel("mean of the input (in standard deviations)")
axes.set_ylabel("spread of y (standard deviation)")
axes.set_ylim(0, 1.1)
axes.legend()
plt.show()

# %%
# Where the mean comes from, and how to be rid of it
# --------------------------------------------------
#
# In a network the normaliser's input is the output of a convolution, and the convolution's input comes from a ReLU:
# it has no negative values. A filter whose weights sum to something positive then gives something positive on
# average.

images, _ = relu.forward(rng.standard_normal((16, 8, 8, 12)))
w = rng.standard_normal((3, 3, 12, 16)) * np.sqrt(2 / (3 * 3 * 12))
out, _ = conv2d.forward(images, w, stride=1, padding=0)

# %%
# So the paper subtracts from every output filter the mean of its weights, :eq:`centralize-forward` (18):
#
# .. math:: W^c_{io} = W_{io} - \frac1n \sum_{j=1}^n W_{jo},
#
# where :math:`i` and :math:`j` number the :math:`n` weights of output filter :math:`o`. Weights that sum to zero do
# not see what all their inputs have in common.

w_c, _ = centralize.forward(w)
out_c, _ = conv2d.forward(images, w_c, stride=1, padding=0)
print("sums of the first four filters:", np.sum(w, axis=(0, 1, 2))[:4])
print("centred:                       ", np.sum(w_c, axis=(0, 1, 2))[:4])


def relative_mean(out):
    """Mean of each channel in its standard deviations."""
    return np.mean(out, axis=(0, 1, 2)) / np.std(out, axis=(0, 1, 2))


figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
channels = np.arange(16)
axes.bar(channels - 0.2, relative_mean(out), 0.4, color="0.7", label="weights as they are")
axes.bar(channels + 0.2, relative_mean(out_c), 0.4, color="black", label="weights centred")
axes.axhline(0, color="black", linewidth=0.5)
axes.set_title("Mean of a convolution's outputs after a ReLU")
axes.set_xlabel("output channel (number)")
axes.set_ylabel("mean (in standard deviations)")
axes.legend()
plt.show()

# %%
# It is not zero, since the channels of the input do not all have the same mean, but it is small. That is why the
# modified normaliser and weight centralisation go together.
#
# Is the gradient less noisy?
# ---------------------------
#
# That was the point. Take a population of values and gradients whose statistics are known, compute the gradient with
# those, and ask how far the gradient of a small batch is from it. Here 20,000 samples of four positions; half the
# variance of :math:`x` is shared by the positions of a sample, and its mean is zero, as after centring.

x = np.sqrt(0.5) * (rng.standard_normal((20_000, 4, 1)) + rng.standard_normal((20_000, 1, 1)))
u = 0.2 + 0.3 * x + 0.1 * x**2 + rng.standard_normal(x.shape)


def gradient(norm, x, u, size):
    """Return dL/dx where `size` samples share statistics."""
    config = norm.Config(norm_batch=size)
    state = norm.init(1, config, dtype=x.dtype)
    _, cache, state = norm.forward(x, one, zero, state, config)
    return norm.backward(u, cache, state)[0]


sizes = [2, 4, 8, 16, 32]
distances = {batch_norm: [], modified_batch_norm: []}
for norm, found in distances.items():
    ideal = gradient(norm, x, u, None)
    for size in sizes:
        chosen = rng.integers(len(x), size=2000 * size)  # 2000 batches
        off = gradient(norm, x[chosen], u[chosen], size) - ideal[chosen]
        found.append(np.mean(off**2) / np.mean(ideal**2))
    print(f"{norm.__name__.rpartition('.')[2]:20}", np.array(found))

figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.loglog(sizes, distances[batch_norm], "o-", color="0.55", label="batch normalisation")
axes.loglog(sizes, distances[modified_batch_norm], "s-", color="black", label="modified")
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
axes.minorticks_off()
axes.set_title("How far the gradient of a batch is from that of the population")
axes.set_xlabel("size of the batch |B| (samples)")
axes.set_ylabel("squared distance\n(relative to the gradient)")
axes.legend()
plt.show()

# %%
# One statistic less in each pass, and less noise. It is still a lot at :math:`|B| = 2`, and how much is saved depends
# on the data: :doc:`/derivations/theorem2` says what can be proved, and shows that the paper's own theorem does not
# prove it. The rest of the noise is taken on by averages over several batches, in the next tutorial.
#
# Questions
# ---------
#
# 1. Add 100 to every value of a channel. What does batch normalisation give, what the modified one, and what becomes
#    of the gradient of the modified one?
# 2. With a single value a channel batch normalisation refuses. What does the modified form give for one value, and
#    which gradient?
# 3. Weight standardisation centres the filters too, and then divides each by its standard deviation. Why does the
#    division make no difference to the output of a batch normalisation, or a modified one, that comes next?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Batch normalisation gives what it gave. The modified one gives values close to 1, all alike, and as
#       :math:`\chi` is about 100 now, the gradient is smaller by that factor. Nothing fails loudly; the layer just
#       stops to learn.
#    2. :math:`y = x / \sqrt{x^2 + \epsilon}`, that is the sign of :math:`x`. The gradient is
#       :math:`u \, (1 - y^2) / \chi` and close to zero: a sign does not change when its number does.
#    3. A filter that is divided by a number gives outputs divided by that number, and the normaliser divides by the
#       outputs' own spread or root mean square. It cancels, but for :math:`\epsilon`. (The gradient of the weights
#       does change: its size goes with the inverse of theirs.)

# %%
# Exercises
# ---------
#
# .. exercises::
