"""The check: verdicts, reports, and targets that misbehave."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from mabn_ref.check import ConformanceError, Report, assert_conforms, check, run
from mabn_ref.check.adapters import load
from mabn_ref.check.run import TargetError
from mabn_ref.check.scenarios import scenarios
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.cli import main
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import batch_norm, mabn
from tests.check import layers
from tests.check.judging import GIVEN, judged, sentences, told

SHORT = {"norm_batch": 8, "short": True}


def test_ours_conforms_and_says_so() -> None:
    report = check(mabn, "mabn", norm_batch=2, short=True)
    assert report.conforms
    headline, choices, *_ = str(report).splitlines()
    assert headline == "mabn_ref.norms.mabn as MABN: conforms on (N, C), sequences, images and volumes"
    assert choices == "  the same choices as the paper"
    assert not report.findings
    assert set(report.ulps) == {"z", "dx"}
    assert report.ulps["z"][0] < 2
    assert_conforms(mabn, "mabn", norm_batch=2, short=True)


@pytest.fixture(scope="module")
def without_g() -> Report:
    return check(wrong(named("bn-no-g")), "bn", **SHORT)


def test_a_mistake_is_said_in_words_with_its_equation(without_g: Report) -> None:
    assert not without_g.conforms
    text = str(without_g)
    assert ": DIFFERS, for a known reason\n" in text
    assert "dx: Your dx is what you get without the g_B term of equation (4)" in text
    assert "[bn-no-g; bn-backward (4)]" in text


def test_the_dictionary_is_json_and_complete(without_g: Report) -> None:
    kept = json.loads(json.dumps(without_g.to_dict()))
    assert kept["format"] == 1
    assert kept["conforms"] is False
    assert [finding["mistake"] for finding in kept["findings"]] == ["bn-no-g"]
    assert kept["findings"][0]["equation"] == "bn-backward (4)"
    assert {row["scenario"] for row in kept["scenarios"]} >= {"start", "small eps", "float32", "rank 2"}


def test_the_assertion_fails_with_the_report() -> None:
    with pytest.raises(ConformanceError, match="Psi_B term of equation"):
        assert_conforms(wrong(named("modified-no-psi")), "modified-bn", **SHORT)


def test_nothing_is_found_where_nothing_matches_and_the_first_place_is_given() -> None:
    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, dgamma, dbeta, state = batch_norm.backward(dz, cache, state)
        return dx + 1e-3 * dx**3, dgamma, dbeta, state

    odd = SimpleNamespace(**{**vars(batch_norm), "backward": backward})
    report = check(odd, "bn", **SHORT)
    assert not report.conforms
    assert not report.findings
    assert str(report.differences[0]).startswith("start, step 1: dx[")
    assert "Taylor" in report.taylor
    assert "dx is not the derivative of forward" in report.taylor
    assert "dgamma is the derivative of forward" in report.taylor


FOURTH = "call 4 of forward, in training, on an array of shape (24, 2, 3, 5), float64"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", "step 4: RuntimeError: no luck today (layers.py, line "),
        ("NotFinite", "step 4: z is inf at [0, 0, 0, 0]"),
        ("WrongShape", "step 4: z has shape (24, 2, 3, 1), expected (24, 2, 3, 5)"),
        ("Hangs", f"several in a call: it took longer than 0.5 s; it was in {FOURTH}"),
    ],
)
def test_a_target_that_fails_is_reported_and_the_other_scenarios_run(name: str, said: str) -> None:
    report = check(getattr(layers, name)(), "bn", time_limit=0.5 if name == "Hangs" else 20, **SHORT)
    _one_failure(report, said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Hangs", f"several in a call: it took longer than 2 s; it was in {FOURTH}"),
        ("Dies", f"several in a call: the process ended with 3; it was in {FOURTH}"),
        ("Answers", "its process wrote something that is not an answer"),
        ("Pickles", "its process wrote something that is not an answer"),
    ],
)
def test_a_path_runs_in_a_process_of_its_own_which_may_hang_or_die(name: str, said: str) -> None:
    _one_failure(check(f"tests.check.layers:{name}", "bn", time_limit=2, **SHORT), said)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_time_limit_in_which_nothing_can_run_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match=rf"^time_limit is {limit}, expected a finite number of at least 0\.1$"):
        check(batch_norm, "bn", time_limit=limit, **SHORT)


def _one_failure(report: Report, said: str) -> None:
    assert not report.conforms
    assert [str(d).startswith("several in a call") and said in str(d) for d in report.differences] == [True]
    assert [row.scenario for row in report.rows if row.why] == ["several in a call"]
    assert report.preset == "the paper"


@pytest.mark.parametrize(
    ("function", "call", "said"),
    [
        ("make", 1, "making a layer"),
        ("forward", 1, "in call 1 of forward, in training, on an array of shape (8, 2, 3, 5), float64"),
        ("forward", 2, "in call 2 of forward, in inference, on an array of shape (7, 2, 3, 5), float64"),
        ("backward", 1, "in call 1 of backward, on an array of shape (8, 2, 3, 5), float64"),
        ("state", 1, "in call 1 of state"),
    ],
)
def test_a_target_that_hangs_at_once_gets_a_report_that_says_where(function: str, call: int, said: str) -> None:
    target, calls = FunctionsTarget(batch_norm), 0

    def counted(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            time.sleep(3600)
        return getattr(FunctionsTarget, function)(target, *given)

    setattr(target, function, counted)
    report = check(target, "bn", time_limit=0.5, **SHORT)
    assert not report.conforms
    assert report.differences == [f"when it was first called: it took longer than 0.5 s; it was {said}"]
    assert "it could not be compared" in sentences(report)


def test_a_layer_that_ends_its_process_at_once_gets_the_report_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "tests.check.layers:DiesAtOnce", "--as", "bn", "--short", "--json"]) == 1
    kept = json.loads(capsys.readouterr().out)
    assert kept["conforms"] is False
    (why,) = kept["differences"]
    assert why.startswith("when it was first called: the process ended with 3; it was in call 2 of forward, in infer")


def test_a_probe_that_a_layer_does_not_come_back_from_is_its_fault() -> None:
    report = check("tests.check.layers:DiesOfAConstant", "bn", **SHORT)
    assert not report.conforms
    assert report.mistakes == []  # whether it would be finite is not known
    (words,) = [finding.words for finding in report.findings if finding.tensor == "behaviour"]
    assert words.startswith("constant channel: the process ended with 3; it was in call 1 of forward, in training")
    assert {"input kept", "instances apart"} <= set(report.behaviour)  # those before and behind it ran
    assert "DIFFERS in its behaviour alone (constant channel); " in str(report)


@pytest.mark.parametrize("target", [layers.BreaksOnImages(), "tests.check.layers:BreaksOnImages"])
def test_that_backward_fails_where_forward_works_is_no_refusal(target: Any) -> None:
    report = check(target, "bn", **SHORT)
    assert not report.conforms
    headline = str(report).splitlines()[0].partition(": ")[2]
    why = r"RuntimeError: no images please \(layers\.py, line \d+\)"
    wanted = rf"DIFFERS: on images forward works, and backward fails: {why}; its numbers conform on \(N, C\), "
    assert re.match(wanted, headline), headline
    assert "not run" not in headline
    assert report.to_dict()["broken"] == report.broken != ""


def _changing(**changed: Any) -> FunctionsTarget:
    return FunctionsTarget(SimpleNamespace(**{**vars(batch_norm), **changed}))


def _odd_inference(x: Any, *rest: Any) -> Any:
    return batch_norm.infer(x, *rest)[..., :1] if x.ndim == 3 else batch_norm.infer(x, *rest)


def _odd_training(x: Any, *rest: Any) -> Any:
    z, cache, state = batch_norm.forward(x, *rest)
    return np.where(x.ndim > 3, np.nan, z), cache, state


def _odd_backward(dz: Any, *rest: Any) -> Any:
    dx, *gradients = batch_norm.backward(dz, *rest)
    return np.where(dz.ndim == 2, np.inf, dx), *gradients


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (_changing(infer=_odd_inference), "on sequences forward works, and inference fails: z has shape (7, 3, 1),"),
        (_changing(forward=_odd_training), "on images and volumes z is NaN; its numbers conform on (N, C) and seq"),
        (_changing(backward=_odd_backward), "on (N, C) dx is inf; its numbers conform on sequences, images and vol"),
    ],
    ids=["inference", "z", "dx"],
)
def test_what_is_no_number_or_has_another_shape_is_no_refusal(target: Any, said: str) -> None:
    report = check(target, "bn", **SHORT)
    assert not report.conforms
    assert f": DIFFERS: {said}" in sentences(report)


@pytest.mark.parametrize("groups", [1, 3])
def test_of_one_value_that_has_no_variance_nan_is_no_fault_of_a_layer(groups: int) -> None:
    def forward(x: Any, *rest: Any) -> Any:
        return (np.nan * x, None, rest[2]) if x.ndim == 2 else batch_norm.forward(x, *rest)

    report = check(_changing(forward=forward), "bn", norm_batch=1, groups=groups, short=True)
    assert not report.broken
    assert report.refused[2].startswith("z is nan")


def _all_nan(dz: Any, *rest: Any) -> Any:
    dx, *gradients = batch_norm.backward(dz, *rest)
    return np.nan * dx, *gradients


def _square_alone(x: Any, *rest: Any) -> Any:
    if x.ndim != 4:
        raise ValueError("images alone")
    z, cache, state = batch_norm.forward(x, *rest)
    return np.inf * z**2, cache, state


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            _changing(forward=lambda x, *rest: (np.nan * x, *batch_norm.forward(x, *rest)[1:])),
            "z is NaN on all inputs",
        ),
        (_changing(infer=lambda x, *rest: np.nan * x), "z is NaN at inference on all inputs"),
        (_changing(backward=_all_nan), "dx is NaN on all inputs"),
        (_changing(forward=_square_alone), "on images z is inf; not run: (N, C), sequences and volumes"),
    ],
    ids=["z", "inferred", "dx", "images alone"],
)
def test_a_layer_that_returns_no_numbers_differs_and_is_told_so_once(target: Any, said: str) -> None:
    report = check(target, "bn", **SHORT)
    assert not report.conforms
    said += " that were tried" * said.endswith("all inputs")
    assert str(report) == f"FunctionsTarget as batch normalisation: DIFFERS: {said}"


def test_a_layer_that_fails_on_images_and_is_wrong_elsewhere_is_said_to_be_both() -> None:
    class Both(layers.BreaksOnImages):
        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            return super().forward(layer, x, gamma, 0 * beta, training)

    said = ": DIFFERS; on images forward works, and backward fails: Run"
    assert said in sentences(check(Both(), "bn", **SHORT))


def test_a_layer_that_cannot_be_made_for_one_scenario_came_to_no_step_of_it() -> None:
    class Choosy(FunctionsTarget):
        def make(self, channels: int, config: Any) -> Any:
            if config.eps == 1e-2:
                raise ValueError("eps is too large")
            return super().make(channels, config)

    report = check(Choosy(batch_norm), "bn", **SHORT)
    assert not report.conforms
    assert [str(d).partition(" (")[0] for d in report.differences] == ["start: ValueError: eps is too large"]
    assert {row.scenario: row.steps for row in report.rows}["start"] == 0


def test_of_moving_averages_that_were_not_seen_nothing_is_said() -> None:
    class Stops(layers.Raises):
        """It keeps its averages to itself, and fails before inference; its defaults are PyTorch's."""

        defaults: ClassVar[dict[str, float]] = {"eps": 1e-5, "decay": 0.9}

        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            z = super().forward(layer, x, gamma, beta, training)
            return self.otherwise(z) if self.steps == 3 else z

        def state(self, layer: Any) -> dict[str, Any]:
            return {}

    report = check(Stops(), "bn", **SHORT)
    assert not report.conforms
    assert report.preset not in ("PyTorch", "Chainer", "")
    assert {finding.tensor for finding in report.findings} == {"behaviour"}
    assert all("it raises RuntimeError: no luck today" in finding.words for finding in report.findings)


