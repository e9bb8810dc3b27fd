"""What a layer does besides its numbers: every probe finds its fault, and finds none in a right layer."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check, check_layer
from mabn_ref.check.adapters import adapt
from mabn_ref.check.behaviour import outcomes
from mabn_ref.check.probes import PROBES
from mabn_ref.check.report import Finding, Report
from mabn_ref.check.scenarios import MODULES, scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm
from tests.check.judging import sentences

SHORT = {"norm_batch": 4, "short": True}


def found(target: Any, norm: str = "bn", space: tuple[int, ...] = (2, 3)) -> dict[str, tuple[str, str]]:
    """What every probe says: the kind, and the words."""
    scenario = scenarios(norm, norm_batch=4, short=True)[0]
    return {o.probe: (o.kind, o.words) for o in outcomes(adapt(target), norm, scenario, space)}


def faults(target: Any, norm: str = "bn") -> set[str]:
    return {probe for probe, (kind, _) in found(target, norm).items() if kind == "fault"}


@pytest.mark.parametrize("norm", MODULES)
def test_ours_behave(norm: str) -> None:
    said = found(MODULES[norm], norm)
    assert set(said) == {probe.name for probe in PROBES}
    assert {kind for kind, _ in said.values()} == {"fine", "not run"}, said
    assert said["input kept"][0] == said["train, infer, train again"][0] == "fine"


@pytest.mark.parametrize("norm_batch", [1, 2])
def test_one_sample_is_compared_with_others_in_layers_that_train_on_few(norm_batch: int) -> None:
    scenario = scenarios("mabn", norm_batch=norm_batch, short=True)[0]
    (said,) = outcomes(adapt(MODULES["mabn"]), "mabn", scenario, (2, 3), "one sample at inference")
    assert said.kind == "fine", said


class Overwriting(FunctionsTarget):
    def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
        z = super().forward(layer, x, *rest)
        x += 1
        return z


class OverwritingLater(FunctionsTarget):
    """Backward puts dx into the array that was x, or into that which was dz."""

    def __init__(self, functions: Any, name: str = "dz") -> None:
        super().__init__(functions)
        self.name = name

    def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
        z = super().forward(layer, x, *rest)
        layer.given = x
        return z

    def backward(self, layer: Any, dz: Any) -> Any:
        dx, *rest = super().backward(layer, dz)
        place = layer.given if self.name == "x" else dz
        place[...] = dx
        return place, *rest


@pytest.mark.parametrize("name", ["x", "dz"])
def test_an_array_of_the_caller_that_backward_overwrites_is_named(name: str) -> None:
    kind, words = found(OverwritingLater(batch_norm, name))["input kept"]
    assert (kind, f"({name} in backward" in words) == ("fault", True)


@pytest.mark.parametrize("name", ["z", "dx"])
def test_a_buffer_that_is_returned_and_used_again_is_named(name: str) -> None:
    class Reusing(FunctionsTarget):
        def forward(self, layer: Any, *given: Any) -> Any:
            return self._placed("z", layer, super().forward(layer, *given))

        def backward(self, layer: Any, dz: Any) -> Any:
            dx, *rest = super().backward(layer, dz)
            return self._placed("dx", layer, dx), *rest

        def _placed(self, kind: str, layer: Any, a: Any) -> Any:
            if kind != name:
                return a
            layer.buffer = getattr(layer, "buffer", a)
            layer.buffer[...] = a
            return layer.buffer

    kind, words = found(Reusing(batch_norm))["input kept"]
    assert (kind, f"(the {name} it returned, during the next step" in words) == ("fault", True)
    assert ("during the next inference)" in words) is (name == "z")


class Remembering(FunctionsTarget):
    """Backward takes the cache of the last pass, whichever is asked for."""

    def backward_of(self, layer: Any, held: Any, dz: Any) -> Any:
        return self.backward(layer, dz)


class MovedByBackward(FunctionsTarget):
    """Its averages move in backward."""

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        before = layer.state
        z = super().forward(layer, x, gamma, beta, training)
        layer.moved, layer.state = layer.state, before if training and before else layer.state
        return z

    def backward(self, layer: Any, dz: Any) -> Any:
        layer.state = layer.moved
        return super().backward(layer, dz)


class Folding(FunctionsTarget):
    """The first inference fixes scale and shift for good."""

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        if training:
            return super().forward(layer, x, gamma, beta, training)
        if not hasattr(layer, "folded"):
            layer.folded = batch_norm.affine(gamma, beta, layer.state, layer.config)
        return layer.folded[0] * x + layer.folded[1]


class OnePass(FunctionsTarget):
    """E[x^2] - E[x]^2, never below 0."""

    def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
        z = super().forward(layer, x, gamma, beta, training)
        if not training:
            return z
        axes = tuple(range(x.ndim - 1))
        var = np.maximum(np.mean(x * x, axes) - np.mean(x, axes) ** 2, 0)
        return (gamma * (x - np.mean(x, axes)) / np.sqrt(var + x.dtype.type(layer.config.eps)) + beta).astype(x.dtype)


class NotFinite(FunctionsTarget):
    """0 / 0 where a channel is constant."""

    def backward(self, layer: Any, dz: Any) -> Any:
        dx, *rest = super().backward(layer, dz)
        y = layer.cache.y
        spread = np.max(np.abs(y), axis=tuple(range(y.ndim - 1)))
        return dx * (spread / spread).reshape(-1)[: dx.shape[-1]], *rest


class Keeping(FunctionsTarget):
    """All its layers have one state."""

    def __init__(self, functions: Any) -> None:
        super().__init__(functions)
        self.state_of_all: Any = None

    def forward(self, layer: Any, x: Any, *rest: Any) -> Any:
        if self.state_of_all is not None and self.state_of_all.mean.dtype == x.dtype:
            layer.state = self.state_of_all
        z = super().forward(layer, x, *rest)
        self.state_of_all = layer.state
        return z


@pytest.mark.parametrize(
    ("kind", "probe"),
    [
        (Keeping, "instances apart"),
        (Overwriting, "input kept"),
        (OverwritingLater, "input kept"),
        (Remembering, "two forward passes before the backward passes"),
        (MovedByBackward, "forward passes alone"),
        (Folding, "train, infer, train again"),
        (OnePass, "mean of 8192 standard deviations"),
        (NotFinite, "constant channel"),
    ],
)
def test_a_fault_is_found_by_its_probe_and_by_no_other(kind: Any, probe: str) -> None:
    assert faults(kind(batch_norm)) == {probe}


def test_layers_that_start_with_random_numbers_are_not_said_to_share_them() -> None:
    class Random(FunctionsTarget):
        def make(self, channels: int, config: Any) -> Any:
            layer = super().make(channels, config)
            layer.factor = rng.uniform(0.5, 2, channels)
            return layer

        def forward(self, layer: Any, *given: Any) -> Any:
            return super().forward(layer, *given) * layer.factor

    rng = np.random.default_rng(0)
    assert faults(Random(batch_norm)) <= {"mean of 8192 standard deviations"}


def test_a_fault_is_a_finding_and_the_layer_does_not_conform() -> None:
    report = check(Overwriting(batch_norm), "bn", **SHORT)
    assert not report.conforms
    assert report.understood
    assert report.mistakes == ["input-overwritten"]
    assert "behaviour: The layer overwrites an array that its caller may still need" in sentences(report)
    assert ": DIFFERS in its behaviour alone (input-overwritten); its numbers conform on (N, C), " in sentences(
        report
    )


def test_what_differs_because_instances_share_is_left_out_where_the_first_of_a_process_conforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conforming = Report("x", "bn", "the paper")
    finding = Finding("behaviour", "shared", check_layer.SHARED)
    report = replace(conforming, differences=["start: inferred"], findings=[finding])
    monkeypatch.setattr(check_layer, "traces", lambda *rest: [])
    runs, step = SimpleNamespace(stop=lambda: None), SimpleNamespace(scenario=None)
    for alone, left in ((conforming, 0), (replace(conforming, differences=["start: inferred"]), 1)):
        monkeypatch.setattr(check_layer, "judge", lambda *rest, alone=alone: alone)
        found = check_layer._not_shared(report, runs, None, step)  # type: ignore[arg-type]
        assert len(found.differences) == left
        assert not found.conforms


def test_what_was_not_run_is_said_in_one_place() -> None:
    report = check(batch_norm, "bn", **SHORT)
    assert report.conforms
    assert report.not_run["checkpoint"] == "this kind of target cannot do it"
    assert "input kept" in report.behaviour
    assert set(report.to_dict()["not_run"]) == set(report.not_run)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def layers(torch: Any) -> dict[str, Any]:
    """Batch normalisation from scratch, and what may be wrong with it."""
    nn = torch.nn

    class Right(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))
            self.eps, self.momentum = eps, momentum

        def shaped(self, v: Any, x: Any) -> Any:
            return v.view(1, -1, *[1] * (x.ndim - 2))

        def statistics(self, x: Any) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            return x.mean(dims), x.var(dims, unbiased=False)

        def update(self, mean: Any, var: Any) -> None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)

        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            return (x - self.shaped(mean, x)) * self.shaped((var + self.eps).rsqrt(), x)

        def forward(self, x: Any) -> Any:
            mean, var = self.running_mean, self.running_var
            if self.training:
                mean, var = self.statistics(x)
                self.update(mean, var)
            y = self.normalised(x, mean, var)
            return y * self.shaped(self.weight, x) + self.shaped(self.bias, x)

    class Silent(Right):
        def forward(self, x: Any) -> Any:
            with torch.set_grad_enabled(self.training):
                return super().forward(x)

    class Detached(Right):
        """Batch statistics in eval mode too, through which no gradient goes."""

        def forward(self, x: Any) -> Any:
            mean, var = self.statistics(x if self.training else x.detach())
            y = self.normalised(x, mean, var)
            return y * self.shaped(self.weight, x) + self.shaped(self.bias, x)

    class Leaking(Right):
        def update(self, mean: Any, var: Any) -> None:
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var

    class Losing(Right):
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            kept = self.running_var
            del self.running_var
            self.running_var = kept

        def update(self, mean: Any, var: Any) -> None:
            self.running_var = self.running_var.to(var.dtype)
            super().update(mean, var)

    class Sharing(Right):
        def __deepcopy__(self, memo: Any) -> Any:
            return self

    class Reducing(Right):
        def __reduce__(self) -> Any:
            return type(self), (len(self.weight),)

        def __deepcopy__(self, memo: Any) -> Any:
            other = type(self)(len(self.weight), self.eps, self.momentum).to(self.weight.dtype)
            other.load_state_dict(self.state_dict())
            return other

    class Overflowing(Right):
        def statistics(self, x: Any) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            mean = x.mean(dims)
            return mean, ((x - self.shaped(mean, x)) ** 2).sum(dims) / (x.numel() / x.shape[1])

    class Once(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, x: Any, eps: float) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            inv = (x.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
            ctx.y, ctx.inv, ctx.dims = (x - x.mean(dims, keepdim=True)) * inv, inv, dims
            return ctx.y.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (dz,) = grads
            psi = (dz * ctx.y).mean(ctx.dims, keepdim=True)
            return ctx.inv * (dz - dz.mean(ctx.dims, keepdim=True) - ctx.y * psi), None

    class Twice(Right):
        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            return Once.apply(x, self.eps) if self.training else super().normalised(x, mean, var)

    class Bound(Right):
        """Inference is bound to the layer that it was made with."""

        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.kept = (lambda: (self.running_mean, self.running_var),)

        def statistics(self, x: Any) -> Any:
            return super().statistics(x) if self.training else self.kept[0]()

        def forward(self, x: Any) -> Any:
            mean, var = self.statistics(x)
            if self.training:
                self.update(mean, var)
            return self.normalised(x, mean, var) * self.shaped(self.weight, x) + self.shaped(self.bias, x)

        def __reduce__(self) -> Any:
            return type(self), (len(self.weight), self.eps, self.momentum), self.__getstate__()

        def __getstate__(self) -> Any:
            return {k: v for k, v in self.__dict__.items() if k != "kept"}

        def __deepcopy__(self, memo: Any) -> Any:
            other = type(self)(len(self.weight), self.eps, self.momentum)
            other.__dict__ |= {k: copy.deepcopy(v, memo) for k, v in self.__getstate__().items()}
            other.kept = self.kept
            return other

    class Folded(Right):
        """What was folded for inference is dropped by a change of mode alone."""

        folded: Any = None

        def train(self, mode: bool = True) -> Any:
            self.folded = None
            return super().train(mode)

        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            if self.training:
                return super().normalised(x, mean, var)
            self.folded = self.folded or (mean.clone(), var.clone())
            return super().normalised(x, *self.folded)

    class FirstSize(Right):
        share: Any = None

        def statistics(self, x: Any) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            self.share = self.share or x.shape[1] / x.numel()
            mean = (x * self.share).sum(dims)
            return mean, ((x - self.shaped(mean, x)) ** 2 * self.share).sum(dims)

    class Single(Right):
        def forward(self, x: Any) -> Any:
            return super().forward(x) if self.training or len(x) > 1 else super().forward(x - x.mean())

    class Squeezing(Right):
        def forward(self, x: Any) -> Any:
            return super().forward(x) if self.training else super().forward(x).squeeze(0)

    class Scaled(Right):
        """In training y is multiplied by gamma in a function of autograd's."""

        scaled: Any = None

        def forward(self, x: Any) -> Any:
            if not self.training:
                return super().forward(x)
            mean, var = self.statistics(x)
            self.update(mean, var)
            y = self.normalised(x, mean, var)
            return self.scaled.apply(y, self.shaped(self.weight, x)) + self.shaped(self.bias, x)

    class Recovering(torch.autograd.Function):  # type: ignore[name-defined,misc]
        """y is computed from z, by a division by gamma."""

        @staticmethod
        def forward(ctx: Any, y: Any, gamma: Any) -> Any:
            ctx.save_for_backward(y * gamma, gamma)
            return y * gamma

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            z, gamma = ctx.saved_tensors
            dims = [d for d in range(z.ndim) if d != 1]
            return grads[0] * gamma, (grads[0] * (z / gamma)).sum(dims, keepdim=True)

    class FromOutput(Scaled):
        scaled = Recovering

    class Averaged(Right):
        """The output is right; what is averaged is E[x^2] - E[x]^2."""

        def statistics(self, x: Any) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            self.one_pass = ((x * x).mean(dims) - x.mean(dims) ** 2).detach()
            return super().statistics(x)

        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, self.one_pass)
            del self.one_pass

    class Inner(Right):
        """Its averages move where x comes from another layer."""

        def forward(self, x: Any) -> Any:
            self.moves = x.grad_fn is not None
            return super().forward(x)

        def update(self, mean: Any, var: Any) -> None:
            if self.moves:
                super().update(mean, var)

    class Strided(Right):
        def forward(self, x: Any) -> Any:
            return super().forward(torch.as_strided(x, x.shape, torch.empty(x.shape).stride()))

    class Spoiling(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, y: Any, gamma: Any) -> Any:
            ctx.y, ctx.gamma = y.clone(), gamma
            return y * gamma

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            dims = [d for d in range(ctx.y.ndim) if d != 1]
            return grads[0] * ctx.gamma, ctx.y.mul_(grads[0]).sum(dims, keepdim=True)

    class Spoilt(Scaled):
        scaled = Spoiling

    class Estimating(Right):
        def update(self, mean: Any, var: Any) -> None:
            if torch.is_grad_enabled():
                super().update(mean, var)

    class FirstRows(Right):
        """Its sums are divided by the first batch's number of positions."""

        positions: Any = None

        def statistics(self, x: Any) -> Any:
            dims = [d for d in range(x.ndim) if d != 1]
            self.positions = self.positions or x[0, 0].numel()
            mean = x.mean(dims) * (x[0, 0].numel() / self.positions)
            return mean, ((x - self.shaped(mean, x)) ** 2).mean(dims)

    class Scaling(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, y: Any, gamma: Any) -> Any:
            ctx.save_for_backward(y, gamma)
            return y * gamma

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            y, gamma = ctx.saved_tensors
            dims = [d for d in range(y.ndim) if d != 1]
            return grads[0] * gamma, (grads[0] * y).sum(dims, keepdim=True)

    class Sparing(Scaling):
        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return Scaling.backward(ctx, *grads) if ctx.needs_input_grad[1] else (grads[0], None)

    class Spared(Scaled):
        scaled = Sparing

    class Holding(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, y: Any, gamma: Any, beta: Any) -> Any:
            ctx.save_for_backward(y, gamma)
            ctx.z = y * gamma + beta
            return ctx.z

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            y, gamma = ctx.saved_tensors
            dims = [d for d in range(y.ndim) if d != 1]
            dz = grads[0] * (ctx.z != 0)
            return dz * gamma, (dz * y).sum(dims, keepdim=True), dz.sum(dims, keepdim=True)

    class Held(Right):
        """z is kept where autograd does not see that it is overwritten."""

        def forward(self, x: Any) -> Any:
            if not self.training:
                return super().forward(x)
            mean, var = self.statistics(x)
            self.update(mean, var)
            y = self.normalised(x, mean, var)
            return Holding.apply(y, self.shaped(self.weight, x), self.shaped(self.bias, x))

    class Constants(Right):
        """At inference no gradient reaches gamma and beta."""

        def shaped(self, v: Any, x: Any) -> Any:
            return super().shaped(v if self.training else v.detach(), x)

    class Halving(Scaling):
        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            dy, dgamma = Scaling.backward(ctx, *grads)
            return dy, dgamma / len(dy) if dy.dtype == torch.float16 else dgamma

    class Halved(Scaled):
        scaled = Halving

    class HalfAtInference(Right):
        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            y = super().normalised(x, mean, var)
            return y if self.training or y.dtype != torch.bfloat16 else y / 2

    found = {k: v for k, v in locals().items() if isinstance(v, type) and issubclass(v, Right)}
    for name, kind in found.items():  # pickle looks classes up by module and name
        kind.__module__, kind.__qualname__ = __name__, name
        globals()[name] = kind
    return found


