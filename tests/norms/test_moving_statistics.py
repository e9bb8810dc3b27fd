"""The general normaliser of the factorial: its special cases, a plain loop, and what of it is a derivative."""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm, moving_statistics
from mabn_ref.norms.moving_statistics import Config
from tests.strategies import decays, dimensions, eps, parameters, sample, seeds

FORMS, AVERAGES = ("vanilla", "modified"), ("batch", "sma", "ema")
CELLS = list(product(FORMS, AVERAGES, AVERAGES))


@st.composite
def configs(draw: Any, norm_batch: int | None, **settings: Any) -> Config:
    form, forward, backward = draw(st.sampled_from(CELLS))
    drawn = {
        "eps": draw(eps),
        "norm_batch": norm_batch,
        "form": form,
        "forward": forward,
        "backward": backward,
        "window": draw(st.integers(1, 9)),
        "decay": draw(decays),
        "r_max": draw(st.sampled_from([1.0, 1.2, 5.0])),
        "d_max": draw(st.sampled_from([0.0, 0.5, 5.0])),
        "renorm_from": draw(st.integers(1, 8)),
    }
    return Config(**drawn | settings)


def run(module: Any, config: Any, xs: Any, dzs: Any, gamma: Any, beta: Any) -> tuple[list[Any], Any]:
    """Everything that a few calls return, and the last state."""
    state = module.init(len(gamma), config, dtype=gamma.dtype)
    found: list[Any] = []
    for x, dz in zip(xs, dzs, strict=True):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        *grads, after = module.backward(dz, cache, state)
        *again, _ = module.backward_graph(dz, cache, state)
        state = after
        found += [z, *grads, *again, *module.gradient_statistics(dz, cache)]
    return [
        *found,
        module.infer(xs[-1], gamma, beta, state, config),
        *module.affine(gamma, beta, state, config),
    ], state


def draw_calls(rng: np.random.Generator, dims: Any, calls: int) -> tuple[Any, ...]:
    shape = (calls, *dims.shape)
    return sample(rng, shape, low=-1, high=1), rng.standard_normal(shape), *parameters(rng, dims.channels)


