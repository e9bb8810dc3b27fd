"""A stand-in for CuPy where there is no GPU: a module of its name, whose arrays are NumPy's inside.

It offers the functions below alone, which CuPy 14 has and 13 has not all. Its creation functions take no `device`,
and its arrays refuse to be mixed with those of the host, as CuPy's do. So it shows that the code asks CuPy for
nothing that is not there. It does not show that a GPU computes the same.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["FUNCTIONS", "stand_in"]

# fmt: off
FUNCTIONS = [
    "abs", "all", "any", "arange", "argmax", "argmin", "ascontiguousarray", "astype", "clip", "concat", "empty",
    "exp", "finfo", "flip", "isfinite", "log", "matrix_transpose", "max", "maximum", "mean", "min", "minimum",
    "ones", "ones_like", "permute_dims", "prod", "repeat", "reshape", "sqrt", "stack", "sum", "tensordot", "tile",
    "where", "zeros", "zeros_like",
]
# fmt: on


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array "on the device"."""

    __module__ = "cupy"

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    shape = property(lambda self: self.inside.shape)
    dtype = property(lambda self: self.inside.dtype)
    ndim = property(lambda self: self.inside.ndim)
    size = property(lambda self: self.inside.size)
    strides = property(lambda self: self.inside.strides)
    T = property(lambda self: ndarray(self.inside.T))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        return _wrapped(getattr(ufunc, method)(*_inside(inputs), **_inside(keywords)))

    def __getitem__(self, key: Any) -> Any:
        return ndarray(np.asarray(self.inside[_inside(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inside[_inside(key)] = _inside(value)

    def __len__(self) -> int:
        return len(self.inside)

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __float__(self) -> float:
        return float(self.inside)

    def __int__(self) -> int:
        return int(self.inside)


def _inside(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, dict):
        return {name: _inside(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_inside(item) for item in value)
    return value


def _wrapped(value: Any) -> Any:
    return ndarray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def _on_device(function: Any) -> Any:
    def call(*arguments: Any, **keywords: Any) -> Any:
        if "device" in keywords:
            raise TypeError("got an unexpected keyword argument 'device'")
        return _wrapped(function(*_inside(arguments), **_inside(keywords)))

    return call


def stand_in() -> ModuleType:
    """The module; put it into ``sys.modules`` under its name."""
    module = ModuleType("cupy")
    for name in FUNCTIONS:
        setattr(module, name, _on_device(getattr(np, name)))
    for name in ("float32", "float64", "int64", "newaxis"):
        setattr(module, name, getattr(np, name))
    tricks = SimpleNamespace(as_strided=_on_device(np.lib.stride_tricks.as_strided))
    parts = {
        "ndarray": ndarray,
        "lib": SimpleNamespace(stride_tricks=tricks),
        # Values of the host come to the device, and arrays back, by these two alone.
        "asarray": lambda x, dtype=None: ndarray(np.array(x.inside if isinstance(x, ndarray) else x, dtype=dtype)),
        "asnumpy": lambda x: x.inside.copy(),
        "cuda": SimpleNamespace(Device=lambda: SimpleNamespace(synchronize=lambda: None)),
        "__version__": "stand-in",
    }
    for name, part in parts.items():
        setattr(module, name, part)
    return module