@pytest.mark.frameworks
def test_a_right_layer_of_pytorch_behaves(torch: Any) -> None:
    for source in (layers(torch)["Right"], torch.nn.BatchNorm2d):
        said = found(source)
        assert {probe for probe, (kind, _) in said.items() if kind != "fine"} == set(), said


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("name", "probe", "words"),
    [
        ("Silent", "gradient at inference", "no gradient reaches x"),
        ("Detached", "gradient at inference", "the statistics are detached"),
        ("Leaking", "statistics detached", "running_mean, running_var"),
        ("Losing", "checkpoint", "state_dict lacks running_var"),
        ("Sharing", "deep copy", "training the copy changes the original"),
        ("Reducing", "pickling", "in the copy, inference returns"),
        ("Overflowing", "float16", "on inputs of size 100 z is"),
        ("Twice", "second derivatives", "differences give"),
        ("Bound", "deep copy", "training the copy continues with"),
        ("Folded", "checkpoint", "after loading it, inference returns"),
        ("FirstSize", "a smaller batch later", "3 samples after 4"),
        ("Single", "one sample at inference", "z is "),
        ("Squeezing", "one sample at inference", "z is an array of shape"),
        ("FromOutput", "gamma of 0", "one of dx, dgamma and dbeta is nan, expected"),
        ("Averaged", "mean of 8192 standard deviations", "running_var is"),
        ("Inner", "input without a gradient", "inference after it returns"),
        ("Strided", "memory layout", "one of z, dx, dgamma and dbeta is "),
        ("Spoilt", "a second backward pass", "one of dx, dgamma and dbeta is "),
        ("Estimating", "forward passes alone", "inference after them returns"),
        ("FirstRows", "a smaller batch later", "2 positions in a row after 3"),
        ("Spared", "gamma or beta frozen", "with dgamma and dbeta not needed, a gradient is"),
        ("Held", "x or z overwritten", "after z was overwritten"),
        ("Constants", "gradient at inference", "dgamma: a slope of 0, not"),
        ("Halved", "float16", "size 100 dgamma is"),
        ("HalfAtInference", "bfloat16", "size 1 inference is"),
    ],
)
def test_a_fault_of_a_layer_of_pytorch_is_found(torch: Any, name: str, probe: str, words: str) -> None:
    said = found(layers(torch)[name])
    assert {p: words for p, (kind, words) in said.items() if kind == "fault"}.keys() == {probe}
    assert words in said[probe][1]