def test_a_layer_of_single_precision_is_compared_as_one() -> None:
    report = check(layers.Single(), "bn", **SHORT)
    assert report.conforms, str(report)
    assert "z is float32 where x is float64" in report.notes


@pytest.mark.parametrize(("kept", "fine"), [("mean", False), ("calls", True)])
def test_inference_leaves_moving_statistics_alone_but_may_count(kept: str, fine: bool) -> None:
    class Restless(FunctionsTarget):
        """Batch norm whose inference moves its mean, or counts."""

        def make(self, channels: int, config: Any) -> Any:
            self.calls = 0
            return super().make(channels, config)

        def forward(self, layer: Any, x: Any, gamma: Any, beta: Any, training: bool) -> Any:
            self.calls += not training
            return super().forward(layer, x, gamma, beta, training)

        def state(self, layer: Any) -> dict[str, Any]:
            found = super().state(layer) | {"calls": self.calls}
            return found | ({"mean": found["mean"] + self.calls} if kept == "mean" else {})

    report = check(Restless(batch_norm), "bn", **SHORT)
    said = report.notes if fine else [finding.words for finding in report.findings]
    assert report.conforms == fine, str(report)
    assert report.understood
    assert any(f"nference changes {kept}" in line for line in said)
    assert fine or len([line for line in said if "mean" in line]) == 1  # one line for one difference


