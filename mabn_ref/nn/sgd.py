"""Stochastic gradient descent with momentum and weight decay, for the parameters of a `network`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from mabn_ref.arrays import Array, check_float_array, namespace
from mabn_ref.nn.checks import check_number

__all__ = ["Params", "init", "step"]

Params: TypeAlias = Sequence[dict[str, Array]]
"""One dict of named arrays per layer; empty where a layer has no parameters."""


def init(params: Params) -> list[dict[str, Array]]:
    """Return the velocity to start from: zeros.

    Parameters
    ----------
    params : list of dict of str to array
        The parameters.

    Returns
    -------
    list of dict of str to array
        Zeros of the same names, shapes and dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> init([{"w": np.array([1.0, 2.0])}, {}])
    [{'w': array([0., 0.])}, {}]
    """
    return [{name: namespace(p).zeros_like(p) for name, p in layer.items()} for layer in params]


def step(
    params: Params, grads: Params, velocity: Params, *, lr: float, momentum: float, weight_decay: float
) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
    """Return the parameters and the velocity after one step; nothing is changed in place.

    v = momentum * v + (g + weight_decay * p),  p = p - lr * v, for every parameter, gamma and beta too (as the paper
    has it).

    Parameters
    ----------
    params, grads, velocity : list of dict of str to array
        Parallel lists: the same names, shapes and dtypes.
    lr : float
        Learning rate of this step, at least 0.
    momentum : float
        Weight of the old velocity, in [0, 1).
    weight_decay : float
        Weight of the parameter itself in its gradient, at least 0.

    Returns
    -------
    params, velocity : list of dict of str to array
        New lists of new arrays, in the dtype of the old ones.

    Raises
    ------
    TypeError
        If a rate is no number, or a dtype differs from the parameter's.
    ValueError
        If a rate is out of range or the lists are not parallel.

    Notes
    -----
    Implements :eq:`sgd`. The learning rate multiplies the velocity where it is used, as in PyTorch, and is not summed
    into it.

    Examples
    --------
    >>> import numpy as np
    >>> params, grads = [{"w": np.array([1.0])}], [{"w": np.array([0.5])}]
    >>> params, velocity = step(params, grads, init(params), lr=0.1, momentum=0.9, weight_decay=0.0)
    >>> params, velocity = step(params, grads, velocity, lr=0.1, momentum=0.9, weight_decay=0.0)
    >>> velocity[0]["w"], params[0]["w"]
    (array([0.95]), array([0.855]))
    """
    check_number("lr", lr)
    check_number("momentum", momentum, below=1.0)
    check_number("weight_decay", weight_decay)
    _check_parallel("grads", grads, params)
    _check_parallel("velocity", velocity, params)
    # A NumPy scalar would turn float32 into float64.
    lr, momentum, weight_decay = float(lr), float(momentum), float(weight_decay)
    new_params, new_velocity = [], []
    for layer, grad, old in zip(params, grads, velocity, strict=True):
        v = {name: momentum * old[name] + (grad[name] + weight_decay * p) for name, p in layer.items()}  # eq: sgd
        new_velocity.append(v)
        new_params.append({name: p - lr * v[name] for name, p in layer.items()})  # eq: sgd
    return new_params, new_velocity


def _check_parallel(name: str, trees: Params, params: Params) -> None:
    if len(trees) != len(params):
        raise ValueError(f"{name} has {len(trees)} layers, expected {len(params)}, those of params")
    for i, (tree, layer) in enumerate(zip(trees, params, strict=True)):
        if tree.keys() != layer.keys():
            raise ValueError(f"{name}[{i}] has the names {sorted(tree)}, expected {sorted(layer)}, those of params")
        for key, p in layer.items():
            check_float_array(f"{name}[{i}][{key!r}]", tree[key], like=p, like_name="the parameter", real=True)
            if tuple(tree[key].shape) != tuple(p.shape):
                shape = tuple(tree[key].shape)
                raise ValueError(f"{name}[{i}][{key!r}] has shape {shape}, expected {tuple(p.shape)}, that of params")
