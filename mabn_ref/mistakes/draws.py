"""Random inputs for passes, right and wrong: calls of a normaliser, a call of a layer, steps of the optimiser.

Cotangents are random and never ones or the output, for which most wrong backward passes look right. A normaliser's
gradient vanishes where a channel has two values, so there are at least three.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.norms import batch_renorm, eval_norm, group_norm, mabn, moving_statistics, online_norm, sync_batch_norm

__all__ = [
    "Call",
    "Calls",
    "Draw",
    "Steps",
    "calls",
    "convolution",
    "grouped_calls",
    "logits",
    "matrices",
    "sample_calls",
    "steps",
]

Draw: TypeAlias = Callable[[np.random.Generator], Any]


class Calls(NamedTuple):
    """Calls of a normaliser, one after the other, from the state of its `init`."""

    config: Any
    gamma: Array
    beta: Array
    xs: Sequence[Array]
    """One input a call, all of one shape (N, ..., C); inference is looked at on the last."""
    dzs: Sequence[Array]
    """One cotangent a call."""


class Call(NamedTuple):
    """One call of a layer: ``forward(*inputs, **options)``."""

    inputs: tuple[Array, ...]
    options: dict[str, Any]


class Steps(NamedTuple):
    """Steps of the optimiser, one after the other, from the velocity of its `init`."""

    params: list[dict[str, Array]]
    grads: Sequence[list[dict[str, Array]]]
    """One list a step."""
    options: dict[str, float]


def calls(
    module: ModuleType,
    *,
    groups: int | None = None,
    norm_batch: int | None = None,
    space: tuple[int, ...] | None = None,
    channels: int | None = None,
    count: int | None = None,
    scale: tuple[float, float] = (0.3, 3.0),
    **settings: Any,
) -> Draw:
    """Return a draw of `count` calls of `groups` normalisation batches each; what is not given is random.

    Parameters
    ----------
    module : module
        The normaliser.
    groups, norm_batch, space, channels, count : optional
        Normalisation batches a call, samples of each, the axes between N and C, C, and calls.
    scale : tuple of float
        Between which a channel's scale is drawn; its offset is up to 3 scales.
    **settings
        Fields of the normaliser's Config that are to have this value.

    Returns
    -------
    callable
        ``draw(rng) -> Calls``, all float64.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> inputs = calls(batch_norm, groups=2, norm_batch=3, space=(5,), channels=1, count=4)(np.random.default_rng(0))
    >>> inputs.xs.shape, inputs.gamma.shape, inputs.config.norm_batch
    ((4, 6, 5, 1), (1,), 3)
    """

    def draw(rng: np.random.Generator) -> Calls:
        between = _SPACES[rng.integers(len(_SPACES))] if space is None else space
        many = int(rng.integers(1, 4)) if groups is None else groups
        few = rng.random() < 0.3
        wide = int(rng.integers(1, 2 if few else 4)) if channels is None else channels
        # few values, or so many that a gradient check looks along random directions: both are quick
        values = 3 if few else -(-65 // (many * wide))
        fewest = -(-values // int(np.prod(between)))
        samples = int(rng.integers(fewest, fewest + 3)) if norm_batch is None else norm_batch
        shared = None if many == 1 and rng.integers(2) else samples
        shared = samples if module is eval_norm else shared
        config = module.Config(**{"norm_batch": shared, **_settings(rng, module), **settings})
        shape = (int(rng.integers(2, 8)) if count is None else count, many * samples, *between, wide)
        low, high = np.log(scale)
        # the scale drifts from call to call, so that old and new statistics differ
        drift = np.exp(rng.uniform(-0.5, 0.5, (shape[0], *[1] * (len(shape) - 2), wide)))
        spread = np.exp(rng.uniform(low, high, wide))
        xs: Array = drift * spread * (rng.standard_normal(shape) + rng.uniform(-3, 3, wide))
        dzs: Array = rng.standard_normal(shape)
        return Calls(config, _factors(rng, wide), rng.standard_normal(wide), xs, dzs)

    return draw


_SPACES = ((), (), (2,), (2, 2), (3, 2, 1))


def grouped_calls(*, groups: int | None = None, scale: tuple[float, float] = (0.3, 3.0)) -> Draw:
    """Return a draw of calls of `mabn_ref.norms.group_norm`, a sample and group of which has three values or more.

    Parameters
    ----------
    groups : int, optional
        Groups of channels; random if not given, and now and then as many as there are channels.
    scale : tuple of float
        Between which the scale of a call is drawn.

    Examples
    --------
    >>> inputs = grouped_calls(groups=2)(np.random.default_rng(0))
    >>> inputs.config.groups, inputs.xs.shape[-1] % 2
    (2, 0)
    """

    def draw(rng: np.random.Generator) -> Calls:
        eps, samples, between = _one_of(rng, 1e-5, 0.1, 1.0), int(rng.integers(1, 4)), _one_of(rng, *_SPACES)
        if groups is None and rng.random() < 0.2:
            config, wide, between = group_norm.Config.instance(eps=eps), int(rng.integers(1, 4)), (5,)
        else:
            many = int(rng.integers(1, 4)) if groups is None else groups
            config, wide = group_norm.Config(eps=eps, groups=many), many * int(rng.integers(3, 5))
        shape = (int(rng.integers(1, 4)), samples, *between, wide)
        low, high = np.log(scale)
        spread = np.exp(rng.uniform(low, high, (shape[0], *[1] * (len(shape) - 1)))) * rng.uniform(0.7, 1.4, wide)
        xs: Array = spread * (rng.standard_normal(shape) + rng.uniform(-3, 3, wide))
        dzs: Array = rng.standard_normal(shape)
        return Calls(config, _factors(rng, wide), rng.standard_normal(wide), xs, dzs)

    return draw


def sample_calls(*, count: int | None = None, scale: tuple[float, float] = (0.3, 3.0), **settings: Any) -> Draw:
    """Return a draw of calls of `mabn_ref.norms.online_norm`, up to five samples in each, of three values or more.

    Parameters
    ----------
    count : int, optional
        Calls; random if not given.
    scale : tuple of float
        Between which a channel's scale is drawn.
    **settings
        Fields of the Config that are to have this value.

    Examples
    --------
    >>> inputs = sample_calls(count=3, layer_scaling=True)(np.random.default_rng(0))
    >>> inputs.xs.shape[0], inputs.config.layer_scaling
    (3, True)
    """

    def draw(rng: np.random.Generator) -> Calls:
        drawn = {
            "eps": _one_of(rng, 1e-5, 0.1, 1.0),
            "decay_forward": _one_of(rng, 0.3, 0.9, 0.99),
            "decay_backward": _one_of(rng, 0.5, 0.9, 0.99),
            "layer_scaling": _one_of(rng, True, False),
        }
        config = online_norm.Config(**drawn | settings)
        calls, wide = int(rng.integers(2, 6)) if count is None else count, int(rng.integers(1, 4))
        shape = (calls, int(rng.integers(2, 6)), *_one_of(rng, (3,), (2, 2), (3, 2, 1)), wide)
        low, high = np.log(scale)
        spread = np.exp(rng.uniform(low, high, wide))
        xs: Array = spread * (rng.standard_normal(shape) + rng.uniform(-1, 1, wide))
        dzs: Array = rng.standard_normal(shape)
        return Calls(config, _factors(rng, wide), rng.standard_normal(wide), xs, dzs)

    return draw


def _settings(rng: np.random.Generator, module: ModuleType) -> dict[str, Any]:
    """Random hyper-parameters, all choices and phases among them."""
    drawn = {"eps": _one_of(rng, 1e-5, 0.1, 1.0), "decay": _one_of(rng, 0.0, 0.5, 0.9, 0.98)}
    if module is sync_batch_norm:
        drawn["norm_batch"] = None  # what the ranks have is the batch
    if module is eval_norm:
        drawn |= {
            "estimated": _one_of(rng, True, False),
            "rate": _one_of(rng, 0.01, 0.5),
            "merged": rng.random() < 0.5,
        }
    if module is batch_renorm:
        start = int(rng.integers(0, 6))
        ramp = {"start": start, "stop": start + int(rng.integers(0, 6))}
        drawn |= {
            "r_max": _one_of(rng, 1.0, 1.5, 3.0, batch_renorm.Ramp(**ramp, first=1.0, last=2.0)),
            "d_max": _one_of(rng, 0.0, 0.5, 5.0, batch_renorm.Ramp(**ramp, first=0.0, last=2.0)),
            "ema_of": _one_of(rng, "sigma", "var"),
        }
    if module is mabn:
        drawn |= {
            "window": int(rng.integers(1, 6)),
            "clip": _one_of(rng, 1.0, 1.2, 5.0),
            "warmup": _one_of(rng, 0, 0, 3, 6),
            "partial_window": _one_of(rng, "mean", "batch"),
            "renorm_from": _one_of(rng, 1, 1, 4),
            "ema_of": _one_of(rng, "batch", "window"),
            "ema_per": _one_of(rng, "micro_batch", "call"),
            "ema_read": _one_of(rng, "before", "after"),
            "ema_start": _one_of(rng, 1.0, 0.25, "first"),
        }
    if module is moving_statistics:
        drawn |= {
            "form": _one_of(rng, "vanilla", "modified"),
            "forward": _one_of(rng, "batch", "ema"),  # with these and backward "batch" it is a derivative
            "window": int(rng.integers(1, 6)),
            "r_max": _one_of(rng, 1.0, 1.2, 5.0),
            "d_max": _one_of(rng, 0.0, 0.5, 5.0),
            "renorm_from": _one_of(rng, 1, 1, 4),
        }
    return drawn


def convolution(
    *, stride: int | None = None, padding: int | None = None, kernel: int | None = None, with_input: bool = True
) -> Draw:
    """Return a draw of one convolution, or of its weight alone; what is not given is random.

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
            return Call((w + rng.standard_normal(),), {})
        x = rng.standard_normal((int(rng.integers(2, 4)), *(int(n) for n in rng.integers(4, 7, 2)), channels_in))
        options = {
            "stride": int(rng.integers(1, 4)) if stride is None else stride,
            "padding": int(rng.integers(0, 3)) if padding is None else padding,
        }
        return Call((x, w), options)

    return draw


