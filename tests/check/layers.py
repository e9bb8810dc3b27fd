"""Targets that misbehave, by the dotted path ``tests.check.layers:Name``."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from typing import Any

import numpy as np

from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm


class _Sometimes(FunctionsTarget):
    """Batch norm that does something else at the fourth step on 24 samples."""

    def __init__(self) -> None:
        super().__init__(batch_norm)
        self.steps = 0

    def make(self, channels: int, config: Any) -> Any:
        self.steps = 0
        return super().make(channels, config)

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        self.steps += 1
        z = super().forward(layer, x, gamma, beta, training)
        return self.otherwise(z) if self.steps == 4 and len(x) == 24 else z

    def otherwise(self, z: Any) -> Any:
        raise NotImplementedError


class Raises(_Sometimes):
    def otherwise(self, z: Any) -> Any:
        raise RuntimeError("no luck today")


class Hangs(_Sometimes):
    def otherwise(self, z: Any) -> Any:
        time.sleep(3600)


class Dies(_Sometimes):
    def otherwise(self, z: Any) -> Any:
        print("something on standard output")
        os._exit(3)


class DiesAtOnce(FunctionsTarget):
    """Its inference ends the process."""

    def __init__(self) -> None:
        super().__init__(batch_norm)

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        return super().forward(layer, x, gamma, beta, training) if training else os._exit(3)


class DiesOfAConstant(DiesAtOnce):
    """It ends the process where all values of a channel are the same."""

    def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
        constant = np.any(np.ptp(x.reshape(-1, x.shape[-1]), axis=0) == 0) and len(x) > 1
        return os._exit(3) if constant else FunctionsTarget.forward(self, layer, x, *rest)


class BreaksOnImages(FunctionsTarget):
    """Forward takes any input, backward no images."""

    def __init__(self) -> None:
        super().__init__(batch_norm)

    def backward(self, layer: Any, dz: Any) -> Any:
        if dz.ndim == 4:
            raise RuntimeError("no images please")
        return super().backward(layer, dz)


class Answers(_Sometimes):
    """It writes what it likes on every pipe that its process has, and waits."""

    said: bytes = struct.pack("<Q", 8) + b"anything"

    def otherwise(self, z: Any) -> Any:
        for number in range(3, 64):
            with contextlib.suppress(OSError):
                if stat.S_ISFIFO(os.fstat(number).st_mode):
                    os.write(number, self.said)
        time.sleep(3600)


class Pickles(Answers):
    """Its answer would, unpickled, end the process that asked."""

    said = b"cos\n_exit\n(I7\ntR."


class NotFinite(_Sometimes):
    def otherwise(self, z: Any) -> Any:
        return np.full_like(z, np.inf)


class WrongShape(_Sometimes):
    def otherwise(self, z: Any) -> Any:
        return z[..., :1]


class Single(FunctionsTarget):
    """Batch norm in float32, whatever it is given."""

    def __init__(self) -> None:
        super().__init__(batch_norm)

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        return super().forward(layer, *(a.astype(np.float32) for a in (x, gamma, beta)), training)

    def backward(self, layer: Any, dz: Any) -> Any:
        return super().backward(layer, dz.astype(np.float32))


class Always:
    """Raises at once."""

    def make(self, channels: int, config: Any) -> Any:
        raise RuntimeError("not today")

    def forward(self, layer: Any, *rest: Any) -> Any: ...

    def backward(self, layer: Any, dz: Any) -> Any: ...

    def state(self, layer: Any) -> Any: ...
