"""Random inputs of layers: one call, or steps of the optimiser. Those of normalisers are in `random_inputs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array

Draw: TypeAlias = Callable[[np.random.Generator], Any]


class Call(NamedTuple):
    """One call of a layer: ``forward(*inputs, **options)``."""

    inputs: tuple[Array, ...]
    options: dict[str, Any]


class Steps(NamedTuple):
    """Steps of the optimiser, one after the other, from the velocity of its `init`."""

    params: list[dict[str, Array]]
    grads: Sequence[list[dict[str, Array]]]  #: one list a step
    options: dict[str, float]


def convolution(*, kernel: int | None = None, with_input: bool = True, **options: Any) -> Draw:
    """Return a draw of one convolution, or of its weight alone; a kernel or an option that is not given is random.

    Examples
    --------
    >>> convolution(stride=2)(np.random.default_rng(0)).options
    {'stride': 2, 'padding': 2}
    """

    def draw(rng: np.random.Generator) -> Call:
        k = int(rng.integers(1, 4)) if kernel is None else kernel
        channels_in, channels_out = (int(n) for n in rng.integers(2, 5, 2))
        w = rng.standard_normal((k, k + int(rng.integers(0, 2)), channels_in, channels_out))
        if not with_input:
            return Call((w + rng.standard_normal(),), options)
        x = rng.standard_normal((int(rng.integers(2, 4)), *(int(n) for n in rng.integers(4, 7, 2)), channels_in))
        drawn = {"stride": int(rng.integers(1, 4)), "padding": int(rng.integers(0, 3))}
        return Call((x, w), drawn | options)

    return draw


def windows(rng: np.random.Generator) -> Call:
    """Draw a convolution with a scale and shift of its output, and what one to three earlier iterations measured."""
    # so many inputs that a gradient check looks along random directions, and few weights: both are quick
    x, w = rng.standard_normal((3, int(rng.integers(4, 6)), 4, 2)), rng.standard_normal((2, 1, 2, 2))
    options: dict[str, Any] = {"stride": int(rng.integers(1, 3)), "padding": 1}
    shape = (int(rng.integers(1, 4)), w.shape[3])
    spread = np.sum(w**2, axis=(0, 1, 2))  # about the variance of the output
    means, variances = rng.uniform(-1, 1, shape) * spread**0.5, rng.uniform(0.5, 2, shape) * spread
    options |= {"means": means, "variances": variances, "eps": one_of(rng, 1e-5, 0.1, 1.0)}
    return Call((x, w, factors(rng, shape[1]), rng.standard_normal(shape[1])), options)


def matrices(*shapes: str) -> Draw:
    """Return a draw of arrays with axes named by letters; each has 2 to 4 entries, the same in all, and "1" has one.

    Examples
    --------
    >>> x, w = matrices("ni", "io")(np.random.default_rng(0)).inputs
    >>> x.shape, w.shape
    ((4, 3), (3, 2))
    """

    def draw(rng: np.random.Generator) -> Call:
        size = {axis: 1 if axis == "1" else int(rng.integers(2, 5)) for shape in shapes for axis in shape}
        return Call(tuple(factors(rng, *(size[axis] for axis in shape)) for shape in shapes), {})

    return draw


def before_saturation(rng: np.random.Generator) -> Call:
    """Draw what Derf takes, alpha x + s within 3 of 0: differences of erf see nothing but rounding further out."""
    call = matrices("nc", "1", "1", "c", "c")(rng)
    x, alpha, s, gamma, beta = call.inputs
    shrunk = min(3 / np.max(np.abs(alpha * x + s)), 1)
    return Call((x, shrunk * alpha, shrunk * s, gamma, beta), {})


def logits(rng: np.random.Generator) -> Call:
    """Draw logits and labels."""
    n, classes = (int(k) for k in rng.integers(2, 6, 2))
    return Call((2 * rng.standard_normal((n, classes)),), {"labels": rng.integers(0, classes, n)})


def answers(rng: np.random.Generator) -> Call:
    """Draw scores and the right answers, one yes and one no among them, and the settings of the focal loss."""
    shape = (int(rng.integers(2, 6)), int(rng.integers(1, 4)))
    truth = rng.integers(0, 2, shape)
    truth[0, 0], truth[-1, -1] = 1, 0
    options = {"truth": truth, "alpha": rng.uniform(0.1, 0.4), "gamma": rng.uniform(1.2, 3)}
    return Call((2 * rng.standard_normal(shape),), options)


def distances(rng: np.random.Generator) -> Call:
    """Draw predicted and true distances to four sides; of each box some reach too far and some not far enough."""
    shape = (int(rng.integers(2, 6)), 4)
    logs = rng.uniform(-1, 1, shape)
    apart = rng.permuted(np.array([[-1, 1, 1, -1]] * shape[0]), axis=1) * rng.uniform(0.2, 1, shape)
    return Call((logs,), {"truth": np.exp(logs + apart)})


def around_thresholds(rng: np.random.Generator) -> Call:
    """Draw values and the thresholds of their channels, none within 0.1 of its own, where forward has a corner."""
    x, tau = matrices("nhwc", "c")(rng).inputs
    return Call((tau + np.copysign(np.maximum(np.abs(x - tau), 0.1), x - tau), tau), {})


def steps(rng: np.random.Generator) -> Steps:
    """Draw parameters, and gradients for a few steps."""

    def tree() -> list[dict[str, Array]]:
        return [{"w": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}, {}]

    ranges = {"lr": (0.05, 0.5), "momentum": (0.5, 0.95), "weight_decay": (0.01, 0.5)}
    options = {name: rng.uniform(low, high) for name, (low, high) in ranges.items()}
    return Steps(tree(), [tree() for _ in range(int(rng.integers(3, 6)))], options)


def one_of(rng: np.random.Generator, *choices: Any) -> Any:
    chosen = choices[rng.integers(len(choices))]
    return chosen(rng) if callable(chosen) else chosen


def factors(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers of either sign away from 0 and 1, under which no forgotten factor hides."""
    return rng.choice([-1.0, 1.0], shape) * rng.choice([0.6, 1.6], shape) * rng.uniform(0.8, 1.2, shape)
