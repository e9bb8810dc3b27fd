"""Random calls of normalisers for passes, right and wrong; and what is drawn for every right implementation.

A draw is a function, ``draw(rng) -> inputs``, all float64. Cotangents are random and never ones or the output, for
which most wrong backward passes look right. A normaliser's gradient vanishes where a channel has two values, so there
are at least three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mabn_ref import nn, norms
from mabn_ref.arrays import Array
from mabn_ref.mistakes import plain
from mabn_ref.mistakes import random_layer_inputs as layers
from mabn_ref.mistakes.random_layer_inputs import Draw, factors, one_of
from mabn_ref.norms import mabn_variants
from mabn_ref.norms.checks import Ramp


class Calls(NamedTuple):
    """Calls of a normaliser, one after the other, from the state of its `init`."""

    config: Any
    gamma: Array
    beta: Array
    xs: Sequence[Array]  #: one input a call, all of one shape (N, ..., C); inference is looked at on the last
    dzs: Sequence[Array]  #: one cotangent a call


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

    `space` are the axes between N and C. A channel's scale is drawn from `scale`; its offset is up to 3 scales.
    `settings` are fields of the normaliser's Config that are to have this value.

    Examples
    --------
    >>> from mabn_ref.norms import batch_norm
    >>> inputs = calls(batch_norm, groups=2, norm_batch=3, space=(5,), channels=1, count=4)(np.random.default_rng(0))
    >>> inputs.xs.shape, inputs.gamma.shape, inputs.config.norm_batch
    ((4, 6, 5, 1), (1,), 3)
    """

    def draw(rng: np.random.Generator) -> Calls:
        between = one_of(rng, *_SPACES) if space is None else space
        many = int(rng.integers(1, 4)) if groups is None else groups
        few = rng.random() < 0.3
        wide = int(rng.integers(1, 2 if few else 4)) if channels is None else channels
        # few values, or so many that a gradient check looks along random directions: both are quick
        values = 3 if few else -(-65 // (many * wide))
        fewest = -(-values // int(np.prod(between)))
        samples = int(rng.integers(fewest, fewest + 3)) if norm_batch is None else norm_batch
        shared = None if many == 1 and rng.integers(2) and module is not norms.eval_norm else samples
        config = _config(rng, module, {"norm_batch": shared}, settings)
        shape = (int(rng.integers(2, 8)) if count is None else count, many * samples, *between, wide)
        # the scale drifts from call to call, so that old and new statistics differ
        drift = np.exp(rng.uniform(-0.5, 0.5, (shape[0], *[1] * (len(shape) - 2), wide)))
        return _of_config(rng, config, shape, drift * _log_uniform(rng, scale, wide), offset=3)

    return draw


def grouped_calls(*, groups: int | None = None, scale: tuple[float, float] = (0.3, 3.0)) -> Draw:
    """Return a draw of calls of `mabn_ref.norms.group_norm`, a sample and group of which has three values or more.

    Without `groups` their number is random, and now and then as many as there are channels.

    Examples
    --------
    >>> inputs = grouped_calls(groups=2)(np.random.default_rng(0))
    >>> inputs.config.groups, inputs.xs.shape[-1] % 2
    (2, 0)
    """

    def draw(rng: np.random.Generator) -> Calls:
        many, samples, between = int(rng.integers(1, 4)), int(rng.integers(1, 4)), one_of(rng, *_SPACES)
        if groups is None and rng.random() < 0.2:
            config, wide, between = _config(rng, norms.group_norm, {}, {"groups": None}), many, (5,)
        else:
            config = _config(rng, norms.group_norm, {}, {"groups": groups or many})
            wide = (groups or many) * int(rng.integers(3, 5))
        shape = (int(rng.integers(1, 4)), samples, *between, wide)
        spread = _log_uniform(rng, scale, shape[0], *[1] * (len(shape) - 1)) * rng.uniform(0.7, 1.4, wide)
        return _of_config(rng, config, shape, spread, offset=3)

    return draw


def sample_calls(
    module: ModuleType,
    *,
    count: int | None = None,
    channels: int | None = None,
    scale: tuple[float, float] = (0.3, 3.0),
    **settings: Any,
) -> Draw:
    """Return a draw of calls of a normaliser of single samples: up to five in a call, of three values or more.

    Examples
    --------
    >>> inputs = sample_calls(norms.online_norm, count=3, layer_scaling=True)(np.random.default_rng(0))
    >>> inputs.xs.shape[0], inputs.config.layer_scaling
    (3, True)
    """

    def draw(rng: np.random.Generator) -> Calls:
        config = _config(rng, module, {}, settings)
        many = int(rng.integers(2, 6)) if count is None else count
        wide = int(rng.integers(1, 4)) if channels is None else channels
        shape = (many, int(rng.integers(2, 6)), *one_of(rng, (3,), (2, 2), (3, 2, 1)), wide)
        return _of_config(rng, config, shape, _log_uniform(rng, scale, wide), offset=1)

    return draw


_SPACES = ((), (), (2,), (2, 2), (3, 2, 1))


def _of_config(
    rng: np.random.Generator, config: Any, shape: tuple[int, ...], spread: Array, *, offset: float
) -> Calls:
    wide = shape[-1]
    xs: Array = spread * (rng.standard_normal(shape) + rng.uniform(-offset, offset, wide))
    dzs: Array = rng.standard_normal(shape)
    return Calls(config, factors(rng, wide), rng.standard_normal(wide), xs, dzs)


def _ramp(first: float, last: float) -> Callable[[np.random.Generator], Ramp]:
    def drawn(rng: np.random.Generator) -> Ramp:
        start = int(rng.integers(0, 6))
        return Ramp(start=start, stop=start + int(rng.integers(0, 6)), first=first, last=last)

    return drawn


_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "eps": (1e-5, 0.1, 1.0),
    "decay": (0.0, 0.5, 0.9, 0.98),
    "decay_forward": (0.3, 0.9, 0.99),
    "decay_backward": (0.5, 0.9, 0.99),
    "window": (1, 2, 3, 4, 5),
    "clip": (1.0, 1.2, 5.0),
    "r_max": (1.0, 1.2, 5.0),
    "d_max": (0.0, 0.5, 5.0),
    "warmup": (0, 0, 3, 6),
    "renorm_from": (1, 1, 4),
    "ema_start": (1.0, 0.25, "first"),
    "rate": (0.01, 0.5),
}
"""What is drawn for a number of a Config, all phases among it; functions of rng are called. Of words and switches all
choices are drawn."""

_SETTINGS_OF: Mapping[ModuleType, Mapping[str, tuple[Any, ...]]] = {
    norms.batch_renorm: {
        "r_max": (1.0, 1.5, 3.0, _ramp(1.0, 2.0)),
        "d_max": (0.0, 0.5, 5.0, _ramp(0.0, 2.0)),
    },
    norms.moving_statistics: {"forward": ("batch", "ema"), "backward": ()},  # others have no derivative
    norms.sync_batch_norm: {"norm_batch": (None,)},  # what the ranks have is the batch
}
"""Where a field is another in this module; of an empty tuple nothing is drawn."""


def _config(rng: np.random.Generator, module: ModuleType, drawn: dict[str, Any], settings: dict[str, Any]) -> Any:
    given = {**_SETTINGS, **_SETTINGS_OF.get(module, {})}
    for field in fields(module.Config):
        own = (True, False) if isinstance(field.default, bool) else field.metadata.get("choices", ())
        if choices := given.get(field.name, own):
            drawn[field.name] = one_of(rng, *choices)
    return module.Config(**drawn | settings)


def _log_uniform(rng: np.random.Generator, scale: tuple[float, float], *shape: int) -> Array:
    low, high = np.log(scale)
    return np.exp(rng.uniform(low, high, shape))


_WIDE = (1e-3, 1e3)


def right_draw(module: ModuleType) -> Draw:
    """Inputs for any right normaliser, which shares statistics if its Config has `norm_batch`."""
    of_batches = any(field.name == "norm_batch" for field in fields(module.Config))
    definition = plain.NORMALISERS.get(module.__name__.rpartition(".")[2], plain.Normaliser)
    return (partial(calls, scale=_WIDE) if of_batches else sample_calls)(module, **definition.derivative_with)


RIGHT_DRAWS: Mapping[ModuleType, Draw] = {
    **{norm.module: right_draw(norm.module) for norm in norms.NORMS.values()},
    mabn_variants: right_draw(mabn_variants),
    norms.group_norm: grouped_calls(scale=_WIDE),
    norms.rms_norm: sample_calls(norms.rms_norm, channels=4, scale=_WIDE),
    norms.sync_batch_norm: calls(norms.sync_batch_norm, groups=1, scale=_WIDE),
    nn.conv2d: layers.convolution(),
    nn.cross_iteration: layers.windows,
    nn.centralize: layers.convolution(with_input=False),
    nn.standardize: layers.convolution(with_input=False),
    nn.bias: layers.matrices("nhwc", "c"),
    nn.linear: layers.matrices("ni", "io", "o"),
    nn.relu: layers.matrices("nhwc"),
    nn.global_average_pool: layers.matrices("nhwc"),
    nn.upsample: layers.matrices("nhwc"),
    nn.threshold: layers.around_thresholds,
    nn.dynamic_tanh: layers.matrices("nhwc", "1", "c", "c"),
    nn.dynamic_erf: layers.before_saturation,
    nn.residual: layers.matrices("nhwc", "nhwc", "nhwc"),
    nn.softmax_cross_entropy: layers.logits,
    nn.focal_loss: layers.answers,
    nn.iou_loss: layers.distances,
    nn.optimiser: layers.steps,
}
"""Inputs for each right implementation: all settings, and scales from 1e-3 to 1e3."""
