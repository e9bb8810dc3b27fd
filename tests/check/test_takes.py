"""What people have: layers of any width, on any axis, in any dress; and files as pytest takes them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check, check_layer
from mabn_ref.check.adapters import adapt, load
from mabn_ref.check.adapters.arguments import Constructed
from mabn_ref.check.inquire import inquire
from mabn_ref.check.observe import observe
from mabn_ref.check.report import Report
from mabn_ref.check.scenarios import Scenario, scenarios
from mabn_ref.cli import main
from mabn_ref.norms import batch_norm
from tests.check.judging import sentences
from tests.check.test_behaviour import found, layers

SCENARIO = Scenario(name="", norm_batch=4, steps=3, settings={"decay": 0.75, "eps": 0.1})
SHORT = {"norm_batch": 4, "short": True}


@pytest.mark.parametrize("path", ["layers_of_mine.py:Norm", "./layers_of_mine.py:Norm", "./layers_of_mine:Norm"])
def test_a_file_is_taken_as_pytest_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "layers_of_mine.py").write_text("from beside import Norm\n")
    (tmp_path / "beside.py").write_text("class Norm: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("layers_of_mine", "beside"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    assert load(path).__name__ == "Norm"


@pytest.mark.skipif(sys.platform == "win32", reason="makes a file whose name has a colon")
@pytest.mark.parametrize("file", ["C:\\norms_of_mine.py", "d:/norms_of_mine.py"])
def test_the_colon_of_a_drive_belongs_to_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("class Norm: ...\n")
    assert load(f"{file}:Norm").__name__ == "Norm"
    with pytest.raises(ValueError, match=r"there is no file .*nowhere"):
        load(f"{file.replace('norms_of_mine', 'nowhere')}:Norm")


def test_a_file_in_a_package_may_import_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("")
    (tmp_path / "package_of_mine" / "one.py").write_text("from .two import Norm\n")
    (tmp_path / "package_of_mine" / "two.py").write_text("class Norm: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("package_of_mine/one.py:Norm").__module__ == "package_of_mine.two"


def test_a_file_that_is_not_there_or_not_python_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_of_mine.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"there is no file .*nowhere\.py"):
        load("nowhere.py:Norm")
    with pytest.raises(ValueError, match=r"broken_of_mine\.py, line 2: "):
        load("broken_of_mine.py:Norm")


def test_the_template_is_written_once_and_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "template_of_mine.py"
    assert main(["check", "--template", str(path)]) == 0
    assert main(["check", "--template", str(path)]) == 2
    assert "exists, expected the name of a new file" in capsys.readouterr().err
    report = check(load(str(path)), "bn", **SHORT)
    assert report.conforms, str(report)


def test_the_template_has_a_name_that_the_check_takes_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--template", "template_of_mine.py", "numpy:array"]) == 2
    assert "argument TARGET: 'numpy:array' is not allowed with --template" in capsys.readouterr().err
    assert main(["check", "--template", "template_of_mine"]) == 2
    assert "--template: 'template_of_mine', expected a name that ends in .py" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_template_on_a_full_disk_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not as an error of standard output; and nothing is left that a second try would take for a template."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = tmp_path / "template_of_mine.py"
    assert main(["check", "--template", str(path)]) == 1
    assert capsys.readouterr().err == f"mabn-ref check: error: {path}: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_a_target_and_a_norm_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "some.module:Norm"]) == 2
    assert "the following arguments are required: --as" in capsys.readouterr().err


def test_an_axis_or_an_argument_of_the_call_is_refused_where_there_is_none() -> None:
    with pytest.raises(TypeError, match="axis is 1, but FunctionsTarget takes none: arrays are channels last"):
        adapt(batch_norm, axis=1)
    with pytest.raises(TypeError, match="'mask': None}, but FunctionsTarget takes none: its"):
        adapt(batch_norm, call={"mask": None})


@pytest.mark.parametrize("norm", ["bn", "modified-bn", "mabn"])
def test_several_normalisation_batches_in_every_call(norm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They crashed where the errors in float32 were measured."""
    path = f"mabn_ref.norms:{ {'bn': 'batch_norm', 'modified-bn': 'modified_batch_norm'}.get(norm, norm) }"
    assert main(["check", path, "--as", norm, "--norm-batch", "2", "--groups", "3", "--short", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["conforms"]
    assert set(report["float32_ulps"]) == {"z", "dx"}


class Course:
    """Batch norm as courses write it: channels second, a cache of its own, dgamma an attribute."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Any, training: bool = True) -> Any:
        mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3))) if training else (self.running_mean, self.running_var)
        if training:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.inv = 1 / np.sqrt(var + self.eps)[:, None, None]
        self.xhat = (x - mean[:, None, None]) * self.inv
        return self.gamma[:, None, None] * self.xhat + self.beta[:, None, None]

    def backward(self, dout: Any) -> Any:
        self.dgamma, self.dbeta = (dout * self.xhat).sum((0, 2, 3)), dout.sum((0, 2, 3))
        dxhat = dout * self.gamma[:, None, None]
        g, psi = (a.mean((0, 2, 3), keepdims=True) for a in (dxhat, dxhat * self.xhat))
        return self.inv * (dxhat - g - self.xhat * psi)


class Doubled(Course):
    def backward(self, dout: Any) -> Any:
        dx = super().backward(dout)
        self.dgamma = 2 * self.dgamma
        return dx


def test_a_class_of_numpy_with_forward_and_backward() -> None:
    report = check(Course, "bn", **SHORT)
    assert report.conforms, str(report)
    assert set(report.rows[0].errors) == {"z", "state", "inferred", "dx", "dgamma", "dbeta"}
    assert list(report.ranks) == [4]
    assert "conforms on images; not run: (N, C), sequences and volumes" in sentences(report)
    assert {getattr(d, "tensor", d) for d in check(Doubled, "bn", **SHORT).differences} == {"dgamma"}


EPS = 2e-4


def _own_eps() -> float:
    return 4e-6


class Written(Course):
    """Its eps is one that nobody gave: here, a constant of this module, or what a function of this module returns."""

    place = ""

    def forward(self, x: Any, training: bool = True) -> Any:
        self.eps = {"here": 3e-6, "constant": EPS, "function": _own_eps()}[self.place]
        return super().forward(x, training)


@pytest.mark.parametrize(("place", "eps"), [("here", 3e-6), ("constant", 2e-4), ("function", 4e-6)])
@pytest.mark.parametrize("taken", [False, True], ids=["not taken", "not used"])
def test_a_number_that_stands_in_the_code_is_found(place: str, eps: float, taken: bool) -> None:
    class Norm(Written):
        def __init__(self, num_features: int, momentum: float = 0.9) -> None:
            super().__init__(num_features, momentum=momentum)

    report = check(type("Norm", (Written if taken else Norm,), {"place": place}), "bn", **SHORT)
    against = ", whatever it is given" if taken else ""
    assert [finding.words for finding in report.findings] == [f"eps is {eps:g}{against}."], str(report)
    assert (report.conforms, report.hyper.get("eps")) == (not taken, None if taken else eps)


class Placing(Course):
    """Its backward pass puts dx where it was told: into x, into dz, or nowhere."""

    place = ""

    def forward(self, x: Any, training: bool = True) -> Any:
        self.x = x
        return super().forward(x, training)

    def backward(self, dout: Any) -> Any:
        dx = super().backward(dout)
        place = {"x": self.x, "dz": dout}.get(self.place, np.empty_like(dx))
        place[...] = dx
        return place


@pytest.mark.parametrize("place", ["", "x", "dz"])
def test_a_class_of_numpy_that_overwrites_its_callers_arrays_in_backward_is_at_fault(place: str) -> None:
    kind, words = found(adapt(type("Placing", (Placing,), {"place": place}), axis=1))["input kept"]
    assert (kind == "fault", f"({place} in backward" in words) == (bool(place), bool(place))


class Averaging(Course):
    """It divides dgamma, dbeta or both."""

    divided: tuple[str, ...] = ()
    over = "values"

    def backward(self, dout: Any) -> Any:
        dx = super().backward(dout)
        for name in self.divided:
            setattr(self, name, getattr(self, name) / (len(dout) if self.over == "samples" else dout[:, 0].size))
        return dx


@pytest.mark.parametrize(
    ("divided", "over"),
    [(("dgamma",), "values"), (("dbeta",), "values"), (("dbeta",), "samples"), (("dgamma", "dbeta"), "samples")],
)
def test_which_gradient_is_a_mean_is_said_and_over_what(divided: tuple[str, ...], over: str) -> None:
    report = check(type("Averaging", (Averaging,), {"divided": divided, "over": over}), "bn", **SHORT)
    assert report.mistakes == ["bn-parameter-means"]
    of = "the samples" if over == "samples" else "the values of a channel"
    assert [finding.words for finding in report.findings] == [
        f"Your {name} is a mean over {of}; every value used {name[1:]}, so it must be a sum." for name in divided
    ], str(report)
    assert not report.differences


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.frameworks
def test_an_instance_has_its_own_width(torch: Any) -> None:
    nn = torch.nn
    for layer, norm in ((nn.BatchNorm2d(16), "bn"), (nn.GroupNorm(4, 16), "gn"), (nn.LayerNorm(16), "ln")):
        report = check(layer, norm, **SHORT)
        assert report.conforms, str(report)
        assert report.hyper.get("groups") == (4 if norm == "gn" else None)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["BatchNorm3d", "LazyBatchNorm2d"])
def test_layers_of_pytorch_that_used_not_to_run(torch: Any, name: str) -> None:
    report = check(getattr(torch.nn, name), "bn", **SHORT)
    assert report.conforms, str(report)
    assert list(report.ranks) == [5 if "3d" in name else 4]


def test_a_hyper_parameter_that_comes_first_is_not_the_number_of_channels() -> None:
    """Such a layer sees its channels in the first call."""
    seen = []

    class Late:
        def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
            seen.append((eps, momentum))

    class Wide:
        def __init__(self, width: int = 8, eps: float = 1e-5) -> None:
            seen.append((width, eps))

    for kind in (Late, Wide):
        make = Constructed(kind).constructor(batch_norm.Config(eps=0.25, decay=0.75), {}, channels_first=True)
        make(5)
    assert seen == [(0.25, 0.25), (5, 0.25)]  # a momentum of 0.1 is the weight of the new value


@pytest.mark.frameworks
def test_the_axis_is_found_out(torch: Any) -> None:
    class Second(torch.nn.LayerNorm):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Last(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)

    for kind, norm, axis in ((Second, "ln", 1), (Last, "bn", -1), (torch.nn.BatchNorm2d, "bn", 1)):
        target = adapt(kind)
        about = inquire(target, norm, scenarios(norm, norm_batch=4)[0])
        assert about.axis == axis
        assert not about.refused[4]


@pytest.mark.frameworks
def test_no_moving_statistics_as_asked_for(torch: Any) -> None:
    off: dict[str, Any] = {"track_running_stats": False}
    kind = torch.nn.BatchNorm2d
    for source, extra in ((kind, off), (kind(5, **off), {}), (lambda channels: kind(channels, **off), {})):
        report = check(source, "bn", extra=extra, **SHORT)
        assert report.conforms, str(report)
        assert any("track_running_stats=False" in finding.words for finding in report.findings)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("alpha", lambda channels, eps=1e-5, alpha=0.1: Course(channels, eps, 1 - alpha)),
        ("decay", lambda channels, eps=1e-5, decay=0.1: Course(channels, eps, 1 - decay)),
        ("momentum", lambda channels, eps=1e-5, momentum=0.1: Course(channels, eps, 1 - momentum)),
        ("alpha", lambda channels, eps=1e-5, alpha=0.9: Course(channels, eps, alpha)),
    ],
)
def test_the_default_of_an_average_weight_says_whose_it_is(name: str, make: Any) -> None:
    for extra in ({}, {name: 0.2}):
        report = check(make, "bn", extra=extra, **SHORT)
        assert report.conforms, str(report)


@pytest.mark.frameworks
@pytest.mark.parametrize("names", [("weight", "bias"), ("g", "b")])
def test_gamma_may_be_one_more_than_what_is_kept(torch: Any, names: tuple[str, str]) -> None:
    class Centred(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            for name in reversed(names):
                setattr(self, name, torch.nn.Parameter(torch.zeros(channels)))
            self.norm = torch.nn.BatchNorm1d(channels, eps=0.1, momentum=0.25, affine=False)

        def forward(self, x: Any) -> Any:
            scale, shift = (getattr(self, name)[:, None] for name in names)
            return self.norm(x) * (1 + scale) + shift

    found = observe(adapt(Centred), "bn", SCENARIO, (3,))
    expected = observe(adapt(lambda c: torch.nn.BatchNorm1d(c, eps=0.1, momentum=0.25)), "bn", SCENARIO, (3,))
    for name in ("z", "dx", "dgamma", "dbeta", "inferred"):
        np.testing.assert_allclose(found.values[name], expected.values[name], rtol=1e-9, atol=1e-9)


@pytest.mark.frameworks
def test_a_scale_that_starts_at_zero_is_found_beside_a_shift_that_is_called_one(torch: Any) -> None:
    class Residual(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.more, self.shift = (torch.nn.Parameter(torch.zeros(channels)) for _ in range(2))

        def forward(self, x: Any) -> Any:
            y = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True)
            return y * (1 + self.more)[:, None] + self.shift[:, None]

    trace = observe(adapt(Residual), "bn", SCENARIO, (3,))
    assert {"dgamma", "dbeta"} <= set(trace.values)


@pytest.mark.frameworks
def test_the_mode_may_be_an_argument_of_the_call(torch: Any) -> None:
    class Told(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any, learning: bool, scale: float) -> Any:
            self.train(learning)
            return scale * super().forward(x)

    target = adapt(Told, call={"learning": "training", "scale": 2.0})
    found, plain = observe(target, "bn", SCENARIO, (3,)), observe(adapt(torch.nn.BatchNorm1d), "bn", SCENARIO, (3,))
    assert found.failure == ""
    np.testing.assert_allclose(found.values["inferred"][0], 2 * plain.values["inferred"][0])


def _told(forward: Any) -> Any:
    """`Course` with another forward pass, which gets it as a function."""

    class Told(Course):
        def run(self, x: Any, training: bool) -> Any:
            return Course.forward(self, x, training)

    Told.forward = forward  # type: ignore[method-assign]
    return Told


@pytest.mark.parametrize(
    ("forward", "call"),
    [
        (lambda self, x, training=True, *, step: self.run(x, training), {"step": 3}),
        (lambda self, x, *, training, step: self.run(x, training), {"step": "first"}),
        (lambda self, x, deterministic, mask=1: self.run(x, not deterministic), {"mask": None}),
        (lambda self, x, mode, step: self.run(x, mode == "train"), {"step": 3}),
        (lambda self, x, how, training=None: self.run(x, how and training is None), {"how": "training"}),
    ],
    ids=["a default", "keywords alone", "the other way round", "in words", "told under another name"],
)
def test_the_mode_is_known_by_its_name_beside_other_arguments_of_the_call(forward: Any, call: Any) -> None:
    report = check(_told(forward), "bn", call=call, **SHORT)
    assert report.conforms, str(report)


@pytest.mark.parametrize(
    ("forward", "call", "missing"),
    [
        (lambda self, x, mask, training=True: self.run(x, training), {}, "mask"),
        (lambda self, x, training=True, *, step: self.run(x, training), {}, "step"),
        (lambda self, x, step, how: self.run(x, how), {"step": 3}, "how"),
    ],
)
def test_an_argument_of_the_call_that_is_missing_is_asked_for(forward: Any, call: Any, missing: str) -> None:
    report = check(_told(forward), "bn", call=call, **SHORT)
    assert f"needs the argument {missing!r}, whose meaning is not known: pass it to every call (--call" in sentences(
        report
    )


@pytest.mark.frameworks
def test_a_module_of_pytorch_asks_for_an_argument_of_its_call_too(torch: Any) -> None:
    class Masked(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any, *, mask: Any) -> Any:
            return super().forward(x)

    assert "Masked.forward needs the argument 'mask'" in sentences(check(Masked, "bn", **SHORT))
    assert check(Masked, "bn", call={"mask": None}, **SHORT).conforms


def test_a_mode_that_is_given_as_a_constant_is_kept() -> None:
    kind = _told(lambda self, x, training: self.run(x, training))
    target: Any = adapt(kind, call={"training": True})
    assert target.call_keywords(kind(5).forward, False) == {"training": True}


@pytest.mark.frameworks
def test_what_the_user_asked_for_is_no_mistake(torch: Any) -> None:
    """Momentum is the new value's weight where its default is 0.1: the old one weighs 0.1, as asked."""
    report = check(torch.nn.BatchNorm1d(5, momentum=0.9), "bn", **SHORT)
    assert report.conforms, str(report)
    assert report.hyper["decay"] == pytest.approx(0.1)

    class OfTheOld(torch.nn.BatchNorm1d):  # type: ignore[misc]
        """Momentum is the old value's weight by its default, and the new one's by what is done with it."""

        def __init__(self, channels: int, momentum: float = 0.99) -> None:
            super().__init__(channels, momentum=momentum)

    report = check(OfTheOld(5, momentum=0.9), "bn", **SHORT)
    assert report.mistakes == ["bn-weights-swapped"], str(report)


@pytest.mark.frameworks
@pytest.mark.parametrize("counts", [True, False])
def test_a_layer_is_aged_by_what_counts_or_the_scenario_is_not_run(torch: Any, counts: bool) -> None:
    class Freezing(layers(torch)["Right"]):  # type: ignore[misc]
        """Its averages stop after 1000 steps, counted under a name that says nothing, or not at all."""

        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.seen = 0
            self.register_buffer("begun", torch.tensor(False))

        def update(self, mean: Any, var: Any) -> None:
            self.begun.fill_(True)
            self.seen += counts
            if self.seen <= 1000:
                super().update(mean, var)

    report = check(Freezing, "bn", **SHORT)
    assert report.conforms is not counts, str(report)
    if counts:
        assert any("no longer move late in training" in finding.words for finding in report.findings), str(report)
    else:
        assert "no count of iterations" in report.not_run["from iteration 150,000"]


@pytest.mark.frameworks
def test_what_else_a_layer_keeps_is_its_own_affair(torch: Any) -> None:
    class Keeping(layers(torch)["Right"]):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.register_buffer("last_var", torch.ones(channels))
            self.register_buffer("log_std", torch.zeros(channels))

        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, var)
            self.last_var.copy_(var.detach())
            self.log_std.copy_(self.running_var.log() / 2)

    class Logarithmic(layers(torch)["Right"]):  # type: ignore[misc]
        """It keeps the logarithm of the moving variance alone."""

        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            del self.running_var
            self.register_buffer("log_var", torch.zeros(channels))

        @property
        def running_var(self) -> Any:
            return self.log_var.exp()

        def update(self, mean: Any, var: Any) -> None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.log_var.copy_(((1 - self.momentum) * self.log_var.exp() + self.momentum * var).log())

    for kind in (Keeping, Logarithmic):
        report = check(kind, "bn", **SHORT)
        assert report.conforms, str(report)
    assert any("log_var: not a moving statistic, by its numbers" in note for note in report.notes)


class Moving:
    """It moves the channels, on axis 1, to the end itself, so that it runs with any axis."""

    def __init__(self, eps: float = 1e-5, exact: bool = True) -> None:
        self.gamma, self.beta = np.ones(5), np.zeros(5)
        self.mean, self.var = np.zeros(5), np.ones(5)
        self.eps, self.exact = eps, exact

    def rows(self, x: Any) -> Any:
        return np.moveaxis(x, 1, -1).reshape(-1, 5)

    def back(self, rows: Any, x: Any) -> Any:
        return np.moveaxis(rows.reshape(np.moveaxis(x, 1, -1).shape), -1, 1)

    def forward(self, x: Any, train: bool) -> Any:
        rows, mean, var = self.rows(x), self.mean, self.var
        if train:
            mean, var = rows.mean(0), rows.var(0)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
        self.std = np.sqrt(var + (self.eps if self.exact else 1e-3))
        self.y = (rows - mean) / self.std
        return self.back(self.gamma * self.y + self.beta, x)

    def backward(self, dz: Any) -> Any:
        rows = self.rows(dz)
        dy = rows * self.gamma
        dx = (dy - dy.mean(0) - self.y * (dy * self.y).mean(0)) / self.std
        return self.back(dx, dz), (rows * self.y).sum(0), rows.sum(0)


def test_a_layer_that_runs_with_its_channels_on_either_axis_is_taken_as_the_one_it_means() -> None:
    report = check(Moving(), "bn", **SHORT)
    assert report.conforms, str(report)
    assert "it runs with its channels on axis 1 and on axis -1: gamma and beta belong to axis 1" in sentences(report)
    assert not any("it runs with its channels" in note for note in check(Moving(), "bn", axis=1, **SHORT).notes)


def test_an_instance_that_does_not_keep_the_eps_it_was_given_is_wrong() -> None:
    report = check(Moving(eps=0.01, exact=False), "bn", axis=1, **SHORT)
    assert [finding.words for finding in report.findings] == ["eps is 0.001; it was given 0.01."], str(report)


@pytest.mark.parametrize(("differences", "taken"), [((2, 1), -1), ((1, 2), 1)])
def test_where_gamma_does_not_tell_both_axes_are_tried_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, differences: tuple[int, int], taken: int
) -> None:
    target = adapt(Moving())
    monkeypatch.setattr("mabn_ref.check.inquire._per_channel", lambda *rest: False)
    about = inquire(target, "bn", SCENARIO)
    assert (about.axis, about.other_axes, about.clear) == (-1, [1], False)
    about = replace(about, axis=1, other_axes=[-1])
    first, second = (Report("x", "bn", "the paper", differences=["z"] * n) for n in differences)
    monkeypatch.setattr(check_layer, "judge", lambda *rest: second)
    monkeypatch.setattr(check_layer, "traces", lambda *rest: [])
    runs = check_layer.Here(Moving(), "bn", {}, 20.0)
    _, report = check_layer._of_either_axis(runs, about, first, [SCENARIO, SCENARIO], print)
    assert len(report.differences) == 1
    assert runs.target.axis == taken  # type: ignore[attr-defined]
    assert report.notes[0].endswith(
        f"axis 1 and axis -1 were both tried; this report is for axis {taken}, and the layer "
        f"conforms with neither; --axis {-taken} shows the other"
    )


