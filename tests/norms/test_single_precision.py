"""Large means, constant channels, long sums and squares that overflow, most of it in single precision.

The reference is arithmetic in float64 on the same float32 values; in float64, the offset taken off before, which is
exact. Inputs are of sizes at which a sum of M terms, added up one by one, loses what the tests ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_limits

from mabn_ref.arrays import sums, total
from mabn_ref.nn import centralize, global_average_pool, linear, standardize
from mabn_ref.norms import (
    NORMS,
    batch_norm,
    batch_renorm,
    eval_norm,
    group_norm,
    mabn,
    modified_batch_norm,
    moving_statistics,
    online_norm,
    sync_batch_norm,
)
from mabn_ref.norms.communicators import run

Values = npt.NDArray[Any]

UNCORRECTED = {"r_max": 1.0, "d_max": 0.0}
CENTRED: dict[str, tuple[Any, dict[str, Any]]] = {
    "batch norm": (batch_norm, {}),
    "batch renorm": (batch_renorm, UNCORRECTED | {"ema_of": "var"}),
    "eval norm": (eval_norm, {}),
    "sync batch norm": (sync_batch_norm, {}),
    "moving statistics, batch": (moving_statistics, {}),
    "moving statistics, sma": (moving_statistics, {"forward": "sma", "window": 7, **UNCORRECTED}),
    "moving statistics, ema": (moving_statistics, {"forward": "ema", "backward": "ema", **UNCORRECTED}),
}
CONSTANTS = [123456.789, -1e7, 0.1, 1e-30, 3e5, 1 / 3]
SHAPES = [(4, 10, 10, 5), (6, 7, 11, 3), (2, 33, 17, 1), (2, 600, 2)]


def arguments(module: Any, shape: tuple[int, ...], dtype: Any, **fields: Any) -> tuple[Values, Values, Any, Any]:
    """gamma, beta, state and config; every channel has its own gamma and beta."""
    if module is eval_norm:
        fields = {"norm_batch": 2} | {name: value for name, value in fields.items() if value is not None}
    config = module.Config(**fields)
    gamma, beta = np.linspace(1, 2, shape[-1], dtype=dtype), np.linspace(-1, 1 / 3, shape[-1], dtype=dtype)
    return gamma, beta, module.init(shape[-1], config, dtype=dtype), config


def right(x: Values, dz: Values, gamma: Values, beta: Values) -> tuple[Values, ...]:
    """z, dx, dgamma, dbeta, mean and variance of batch normalisation of (M, C), in float64, channel by channel."""
    found = []
    for c in range(x.shape[1]):
        values, cotangent, scale, shift = (np.ascontiguousarray(a[..., c], np.float64) for a in (x, dz, gamma, beta))
        distance = values - values[0]
        centred = distance - np.mean(distance)
        var = np.mean(centred**2)
        y, dy, sigma = centred / np.sqrt(var + 1e-5), scale * cotangent, np.sqrt(var + 1e-5)
        dx = (dy - np.mean(dy) - y * np.mean(y * dy)) / sigma
        sums_of_both = np.sum(cotangent * y), np.sum(cotangent)
        found.append((scale * y + shift, dx, *sums_of_both, values[0] + np.mean(distance), var))
    return tuple(np.stack(columns, axis=-1) for columns in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm_batch", [None, 2])
@pytest.mark.parametrize("name", CENTRED)
def test_a_constant_channel_is_beta(name: str, norm_batch: int | None, shape: tuple[int, ...], dtype: Any) -> None:
    """eq: bn-statistics, sync-mean, moving-forward"""
    module, fields = CENTRED[name]
    dz = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for value in CONSTANTS:
        gamma, beta, state, config = arguments(module, shape, dtype, norm_batch=norm_batch, decay=0.9, **fields)
        x = np.full(shape, value, dtype=dtype)
        for _ in range(4):
            z, cache, state = module.forward(x, gamma, beta, state, config)
            assert np.array_equal(z, np.broadcast_to(beta, shape))
        mu, var = module.statistics(x, config)
        assert np.all(mu == x.flat[0])
        assert not np.any(var)
        steps = 4 * len(mu)
        np.testing.assert_allclose(state.mean, value * (1 - 0.9**steps), rtol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(state.var, 0.9**steps, rtol=20 * np.finfo(dtype).eps)
        if "batch" in name:  # the others' gradients are averages
            dx, dgamma, _, _ = module.backward(dz, cache, state)
            assert not np.any(dgamma)
            for found, part in zip(np.split(dx, len(mu)), np.split(dz, len(mu)), strict=True):
                flat = part.reshape(-1, shape[-1])
                expected = right(0 * flat, flat, gamma, beta)[1].reshape(part.shape)
                np.testing.assert_allclose(
                    found, expected, rtol=0, atol=10 * np.finfo(dtype).eps * abs(expected).max()
                )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "config", [group_norm.Config(groups=2), group_norm.Config.layer(), group_norm.Config.instance()]
)
def test_a_constant_group_is_beta(config: group_norm.Config, dtype: Any) -> None:
    """eq: gn-statistics"""
    for value in CONSTANTS:
        for shape in ((3, 7, 11, 4), (2, 40, 40, 6)):
            gamma, beta, state, _ = arguments(group_norm, shape, dtype, groups=config.groups)
            z, _, _ = group_norm.forward(np.full(shape, value, dtype=dtype), gamma, beta, state, config)
            assert np.array_equal(z, np.broadcast_to(beta, shape))


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_a_constant_channel_is_beta_on_every_rank(ranks: int) -> None:
    """eq: sync-mean, sync-variance"""

    def work(communicator: Any) -> list[bool]:
        shape, found = (1 + communicator.rank % 2, 9, 7, 2), []
        for value in CONSTANTS:
            gamma, beta, state, config = arguments(sync_batch_norm, shape, np.float32, communicator=communicator)
            x = np.full(shape, value, dtype=np.float32)
            z, _, after = sync_batch_norm.forward(x, gamma, beta, state, config)
            found += [np.array_equal(z, np.broadcast_to(beta, shape)), after.var[0] == np.float32(0.9)]
        return found

    assert all(all(found) for found in run(ranks, work))


@pytest.mark.parametrize("value", [123456.789, 0.1])
def test_two_million_equal_values(value: float) -> None:
    for values in (2_000_003, 2**22):
        x = np.full((1, values, 1), value, dtype=np.float32)
        gamma, beta, state, config = arguments(batch_norm, x.shape, np.float32)
        z, _, _ = batch_norm.forward(x, gamma, beta, state, config)
        assert np.all(z == beta)


@pytest.mark.parametrize("name", ["batch norm", "batch renorm", "sync batch norm", "moving statistics, sma"])
@pytest.mark.parametrize(
    ("offset", "shape"), [(1e4, (2, 256, 256, 4)), (-1e4, (64, 32, 32, 3)), (0.0, (1, 500, 500, 3))]
)
def test_a_large_mean(name: str, offset: float, shape: tuple[int, ...]) -> None:
    """eq: bn-statistics, bn-backward"""
    module, fields = CENTRED[name]
    compare(module, fields, offset, shape, np.float32, 2e-5)


@pytest.mark.parametrize(
    ("offset", "shape"), [(1e3, (8, 512, 512, 2)), (1e4, (2, 512, 512, 4)), (0.0, (8, 512, 512, 2))]
)
def test_a_large_mean_of_large_maps(offset: float, shape: tuple[int, ...]) -> None:
    compare(batch_norm, {}, offset, shape, np.float32, 2e-5)


@pytest.mark.parametrize("offset", [1e12, -1e9])
def test_a_large_mean_in_double_precision(offset: float) -> None:
    compare(batch_norm, {}, offset, (4, 64, 64, 3), np.float64, 1e-12)


def compare(module: Any, fields: Any, offset: float, shape: tuple[int, ...], dtype: Any, tolerance: float) -> None:
    """z, dx, dgamma, dbeta and the moving statistics against `right`, of x = offset + noise."""
    rng = np.random.default_rng(1)
    x, dz = ((rng.standard_normal(shape) + shift).astype(dtype) for shift in (offset, 0.5))
    gamma, beta, state, config = arguments(module, shape, dtype, decay=0.0, **fields)
    z, cache, state = module.forward(x, gamma, beta, state, config)
    flat = (-1, shape[-1])
    expected = right(x.reshape(flat), dz.reshape(flat), gamma, beta)
    for backward in (module.backward, module.backward_graph):
        dx, dgamma, dbeta, _ = backward(dz, cache, state)
        values = x.size / shape[-1]
        for found, wanted, scale in (
            (z, expected[0], 1),
            (dx, expected[1], 1),
            (dgamma, expected[2], values),
            (dbeta, expected[3], values),
            (state.var, expected[5], 1),
        ):
            assert np.max(np.abs(found.reshape(wanted.shape) - wanted)) < tolerance * scale
    np.testing.assert_allclose(state.mean, expected[4], rtol=2 * np.finfo(dtype).eps, atol=tolerance)


def test_a_large_mean_of_groups() -> None:
    """eq: gn-statistics, gn-backward"""
    x = (np.random.default_rng(2).standard_normal((1, 256, 256, 4)) + 1e4).astype(np.float32)
    gamma, beta, state, config = arguments(group_norm, x.shape, np.float32, groups=1)
    z, _, _ = group_norm.forward(x, gamma, beta, state, config)
    y = right(x.reshape(-1, 1), np.zeros((x.size, 1)), np.ones(1), np.zeros(1))[0].reshape(x.shape)
    assert np.max(np.abs(z - (gamma * y + beta))) < 2e-5


def test_a_large_mean_at_inference_by_the_sample() -> None:
    """eq: eval-infer"""
    x = (np.random.default_rng(3).standard_normal((2, 100, 100, 3)) + 1e4).astype(np.float32)
    for share in (1.0, 0.3):
        gamma, beta, state, config = arguments(eval_norm, x.shape, np.float32)
        weights = np.full(1, share, dtype=np.float32)
        state = state._replace(mean=np.full(3, 9990, dtype=np.float32), a=weights, b=weights)
        z = eval_norm.infer(x, gamma, beta, state, config)
        wide = eval_norm.State(*(a.astype(np.float64) for a in state[:4]))
        expected = eval_norm.infer(x.astype(np.float64), gamma.astype(float), beta.astype(float), wide, config)
        assert np.max(np.abs(z - expected)) < 2e-4  # the means themselves are of single precision
        constant = np.full_like(x, 123456.789)
        if share == 1:
            assert np.all(eval_norm.infer(constant, gamma, beta, state, config) == beta)


@pytest.mark.parametrize("size", [1e5, 1e8])
def test_a_first_value_far_from_all_others(size: float) -> None:
    """It is at most sqrt(M) standard deviations from the mean, however large it is."""
    x = np.random.default_rng(4).standard_normal((4, 256, 256, 2)).astype(np.float32)
    x[0, 0, 0, :] = size
    gamma, beta, state, config = arguments(batch_norm, x.shape, np.float32)
    z, _, _ = batch_norm.forward(x, gamma, beta, state, config)
    expected = right(x.reshape(-1, 2), np.zeros((x.size // 2, 2)), gamma, beta)[0].reshape(x.shape)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)


def test_means_of_a_window_are_those_of_the_batches_in_it() -> None:
    """A mean that was large once leaves the window without a trace."""
    fields = {"forward": "sma", "window": 3, **UNCORRECTED}
    gamma, beta, state, config = arguments(moving_statistics, (8, 2), np.float32, norm_batch=2, **fields)
    rng = np.random.default_rng(5)
    for offset in (1e9, 1, 1, 1, 1):
        x = (rng.standard_normal((2, 2)) + offset).astype(np.float32)
        z, _, state = moving_statistics.forward(x, gamma, beta, state, config)
    y = (x - np.mean(state.mean_window.astype(float), axis=0)) / np.sqrt(
        np.mean(state.var_window.astype(float), axis=0) + 1e-5
    )
    np.testing.assert_allclose(z, gamma * y + beta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(1, 2_000_003, 1), (1, 2**21, 2), (3, 70_001, 5), (2, 512, 3), (2, 513, 3), (5, 1, 4)]
)
def test_long_sums(shape: tuple[int, ...]) -> None:
    x = (np.random.default_rng(6).standard_normal(shape) + 1).astype(np.float32)
    for g in range(shape[0]):
        for c in range(shape[2]):
            exact = math.fsum(x[g, :, c].tolist())
            assert abs(float(sums(x)[g, c]) - exact) < 1e-6 * float(np.sum(np.abs(x[g, :, c]), dtype=np.float64))
    exact_total = np.sum(x, axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(total(x), exact_total, rtol=1e-6)
    np.testing.assert_allclose(total(x[:, 0, :]), np.sum(x[:, 0, :], axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(7)
    for shape in ((2, 30_005, 31), (1, 40_000, 100), (16, 2048, 64), (1, 8192, 512)):
        x = rng.standard_normal(shape, dtype=np.float32)
        with threadpool_limits(1, "blas"):
            one = sums(x)
        with threadpool_limits(4, "blas"):
            assert np.array_equal(sums(x), one)


@pytest.mark.parametrize("module", [modified_batch_norm, mabn, batch_norm])
def test_long_sums_of_both_passes(module: Any) -> None:
    """eq: modified-statistics, bn-gradient-statistics, affine-backward"""
    shape = (4, 512, 512, 2)
    rng = np.random.default_rng(8)
    x, dz = ((rng.standard_normal(shape) + 1).astype(np.float32) for _ in range(2))
    fields = {"clip": 1.0} if module is mabn else {}
    gamma, beta, state, config = arguments(module, shape, np.float32, decay=0.0, **fields)
    _, cache, state = module.forward(x, gamma, beta, state, config)
    if module is not batch_norm:
        np.testing.assert_allclose(
            module.statistics(x, config)[0], np.mean(x.astype(float) ** 2, axis=(0, 1, 2)), 1e-6
        )
    y, flat = cache.y[0].astype(float), dz.reshape(-1, 2).astype(float)
    scale = np.mean(np.abs(y * flat), axis=0)
    g, psi = (a[0] for a in module.gradient_statistics(dz, cache))
    np.testing.assert_allclose(g, gamma * np.mean(flat, axis=0), rtol=1e-6)
    assert np.all(np.abs(psi - gamma * np.mean(y * flat, axis=0)) < 2e-6 * scale)
    for backward in (module.backward, module.backward_graph):
        _, dgamma, dbeta, _ = backward(dz, cache, state)
        np.testing.assert_allclose(dbeta, np.sum(flat, axis=0), rtol=1e-6)
        assert np.all(np.abs(dgamma - np.sum(y * flat, axis=0)) < 2e-6 * len(flat) * scale)


def test_many_small_batches_are_summed_as_well_as_one() -> None:
    """eq: affine-backward"""
    x, dz = ((np.random.default_rng(9).standard_normal((2**20, 1, 2)) + 1).astype(np.float32) for _ in range(2))
    gamma, beta, state, config = arguments(batch_norm, x.shape, np.float32, norm_batch=2**10)
    _, cache, state = batch_norm.forward(x, gamma, beta, state, config)
    _, _, dbeta, _ = batch_norm.backward(dz, cache, state)
    np.testing.assert_allclose(dbeta, np.sum(dz, axis=(0, 1), dtype=np.float64), rtol=1e-6)
    gamma, beta, none, layer = arguments(group_norm, x.shape, np.float32, groups=1)
    _, of_groups, _ = group_norm.forward(x, gamma, beta, none, layer)
    for backward in (group_norm.backward, group_norm.backward_graph):
        _, _, dbeta, _ = backward(dz, of_groups, none)
        np.testing.assert_allclose(dbeta, np.sum(dz, axis=(0, 1), dtype=np.float64), rtol=1e-6)


def test_means_of_layers() -> None:
    """eq: global-average-pool-forward, linear-backward"""
    x = (np.random.default_rng(10).standard_normal((1, 1024, 1024, 2)) + 1).astype(np.float32)
    pooled, _ = global_average_pool.forward(x)
    np.testing.assert_allclose(pooled, np.mean(x, axis=(1, 2), dtype=np.float64), rtol=1e-6)
    rows = x.reshape(-1, 2)
    _, cache = linear.forward(rows, np.zeros((2, 2), dtype=np.float32), np.zeros(2, dtype=np.float32))
    np.testing.assert_allclose(linear.backward(rows, cache)[2], np.sum(rows, axis=0, dtype=np.float64), rtol=1e-6)


def test_weights() -> None:
    """eq: centralize-forward, centralize-backward, standardize-forward"""
    for value in CONSTANTS:
        for shape in ((3, 3, 7, 2), (1, 1, 100, 3), (5, 5, 96, 4)):
            w = np.full(shape, value, dtype=np.float32)
            w_c, cache = centralize.forward(w)
            assert not np.any(w_c)
            assert not np.any(centralize.backward(w, cache))
            assert not np.any(standardize.forward(w)[0])
    w = (np.random.default_rng(11).standard_normal((3, 3, 512, 4)) + 1e4).astype(np.float32)
    wide = w.astype(np.float64) - np.mean(w, axis=(0, 1, 2), dtype=np.float64)
    assert np.max(np.abs(centralize.forward(w)[0] - wide)) < 1e-5
    w_s = wide / np.sqrt(np.mean(wide**2, axis=(0, 1, 2)) + 1e-5)
    assert np.max(np.abs(standardize.forward(w)[0] - w_s)) < 1e-5


OVERFLOWS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, on=on: passed(*on, x) for name, on in CENTRED.items()},
    "modified": lambda x: passed(modified_batch_norm, {}, x),
    "mabn": lambda x: passed(mabn, {}, x),
    "moving statistics, modified": lambda x: passed(moving_statistics, {"form": "modified"}, x),
    "online norm": lambda x: passed(online_norm, {}, x),
    "instance norm": lambda x: passed(group_norm, {"groups": None}, x),
    "statistics": lambda x: batch_norm.statistics(x, batch_norm.Config()),
}


def passed(module: Any, fields: dict[str, Any], x: Values) -> Any:
    return module.forward(x, *arguments(module, x.shape, x.dtype, **fields))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OVERFLOWS)
def test_squares_that_overflow_are_said(name: str, dtype: Any) -> None:
    size = 1e30 if dtype is np.float32 else 1e200
    x = np.random.default_rng(12).standard_normal((4, 5, 3)).astype(dtype)
    x[:, :, 1] *= size
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(
            OverflowError, match=r"^x reaches .*e\+(30|200) in (channel|group) 1, expected .*e\+(38|308) \(float"
        ):
            OVERFLOWS[name](x)
        for value in (np.nan, np.inf):  # what is not finite already is left to be seen in the outcome
            x[2, 3, 1] = value
            OVERFLOWS[name](x)


@pytest.mark.parametrize("name", NORMS)
def test_distances_that_overflow_are_said_too(name: str) -> None:
    """A value less the mean is beyond float32 here, and is no finite number any more when it is squared."""
    norm, x = NORMS[name], np.full((4, 2, 32), 3e38, dtype=np.float32)
    x[::2, 0, ::2] *= -1
    gamma, beta, state, config = arguments(norm.module, x.shape, x.dtype, **norm.settings)
    calls: list[Callable[[], Any]] = [lambda: norm.module.statistics(x, config)]
    if not state or hasattr(state, "iteration"):  # a state that never moves is all that forward reads
        calls.append(lambda: norm.module.forward(x, gamma, beta, state, config))
    if not hasattr(norm.module, "affine"):  # it measures at inference, too
        calls.append(lambda: norm.module.infer(x, gamma, beta, state, config))
    for call in calls:
        with (
            np.errstate(over="ignore", invalid="ignore"),
            pytest.raises(OverflowError, match=r"^x reaches 3e\+38 in "),
        ):
            call()


def test_squares_of_what_is_derived_from_x() -> None:
    """A constant's own squares are of 0; those of its distance from a moving mean, and of z, are not."""
    x = np.full((2, 4, 3), 1e30, dtype=np.float32)
    gamma, beta, state, config = arguments(online_norm, x.shape, np.float32)
    with np.errstate(over="ignore"):
        with pytest.raises(OverflowError, match="x, less the moving mean, reaches"):
            online_norm.forward(x, gamma, beta, state, config)
        with pytest.raises(OverflowError, match=r"gamma \* y \+ beta reaches"):
            online_norm.infer(x, gamma, beta, state, config)
        gamma, beta, at_eval, config = arguments(eval_norm, x.shape, np.float32, norm_batch=2)
        with pytest.raises(OverflowError, match="the mean of x, less the moving mean, reaches"):
            eval_norm.infer(x, gamma, beta, at_eval, config)
        with pytest.raises(OverflowError, match=r"w reaches 1e\+30 in filter 1"):
            standardize.forward(np.array([[1, 1e30], [2, 2]], dtype=np.float32).reshape(1, 1, 2, 2))
    with np.errstate(over="ignore"), pytest.raises(OverflowError, match="in channel 2"):
        group_norm.forward(x * np.float32([1, 2, 3]), *arguments(group_norm, x.shape, np.float32, groups=1))


def test_a_nan_of_one_rank_is_not_called_an_overflow_on_another() -> None:
    def work(communicator: Any) -> bool:
        x = np.full((2, 2), np.nan if communicator.rank else 1.0, dtype=np.float32)
        x[1] = 2
        fields = {"communicator": communicator}
        return bool(np.all(np.isnan(passed(sync_batch_norm, fields, x)[0])))

    assert run(2, work) == [True, True]
