"""Online Normalization as a target: ours, wrong ones, and one in PyTorch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mabn_ref.check import check
from mabn_ref.norms import online_norm


def test_ours_conforms_and_nothing_is_said() -> None:
    report = check(online_norm, "online", short=True)
    assert report.conforms, str(report)
    assert not report.findings
    assert {"start", "no layer scaling", "N = 1", "rank 2"} <= {row.scenario for row in report.rows if row.errors}
    assert "as Online Normalization: conforms on " in str(report)
    assert "  the same choices as the paper\n" in str(report)


def test_a_layer_that_scales_whatever_it_is_told() -> None:
    def always(config: Any) -> online_norm.Config:
        return online_norm.Config(**(vars(config) | {"layer_scaling": True}))

    stubborn = SimpleNamespace(
        **{
            **vars(online_norm),
            "forward": lambda x, g, b, state, config: online_norm.forward(x, g, b, state, always(config)),
            "infer": lambda x, g, b, state, config: online_norm.infer(x, g, b, state, always(config)),
        }
    )
    report = check(stubborn, "online", short=True)
    assert not report.conforms
    assert [finding.words for finding in report.findings] == [
        "Layer scaling comes last, whatever layer_scaling says."
    ]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.frameworks
def test_a_layer_of_pytorch_conforms_with_every_guard(torch: Any) -> None:
    """eq: online-normalise, online-mean, online-variance, online-control-v, online-control-u, online-backward,
    layer-scaling, layer-scaling-backward"""
    from tests.check.torch_online import OnlineNorm2d

    said = {
        "ls": [],
        "ac": ["The output is clipped to [-5, 5], without layer scaling."],
        "": ["There is no layer scaling."],
    }
    for guard, words in said.items():
        report = check(OnlineNorm2d, "online", short=True, extra={"guard": guard})
        assert report.conforms, str(report)
        assert [finding.words for finding in report.findings] == words
        assert report.preset == ("the authors' later code" if guard == "ac" else "the paper")
        assert max(row.errors["dx"] for row in report.rows if row.errors and row.scenario != "float32") < 1e-11


@pytest.mark.frameworks
def test_the_clamp_is_no_convention_where_layer_scaling_is_asked_for(torch: Any) -> None:
    from tests.check.torch_online import OnlineNorm2d

    class Clamped(OnlineNorm2d):
        def __init__(self, c: int, alpha_fwd: float, alpha_bkw: float, eps: float, layer_scaling: bool) -> None:
            super().__init__(c, alpha_fwd, alpha_bkw, eps, guard="ac")

    report = check(Clamped, "online", short=True)
    assert not report.conforms
    assert not report.differences
    assert [f.words for f in report.findings] == ["The output is clipped to [-5, 5], without layer scaling."]


@pytest.mark.frameworks
def test_its_decays_are_read_off_and_a_wrong_one_is_named(torch: Any) -> None:
    from tests.check.torch_online import OnlineNorm2d

    class Forgetful(OnlineNorm2d):
        def control(self, dy: Any, y: Any, sigma: Any) -> Any:
            held, v = 1 - self.alpha_bkw, self.v
            dx = super().control(dy, y, sigma)
            self.v = v + (dy * y).mean(1) if held else v
            return dx

    report = check(lambda channels: OnlineNorm2d(channels, 0.8, 0.9, 1e-3), "online", short=True)
    assert report.conforms, str(report)
    assert report.hyper == {"eps": 1e-3, "decay_forward": 0.8, "decay_backward": 0.9}
    assert check(Forgetful, "online", short=True).mistakes == ["online-v-of-dy"]


@pytest.mark.frameworks
def test_layer_scaling_in_the_wrong_place_is_said_and_its_gradient_understood(torch: Any) -> None:
    """eq: layer-scaling"""
    from tests.check.torch_online import OnlineNorm2d

    report = check(OnlineNorm2d, "online", short=True, extra={"guard": "ls first"})
    assert [(f.words, f.accepted) for f in report.findings] == [
        ("Your layer scaling comes before gamma and beta; it should come last.", False)
    ]
    assert not report.differences
