"""Wrong passes of what is done to a convolution's weight. The right dW is ``(dw_s - g - w_s * psi) / sigma``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import Call, Draw, convolution
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.nn import standardize
from mabn_ref.nn.standardize import Cache

__all__ = ["MISTAKES"]


def _mean(a: Array, axes: tuple[int, ...] = (0, 1, 2)) -> Array:
    return np.mean(a, axis=axes, keepdims=True)


def _gradient(dw_s: Array, cache: Cache, factor: Array | float = 1.0) -> Array:
    """The right dW, but for a factor of psi."""
    w_s, sigma = cache
    return (dw_s - _mean(dw_s) - factor * w_s * _mean(w_s * dw_s)) / sigma


def _unbiased() -> dict[str, Any]:
    """The variance over n - 1, and its derivative."""

    def forward(w: Array, *, eps: float = 1e-5) -> tuple[Array, Cache]:
        n = np.prod(w.shape[:3])
        sigma = np.sqrt(_mean((w - _mean(w)) ** 2) * (n / (n - 1)) + eps)
        return (w - _mean(w)) / sigma, Cache((w - _mean(w)) / sigma, sigma)

    def backward(dw_s: Array, cache: Cache) -> Array:
        n = np.prod(dw_s.shape[:3])
        return _gradient(dw_s, cache, n / (n - 1))

    return {"forward": forward, "backward": backward}


def _eps_outside() -> dict[str, Any]:
    """eps added to the root, and the derivative of that."""

    def forward(w: Array, *, eps: float = 1e-5) -> tuple[Array, Cache]:
        sigma = np.sqrt(_mean((w - _mean(w)) ** 2)) + eps
        return (w - _mean(w)) / sigma, Cache((w - _mean(w)) / sigma, sigma)

    def backward(dw_s: Array, cache: Cache) -> Array:
        # with eps = 0 the root of the mean square of w_s is 1; here it is root / (root + eps)
        return _gradient(dw_s, cache, 1 / np.sqrt(_mean(cache.w_s**2)))

    return {"forward": forward, "backward": backward}


def _over_kernel() -> dict[str, Any]:
    """Mean and variance of every kernel, input channels apart, and the derivative."""

    def forward(w: Array, *, eps: float = 1e-5) -> tuple[Array, Cache]:
        centred = w - _mean(w, (0, 1))
        sigma = np.sqrt(_mean(centred**2, (0, 1)) + eps)
        return centred / sigma, Cache(centred / sigma, sigma)

    def backward(dw_s: Array, cache: Cache) -> Array:
        w_s, sigma = cache
        return (dw_s - _mean(dw_s, (0, 1)) - w_s * _mean(w_s * dw_s, (0, 1))) / sigma

    return {"forward": forward, "backward": backward}


def _no_psi(dw_s: Array, cache: Cache) -> Array:
    return (dw_s - _mean(dw_s)) / cache.sigma


def _no_g(dw_s: Array, cache: Cache) -> Array:
    return (dw_s - cache.w_s * _mean(cache.w_s * dw_s)) / cache.sigma


def _with_eps(eps: float) -> Draw:
    draw = convolution(kernel=2, with_input=False)

    def drawn(rng: np.random.Generator) -> Call:
        return Call(draw(rng).inputs, {"eps": eps})

    return drawn


_mistake = partial(Mistake, subject=standardize, draw=_with_eps(0.1))

MISTAKES = (
    _mistake(
        name="standardize-unbiased",
        code=_unbiased(),
        sentence="Your variance of a filter is over n - 1, the default of some libraries; it is a mean, over n.",
        equation="standardize-forward",
        oracle="forward",
    ),
    _mistake(
        name="standardize-eps-outside",
        code=_eps_outside(),
        sentence="Your eps is added to the standard deviation; it belongs inside the root, to the variance.",
        equation="standardize-forward",
        oracle="forward",
    ),
    _mistake(
        name="standardize-per-kernel",
        code=_over_kernel(),
        sentence="Your mean and variance are over (kh, kw) alone; they are over the input channels too.",
        equation="standardize-forward",
        oracle="forward",
    ),
    _mistake(
        name="standardize-no-psi",
        code={"backward": _no_psi},
        sentence="Your dW is what you get with the standard deviation held fixed; every weight moves it.",
        equation="standardize-backward",
        oracle="gradient",
    ),
    _mistake(
        name="standardize-no-g",
        code={"backward": _no_g},
        sentence="Your dW is what you get with the mean held fixed; every weight moves it.",
        equation="standardize-backward",
        oracle="gradient",
    ),
)
