r"""
09 Folding for inference
========================

In training a normaliser computes statistics, subtracts and divides. When training is over, which part of this has to
be done for every image, and which part just once? The answer decides what a normaliser costs in use.
"""

# %%
# At inference a normaliser is a straight line
# --------------------------------------------
#
# In training :math:`z` depends on the whole batch. At inference the statistics are the moving averages, which are
# fixed numbers. For batch normalisation, :eq:`bn-infer`, and for the modified form and MABN, :eq:`modified-infer`,
#
# .. math:: z = \gamma \, \frac{x - \hat\mu}{\sqrt{\hat v + \epsilon}} + \beta, \qquad
#    z = \gamma \, \frac{x}{\sqrt{\hat q + \epsilon}} + \beta .
#
# Both are of the form :math:`z = s \, x + t`: one factor and one shift for each channel.

# sphinx_gallery_thumbnail_number = 1
import time

import numpy as np
from _plots import BLUE, RED, draw

from mabn_ref.nn import centralize, conv2d, global_average_pool, linear, network, networks, relu
from mabn_ref.norms import batch_norm, mabn

np.set_printoptions(precision=4, suppress=True)

gamma, beta = np.array([1.0, 2.0]), np.array([0.0, 0.5])
config = batch_norm.Config(norm_batch=2, eps=1e-5)
state = batch_norm.State(mean=np.array([3.0, -1.0]), var=np.array([4.0, 0.25]))

scale = gamma / np.sqrt(state.var + config.eps)
shift = beta - scale * state.mean
print("factor", scale)
print("shift ", shift)
print("the package:", *batch_norm.affine(gamma, beta, state, config))

# %%
# Plot the second channel of 60 samples, once at inference and once in training, where two samples share their
# statistics:

rng = np.random.default_rng(0)
x = np.array([3.0, -1.0]) + np.array([2.0, 0.5]) * rng.standard_normal((60, 3, 2))
at_inference = batch_norm.infer(x, gamma, beta, state, config)
in_training, _, _ = batch_norm.forward(x, gamma, beta, state, config)

draw(
    "One channel: at inference all values lie on one line",
    "x (units of the data)",
    "z (units of the output)",
    (x[..., 1].ravel(), in_training[..., 1].ravel(), RED, "x", "training, |B| = 2"),
    (x[..., 1].ravel(), at_inference[..., 1].ravel(), BLUE, "o", "inference"),
)

# %%
# Into the convolution
# --------------------
#
# The layer before is a convolution, :math:`x_o = \sum_i w_{io} \, p_i`, where :math:`p` is the patch of its input at
# one position. The straight line that follows can be multiplied into its weights, :eq:`fold`:
#
# .. math:: z_o = s_o \sum_i w_{io} \, p_i + t_o = \sum_i (w_{io} \, s_o) \, p_i + t_o .
#
# This is again a convolution, with other weights and a bias. By hand, for a patch of three values and two output
# channels:

patch = np.array([1.0, -2.0, 0.5])
w = np.array([[0.3, -0.1], [0.2, 0.4], [-0.5, 0.6]])
print("convolution, then the line:", scale * (patch @ w) + shift)
print("folded convolution:        ", patch @ (w * scale) + shift)

# %%
# With images it is the same, padding included: the zeros at the border are among the :math:`p_i`, and the bias is
# added afterwards. The package keeps weights as (kernel, kernel, in, out), so the factors multiply the last axis.

images = rng.standard_normal((4, 8, 8, 3))
w = rng.standard_normal((3, 3, 3, 2))
out, _ = conv2d.forward(images, w, stride=1, padding=1)
two_steps = batch_norm.infer(out, gamma, beta, state, config)
folded, _ = conv2d.forward(images, w * scale, stride=1, padding=1)
print(f"largest difference: {np.max(np.abs(folded + shift - two_steps)):.0e}")

# %%
# The one trap: centred weights
# -----------------------------
#
# Where the weights are centred, :eq:`centralize-forward` (18), the convolution that ran in training used :math:`W^c`.
# Those are the weights to fold, and nothing is centred afterwards. Folding the stored weights gives another network:

w_c, _ = centralize.forward(w + 0.3)
out, _ = conv2d.forward(images, w_c, stride=1, padding=1)
of_mabn = mabn.Config(norm_batch=2)
state = mabn.init(2, of_mabn, dtype=w.dtype)._replace(chi2=np.array([20.0, 30.0]))
right = mabn.infer(out, gamma, beta, state, of_mabn)
scale, shift = mabn.affine(gamma, beta, state, of_mabn)
for name, kernel in (("centred", w_c), ("as stored", w + 0.3)):
    folded, _ = conv2d.forward(images, kernel * scale, stride=1, padding=1)
    print(f"{name:10} largest difference: {np.max(np.abs(folded + shift - right)):.0e}")

