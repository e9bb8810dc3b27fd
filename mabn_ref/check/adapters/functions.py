"""A module, or anything else, with the functions of a normaliser in `mabn_ref.norms`."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

from mabn_ref.arrays import Array

__all__ = ["FunctionsTarget"]


class FunctionsTarget:
    """Pure functions as a target, in a module or any other namespace; the state that they return is kept beside.

    Examples
    --------
    >>> import numpy as np
    >>> from mabn_ref.norms import modified_batch_norm
    >>> target = FunctionsTarget(modified_batch_norm)
    >>> layer = target.make(1, modified_batch_norm.Config(eps=0.0))
    >>> target.forward(layer, np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1), True).ravel()
    array([0.2, 1.4])
    """

    groups = True

    def __init__(self, functions: Any) -> None:
        self.functions = functions

    def make(self, channels: int, config: Any) -> SimpleNamespace:
        """Make a layer; its config is of the functions' own class where that takes the same fields."""
        own = getattr(self.functions, "Config", type(config))
        with contextlib.suppress(TypeError):  # a Config that is another's altogether: they say what they make of it
            config = own(**vars(config))
        return SimpleNamespace(channels=channels, config=config, state=None, cache=None)

    def forward(self, layer: SimpleNamespace, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        if layer.state is None:
            layer.state = self.functions.init(layer.channels, layer.config, dtype=x.dtype)
        if not training:
            return self.functions.infer(x, gamma, beta, layer.state, layer.config)
        z, layer.cache, layer.state = self.functions.forward(x, gamma, beta, layer.state, layer.config)
        return z

    def backward(self, layer: SimpleNamespace, dz: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta, layer.state = self.functions.backward(dz, layer.cache, layer.state)
        return dx, dgamma, dbeta

    def state(self, layer: SimpleNamespace) -> dict[str, Any]:
        return dict(layer.state._asdict())

    def age(self, layer: SimpleNamespace, iterations: int) -> None:
        """Set the count of iterations, where there is one."""
        if layer.state is not None and hasattr(layer.state, "iteration"):
            layer.state = layer.state._replace(iteration=iterations)
