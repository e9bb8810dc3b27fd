r"""
02 Its backward pass, by hand, and checked
==========================================

Each input of batch normalisation reaches the loss by three routes: through its own output, through the mean and
through the variance. What is its gradient, and how do you know that the one you wrote is right? It is worth knowing:
this pass is easy to get wrong, and a network with a wrong one often trains all the same, only worse.
"""

# %%
# Forward in small steps
# ----------------------
#
# One channel, one batch of four values. We cut the forward pass into steps so small that each has an obvious
# derivative.

# sphinx_gallery_thumbnail_number = 2
import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.gradcheck import check
from mabn_ref.norms import batch_norm

np.set_printoptions(precision=4, suppress=True)

x = np.array([0.5, -1.0, 2.0, 0.1])
gamma, beta, eps, M = 1.5, 0.2, 1e-5, 4

mu = np.sum(x) / M
centred = x - mu
v = np.sum(centred**2) / M
sigma = np.sqrt(v + eps)
y = centred / sigma
z = gamma * y + beta
print("y =", y)
print("z =", z)

# %%
# What comes back from the layers after is the gradient of the loss :math:`L` with respect to each :math:`z_b`. Any
# four numbers will do:

dz = np.array([0.3, -0.8, 0.4, 1.0])

# %%
# Backward, the same steps from the end
# -------------------------------------
#
# The rule is always the same: a value's gradient is the sum over everything it was used for. :math:`\mu` and
# :math:`\sigma` were used for all four values, so their gradients are sums over the batch. These are the lines of
# :eq:`bn-graph`. Follow the red arrows of the drawing upwards, from :math:`z` to :math:`x`:
#
# .. graph:: batch_norm

dy = gamma * dz
dsigma = -np.sum(dy * centred) / sigma**2
dv = dsigma / (2 * sigma)
dcentred = dy / sigma + 2 * centred * dv / M
dmu = -np.sum(dcentred)
dx = dcentred + dmu / M
print("dx =", dx)

# %%
# These steps collapse into one line. With the means :math:`g` and :math:`\Psi` of :eq:`bn-gradient-statistics` (5),
#
# .. math::
#
#    g = \frac1M \sum_b u_b, \qquad \Psi = \frac1M \sum_b y_b u_b, \qquad u_b = \d{L}{y_b},
#
# they become the paper's equation, :eq:`bn-backward` (4), with :math:`u` called ``dy`` in the code:
#
# .. math:: \d{L}{x_b} = \frac{1}{\sigma} \left( u_b - g - y_b \Psi \right) .
#
# The page :doc:`/derivations/batch_norm` goes from the steps to this equation without leaving anything out.

g = np.mean(dy)
psi = np.mean(y * dy)
print(f"g = {g:.4f}, Psi = {psi:.4f}")
print("dx =", (dy - g - y * psi) / sigma)

# %%
# Both are in the package, as ``backward`` and ``backward_graph``. They also return the gradients of :math:`\gamma`
# and :math:`\beta`, :eq:`affine-backward`.

config = batch_norm.Config(eps=eps)
state = batch_norm.init(1, config, dtype=x.dtype)
column, of_gamma, of_beta = x[:, None], np.array([gamma]), np.array([beta])
_, cache, state = batch_norm.forward(column, of_gamma, of_beta, state, config)
for backward in (batch_norm.backward, batch_norm.backward_graph):
    found, dgamma, dbeta, _ = backward(dz[:, None], cache, state)
    print(backward.__name__, found.ravel(), dgamma, dbeta)

# %%
# Is it right?
# ------------
#
# Ask the forward pass. Move one input by a small step in either direction and see how the loss changes. Our loss is
# :math:`L = \sum_b c_b z_b`, whose gradient with respect to :math:`z` is :math:`c`: the numbers in ``dz``.


def loss(x):
    """The loss of four inputs, in their own precision."""
    scale, shift = np.full(1, gamma, x.dtype), np.full(1, beta, x.dtype)
    begin = batch_norm.init(1, config, dtype=x.dtype)
    z, _, _ = batch_norm.forward(x[:, None], scale, shift, begin, config)
    return np.sum(dz * z.ravel())


def slope(b, h, x=x):
    """How fast the loss changes with x[b], from a step h to either side."""
    step = np.zeros_like(x)
    step[b] = h
    return (loss(x + step) - loss(x - step)) / (2 * h)


for b in range(M):
    print(f"x[{b}]: differences {slope(b, 1e-5):.8f}, backward {dx[b]:.8f}")

# %%
# They agree to eight digits. The step must be neither too large nor too small. By Taylor's formula a central
# difference has an error proportional to :math:`h^2`; and it divides the rounding error of two losses by :math:`2h`.

steps = np.logspace(-12, 0, 49)


def errors_in(precision):
    slopes = [slope(3, h, x.astype(precision)) for h in steps.astype(precision)]
    return np.abs(slopes - dx[3]) / abs(dx[3])


draw(
    "A central difference against its step",
    "step h (units of x)",
    "error (relative to the derivative)",
    (steps, errors_in("float64"), BLUE, "o-", "float64"),
    (steps, errors_in("float32"), RED, "s--", "float32"),
    xscale="log",
    yscale="log",
    ylim=(1e-13, 1e3),
)

# %%
# In double precision a step of about :math:`10^{-5}` is good to ten digits. In single precision rounding is half a
# billion times coarser: the best step is about a hundredth, and gives four or five digits. So run gradient checks in
# double precision.
#
# A check that cannot fail
# ------------------------
#
# Now the trap. Here are five backward passes that are wrong. We choose the *cotangent* of each, which is the gradient
# ``dz`` that comes in. We are lazy and take the simplest, all ones; or :math:`y` itself, which is what a loss of
# :math:`\frac12 \sum_b y_b^2` gives. :math:`\gamma` is 1 from here on.

