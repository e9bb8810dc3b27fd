r"""
06 Dropping the mean
====================

For each channel batch normalisation estimates two numbers in forward, the mean :math:`\mu` and the standard deviation
:math:`\sigma`, and two in backward, the means :math:`g` and :math:`\Psi` of tutorial 03. Every estimate is a source
of noise, and whatever is not estimated cannot be noisy. What happens to a normaliser that does without the mean?
"""

# %%
# Four values by hand
# -------------------
#
# We take one channel with four values.

# sphinx_gallery_thumbnail_number = 4
import numpy as np
from _plots import BLUE, GREY, RED, draw

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
# The mean square is the variance plus the square of the mean. Where the mean is zero, the two normalisers are
# identical.

print("v + mu^2 =", np.var(x) + np.mean(x) ** 2)

# %%
# Here the mean is 2, and they are not: batch normalisation moves the values to 0 and then scales them; the modified
# normaliser only scales them.

draw(
    "Four values, normalised in two ways",
    "value (no unit)",
    "",
    ([0, 0], [-0.4, 2.4], GREY, "--", ""),
    (x, [2] * 4, GREY, "o", "x"),
    ((x - np.mean(x)) / np.sqrt(np.var(x) + eps), [1] * 4, RED, "s", "y of batch normalisation"),
    (y, [0] * 4, BLUE, "o", "y of the modified normaliser"),
    yticks=[],
    height=2.6,
)

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
# :math:`g` came from the derivative of the mean. Now there is no mean, and only the rest remains,
# :eq:`modified-backward` (16):
#
# .. math:: \frac{\partial L}{\partial x_b} = \frac1\chi \big( u_b - y_b \Psi \big) .

u = np.array([0.3, -1.2, 0.5, 0.8])  # from the layers after this one
psi = np.mean(y * u)
dx = (u - y * psi) / chi
print("Psi", psi)
print("dx ", dx)

# %%
# Is that right? With the loss :math:`L = \sum_b u_b y_b`, move each :math:`x_b` up and down a little, and look:


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
# A stretch of all values is undone as before; a shift is not. If the values have a mean, so does the output, and the
# mean leaves less room for the signal: the mean square of :math:`y` is always one, so the larger the mean of
# :math:`y`, the smaller its spread.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    The input has standard deviation 1 and a mean of 2. What is the spread of the modified output: nearly 1, about a
#    half, or nearly 0?

rng = np.random.default_rng(0)
noise = rng.standard_normal((4096, 1))
means = np.linspace(0, 6, 25)
spread = {norm: [] for norm in (batch_norm, modified_batch_norm)}
for mean in means:
    for norm, values in spread.items():
        config = norm.Config()
        state = norm.init(1, config, dtype=noise.dtype)
        values.append(np.std(norm.forward(noise + mean, one, zero, state, config)[0]))

print(f"at a mean of {means[8]:.0f}: {spread[modified_batch_norm][8]:.2f}")
draw(
    "A mean leaves less room for the signal",
    "mean of the input (in standard deviations)",
    "spread of y (standard deviation)",
    (means, spread[batch_norm], RED, "s-", "batch normalisation"),
    (means, spread[modified_batch_norm], BLUE, "o-", "modified"),
    ylim=(0, 1.1),
)

# %%
# Where the mean comes from, and how to get rid of it
# ---------------------------------------------------
#
# In a network the normaliser's input is the output of a convolution, and the convolution's input comes from a ReLU:
# it has no negative values. A filter whose weights have a positive sum gives positive values on average.

images, _ = relu.forward(rng.standard_normal((16, 8, 8, 12)))
w = rng.standard_normal((3, 3, 12, 16)) * np.sqrt(2 / (3 * 3 * 12))
out, _ = conv2d.forward(images, w, stride=1, padding=0)

# %%
# So the paper subtracts from every output filter the mean of its weights, :eq:`centralize-forward` (18):
#
# .. math:: W^c_{io} = W_{io} - \frac1n \sum_{j=1}^n W_{jo},
#
# where :math:`i` and :math:`j` number the :math:`n` weights of output filter :math:`o`. Weights that sum to zero
# ignore what all their inputs have in common.

w_c, _ = centralize.forward(w)
out_c, _ = conv2d.forward(images, w_c, stride=1, padding=0)
print("sums of the first four filters:", np.sum(w, axis=(0, 1, 2))[:4])
print("centred:                       ", np.sum(w_c, axis=(0, 1, 2))[:4])


def relative_mean(out):
    """Mean of each channel, in units of its standard deviation."""
    return np.mean(out, axis=(0, 1, 2)) / np.std(out, axis=(0, 1, 2))


channels = np.arange(16)
draw(
    "Mean of a convolution's outputs after a ReLU",
    "output channel (number)",
    "mean (in standard deviations)",
    ([-0.5, 15.5], [0, 0], GREY, "--", ""),
    (channels, relative_mean(out), RED, "s", "weights as they are"),
    (channels, relative_mean(out_c), BLUE, "o", "weights centred"),
)

# %%
# It is not zero, since the channels of the input do not all have the same mean, but it is small. That is why the
# modified normaliser and weight centralisation go together.
#
# Is the gradient less noisy?
# ---------------------------
#
# That was the aim. Take a population of values and gradients whose statistics are known, compute the gradient with
# them, and see how far the gradient of a small batch is from it. Here are 20,000 samples of four positions; half the
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

draw(
    "Distance of a batch's gradient from the population's",
    "size of the batch |B| (samples)",
    "squared distance\n(relative to the gradient)",
    (sizes, distances[batch_norm], RED, "s-", "batch normalisation"),
    (sizes, distances[modified_batch_norm], BLUE, "o-", "modified"),
    sizes=sizes,
    yscale="log",
    yticks=[0.02, 0.05, 0.1, 0.2, 0.5],
    yticklabels=["0.02", "0.05", "0.1", "0.2", "0.5"],
)

# %%
# One statistic fewer in each pass, and less noise. There is still a lot at :math:`|B| = 2`, and how much is saved
# depends on the data: :doc:`/derivations/theorem2` says what can be proved, and shows that the paper's own theorem
# does not prove it. The next tutorial reduces the rest of the noise by averaging over several batches.
#
# Questions
# ---------
#
# 1. Add 100 to every value of a channel. What does batch normalisation give, what does the modified form give, and
#    what happens to the gradient of the modified form?
# 2. Batch normalisation refuses a single value per channel. What does the modified form give for one value, and which
#    gradient?
# 3. Weight standardisation centres the filters too, and then divides each by its standard deviation. Why does the
#    division make no difference to the output of the normaliser that comes next, batch normalisation or the modified
#    form?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Batch normalisation gives the same as before. The modified form gives values close to 1, all alike, and since
#       :math:`\chi` is now about 100, the gradient is smaller by that factor. Nothing fails loudly; the layer just
#       stops learning.
#    2. :math:`y = x / \sqrt{x^2 + \epsilon}`, which is almost the sign of :math:`x`. The gradient is
#       :math:`u \, (1 - y^2) / \chi` and close to zero: the sign of a number does not change when the number moves a
#       little.
#    3. A filter divided by a number gives outputs divided by that number, and the normaliser divides by the outputs'
#       own spread or root mean square. The number cancels, apart from the effect of :math:`\epsilon`. (The gradient
#       of the weights does change: its size is inversely proportional to theirs.)

# %%
# Exercises
# ---------
#
# .. exercises::
