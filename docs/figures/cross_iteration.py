"""How far the statistics of a window are from those of its batches under today's weights, corrected or not."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import conv2d, cross_iteration, relu

WINDOW, BATCH = 8, 4
rng = np.random.default_rng(0)
train, _ = embedded.generate(train_size=WINDOW * BATCH, test_size=10, seed=0)
images = to_float(train.images, *channel_statistics(train.images)).astype(float)
below = conv2d.forward(images, rng.standard_normal((3, 3, 3, 8)) / 5, padding=1)[0]
xs = relu.forward(below)[0].reshape(WINDOW, BATCH, 32, 32, 8)  # what a second convolution sees
start, steps = rng.standard_normal((3, 3, 8, 16)), rng.standard_normal((WINDOW, 3, 3, 8, 16))
one, zero = np.ones(16), np.zeros(16)


def sigma(means, variances):
    """The standard deviation of a window."""
    return np.sqrt(np.mean(variances + (means - np.mean(means, axis=0)) ** 2, axis=0))


def measured(x, w):
    """What an iteration keeps."""
    nothing = np.zeros((0, 16))
    return cross_iteration.measured(
        cross_iteration.forward(x, w, one, zero, means=nothing, variances=nothing, padding=1)[1]
    )


sizes = np.geomspace(1e-3, 0.2, 8)
errors = {"as it was measured": [], "corrected": [], "this batch alone": []}
for size in sizes:
    weights = start + size * np.cumsum(steps, axis=0)
    window = [measured(x, w) for x, w in zip(xs, weights, strict=True)]
    today = [measured(x, weights[-1]) for x in xs]
    true = sigma(np.stack([b.mean for b in today]), np.stack([b.var for b in today]))
    found = {
        "as it was measured": sigma(np.stack([b.mean for b in window]), np.stack([b.var for b in window])),
        "corrected": sigma(*cross_iteration.compensated(window, weights[-1])),
        "this batch alone": np.sqrt(today[-1].var),
    }
    for name, value in found.items():
        errors[name].append(100 * np.sqrt(np.mean((value / true - 1) ** 2)))

figure, axes = plt.subplots()
for (name, values), style in zip(errors.items(), ("s--", "o-", ":"), strict=True):
    axes.loglog(100 * sizes, values, style, color={"o-": "C0", "s--": "C1", ":": "C2"}[style], label=name)
axes.set_xlabel("change of the weights in one iteration (% of their size)")
axes.set_ylabel("error of σ (%)")
axes.set_title("Spread of 8 batches under today's weights")
axes.legend()