def test_a_number_whose_name_says_nothing_is_said_in_the_headline() -> None:
    class Deep(Flat):
        def __init__(self, n_in: int, depth: float = 0.9) -> None:
            super().__init__(n_in, 1e-5, 0.9)

    headline = str(check(Deep, "bn", extra={"depth": 0.8}, **SHORT)).splitlines()[0]
    assert headline.endswith("; but whether it uses depth=0.8 is not known: the check does not know that name")
    assert "but whether" not in str(check(Deep, "bn", extra={"depth": 0.1}, **SHORT))


class Coarse:
    """Root mean square in float32, handed back in the dtype of x."""

    def __init__(self, dim: int, eps: float = 1e-6, wrong: float = 0.0) -> None:
        self.weight, self.eps, self.wrong = np.ones(dim), eps, wrong

    def forward(self, x: Any) -> Any:
        single = x.astype(np.float32)
        self.x = single
        self.s = np.sqrt((single * single).mean(-1, keepdims=True) + np.float32(self.eps))
        return (self.weight.astype(np.float32) * (single / self.s)).astype(x.dtype)

    def backward(self, dz: Any) -> Any:
        y, single = self.x / self.s, dz.astype(np.float32)
        dy = single * self.weight.astype(np.float32)
        self.dweight = (single * y).reshape(-1, y.shape[-1]).sum(0)
        return ((dy - y * (dy * y).mean(-1, keepdims=True) + self.wrong * y * y) / self.s).astype(dz.dtype)


