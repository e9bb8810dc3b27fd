"""The Keras adapter, on PyTorch and once on JAX."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check
from mabn_ref.check.adapters import adapt
from mabn_ref.check.observe import observe
from mabn_ref.check.scenarios import inputs
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm, batch_renorm
from tests.check.agreement import SCENARIO, agree

pytestmark = pytest.mark.frameworks
RENORM = replace(SCENARIO, steps=6, settings={"decay": 0.75, "eps": 0.1, "r_max": 1.3, "d_max": 0.4})


@pytest.fixture
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keras writes a file into the home directory when it is imported, and takes its backend once."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is not installed")


class RootOfOne(FunctionsTarget):
    """Ours, with a moving sigma that starts at 1; elsewhere it is sqrt(1 + eps)."""

    def make(self, channels: int, config: Any) -> Any:
        layer = super().make(channels, config)
        state = batch_renorm.init(channels, config, dtype=np.float64)
        layer.state = state._replace(var=state.var - config.eps)
        return layer


def test_arguments_of_the_call_are_asked_for_and_given(keras: Any) -> None:
    class Told(keras.layers.BatchNormalization):  # type: ignore[name-defined,misc]
        def call(self, inputs: Any, learning: bool, scale: float) -> Any:
            return scale * super().call(inputs, training=learning)

    assert "Told.call needs the argument 'learning'" in observe(adapt(Told), "bn", SCENARIO, (3,)).failure
    found = observe(adapt(Told, call={"learning": "training", "scale": 2.0}), "bn", SCENARIO, (3,))
    plain = observe(adapt(keras.layers.BatchNormalization), "bn", SCENARIO, (3,))
    assert found.failure == ""
    for name in ("z", "dx", "inferred"):
        np.testing.assert_allclose(found.values[name][0], 2 * plain.values[name][0], rtol=1e-6)


def test_batch_normalization_is_ours(keras: Any) -> None:
    """Biased, the old value's weight called momentum."""
    target = adapt(keras.layers.BatchNormalization)
    found = agree(target, adapt(batch_norm), "bn", SCENARIO, (2, 3), 1e-5)
    ours = observe(adapt(batch_norm), "bn", SCENARIO, (2, 3))
    for name, our_name in (("moving_mean", "mean"), ("moving_variance", "var")):
        np.testing.assert_allclose(found.states[name], ours.states[our_name], rtol=1e-5, atol=1e-5)
    assert target.given == {"eps", "decay"}
    assert target.defaults == {"eps": 1e-3, "decay": 0.99}
    assert "z is float32 where x is float64" in found.notes


def test_renorm_is_ours_from_another_start(keras: Any) -> None:
    """Without being told: what is to be Batch Renormalization gets renorm=True and its bounds."""
    target = adapt(keras.layers.BatchNormalization)
    found = agree(target, RootOfOne(batch_renorm), "brn", RENORM, (2,), 1e-5)
    ours = observe(RootOfOne(batch_renorm), "brn", RENORM, (2,))
    np.testing.assert_allclose(found.states["renorm_mean"], ours.states["mean"], rtol=1e-5, atol=1e-5)
    sigma = np.sqrt(np.stack(ours.states["var"]) + 0.1)
    for name in ("renorm_stddev", "moving_stddev"):
        np.testing.assert_allclose(found.states[name], sigma, rtol=1e-5)
    assert target.given == {"eps", "decay", "r_max", "d_max"}
    wrong = observe(adapt(batch_renorm), "brn", RENORM, (2,))
    assert np.max(np.abs(wrong.values["z"][0] - found.values["z"][0])) > 1e-3


@pytest.mark.parametrize(("norm", "preset"), [("bn", "Keras 3"), ("brn", "Keras 3 with renorm")])
def test_it_is_recognised_by_name(keras: Any, norm: str, preset: str) -> None:
    report = check(keras.layers.BatchNormalization, norm, norm_batch=4, short=True)
    x = (8192 + np.random.default_rng(0).standard_normal((64, 1))).astype(np.float32)
    variance = float(keras.ops.moments(keras.ops.convert_to_tensor(x), axes=(0,))[1][0])
    # Of some backends the variance is E[x^2] - E[x]^2.
    lost = not abs(variance / x.astype(np.float64).var() - 1) < 0.01
    assert report.mistakes == (["one-pass-variance"] if lost else []), str(report)
    assert report.understood
    assert report.conforms is not lost
    assert report.preset == preset


def test_the_backend_of_jax_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("jax", "keras"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "wrapped.py").write_text(
        "import keras\n\n\nclass Wrapped(keras.layers.Layer):\n"
        "    def build(self, shape):\n"
        "        self.norm = keras.layers.BatchNormalization()\n"
        "        self.norm.build(shape)\n\n"
        "    def call(self, x):  # the layer inside is told of training all the same\n"
        "        return self.norm(x)\n"
    )
    report = check(f"{tmp_path / 'wrapped.py'}:Wrapped", "bn", norm_batch=4, short=True)
    assert report.conforms, str(report)
    assert report.preset == "Keras 3"


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_the_want_of_a_backend_is_named(keras: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="set the environment variable KERAS_BACKEND to torch or jax"):
        check("keras.layers:BatchNormalization", "bn", short=True)


@pytest.mark.parametrize("source", ["instance", "function"])
def test_an_instance_and_a_function_are_the_same_layer(keras: Any, source: str) -> None:
    def make(channels: int = 5) -> Any:
        return keras.layers.BatchNormalization(momentum=0.75, epsilon=0.1)

    agree(adapt(make if source == "function" else make()), adapt(batch_norm), "bn", SCENARIO, (2,), 1e-5)


def test_a_layer_of_ones_own(keras: Any) -> None:
    """The number of channels first, a scale alone, a count."""

    class Own(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int, decay: float = 0.5) -> None:
            super().__init__()
            self.decay = decay
            self.gamma = self.add_weight(shape=(1, channels), name="gamma")
            self.steps = self.add_weight(shape=(), dtype="int32", trainable=False, name="steps")
            self.n = self.add_weight(shape=(), dtype="int32", trainable=False, name="n")

        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                self.steps.assign(self.steps + 1)
                self.n.assign(self.n + 1)
            return x * self.gamma * self.decay

    target = adapt(Own)
    found = observe(target, "bn", SCENARIO, ())
    assert found.failure == ""
    assert set(found.values) == {"z", "dx", "dgamma", "inferred"}
    (x, dz), *_ = inputs(SCENARIO, ())
    np.testing.assert_allclose(found.values["dgamma"][0], 0.75 * np.sum(dz * x, axis=0), rtol=1e-5)
    assert [int(n) for n in found.states["steps"]] == [1, 2, 3, 4]
    layer = target.make(5, batch_norm.Config())
    target.forward(layer, x, np.ones(5), np.ones(5), True)
    target.age(layer, 700)
    assert target.state(layer) == {"steps": 700, "n": 700}


def test_a_backend_that_does_not_differentiate_is_refused(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(TypeError, match="the backend of Keras is 'numpy', expected one of torch, jax, tensorflow"):
        adapt(keras.layers.BatchNormalization)