@pytest.mark.frameworks
def test_a_wrong_gradient_at_inference_is_not_laid_to_detached_statistics(torch: Any) -> None:
    class Twofold(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return 2 * grads[0]

    class Doubling(layers(torch)["Right"]):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            z = super().forward(x)
            return z if self.training else Twofold.apply(z)

    kind, words = found(Doubling)["gradient at inference"]
    assert (kind, "detached" in words) == ("fault", False), words
    assert "detached" in found(layers(torch)["Detached"])["gradient at inference"][1]


@pytest.mark.frameworks
def test_a_kink_at_inference_is_no_wrong_gradient(torch: Any) -> None:
    class Bent(layers(torch)["Right"]):  # type: ignore[misc]
        """Its output goes up and down in steps of 1/64."""

        def forward(self, x: Any) -> Any:
            return (32 * super().forward(x) % 1 - 0.5).abs()

    assert found(Bent)["gradient at inference"] == (
        "not run",
        "its output has a kink within a step of the differences",
    )


@pytest.mark.frameworks
def test_an_average_of_squares_is_not_taken_for_a_lost_variance(torch: Any) -> None:
    class Squares(layers(torch)["Right"]):  # type: ignore[misc]
        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, var + mean * mean)

    said = found(Squares)["mean of 8192 standard deviations"]
    assert said == ("not run", "its running_var grows with the mean")


