"""Networks as ONNX files: ONNX Runtime gives the logits of `network.infer`; what cannot be written says so."""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.nn import dynamic_erf, dynamic_tanh, network, networks
from mabn_ref.nn.convert import Network
from mabn_ref.norms import NORMS, batch_norm, online_norm, rms_norm
from mabn_ref.norms.devices import on_devices
from mabn_ref.train import boxes, checkpoints, loop, tasks
from mabn_ref.train.config import RunConfig
from mabn_ref.train.export import to_onnx
from mabn_ref.train.runs import run_one

GROUPS = {"gn": {"groups": 2}, "ln": {"groups": 1}, "in": {"groups": None}}
SETTINGS = GROUPS | {"online": {"layer_scaling": False}}
FOLDED = [name for name in NORMS if hasattr(NORMS[name].module, "affine")]
SMALLEST = ["--epochs", "1", "--width", "4", "--train-size", "64", "--test-size", "20"]


def trained(make: Any, name: str, *, devices: int = 1, **settings: Any) -> tuple[Network, Any]:
    """A network whose states and parameters are not their start, and images."""
    rng = np.random.default_rng(0)
    own = {"norm_batch": 4} if name == "eval-norm" else SETTINGS.get(name, {})
    config = NORMS[name].module.Config(**NORMS[name].settings | own)
    module = on_devices(NORMS[name].module, devices)
    layers = make(module, config, width=4, **settings)
    params, states = network.init(layers, rng)
    for p in params:
        for key in p.keys() - {"w"}:
            p[key] = rng.uniform(0.5, 1.5, p[key].shape).astype(np.float32)
    x = rng.standard_normal((4, 24, 24, 3)).astype(np.float32)
    for _ in range(3):
        _, _, states = network.forward(layers, params, states, x)
    return Network(layers, params, states), x


def assert_same(net: Network, x: Any) -> list[str]:
    """Compare ONNX Runtime with `network.infer`, also for another size of images; return the kinds of nodes."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = to_onnx(net)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options)
    for images in (x, x[:1, :, :20]):
        (found,) = session.run(["logits"], {"images": np.transpose(images, (0, 3, 1, 2))})
        expected = network.infer(*net, images)
        if expected.ndim == 4:
            found = np.transpose(found, (0, 2, 3, 1))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    return [node.op_type for node in model.graph.node]


@pytest.mark.frameworks
@pytest.mark.parametrize("weights", [{}, {"centralized": True}, {"standardized": True}])
@pytest.mark.parametrize("make", [networks.small_network, networks.residual_network])
def test_batch_norm_and_mabn_are_folded(make: Any, weights: dict[str, bool]) -> None:
    """eq: fold, residual-forward, centralize-forward, standardize-forward"""
    pytest.importorskip("onnx", reason="onnx is not installed")
    for name in ("bn", "mabn"):
        kinds = assert_same(*trained(make, name, **weights))
        assert {"Mul", "GroupNormalization"}.isdisjoint(kinds)
        assert kinds.count("Conv") == (7 if make is networks.small_network else 9)
        assert kinds.count("Add") == (0 if make is networks.small_network else 3)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", [*FOLDED, *GROUPS])
def test_every_normaliser_that_can_be_written(name: str) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, x = trained(networks.small_network, name, devices=2, centralized=True)
    assert assert_same(net, x).count("GroupNormalization") == (7 if name in GROUPS else 0)


@pytest.mark.frameworks
def test_layers_of_other_networks() -> None:
    """Upsampling, a last convolution, biases, curves, and a normaliser that no convolution stands before."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, x = trained(tasks.encoder_decoder, "bn")
    assert assert_same(net, x)[-1] == "Conv"
    assert assert_same(*trained(boxes.detector, "bn"))[-1] == "Add"
    layers = [
        network.Conv("conv", 3, 4),
        network.Bias("bias", 4, (1.0, -1.0, 0.5, 0.0)),
        network.ReLU("relu"),
        network.Norm("norm", batch_norm, 4, batch_norm.Config()),
        network.Curve("tanh", dynamic_tanh, 4),
        network.Curve("erf", dynamic_erf, 4),
        network.GlobalAveragePool("pool"),
        network.Norm("flat", batch_norm, 4, batch_norm.Config()),
        network.Linear("linear", 4, 2),
    ]
    params, states = network.init(layers, np.random.default_rng(0))
    params[5]["s"][:] = 0.25
    _, _, states = network.forward(layers, params, states, x)
    kinds = assert_same(Network(layers, params, states), x)
    assert (kinds.count("Mul"), kinds.count("Add")) == (6, 6)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", [name for name in NORMS if name not in (*FOLDED, *GROUPS)])
def test_what_cannot_be_written_is_named(name: str) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, _ = trained(networks.small_network, name)
    with pytest.raises(ValueError, match=f"norm1 is {NORMS[name].title}, which is not linear at inference"):
        to_onnx(net)