# %%
# A whole network
# ---------------
#
# The small network of the package has seven convolutions, each with its normaliser. Give it moving statistics by
# passing a few batches through it, then fold. What is left of convolution, centring and MABN is one kernel and one
# bias:

layers = networks.small_network(mabn, mabn.Config(norm_batch=2), centralized=True, width=16)
params, states = network.init(layers, rng)
for _ in range(20):
    x = rng.standard_normal((32, 32, 32, 3), dtype=np.float32)
    _, _, states = network.forward(layers, params, states, x)


def fold(layers, params, states):
    """For each convolution: the layer, the kernel with the normaliser in it, and the bias."""
    folded = []
    for i, layer in enumerate(layers):
        if isinstance(layer, network.Conv):
            w = params[i]["w"]
            if layer.centralized:
                w, _ = centralize.forward(w)
            norm, p, state = layers[i + 1], params[i + 1], states[i + 1]
            scale, shift = norm.module.affine(p["gamma"], p["beta"], state, norm.config)
            folded.append((layer, w * scale, shift))
    return folded


def infer(folded, last, x):
    """Run the folded network; `last` holds the parameters of its linear layer."""
    for layer, w, b in folded:
        x, _ = conv2d.forward(x, w, stride=layer.stride, padding=layer.padding)
        x, _ = relu.forward(x + b)
    return linear.forward(global_average_pool.forward(x)[0], **last)[0]


folded = fold(layers, params, states)
x = rng.standard_normal((32, 32, 32, 3), dtype=np.float32)
logits, of_folded = network.infer(layers, params, states, x), infer(folded, params[-1], x)
print(f"largest logit      {np.max(np.abs(logits)):.2f}")
print(f"largest difference {np.max(np.abs(logits - of_folded)):.0e}")
same = np.argmax(logits, axis=1) == np.argmax(of_folded, axis=1)
print("the same answers:", bool(np.all(same)))

# %%
# Single precision carries seven digits, and seven layers of sums in another order use up one or two of them. Apart
# from that, folding is exact.
#
# What it saves
# -------------
#
# We time the two in turn, so that whatever else the machine does affects both alike. The number to look at is the
# ratio.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    Folding removes every normaliser and every centring from the network. Is inference then 5 %, 50 % or five times
#    faster? What takes most of the time that is left?

both = {"as trained": [], "folded": []}
for _ in range(25):
    for name, run in (
        ("as trained", lambda: network.infer(layers, params, states, x)),
        ("folded", lambda: infer(folded, params[-1], x)),
    ):
        start = time.perf_counter()
        run()
        both[name].append(1000 * (time.perf_counter() - start))
ratio = np.array(both["as trained"][5:]) / both["folded"][5:]  # the first rounds warm up
low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
print(f"as trained / folded: median {middle:.2f}, half of them between {low:.2f} and {high:.2f}")

draw(
    "Inference of 32 images, timed by this build",
    "round (number)",
    "time (ms)",
    (np.arange(1, 26), both["as trained"], RED, "s", "as trained"),
    (np.arange(1, 26), both["folded"], BLUE, "o", "folded"),
    ylim=(0, 2 * np.quantile(both["as trained"], 0.9)),
)

# %%
# The ratio depends on the machine: folding saves passes over memory, but few multiplications; the convolutions
# remain. It is the same for batch normalisation and MABN. Normalisers that compute statistics of each sample at
# inference too, such as group or layer normalisation, cannot be folded: they are not straight lines.
#
# Questions
# ---------
#
# 1. Suppose that there is a ReLU between convolution and normaliser. Can the normaliser be folded into the
#    convolution before it? Into the one after it?
# 2. Why is it a mistake to continue training the folded network as if nothing had happened?
# 3. Folding a normaliser into the convolution *after* it is exact without padding. What goes wrong with padding, and
#    for which of BN and MABN?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Not into the one before: :math:`s \max(x, 0) + t` is not a convolution of the input followed by a ReLU, unless
#       :math:`s > 0` and :math:`t = 0`. Into the one after, yes, without padding: the next convolution is linear in
#       the normaliser's output.
#    2. The statistics are now constants. Nothing is normalised or centred any more: the gradient lacks the terms in
#       :math:`g` and :math:`\Psi`, and the scale of the activations is free to drift. Some people do it on purpose
#       ("frozen BN"), with a small learning rate.
#    3. The padding adds zeros after the normaliser. Before it they would have to be the value that becomes zero,
#       :math:`-t / s`, so the border comes out wrong wherever :math:`t` is not zero. For MABN :math:`t = \beta`, for
#       BN :math:`t = \beta - s \hat\mu`: only MABN with :math:`\beta = 0` is safe.

# %%
# Exercises
# ---------
#
# .. exercises::
