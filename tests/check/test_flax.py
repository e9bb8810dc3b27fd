"""The adapters of Flax, and of plain functions of JAX."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check
from mabn_ref.check.adapters import adapt
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import inputs, parameters
from mabn_ref.norms import batch_norm, mabn
from tests.check.agreement import SCENARIO, agree

pytestmark = pytest.mark.frameworks
SINGLE = replace(SCENARIO, dtype="float32")


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="JAX is not installed")


@pytest.fixture
def flax() -> Any:
    for module in ("flax.linen", "flax.nnx"):
        pytest.importorskip(module, reason="Flax is not installed")
    return pytest.importorskip("flax", reason="Flax is not installed")


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_batch_norm_is_ours(flax: Any, kind: str) -> None:
    """Biased, the old value's weight called momentum, and float32 at the start only."""
    target = adapt(getattr(flax, kind).BatchNorm)
    found = agree(target, adapt(batch_norm), "bn", SCENARIO, (2,), 1e-12)
    ours = observe(adapt(batch_norm), "bn", SCENARIO, (2,))
    for name in ("mean", "var"):
        state = next(values for path, values in found.states.items() if path.endswith(name))
        np.testing.assert_allclose(state, ours.states[name], rtol=1e-12)
    assert target.given == {"eps", "decay"}
    assert target.defaults == {"eps": 1e-5, "decay": 0.99}


def test_it_is_recognised_by_name(flax: Any) -> None:
    report = check(flax.linen.BatchNorm, "bn", norm_batch=4, short=True, extra={"use_fast_variance": False})
    assert report.conforms, str(report)
    assert report.preset == "Flax"


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_arguments_of_the_call_are_asked_for_and_given(flax: Any, kind: str) -> None:
    class Linen(flax.linen.BatchNorm):  # type: ignore[name-defined,misc]
        def __call__(self, x: Any, learning: bool, scale: float) -> Any:
            return scale * super().__call__(x, use_running_average=not learning)

    class Nnx(flax.nnx.BatchNorm):  # type: ignore[name-defined,misc]
        def __call__(self, x: Any, learning: bool, scale: float) -> Any:
            return scale * super().__call__(x, use_running_average=not learning)

    own = {"linen": Linen, "nnx": Nnx}[kind]
    assert "needs the argument 'learning'" in observe(adapt(own), "bn", SCENARIO, (3,)).failure
    found = observe(adapt(own, call={"learning": "training", "scale": 2.0}), "bn", SCENARIO, (3,))
    plain = observe(adapt(getattr(flax, kind).BatchNorm), "bn", SCENARIO, (3,))
    assert found.failure == ""
    for name in ("z", "dx", "inferred"):
        np.testing.assert_allclose(found.values[name][0], 2 * plain.values[name][0])


def test_arguments_of_a_pure_function_are_given(jax: Any) -> None:
    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, *, scale: float = 1.0) -> Any:
        return scale * gamma * x + beta, state

    pure = SimpleNamespace(init=lambda channels: {}, apply=apply)
    found, plain = (observe(adapt(pure, call=call), "bn", SCENARIO, ()) for call in ({"scale": 2.0}, None))
    np.testing.assert_allclose(found.values["dx"][0], 2 * plain.values["dx"][0])


def test_keywords_of_a_pure_function_go_to_the_one_that_takes_them(jax: Any) -> None:
    def init(channels: int, size: float) -> Any:
        return {"size": jax.numpy.ones(channels) * size}

    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, *, scale: float = 1.0) -> Any:
        return scale * state["size"] * gamma * x + beta, state

    target = adapt(SimpleNamespace(init=init, apply=apply), {"size": 3.0, "scale": 2.0})
    found = observe(target, "bn", SCENARIO, ())
    one = observe(adapt(SimpleNamespace(init=init, apply=apply), {"size": 1.0}), "bn", SCENARIO, ())
    np.testing.assert_allclose(found.values["dx"][0], 6 * one.values["dx"][0], rtol=1e-6)
    assert (
        "unexpected keyword argument 'nope'"
        in observe(
            adapt(SimpleNamespace(init=init, apply=apply), {"size": 1.0, "nope": 1}), "bn", SCENARIO, ()
        ).failure
    )