def test_a_layer_that_computes_in_float32_is_compared_and_differentiated_as_one() -> None:
    report = check(Coarse, "rms", **SHORT)
    assert report.conforms, str(report)
    assert "; but it computes in float32, in part or in whole, where" in str(report).splitlines()[0]
    report = check(Coarse, "rms", extra={"wrong": 0.1}, **SHORT)
    assert "as far as float32 shows, dx is not the derivative of forward" in report.taylor
    assert "dgamma is the derivative of forward" in report.taylor


class InPrecision(Course):
    """`Course` in a precision of its own, some of it."""

    forward_in: Any = None
    infer_in: Any = None
    backward_in: Any = None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__(num_features, np.float32(eps), np.float32(momentum))  # type: ignore[arg-type]

    def forward(self, x: Any, training: bool = True) -> Any:
        kept = self.running_mean, self.running_var
        self.running_mean, self.running_var = (a.astype(x.dtype) for a in kept)
        return super().forward(x, training).astype((self.forward_in if training else self.infer_in) or x.dtype)

    def backward(self, dout: Any) -> Any:
        return super().backward(dout).astype(self.backward_in or dout.dtype)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({}, ""),
        ({"forward_in": "f4", "infer_in": "f4"}, "; but it returns float32 where it is given float64"),
        ({"forward_in": "f8", "infer_in": "f8"}, "; but it returns float64 where it is given float32"),
        ({"infer_in": "f8"}, "; but it returns float64 where it is given float32, at inference"),
        ({"backward_in": "f8"}, "; but its dx is float64 where it is given float32"),
    ],
    ids=["that of x", "float32", "float64", "float64 at inference", "float64 in backward"],
)
def test_another_precision_than_that_of_the_input_is_said_in_the_headline(kept: dict[str, Any], said: str) -> None:
    report = check(type("InPrecision", (InPrecision,), kept), "bn", **SHORT)
    assert report.conforms, str(report)
    assert not any("not a moving statistic" in note for note in report.notes)
    assert str(report).splitlines()[0].partition(" volumes")[2] == said


