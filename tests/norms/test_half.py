"""Half precision: what is stored is float16, what is summed is float32, and the numbers are those of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import NORMS, batch_norm, half, mabn
from tests.strategies import many

ULP = 2.0**-11  #: half of the distance between two float16, relative


def both(module: Any, config: Any, x: Any, dz: Any, gamma: Any, beta: Any) -> list[dict[str, Any]]:
    """One step of float16 values, and of the same numbers in float64."""
    found = []
    for dtype in (np.float32, np.float64):
        g, b = gamma.astype(dtype), beta.astype(dtype)
        state = module.init(len(g), config, dtype=dtype)
        if dtype is np.float32:
            z, cache, state = half.forward(module, x, g, b, state, config)
            dx, dgamma, dbeta, state = half.backward(module, dz, cache, state)
            inferred = half.infer(module, x, g, b, state, config)
        else:
            z, cache, state = module.forward(x.astype(dtype), g, b, state, config)
            dx, dgamma, dbeta, state = module.backward(dz.astype(dtype), cache, state)
            inferred = module.infer(x.astype(dtype), g, b, state, config)
        arrays = {name: value for name, value in state._asdict().items() if isinstance(value, np.ndarray)}
        found.append({"z": z, "dx": dx, "inferred": inferred, "dgamma": dgamma, "dbeta": dbeta, **arrays})
    return found


@pytest.mark.parametrize("name", [name for name in NORMS if name not in ("online", "sync-bn")])
def test_values_are_float16_and_the_rest_float32(name: str) -> None:
    module = NORMS[name].module
    own = {"norm_batch": 6} if name == "eval-norm" else {}
    config = module.Config(**{**NORMS[name].example, **NORMS[name].settings, **own})
    for seed in range(many(2, 100)):
        rng = np.random.default_rng(seed)
        x, dz = rng.standard_normal((2, 6, 3, 4)).astype(np.float16)
        gamma, beta = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
        ours, truth = both(module, config, x, dz, gamma, beta)
        for what, value in ours.items():
            assert value.dtype == (np.float16 if what in ("z", "dx", "inferred") else np.float32), what
            size = np.max(np.abs(truth[what]))
            np.testing.assert_allclose(
                value, truth[what], rtol=ULP if value.dtype == np.float16 else 1e-5, atol=1e-5 * size
            )


@pytest.mark.parametrize("module", [batch_norm, mabn])
def test_a_large_mean_and_sums_beyond_float16(module: Any) -> None:
    """A mean of 1,000 standard deviations, 100,000 values; in float16 neither sums nor squares are finite."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((100_000, 1)) + 1e3).astype(np.float16)
    dz, gamma, beta = rng.standard_normal(x.shape).astype(np.float16), np.array([1.5]), np.array([0.25])
    with np.errstate(over="ignore"):
        assert np.isinf(np.sum(x))
        assert np.isinf(x[0] * x[0])
    ours, truth = both(module, module.Config(decay=0.5), x, dz, gamma, beta)
    for what in ("z", "dx"):
        size = np.max(np.abs(truth[what]))
        # the smallest float16 are 6e-8 apart
        np.testing.assert_allclose(ours[what], truth[what], rtol=ULP, atol=1e-5 * size + 2.0**-25)
    np.testing.assert_allclose(ours["dgamma"], truth["dgamma"], rtol=1e-4, atol=1e-2)
    for what in ("mean", "var", "chi2"):
        if what in ours:
            np.testing.assert_allclose(ours[what], truth[what], rtol=1e-6)


def test_other_precisions_are_refused_by_name() -> None:
    one, config = np.ones(1, dtype=np.float32), batch_norm.Config()
    state = batch_norm.init(1, config, dtype=np.float32)
    x = np.arange(4.0, dtype=np.float16)[:, None]
    z, cache, state = half.forward(batch_norm, x, one, one, state, config)
    with pytest.raises(TypeError, match="x has dtype float32, expected float16; the normaliser itself takes other"):
        half.forward(batch_norm, x.astype(np.float32), one, one, state, config)
    with pytest.raises(TypeError, match="dz has dtype float64, expected float16"):
        half.backward(batch_norm, z.astype(float), cache, state)
    with pytest.raises(TypeError, match="gamma has dtype float16, expected float32 or float64"):
        half.forward(batch_norm, x, one.astype(np.float16), one, state, config)
    with pytest.raises(TypeError, match="x is a list"):
        half.infer(batch_norm, [[1.0]], one, one, state, config)


def test_what_is_too_large_for_float16_becomes_infinite_with_a_warning() -> None:
    one, config = np.ones(1, dtype=np.float32), batch_norm.Config()
    state = batch_norm.init(1, config, dtype=np.float32)
    x = np.array([[-1.0], [1.0]], dtype=np.float16)
    with pytest.warns(RuntimeWarning, match="overflow"):
        z, _, _ = half.forward(batch_norm, x, 1e5 * one, 0 * one, state, config)
    assert z.ravel().tolist() == [-np.inf, np.inf]
