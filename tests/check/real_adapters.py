"""Layers of Equinox and Haiku as two pure functions of JAX, and what else a name alone does not make.

Each is looked up by its dotted path, so that a package that is not installed is missed by its own rows alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def __getattr__(name: str) -> Any:
    """Make the adapter of a name when it is asked for."""
    if name in _HAIKU:
        return haiku_layer(_HAIKU[name])
    if name in _EQUINOX:
        return equinox_layer(_EQUINOX[name])
    raise AttributeError(name)


def haiku_layer(make: Callable[..., Any]) -> SimpleNamespace:
    """A module of Haiku; scale and offset, which it is told not to have, are applied outside."""

    def init(channels: int) -> Any:
        return {}  # made at the first pass, when the shape of the input is known

    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, *, eps: float, decay: float = 0.9) -> Any:
        import haiku

        def run(x: Any) -> Any:
            layer = make(haiku, eps, decay)
            return layer(x, training) if isinstance(layer, haiku.BatchNorm) else layer(x)

        module = haiku.transform_with_state(run)
        state = state or module.init(None, x)[1]
        z, new = module.apply({}, state, None, x)
        return gamma * z + beta, new

    return SimpleNamespace(init=init, apply=apply)


_HAIKU: dict[str, Callable[..., Any]] = {
    "haiku_batch_norm": lambda hk, eps, decay: hk.BatchNorm(False, False, decay, eps),
    "haiku_layer_norm": lambda hk, eps, decay: hk.LayerNorm(-1, False, False, eps),
    "haiku_fast_layer_norm": lambda hk, eps, decay: hk.LayerNorm(-1, False, False, eps, use_fast_variance=True),
    "haiku_instance_norm": lambda hk, eps, decay: hk.InstanceNorm(False, False, eps),
    "haiku_group_norm": lambda hk, eps, decay: hk.GroupNorm(2, create_scale=False, create_offset=False, eps=eps),
    "haiku_rms_norm": lambda hk, eps, decay: hk.RMSNorm(-1, eps, create_scale=False),
}


def equinox_layer(make: Callable[..., Any]) -> SimpleNamespace:
    """A layer of Equinox, which takes one sample, channels first, or one position: over the rest is a `jax.vmap`."""

    @functools.cache
    def made(channels: int, eps: float, decay: float) -> Any:
        import equinox

        return equinox.nn.make_with_state(make)(equinox.nn, channels, eps, decay)

    def init(channels: int, *, eps: float, decay: float = 0.9) -> Any:
        import jax
        import jax.numpy as jnp

        kinds = {"f": jnp.result_type(float), "i": jnp.result_type(int)}  # of 64 bits or of 32, as it is now
        return jax.tree.map(lambda a: a.astype(kinds.get(a.dtype.kind, a.dtype)), made(channels, eps, decay)[1])

    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, *, eps: float, decay: float = 0.9) -> Any:
        import jax
        import jax.numpy as jnp

        layer = made(x.shape[-1], eps, decay)[0]
        if hasattr(layer, "mode"):
            call = functools.partial(layer, inference=not training)
            over_samples = jax.vmap(call, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
            z, state = over_samples(jnp.moveaxis(x, -1, 1), state)
        elif hasattr(layer, "groups"):
            z = jax.vmap(layer)(jnp.moveaxis(x, -1, 1))
        else:
            z = jnp.moveaxis(jax.vmap(layer)(x.reshape(-1, x.shape[-1])).reshape(x.shape), -1, 1)
        return gamma * jnp.moveaxis(z, 1, -1) + beta, state

    return SimpleNamespace(init=init, apply=apply)


def _batch_norm(mode: str) -> Callable[..., Any]:
    def make(nn: Any, channels: int, eps: float, decay: float) -> Any:
        return nn.BatchNorm(channels, "batch", eps, False, decay, mode=mode)

    return make


_EQUINOX: dict[str, Callable[..., Any]] = {
    "equinox_batch_norm": _batch_norm("batch"),
    "equinox_batch_norm_ema": _batch_norm("ema"),
    "equinox_layer_norm": lambda nn, c, eps, decay: nn.LayerNorm(c, eps, use_weight=False, use_bias=False),
    "equinox_group_norm": lambda nn, c, eps, decay: nn.GroupNorm(2, c, eps, channelwise_affine=False),
    "equinox_rms_norm": lambda nn, c, eps, decay: nn.RMSNorm(c, eps, use_weight=False, use_bias=False),
}
