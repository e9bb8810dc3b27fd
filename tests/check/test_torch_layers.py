"""PyTorch's own layers, and layers from scratch, right ones and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from mabn_ref.check import check

pytestmark = pytest.mark.frameworks


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize(("name", "ranks"), [("BatchNorm1d", {"rank 4"}), ("BatchNorm2d", {"rank 2", "rank 3"})])
def test_batch_norm_is_recognised_by_name(torch: Any, name: str, ranks: set[str]) -> None:
    report = check(getattr(torch.nn, name), "bn", short=True)
    assert report.conforms, str(report)
    assert report.preset == "PyTorch"
    assert any("n/(n-1)" in finding.words for finding in report.findings)
    assert {row.scenario for row in report.rows if row.why.startswith("ValueError")} >= ranks


def test_the_whole_check_of_a_layer_is_a_thousand_steps(torch: Any) -> None:
    """Seconds, on most machines; how many is not for a test to say."""
    report = check(torch.nn.BatchNorm2d, "bn")
    assert report.conforms
    assert 900 < sum(row.steps for row in report.rows) < 1100


def test_settings_that_are_not_given_are_read_off(torch: Any) -> None:
    report = check(lambda channels: torch.nn.BatchNorm2d(channels, eps=2e-3, momentum=0.03), "bn", short=True)
    assert report.conforms, str(report)
    assert report.hyper == {"eps": 2e-3, "decay": 0.97}


def test_averages_of_all_batches_are_a_convention_unless_a_decay_is_asked_for(torch: Any) -> None:
    class Stubborn(torch.nn.BatchNorm2d):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum=None)

    assert check(torch.nn.BatchNorm2d, "bn", short=True, extra={"momentum": None}).conforms
    report = check(Stubborn, "bn", short=True)
    assert not report.conforms
    assert ["averages of all batches" in f.words for f in report.findings if not f.accepted] == [True]


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_a_layer_that_runs_with_either_axis_is_called_by_the_name_that_fits_one(torch: Any, norm: str) -> None:
    assert check(torch.nn.InstanceNorm2d, norm, norm_batch=4, short=True).other == "in"


def test_layers_from_scratch_conform(torch: Any) -> None:
    from tests.benchmarks.torch_mabn import MABN2d
    from tests.check.torch_brn import BatchRenorm

    report = check(MABN2d, "mabn", norm_batch=2, short=True)
    assert report.conforms, str(report)
    assert report.preset == "the paper"
    assert max(row.errors["dx"] for row in report.rows if row.errors and "32" not in row.scenario) < 1e-11
    report = check(BatchRenorm, "brn", norm_batch=4, short=True)
    assert report.conforms, str(report)
    assert report.preset == "Ioffe's paper"


def test_wrong_layers_of_pytorch_are_named(torch: Any) -> None:
    from tests.check import torch_brn

    class Differentiated(torch_brn.BatchRenorm):
        """Autograd through r and d, PyTorch's unbiased running variance, weights of the averages swapped."""

        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, r_max: float = 3.0) -> None:
            super().__init__(channels, eps, momentum, r_max)
            self.running_var = torch.ones(channels, dtype=torch.float64)

        def forward(self, x: Any) -> Any:
            shape = (1, -1) + (1,) * (x.dim() - 2)
            dims = [d for d in range(x.dim()) if d != 1]
            mean, var = x.mean(dims), x.var(dims, unbiased=False)
            if not self.training:
                mean, var = self.running_mean, self.running_var
                y = (x - mean.view(shape)) / (var + self.eps).sqrt().view(shape)
                return self.weight.view(shape) * y + self.bias.view(shape)
            sigma, hat = (var + self.eps).sqrt(), (self.running_var + self.eps).sqrt()
            r = (sigma / hat).clamp(1 / self.r_max, self.r_max)
            d = ((mean - self.running_mean) / hat).clamp(-self.d_max, self.d_max)
            with torch.no_grad():
                n = x.numel() / x.shape[1]
                self.running_mean = (1 - self.momentum) * mean + self.momentum * self.running_mean
                self.running_var = (1 - self.momentum) * var * n / (n - 1) + self.momentum * self.running_var
            y = (x - mean.view(shape)) / sigma.view(shape) * r.view(shape) + d.view(shape)
            return self.weight.view(shape) * y + self.bias.view(shape)

    report = check(Differentiated, "brn", norm_batch=4, short=True)
    wrong = {"bn-weights-swapped", "brn-r-and-d-differentiated", "statistics-not-saved"}  # running_var is no buffer
    assert set(report.mistakes) == wrong, str(report)
    assert any("n/(n-1)" in finding.words for finding in report.findings)
    assert not report.differences
