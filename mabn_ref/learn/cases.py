"""For the checks of exercises: random cases, and judges of numbers that do not give the numbers away."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.learn.forms import unpack

__all__ = [
    "batch",
    "close",
    "gradient",
    "gradient_fault",
    "gradient_judge",
    "mean_square",
    "moments",
    "observe_backward",
]

_SPACES = ((), (5,), (2, 5), ())
_EPS = (1e-5, 0.1, 1.0)
_STEP = 2.0**-70


def batch(rng: np.random.Generator, k: int, *, samples: int = 6, channels: int = 3) -> SimpleNamespace:
    """Draw a batch and all that a normaliser wants with it.

    Rank and eps go round with k, so that every four cases hold (N, C), (N, W, C) and (N, H, W, C), and every three a
    small, a large and a very large eps. All axes have different lengths.

    Parameters
    ----------
    rng : Generator
    k : int
        Which case it is.
    samples, channels : int
        N and C, neither of them 2 or 5.

    Returns
    -------
    namespace
        `x`, `gamma`, `beta`, `eps`, `dz`, and `axes`, the lengths of the axes by letter, for messages.

    Examples
    --------
    >>> case = batch(np.random.default_rng(0), 2)
    >>> case.x.shape, case.eps, case.axes
    ((6, 2, 5, 3), 1.0, {'N': 6, 'H': 2, 'W': 5, 'C': 3})
    """
    space = _SPACES[k % len(_SPACES)]
    shape = (samples, *space, channels)
    spread = rng.uniform(0.5, 2.0, channels)
    return SimpleNamespace(
        x=spread * (rng.standard_normal(shape) + rng.uniform(-3, 3, channels)),
        gamma=rng.choice([-1.0, 1.0], channels) * rng.uniform(0.5, 2.0, channels),
        beta=rng.standard_normal(channels),
        eps=_EPS[k % len(_EPS)],
        dz=rng.standard_normal(shape),
        axes=dict(zip(("N", *"HW"[2 - len(space) :], "C"), shape, strict=True)),
    )


def mean_square(x: Array) -> Array:
    """Mean square of each channel; analytic, so that it can be differentiated by `gradient`.

    Examples
    --------
    >>> mean_square(np.array([[1.0, 2.0], [3.0, 0.0]]))
    array([5., 2.])
    """
    values = x.reshape(-1, x.shape[-1])
    return np.sum(values**2, axis=0) / len(values)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel; analytic as `mean_square` is.

    Examples
    --------
    >>> moments(np.array([[1.0, 2.0], [3.0, 0.0]]))
    (array([2., 1.]), array([1., 1.]))
    """
    values = x.reshape(-1, x.shape[-1])
    mu = np.sum(values, axis=0) / len(values)
    return mu, mean_square(values - mu)


def close(value: Any, right: Any, rtol: float = 1e-7) -> bool:
    """Whether numbers agree, to `rtol` of the largest right one.

    Examples
    --------
    >>> close(np.array([1.0, 1e-9]), np.array([1.0, 0.0]))
    True
    """
    right = np.asarray(right)
    return bool(np.max(np.abs(value - right), initial=0.0) <= rtol * np.max(np.abs(right), initial=1e-6))


def gradient(function: Callable[[Array], Array], x: Array, dz: Array) -> Array:
    """Differentiate <dz, function(x)> by the complex step, element by element.

    Parameters
    ----------
    function : callable
        Analytic: no abs, no var, no clip.
    x, dz : array
        Where, and the cotangent, of the shape of the function's result.

    Returns
    -------
    array
        Of the shape of `x`.

    Examples
    --------
    >>> gradient(lambda x: x**3, np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    array([  3., -12.])
    """
    found = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[i] += 1j * _STEP
        found[i] = np.sum(dz * function(moved)).imag / _STEP
    return found


def gradient_fault(name: str, value: Array, right: Array) -> str | None:
    """Say how far a gradient is from the numerical one, and where, or None.

    Examples
    --------
    >>> gradient_fault("dx", np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    'dx is not the derivative of forward: at (1,) it is off by 50 % of the largest derivative'
    >>> gradient_fault("dx", np.array([1.0, -2.0]), np.array([1.0, 4.0]))
    'dx is not the derivative of forward: at (1,) it is off by 150 % of the largest derivative'
    """
    if close(value, right):
        return None
    error = np.abs(value - right)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    percent = 100 * float(np.max(error) / np.max(np.abs(right), initial=1e-300))
    off = f"{percent:.2g}" if percent < 99.5 or percent >= 1e6 else f"{percent:.0f}"
    return f"{name} is not the derivative of forward: at {worst} it is off by {off} % of the largest derivative"


def gradient_judge(name: str) -> Callable[[Array, Any], str | None]:
    """Make the judge of a gradient, which asks `gradient_fault` with the attribute `name` of the case.

    Examples
    --------
    >>> judge = gradient_judge("dbeta")
    >>> judge(np.ones(3), SimpleNamespace(dbeta=np.ones(3))) is None
    True
    """

    def judge(value: Array, case: Any) -> str | None:
        return gradient_fault(name, value, getattr(case, name))

    return judge


def observe_backward(code: Any, case: Any) -> dict[str, Any]:
    """Call ``backward(dz, cache)`` on a case; its parts are dx, dgamma and dbeta."""
    names = ("dx", "dgamma", "dbeta")
    return dict(zip(names, unpack("backward", code.backward(case.dz, case.cache), *names), strict=True))
