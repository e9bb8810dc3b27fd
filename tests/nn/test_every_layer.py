"""Every layer computes in the dtype and in the array library of its inputs, which stay as they are."""

from __future__ import annotations

import inspect
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest

from mabn_ref import nn
from mabn_ref.nn import dynamic_erf
from tests.nn.layers import LAYERS, as_list, each


def test_every_layer_is_among_them() -> None:
    modules = (getattr(nn, module.name) for module in iter_modules(nn.__path__))
    pairs = {m for m in modules if hasattr(m, "backward") and hasattr(m, "Cache") and not inspect.isclass(m)}
    assert pairs == {module for module, *_ in LAYERS.values()}


@each
def test_float32_stays_float32_and_inputs_stay(frozen: Any, name: str) -> None:
    """The gradient of a loss is a number of any type."""
    module, inputs, options = LAYERS[name]
    inputs = frozen(*(a.astype(np.float32) if a.dtype.kind == "f" else a for a in inputs))
    options = {k: v.astype(np.float32) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    out, cache = module.forward(*inputs, **options)
    for dout in frozen(np.ones_like(out)) if out.ndim else (2, 2.0, np.float64(2)):
        gradients = as_list(module.backward(dout, cache))
        assert {a.dtype for a in (out, *gradients)} == {np.dtype(np.float32)}
        assert all(gradient.flags.writeable for gradient in gradients)


@each
def test_runs_in_another_array_library(strict: Any, to_numpy: Any, name: str) -> None:
    module, inputs, options = LAYERS[name]
    out, cache = module.forward(*inputs, **options)
    dout = np.random.default_rng(1).standard_normal(out.shape) if out.ndim else 1.0
    if module is dynamic_erf:
        with pytest.raises(
            TypeError, match=r"^x is a array_api_strict.*, expected a numpy\.ndarray: Python's standard"
        ):
            module.forward(*map(strict, inputs))
        return
    options = {name: strict(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
    other, other_cache = module.forward(*map(strict, inputs), **options)
    gradients = module.backward(dout, cache), module.backward(strict(dout) if out.ndim else dout, other_cache)
    for ours, theirs in ((out, other), *zip(*map(as_list, gradients), strict=True)):
        assert type(theirs).__module__.startswith("array_api_strict")
        np.testing.assert_allclose(to_numpy(theirs), ours, rtol=1e-12, atol=1e-13)
