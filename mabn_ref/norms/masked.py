r"""Statistics over valid positions only: sequences with padding.

A batch statistic is a mean over positions, so a mask only selects the values to average. The valid values are taken
out as (M, C), the normaliser treats them as M samples, and its results are put back. The other positions of x and dz
are never read, and z and dx are 0 there. All valid values of a call form one normalisation batch.

Parameters
----------
module : module
    A normaliser whose samples share statistics: `mabn_ref.norms.batch_norm`, `mabn_ref.norms.mabn`, ..., except
    `mabn_ref.norms.eval_norm`, whose inference uses the statistics of each sample.
mask : array of bool, shape (N, ...)
    The shape of `x` without its channels; True where a position is valid.

Examples
--------
Two sequences, of two steps and of one. The mean of the three valid steps is 4; the padding does not count:

>>> import numpy as np
>>> from mabn_ref.norms import batch_norm
>>> config, mask = batch_norm.Config(eps=0.0), np.array([[True, True], [True, False]])
>>> x, one, zero = np.array([[[2.0], [4.0]], [[6.0], [99.0]]]), np.ones(1), np.zeros(1)
>>> state = batch_norm.init(1, config, dtype=x.dtype)
>>> z, cache, state = forward(batch_norm, x, mask, one, zero, state, config)
>>> z[..., 0].round(2)
array([[-1.22,  0.  ],
       [ 1.22,  0.  ]])
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from mabn_ref.arrays import Array, check_own, check_plain, kind, namespace
from mabn_ref.norms.checks import Settings


class Cache(NamedTuple):
    """What backward needs."""

    valid: Any  #: the normaliser's Cache, of the valid values
    mask: Array  #: (N, ...)


def forward(
    module: ModuleType, x: Array, mask: Array, gamma: Array, beta: Array, state: Any, config: Any
) -> tuple[Array, Cache, Any]:
    """Normalise the valid values among themselves: :eq:`masked-forward`."""
    _check(x, mask, config)
    z, cache, state = module.forward(x[mask], gamma, beta, state, config)  # eq: masked-forward
    return _put_back(z, mask, x), Cache(cache, mask & mask), state  # a copy, in every array library


def backward(module: ModuleType, dz: Array, cache: Cache, state: Any) -> tuple[Array, Array, Array, Any]:
    """Gradients at the valid positions, 0 elsewhere: :eq:`masked-backward`."""
    check_own((cache, Cache))
    valid, mask = cache
    check_plain("dz", dz)
    if tuple(dz.shape[:-1]) != tuple(mask.shape):
        raise ValueError(f"dz has shape {tuple(dz.shape)}, expected {tuple(mask.shape)} as in mask, and channels")
    dx, dgamma, dbeta, state = module.backward(dz[mask], valid, state)  # eq: masked-backward
    return _put_back(dx, mask, dz), dgamma, dbeta, state


def infer(module: ModuleType, x: Array, mask: Array, gamma: Array, beta: Array, state: Any, config: Any) -> Array:
    """Normalise the valid values by the moving statistics; 0 elsewhere, as in training: :eq:`masked-forward`."""
    _check(x, mask, config)
    return _put_back(module.infer(x[mask], gamma, beta, state, config), mask, x)  # eq: masked-forward


def _put_back(values: Array, mask: Array, like: Array) -> Array:
    out = namespace(like).zeros_like(like)
    out[mask] = values
    return out


def _check(x: Array, mask: Array, config: Any) -> None:
    if not isinstance(config, Settings):
        raise TypeError(
            f"config is {kind(config)}, expected the Config of a normaliser whose samples share statistics"
        )
    if config.norm_batch is not None:
        raise ValueError(f"norm_batch is {config.norm_batch}, expected None: with a mask, a call is one batch")
    if not str(getattr(mask, "dtype", "")).endswith("bool"):
        of = f" of {mask.dtype}" if hasattr(mask, "dtype") else ""
        raise TypeError(f"mask is {kind(mask)}{of}, expected an array of bool")
    check_plain("mask", mask)
    check_plain("x", x)
    if tuple(x.shape[:-1]) != tuple(mask.shape):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, expected {tuple(x.shape[:-1])}, the shape of x without its channels"
        )
    if not bool(namespace(mask).any(mask)):
        raise ValueError("mask is False everywhere, expected at least one valid position")