SPECIAL = {
    "batch norm": (batch_norm, {}, {"form": "vanilla", "forward": "batch", "backward": "batch"}),
    "batch norm as a limit": (
        batch_norm,
        {},
        {"form": "vanilla", "forward": "ema", "backward": "batch", "r_max": 1.0, "d_max": 0.0},
    ),
    "Batch Renormalization": (
        batch_renorm,
        {"r_max": 1.5, "d_max": 0.4, "ema_of": "var"},
        {"form": "vanilla", "forward": "ema", "backward": "batch", "r_max": 1.5, "d_max": 0.4, "renorm_from": 1},
    ),
    "modified batch norm": (
        modified_batch_norm,
        {},
        {"form": "modified", "forward": "batch", "backward": "batch"},
    ),
    "modified batch norm as a limit": (
        modified_batch_norm,
        {},
        {"form": "modified", "forward": "sma", "backward": "sma", "window": 1, "r_max": 1.0},
    ),
    "MABN": (
        mabn,
        {"window": 4, "clip": 1.3, "renorm_from": 6},
        {"form": "modified", "forward": "sma", "backward": "sma", "window": 4, "r_max": 1.3, "renorm_from": 6},
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
@given(data=st.data(), dims=dimensions(groups=3), seed=seeds, calls=st.integers(1, 5))
def test_special_cases(name: str, data: Any, dims: Any, seed: int, calls: int) -> None:
    """Outputs, gradients, batch statistics, inference, to 1e-12 over several calls.

    eq: moving-forward, moving-backward, moving-graph, bn-normalise, bn-backward, brn-forward, brn-corrections,
    brn-backward, modified-normalise, modified-backward, mabn-forward, mabn-renormalise, mabn-backward
    """
    module, theirs, ours = SPECIAL[name]
    config = data.draw(configs(dims.norm_batch, **ours))
    shared = {field: getattr(config, field) for field in ("eps", "norm_batch", "decay")}
    arrays = draw_calls(np.random.default_rng(seed), dims, calls)
    found, state = run(moving_statistics, config, *arrays)
    expected, other = run(module, module.Config(**shared, **theirs), *arrays)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    pairs = {"chi2": "var", "chi2_window": "var_window"}
    for field, value in other._asdict().items():
        if name == "modified batch norm as a limit" and field.endswith("window"):
            continue
        a = getattr(state, pairs.get(field, field))
        np.testing.assert_allclose(a, value, rtol=1e-12, atol=1e-12 * np.abs(value).max())


def loop(config: Config, xs: Any, dzs: Any, gamma: Any, beta: Any) -> list[Any]:
    """The definition, one normalisation batch after the other: z, dx, dgamma, dbeta of each call; inference last."""
    found: list[Any] = []
    channels, vanilla = len(gamma), config.form == "vanilla"
    hat = [np.zeros(channels), np.ones(channels)]
    windows = [deque(maxlen=config.window) for _ in range(4)]
    fading: list[Any] = [None, None]
    t = 0
    for x, dz in zip(xs, dzs, strict=True):
        each = config.norm_batch or len(x)
        z, dx, dgamma, dbeta = np.empty_like(x), np.empty_like(x), np.zeros(channels), np.zeros(channels)
        for part in (slice(i, i + each) for i in range(0, len(x), each)):
            t += 1
            v = x[part].reshape(-1, channels)
            mu = v.mean(axis=0) if vanilla else np.zeros(channels)
            var = ((v - mu) ** 2).mean(axis=0)
            for window, value in zip(windows, (mu, var), strict=False):
                window.append(value)
            base = [np.mean(window, axis=0) for window in windows[:2]] if config.forward == "sma" else [mu, var]
            sigma, sigma_hat = np.sqrt(base[1] + config.eps), np.sqrt(hat[1] + config.eps)
            r, d = np.ones(channels), np.zeros(channels)
            if config.forward != "batch" and t >= config.renorm_from:
                r = np.clip(sigma / sigma_hat, 1 / config.r_max, config.r_max)
                d = np.clip((base[0] - hat[0]) / sigma_hat, -config.d_max, config.d_max)
            hat = [config.decay * h + (1 - config.decay) * b for h, b in zip(hat, (mu, var), strict=True)]
            y = (v - base[0]) / sigma
            z[part] = (gamma * (r * y + d) + beta).reshape(x[part].shape)
            up = dz[part].reshape(-1, channels)
            dy = up * gamma * r
            batch = [dy.mean(axis=0) if vanilla else np.zeros(channels), (y * dy).mean(axis=0)]
            used = []
            for k, value in enumerate(batch):
                windows[2 + k].append(value)
                fading[k] = value if fading[k] is None else config.decay * fading[k] + (1 - config.decay) * value
                averages = {"batch": value, "sma": np.mean(windows[2 + k], axis=0), "ema": fading[k]}
                used.append(averages[config.backward])
            dx[part] = ((dy - used[0] - y * used[1]) / sigma).reshape(x[part].shape)
            dgamma += (up * (r * y + d)).sum(axis=0)
            dbeta += up.sum(axis=0)
        found += [z, dx, dgamma, dbeta]
    return [*found, gamma * (xs[-1] - hat[0]) / np.sqrt(hat[1] + config.eps) + beta]


@pytest.mark.parametrize(("form", "ahead", "back"), CELLS)
@given(data=st.data(), dims=dimensions(groups=3), seed=seeds, calls=st.integers(1, 5))
def test_runs_follow_the_plain_recurrence(
    form: str, ahead: str, back: str, data: Any, dims: Any, seed: int, calls: int
) -> None:
    """All 18 cells. eq: moving-forward, moving-backward, moving-gradient-average, moving-graph, sma-backward"""
    config = data.draw(configs(dims.norm_batch, form=form, forward=ahead, backward=back))
    arrays = draw_calls(np.random.default_rng(seed), dims, calls)
    found, _ = run(moving_statistics, config, *arrays)
    expected = loop(config, *arrays)
    each = 9  # z, three gradients, three by the graph, g and psi
    for call in range(calls):
        z, dx, dgamma, dbeta = expected[4 * call : 4 * call + 4]
        ours = found[each * call : each * call + 7]
        for a, b in zip(ours, (z, dx, dgamma, dbeta, dx, dgamma, dbeta), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
    np.testing.assert_allclose(found[each * calls], expected[-1], rtol=1e-10, atol=1e-10 * np.abs(expected[-1]).max())


def prepared(config: Config, seed: int, calls: int, shape: tuple[int, ...] = (4, 2, 2)) -> tuple[Any, ...]:
    """A state after a few calls with no g and Psi in its averages, and the arguments of one more."""
    rng = np.random.default_rng(seed)
    gamma, beta = parameters(rng, shape[-1])
    state = moving_statistics.init(shape[-1], config, dtype=float)
    for _ in range(calls):
        _, _, state = moving_statistics.forward(rng.standard_normal(shape) * 2 + 1, gamma, beta, state, config)
    return state, rng.standard_normal(shape) + 0.5, rng.standard_normal(shape), gamma, beta


def held_passes(config: Config, state: Any, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
    """Forward with r and d at their numbers, and backward."""
    _, kept, after = moving_statistics.forward(x, gamma, beta, state, config)

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        _, cache, _ = moving_statistics.forward(x, gamma, beta, state, config)
        z = gamma * (kept.r * cache.y + kept.d) + beta
        return z.reshape(x.shape), cache

    return forward, lambda dz, cache: moving_statistics.backward(dz, cache, after)[:3]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ahead", ["batch", "ema"])
@given(data=st.data(), seed=seeds, calls=st.integers(0, 4))
def test_derivative_where_backward_uses_the_batch(form: str, ahead: str, data: Any, seed: int, calls: int) -> None:
    """eq: moving-forward, moving-backward"""
    config = data.draw(configs(2, form=form, forward=ahead, backward="batch"))
    state, x, _, gamma, beta = prepared(config, seed, calls)
    check(*held_passes(config, state, x, gamma, beta), (x, gamma, beta)).raise_for_error()


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), seed=seeds, calls=st.integers(0, 4))
def test_one_call_of_windows_in_both_directions(form: str, data: Any, seed: int, calls: int) -> None:
    """With zeros for the earlier g and Psi, backward lacks of the derivative of one call the term (E_B y) Psi_B / m.

    In the modified form there is no such term, and it is the derivative.

    eq: moving-one-call, moving-forward, moving-backward
    """
    config = data.draw(configs(None, form=form, forward="sma", backward="sma"))
    state, x, _, gamma, beta = prepared(config, seed, calls)
    forward, back = held_passes(config, state, x, gamma, beta)

    def corrected(dz: Any, cache: Any) -> Any:
        dx, *rest = back(dz, cache)
        _, psi = moving_statistics.gradient_statistics(dz, cache)
        offset = cache.y.mean(axis=1) if form == "vanilla" else 0.0
        return dx + (offset * psi / min(calls + 1, config.window) / cache.sigma[:, 0])[0], *rest

    check(forward, corrected, (x, gamma, beta)).raise_for_error()


@pytest.mark.parametrize("norm_batch", [None, 2])
def test_statistics_are_those_of_each_normalisation_batch(norm_batch: int | None) -> None:
    """eq: bn-statistics, modified-statistics"""
    x = np.random.default_rng(4).standard_normal((4, 3, 2)) + 2
    batches = x.reshape(4 // (norm_batch or 4), -1, 2)
    zero = np.zeros((len(batches), 2))
    expected = {
        "vanilla": (batches.mean(axis=1), batches.var(axis=1)),
        "modified": (zero, (batches**2).mean(axis=1)),
    }
    for form, values in expected.items():
        found = moving_statistics.statistics(x, Config(form=form, norm_batch=norm_batch))
        np.testing.assert_allclose(found, values, rtol=1e-13)


@pytest.mark.parametrize(("form", "ahead", "back"), [cell for cell in CELLS if "sma" in cell[1:] or cell[2] == "ema"])
def test_the_others_are_no_derivative(form: str, ahead: str, back: str) -> None:
    """By per cents, not by rounding, with a history of gradients and r and d held."""
    config = Config(form=form, forward=ahead, backward=back, window=4, decay=0.5, norm_batch=None)
    state, x, dz, gamma, beta = prepared(config, 3, 0)
    for _ in range(5):
        _, cache, state = moving_statistics.forward(x + 1, gamma, beta, state, config)
        *_, state = moving_statistics.backward(dz, cache, state)
    result = check(*held_passes(config, state, x, gamma, beta), (x, gamma, beta))
    assert result.verdict == "wrong"
    assert result.worst.error > 1e-2


def test_ema_without_a_clip_normalises_by_the_average_itself() -> None:
    """eq: moving-forward, ema-forward"""
    config = Config(forward="ema", r_max=1e12, d_max=1e12, eps=0.1)
    state, x, _, gamma, beta = prepared(config, 0, 3)
    z, _, _ = moving_statistics.forward(x, gamma, beta, state, config)
    np.testing.assert_allclose(z, gamma * (x - state.mean) / np.sqrt(state.var + 0.1) + beta, rtol=1e-12)


@given(data=st.data(), dims=dimensions(groups=4), seed=seeds, calls=st.integers(1, 3))
def test_one_call_equals_many_and_orders_agree(data: Any, dims: Any, seed: int, calls: int) -> None:
    """N / |B| calls of |B| samples give the numbers of one call; F F B B those of F B F B.

    eq: moving-forward, moving-backward, moving-gradient-average
    """
    config = data.draw(configs(dims.norm_batch))
    xs, dzs, gamma, beta = draw_calls(np.random.default_rng(seed), dims, calls)
    parts = [a.reshape(-1, dims.norm_batch, *a.shape[2:]) for a in (xs, dzs)]
    together = apart = moving_statistics.init(dims.channels, config, dtype=float)
    for x, dz in zip(xs, dzs, strict=True):
        _, cache, together = moving_statistics.forward(x, gamma, beta, together, config)
        *_, together = moving_statistics.backward(dz, cache, together)
    caches = []
    for x in parts[0]:
        _, cache, apart = moving_statistics.forward(x, gamma, beta, apart, config)
        caches.append(cache)
    for dz, cache in zip(parts[1], caches, strict=True):
        dx, _, _, apart = moving_statistics.backward(dz, cache, apart)
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    again = moving_statistics.init(dims.channels, config, dtype=float)
    for x, dz in zip(*parts, strict=True):
        _, cache, again = moving_statistics.forward(x, gamma, beta, again, config)
        dx_, _, _, again = moving_statistics.backward(dz, cache, again)
    np.testing.assert_array_equal(dx, dx_)


@pytest.mark.parametrize(("form", "ahead", "back"), CELLS)
def test_no_gradient_stays_none(form: str, ahead: str, back: str) -> None:
    """Channels whose dz or x is 0, behind a dead ReLU, leave no NaN anywhere. eq: moving-backward"""
    config = Config(form=form, forward=ahead, backward=back, window=2)
    state = moving_statistics.init(3, config, dtype=float)
    z, cache, state = moving_statistics.forward(X * [1, 1, 0], ONE, ONE, state, config)
    dx, _, _, state = moving_statistics.backward(X * [1, 0, 1], cache, state)
    assert np.all(z[:, 2] == 1)
    assert np.all(dx[:, 1] == 0)
    assert all(np.all(np.isfinite(a)) for a in (dx, *state))


ONE, X = np.ones(3), np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Config(form="plain"), ValueError, "form is 'plain', expected one of 'vanilla', 'modified'"),
        (lambda: Config(norm_batch=2.0), TypeError, "norm_batch is 2.0, expected an integer of at least 1"),
        (lambda: Config(renorm_from=2.0), TypeError, "renorm_from is 2.0, expected an integer of at least 1"),
        (lambda: Config(forward="smas"), ValueError, "forward is 'smas', expected one of 'batch', 'sma', 'ema'"),
        (lambda: Config(backward=None), ValueError, "backward is None, expected one of"),
        (lambda: Config(window=0), ValueError, "window is 0, expected an integer of at least 1"),
        (lambda: Config(decay=1.0), ValueError, r"decay is 1.0, expected a number in \[0, 1\)"),
        (lambda: Config(r_max=0.5), ValueError, "r_max is 0.5, expected a finite number of at least 1"),
        (lambda: Config(d_max=-1), ValueError, "d_max is -1, expected a finite number of at least 0"),
        (lambda: Config(renorm_from=0), ValueError, "renorm_from is 0"),
        (lambda: Config(eps=-1.0), ValueError, "eps is -1.0"),
        (lambda: Config(norm_batch=0), ValueError, "norm_batch is 0"),
    ],
)
def test_bad_settings(build: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_bad_input() -> None:
    config = Config(window=4, norm_batch=2)
    state = moving_statistics.init(3, config, dtype=float)
    with pytest.raises(ValueError, match=r"one value per channel, whose variance is 0 by construction"):
        moving_statistics.forward(X, ONE, ONE, state, Config(window=4, norm_batch=1))
    moving_statistics.forward(X, ONE, ONE, state, Config(window=4, norm_batch=1, form="modified"))
    with pytest.raises(ValueError, match=r"state\.mean_window has shape \(4, 3\), expected \(5, 3\)"):
        moving_statistics.forward(X, ONE, ONE, state, Config(window=5))
    for field in ("mean", "var", "mean_window", "var_window"):
        single = state._replace(**{field: getattr(state, field).astype(np.float32)})
        with pytest.raises(TypeError, match=rf"state\.{field} has dtype float32, expected float64"):
            moving_statistics.forward(X, ONE, ONE, single, config)
    _, cache, state = moving_statistics.forward(X, ONE, ONE, state, config)
    for call in (moving_statistics.backward, moving_statistics.backward_graph):
        with pytest.raises(ValueError, match=r"state\.psi_window has shape \(1, 3\), expected \(4, 3\)"):
            call(X, cache, state._replace(psi_window=X[:1]))
        with pytest.raises(TypeError, match=r"dz has dtype float32, expected float64"):
            call(X.astype(np.float32), cache, state)
        for field in ("g", "psi", "g_window", "psi_window"):
            single = getattr(state, field).astype(np.float32)
            with pytest.raises(TypeError, match=rf"state\.{field} has dtype float32, expected float64"):
                call(X, cache, state._replace(**{field: single}))
    with pytest.raises(TypeError, match=r"dz is a NoneType"):
        moving_statistics.gradient_statistics(None, cache)
    with pytest.raises(TypeError, match=r"dz has dtype float32, expected float64"):
        moving_statistics.gradient_statistics(X.astype(np.float32), cache)
    with pytest.raises(TypeError, match=r"^channels is 2\.0, expected an integer"):
        moving_statistics.init(2.0, config, dtype=float)
    with pytest.raises(TypeError, match=r"^the state has dtype int64"):
        moving_statistics.init(2, config, dtype=int)
    with pytest.raises(TypeError, match=r"state is a tuple, expected a moving_statistics\.State"):
        moving_statistics.forward(X, ONE, ONE, (), config)


@pytest.mark.parametrize(("form", "ahead", "back"), CELLS)
def test_float32_stays_and_inputs_are_left_alone(form: str, ahead: str, back: str) -> None:
    config = Config(form=form, forward=ahead, backward=back, window=2, norm_batch=2)
    x, one = X.astype(np.float32), ONE.astype(np.float32)
    state = moving_statistics.init(3, config, dtype=np.float32)
    copies = [x.copy(), *(np.copy(a) for a in state)]
    z, cache, new = moving_statistics.forward(x, one, one, state, config)
    *grads, new = moving_statistics.backward(x, cache, new)
    assert {a.dtype for a in (z, *grads, *new[:-2])} == {np.dtype(np.float32)}
    for a, b in zip((x, *state), copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_batchs_own_statistics_are_used_by_every_batch_of_a_call():
    """Of a call of more normalisation batches than there are values in one.

    eq: moving-forward
    """
    rng = np.random.default_rng(8)
    one, zero = np.ones(3), np.zeros(3)
    config, theirs = Config(forward="batch", norm_batch=2), batch_norm.Config(norm_batch=2)
    state, other = moving_statistics.init(3, config, dtype=float), batch_norm.init(3, theirs, dtype=float)
    for _ in range(2):
        x = 3 + 2 * rng.standard_normal((14, 3))
        z, _, state = moving_statistics.forward(x, one, zero, state, config)
        expected, _, other = batch_norm.forward(x, one, zero, other, theirs)
        np.testing.assert_allclose(z, expected, rtol=1e-12)
