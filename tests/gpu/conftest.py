"""The device: a CUDA device where one can be allocated on, and always the stand-in, in the same tests."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mabn_ref.train import devices
from tests.gpu.stand_in import stand_in


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), "stand-in"])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The array library of the device. CuPy imports without a driver, so allocating is what finds a device."""
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "cupy", stand_in())
    try:
        return devices.library("cuda")
    except (ImportError, devices.DeviceError) as error:
        pytest.skip(str(error).partition("\n")[0])
