"""Half precision: x, z, dz and dx are float16, and everything between is computed in float32.

A float16 has 11 binary digits and ends at 65,504. That is enough for one value, but not for a sum of many or for a
square. So inputs are converted to float32, the normaliser works as usual, and what it returns per value is rounded
back. gamma, beta, their gradients, the statistics, the state and the cache are float32. The normalisers themselves
refuse float16, because somebody has to choose the precision of sums; this module chooses float32.

Parameters
----------
module : module
    Any normaliser of `mabn_ref.norms`; the state comes from its ``init(..., dtype=numpy.float32)``.
x, dz : array of float16
    The input, and the gradient with respect to the output. The other arguments are those of the normaliser.

Raises
------
TypeError
    If x or dz is not float16. The normaliser's own errors are raised as well.

Examples
--------
The sum of these values is far beyond the largest float16, yet their mean and variance come out right:

>>> import numpy as np
>>> from mabn_ref.norms import batch_norm
>>> x = np.tile(np.array([[999.0], [1001.0]], dtype=np.float16), (50_000, 1))
>>> one, config = np.ones(1, dtype=np.float32), batch_norm.Config(eps=0.0, decay=0.0)
>>> z, cache, state = forward(batch_norm, x, one, 0 * one, batch_norm.init(1, config, dtype=np.float32), config)
>>> z[:2, 0], state.mean, state.var
(array([-1.,  1.], dtype=float16), array([1000.], dtype=float32), array([1.], dtype=float32))
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mabn_ref.arrays import Array, check_plain, namespace


def forward(
    module: ModuleType, x: Array, gamma: Array, beta: Array, state: Any, config: Any
) -> tuple[Array, Any, Any]:
    """Normalise float16 values in float32 and round the output to float16."""
    z, cache, state = module.forward(_single("x", x), gamma, beta, state, config)
    return _half(z), cache, state


def backward(module: ModuleType, dz: Array, cache: Any, state: Any) -> tuple[Array, Array, Array, Any]:
    """Gradients, computed in float32 from the float32 cache; dx is rounded to float16, dgamma and dbeta are not."""
    dx, dgamma, dbeta, state = module.backward(_single("dz", dz), cache, state)
    return _half(dx), dgamma, dbeta, state


def infer(module: ModuleType, x: Array, gamma: Array, beta: Array, state: Any, config: Any) -> Array:
    """Normalise float16 values by the moving statistics in float32 and round the output to float16."""
    return _half(module.infer(_single("x", x), gamma, beta, state, config))


def _single(name: str, x: Array) -> Array:
    check_plain(name, x)
    if str(x.dtype) != "float16":
        raise TypeError(f"{name} has dtype {x.dtype}, expected float16; the normaliser itself takes other precisions")
    return namespace(x).astype(x, namespace(x).float32)


def _half(x: Array) -> Array:
    return namespace(x).astype(x, namespace(x).float16)
