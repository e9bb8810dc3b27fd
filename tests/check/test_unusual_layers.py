"""What a report says of layers that are wrong or right in unusual ways: no more than was seen, no false reason."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from mabn_ref.check import check, explain
from mabn_ref.check.adapters import adapt
from mabn_ref.check.report import Report
from mabn_ref.check.scenarios import ALIKE, WIDE, scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm, batch_renorm, frozen_batch_norm, mabn
from tests.check.judging import judged, sentences

SHORT: dict[str, Any] = {"norm_batch": 4, "short": True}


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nothing explains is not worth the longest of the searches here."""
    monkeypatch.setattr(explain, "DEEPEST", 1)


def seen(kind: Any, *names: str, norm: str = "bn", given: str = "eps decay", **more: Any) -> Report:
    """What is said of a layer after the first scenario, and those named: all that some tests need."""
    chosen = [scenario for scenario in scenarios(norm, short=True) if scenario.name in ("start", *names)]
    return judged(norm, adapt(kind), chosen, given=frozenset(given.split()), **more)


def with_functions(module: Any, **own: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(module), **own})


class Layer:
    """Batch normalisation as a class of NumPy."""

    def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
        self.gamma, self.beta = np.ones(channels), np.zeros(channels)
        self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)
        self.eps, self.decay, self.t = eps, decay, 0

    def forward(self, x: Any, training: bool = True) -> Any:
        if not training:
            return self.inferred(x).astype(x.dtype)
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
        self.move(mean, var)
        self.sigma = np.sqrt(var + self.eps)
        self.y = (x - mean) / self.sigma
        return (self.gamma * self.y + self.beta).astype(x.dtype)

    def move(self, mean: Any, var: Any) -> None:
        self.t += 1
        self.running_mean = self.decay * self.running_mean + (1 - self.decay) * mean
        self.running_var = self.decay * self.running_var + (1 - self.decay) * var

    def inferred(self, x: Any) -> Any:
        return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta

    def backward(self, dz: Any) -> Any:
        axes = tuple(range(dz.ndim - 1))
        dgamma, dbeta = (dz * self.y).sum(axes), dz.sum(axes)
        values = dz.size // dz.shape[-1]
        dx = self.gamma * (dz - dbeta / values - self.y * dgamma / values) / self.sigma
        return dx.astype(dz.dtype), dgamma, dbeta


def test_the_class_itself_conforms() -> None:
    report = check(Layer, "bn", **SHORT)
    assert report.conforms, str(report)


class Uncounted(Layer):
    """It keeps no count, so no schedule can say when r and d come in."""

    def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
        super().__init__(channels, eps, decay)
        del self.t

    def move(self, mean: Any, var: Any) -> None:
        self.t = 0
        super().move(mean, var)
        del self.t


class Kept(NamedTuple):
    t: int = 0


class CountedElsewhere(Uncounted):
    """In a dictionary, a named tuple or another object."""

    first: Any = None

    def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
        super().__init__(channels, eps, decay)
        self.kept = copy.deepcopy(self.first)

    def move(self, mean: Any, var: Any) -> None:
        super().move(mean, var)
        if isinstance(self.kept, dict):
            self.kept["t"] = self.kept["t"] + 1
        elif isinstance(self.kept, Kept):
            self.kept = self.kept._replace(t=self.kept.t + 1)
        else:
            self.kept.t += 1


ELSEWHERE = [
    type("Elsewhere", (CountedElsewhere,), {"first": kept})
    for kept in ({"t": np.zeros(1, dtype=int)}, Kept(), SimpleNamespace(t=0))
]


@pytest.mark.parametrize(("layer", "last"), [*((kind, 150_011) for kind in (Layer, *ELSEWHERE)), (Uncounted, 36)])
def test_batch_norm_is_no_batch_renorm_whose_schedule_has_not_begun(layer: type, last: int) -> None:
    """A count is what a pass in training raises by one, whatever its name."""
    report = check(layer, "brn", **SHORT)
    assert not report.conforms
    assert {"r_max", "d_max"}.isdisjoint(report.hyper)
    words = rf"Your r is 1 and your d is 0 up to iteration {last}, the last one run: so far this is batch norm.*"
    assert [re.fullmatch(words, finding.words) is None for finding in report.wrong] == [False], str(report)


class Around:
    """Ours as a class of NumPy: its state, which the first pass makes, is a named tuple with a count."""

    def __init__(self, channels: int) -> None:
        self.gamma, self.beta = np.ones(channels), np.zeros(channels)
        self.state: Any = None

    def forward(self, x: Any, training: bool = True) -> Any:
        config = batch_renorm.Config(norm_batch=len(x))
        state = self.state or batch_renorm.init(x.shape[-1], config, dtype=x.dtype)
        given = x, self.gamma.astype(x.dtype), self.beta.astype(x.dtype), state, config
        if not training:
            return batch_renorm.infer(*given)
        z, self.cache, self.state = batch_renorm.forward(*given)
        return z

    def backward(self, dz: Any) -> Any:
        *gradients, self.state = batch_renorm.backward(dz, self.cache, self.state)
        return gradients


