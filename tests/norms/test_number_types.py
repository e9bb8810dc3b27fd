"""The passes use array-API names alone, so the algebra also runs on other arrays and on other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck.exact import exact, to_float
from tests.strategies import ALL, parameters

EXTRA: dict[str, dict[str, Any]] = {
    "batch_renorm": {"r_max": 1.5, "d_max": 0.5},
    "mabn": {"window": 3, "warmup": 3, "renorm_from": 3},
    "mabn_variants": {"window": 3, "warmup": 3, "renorm_from": 3, "ema_of": "window"},
}


def two_calls(module: Any, config: Any, x: Any, dz: Any, gamma: Any, beta: Any, state: Any) -> list[Any]:
    out: list[Any] = []
    for _ in range(2):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        graph = module.backward_graph(dz, cache, state)[0]
        dx, dgamma, dbeta, state = module.backward(dz, cache, state)
        out += [z, dx, dgamma, dbeta, graph, *module.gradient_statistics(dz, cache)]
    return [*out, module.infer(x, gamma, beta, state, config), *module.affine(gamma, beta, state, config)]


def draw() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((8, 3, 2)) + 1, rng.standard_normal((8, 3, 2)), *parameters(rng, 2)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_array_api_strict(name: str, device: str, dtype: str) -> None:
    """`device1` fails on any silent conversion to NumPy: the honest stand-in for a GPU."""
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    module, config = ALL[name], ALL[name].Config(norm_batch=2, **EXTRA.get(name, {}))
    plain = [a.astype(dtype) for a in draw()]
    expected = two_calls(module, config, *plain, module.init(2, config, dtype=dtype))
    place = xp.Device(device)
    strict = [xp.asarray(a, device=place) for a in plain]
    state = module.init(2, config, dtype=getattr(xp, dtype), xp=xp)
    state = type(state)(*(s if isinstance(s, int) else xp.asarray(s, device=place) for s in state))
    for ours, theirs in zip(expected, two_calls(module, config, *strict, state), strict=True):
        assert theirs.device == place
        assert str(theirs.dtype).endswith(dtype)
        back = (
            np.from_dlpack(theirs)
            if device == "CPU_DEVICE"
            else np.asarray(xp.asarray(theirs, device=xp.Device("CPU_DEVICE")))
        )
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(back, ours, rtol=tolerance, atol=tolerance * np.abs(ours).max())


@pytest.mark.parametrize("name", ALL)
def test_exact_numbers(name: str) -> None:
    """Object arrays of 50-digit numbers pass through, and differ from float64 by its rounding alone."""
    module = ALL[name]
    config = module.Config(norm_batch=2, **EXTRA.get(name, {}))
    plain, state = draw(), module.init(2, config, dtype=float)
    exact_state = type(state)(*(s if isinstance(s, int) else exact(s) for s in state))
    truth = two_calls(module, config, *map(exact, plain), exact_state)
    for theirs, ours in zip(truth, two_calls(module, config, *plain, state), strict=True):
        assert theirs.dtype == object
        np.testing.assert_allclose(to_float(theirs), ours, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_complex_step(name: str) -> None:
    """The imaginary part of y carries the derivative of y: no abs, no conjugate on the way."""
    module = ALL[name]
    config = module.Config(norm_batch=2, **EXTRA.get(name, {}))
    x, dz, gamma, beta = draw()
    state, step = module.init(2, config, dtype=float), 1e-30
    y = module.forward(x + 1j * step * dz, gamma + 0j, beta + 0j, state, config)[1].y
    h = 1e-5
    ahead, behind = (module.forward(x + s * dz, gamma, beta, state, config)[1].y for s in (h, -h))
    np.testing.assert_allclose(y.imag / step, (ahead - behind) / (2 * h), atol=1e-8)
