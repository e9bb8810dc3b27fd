"""Cross-Iteration Batch Normalization with its convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.mistakes.plain import LAYERS
from mabn_ref.nn import conv2d, cross_iteration
from mabn_ref.norms import batch_norm

TRACES = Path(__file__).parent.parent / "traces"
WINDOW, OPTIONS = 3, {"stride": 2, "padding": 1, "eps": 0.1}
rng = np.random.default_rng(0)
XS, WS = 0.5 + rng.standard_normal((4, 3, 5, 6, 2)), rng.standard_normal((4, 2, 3, 2, 3))
GAMMA, BETA, DZ = rng.uniform(0.5, 2, 3), rng.standard_normal(3), rng.standard_normal((3, 3, 3, 3))


def iterations(convert=lambda a: a):
    """Four iterations, each with other weights: output, cache and window of each."""
    past = []
    for x, w in zip(XS, WS, strict=True):
        means, variances = cross_iteration.compensated(past, convert(w))
        arrays = (convert(a) for a in (x, w, GAMMA, BETA))
        z, cache = cross_iteration.forward(*arrays, means=means, variances=variances, **OPTIONS)
        yield z, cache, past
        past = [*past, cross_iteration.measured(cache)][-(WINDOW - 1) :]


def moments(x, w):
    out, _ = conv2d.forward(x, w, stride=2, padding=1)
    return out.mean(axis=(0, 1, 2)), out.var(axis=(0, 1, 2))


def test_with_no_earlier_batch_it_is_batch_norm():
    """eq: cbn-normalise, cbn-backward, bn-statistics"""
    z, cache, _ = next(iterations())
    config = batch_norm.Config(eps=0.1)
    out, convolution = conv2d.forward(XS[0], WS[0], stride=2, padding=1)
    right, held, state = batch_norm.forward(out, GAMMA, BETA, batch_norm.init(3, config, dtype=float), config)
    np.testing.assert_allclose(z, right, rtol=1e-12, atol=1e-13)
    dout, *of_norm, _ = batch_norm.backward(DZ, held, state)
    expected = (*conv2d.backward(dout, convolution), *of_norm)
    for ours, theirs in zip(cross_iteration.backward(DZ, cache), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_the_slopes_are_derivatives_of_the_moments(central_differences):
    """eq: cbn-slopes"""
    _, cache, _ = next(iterations())
    batch = cross_iteration.measured(cache)
    for k, (value, slope) in enumerate(((batch.mean, batch.mean_slope), (batch.var, batch.var_slope))):
        np.testing.assert_allclose(value, moments(XS[0], WS[0])[k], rtol=1e-12)
        found = central_differences(lambda w, k=k: moments(XS[0], w)[k].sum(), WS[0])
        np.testing.assert_allclose(slope, found, rtol=1e-7, atol=1e-9)


def test_a_compensated_mean_is_exact_and_a_variance_falls_short_by_the_square_of_the_change():
    """eq: cbn-compensate, cbn-slopes"""
    _, cache, _ = next(iterations())
    for size in (1e-3, 0.05):
        w = WS[0] + size * WS[1]
        (mean,), (var,) = cross_iteration.compensated([cross_iteration.measured(cache)], w)
        true_mean, true_var = moments(XS[0], w)
        np.testing.assert_allclose(mean, true_mean, rtol=1e-11)
        change, _ = conv2d.forward(XS[0], size * WS[1], stride=2, padding=1)
        np.testing.assert_allclose(true_var - var, np.mean(change**2, axis=(0, 1, 2)), rtol=1e-6)


def test_a_compensated_variance_is_never_negative():
    """eq: cbn-compensate"""
    _, cache, _ = next(iterations())
    _, variances = cross_iteration.compensated([cross_iteration.measured(cache)], -9 * WS[0])
    np.testing.assert_array_equal(variances, np.zeros((1, 3)))


def test_the_statistics_are_those_of_the_window():
    """eq: cbn-statistics, cbn-normalise"""
    for _, cache, past in iterations():
        means, variances = cross_iteration.compensated(past, cache.convolution.w)
        mean = np.mean([*means, cache.mean], axis=0)
        square = np.mean([*(variances + means**2), cache.var + cache.mean**2], axis=0)
        assert cache.iterations == len(past) + 1
        np.testing.assert_allclose(cache.sigma**2, square - mean**2 + 0.1, rtol=1e-12)
    assert cache.iterations == WINDOW


def test_backward_is_the_derivative_with_earlier_batches_held():
    """eq: cbn-backward, affine-backward, bn-gradient-statistics"""
    for (*_, past), x, w in zip(iterations(), XS, WS, strict=True):
        means, variances = cross_iteration.compensated(past, w)

        def forward(*arrays, means=means, variances=variances):
            return cross_iteration.forward(*arrays, means=means, variances=variances, **OPTIONS)

        check(forward, cross_iteration.backward, (x, w, GAMMA, BETA)).raise_for_error()


def test_it_follows_the_authors_code():
    """A run of their layer with two earlier iterations and eps inside the root, recorded. eq: cbn-backward"""
    with np.load(TRACES / "cross_iteration.npz", allow_pickle=False) as file:
        trace = dict(file)
    past = []
    for t, (x, w) in enumerate(zip(trace["x"], trace["w"], strict=True)):
        means, variances = cross_iteration.compensated(past, w)
        arrays = (x, w, trace["gamma"], trace["beta"])
        z, cache = cross_iteration.forward(*arrays, means=means, variances=variances, padding=1, eps=0.1)
        found = (z, *cross_iteration.backward(trace["dz"][t], cache))
        for name, ours in zip(("z", "dx", "dw", "dgamma", "dbeta"), found, strict=True):
            assert np.max(np.abs(ours - trace[name][t])) < 1e-12 * np.max(np.abs(trace[name][t])), (name, t)
        past = [*past, cross_iteration.measured(cache)][-2:]


def test_the_definition():
    """eq: cbn-statistics, cbn-normalise"""
    for (z, _, past), x, w in zip(iterations(), XS, WS, strict=True):
        means, variances = cross_iteration.compensated(past, w)
        plain = LAYERS["cross_iteration"](x, w, GAMMA, BETA, means=means, variances=variances, **OPTIONS)
        np.testing.assert_allclose(z, plain, rtol=1e-11, atol=1e-12)


def test_runs_in_another_array_library(strict, to_numpy):
    for (z, cache, _), (other, other_cache, _) in zip(iterations(), iterations(strict), strict=True):
        np.testing.assert_allclose(to_numpy(other), z, rtol=1e-12, atol=1e-13)
        for a, b in zip(
            cross_iteration.backward(strict(DZ), other_cache), cross_iteration.backward(DZ, cache), strict=True
        ):
            np.testing.assert_allclose(to_numpy(a), b, rtol=1e-12, atol=1e-13)


def test_float32_stays_float32():
    *_, (z, cache, past) = iterations(lambda a: a.astype(np.float32))
    arrays = [z, *cross_iteration.backward(DZ.astype(np.float32), cache), *(a for batch in past for a in batch)]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


def test_bad_input_is_refused():
    _, cache, past = list(iterations())[-1]
    with pytest.raises(
        ValueError, match=r"past\[0\].w has shape \(2, 3, 2, 3\), expected \(2, 3, 2, 2\), the shape of w"
    ):
        cross_iteration.compensated(past, WS[0][..., :2])
    with pytest.raises(TypeError, match=r"batch is a cross_iteration\.Cache, expected a cross_iteration\.Batch"):
        cross_iteration.compensated([cache], WS[0])
    nothing = np.zeros((0, 3))
    with pytest.raises(ValueError, match=r"variances has shape \(1, 3\), expected \(0, 3\)"):
        cross_iteration.forward(XS[0], WS[0], GAMMA, BETA, means=nothing, variances=np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"gamma has shape \(2,\), expected \(3,\)"):
        cross_iteration.forward(XS[0], WS[0], GAMMA[:2], BETA, means=nothing, variances=nothing)
    with pytest.raises(TypeError, match="means is a NoneType"):
        cross_iteration.forward(XS[0], WS[0], GAMMA, BETA, means=None, variances=nothing)
    for means in (np.float64(1), GAMMA):
        with pytest.raises(ValueError, match=r"means has shape \(3?,?\), expected \(k - 1, 3\)"):
            cross_iteration.forward(XS[0], WS[0], GAMMA, BETA, means=means, variances=nothing)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 1, 3\): one value per channel"):
        cross_iteration.forward(XS[0][:1, :2, :3], WS[0], GAMMA, BETA, means=nothing, variances=nothing)
    with pytest.raises(TypeError, match="w is "):
        cross_iteration.compensated([], [[1.0]])
    with pytest.raises(ValueError, match=r"w has shape \(2, 3\), expected \(kh, kw, in, C\)"):
        cross_iteration.compensated([], WS[0][:, :, 0, 0])
    with pytest.raises(TypeError, match=r"past\[0\].w has dtype float64, expected float32"):
        cross_iteration.compensated(past, WS[0].astype(np.float32))
    with pytest.raises(TypeError, match=r"cache is a conv2d\.Cache, expected a cross_iteration\.Cache"):
        cross_iteration.backward(DZ, cache.convolution)
    with pytest.raises(TypeError, match=r"cache is a conv2d\.Cache, expected a cross_iteration\.Cache"):
        cross_iteration.measured(cache.convolution)
    with pytest.raises(ValueError, match=r"eps is -1, expected a finite number of at least 0"):
        cross_iteration.forward(XS[0], WS[0], GAMMA, BETA, means=nothing, variances=nothing, eps=-1)