def test_a_target_that_never_runs_is_no_target_and_says_why_once() -> None:
    report = check(layers.Always(), "bn", **SHORT)
    assert not report.conforms
    first, title, why = str(report).splitlines()
    assert "it could not be compared" in first
    assert (title, "not today" in why) == ("why:", True)
    assert "RuntimeError: not today" in sentences(report)


def test_an_error_is_told_with_the_targets_own_line_and_no_other() -> None:
    class Sums:
        def __init__(self, channels: int) -> None:
            pass

        def forward(self, x: Any) -> Any:
            return np.sum(x, axis=9)

        def backward(self, dz: Any) -> Any:
            return dz

    line = Sums.forward.__code__.co_firstlineno + 1
    report = check(Sums, "bn", **SHORT)
    assert f"(test_checker.py, line {line})" in sentences(report)
    report = check(Sums, "bn", extra={"nope": 1}, **SHORT)
    assert sentences(report).endswith("__init__() got an unexpected keyword argument 'nope'")


def test_where_r_starts_late_is_found() -> None:
    """In a scenario too long to tell conventions from; that r is not 1 for ever shows later in a schedule."""

    class Late(layers.FunctionsTarget):
        def make(self, channels: int, config: Any) -> Any:
            return super().make(channels, replace(config, renorm_from=410, warmup=0))

    by_name = {scenario.name: scenario for scenario in scenarios("mabn", norm_batch=2)}
    chosen = [*told("mabn"), by_name["from iteration 720,744"], replace(by_name["1100 steps"], steps=415)]
    report = judged("mabn", Late(mabn), chosen, given=GIVEN - {"warmup"})
    assert report.conforms, str(report)
    assert report.hyper["renorm_from"] == 410
    assert "r differs from 1 from iteration 410 on." in sentences(report)


