"""A layer of any library as four functions, for ``mabn-ref check``: fill in what your library does.

As it stands this is batch normalisation in NumPy, and conforms:

    mabn-ref check my_layer.py --as bn

Inputs and outputs are NumPy arrays with the channels last: (N, C), (N, L, C) or (N, H, W, C). MLX:
``mx.array(x)`` and ``np.array(z)``, with ``mx.vjp`` in backward. tinygrad: ``Tensor(x, requires_grad=True)``,
``z.numpy()``, ``z.backward(gradient)`` and ``x.grad.numpy()``. Where your library has the channels second:
``np.moveaxis(x, -1, 1)`` on the way in, ``np.moveaxis(z, 1, -1)`` on the way out.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def make(channels: int, config: Any) -> dict[str, Any]:
    """Return a new layer: any object that the other functions can use; config has eps and decay, among others."""
    return {"config": config, "mean": np.zeros(channels), "var": np.ones(channels), "cache": None}


def forward(layer: dict[str, Any], x: Any, gamma: Any, beta: Any, training: bool) -> Any:
    """Return the output, of the shape and dtype of x; gamma and beta change from call to call."""
    eps, decay, axes = layer["config"].eps, layer["config"].decay, tuple(range(x.ndim - 1))
    mean, var = layer["mean"], layer["var"]
    if training:
        mean, var = x.mean(axes), x.var(axes)
        layer["mean"] = decay * layer["mean"] + (1 - decay) * mean
        layer["var"] = decay * layer["var"] + (1 - decay) * var
    sigma = np.sqrt(var + eps)
    y = (x - mean) / sigma
    if training:
        layer["cache"] = y, sigma, gamma
    return (gamma * y + beta).astype(x.dtype)


def backward(layer: dict[str, Any], dz: Any) -> tuple[Any, Any, Any]:
    """Return dx, dgamma and dbeta of the last call in training; None for those that your layer does not have."""
    y, sigma, gamma = layer["cache"]
    axes, dy = tuple(range(dz.ndim - 1)), gamma * dz
    dx = (dy - dy.mean(axes) - y * (dy * y).mean(axes)) / sigma
    return dx.astype(dz.dtype), (dz * y).sum(axes), dz.sum(axes)


def state(layer: dict[str, Any]) -> dict[str, Any]:
    """Return the moving statistics and any counts, under any names; {} if there are none."""
    return {"mean": layer["mean"], "var": layer["var"]}