@pytest.mark.frameworks
@pytest.mark.parametrize("probe", ["", "checkpoint", "deep copy", "pickling"])
def test_what_only_backward_reads_is_to_be_saved_and_copied_too(
    torch: Any, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MABN's Psi: inference, and where r is not clipped the output, know nothing of it."""
    from tests.benchmarks.torch_mabn import MABN2d

    class Forgets(MABN2d):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            state = super().state_dict(*args, **kwargs)
            if probe == "checkpoint":
                state["psi_window"] = 0 * state["psi_window"]
            return state

        def __deepcopy__(self, memo: Any) -> Any:
            copied = type(self)(len(self.weight), dtype=self.weight.dtype)
            copied.__dict__ |= {name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()}
            if probe == "deep copy":
                copied.psi_window = 0 * copied.psi_window
            return copied

        def __getstate__(self) -> Any:
            state = self.__dict__.copy()
            if probe == "pickling":
                state["_buffers"] = {**state["_buffers"], "psi_window": 0 * self.psi_window}
            return state

    Forgets.__qualname__ = "Forgets"  # pickle looks classes up by module and name
    monkeypatch.setattr(sys.modules[__name__], "Forgets", Forgets, raising=False)
    said = found(Forgets, "mabn")
    assert {p for p, (kind, _) in said.items() if kind == "fault"} == {probe} - {""}
    assert not probe or "continues with" in said[probe][1]


@pytest.mark.frameworks
def test_a_layer_that_computes_in_float32_behaves(torch: Any) -> None:
    """In another layout it adds up in another order."""

    class Single(layers(torch)["Right"]):  # type: ignore[misc]
        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            return super().normalised(x.float(), mean.float(), var.float()).to(x.dtype)

        def statistics(self, x: Any) -> Any:
            return [a.to(x.dtype) for a in super().statistics(x.float())]

    assert faults(Single) == set()


@pytest.mark.frameworks
def test_a_count_that_is_not_saved_is_a_limit_though_it_matters_late_alone(torch: Any) -> None:
    class Scheduled(layers(torch)["Right"]):  # type: ignore[misc]
        iteration = 0

        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, var)
            self.iteration += 1

        def normalised(self, x: Any, mean: Any, var: Any) -> Any:
            return super().normalised(x, mean, var) * (1 + (self.iteration > 100_000))

    words = "iteration is not in state_dict: whoever uses the layer must save it"
    assert found(Scheduled)["checkpoint"] == ("limit", words)


