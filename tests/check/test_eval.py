"""EvalNorm as a target: its training is batch normalisation's, its inference is told apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import batch_norm, eval_norm


def test_ours_conforms_and_batch_norms_inference_does_not() -> None:
    """eq: eval-mixture, eval-infer, eval-rule"""
    report = check(eval_norm, "eval-norm", short=True)
    assert report.conforms, str(report)
    assert not report.findings
    report = check(wrong(named("eval-averages-alone")), "eval-norm", short=True)
    assert report.mistakes == ["eval-averages-alone"], str(report)


def test_a_mistake_in_training_has_batch_norms_name() -> None:
    without_g = SimpleNamespace(
        **{**vars(eval_norm), "backward": lambda dz, cache, state: (*_without_g(dz, cache), state)}
    )
    report = check(without_g, "eval-norm", norm_batch=4, short=True)
    assert report.mistakes == ["bn-no-g"], str(report)


def _without_g(dz: Any, cache: Any) -> Any:
    state = batch_norm.State(np.zeros(5), np.ones(5), cache.iteration + len(cache.y))
    own = batch_norm.Cache(*cache[:-1], batch_norm.Config(norm_batch=cache.config.norm_batch, eps=cache.config.eps))
    return wrong(named("bn-no-g")).backward(dz, own, state)[:3]


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(("eps", "mistake"), [("as it is", ""), ("none", "bn-infer-no-eps")])
def test_the_cross_term_and_eps_are_told(merged: bool, eps: str, mistake: str) -> None:
    """eq: eval-mixture"""

    def infer(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        own = {"merged": merged} | ({"eps": 0.0} if eps == "none" else {})
        return eval_norm.infer(x, gamma, beta, state, eval_norm.Config(**(vars(config) | own)))

    report = check(SimpleNamespace(**{**vars(eval_norm), "infer": infer}), "eval-norm", norm_batch=3, short=True)
    assert report.mistakes == ([mistake] if mistake else []), str(report)
    assert not report.differences
    said = ["Only the variances are mixed, without the term for the difference of the means."]
    assert [finding.words for finding in report.findings if finding.accepted] == ([] if merged else said)


@pytest.mark.frameworks
def test_a_layer_of_pytorch(torch: Any) -> None:
    """eq: eval-mixture, eval-infer"""

    class EvalNorm2d(torch.nn.BatchNorm2d):  # type: ignore[name-defined,misc]
        def __init__(self, num_features: int, norm_batch: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(num_features, eps, momentum)
            self.share = 1 / norm_batch

        def forward(self, x: Any) -> Any:
            if self.training:
                return super().forward(x)
            a, shape = self.share, (1, -1, 1, 1)
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
            apart = mean - self.running_mean.reshape(shape)
            mixed = a * var + (1 - a) * self.running_var.reshape(shape) + a * (1 - a) * apart**2
            y = (x - mean + (1 - a) * apart) / (mixed + self.eps).sqrt()
            return self.weight.reshape(shape) * y + self.bias.reshape(shape)

    report = check(EvalNorm2d, "eval-norm", short=True)
    assert report.conforms, str(report)
    assert report.preset == "PyTorch"
    assert check(torch.nn.BatchNorm2d, "eval-norm", short=True).mistakes == ["eval-averages-alone"]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")