class Flat:
    """Of vectors, its parameters, gradients and averages in dictionaries, the mode an attribute."""

    def __init__(self, n_in: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        self.params = {"gamma": np.ones(n_in), "beta": np.zeros(n_in)}
        self.grads = {"gamma": np.zeros(n_in), "beta": np.zeros(n_in)}
        self.running = {"mean": np.zeros(n_in), "var": np.ones(n_in)}
        self.eps, self.momentum, self.training = eps, momentum, True

    def forward(self, x: Any) -> Any:
        mean, var = self.running["mean"], self.running["var"]
        if self.training:
            mean, var = x.mean(0), x.var(0)
            for name, value in (("mean", mean), ("var", var)):
                self.running[name] = self.momentum * self.running[name] + (1 - self.momentum) * value
        self.std = np.sqrt(var + self.eps)
        self.y = (x - mean) / self.std
        return self.params["gamma"] * self.y + self.params["beta"]

    def backward(self, dz: Any) -> Any:
        self.grads["gamma"], self.grads["beta"] = (dz * self.y).sum(0), dz.sum(0)
        dy = dz * self.params["gamma"]
        return (dy - dy.mean(0) - self.y * (dy * self.y).mean(0)) / self.std


def test_a_class_of_vectors_is_not_wrong_on_images_and_the_headline_says_it() -> None:
    report = check(Flat, "bn", **SHORT)
    assert report.conforms, str(report)
    assert list(report.ranks) == [2]
    assert set(report.rows[0].errors) == {"z", "state", "inferred", "dx", "dgamma", "dbeta"}
    assert "images were not run: ValueError: running[mean] becomes one number per channel and" in sentences(report)


def test_of_several_reasons_the_headline_has_that_of_images() -> None:
    refused = {3: "no sequences", 4: "no images", 5: "no volumes"}
    headline = str(Report("x", "bn", "the paper", ranks=[2], refused=refused)).splitlines()[0]
    assert headline.endswith("conforms on (N, C); images were not run: no images; not run: sequences and volumes")


class Caching:
    """It keeps what the batch has, too, in attributes that are called as averages may be."""

    kept = "running_mean", "running_var"
    cached = "mu", "sigma"
    still: tuple[str, ...] = ()

    def __init__(self, n_in: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        self.gamma, self.beta, self.eps, self.momentum = np.ones(n_in), np.zeros(n_in), eps, momentum
        for name, value in zip(self.kept, (np.zeros(n_in), np.ones(n_in)), strict=True):
            setattr(self, name, value)

    def forward(self, x: Any, training: bool = True) -> Any:
        mean, var = (getattr(self, name) for name in self.kept)
        self.axes = tuple(range(x.ndim - 1))
        if training:
            mean, var = x.mean(self.axes), x.var(self.axes)
            for name, value in zip(self.kept, (mean, var), strict=True):
                if name not in self.still:
                    setattr(self, name, self.momentum * getattr(self, name) + (1 - self.momentum) * value)
        std = np.sqrt(var + self.eps)
        for name, value in zip(self.cached, (mean, std), strict=True):
            setattr(self, name, value)
        self.cache = (x - mean) / std, std
        return self.gamma * self.cache[0] + self.beta

    def backward(self, dz: Any) -> Any:
        y, std = self.cache
        self.dgamma, self.dbeta = (dz * y).sum(self.axes), dz.sum(self.axes)
        dy = dz * self.gamma
        return (dy - dy.mean(self.axes) - y * (dy * y).mean(self.axes)) / std


@pytest.mark.parametrize(
    ("kept", "cached"),
    [
        (("running_mean", "running_var"), ("centre", "sigma")),
        (("moving_mean", "moving_variance"), ("batch_mean", "std")),
        (("mean", "var"), ("mu", "sigma")),
    ],
)
def test_what_is_kept_of_a_batch_hides_no_average_that_never_moves(
    kept: tuple[str, str], cached: tuple[str, str]
) -> None:
    kind = type("Caching", (Caching,), {"kept": kept, "cached": cached})
    assert check(kind, "bn", **SHORT).conforms
    report = check(type("Still", (kind,), {"still": kept}), "bn", **SHORT)
    assert [finding.words for finding in report.findings] == ["The moving averages never move."], str(report)
    assert not report.differences


@pytest.mark.parametrize("kept", [("running_mean", "running_var"), ("mean", "var")])
def test_what_is_kept_of_a_batch_is_not_taken_for_an_average(kept: tuple[str, str]) -> None:
    class Swapped(Caching):
        def __init__(self, n_in: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
            super().__init__(n_in, eps, 1 - momentum)

    Swapped.kept = kept
    report = check(Swapped, "bn", **SHORT)
    assert [finding.mistake for finding in report.findings] == ["bn-weights-swapped"], str(report)
    assert not report.differences


def test_averages_that_a_class_inherits_and_does_not_use_are_none() -> None:
    """They never move, and inference is by others."""

    class Heir(Caching):
        kept = "own_mean", "own_var"

        def __init__(self, n_in: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
            super().__init__(n_in, eps, momentum)
            self.running_mean, self.running_var = np.zeros(n_in), np.ones(n_in)

    assert check(Heir, "bn", **SHORT).conforms

    class Swapped(Heir):
        def __init__(self, n_in: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
            super().__init__(n_in, eps, round(1 - momentum, 12))

    assert check(Swapped, "bn", **SHORT).mistakes == ["bn-weights-swapped"]