def test_a_right_schedule_is_run_beyond_its_start() -> None:
    report = check(Around, "brn", **SHORT)
    assert report.conforms, str(report)
    assert {"r_max", "d_max"} <= report.hyper.keys()
    assert "from iteration 150,000" not in report.not_run


class WithoutAMean(Uncounted):
    """Modified batch normalisation as a class of NumPy."""

    def forward(self, x: Any, training: bool = True) -> Any:
        axes = tuple(range(x.ndim - 1))
        if not training:
            return (self.gamma * x / np.sqrt(self.running_chi2 + self.eps) + self.beta).astype(x.dtype)
        square = np.mean(x**2, axes)
        self.running_chi2 = self.decay * self.running_chi2 + (1 - self.decay) * square
        self.sigma = np.sqrt(square + self.eps)
        self.y = x / self.sigma
        return (self.gamma * self.y + self.beta).astype(x.dtype)

    def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
        super().__init__(channels, eps, decay)
        del self.running_mean, self.running_var
        self.running_chi2 = np.ones(channels)

    def backward(self, dz: Any) -> Any:
        axes = tuple(range(dz.ndim - 1))
        dgamma, dbeta = (dz * self.y).sum(axes), dz.sum(axes)
        dx = self.gamma * (dz - self.y * dgamma / (dz.size // dz.shape[-1])) / self.sigma
        return dx.astype(dz.dtype), dgamma, dbeta


def test_modified_batch_norm_is_no_mabn_in_its_warm_up() -> None:
    assert check(WithoutAMean, "modified-bn", **SHORT).conforms
    report = check(WithoutAMean, "mabn", **SHORT)
    assert not report.conforms
    words = "the last one run: so far this is modified batch normalisation."
    assert any(finding.words.endswith(words) for finding in report.wrong), str(report)


class OfXAlone(Layer):
    """It returns dx, and keeps no other gradient."""

    def backward(self, dz: Any) -> Any:
        return super().backward(dz)[0]


def test_gradients_that_are_not_returned_are_a_limit() -> None:
    report = check(OfXAlone, "bn", **SHORT)
    assert report.conforms
    assert report.limits == ["it returns no gradient of gamma and beta"]


class Picky(Layer):
    """It takes no single sample at inference, and in training no mean far from 0."""

    def inferred(self, x: Any) -> Any:
        if len(x) == 1:
            raise ValueError("one sample is too few")
        return super().inferred(x)

    def move(self, mean: Any, var: Any) -> None:
        if np.any(abs(mean) > 4096):
            raise ValueError("too far")
        super().move(mean, var)


def test_a_refusal_is_a_limit_and_an_error_no_mistake_in_numbers() -> None:
    report = check(Picky, "bn", **SHORT)
    assert "it refuses one sample at inference (ValueError: one sample is too few" in report.limits[-1]
    (finding,) = report.wrong
    assert finding.words.startswith("mean of 8192 standard deviations: it raises ValueError: too far")
    assert not finding.mistake
    assert "DIFFERS in its behaviour alone (mean of 8192 standard deviations); " in str(report)


def test_an_instance_that_can_be_called_is_no_function_of_the_channels() -> None:
    class Called(Layer):
        __call__ = Layer.forward

    report = check(Called(7), "bn", **SHORT)
    assert report.conforms, str(report)


def test_a_layer_that_differs_from_itself_is_not_said_to_have_other_faults() -> None:
    rng = np.random.default_rng(0)

    class Noisy(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            z = super().forward(x, training)
            return (z + 0.01 * rng.standard_normal(z.shape) * training).astype(x.dtype)

    report = check(Noisy, "bn", **SHORT)
    assert not report.conforms
    assert not report.mistakes, str(report)
    assert "with new layers: forward returned different numbers on a second call" in report.taylor
    assert report.not_run["train, infer, train again"].startswith("two new layers return different numbers")


def test_the_first_difference_is_that_from_the_convention_that_agrees_the_longest() -> None:
    """Not from that of a framework which has the same defaults: its moving variance is another one everywhere."""

    class Odd(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
            super().__init__(channels, eps, 1 - momentum)

        def forward(self, x: Any, training: bool = True) -> Any:
            self.off = 1 + 1e-3 * (training and len(x) > 100)
            return (super().forward(x, training) * self.off).astype(x.dtype)

        def move(self, mean: Any, var: Any) -> None:
            super().move(mean, var * self.off)

    report = seen(Odd, "|B| = 2", "|B| = 257", given="eps", defaults={"eps": 1e-5, "decay": 0.9})
    assert {getattr(d, "scenario", d) for d in report.differences} == {"|B| = 257"}, str(report)


class Adam(Layer):
    """Averages that start at 0."""

    def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
        super().__init__(channels, eps, decay)
        self.running_var = np.zeros(channels)

    def inferred(self, x: Any) -> Any:
        weights = 1 - self.decay**self.t
        mean, var = self.running_mean / weights, self.running_var / weights
        return self.gamma * (x - mean) / np.sqrt(var + self.eps) + self.beta


def test_averages_from_0_that_inference_divides_are_a_convention() -> None:
    report = seen(Adam)
    assert report.conforms, str(report)
    assert any("start at 0, and inference divides them" in finding.words for finding in report.findings)

    class Forgot(Adam):
        def inferred(self, x: Any) -> Any:
            return Layer.inferred(self, x)

    assert seen(Forgot).mistakes == ["bn-variance-starts-at-zero"]


def test_a_number_of_samples_that_forward_refuses_is_a_limit_and_no_difference() -> None:
    class Several(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            if training and len(x) < 2:
                raise ValueError("need two samples")
            return super().forward(x, training)

    class NotOne(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            z = super().forward(x, training)
            return z[:0] if training and len(x) < 2 else z

    class Buffered(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            return super().forward(x, training) + np.zeros(200)[len(x)]

    class Chunked(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            np.zeros(len(x))[:200] + np.zeros(min(len(x), 256))  # a ValueError of NumPy's for more than 200
            return super().forward(x, training)

    report = seen(Several, "|B| = 1")
    assert report.conforms, str(report)
    assert report.limits == ["it refuses calls of 1 sample"]
    assert "need two samples" in report.not_run["|B| = 1"]
    assert not seen(NotOne, "|B| = 1").conforms  # what it returns is no refusal
    for crashes in (Buffered, Chunked):
        assert not seen(crashes, "|B| = 257").conforms


@pytest.mark.parametrize("part", ["inference", "backward"])
def test_a_pass_that_always_fails_is_named_where_forward_works(part: str) -> None:
    class Unfinished(Layer):
        def inferred(self, x: Any) -> Any:
            if part == "inference":
                raise NotImplementedError("fold me first")
            return super().inferred(x)

        def backward(self, dz: Any) -> Any:
            if part == "backward":
                raise NotImplementedError("fold me first")
            return super().backward(dz)

    report = check(Unfinished, "bn", **SHORT)
    assert not report.conforms
    assert f"forward works, and {part} fails: NotImplementedError: fold me first" in str(report).splitlines()[0]


def test_an_eps_of_inference_is_no_cause_of_nan_in_training() -> None:
    class Rooted(Layer):
        def inferred(self, x: Any) -> Any:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + 1e-3) + self.beta

        def backward(self, dz: Any) -> Any:
            dx, *rest = super().backward(dz)
            var = self.sigma**2 - self.eps
            return (dx * np.where(var <= 1e-15, np.nan, 1)).astype(dz.dtype), *rest

    report = check(Rooted, "bn", **SHORT)
    assert "not-finite-on-a-constant" in report.mistakes, str(report)


def test_what_shows_in_the_output_is_not_said_by_a_gradient_alone() -> None:
    """No gradient reaches beta, which is in the output all the same, and twice."""

    class Detached(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            return (super().forward(x, training) + self.beta).astype(x.dtype)

        def backward(self, dz: Any) -> Any:
            dx, dgamma, dbeta = super().backward(dz)
            return dx, dgamma, 0 * dbeta

    words = [finding.words for finding in seen(Detached).findings]
    assert any("no gradient reaches beta" in one for one in words), words
    assert not any("Your output leaves out" in one for one in words), words


@pytest.mark.parametrize(
    ("divisor", "said"),
    [
        (lambda s, eps: np.sqrt(s**2 + eps), []),
        (lambda s, eps: np.sqrt(s + eps), ["Inference takes the root of the averaged standard deviation"]),
    ],
)
def test_an_average_of_standard_deviations_is_told_from_what_inference_makes_of_it(
    divisor: Callable[..., Any], said: list[str]
) -> None:
    class Roots(Layer):
        def move(self, mean: Any, var: Any) -> None:
            super().move(mean, np.sqrt(var))

        def inferred(self, x: Any) -> Any:
            return self.gamma * (x - self.running_mean) / divisor(self.running_var, self.eps) + self.beta

    report = seen(Roots)
    words = [finding.words for finding in report.findings if finding.tensor == "inferred"]
    assert report.understood, str(report)
    assert len(words) == len(said)
    assert all(word.startswith(one) for word, one in zip(words, said, strict=True))


def test_averages_that_are_divided_by_the_count_are_not_made_older() -> None:
    class Sums(Layer):
        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__(channels, eps)
            self.sums, self.num_batches = np.zeros((2, channels)), 0

        def move(self, mean: Any, var: Any) -> None:
            self.num_batches += 1
            self.sums = self.sums + np.stack([mean, var])
            self.running_mean, self.running_var = self.sums / self.num_batches

    report = seen(Sums, "from iteration 150,000", given="eps")
    assert report.conforms, str(report)
    assert "are divided by a count" in report.not_run["from iteration 150,000"]
    assert report.limits == ["how its averages move late in training is not known"]


def test_averages_that_move_otherwise_late_in_training_are_a_difference() -> None:
    class Later(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            super().__init__(channels, eps, decay)
            self.steps = 0

        def move(self, mean: Any, var: Any) -> None:
            self.steps += 1
            self.decay = 0.5 if self.steps > 1000 else 0.9
            super().move(mean, var)

    class Doubled(Later):
        def inferred(self, x: Any) -> Any:
            return super().inferred(x) * (2 if self.steps > 1000 else 1)

    for own in (Later, Doubled):
        report = seen(own, "from iteration 150,000")
        assert not report.conforms, str(report)
        assert any("from iteration 150,000" in str(difference) for difference in report.differences)


def test_a_mean_of_all_batches_may_have_the_rounding_of_its_start() -> None:
    """In single precision 1 + (v - 1) is not v."""

    class Steps(Layer):
        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__(channels, eps)

        def move(self, mean: Any, var: Any) -> None:
            self.t += 1
            for name, value in (("running_mean", mean), ("running_var", var)):
                old = getattr(self, name).astype(value.dtype)
                setattr(self, name, old + (value - old) / value.dtype.type(self.t))

    report = seen(Steps, "float32", given="eps")
    assert report.conforms, str(report)


def test_a_scale_that_starts_at_0_beside_1_is_recognised_in_numpy() -> None:
    class OnePlus(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            super().__init__(channels, eps, decay)
            del self.gamma
            self.scale = np.zeros(channels)

        def __getattr__(self, name: str) -> Any:
            if name == "gamma":
                return 1 + self.scale
            raise AttributeError(name)

    report = check(OnePlus, "bn", **SHORT)
    assert report.conforms, str(report)


def test_a_scale_that_starts_at_0_is_not_tried_on_what_fails() -> None:
    """As in the last layer of a residual block, in a layer that infers nothing before it is trained."""

    class Zero(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            super().__init__(channels, eps, decay)
            self.gamma = np.zeros(channels)

        def inferred(self, x: Any) -> Any:
            if not self.t:
                raise RuntimeError("train first")
            return super().inferred(x)

    report = check(Zero, "bn", **SHORT)
    assert report.conforms, str(report)


def test_the_warm_up_of_batch_renormalization_is_among_its_bounds() -> None:
    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        if hasattr(config.r_max, "at"):
            raise TypeError("bounds are numbers here")
        early = state.iteration < 10
        used = batch_renorm.Config(**vars(config) | {"r_max": 1.0, "d_max": 0.0}) if early else config
        z, cache, state = batch_renorm.forward(x, gamma, beta, state, used)
        return z, cache._replace(config=config), state

    report = check(with_functions(batch_renorm, forward=forward), "brn", **SHORT)
    words = next(finding.words for finding in report.findings if "bounds" in finding.words)
    assert "are 1 and 0 up to iteration 10; 2 and 1.5 up to" in words
    assert words.count("2 and 1.5") == 1  # however old the layer was made


def frozen(infer: Callable[..., Any]) -> Any:
    """Frozen batch normalisation of NumPy, with its map per channel."""

    class Frozen:
        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            self.gamma, self.beta, self.eps = np.ones(channels), np.zeros(channels), eps
            self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)

        def forward(self, x: Any, training: bool = True) -> Any:
            scale, shift = infer(self.gamma, self.beta, self.running_mean, self.running_var, self.eps)
            self.x, self.scale_of_x = x, scale
            return (scale * x + shift).astype(x.dtype)

        def backward(self, dz: Any) -> Any:
            y = (self.x - self.running_mean) / np.sqrt(self.running_var + self.eps)
            axes = tuple(range(dz.ndim - 1))
            return (dz * self.scale_of_x).astype(dz.dtype), (dz * y).sum(axes), dz.sum(axes)

    return Frozen


def _right(gamma: Any, beta: Any, mean: Any, var: Any, eps: float) -> Any:
    scale = gamma / np.sqrt(var + eps)
    return scale, beta - scale * mean


@pytest.mark.parametrize(
    ("infer", "conforms"),
    [
        (_right, True),
        (lambda g, b, m, v, eps: (_right(g, b, m, v, eps)[0], b + _right(g, b, m, v, eps)[0] * m), False),
        (lambda g, b, m, v, eps: (g / (v + eps), b - g / (v + eps) * m), False),
        (lambda g, b, m, v, eps: (g / np.sqrt(1 + eps), b), False),
    ],
    ids=["right", "mean added", "no root", "constants not read"],
)
def test_frozen_batch_norm_is_checked_with_constants_that_count(infer: Callable[..., Any], conforms: bool) -> None:
    report = check(frozen(infer), "frozen-bn", **SHORT)
    assert report.conforms is conforms, str(report)
    assert not report.limits


def test_what_is_made_of_a_constant_is_not_taken_for_one() -> None:
    class Cached(frozen(_right)):  # type: ignore[misc]
        """The inverse of the root is kept, and would be wrong if the variance alone were set."""

        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__(channels, eps)
            self.inv_std = 1 / np.sqrt(self.running_var + eps)

    report = check(Cached, "frozen-bn", **SHORT)
    assert report.conforms, str(report)
    assert report.limits == ["its constants could not be set"]


def test_constants_that_cannot_be_set_are_a_limit() -> None:
    ours = check(frozen_batch_norm, "frozen-bn", **SHORT)
    assert ours.conforms
    assert not ours.limits

    class Hidden(frozen(_right)):  # type: ignore[misc]
        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__(channels, eps)
            self.kept = [self.running_mean, self.running_var]
            del self.running_mean, self.running_var

        def __getattr__(self, name: str) -> Any:
            if name in ("running_mean", "running_var"):
                return self.kept[name == "running_var"]
            raise AttributeError(name)

    report = check(Hidden, "frozen-bn", **SHORT)
    assert report.conforms, str(report)
    assert report.limits == ["its constants could not be set"]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.frameworks
def test_what_an_instance_was_trained_on_is_no_setting(torch: Any) -> None:
    layer = torch.nn.BatchNorm1d(5, momentum=0.3)
    layer(3 + torch.randn(8, 5))
    report = check(layer, "bn", **SHORT)
    assert report.conforms, str(report)

    class Frozen(torch.nn.Module):  # type: ignore[name-defined,misc]
        """Buffers alone, as in detection code."""

        def __init__(self, channels: int, eps: float = 1e-5) -> None:
            super().__init__()
            self.eps = eps
            for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                self.register_buffer(name, torch.full((channels,), value))

        def forward(self, x: Any) -> Any:
            scale = self.weight / torch.sqrt(self.running_var + self.eps)
            shift = self.bias - scale * self.running_mean
            shape = [-1] + [1] * (x.ndim - 2)
            return scale.reshape(shape) * x + shift.reshape(shape)

    trained = Frozen(5)
    trained.weight.mul_(1.5), trained.running_mean.add_(2), trained.running_var.mul_(3)
    for source in (Frozen, trained):
        report = check(source, "frozen-bn", **SHORT)
        assert report.conforms, str(report)
        assert not any("constants" in limit for limit in report.limits)
        assert not any("inference changes" in note for note in report.notes), (
            "the check wrote gamma and beta into them"
        )


@pytest.mark.frameworks
def test_a_parameter_without_a_gradient_is_said(torch: Any) -> None:
    class Held(torch.nn.BatchNorm1d):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.weight.requires_grad_(False)

    report = check(Held, "bn", **SHORT)
    assert "its weight is not trained, nor its gradient compared" in report.limits, str(report)


@pytest.mark.frameworks
def test_a_buffer_called_weight_is_no_scale_where_nothing_is_frozen(torch: Any) -> None:
    class Sized(torch.nn.Module):  # type: ignore[name-defined,misc]
        """Batch normalisation that keeps the mean of |x| besides, for whoever wants to see it."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(channels, affine=False)
            self.register_buffer("weight", torch.zeros(channels))

        def forward(self, x: Any) -> Any:
            if self.training:
                self.weight = x.detach().abs().mean([a for a in range(x.ndim) if a != 1])
            return self.norm(x)

    report = check(Sized, "bn", **SHORT)
    assert not report.differences, str(report)
    assert not {"copy-differs", "pickle-differs"} & set(report.mistakes)


@pytest.mark.frameworks
def test_a_scale_of_another_size_is_said(torch: Any) -> None:
    class One(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(channels, affine=False)
            self.weight, self.bias = (torch.nn.Parameter(torch.full((1,), v)) for v in (1.0, 0.0))

        def forward(self, x: Any) -> Any:
            return self.weight * self.norm(x) + self.bias

    report = check(One, "bn", **SHORT)
    said = "its {} of shape (1,) is not one number per channel, and was left alone"
    assert report.limits[:2] == [said.format("weight"), said.format("bias")]


@pytest.mark.frameworks
def test_a_scale_of_pytorch_that_starts_at_0_is_recognised_on_one_sample(torch: Any) -> None:
    class Gemma(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(channels))

        def forward(self, x: Any) -> Any:
            if x.ndim > 2:
                raise ValueError("it takes (N, C) alone")
            return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)

    report = check(Gemma, "rms", norm_batch=1, short=True)
    assert report.conforms, str(report)


@pytest.mark.frameworks
def test_the_scale_of_a_flax_module_has_its_size_and_its_start_looked_at() -> None:
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
    jnp = pytest.importorskip("jax.numpy")

    class Gemma(linen.Module):  # type: ignore[name-defined,misc]
        size: int = 0

        @linen.compact
        def __call__(self, x: Any) -> Any:
            scale = self.param("scale", linen.initializers.zeros_init(), (self.size or x.shape[-1],))
            return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * (1 + scale)

    assert check(Gemma(), "rms", **SHORT).conforms
    assert "scale has shape (1,), expected 6 numbers, one per channel" in sentences(
        check(Gemma(size=1), "rms", **SHORT)
    )


@pytest.mark.frameworks
def test_a_scale_of_keras_that_starts_at_0_beside_1() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    os.environ.setdefault("KERAS_BACKEND", "torch")  # once it is loaded it has one, which is as good
    keras = pytest.importorskip("keras", reason="Keras is not installed")

    class Gemma(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="zeros")

        def call(self, x: Any) -> Any:
            mean = keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True)
            return x * keras.ops.rsqrt(mean + 1e-6) * (1 + self.scale)

    report = check(Gemma, "rms", **SHORT)
    assert report.conforms, str(report)


@pytest.mark.frameworks
@pytest.mark.parametrize("right", [True, False])
def test_parameters_of_flax_and_keras_without_the_usual_names_go_by_their_start(right: bool) -> None:
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")

    def output(x: Any, scale: Any, shift: Any) -> Any:
        y = (x - x.mean(-1, keepdims=True)) * (x.var(-1, keepdims=True) + 1e-5) ** -0.5
        return y * scale + shift if right else (y + shift) * scale

    class Unnamed(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
            self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros")

        def call(self, x: Any) -> Any:
            mean = keras.ops.mean(x, -1, keepdims=True)
            var = keras.ops.mean(keras.ops.square(x - mean), -1, keepdims=True)
            y = (x - mean) * keras.ops.rsqrt(var + 1e-5)
            return y * self.scale + self.shift if right else (y + self.shift) * self.scale

    class Greek(linen.Module):  # type: ignore[name-defined,misc]
        @linen.compact
        def __call__(self, x: Any) -> Any:
            ones, zeros = linen.initializers.ones_init(), linen.initializers.zeros_init()
            return output(x, self.param("alpha", ones, x.shape[-1:]), self.param("delta", zeros, x.shape[-1:]))

    for layer in (Unnamed, Greek()):
        report = check(layer, "ln", **SHORT)
        assert report.conforms is right, str(report)


@pytest.mark.frameworks
@pytest.mark.parametrize("right", [True, False])
def test_parameters_that_a_module_makes_at_its_first_call_are_set(torch: Any, right: bool) -> None:
    class Late(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: Any) -> Any:
            if not hasattr(self, "weight"):
                self.weight, self.bias = (torch.nn.Parameter(torch.full(x.shape[-1:], v)) for v in (1.0, 0.0))
            y = torch.nn.functional.layer_norm(x, x.shape[-1:])
            return y * self.weight + self.bias if right else (y + self.bias) * self.weight

    report = check(Late, "ln", axis=-1, **SHORT)
    assert report.conforms is right, str(report)
    assert "input without a gradient" in report.behaviour


@pytest.mark.frameworks
def test_a_parameter_that_is_not_recognised_is_said(torch: Any) -> None:
    class Stacked(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.both = torch.nn.Parameter(torch.stack([torch.ones(channels), torch.zeros(channels)]))

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.layer_norm(x, x.shape[-1:], *self.both)

    report = check(Stacked, "ln", axis=-1, **SHORT)
    assert report.conforms, str(report)
    said = "its both of shape (2, 6) is not known as gamma or beta, and kept its initial value"
    assert said in report.limits


def test_a_copy_that_shares_what_backward_alone_reads_is_found() -> None:
    class Remembering(Layer):
        """Its gradient has a part that grows with the batches so far."""

        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            super().__init__(channels, eps, decay)
            self.batches: list[int] = []

        def backward(self, dz: Any) -> Any:
            self.batches.append(len(dz))
            dx, *rest = super().backward(dz)
            return dx + 1e-3 * len(self.batches), *rest

        def __deepcopy__(self, memo: Any) -> Any:
            copied = type(self)(len(self.gamma))
            copied.__dict__ |= {k: v if k == "batches" else copy.deepcopy(v, memo) for k, v in self.__dict__.items()}
            return copied

    faults = [finding for finding in check(Remembering, "bn", **SHORT).findings if finding.tensor == "behaviour"]
    assert [finding.mistake for finding in faults] == ["copy-differs"]
    assert "training the copy changes the original: it continues with" in faults[0].words


def renamed(scale: str, shift: str) -> type[Layer]:
    """The class with other names for its parameters."""

    def under(name: str) -> property:
        return property(lambda self: vars(self)[name], lambda self, value: vars(self).update({name: value}))

    return type("Renamed", (Layer,), {"gamma": under(scale), "beta": under(shift)})


@pytest.mark.parametrize("names", [("gamma", "beta"), ("W", "b")])
def test_gradients_that_add_up_until_they_are_cleared_are_right(names: tuple[str, str]) -> None:
    class Adding(renamed(*names)):  # type: ignore[misc]
        def zero_grad(self) -> None:
            self.grads = {f"d{name}": np.zeros(len(self.running_mean)) for name in names}

        def backward(self, dz: Any) -> Any:
            dx, *rest = super().backward(dz)
            for name, gradient in zip(names, rest, strict=True):
                self.grads[f"d{name}"] = self.grads[f"d{name}"] + gradient
            return dx

    report = check(Adding, "bn", **SHORT)
    assert report.conforms, str(report)
    assert all({"dgamma", "dbeta"} <= set(row.errors) for row in report.rows if row.errors)


def test_what_is_cleared_before_a_pass_may_be_what_backward_needs() -> None:
    class Clearing(Layer):
        def zero_grad(self) -> None:
            self.y = self.sigma = None

    class Asking(Layer):
        def zero_grad(self, optimiser: Any) -> None:
            raise AssertionError

    assert check(Clearing, "bn", **SHORT).conforms
    assert check(Asking, "bn", **SHORT).conforms


def test_a_short_name_is_beta_where_there_is_no_other() -> None:
    class Early(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            self.b = np.zeros(channels)  # the mean of the batch
            super().__init__(channels, eps, decay)

        def move(self, mean: Any, var: Any) -> None:
            self.b = mean
            super().move(mean, var)

    assert check(Early, "bn", **SHORT).conforms


def test_parameters_that_are_not_found_are_said_to_be() -> None:
    report = check(renamed("stretch", "lift"), "bn", **SHORT)
    assert not report.conforms
    assert "no attribute was recognised as gamma by its name, so gamma was not set" in sentences(report)


@pytest.mark.parametrize("field", ["decay", "eps"])
def test_a_number_that_is_taken_and_not_heeded_is_named(field: str) -> None:
    class Deaf(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            own = {"eps": eps, "decay": decay} | {field: {"eps": 1e-5, "decay": 0.9}[field]}
            super().__init__(channels, **own)

    report = check(Deaf, "bn", **SHORT)
    assert not report.conforms
    assert f"{field} is" in sentences(report)
    assert "whatever it is given" in sentences(report)


def test_what_is_right_in_most_scenarios_is_not_said_to_be_coarse() -> None:
    """A kernel that leaves the last samples of a large batch out."""

    class Tiled(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            whole = x[: len(x) // 64 * 64] if training and len(x) > 64 else x
            axes = tuple(range(x.ndim - 1))
            z = super().forward(x, training)
            if whole is x:
                return z
            self.y = (x - whole.mean(axes)) / (sigma := np.sqrt(whole.var(axes) + self.eps))
            self.sigma = sigma
            return (self.gamma * self.y + self.beta).astype(x.dtype)

    report = str(check(Tiled, "bn"))
    assert "|B| = 257, step 1: z" in report
    assert "everywhere" not in report


def test_a_layer_that_is_another_normaliser_is_called_by_its_name() -> None:
    """Its gradients may be wrong: it is what forward computes."""

    class NoG(Layer):
        def backward(self, dz: Any) -> Any:
            dx, dgamma, dbeta = super().backward(dz)
            return dx + self.gamma * dbeta / self.sigma / (dz.size // dz.shape[-1]), dgamma, dbeta

    class RootMeanSquare(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            self.sigma = np.sqrt((x**2).mean(-1, keepdims=True) + self.eps)
            self.y = x / self.sigma
            return (self.gamma * self.y + self.beta).astype(x.dtype)

    for own, norm, other in ((Layer, "frozen-bn", "bn"), (NoG, "mabn", "bn"), (RootMeanSquare, "bn", "rms")):
        report = check(own, norm, **SHORT)
        assert (report.conforms, report.other, report.to_dict()["other"]) == (False, other, other), str(report)
        assert str(report).splitlines()[1].endswith(f"check it with --as {other}")


def test_a_layer_in_a_process_of_its_own_is_called_by_its_name() -> None:
    assert check("mabn_ref.norms:modified_batch_norm", "bn", **SHORT).other == "modified-bn"


def test_what_another_normaliser_cannot_be_asked_for_is_no_error() -> None:
    """An average that never moves is no setting of batch norm, as which it is looked at in passing."""
    report = check(Layer, "rms", extra={"decay": 1.0}, **SHORT)
    assert not report.conforms


def test_a_layer_with_the_outputs_of_its_own_kind_is_called_by_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch Renormalization starts as batch norm."""
    monkeypatch.setattr(explain, "DEEPEST", 2)

    class Averages(Layer):
        def __init__(self, channels: int, eps: float = 1e-5, decay: float = 0.9) -> None:
            super().__init__(channels, eps, decay)
            self.running_var = np.zeros(channels)

        def move(self, mean: Any, var: Any) -> None:
            super().move(self.running_mean, var)

    report = check(Averages, "bn", **SHORT)
    assert len([f for f in report.findings if f.tensor == "state" and not f.accepted]) > 1, str(report)
    assert report.other == ""


def test_a_layer_that_is_no_normaliser_is_called_by_no_name() -> None:
    class Shifted(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            return (super().forward(x, training) + 1e-3 * np.abs(x)).astype(x.dtype)

    report = check(Shifted, "bn", **SHORT)
    assert (report.conforms, report.other) == (False, "")


class Cutting(Layer):
    """It normalises each call in parts, which begin at some samples."""

    starts = staticmethod(lambda samples: range(2, samples, 2))

    def forward(self, x: Any, training: bool = True) -> Any:
        if not training:
            return super().forward(x, training)
        self.at, self.parts, found = self.starts(len(x)), [], []
        for part in np.split(x, self.at):
            found.append(super().forward(part))
            self.parts.append((self.y, self.sigma))
        return np.concatenate(found)

    def backward(self, dz: Any) -> Any:
        found = []
        for kept, part in zip(self.parts, np.split(dz, self.at), strict=True):
            self.y, self.sigma = kept
            found.append(super().backward(part))
        dx, dgamma, dbeta = zip(*found, strict=True)
        return np.concatenate(dx), sum(dgamma), sum(dbeta)


def halves(samples: int) -> range:
    return range(samples // 2, samples, samples // 2) if samples % 2 == 0 else range(0)


NUMBERS = ("|B| = 8", "|B| = 32", "|B| = 257")


@pytest.mark.parametrize(
    ("starts", "names", "words"),
    [
        (Cutting.starts, (), "those of normalisation batches of 2 samples: check it with --norm-batch 2 --groups 2"),
        (lambda samples: range(8, samples, 8), NUMBERS, "those of normalisation batches of 8 samples"),
        (halves, NUMBERS, "those of 2 normalisation batches in each call: check it with --norm-batch 2 --groups 2"),
        (lambda samples: range(40, samples, 40), NUMBERS, "right in calls of up to 32 samples: if it cuts larger"),
        (lambda samples: range(5, samples, 5), NUMBERS[:1], ""),
        (lambda samples: range(3, samples if samples == 4 else 0), NUMBERS, ""),
    ],
)
def test_a_layer_that_cuts_calls_is_told_how_to_be_checked(starts: Any, names: tuple[str, ...], words: str) -> None:
    own: Any = type("Own", (Cutting,), {"starts": staticmethod(starts)})

    def judge(kind: Any) -> Report:
        chosen = [scenario for scenario in scenarios("bn") if scenario.name in ("start", *names)]
        return judged("bn", adapt(kind), chosen, given=frozenset(("eps", "decay")))

    report = judge(own)
    assert report.smaller.startswith(f"its outputs are {words}") if words else report.smaller == "", report.smaller
    assert not report.conforms
    assert report.to_dict()["smaller_batches"] == report.smaller

    class Wrong(own):
        """It is told so too, since how it is cut concerns its output alone."""

        def move(self, mean: Any, var: Any) -> None:
            super().move(mean, 2 * var)

        def backward(self, dz: Any) -> Any:
            dx, *rest = super().backward(dz)
            return 2 * dx, *rest

    assert judge(Wrong).smaller == report.smaller


def test_a_layer_whose_samples_are_alone_is_not_told_to_cut_calls() -> None:
    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        return mabn.forward(x, gamma, beta, state, replace(config, norm_batch=1))

    report = judged("mabn", FunctionsTarget(with_functions(mabn, forward=forward)), scenarios("mabn", short=True)[:1])
    assert ("z" in report.lost, report.smaller) == (True, "")


def test_a_layer_that_cuts_calls_conforms_when_checked_as_it_is_told() -> None:
    report = check(Cutting, "bn", **SHORT)
    assert str(report).splitlines()[1].startswith("  its outputs are those of normalisation batches of 2 samples")
    assert "where it first differs:" in str(report)
    assert report.other == ""
    assert check(Cutting, "bn", norm_batch=2, groups=2, short=True).conforms


def test_a_layer_that_cuts_calls_is_called_by_no_other_name() -> None:
    """In calls of four samples it is instance normalisation."""

    def starts(samples: int) -> range:
        part = max(samples // 4, 1)
        return range(part, samples, part)

    quarters = type("Quarters", (Cutting,), {"starts": staticmethod(starts)})
    report = check(quarters, "bn")
    assert report.smaller.startswith("its outputs are those of 4 normalisation batches in each call")
    assert report.other == ""


def test_a_layer_that_is_wrong_on_some_inputs_is_said_to_be_right_on_the_others() -> None:
    class Sequences(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            return super().forward(x, training) * (1 + 0.1 * (x.ndim == 3 and training))

    class Volumes(Layer):
        def backward(self, dz: Any) -> Any:
            dx, *rest = super().backward(dz)
            return dx * (1 + 0.1 * (dz.ndim == 5)), *rest

    where = "conform on (N, C), images and"
    for own, rank, words in (
        (Sequences, 3, f"DIFFERS on sequences; its numbers {where} volumes"),
        (Volumes, 5, "DIFFERS on volumes; its numbers conform on (N, C), sequences and images"),
    ):
        report = check(own, "bn", **SHORT)
        assert (report.differing, report.other) == ([rank], "")
        assert str(report).splitlines()[0].endswith(words), str(report)

    class Images(Layer):
        """Most scenarios are of images: that the few others agree proves too little."""

        def forward(self, x: Any, training: bool = True) -> Any:
            return super().forward(x, training) * (1 + 0.1 * (x.ndim == 4 and training))

    class Raises(Layer):
        def forward(self, x: Any, training: bool = True) -> Any:
            if x.ndim == 4 and self.t > 8:
                raise RuntimeError("no memory left")
            return super().forward(x, training)

    class Late(Layer):
        def move(self, mean: Any, var: Any) -> None:
            super().move(mean, var * (1 + 0.1 * (self.t > 20)))

    class Overwriting(Sequences):
        def forward(self, x: Any, training: bool = True) -> Any:
            z = super().forward(x, training)
            x *= 2
            return z

    for own in (Images, Raises, Late, Overwriting):
        report = check(own, "bn", **SHORT)
        assert (report.conforms, report.other) == (False, ""), str(report)
        assert ": DIFFERS on" not in str(report).splitlines()[0]


@pytest.mark.parametrize("name", [f"{WIDE} channels", ALIKE])
def test_what_goes_by_the_lengths_of_axes_is_found(name: str) -> None:
    class ByLength(FunctionsTarget):
        """Its channels are on the first axis that is as long as gamma; a wide layer has a way of its own."""

        axis = -1

        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            if name == ALIKE:
                self.axis = x.shape.index(len(gamma))
            z = super().forward(layer, np.moveaxis(x, self.axis, -1), gamma, beta, training)
            return np.moveaxis(z, -1, self.axis) * (1 + (name != ALIKE and len(gamma) % 8 == 0))

        def backward(self, layer: Any, dz: Any) -> Any:
            dx, *rest = super().backward(layer, np.moveaxis(dz, self.axis, -1))
            return np.moveaxis(dx, -1, self.axis), *rest

    report = check(ByLength(batch_norm), "bn", short=True)
    assert [(d.scenario, d.tensor) for d in report.differences if not isinstance(d, str)] == [(name, "z")]


def test_the_width_of_a_layer_that_has_one_is_kept() -> None:
    report = check(Layer(24), "bn", short=True)
    assert report.conforms, str(report)
    assert report.not_run[ALIKE] == report.not_run[f"{WIDE} channels"] == "it has 24 channels already"
