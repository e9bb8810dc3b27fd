"""The PyTorch layer of docs/howto/mabn_in_pytorch.rst conforms, and its report is the recorded one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.check import check

pytestmark = pytest.mark.frameworks
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture
def copied(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file, as a reader who copied it imports it."""
    monkeypatch.syspath_prepend(DOCS / "howto")
    return importlib.import_module("mabn_torch")


def test_it_conforms_as_the_page_says(copied: Any) -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward, mabn-affine-backward, sma-backward, ema-forward"""
    report = check(copied.MABN2d, "mabn", short=True)
    assert report.conforms, str(report)
    record = (DOCS / "results" / "check" / "mabn-torch.txt").read_text(encoding="utf-8")
    headline = "docs/howto/mabn_torch.py:MABN2d as MABN: conforms on (N, C), sequences, images and volumes"
    assert record.startswith(f"{headline}\n  the same choices as {report.preset}\n")
    assert f"behaves as it should: {', '.join(report.behaviour)} largest" in " ".join(record.split())


def test_half_precision_has_statistics_in_single(torch: Any, copied: Any) -> None:
    """300 squared overflows in half precision."""
    layer, x = copied.MABN2d(3), (300 * torch.randn(8, 3, 4, 4)).half().requires_grad_()
    z = layer(x)
    z.square().sum().backward()
    assert z.dtype == x.grad.dtype == torch.float16
    assert bool(torch.isfinite(layer.chi2).all())
    assert layer(x.float()).detach().std() > 0.5
    assert layer.eval()(x).dtype == torch.float16


def test_a_converted_layer_infers_what_batch_norm_does(torch: Any, copied: Any) -> None:
    """eq: convert-chi2, convert-affine"""
    norm = torch.nn.BatchNorm2d(3, eps=1e-3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.5, -2.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.3, 0.0, -1.0]))
        for _ in range(20):
            norm(5 + 3 * torch.randn(8, 3, 4, 4, dtype=torch.float64))
    layer, x = copied.converted(norm, window=4).eval(), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), norm.eval()(x), rtol=1e-12, atol=1e-12)
    assert len(layer.chi2_window) == 4


def test_a_layer_without_what_is_converted_is_refused(torch: Any, copied: Any) -> None:
    for lacking in ("affine", "track_running_stats"):
        with pytest.raises(
            ValueError, match=rf"^norm is BatchNorm2d\(4, .*{lacking}=False.*\), expected one with gamma"
        ):
            copied.converted(torch.nn.BatchNorm2d(4, **{lacking: False}))


def test_second_derivatives_are_refused(torch: Any, copied: Any) -> None:
    x = torch.randn(8, 3, requires_grad=True)
    (dx,) = torch.autograd.grad(copied.MABN2d(3)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate"):
        dx.sum().backward()


def test_a_network_of_blocks_learns_with_two_images(torch: Any, copied: Any) -> None:
    """eq: centralize-forward"""
    torch.manual_seed(0)
    network = torch.nn.Sequential(copied.block(3, 8), copied.block(8, 8), torch.nn.Flatten(), torch.nn.Linear(128, 2))
    losses = []
    for _ in range(80):
        labels = torch.tensor([0, 1])
        images = torch.randn(2, 3, 4, 4) + labels[:, None, None, None]
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        losses.append(loss.item())
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.05 * parameter.grad
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert bool((network[0][0].weight.mean((1, 2, 3)).abs() < 1e-6).all())
