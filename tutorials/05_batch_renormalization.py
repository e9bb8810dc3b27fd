r"""
05 Batch Renormalization
========================

Training normalises by the batch, inference by moving averages, and with two samples per batch these are far apart.
Can training see what inference will see? And what does that do to the backward pass? A network that trains under one
normalisation and is used under another may train well and still answer badly.
"""

# %%
# The gap
# -------
#
# Here is a batch normalisation layer whose moving averages are right: the data have mean 5 and standard deviation 3,
# and its state says the same. How far is the output in training from the output at inference, for the same input?

# sphinx_gallery_thumbnail_number = 3
import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.gradcheck import check
from mabn_ref.norms import batch_norm, batch_renorm

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(0)
one, zero = np.ones(1), np.zeros(1)


def data(samples):
    return 5 + 3 * rng.standard_normal((samples, 1))


settled = batch_norm.State(mean=np.array([5.0]), var=np.array([9.0]))
outputs = {}
for size in (32, 2):
    config = batch_norm.Config(norm_batch=size)
    x = data(3200)
    in_training, _, _ = batch_norm.forward(x, one, zero, settled, config)
    at_inference = batch_norm.infer(x, one, zero, settled, config)
    gap = np.sqrt(np.mean((in_training - at_inference) ** 2))
    print(f"|B| = {size:2}: typical difference {gap:.2f}, where the outputs have a spread of 1")
    outputs[size] = at_inference[:400], in_training[:400]

draw(
    "The same values, in training and at inference",
    "z at inference (no unit)",
    "z in training (no unit)",
    ([-3, 3], [-3, 3], GREY, "-", "no gap"),
    (*outputs[32], BLUE, ".", "|B| = 32"),
    (*outputs[2], RED, "x", "|B| = 2"),
)

# %%
# Of two samples, one becomes 1 and the other -1, whatever they are: training sees the crosses, on two lines. The
# network is trained under one normalisation and used under another.
#
# A factor and a shift
# --------------------
#
# Ioffe's *Batch Renormalization* corrects the batch's normalised value, :eq:`brn-forward` (14):
#
# .. math:: z_b = \gamma \, ( r \, y_b + d ) + \beta, \qquad y_b = \frac{x_b - \mu}{\sigma} ,
#
# by a factor and a shift computed from the batch statistics and the moving ones, :eq:`brn-corrections` (14):
#
# .. math::
#
#    r = \clip_{[1 / r_{\max}, \, r_{\max}]} \Big( \frac{\sigma}{\hat\sigma} \Big), \qquad
#    d = \clip_{[- d_{\max}, \, d_{\max}]} \Big( \frac{\mu - \hat\mu}{\hat\sigma} \Big) .
#
# By hand, on four samples of one channel, :math:`\gamma = 1`, :math:`\beta = 0`, with bounds wide enough:

x = np.array([2.0, 9.0, 6.0, 4.0])
eps = 1e-5
mu, sigma = np.mean(x), np.sqrt(np.var(x) + eps)
mu_hat, sigma_hat = 5.0, np.sqrt(9.0 + eps)

r = sigma / sigma_hat
d = (mu - mu_hat) / sigma_hat
y = (x - mu) / sigma
print(f"r = {r:.4f}, d = {d:.4f}")
print("y              ", y)
print("r y + d        ", r * y + d)
print("as at inference", (x - mu_hat) / sigma_hat)

# %%
# The correction is exact: where nothing is clipped, the batch statistics cancel. The package agrees. The state of
# Batch Renormalization also counts iterations, for the ramp below.

wide = batch_renorm.Config(eps=eps, r_max=100.0, d_max=100.0)
state = batch_renorm.State(mean=np.array([5.0]), var=np.array([9.0]), iteration=0)
z, cache, _ = batch_renorm.forward(x[:, None], one, zero, state, wide)
print("z =", z.ravel(), " r =", cache.r.ravel(), " d =", cache.d.ravel())

# %%
# The ramp
# --------
#
# With :math:`r_{\max} = 1` and :math:`d_{\max} = 0` the clip leaves nothing of the correction, and we are back at
# batch normalisation. Training starts like that, because the first moving averages are worthless. The state starts at
# mean 0 and variance 1; corrected to that, the data would come out as they went in:

fresh = batch_renorm.init(1, wide, dtype=np.float64)
print("z =", batch_renorm.forward(x[:, None], one, zero, fresh, wide)[0].ravel())