@pytest.mark.frameworks
def test_a_place_in_a_ring_is_not_a_count(torch: Any) -> None:
    class Ring(layers(torch)["Right"]):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.register_buffer("last", torch.zeros(3))
            self.place = 0

        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, var)
            self.last[self.place] = mean.mean().detach()
            self.place = (self.place + 1) % 3

    report = check(Ring, "bn", **SHORT)
    assert report.conforms, str(report)
    assert (
        "what rises by one per pass is not a count of iterations (IndexError"
        in report.not_run["from iteration 150,000"]
    )


@pytest.mark.frameworks
def test_a_layer_that_fails_late_is_not_excused(torch: Any) -> None:
    class Short(layers(torch)["Right"]):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.iteration = 0

        def update(self, mean: Any, var: Any) -> None:
            super().update(mean, var)
            self.iteration += 1
            if self.iteration > 100_000:
                raise OverflowError("too many iterations")

    report = check(Short, "bn", **SHORT)
    assert not report.conforms
    assert "OverflowError: too many iterations" in sentences(report)


@pytest.mark.frameworks
def test_gamma_of_0_is_not_asked_of_a_layer_without(torch: Any) -> None:
    class Shifting(layers(torch)["Right"]):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            own = self.shaped(self.weight, x)
            return super().forward(x) + (1 - own) * self.normalised(x, *self.statistics(x))

    assert found(Shifting)["gamma of 0"] == ("not run", "its output does not depend on gamma")


