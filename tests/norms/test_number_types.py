"""The passes use array-API names alone, so the algebra also runs on other arrays and on other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck.exact import exact, to_float
from mabn_ref.norms import (
    NORMS,
    eval_norm,
    frozen_batch_norm,
    group_norm,
    moving_statistics,
    online_norm,
    power_norm,
    rms_norm,
    unified_norm,
)
from tests.strategies import ALL, parameters

_RENORM = {"window": 3, "warmup": 3, "renorm_from": 3}
_EXTRA: dict[str, dict[str, Any]] = {
    "batch_renorm": {"r_max": 1.5, "d_max": 0.5},
    "mabn": _RENORM,
    "mabn_variants": {**_RENORM, "ema_of": "window"},
}
_EVAL = {"norm_batch": 2, "estimated": True, "rate": np.float64(0.1)}
_MOVING = {"norm_batch": 2, "window": 3, "renorm_from": 3}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (module, {"norm_batch": 2, **_EXTRA.get(name, {})}) for name, module in ALL.items()},
    "moving_statistics, vanilla": (moving_statistics, {**_MOVING, "forward": "sma", "backward": "ema"}),
    "moving_statistics, modified": (
        moving_statistics,
        {**_MOVING, "form": "modified", "forward": "ema", "backward": "sma"},
    ),
    "eval_norm": (eval_norm, {**_EVAL, "merged": True}),
    "eval_norm, not merged": (eval_norm, {**_EVAL, "merged": False}),
    "online_norm": (online_norm, {"eps": np.float64(1e-5), "layer_scaling": True}),
    "online_norm, unscaled": (online_norm, {"eps": np.float64(1e-5), "layer_scaling": False}),
}
"""With settings that reach what is computed in a way of its own."""
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "layer norm": (group_norm, {"groups": 1}),
    "group_norm": (group_norm, {"groups": 2}),
    "instance norm": (group_norm, {"groups": None}),
    "rms_norm": (rms_norm, {"axes": "channels"}),
    "rms_norm of positions": (rms_norm, {"axes": "positions"}),
    "power_norm": (power_norm, {"warmup": 2}),
    "unified_norm": (unified_norm, {"outliers": True, "window": 2}),
    "frozen_batch_norm": (frozen_batch_norm, {}),
}


def test_no_normaliser_is_forgotten() -> None:
    assert {norm.module for norm in NORMS.values()} <= {module for module, _ in (CASES | OTHERS).values()}


def two_calls(module: Any, config: Any, x: Any, dz: Any, gamma: Any, beta: Any, state: Any) -> list[Any]:
    statistics = module.statistics(x, config)
    out = [*(statistics if isinstance(statistics, tuple) else (statistics,))]
    for _ in range(2):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        out += [z, *module.gradient_statistics(dz, cache)]
        if hasattr(module, "backward_graph"):
            out += module.backward_graph(dz, cache, state)[:3]
        *gradients, state = module.backward(dz, cache, state)
        out += [*gradients, *(value for value in state if not isinstance(value, int))]
    out.append(module.infer(x, gamma, beta, state, config))
    if hasattr(module, "affine") and not getattr(config, "layer_scaling", False):
        out += module.affine(gamma, beta, state, config)
    return out


def draw() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((8, 3, 4)) + 1, rng.standard_normal((8, 3, 4)), *parameters(rng, 4)


@pytest.mark.parametrize("name", CASES | OTHERS)
@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_array_api_strict(name: str, device: str, dtype: str) -> None:
    """`device1` fails on any silent conversion to NumPy: the honest stand-in for a GPU."""
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    module, options = (CASES | OTHERS)[name]
    config = module.Config(**options)
    plain = [a.astype(dtype) for a in draw()]
    expected = two_calls(module, config, *plain, module.init(4, config, dtype=dtype))
    place = xp.Device(device)
    strict = [xp.asarray(a, device=place) for a in plain]
    state = module.init(4, config, dtype=getattr(xp, dtype), xp=xp)
    state = type(state)(*(s if isinstance(s, int) else xp.asarray(s, device=place) for s in state))
    for ours, theirs in zip(expected, two_calls(module, config, *strict, state), strict=True):
        assert theirs.device == place
        assert str(theirs.dtype).endswith(dtype)
        assert ours.dtype == dtype
        back = (
            np.from_dlpack(theirs)
            if device == "CPU_DEVICE"
            else np.asarray(xp.asarray(theirs, device=xp.Device("CPU_DEVICE")))
        )
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(back, ours, rtol=tolerance, atol=tolerance * np.abs(ours).max())


@pytest.mark.parametrize("name", CASES)
def test_exact_numbers(name: str) -> None:
    """Object arrays of 50-digit numbers pass through, and differ from float64 by its rounding alone."""
    module, options = CASES[name]
    config = module.Config(**options)
    plain, state = draw(), module.init(4, config, dtype=float)
    exact_state = type(state)(*(s if isinstance(s, int) else exact(s) for s in state))
    truth = two_calls(module, config, *map(exact, plain), exact_state)
    for theirs, ours in zip(truth, two_calls(module, config, *plain, state), strict=True):
        assert theirs.dtype == object
        np.testing.assert_allclose(to_float(theirs), ours, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_complex_step(name: str) -> None:
    """The imaginary part of y carries the derivative of y: no abs, no conjugate on the way."""
    module, options = CASES[name]
    config = module.Config(**options)
    x, dz, gamma, beta = draw()
    state, step = module.init(4, config, dtype=float), 1e-30
    y = module.forward(x + 1j * step * dz, gamma + 0j, beta + 0j, state, config)[1].y
    h = 1e-5
    ahead, behind = (module.forward(x + s * dz, gamma, beta, state, config)[1].y for s in (h, -h))
    np.testing.assert_allclose(y.imag / step, (ahead - behind) / (2 * h), atol=1e-8)
