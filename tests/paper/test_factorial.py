"""The cells of the factorial."""

from __future__ import annotations

from typing import Any

import pytest

from mabn_ref.experiments.rows import recipe
from mabn_ref.experiments.runs import run_one
from mabn_ref.paper.factorial import moving


@pytest.mark.parametrize(
    ("norm", "form", "forward", "backward"),
    [
        ("bn", "vanilla", "batch", "batch"),
        ("modified-bn", "modified", "batch", "batch"),
        ("mabn", "modified", "sma", "sma"),
    ],
)
def test_the_cells_that_are_normalisers_train_as_they_do(norm: str, form: str, forward: str, backward: str) -> None:
    """The same run but for rounding, r and its start, clip, window and decay included."""
    tiny: dict[str, Any] = {"width": 4, "epochs": 3, "train_size": 96, "test_size": 20, "norm_batch": 2}
    tiny |= {"renorm_after": 4, "clip": 1.1}
    theirs = run_one(recipe(norm, **tiny))
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    ours = run_one(recipe("moving", **averages, **tiny))
    for a, b in zip(ours["epochs"], theirs["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=2e-4)
        assert a["test_error"] == b["test_error"]
    other = run_one(recipe("moving", **averages | {"forward_average": "ema"}, **tiny))
    assert other["epochs"][-1]["train_loss"] != pytest.approx(theirs["epochs"][-1]["train_loss"], rel=2e-4)


def test_row_7_of_table_2_is_mabn_with_a_window_of_one() -> None:
    """Exponential averages in forward and the batch's Psi, by two ways through the package.

    eq: moving-forward, mabn-forward, mabn-backward
    """
    tiny: dict[str, Any] = {"width": 4, "epochs": 3, "train_size": 96, "test_size": 20, "norm_batch": 2}
    tiny |= {"renorm_after": 4, "clip": 1.1, "centralized": True}
    row_7 = run_one(recipe(**tiny | moving("modified", "ema", "batch", True)))
    mabn = run_one(recipe("mabn", window=1, **tiny))
    for a, b in zip(row_7["epochs"], mabn["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=2e-4)
    other = run_one(recipe("mabn", window=2, **tiny))
    assert other["epochs"][-1]["train_loss"] != pytest.approx(mabn["epochs"][-1]["train_loss"], rel=2e-4)