# %%
# So the bounds rise slowly: a bound can be a `mabn_ref.norms.batch_renorm.Ramp`. Ioffe's schedule, the default,
# takes 40,000 iterations. Here is a short one, on batches of two, with the gap measured at every iteration.

ramped = batch_renorm.Config(
    eps=eps,
    decay=0.99,
    r_max=batch_renorm.Ramp(start=200, stop=800, first=1.0, last=3.0),
    d_max=batch_renorm.Ramp(start=200, stop=500, first=0.0, last=5.0),
)
iterations = np.arange(1, 1001)
gaps = {"batch normalisation": [], "Batch Renormalization": []}
for name, config in (
    ("batch normalisation", batch_renorm.Config(eps=eps, decay=0.99, r_max=1.0, d_max=0.0)),
    ("Batch Renormalization", ramped),
):
    state = batch_renorm.init(200, config, dtype=np.float64)  # 200 channels, for a quiet curve
    ones, zeros = np.ones(200), np.zeros(200)
    for _ in iterations:
        x2 = 5 + 3 * rng.standard_normal((2, 200))
        at_inference = batch_renorm.infer(x2, ones, zeros, state, config)
        in_training, _, state = batch_renorm.forward(x2, ones, zeros, state, config)
        gaps[name].append(np.sqrt(np.mean((in_training - at_inference) ** 2)))

bound_r, bound_d = ([ramp.at(t) for t in iterations] for ramp in (ramped.r_max, ramped.d_max))
draw(
    "The bounds of r and d rise along a ramp",
    "t (iterations)",
    "bound (r, d: no unit)",
    (iterations, bound_r, BLUE, "-", "bound of r"),
    (iterations, bound_d, RED, "--", "bound of d"),
    height=2.6,
)

# %%
# And the gap between training and inference meanwhile:

draw(
    "Training against inference, |B| = 2",
    "t (iterations)",
    "gap of outputs (root mean square)",
    (iterations, gaps["batch normalisation"], RED, ":", "batch normalisation"),
    (iterations, gaps["Batch Renormalization"], BLUE, "-", "Batch Renormalization"),
    ylim=(0, 2.5),
)

# %%
# The gap does not close completely: at :math:`|B| = 2` the ratio :math:`\sigma / \hat\sigma` is often below a third,
# and is clipped. Without the correction the gap is even larger than the 0.91 above, because averages of two-sample
# statistics are biased: the :math:`\sigma` of two samples, half their distance, is on average only
# :math:`1 / \sqrt\pi \approx 0.56` of that of all data.
#
# The graph is cut
# ----------------
#
# Now backward. :math:`r` and :math:`d` depend on the :math:`x_b` of the batch, through :math:`\mu` and
# :math:`\sigma`. Ioffe *defines* the backward pass to ignore this: it treats :math:`r` and :math:`d` as constants.
# This is called a stop-gradient. What is left is the graph of batch normalisation, :eq:`brn-backward`, where
# :math:`g` and :math:`\Psi` are again the means of :math:`u_b` and of :math:`y_b u_b`:
#
# .. math::
#
#    \d{L}{x_b} = \frac1\sigma \left( u_b - g - y_b \Psi \right), \qquad u_b = \gamma \, r \, \d{L}{z_b} .

dz = np.array([0.3, -0.8, 0.4, 1.0])
u = r * dz
print("by hand ", (u - np.mean(u) - y * np.mean(y * u)) / sigma)
state = batch_renorm.State(mean=np.array([5.0]), var=np.array([9.0]), iteration=0)
_, cache, after = batch_renorm.forward(x[:, None], one, zero, state, wide)
print("backward", batch_renorm.backward(dz[:, None], cache, after)[0].ravel())

# %%
# Check it as tutorial 02 checked batch normalisation.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    The package and our own lines agree. Will the gradient check, which compares with finite differences of the
#    forward pass, say "ok" or "wrong"?


def forward(x):
    return batch_renorm.forward(x, one, zero, state, wide)[:2]


def backward(dz, cache):
    return batch_renorm.backward(dz, cache, after)[0]


print(check(forward, backward, (x[:, None],)))