def test_where_r_starts_is_an_iteration_and_no_call() -> None:
    class Late(layers.FunctionsTarget):
        given = GIVEN

        def make(self, channels: int, config: Any) -> Any:
            return super().make(channels, replace(config, renorm_from=500))

    report = check(Late(mabn), "mabn", norm_batch=2, groups=2)  # in the 250th call
    assert report.conforms, str(report)
    assert report.hyper["renorm_from"] == 500


def test_a_layer_that_takes_a_call_as_one_batch_may() -> None:
    functions = wrong(named("bn-whole-call"))
    target = layers.FunctionsTarget(functions)
    assert check(target, "bn", **SHORT).mistakes == ["bn-whole-call"]
    target.groups = None  # type: ignore[assignment]
    report = check(target, "bn", **SHORT)
    assert report.conforms
    assert "each call is one normalisation batch, whatever norm_batch says" in sentences(report)


def test_a_path_to_nothing_and_a_wrong_norm_are_errors() -> None:
    with pytest.raises(TargetError, match="there is no module 'no_such_package' here"):
        check("no_such_package:Norm", "bn")
    with pytest.raises(ValueError, match="norm is 'xn', expected one of bn, brn, modified-bn, mabn"):
        check(mabn, "xn")


def test_a_call_in_this_process_is_waited_for_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    class Hangs(SimpleNamespace):
        def start(self) -> None: ...
        def join(self, limit: float) -> None:
            waited.append(limit)

    monkeypatch.setattr(run.threading, "Thread", Hangs)
    with pytest.raises(run.Failed, match=r"^it took longer than 0.25 s$"):
        run._in_time(lambda: 1, 0.25)
    assert waited == [0.25]