def matrices(*shapes: str) -> Draw:
    """Return a draw of arrays whose axes are named by letters; an axis has 2 to 4 entries, the same in all.

    Examples
    --------
    >>> x, w = matrices("ni", "io")(np.random.default_rng(0)).inputs
    >>> x.shape, w.shape
    ((4, 3), (3, 2))
    """

    def draw(rng: np.random.Generator) -> Call:
        size = {axis: int(rng.integers(2, 5)) for shape in shapes for axis in shape}
        return Call(tuple(_factors(rng, *(size[axis] for axis in shape)) for shape in shapes), {})

    return draw


def logits(rng: np.random.Generator) -> Call:
    """Draw logits and labels.

    Examples
    --------
    >>> logits(np.random.default_rng(0)).options
    {'labels': array([0, 0, 0, 2, 2])}
    """
    n, classes = (int(k) for k in rng.integers(2, 6, 2))
    return Call((2 * rng.standard_normal((n, classes)),), {"labels": rng.integers(0, classes, n)})


def steps(rng: np.random.Generator) -> Steps:
    """Draw parameters, and gradients for a few steps.

    Examples
    --------
    >>> len(steps(np.random.default_rng(0)).grads)
    5
    """
    shapes = {"w": (3, 2), "b": (2,)}

    def tree() -> list[dict[str, Array]]:
        return [{name: rng.standard_normal(shape) for name, shape in shapes.items()}, {}]

    options = {
        "lr": rng.uniform(0.05, 0.5),
        "momentum": rng.uniform(0.5, 0.95),
        "weight_decay": rng.uniform(0.01, 0.5),
    }
    return Steps(tree(), [tree() for _ in range(int(rng.integers(3, 6)))], options)


def _one_of(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def _factors(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers of either sign away from 0 and 1, under which no forgotten factor hides."""
    return rng.choice([-1.0, 1.0], shape) * rng.choice([0.6, 1.6], shape) * rng.uniform(0.8, 1.2, shape)
