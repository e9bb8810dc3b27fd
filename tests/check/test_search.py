"""What a target is called: its mistakes, and several things at once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.check import check, explain
from mabn_ref.check.models import BENDABLE
from mabn_ref.check.observe import config_of
from mabn_ref.check.report import Report
from mabn_ref.check.scenarios import MODULES
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.check.tolerance import Difference
from mabn_ref.mistakes import Mistake, named, wrong
from mabn_ref.norms import NORMS
from tests.check.confusion import applicable, call
from tests.check.judging import judged, told

PORTED = list(applicable())


def checked(norm: str, functions: Any) -> Report:
    """What the first scenarios show, cut short, to a layer that is given everything."""
    wanted = [replace(s, steps=12 if norm == "mabn" else 8) for s in told(norm, ("ramps",))]
    return judged(norm, FunctionsTarget(functions), wanted, given=frozenset(vars(config_of(norm, wanted[0]))))


@pytest.mark.parametrize("norm", MODULES)
def test_a_right_implementation_is_called_nothing(norm: str) -> None:
    report = checked(norm, MODULES[norm])
    assert report.conforms
    assert not report.findings


@pytest.mark.parametrize(("norm", "mistake"), PORTED, ids=[mistake.name for _, mistake in PORTED])
def test_every_mistake_is_called_by_its_name_and_by_no_other(norm: str, mistake: Mistake) -> None:
    report = checked(norm, wrong(mistake))
    assert not report.differences
    assert report.mistakes == [mistake.name]
    assert [finding.words for finding in report.findings if not finding.mistake and not finding.accepted] == []
    assert not any(finding.accepted for finding in report.findings if finding.mistake)
    assert not report.conforms


@pytest.mark.slow
def test_the_whole_check_calls_every_mistake_by_its_name(request: pytest.FixtureRequest) -> None:
    """Every scenario of a short check, where the tests before have the first ones, cut short."""
    if "slow" not in request.config.option.markexpr:
        pytest.skip("it takes two minutes of processor time; pytest -m slow tests/check runs it")
    called = [call(norm, mistake) for norm, mistake in PORTED]
    assert [one for one in called if not one.right] == []
    assert [
        norm for norm, module in MODULES.items() if not check(module, norm, norm_batch=4, short=True).conforms
    ] == []


@pytest.mark.parametrize(
    ("norm", "pair"),
    [
        ("bn", ("bn-running-var-over-samples", "bn-no-g")),
        ("bn", ("bn-eps-twice", "bn-infer-no-eps")),
        ("bn", ("bn-variance-starts-at-zero", "bn-parameter-means")),
        ("brn", ("brn-r-of-variance", "brn-r-forgotten-in-backward")),
        ("brn", ("brn-read-after-update", "brn-dgamma-before-corrections")),
        ("mabn", ("mabn-weights-swapped", "mabn-psi-of-this-batch")),
        ("mabn", ("mabn-ema-of-window", "mabn-infer-window")),
        ("mabn", ("mabn-zeros-counted", "mabn-dgamma-before-r")),
    ],
)
def test_several_at_once_are_all_named(norm: str, pair: tuple[str, str]) -> None:
    report = checked(norm, wrong(*map(named, pair)))
    assert not report.differences
    assert set(report.mistakes) == set(pair)
    assert not report.conforms


def test_a_wrong_backward_is_told_from_a_wrong_forward() -> None:
    shown = {}
    for name in ("bn-unbiased-variance", "bn-no-psi", "bn-weights-swapped"):
        shown[name] = [finding.tensor for finding in checked("bn", wrong(named(name))).findings]
    assert shown == {"bn-unbiased-variance": ["z"], "bn-no-psi": ["dx"], "bn-weights-swapped": ["state"]}


def test_what_nothing_reproduces_is_where_it_first_differs() -> None:
    module = MODULES["modified-bn"]

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, after = module.forward(x, gamma, beta, state, config)
        return np.where(state.chi2 > 1, 1.0, 1.001) * z, cache, after

    report = checked("modified-bn", SimpleNamespace(**{**vars(module), "forward": forward}))
    assert not report.conforms
    first = report.differences[0]
    assert isinstance(first, Difference)
    assert (first.scenario, first.step, first.tensor) == ("start", 1, "z")
    assert 1e-4 < first.error < 2e-3


@pytest.mark.parametrize("norm", [norm for norm in MODULES if norm not in BENDABLE])
def test_a_normaliser_without_a_bendable_model_is_compared_with_its_module(norm: str) -> None:
    module = MODULES[norm]

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, *rest = module.backward(dz, cache, state)
        return 1.001 * dx, *rest

    report = check(module, norm, short=True)
    assert report.conforms, str(report)
    assert {"z", "state", "inferred", "dx", "dgamma", "dbeta"} == set(report.rows[0].errors)
    assert str(report).startswith(f"{module.__name__} as {NORMS[norm].title}: conforms on ")
    report = check(SimpleNamespace(**{**vars(module), "backward": backward}), norm, norm_batch=4, short=True)
    assert not report.conforms
    assert not report.findings
    assert str(report.differences[0]).startswith("start, step 1: dx[")


def test_the_search_stops_after_a_number_of_comparisons_and_not_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    compare = explain.first_difference
    monkeypatch.setattr(explain, "first_difference", lambda *given: made.append(given) or compare(*given))
    monkeypatch.setattr(explain, "COMPARISONS", 1)
    report = checked("bn", wrong(named("bn-dgamma-not-normalised")))
    assert not report.findings
    assert {getattr(difference, "tensor", difference) for difference in report.differences} == {"dgamma"}
    few = len(made)
    monkeypatch.setattr(explain, "COMPARISONS", 10_000)
    assert checked("bn", wrong(named("bn-dgamma-not-normalised"))).mistakes == ["bn-dgamma-not-normalised"]
    assert few < len(made) - few


def test_pairs_at_inference_are_not_sought_where_z_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would be said of them, and each takes a whole run."""
    made: list[Any] = []
    compare = explain.first_difference
    monkeypatch.setattr(explain, "first_difference", lambda *given: made.append(given[2]) or compare(*given))
    module = MODULES["bn"]
    squashed = {
        "forward": lambda *given: (np.tanh((found := module.forward(*given))[0]), *found[1:]),
        "infer": lambda *given: np.tanh(module.infer(*given)),
    }
    assert not checked("bn", SimpleNamespace(**{**vars(module), **squashed})).conforms
    assert 5 < made.count(("inferred",)) < 400