class InThisProcess(run.Here):
    """A dotted path run here, which takes no second process."""

    errors = io.BytesIO()

    def __init__(self, path: str, *rest: Any, **adapted: Any) -> None:
        super().__init__(load(path), *rest, **adapted)

    def stop(self) -> None: ...


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Apart", InThisProcess)
    command = ["check", "mabn_ref.norms:modified_batch_norm", "--as", "modified-bn", "--norm-batch", "8", "--short"]
    assert main(command) == 0
    assert ": conforms on (N, C), sequences, images and volumes\n" in capsys.readouterr().out
    command[1] = "mabn_ref.norms:batch_norm"
    assert main([*command, "--json"]) == 1
    kept = json.loads(capsys.readouterr().out)
    assert [finding["words"][:49] for finding in kept["findings"]] == [
        "Your output subtracts the batch's mean and divide"
    ]
    for path, said in (
        ("no_such_package:Norm", "target is 'no_such_package:Norm', but"),
        ("math:pi", "target is 3.14"),
    ):
        assert main(["check", path, "--as", "bn"]) == 2
        assert capsys.readouterr().err.startswith(f"mabn-ref check: error: {said}")


def test_a_path_that_is_no_target_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"^target is 3.14"):
        check("math:pi", "bn")


def test_a_report_without_a_run_does_not_conform() -> None:
    assert not Report("x", "bn", "").conforms


@pytest.mark.parametrize(("functions", "mistakes"), [(batch_norm, []), (wrong(named("bn-no-g")), ["bn-no-g"])])
def test_what_raises_in_float64_is_run_in_float32(functions: Any, mistakes: list[str]) -> None:
    def single(x: Any, *rest: Any) -> Any:
        if x.dtype.name != "float32":
            raise TypeError("expected single precision")
        return functions.forward(x, *rest)

    report = check(SimpleNamespace(**{**vars(functions), "forward": single}), "bn", **SHORT)
    assert report.mistakes == mistakes
    assert report.conforms is (not mistakes)
    assert any("float32" in note for note in report.notes)
    said = "; but it raises in float64, so everything was run in float32"
    assert str(report).splitlines()[0].endswith(said) is report.conforms
    assert {row.scenario for row in report.rows if row.steps} >= {"start", "small eps", "rank 4"}
