"""Masks: against a plain loop, numerical derivatives and Keras; padding is never read."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check
from mabn_ref.norms import NORMS, batch_norm, eval_norm, group_norm, mabn, masked, modified_batch_norm
from tests.strategies import many, parameters

SHAPE, STEPS = (4, 5, 3), 6
SHARED = [
    name
    for name, norm in NORMS.items()
    if name != "eval-norm" and "norm_batch" in {f.name for f in fields(norm.module.Config)}
]
"""Of EvalNorm inference depends on norm_batch, which a mask leaves out."""


def padded(rng: np.random.Generator) -> np.ndarray:
    """Sequences of different lengths, the first of full length, the last empty."""
    lengths = np.append(rng.integers(1, SHAPE[1], SHAPE[0] - 1), 0)
    lengths[0] = SHAPE[1]
    return np.arange(SHAPE[1]) < lengths[:, None]


def drawn(rng: np.random.Generator, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and dz, with NaN where they are not to be read."""
    x, dz = rng.standard_normal((2, *SHAPE)) * rng.uniform(0.3, 3, SHAPE[-1]) + rng.uniform(-1, 1, SHAPE[-1])
    x[~mask] = dz[~mask] = np.nan
    return x, dz


class Loop:
    """Batch norm or MABN of one channel, value by value in plain Python."""

    def __init__(self, config: Any, gamma: float, beta: float) -> None:
        self.config, self.gamma, self.beta = config, gamma, beta
        self.mean, self.square, self.squares, self.psis = 0.0, 1.0, [], []  # type: ignore[var-annotated]

    def step(self, x: dict[Any, float], dz: dict[Any, float]) -> tuple[dict[Any, float], ...]:
        config, count, centred = self.config, len(x), isinstance(self.config, batch_norm.Config)
        mu = sum(x.values()) / count if centred else 0.0
        square = sum((value - mu) ** 2 for value in x.values()) / count
        self.squares.append(square)
        seen = self.squares[-1:] if centred else self.squares[-config.window :]
        size = (sum(seen) / len(seen) + config.eps) ** 0.5
        r = 1.0 if centred else size / (self.square + config.eps) ** 0.5
        r = r if centred else min(max(r, 1 / config.clip), config.clip)
        self.mean = config.decay * self.mean + (1 - config.decay) * mu
        self.square = config.decay * self.square + (1 - config.decay) * square
        y = {at: (value - mu) / size for at, value in x.items()}
        z = {at: self.gamma * r * y[at] + self.beta for at in x}
        dy = {at: self.gamma * r * dz[at] for at in x}
        g = sum(dy.values()) / count if centred else 0.0
        self.psis.append(sum(y[at] * dy[at] for at in x) / count)
        kept = self.psis[-1:] if centred else self.psis[-config.window :]
        dx = {at: (dy[at] - g - y[at] * sum(kept) / len(kept)) / size for at in x}
        return z, dx, {"gamma": sum(r * y[at] * dz[at] for at in x), "beta": sum(dz.values())}

    def infer(self, x: dict[Any, float]) -> dict[Any, float]:
        size = (self.square + self.config.eps) ** 0.5
        return {at: self.gamma * (value - self.mean) / size + self.beta for at, value in x.items()}


def valid(values: np.ndarray, mask: np.ndarray, channel: int) -> dict[Any, float]:
    """The valid values of one channel by their places."""
    places = [tuple(map(int, place)) for place in np.argwhere(mask)]
    return {place: float(values[(*place, channel)]) for place in places}


