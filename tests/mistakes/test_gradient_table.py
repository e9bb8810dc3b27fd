"""``mabn-ref gradcheck`` and ``mabn-ref mistakes``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mabn_ref import cli
from mabn_ref.cli.checks import NAMES
from mabn_ref.gradcheck import check
from mabn_ref.mistakes import edited, named, tally
from mabn_ref.mistakes.derivatives import HELD, exactly, passes
from mabn_ref.mistakes.gradient_table import equation
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS, right_draw
from mabn_ref.nn import cross_iteration, linear
from mabn_ref.norms import batch_norm, online_norm
from tests.strategies import many


def test_every_pass_is_checked_and_right(capsys: pytest.CaptureFixture[str]) -> None:
    draws = many(1, 3)
    assert cli.main(["gradcheck", "--draws", str(draws)]) == 0
    out = capsys.readouterr().out
    assert f"all gradients are right; {draws} draw{'s' if draws > 1 else ''} of each" in out
    assert max(map(len, out.splitlines())) <= 80
    lines = out.splitlines()[1:-2]
    assert [line for line in lines if line[0] != " "] == [f"{name}: {equation(name)}" for name in NAMES]
    assert all(" ok" in line for line in lines if line[0] == " ")


def test_what_a_layer_is_given_beside_its_inputs_is_exact_too() -> None:
    """Of three earlier iterations the mean of floats would be rounded, and no mean any more."""
    for seed in range(5):
        inputs = exactly(RIGHT_DRAWS[cross_iteration](np.random.default_rng(seed)))
        assert inputs.options["means"].dtype == object
        forward, backward, arrays = passes("cross_iteration", cross_iteration, inputs)
        assert check(forward, backward, arrays).verdict == "ok"


def test_everything_with_a_backward_pass_is_in_the_table() -> None:
    subjects = {m.__name__.rpartition(".")[2] for m in RIGHT_DRAWS if hasattr(m, "backward")}
    assert subjects == set(NAMES)
    assert all("-backward" in equation(name) for name in NAMES)
    held = {name: equation(name).rpartition(", ")[2] for name in ("mabn", "power_norm", "online_norm")}
    assert held == {"mabn": "one call", "power_norm": "v = 0", "online_norm": "first sample"}
    assert set(HELD) < set(NAMES)


def test_a_normaliser_that_nothing_here_names_is_checked_all_the_same() -> None:
    for module, norm_batch in ((batch_norm, True), (online_norm, False)):
        new = edited(module, [])
        for seed in range(3):
            inputs = right_draw(new)(np.random.default_rng(seed))
            assert hasattr(inputs.config, "norm_batch") is norm_batch
            assert check(*passes("new_norm", new, inputs)).verdict == "ok"


def test_a_wrong_pass_is_shown_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = batch_norm.backward

    def a_hundredth_more(dz: Any, cache: Any, state: Any) -> Any:
        dx, *rest = right(dz, cache, state)
        return 1.01 * dx, *rest

    monkeypatch.setattr(batch_norm, "backward", a_hundredth_more)
    assert cli.main(["gradcheck", "batch_norm", "linear", "--draws", "2", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "wrong" in out.splitlines()[2]
    assert "gradient check: wrong" in out
    assert "at x[" in out
    assert out.endswith("wrong: 1; 2 draws of each\n")


def test_what_is_wrong_with_numbers_of_50_digits_alone_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = linear.backward

    def off_by_little(dout: Any, cache: Any) -> Any:
        dx, dw, db = right(dout, cache)
        return dx * (1 + 1e-10), dw, db

    monkeypatch.setattr(linear, "backward", off_by_little)
    assert cli.main(["gradcheck", "linear", "--draws", "1"]) == 1
    verdicts = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:5]]
    assert verdicts == ["wrong", "ok", "ok"]


def test_an_impure_pass_is_shown_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = linear.backward

    def impure(dout: Any, cache: Any) -> Any:
        grads = right(dout, cache)
        dout *= 2
        return grads

    monkeypatch.setattr(linear, "backward", impure)
    assert cli.main(["gradcheck", "linear", "--draws", "1"]) == 1
    assert "impure" in capsys.readouterr().out


def test_two_processes_find_what_one_finds(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for jobs in ("1", "2"):
        assert cli.main(["gradcheck", "relu", "linear", "--draws", "2", "--jobs", jobs]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].index("relu") < printed[0].index("linear")


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gradcheck", "mabm"]) == 2
    assert "unknown name 'mabm': did you mean 'mabn'?" in capsys.readouterr().err


def test_the_catalogue_is_judged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tally, "MISTAKES", (named("bn-no-g"),))
    assert cli.main(["mistakes", "--draws", "2", "--seeds", "2", "--jobs", "1"]) == 0
    assert "2 of 2 wrong passes rejected" in capsys.readouterr().out


def test_a_misjudged_pass_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tally, "MISTAKES", (replace(named("bn-no-g"), edits={}),))
    assert cli.main(["mistakes", "--draws", "1", "--seeds", "1", "--jobs", "1"]) == 1
    assert "wrong pass bn-no-g: rejected by gradient on 0 of 1 draws" in capsys.readouterr().out