@pytest.mark.frameworks
def test_parameters_called_as_averages_may_be_gamma_and_beta(torch: Any) -> None:
    class Named(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__()
            self.average_std, self.average_mean = (
                torch.nn.Parameter(a) for a in (torch.ones(channels), torch.zeros(channels))
            )
            self.norm = torch.nn.BatchNorm2d(channels, eps, affine=False)

        def forward(self, x: Any) -> Any:
            return self.norm(x) * self.average_std.view(1, -1, 1, 1) + self.average_mean.view(1, -1, 1, 1)

    report = check(Named, "bn", **SHORT)
    assert report.conforms
    assert not report.limits or "an optimiser moves" not in str(report.limits)
    assert all({"dgamma", "dbeta"} <= set(row.errors) for row in report.rows if row.errors)


@pytest.mark.frameworks
def test_what_a_layer_refuses_aloud_is_no_fault(torch: Any) -> None:
    class Refusing(layers(torch)["Right"]):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.register_buffer("batches", torch.tensor(0))

        def forward(self, x: Any) -> Any:
            self.batches += self.training
            if not self.training and self.batches == 0:
                raise RuntimeError("no statistics yet")
            return super().forward(x.view(len(x), -1).view(x.shape))

    said = found(Refusing)
    assert {probe: kind for probe, (kind, _) in said.items() if kind != "fine"} == {
        "memory layout": "not run",
        "pickling": "limit",  # as it is with any class of a function
    }
    assert "view size is not compatible" in said["memory layout"][1]


@pytest.mark.frameworks
def test_what_cannot_be_pickled_need_not_say_why(torch: Any) -> None:
    class Silent(layers(torch)["Right"]):  # type: ignore[misc]
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise TypeError

        def __deepcopy__(self, memo: Any) -> Any:
            copied = type(self)(len(self.weight))
            copied.__dict__ |= {name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()}
            return copied

    assert found(Silent)["pickling"] == ("limit", "it cannot be pickled (TypeError: )")


@pytest.mark.frameworks
def test_without_positions_there_is_one_layout(torch: Any) -> None:
    said = found(torch.nn.BatchNorm1d, space=())
    assert said["memory layout"] == ("not run", "an input without positions has only one layout")


@pytest.mark.frameworks
def test_an_output_in_another_precision_than_half_is_said(torch: Any) -> None:
    class Single(layers(torch)["Right"]):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            z = super().forward(x)
            return z if x.dtype == torch.float64 else z.float()

    report = check(Single, "bn", **SHORT)
    assert report.conforms
    assert "z is float32 where x is of half precision" in str(report).partition("\n")[0]


@pytest.mark.frameworks
def test_averages_that_are_parameters_are_compared_and_said_to_be_trained(torch: Any) -> None:
    class Trained(layers(torch)["Right"]):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            for name in ("running_mean", "running_var"):
                kept = getattr(self, name)
                delattr(self, name)
                setattr(self, name, torch.nn.Parameter(kept))

    report = check(Trained, "bn", **SHORT)
    assert report.conforms
    assert "its running_var is a parameter, which an optimiser moves" in str(report).partition("\n")[0]
    assert all(row.errors["state"] < 1e-6 for row in report.rows if row.errors)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module_behaves(torch: Any) -> None:
    said = found(lambda num_features: torch.jit.script(torch.nn.BatchNorm2d(num_features)))
    assert {kind for kind, _ in said.values()} == {"fine", "limit"}
    assert [probe for probe, (kind, _) in said.items() if kind == "limit"] == ["pickling"]


@pytest.mark.frameworks
def test_a_count_that_is_not_saved_is_a_limit_and_the_headline_says_it(torch: Any) -> None:
    """As in Adam: an average that starts at 0 is divided by the sum of its weights, which a count gives."""

    class Divided(layers(torch)["Right"]):  # type: ignore[misc]
        count = 0

        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, momentum)
            self.register_buffer("sums", torch.zeros(2, channels))

        def update(self, mean: Any, var: Any) -> None:
            self.count += 1
            with torch.no_grad():
                self.sums.lerp_(torch.stack([mean, var]), self.momentum)
                for average, total in zip((self.running_mean, self.running_var), self.sums, strict=True):
                    average.copy_(total / (1 - (1 - self.momentum) ** self.count))

    report = check(Divided, "bn", **SHORT)
    assert report.conforms, str(report)
    assert "; but count is not in state_dict: whoever uses the layer must save it" in str(report).splitlines()[0]