# %%
# "Wrong", and rightly so. Finite differences know nothing of a cut. Where nothing is clipped, :math:`z = (x -
# \hat\mu) / \hat\sigma` with constants :math:`\hat\mu` and :math:`\hat\sigma` from earlier batches, and the true
# derivative is just :math:`\frac{1}{\hat\sigma} \d{L}{z_b}`. The two differ by the part with :math:`g` and
# :math:`\Psi`:

print("true derivative          ", dz / sigma_hat)
print("backward                 ", backward(dz[:, None], cache).ravel())
removed = (np.mean(u) + y * np.mean(y * u)) / sigma
print("backward, g and Psi added", backward(dz[:, None], cache).ravel() + removed)

# %%
# We can check backward against the function whose derivative it is: forward with the :math:`r` and :math:`d` of this
# batch held fixed.


def forward_held(x):
    y = batch_norm.forward(x, one, zero, settled, batch_norm.Config(eps=eps))[0]
    return cache.r[0] * y + cache.d[0], cache


print(check(forward_held, backward, (x[:, None],)).verdict)

# %%
# Why cut it?
# -----------
#
# It looks like a flaw: why not use the true derivative? Try it. One weight :math:`w` multiplies 32 fixed inputs
# :math:`s_b`, Batch Renormalization follows, and the loss asks for an output with twice the spread that the
# normaliser allows: :math:`L = \frac{1}{2M} \sum_b (z_b - 2 s_b)^2` with :math:`M = 32`. A larger :math:`w` gives
# more spread for a few steps, until the moving averages catch up.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    After 400 steps, where is :math:`w` with the true derivative, and where with the cut? Which loss is lower, and by
#    how much?

s = rng.standard_normal((32, 1))
s = (s - np.mean(s)) / np.std(s)
config = batch_renorm.Config(decay=0.9, r_max=100.0, d_max=100.0)
weights, losses = {}, {}
for name in ("graph cut", "true derivative"):
    w, state = 1.0, batch_renorm.init(1, config, dtype=np.float64)
    weights[name], losses[name] = [], []
    for _ in range(400):
        moving_sigma = np.sqrt(state.var + config.eps)
        z, cache, state = batch_renorm.forward(w * s, one, zero, state, config)
        dz = (z - 2 * s) / 32
        cut, true = batch_renorm.backward(dz, cache, state)[0], dz / moving_sigma
        dx = cut if name == "graph cut" else true
        w -= 0.1 * np.sum(s * dx)
        weights[name].append(w)
        losses[name].append(0.5 * np.mean((z - 2 * s) ** 2))
    print(f"{name:16} w: 1 -> {w:.2f}, loss: {losses[name][0]:.3f} -> {losses[name][-1]:.3f}")

t = np.arange(400)
draw(
    "A weight that hardly changes the loss",
    "t (iterations)",
    "weight w (its start = 1)",
    (t, weights["true derivative"], RED, "--", "true derivative"),
    (t, weights["graph cut"], BLUE, "-", "graph cut at r and d"),
)

# %%
# The true derivative pushes the weight on and on, each time for the sake of a single step, and the moving averages
# undo it. Its loss is a little lower only because they lag behind a weight that never stops growing. With the cut,
# :math:`g` and :math:`\Psi` take this push out of the gradient, as in batch normalisation.
#
# So in Batch Renormalization the *forward* pass gets rid of the batch's noise, but :math:`g` and :math:`\Psi` in the
# *backward* pass are still those of two images. The next two tutorials deal with that.
#
# Questions
# ---------
#
# 1. With all bounds wide, the output for a sample does not depend on the other samples in its batch. Does its
#    gradient?
# 2. A colleague's Batch Renormalization, written in a framework with automatic differentiation, passes a plain
#    gradient check. What do you tell them?
# 3. Why is :math:`r` computed from the moving average *before* this batch? Put :math:`\hat\sigma` from after the
#    update into :math:`r`, with a decay of 0. What is left of the correction?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. Yes: :math:`g` and :math:`\Psi` are means over the batch.
#    2. That theirs is wrong: they have forgotten the stop-gradient. The check compares backward with the derivative
#       of forward, which it is not meant to be. Hold :math:`r` and :math:`d` fixed in the check.
#    3. With a decay of 0 the average after the update is the batch's own value, so :math:`r = 1` and :math:`d = 0`:
#       batch normalisation. With 0.99 the batch itself would be a hundredth of the average that corrects it, and the
#       output for a sample would again depend on the rest of its batch.

# %%
# Exercises
# ---------
#
# .. exercises::