def spread(values: list[dict[Any, float]]) -> np.ndarray:
    out = np.zeros(SHAPE)
    for channel, of_channel in enumerate(values):
        for at, value in of_channel.items():
            out[(*at, channel)] = value
    return out


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (batch_norm, batch_norm.Config(eps=0.1)),
        (mabn, mabn.Config(eps=0.1, window=3, clip=1.2, decay=0.8)),
    ],
    ids=["bn", "mabn"],
)
def test_against_a_plain_loop(module: Any, config: Any) -> None:
    """eq: masked-forward, masked-backward"""
    rng = np.random.default_rng(0)
    gamma, beta = parameters(rng, SHAPE[-1])
    loops = [Loop(config, *both) for both in zip(gamma, beta, strict=True)]
    state = module.init(SHAPE[-1], config, dtype=float)
    for _ in range(STEPS):
        mask = padded(rng)
        x, dz = drawn(rng, mask)
        z, cache, state = masked.forward(module, x, mask, gamma, beta, state, config)
        dx, dgamma, dbeta, state = masked.backward(module, dz, cache, state)
        theirs = [loop.step(valid(x, mask, c), valid(dz, mask, c)) for c, loop in enumerate(loops)]
        inferred = masked.infer(module, x, mask, gamma, beta, state, config)
        for ours, other in [
            (z, spread([t[0] for t in theirs])),
            (dx, spread([t[1] for t in theirs])),
            (dgamma, [t[2]["gamma"] for t in theirs]),
            (dbeta, [t[2]["beta"] for t in theirs]),
            (inferred, spread([loop.infer(valid(x, mask, c)) for c, loop in enumerate(loops)])),
        ]:
            np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (batch_norm, batch_norm.Config(eps=0.1)),
        (modified_batch_norm, modified_batch_norm.Config(eps=0.1)),
        (mabn, mabn.Config(eps=0.1, window=1, clip=1.0)),  # which makes its backward a derivative
    ],
    ids=["bn", "modified-bn", "mabn"],
)
def test_derivative_at_every_position_padded_ones_included(module: Any, config: Any) -> None:
    """eq: masked-backward"""
    for seed in range(many(1, 40)):
        rng = np.random.default_rng(seed)
        mask, (gamma, beta) = padded(rng), parameters(rng, SHAPE[-1])
        x, state = rng.standard_normal(SHAPE), module.init(SHAPE[-1], config, dtype=float)
        after = masked.forward(module, x, mask, gamma, beta, state, config)[2]

        def forward(x: Any, gamma: Any, beta: Any) -> Any:
            return masked.forward(module, x, mask, gamma, beta, state, config)[:2]  # noqa: B023

        def backward(dz: Any, cache: Any) -> Any:
            return masked.backward(module, dz, cache, after)[:3]  # noqa: B023

        check(forward, backward, (x, gamma, beta)).raise_for_error()


@pytest.mark.parametrize("name", SHARED)
def test_a_mask_of_all_positions_is_no_mask(name: str) -> None:
    """eq: masked-forward, masked-backward"""
    norm, rng = NORMS[name], np.random.default_rng(0)
    module, config = norm.module, norm.module.Config(**norm.settings, **norm.example)
    (gamma, beta), states = parameters(rng, SHAPE[-1]), [module.init(SHAPE[-1], config, dtype=float)] * 2
    for _ in range(3):
        x, dz = drawn(rng, np.ones(SHAPE[:2], dtype=bool))
        z, cache, states[0] = module.forward(x, gamma, beta, states[0], config)
        dx, *_, states[0] = module.backward(dz, cache, states[0])
        mask = np.ones(SHAPE[:2], dtype=bool)
        z_, cache_, states[1] = masked.forward(module, x, mask, gamma, beta, states[1], config)
        mask[:] = False  # the cache has its own
        dx_, *_, states[1] = masked.backward(module, dz, cache_, states[1])
        np.testing.assert_array_equal(z_, z)
        np.testing.assert_array_equal(dx_, dx)


@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
def test_array_api_strict(device: str) -> None:
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    rng, place, config = np.random.default_rng(0), xp.Device(device), batch_norm.Config()
    mask, (gamma, beta) = padded(rng), parameters(rng, SHAPE[-1])
    x, state = drawn(rng, mask)[0], batch_norm.init(SHAPE[-1], config, dtype=float)
    mean, var, iteration = state
    theirs = batch_norm.State(xp.asarray(mean, device=place), xp.asarray(var, device=place), iteration)
    given = [xp.asarray(a, device=place) for a in (x, mask, gamma, beta)]
    z, cache, theirs = masked.forward(batch_norm, *given, theirs, config)
    dx = masked.backward(batch_norm, z, cache, theirs)[0]
    ours, cache, state = masked.forward(batch_norm, x, mask, gamma, beta, state, config)
    for a, b in ((z, ours), (dx, masked.backward(batch_norm, ours, cache, state)[0])):
        assert a.device == place
        host = np.asarray(xp.asarray(a, device=xp.Device("CPU_DEVICE")))
        np.testing.assert_allclose(host, b, rtol=1e-12, atol=1e-13)