def test_its_default_takes_the_variance_in_one_pass(flax: Any) -> None:
    report = check(flax.linen.BatchNorm, "bn", norm_batch=4, short=True)
    assert report.mistakes == ["one-pass-variance"], str(report)
    assert report.understood


def test_a_number_of_python_in_the_state(flax: Any) -> None:
    linen = flax.linen

    class Counting(linen.Module):  # type: ignore[name-defined,misc]
        @linen.compact
        def __call__(self, x: Any, train: bool) -> Any:
            steps = self.variable("kept", "steps", lambda: 0)
            if train:
                steps.value += 1
            return x * self.param("scale", linen.initializers.ones, (x.shape[-1],))

    target = adapt(Counting)
    assert observe(target, "bn", SCENARIO, ()).failure == ""
    aged = replace(SCENARIO, age=700)
    assert [int(n) for n in observe(target, "bn", aged, ()).states["kept/steps"]] == [1, 701, 702, 703]


def test_float32_stays_float32(flax: Any) -> None:
    found = agree(adapt(flax.nnx.BatchNorm), adapt(batch_norm), "bn", SINGLE, (), 1e-5)
    assert {array.dtype for arrays in found.values.values() for array in arrays} == {np.dtype("float32")}
    assert found.notes == []


@pytest.mark.parametrize("source", ["instance", "function", "no parameters"])
def test_an_instance_and_a_function_are_the_same_layer(flax: Any, source: str) -> None:
    plain = {"momentum": 0.75, "epsilon": 0.1}
    linen, nnx = flax.linen, flax.nnx
    sources = {
        "instance": [linen.BatchNorm(**plain), nnx.BatchNorm(5, rngs=nnx.Rngs(0), **plain)],
        "function": [lambda c: linen.BatchNorm(**plain), lambda c: nnx.BatchNorm(c, rngs=nnx.Rngs(0), **plain)],
        "no parameters": [lambda c: linen.BatchNorm(use_scale=False, use_bias=False, **plain)],
    }
    for thing in sources[source]:
        agree(adapt(thing), adapt(batch_norm), "bn", SCENARIO, (2,), 1e-12)


def test_a_module_of_ones_own(flax: Any) -> None:
    """The number of channels first, a flag of another name, a scale alone, a count."""
    linen, jnp = flax.linen, pytest.importorskip("jax.numpy")

    class Own(linen.Module):  # type: ignore[name-defined,misc]
        features: int
        decay: float = 0.5

        @linen.compact
        def __call__(self, x: Any, train: bool) -> Any:
            scale = self.param("scale", linen.initializers.ones, (self.features,))
            steps, n, size = (
                self.variable("kept", name, lambda: jnp.zeros((), int)) for name in ("steps", "n", "size")
            )
            begun = self.variable("kept", "begun", lambda: jnp.zeros((), bool))
            if train:
                begun.value = jnp.ones((), bool)
                steps.value, n.value, size.value = steps.value + 1, n.value + 1, size.value + len(x)
            return x * scale * self.decay

    target = adapt(Own)
    found = observe(target, "bn", SCENARIO, ())
    assert found.failure == ""
    assert set(found.values) == {"z", "dx", "dgamma", "inferred"}
    assert [int(n) for n in found.states["kept/steps"]] == [1, 2, 3, 4]
    layer = target.make(5, batch_norm.Config())
    target.forward(layer, np.ones((2, 5)), np.ones(5), np.ones(5), True)
    target.age(layer, 700)
    assert target.state(layer) == {"kept/steps": 700, "kept/n": 700, "kept/size": 2, "kept/begun": True}


