"""Group, layer, instance and root mean square normalisation: what they are checked against, and layers of PyTorch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check
from mabn_ref.check.adapters.arguments import arguments_for
from mabn_ref.check.scenarios import ALONE, MODULES, SCALES, inputs, scenarios
from mabn_ref.cli import main
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import group_norm


@pytest.mark.parametrize("norm", ALONE)
def test_ours_conforms_and_nothing_is_said(norm: str) -> None:
    report = check(MODULES[norm], norm)
    assert report.conforms, str(report)
    assert not report.findings
    assert not report.hyper
    assert report.ulps["z"][0] < 2
    assert {row.scenario for row in report.rows if not row.errors} == ({"rank 2"} if norm == "in" else set())


def test_samples_differ_in_size_and_channels_do_not() -> None:
    """What shares statistics is of one size, so that eps counts in some samples and not in others."""
    for norm in ALONE:
        for x, _ in list(inputs(scenarios(norm, short=True)[0], (2, 3)))[:-1]:
            by_sample, by_channel = (np.sqrt(np.mean(x * x, axis=axis)) for axis in ((1, 2, 3), (0, 1, 2)))
            assert by_sample.max() > 50 * by_sample.min()
            assert by_channel.max() < 30 * by_channel.min()
    assert SCALES.max() / SCALES.min() == pytest.approx(1e4)


def test_a_layer_that_keeps_its_own_number_of_groups_is_told() -> None:
    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        return group_norm.forward(x, gamma, beta, state, group_norm.Config(eps=config.eps, groups=3))

    stubborn = SimpleNamespace(**{**vars(group_norm), "forward": forward, "infer": lambda *a: forward(*a)[0]})
    report = check(stubborn, "gn", short=True)
    assert not report.conforms
    assert [finding.words for finding in report.findings] == ["groups is 3, whatever it is given."]


@pytest.mark.parametrize("norm", ["ln", "in"])
def test_a_mistake_is_named_in_every_one_of_the_three(norm: str) -> None:
    """eq: gn-statistics, gn-backward"""
    for name in ("gn-no-statistics", "gn-statistics-of-the-batch"):
        report = check(wrong(named(name)), norm, short=True)
        assert not report.conforms
        assert report.mistakes == [name], str(report)


def test_statistics_of_each_position_are_no_group_norm() -> None:
    """eq: gn-statistics"""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, state = group_norm.forward(x.reshape(-1, x.shape[-1]), gamma, beta, state, config)
        return z.reshape(x.shape), cache, state

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, *rest = group_norm.backward(dz.reshape(-1, dz.shape[-1]), cache, state)
        return dx.reshape(dz.shape), *rest

    apart = {"forward": forward, "backward": backward, "infer": lambda *a: forward(*a)[0]}
    report = check(SimpleNamespace(**{**vars(group_norm), **apart}), "gn", short=True)
    assert not report.conforms
    assert not report.differences
    assert ["Each position has its own statistics; " in finding.words for finding in report.findings] == [True]
    assert check(SimpleNamespace(**{**vars(group_norm), **apart}), "ln", short=True).conforms


def test_normalisation_batches_in_a_call_mean_nothing_to_samples_alone() -> None:
    with pytest.raises(ValueError, match="groups is 2, expected 1: it counts normalisation batches, and gn has none"):
        check(group_norm, "gn", groups=2)


def test_channels_may_come_after_groups() -> None:
    def make(num_groups: int, num_channels: int, eps: float = 1e-3) -> None: ...

    found = arguments_for(make, group_norm.Config(groups=2), {}, momentum_is_new=True)
    assert found.channels == "num_channels"
    assert found.keywords == {"num_groups": 2, "eps": 1e-5}
    found = arguments_for(make, group_norm.Config(groups=2), {"num_groups": 3}, momentum_is_new=True)
    assert found.keywords == {"num_groups": 3, "eps": 1e-5}
    assert found.given == {"eps"}


def test_the_command_knows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mabn_ref.norms:group_norm", "--as", "gn", "--norm-batch", "2", "--short"]) == 0
    assert "as group normalisation: conforms" in capsys.readouterr().out


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.frameworks
def test_layers_of_pytorch_conform(torch: Any) -> None:
    """eq: gn-statistics, gn-normalise, gn-backward"""
    for source, norm, preset in (
        (torch.nn.GroupNorm, "gn", "the paper"),
        (torch.nn.GroupNorm, "ln", "the paper"),
        (torch.nn.GroupNorm, "in", "the paper"),
        (lambda channels: torch.nn.GroupNorm(2, channels, eps=2e-3), "gn", "the paper"),
        (torch.nn.LayerNorm, "ln", "Transformers"),
        (torch.nn.RMSNorm, "rms", "PyTorch"),
        (torch.nn.InstanceNorm1d, "in", "the paper"),
        (torch.nn.InstanceNorm2d, "in", "the paper"),
    ):
        report = check(source, norm, short=True)
        assert report.conforms, str(report)
        assert report.preset == preset
        assert sum(bool(row.errors) for row in report.rows) >= 7
        assert max(row.errors["dx"] for row in report.rows if row.errors and row.scenario != "float32") < 1e-11


@pytest.mark.frameworks
def test_groups_that_an_instance_has_are_read_off(torch: Any) -> None:
    report = check(torch.nn.GroupNorm(3, 6), "gn", short=True)
    assert report.conforms, str(report)
    assert report.hyper == {"eps": 1e-5, "groups": 3}
    assert check(torch.nn.GroupNorm, "gn", short=True, extra={"num_groups": 6}).hyper == {"groups": 6}


@pytest.mark.frameworks
def test_what_else_layers_of_pytorch_are(torch: Any) -> None:
    """Instance norm is no layer norm, batch norm no instance norm, and moving statistics are a convention."""
    assert check(torch.nn.InstanceNorm2d, "gn", short=True).hyper["groups"] == 6
    report = check(torch.nn.InstanceNorm2d, "ln", short=True)
    assert [(f.words, f.accepted) for f in report.findings] == [
        ("Each channel has its own statistics: this is instance normalisation.", False)
    ]
    report = check(torch.nn.BatchNorm2d, "in", short=True)
    assert report.mistakes == ["gn-statistics-of-the-batch"]
    assert not report.differences
    report = check(torch.nn.InstanceNorm2d, "in", short=True, extra={"track_running_stats": True})
    assert report.conforms, str(report)
    assert ["track_running_stats" in finding.words for finding in report.findings] == [True]
    report = check(torch.nn.InstanceNorm2d, "in", short=True, extra={"track_running_stats": True, "momentum": None})
    assert [f.accepted for f in report.findings] == [False, True]
    assert report.findings[0].words == "The moving averages never move."  # PyTorch takes None for 0 there
    assert not report.differences


@pytest.mark.frameworks
def test_samples_are_not_taken_for_channels(torch: Any) -> None:
    """InstanceNorm2d takes an input of rank 3 for one image, and says so in a warning at most."""
    report = check(torch.nn.InstanceNorm2d, "in", short=True)
    rows = {row.scenario: row.why for row in report.rows}
    assert "for one without a batch" in rows["rank 3"]


@pytest.mark.frameworks
@pytest.mark.parametrize(("kind", "name"), [("outside", "bn-eps-outside"), ("unbiased", "bn-unbiased-variance")])
def test_the_gradient_of_an_odd_forward_is_not_blamed(torch: Any, kind: str, name: str) -> None:
    """What autograd makes of it is right, and the model has it too."""

    class Odd(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
            super().__init__()
            self.groups, self.eps = num_groups, eps
            self.weight, self.bias = (torch.nn.Parameter(f(num_channels)) for f in (torch.ones, torch.zeros))

        def forward(self, x: Any) -> Any:
            flat = x.reshape(len(x), self.groups, -1)
            var = flat.var(2, unbiased=kind == "unbiased", keepdim=True)
            sigma = var.sqrt() + self.eps if kind == "outside" else (var + self.eps).sqrt()
            shape = (1, -1, *[1] * (x.ndim - 2))
            y = ((flat - flat.mean(2, keepdim=True)) / sigma).reshape(x.shape)
            return self.weight.reshape(shape) * y + self.bias.reshape(shape)

    report = check(Odd, "gn", short=True)
    assert report.mistakes == [name], str(report)
    assert not report.differences