def test_what_cannot_be_meant_is_refused() -> None:
    x, mask, one = np.ones((2, 3, 1)), np.ones((2, 3), dtype=bool), np.ones(1)
    config = batch_norm.Config()
    state = batch_norm.init(1, config, dtype=float)

    def forward(x: Any = x, mask: Any = mask, config: Any = config) -> Any:
        return masked.forward(batch_norm, x, mask, one, one, state, config)

    with pytest.raises(ValueError, match="norm_batch is 2, expected None"):
        forward(config=batch_norm.Config(norm_batch=2))
    with pytest.raises(ValueError, match="norm_batch is 2, expected None"):
        forward(config=eval_norm.Config(norm_batch=2))
    with pytest.raises(TypeError, match=r"config is a group_norm\.Config, expected the Config of a normaliser whose"):
        forward(config=group_norm.Config())
    with pytest.raises(TypeError, match=r"mabn\.Config, expected a batch_norm\.Config"):
        forward(config=mabn.Config())
    with pytest.raises(TypeError, match=r"mask is a numpy\.ndarray of float64, expected an array of bool"):
        forward(mask=mask.astype(float))
    with pytest.raises(TypeError, match="mask is a list, expected an array of bool"):
        forward(mask=[[True] * 3] * 2)
    with pytest.raises(
        ValueError, match=r"^mask has shape \(3, 2\), expected \(2, 3\), the shape of x without its channels$"
    ):
        forward(mask=mask.T)
    with pytest.raises(ValueError, match="mask is False everywhere"):
        forward(mask=~mask)
    with pytest.raises(TypeError, match=r"x is a numpy\.ma\.MaskedArray"):
        forward(x=np.ma.masked_array(x, mask=x > 1))
    _, cache, after = forward(x=np.arange(6.0).reshape(2, 3, 1))
    with pytest.raises(ValueError, match=r"dz has shape \(3, 2, 1\)"):
        masked.backward(batch_norm, x.reshape(3, 2, 1), cache, after)


@pytest.mark.frameworks
def test_against_keras(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where it is right: it divides by M + 1e-7 for M, and normalises padded steps, whose gradients are 0 here.

    eq: masked-forward, masked-backward
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras does not run on PyTorch here")
    rng, config = np.random.default_rng(0), batch_norm.Config(eps=1e-2, decay=0.9)
    gamma, beta = (a.astype(np.float32) for a in parameters(rng, SHAPE[-1]))
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-2)
    layer.build(SHAPE)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    state = batch_norm.init(SHAPE[-1], config, dtype=np.float32)
    for _ in range(STEPS):
        mask = padded(rng)
        x, dz = (np.nan_to_num(a).astype(np.float32) for a in drawn(rng, mask))
        z, cache, state = masked.forward(batch_norm, x, mask, gamma, beta, state, config)
        dx, *_, state = masked.backward(batch_norm, dz, cache, state)
        x_ = torch.tensor(x, requires_grad=True)
        z_ = layer(x_, training=True, mask=torch.tensor(mask))
        z_.backward(torch.tensor(dz))
        inferred = masked.infer(batch_norm, x, mask, gamma, beta, state, config)
        found = layer(x_, training=False, mask=torch.tensor(mask)).detach().numpy()
        for ours, theirs in ((z, z_.detach().numpy()), (dx, x_.grad.numpy()), (inferred, found)):
            np.testing.assert_allclose(ours[mask], theirs[mask], rtol=1e-4, atol=1e-5)
        for kept, variable in ((state.mean, layer.moving_mean), (state.var, layer.moving_variance)):
            np.testing.assert_allclose(kept, variable.value.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert not x_.grad.numpy()[~mask].any()