rng = np.random.default_rng(0)
x = rng.standard_normal((8, 1))
one, zero = np.ones(1), np.zeros(1)
state = batch_norm.init(1, config, dtype=x.dtype)
_, cache, after = batch_norm.forward(x, one, zero, state, config)


def right(dz, cache):
    return batch_norm.backward(dz, cache, after)[0]


def parts(dz, cache):
    """y, sigma, g and Psi."""
    g, psi = batch_norm.gradient_statistics(dz, cache)
    return cache.y[0], cache.sigma[0], g, psi


def without_g(dz, cache):
    y, sigma, _, psi = parts(dz, cache)
    return (dz - y * psi) / sigma


def without_psi(dz, cache):
    _, sigma, g, _ = parts(dz, cache)
    return (dz - g) / sigma


def straight_route_only(dz, cache):
    return dz / cache.sigma[0]


def twice_the_gradient(dz, cache):
    return 2 * right(dz, cache)


def nothing(dz, cache):
    return np.zeros_like(dz)


wrong = [without_g, without_psi, straight_route_only, twice_the_gradient, nothing]

# %%
# .. admonition:: Predict before you run
#    :class: predict
#
#    One of the five returns zeros, whatever comes in; another returns twice the right gradient. Which of these two
#    does a check with ``dz`` = all ones find?

random = rng.standard_normal(x.shape)
cotangents = {"ones": np.ones_like(x), "y": cache.y[0], "random": random}

print(f"{'largest error with dz =':24}" + "".join(f"{name:>10}" for name in cotangents))
errors = {}
for f in wrong:
    differences = [f(c, cache) - right(c, cache) for c in cotangents.values()]
    errors[f.__name__] = np.max(np.abs(differences), axis=(1, 2))
    print(f"{f.__name__:24}" + "".join(f"{error:10.5f}" for error in errors[f.__name__]))

# %%
# Neither! Ones see no error in three of the five, :math:`y` sees next to none in three, and two of the five pass both
# checks. The reason is what batch normalisation does: its output does not change when all inputs are shifted alike,
# and hardly changes when they are stretched. So the true gradient of those two losses is (almost) zero, and anything
# that returns (almost) zero is "right". A random cotangent has every component, and finds all five.

of_ones, of_y, of_random = (np.maximum(column, 1e-16) for column in zip(*errors.values(), strict=True))
draw(
    "Which cotangent notices that a backward pass is wrong?",
    "largest error of dx (L per unit of x; 0 drawn as 1e-16)",
    "mistake (in words)",
    (of_ones, range(5), RED, "x", "dz = ones"),
    (of_y, range(5), GREY, "s", "dz = y"),
    (of_random, range(5), BLUE, "o", "dz = random"),
    xscale="log",
    xticks=[1e-16, 1e-12, 1e-8, 1e-4, 1],
    yticks=range(5),
    yticklabels=[name.replace("psi", "Ψ").replace("_", " ") for name in errors],
    ylim=(4.5, -0.5),
)

# %%
# A check that can fail
# ----------------------
#
# `mabn_ref.gradcheck.check` takes any forward pass with its backward pass. It draws random cotangents and chooses its
# steps. As a second opinion it takes a *complex step*, a tiny step in the imaginary direction, in which nothing
# cancels; :doc:`/derivations/gradient_checks` explains this and the Taylor remainder that it also prints. Here are
# three channels, two spatial positions and all three inputs:

inputs = rng.standard_normal((4, 2, 3)), rng.standard_normal(3), rng.standard_normal(3)
begin = batch_norm.init(3, config, dtype=x.dtype)
end = batch_norm.forward(*inputs, begin, config)[2]


def forward(x, gamma, beta):
    return batch_norm.forward(x, gamma, beta, begin, config)[:2]


def backward(dz, cache):
    return batch_norm.backward(dz, cache, end)[:3]


print(check(forward, backward, inputs))

# %%
# And on the wrong ones:


def forward_of_x(x):
    return batch_norm.forward(x, one, zero, state, config)[:2]


for f in (right, *wrong):
    print(f"{f.__name__:20}", check(forward_of_x, f, (x,)).verdict)

# %%
# Questions
# ---------
#
# 1. The four numbers in ``dx`` sum to zero. Why must they, whatever the loss?
# 2. With only two values in the batch, :math:`y = (-1, 1)` apart from the effect of :math:`\epsilon`. Put that into
#    (4). What is left of the gradient?
# 3. Someone checks batch normalisation with the loss :math:`\sum_b z_b^2` at :math:`\beta = 0`, finds that backward
#    and differences agree, and is satisfied. What has been shown? What changes if :math:`\beta` is 1?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Shift all :math:`x_b` by the same amount: the output does not change, so the loss does not. Its derivative in
#       that direction is :math:`\sum_b \partial L / \partial x_b`, and must be zero.
#    2. Nothing, apart from the effect of :math:`\epsilon`. Two numbers :math:`u_1, u_2` are exactly their mean
#       :math:`g` plus :math:`y_b` times :math:`(u_2 - u_1) / 2 = \Psi`; the formula subtracts both.
#    3. Very little: the gradient with respect to :math:`z` is :math:`2 z = 2 \gamma y`, the cotangent :math:`y` of
#       the table, for which the true gradient is almost zero. With :math:`\beta = 1` it is :math:`2 \gamma y + 2`:
#       the cotangents :math:`y` and ones together, which still reveal only mistakes that one of the two reveals.

# %%
# Exercises
# ---------
#
# .. exercises::