@pytest.mark.frameworks
def test_a_normaliser_of_ones_own_is_named_by_its_module() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    own = types.ModuleType("some.own_norm")
    vars(own).update({name: getattr(rms_norm, name) for name in ("init", "forward", "infer")})
    layers = networks.small_network(own, rms_norm.Config(axes="channels"), width=4)
    net = Network(layers, *network.init(layers, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="norm1 is own_norm, which is not linear at inference"):
        to_onnx(net)


@pytest.mark.frameworks
def test_a_normaliser_that_is_not_linear_as_it_is_set_is_named() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    layers = networks.small_network(online_norm, online_norm.Config(), width=4)
    net = Network(layers, *network.init(layers, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="norm1: layer_scaling is True, expected False: with it inference is not"):
        to_onnx(net)


@pytest.mark.frameworks
def test_a_network_that_ends_with_the_pool() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    layers = [network.Conv("conv", 3, 4), network.GlobalAveragePool("pool")]
    net = Network(layers, *network.init(layers, np.random.default_rng(0)))
    x = np.random.default_rng(1).standard_normal((4, 24, 24, 3)).astype(np.float32)
    assert assert_same(net, x) == ["Conv", "GlobalAveragePool", "Flatten"]


@pytest.mark.frameworks
def test_a_network_that_begins_without_a_convolution() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    layers = [network.GlobalAveragePool("pool"), network.Linear("linear", 3, 2)]
    with pytest.raises(ValueError, match="the first layer is pool, expected a convolution"):
        to_onnx(Network(layers, *network.init(layers, np.random.default_rng(0))))


@pytest.mark.frameworks
def test_layers_are_not_named_as_the_models_input_and_output() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")

    def of_layers(second: str, last: str) -> Network:
        layers = [network.Conv("conv", 3, 4), network.ReLU(second)]
        layers += [network.GlobalAveragePool("pool"), network.Linear(last, 4, 2)]
        return Network(layers, *network.init(layers, np.random.default_rng(0)))

    to_onnx(of_layers("relu", "logits"))
    for name in ("logits", "images"):
        with pytest.raises(ValueError, match=f"a layer is named '{name}'"):
            to_onnx(of_layers(name, "linear"))


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (tasks.PIXELS, {}),
        (tasks.BOXES, {}),
        (tasks.BOXES, {"heads": True, "devices": 2}),
        (tasks.CLASSES, {"network": "resnet8"}),
    ],
)
def test_a_checkpoint_of_every_task_gives_its_network(task: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    small = {"width": 2, "epochs": 1, "gradient_batch": 4, "train_size": 12, "test_size": 12, "augment": False}
    config, ends = RunConfig(norm="bn", **small | settings), []
    path = tmp_path / "run.npz"
    run_one(config, task=task, checkpoint=path, watched=lambda setup, progress: ends.append((setup, progress)))
    setup, end = ends[-1]
    theirs, net = checkpoints.load_network(path)
    assert theirs == config
    assert [layer.name for layer in net.layers] == [layer.name for layer in setup.layers]
    found = checkpoints.named({"params": net.params, "states": net.states})
    expected = checkpoints.named({"params": end.params, "states": end.states})
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)
    x = loop.to_input(setup, setup.images.test.images)
    assert np.array_equal(network.infer(*net, x), network.infer(setup.layers, end.params, end.states, x))


@pytest.mark.frameworks
def test_the_command_writes_a_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    small = {"width": 2, "epochs": 1, "gradient_batch": 4, "train_size": 8, "test_size": 4, "augment": False}
    run_one(RunConfig(norm="bn", **small), task=tasks.BOXES, checkpoint=tmp_path / "run.npz")
    assert main(["export", str(tmp_path / "run.npz"), str(tmp_path / "net.onnx")]) == 0
    assert "19 layers as " in capsys.readouterr().out


@pytest.mark.frameworks
@pytest.mark.parametrize("arguments", [["--norm", "mabn"], ["--norm", "bn", "--network", "resnet8"]])
def test_the_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the script of the page that runs what it wrote."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    checkpoint, file = str(tmp_path / "run.npz"), str(tmp_path / "net.onnx")
    assert main(["train", *arguments, *SMALLEST, "--checkpoint", checkpoint]) == 0
    before = Path(checkpoint).read_bytes()
    capsys.readouterr()
    assert main(["export", checkpoint, file]) == 0
    assert "layers as" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(Path(__file__).parents[2] / "docs" / "howto" / "run_onnx.py"))
    right, off = capsys.readouterr().out.split()
    assert 0 <= int(right) <= 20
    assert float(off) <= 1e-4
    session = runtime.InferenceSession(file)
    assert session.run(None, {"images": np.zeros((2, 3, 32, 32), dtype=np.float32)})[0].shape == (2, 10)
    assert main(["export", file, checkpoint]) == 2
    assert "expected a name that ends in .onnx" in capsys.readouterr().err
    assert main(["export", file, file]) == 2
    assert "net.onnx' is the checkpoint, expected another name" in capsys.readouterr().err
    assert Path(checkpoint).read_bytes() == before
    (tmp_path / "folder.onnx").mkdir()
    assert main(["export", checkpoint, str(tmp_path / "folder.onnx")]) == 1
    assert "folder.onnx" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "net.onnx", "run.npz"]


@pytest.mark.frameworks
def test_the_command_names_a_normaliser_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    checkpoint, file = str(tmp_path / "run.npz"), tmp_path / "net.onnx"
    assert main(["train", "--norm", "frn", *SMALLEST, "--checkpoint", checkpoint]) == 0
    capsys.readouterr()
    assert main(["export", checkpoint, str(file)]) == 2
    assert capsys.readouterr().err.startswith("mabn-ref export: error: norm1 is FRN, which is not linear")
    assert not file.exists()


def test_without_onnx_the_extra_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "net.onnx")]) == 1
    assert capsys.readouterr().err == 'mabn-ref export: error: onnx is not installed: pip install "mabn_ref[onnx]"\n'
    assert not list(tmp_path.iterdir())
