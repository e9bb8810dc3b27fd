"""What the tests of the layers share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


def central_differences(loss: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The derivative of a scalar function by every element of `x`, in float64."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (float(loss(up)) - float(loss(down))) / (2 * h)
    return gradient


def frozen(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays made read-only, so that a pass which changes its inputs fails."""
    for array in arrays:
        array.flags.writeable = False
    return list(arrays)


@pytest.fixture(scope="session", name="central_differences")
def _central_differences() -> Callable[..., np.ndarray]:
    return central_differences


@pytest.fixture(scope="session", name="frozen")
def _frozen() -> Callable[..., list[np.ndarray]]:
    return frozen


@pytest.fixture(params=["default device", "device1"])
def strict(request):
    """Put an array into array-api-strict, on its default device or on the one that fails on silent conversion."""
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    device = xp.Device("device1") if request.param == "device1" else None
    return lambda array: xp.asarray(array, device=device)


@pytest.fixture(scope="session")
def to_numpy():
    """Bring an array-api-strict array back, wherever it lies."""

    def convert(array):
        xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
        return np.asarray(xp.asarray(array, device=xp.Device("CPU_DEVICE")))

    return convert