@pytest.mark.frameworks
@pytest.mark.parametrize("lost", ["iteration", "psi_window"])
def test_a_count_does_not_excuse_what_is_lost_beside_it(torch: Any, lost: str) -> None:
    from tests.benchmarks.torch_mabn import MABN2d

    class Uncounted(MABN2d):
        def get_extra_state(self) -> int:
            return 0

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            state = super().state_dict(*args, **kwargs)
            return state | ({lost: 0 * state[lost]} if lost in state else {})

    assert found(Uncounted, "mabn")["checkpoint"][0] == ("fault" if lost == "psi_window" else "limit")


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["", "x", "dz"])
@pytest.mark.parametrize("affine", [True, False], ids=["its own parameters", "none"])
def test_a_backward_pass_of_pytorch_that_overwrites_its_callers_tensors_is_a_fault(
    torch: Any, name: str, affine: bool
) -> None:
    class Through(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.x = x
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            dx = grads[0].clone()
            {"x": ctx.x, "dz": grads[0]}.get(name, torch.empty(())).zero_()
            return dx

    class Writing(torch.nn.BatchNorm2d):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__(channels, affine=affine)

        def forward(self, x: Any) -> Any:
            z = super().forward(Through.apply(x) if name == "x" else x)
            return Through.apply(z) if name == "dz" else z

    kind, words = found(Writing)["input kept"]
    assert (kind == "fault", f"({name} in backward" in words) == (bool(name), bool(name)), words


@pytest.mark.frameworks
def test_a_module_that_fills_its_output_again_is_named(torch: Any) -> None:
    class Reusing(torch.nn.BatchNorm2d):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            z = super().forward(x)
            if getattr(self, "last", None) is not None and self.last.shape == z.shape:
                self.last.data.copy_(z.detach())
            object.__setattr__(self, "last", z)
            return z

    kind, words = found(Reusing)["input kept"]
    assert (kind, "(the z it returned, during the next step" in words) == ("fault", True)


@pytest.mark.frameworks
def test_statistics_in_a_dictionary_are_a_limit_and_the_headline_says_it(torch: Any) -> None:
    right = layers(torch)["Right"]

    class Own(right):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            del self.running_mean, self.running_var
            self.kept = {"mean": torch.zeros(channels), "var": torch.ones(channels)}

        def forward(self, x: Any) -> Any:
            self.kept = {name: v.to(x.dtype) for name, v in self.kept.items()}
            self.running_mean, self.running_var = self.kept.values()
            z = super().forward(x)
            del self.running_mean, self.running_var
            return z

    report: Report = check(Own, "bn", **SHORT)
    assert report.conforms, str(report)
    assert "but kept[mean], kept[var] are not in state_dict" in str(report).splitlines()[0]


@pytest.mark.frameworks
def test_a_layer_that_offers_no_second_derivative_is_not_at_fault(torch: Any) -> None:
    kinds = layers(torch)
    once = torch.autograd.function.once_differentiable

    class Refusing(kinds["Right"]):  # type: ignore[misc,name-defined]
        class Pass(torch.autograd.Function):  # type: ignore[name-defined,misc]
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x.clone()

            @staticmethod
            @once
            def backward(ctx: Any, *grads: Any) -> Any:
                return grads[0]

        def forward(self, x: Any) -> Any:
            return super().forward(self.Pass.apply(x))

    kind, words = found(Refusing)["second derivatives"]
    assert kind == "not run", words
    assert "once_differentiable" in words


@pytest.mark.frameworks
def test_parameters_without_a_gradient_are_one_fault_in_training_and_at_inference(torch: Any) -> None:
    class Detached(layers(torch)["Right"]):  # type: ignore[misc]
        def shaped(self, v: Any, x: Any) -> Any:
            return super().shaped(v.detach() if v is self.weight or v is self.bias else v, x)

    report = check(Detached, "bn", **SHORT)
    assert {finding.tensor for finding in report.wrong} == {"dgamma", "dbeta"}
    assert report.not_run["gradient at inference"] == "its gradients are already wrong"


@pytest.mark.frameworks
def test_a_wrong_dx_of_a_layer_that_knows_no_training_is_one_fault(torch: Any) -> None:
    class Detached(torch.nn.GroupNorm):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            groups = x.reshape(len(x), self.num_groups, -1)
            var, mean = torch.var_mean(groups, -1, correction=0, keepdim=True)
            y = ((groups - mean) / (var.detach() + self.eps).sqrt()).reshape(x.shape)
            shape = (1, -1) + (1,) * (x.ndim - 2)
            return self.weight.view(shape) * y + self.bias.view(shape)

    report = check(Detached, "gn", **SHORT)
    assert [finding.tensor for finding in report.wrong] == ["dx"], str(report)
    assert report.not_run["gradient at inference"] == "its gradients are already wrong"


@pytest.mark.frameworks
def test_a_pure_function_whose_parameters_are_constants_at_inference_is_at_fault() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    def init(channels: int) -> Any:
        return {"mean": np.zeros(channels), "var": np.ones(channels)}

    def apply(x: Any, gamma: Any, beta: Any, state: Any, training: bool, eps: float = 1e-5) -> Any:
        mean, var = state["mean"], state["var"]
        if training:
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
            state = {name: 0.9 * state[name] + 0.1 * new for name, new in (("mean", mean), ("var", var))}
        else:
            gamma, beta = jax.lax.stop_gradient((gamma, beta))
        return (x - mean) / (var + eps) ** 0.5 * gamma + beta, state

    assert faults(SimpleNamespace(init=init, apply=apply)) == {"gradient at inference"}


@pytest.mark.frameworks
def test_what_follows_from_a_wrong_output_is_not_said_again(torch: Any) -> None:
    class Coarse(layers(torch)["Right"]):  # type: ignore[misc]
        """Its statistics are taken in bfloat16."""

        def statistics(self, x: Any) -> Any:
            return [s.to(x.dtype) for s in super().statistics(x.bfloat16())]

    report = check(Coarse, "bn", **SHORT)
    assert not report.findings, str(report)
    assert report.not_run["second derivatives"] == "its output is not understood"
    assert any("as if its statistics were taken in float16 or bfloat16" in note for note in report.notes)
    assert not report.taylor
    assert "its output is not centred there: its mean is" in report.not_run["mean of 8192 standard deviations"]


def test_a_wrong_order_of_gamma_and_beta_is_not_said_to_be_a_fault_where_gamma_is_0() -> None:
    class Order(FunctionsTarget):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            layer.own = gamma, beta
            return super().forward(layer, x, gamma, gamma * beta, training)

        def backward(self, layer: Any, dz: Any) -> Any:
            dx, dgamma, dbeta = super().backward(layer, dz)
            gamma, beta = layer.own
            return dx, dgamma + beta * dbeta, gamma * dbeta

    report = check(Order(batch_norm), "bn", **SHORT)
    assert [finding.tensor for finding in report.wrong] == ["z"], str(report)
    assert report.not_run["gamma of 0"] == "its gamma is already wrong"


def test_an_inference_that_moves_the_averages_is_one_difference_and_nothing_that_follows_from_it() -> None:
    class Restless(FunctionsTarget):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            if not training:
                layer.state = batch_norm.forward(x[:4], gamma, beta, layer.state, layer.config)[2]
            return super().forward(layer, x, gamma, beta, training)

        def copy(self, layer: Any) -> Any:
            return layer

    report = check(Restless(batch_norm), "bn", **SHORT)
    assert [finding.words for finding in report.findings] == [
        "Inference changes mean and var; it must leave the moving statistics alone."
    ]
    assert [getattr(d, "tensor", "") for d in report.differences] == ["inferred"]
    assert report.not_run["deep copy"] == "every inference changes the layer"


def test_of_a_layer_that_does_not_subtract_the_mean_nothing_is_said_of_its_variance() -> None:
    class Frozen(FunctionsTarget):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            z = super().forward(layer, x, gamma, beta, training)
            start = batch_norm.init(x.shape[-1], layer.config, dtype=x.dtype)
            return batch_norm.infer(x, gamma, beta, start, layer.config) if training else z

    kind, words = found(Frozen(batch_norm))["mean of 8192 standard deviations"]
    assert kind == "not run"
    assert "not centred" in words