def _mabn(jax: Any) -> SimpleNamespace:
    """MABN as two functions; backward hands over the new window of Psi as its gradient."""
    jnp = jax.numpy

    def average(window: Any, value: Any, seen: Any) -> tuple[Any, Any]:
        window = jnp.concatenate([window[1:], value[None]])
        return window.sum(0) / jnp.minimum(seen + 1, len(window)), window

    @jax.custom_vjp
    def normalise(x: Any, scale: Any, chi: Any, psi: Any, seen: Any) -> Any:
        return scale * x / chi

    def forward(x: Any, scale: Any, chi: Any, psi: Any, seen: Any) -> Any:
        return normalise(x, scale, chi, psi, seen), (x / chi, scale, chi, psi, seen)

    def backward(kept: Any, dz: Any) -> Any:
        y, scale, chi, psi, seen = kept
        dy, axes = dz * scale, tuple(range(y.ndim - 1))
        mean, psi = average(psi, jnp.mean(y * dy, axes), seen)
        return (dy - y * mean) / chi, jnp.sum(dz * y, axes), jnp.zeros_like(chi), psi, jnp.zeros_like(seen)

    normalise.defvjp(forward, backward)

    def init(channels: int, window: int) -> dict[str, Any]:
        one, empty = jnp.ones(channels), jnp.zeros((window, channels))
        later = {"psi": empty}
        return {"chi2": one, "chi2_window": empty, "seen": jnp.zeros(()), "_overwrite_with_gradient": later}

    def apply(
        x: Any, gamma: Any, beta: Any, state: Any, training: bool, eps: float, decay: float, clip: float
    ) -> Any:
        if not training:
            return gamma * x / jnp.sqrt(state["chi2"] + eps) + beta, state
        psi, stop = state["_overwrite_with_gradient"]["psi"], jax.lax.stop_gradient
        batch = stop(jnp.mean(x**2, tuple(range(x.ndim - 1))))
        chi2, window = average(state["chi2_window"], batch, state["seen"])
        chi = jnp.sqrt(chi2 + eps)
        r = jnp.clip(chi / jnp.sqrt(state["chi2"] + eps), 1 / clip, clip)
        z = normalise(x, gamma * r, chi, psi, state["seen"]) + beta
        fed = decay * state["chi2"] + (1 - decay) * batch
        return z, state | {"chi2": fed, "chi2_window": window, "seen": state["seen"] + 1}

    return SimpleNamespace(init=init, apply=apply)


def test_mabn_of_two_functions_of_jax(jax: Any) -> None:
    scenario = replace(SCENARIO, steps=7, settings={"decay": 0.75, "eps": 0.1, "window": 3, "clip": 1.2})
    target = adapt(_mabn(jax))
    found = agree(target, adapt(mabn), "mabn", scenario, (2,), 1e-12)
    ours = observe(adapt(mabn), "mabn", scenario, (2,))
    np.testing.assert_allclose(found.states["_overwrite_with_gradient/psi"], ours.states["psi_window"], rtol=1e-12)
    assert target.given == {"eps", "decay", "window", "clip"}
    assert not jax.config.jax_enable_x64


def test_functions_that_look_at_values_are_not_compiled(jax: Any) -> None:
    def init(channels: int) -> Any:
        return jax.numpy.zeros(())

    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, slope: float = 2.0) -> Any:
        return (gamma * x if state < 2 else slope * gamma * x), state + 1

    target = adapt(SimpleNamespace(init=init, apply=apply), {"slope": 3.0})
    found = observe(target, "bn", SCENARIO, ())
    assert found.failure == ""
    late, early = found.values["dx"][2], found.values["dx"][1]
    (_, first), (_, second) = list(inputs(SCENARIO, ()))[1:3]
    np.testing.assert_allclose(early, parameters(1)[0] * first)
    np.testing.assert_allclose(late, 3 * parameters(2)[0] * second)
