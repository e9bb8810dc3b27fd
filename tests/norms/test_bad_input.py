"""Errors name the argument, its value and what was expected."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import NORMS, batch_renorm, eval_norm, mabn, mabn_variants
from mabn_ref.norms.common import ema, sma, split
from tests.strategies import ALL

ONE, ZERO = np.ones(3), np.zeros(3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros(3)}, ValueError, r"x has shape \(3,\), expected .*channels last"),
        ({"x": np.zeros((4, 0, 3))}, ValueError, r"x has shape \(4, 0, 3\)"),
        ({"x": np.zeros((0, 3))}, ValueError, r"x has shape \(0, 3\)"),
        ({"x": np.zeros((4, 5))}, ValueError, r"gamma has shape \(3,\), expected \(5,\)"),
        ({"beta": np.zeros(2)}, ValueError, r"beta has shape \(2,\), expected \(3,\)"),
        ({"x": np.zeros((5, 3))}, ValueError, r"x has 5 samples, expected a multiple of norm_batch=2"),
        ({"x": np.zeros((4, 3), dtype=int)}, TypeError, r"x has dtype int64, expected float32 or float64"),
        ({"x": np.zeros((4, 3), dtype=np.float16)}, TypeError, r"x has dtype float16"),
        ({"x": np.zeros((4, 3), dtype=np.float32)}, TypeError, r"gamma has dtype float64, expected float32"),
        ({"x": [[1.0]]}, TypeError, r"x is a list, expected an array"),
        ({"gamma": 1.0}, TypeError, r"gamma is a float, expected an array"),
    ],
)
def test_forward(name: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    module = ALL[name]
    config = module.Config(norm_batch=2)
    arguments = {"x": np.zeros((4, 3)), "gamma": ONE, "beta": ZERO} | change
    with pytest.raises(error, match=message):
        module.forward(**arguments, state=module.init(3, config, dtype=np.float64), config=config)


@pytest.mark.parametrize("name", ["batch_norm", "batch_renorm"])
def test_one_value_a_channel(name: str) -> None:
    module = ALL[name]
    config = module.Config(norm_batch=1)
    with pytest.raises(ValueError, match=r"norm_batch=1: one value per channel, whose variance is 0 by construction"):
        module.forward(np.ones((4, 3)), ONE, ZERO, module.init(3, config, dtype=np.float64), config)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("dz", "error", "message"),
    [
        (np.zeros((4, 2)), ValueError, r"dz has shape \(4, 2\), expected \(4, 3\)"),
        (np.zeros((2, 3)), ValueError, r"dz has shape \(2, 3\), expected \(4, 3\)"),
        (np.zeros((4, 3), dtype=int), TypeError, r"dz has dtype int64"),
        (np.zeros((4, 3), dtype=np.float32), TypeError, r"dz has dtype float32, expected float64"),
        (None, TypeError, r"dz is a NoneType"),
    ],
)
def test_backward(name: str, dz: Any, error: type[Exception], message: str) -> None:
    module = ALL[name]
    config = module.Config(norm_batch=2)
    x = np.random.default_rng(0).standard_normal((4, 3))
    _, cache, state = module.forward(x, ONE, ZERO, module.init(3, config, dtype=np.float64), config)
    for call in (module.backward, module.backward_graph):
        with pytest.raises(error, match=message):
            call(dz, cache, state)
    with pytest.raises(error, match=message):
        module.gradient_statistics(dz, cache)


@pytest.mark.parametrize("name", ALL)
def test_state_of_another_layer(name: str) -> None:
    module = ALL[name]
    config = module.Config()
    state = module.init(2, config, dtype=np.float64)
    with pytest.raises(ValueError, match=r"state\.\w+ has shape \(2,\), expected \(3,\)"):
        module.forward(np.ones((4, 3)), ONE, ZERO, state, config)
    with pytest.raises(ValueError, match=r"state\.\w+ has shape \(2,\), expected \(3,\)"):
        module.infer(np.ones((4, 3)), ONE, ZERO, state, config)


@pytest.mark.parametrize("name", NORMS)
def test_a_count_that_is_none(name: str) -> None:
    """From -1 a correction divided by 0; 3.0, as JSON may return it, ended in a slice."""
    module = NORMS[name].module
    config = module.Config(**{"norm_batch": 2} if module is eval_norm else {})
    state = module.init(32, config, dtype=np.float64)
    arguments = np.ones((4, 3, 32)), np.ones(32), np.zeros(32)
    counts = [field for field in state._fields if field.endswith("iteration")]
    for field, value in itertools.product(counts, (-1, 3.0, None, True)):
        error = ValueError if value == -1 else TypeError
        with pytest.raises(error, match=rf"^state\.{field} is {value}, expected an integer of at least 0$"):
            module.forward(*arguments, state._replace(**{field: value}), config)


@pytest.mark.parametrize("name", NORMS)
def test_a_state_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    module = NORMS[name].module
    config = module.Config(**{"norm_batch": 2} if module is eval_norm else {})
    state = module.init(32, config, dtype=np.float64)
    np.savez(tmp_path / "state.npz", **state._asdict())
    read = type(state)(**np.load(tmp_path / "state.npz"))  # counts are arrays of shape ()
    x = np.random.default_rng(0).standard_normal((4, 3, 32))
    expected, found = (module.forward(x, np.ones(32), np.zeros(32), s, config)[0] for s in (state, read))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [None, 3, "no dtype", np.int32])
def test_a_dtype_that_no_state_has(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype .*, expected float32 or float64"):
        mabn.init(3, mabn.Config(), dtype=dtype)


def test_state_of_another_window() -> None:
    state = mabn.init(3, mabn.Config(window=4), dtype=np.float64)
    with pytest.raises(ValueError, match=r"state\.chi2_window has shape \(4, 3\), expected \(5, 3\)"):
        mabn.forward(np.ones((4, 3)), ONE, ZERO, state, mabn.Config(window=5))
    _, cache, state = mabn.forward(np.ones((4, 3)), ONE, ZERO, state, mabn.Config(window=4))
    for backward in (mabn.backward, mabn.backward_graph):
        with pytest.raises(ValueError, match=r"state\.psi_window has shape \(1, 3\), expected \(4, 3\)"):
            backward(np.ones((4, 3)), cache, state._replace(psi_window=np.zeros((1, 3))))


@pytest.mark.parametrize("name", ALL)
def test_statistics(name: str) -> None:
    module = ALL[name]
    with pytest.raises(TypeError, match="x has dtype int64, expected float32 or float64"):
        module.statistics(np.zeros((4, 3), dtype=int), module.Config())
    with pytest.raises(ValueError, match="x has 4 samples, expected a multiple of norm_batch=3"):
        module.statistics(np.zeros((4, 3)), module.Config(norm_batch=3))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"eps": -1e-5}, ValueError, "eps is -1e-05, expected a finite number of at least 0"),
        ({"eps": float("nan")}, ValueError, "eps is nan"),
        ({"eps": "1e-5"}, TypeError, "eps is '1e-5', expected a finite number"),
        ({"eps": True}, TypeError, "eps is True"),
        ({"norm_batch": 0}, ValueError, "norm_batch is 0, expected an integer of at least 1"),
        ({"norm_batch": 2.0}, TypeError, "norm_batch is 2.0, expected an integer"),
        ({"decay": 1.0}, ValueError, r"decay is 1.0, expected a number in \[0, 1\)"),
        ({"decay": -0.1}, ValueError, r"decay is -0.1"),
        ({"decay": float("nan")}, ValueError, r"decay is nan"),
        ({"decay": "0.9"}, TypeError, r"decay is '0.9'"),
    ],
)
def test_config(name: str, keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ALL[name].Config(**keywords)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: mabn.Config(window=0), ValueError, "window is 0, expected an integer of at least 1"),
        (lambda: mabn.Config(window=1.5), TypeError, "window is 1.5"),
        (lambda: mabn.Config(clip=0.99), ValueError, "clip is 0.99, expected a finite number of at least 1"),
        (lambda: mabn.Config(warmup=-1), ValueError, "warmup is -1"),
        (lambda: mabn.Config(warmup=1.5), TypeError, "warmup is 1.5"),
        (lambda: mabn.Config(renorm_from=0), ValueError, "renorm_from is 0"),
        (lambda: mabn.Config(renorm_from=1.5), TypeError, "renorm_from is 1.5"),
        (
            lambda: mabn_variants.Config(partial_window="none"),
            ValueError,
            "partial_window is 'none', expected one of 'mean', 'batch'",
        ),
        (lambda: mabn_variants.Config(ema_of="chi"), ValueError, "ema_of is 'chi'"),
        (lambda: mabn_variants.Config(ema_per="epoch"), ValueError, "ema_per is 'epoch'"),
        (lambda: mabn_variants.Config(ema_read="now"), ValueError, "ema_read is 'now'"),
        (lambda: mabn_variants.Config(ema_start="last"), ValueError, "ema_start is 'last'"),
        (lambda: mabn_variants.Config(ema_start=-1.0), ValueError, "ema_start is -1.0"),
        (lambda: mabn_variants.Config.megvii(windw=3), TypeError, "windw"),
        (lambda: batch_renorm.Config(r_max=0.5), ValueError, "r_max is 0.5, expected a finite number of at least 1"),
        (lambda: batch_renorm.Config(d_max=-1), ValueError, "d_max is -1"),
        (lambda: batch_renorm.Config(ema_of="chi"), ValueError, "ema_of is 'chi', expected one of 'sigma', 'var'"),
        (
            lambda: batch_renorm.Config(r_max=batch_renorm.Ramp(start=0, stop=9, first=0.0, last=2.0)),
            ValueError,
            "r_max is 0.0",
        ),
        (
            lambda: batch_renorm.Ramp(start=5, stop=4, first=1.0, last=2.0),
            ValueError,
            "stop is 4, expected .* at least 5",
        ),
        (
            lambda: batch_renorm.Ramp(start=-1, stop=4, first=1.0, last=2.0),
            ValueError,
            "^start is -1, expected an integer",
        ),
        (
            lambda: batch_renorm.Ramp(start=1.5, stop=4, first=1.0, last=2.0),
            TypeError,
            "^start is 1.5, expected an integer",
        ),
        (
            lambda: batch_renorm.Ramp(start=1, stop=4.5, first=1.0, last=2.0),
            TypeError,
            "^stop is 4.5, expected an integer",
        ),
        (lambda: batch_renorm.Ramp(start=1, stop=4, first=-1.0, last=2.0), ValueError, "^first is -1.0"),
        (lambda: batch_renorm.Ramp(start=1, stop=4, first=1.0, last=-2.0), ValueError, "^last is -2.0"),
    ],
)
def test_further_settings(build: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("name", ALL)
def test_numbers_of_numpy_leave_float32_alone(name: str) -> None:
    module = ALL[name]
    config = module.Config(eps=np.float64(1e-5), decay=np.float64(0.9), norm_batch=np.int64(2))
    assert type(config.eps) is float
    assert type(config.norm_batch) is int
    x, one = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32), np.ones(3, dtype=np.float32)
    z, _, state = module.forward(x, one, 0 * one, module.init(3, config, dtype=np.float32), config)
    assert z.dtype == np.float32
    assert all(a.dtype == np.float32 for a in state if isinstance(a, np.ndarray))


@pytest.mark.parametrize("name", ALL)
def test_state_of_another_dtype_or_normaliser(name: str) -> None:
    module = ALL[name]
    x, one = np.ones((4, 3), dtype=np.float32), np.ones(3, dtype=np.float32)
    state = module.init(3, module.Config(), dtype=np.float64)
    for call in (module.forward, module.infer):
        with pytest.raises(TypeError, match=r"state\.\w+ has dtype float64, expected float32"):
            call(x, one, 0 * one, state, module.Config())
        with pytest.raises(TypeError, match=rf"state is a tuple, expected a {name}\.State"):
            call(x, one, 0 * one, (), module.Config())
    for dtype in (np.int64, np.float16):
        with pytest.raises(TypeError, match=r"the state has dtype (int64|float16), expected float32 or float64"):
            module.init(3, module.Config(), dtype=dtype)


@pytest.mark.parametrize("name", ALL)
def test_affine_and_rank_one(name: str) -> None:
    module = ALL[name]
    state = module.init(3, module.Config(), dtype=np.float64)
    with pytest.raises(TypeError, match="gamma has dtype int64"):
        module.affine(np.ones(3, dtype=int), ZERO, state, module.Config())
    with pytest.raises(ValueError, match=r"state\.\w+ has shape \(3,\), expected \(1,\)"):
        module.affine(np.ones(1), np.zeros(1), state, module.Config())
    with pytest.raises(ValueError, match=r"gamma and beta have shapes \(3,\) and \(2,\)"):
        module.affine(ONE, np.zeros(2), state, module.Config())
    with pytest.raises(ValueError, match=r"x has shape \(4,\), expected \(N, \.\.\., C\): channels last"):
        module.statistics(np.arange(4.0), module.Config())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: split(np.ones((4, 3)), 0), ValueError, "norm_batch is 0, expected an integer of at least 1"),
        (lambda: split(np.ones((4, 3)), 2.0), TypeError, "norm_batch is 2.0, expected an integer"),
        (lambda: ema(ONE, np.ones((2, 3)), 1.5), ValueError, "decay is 1.5"),
        (lambda: ema(ONE, np.ones((2, 1)), 0.5), ValueError, r"old has shape \(3,\), expected \(C,\) with C = 1"),
        (lambda: ema(ONE, np.ones(3), 0.5), ValueError, r"batch_values has shape \(3,\), expected \(G, C\)"),
        (lambda: sma(np.ones((0, 3)), np.ones((2, 3))), ValueError, r"held has shape \(0, 3\), expected \(m, C\)"),
        (lambda: mabn_variants.Config.megvii(warmup=None), TypeError, "warmup is None, expected an integer"),
    ],
)
def test_small_functions(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ALL)
def test_channels(name: str) -> None:
    module = ALL[name]
    with pytest.raises(ValueError, match=r"^channels is 0, expected an integer of at least 1"):
        module.init(0, module.Config(), dtype=float)
    with pytest.raises(TypeError, match=r"^channels is 2.0, expected an integer of at least 1"):
        module.init(2.0, module.Config(), dtype=float)
    assert all(np.shape(a)[-1] == 1 for a in module.init(1, module.Config(), dtype=float) if np.ndim(a))


@pytest.mark.parametrize("name", ["batch_norm", "batch_renorm"])
def test_affine_and_infer_look_at_both_statistics(name: str) -> None:
    module = ALL[name]
    state = module.init(3, module.Config(), dtype=np.float64)._replace(var=np.ones(1))
    for call in (
        lambda: module.affine(ONE, ZERO, state, module.Config()),
        lambda: module.infer(np.ones((2, 3)), ONE, ZERO, state, module.Config()),
    ):
        with pytest.raises(ValueError, match=r"state\.var has shape \(1,\), expected \(3,\)"):
            call()


def test_psi_window_of_another_dtype() -> None:
    config = mabn.Config(window=2)
    x = np.ones((4, 3), dtype=np.float32)
    state = mabn.init(3, config, dtype=np.float32)
    _, cache, state = mabn.forward(x, x[0], x[0], state, config)
    state = state._replace(psi_window=state.psi_window.astype(np.float64))
    for backward in (mabn.backward, mabn.backward_graph):
        with pytest.raises(TypeError, match=r"state\.psi_window has dtype float64, expected float32"):
            backward(x, cache, state)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("batch_norm", "mean"),
        ("batch_norm", "var"),
        ("batch_renorm", "mean"),
        ("batch_renorm", "var"),
        ("modified_batch_norm", "chi2"),
        ("mabn", "chi2"),
        ("mabn", "chi2_window"),
        ("mabn_variants", "chi2"),
        ("mabn_variants", "psi_window"),
        ("sync_batch_norm", "mean"),
        ("sync_batch_norm", "var"),
    ],
)
def test_one_field_of_the_state_of_another_dtype_or_shape(name: str, field: str) -> None:
    module = ALL[name]
    x, one = np.ones((4, 3), dtype=np.float32), np.ones(3, dtype=np.float32)
    state = module.init(3, module.Config(), dtype=np.float32)
    double = state._replace(**{field: getattr(state, field).astype(np.float64)})
    short = state._replace(**{field: getattr(state, field)[..., :2]})
    inference = () if "window" in field else (module.infer,)
    for call in (module.forward, *inference):
        with pytest.raises(TypeError, match=rf"state\.{field} has dtype float64, expected float32"):
            call(x, one, 0 * one, double, module.Config())
        with pytest.raises(ValueError, match=rf"state\.{field} has shape \(.*2,?\), expected"):
            call(x, one, 0 * one, short, module.Config())
    for wrong in (double, short) if inference else ():
        with pytest.raises((TypeError, ValueError), match=rf"state\.{field} has"):
            module.affine(one, 0 * one, wrong, module.Config())


@pytest.mark.parametrize("name", [name for name, entry in NORMS.items() if hasattr(entry.module, "statistics")])
def test_statistics_of_no_array(name: str) -> None:
    module = NORMS[name].module
    config = module.Config(**{"norm_batch": 2} if module is eval_norm else {})
    with pytest.raises(TypeError, match=r"^x is a list, expected an array"):
        module.statistics([[1.0], [2.0]], config)
