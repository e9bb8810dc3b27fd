"""What decides how a table pairs, sorts and names its rows, by hand for every normaliser and every row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper import equation6, figures, table1_table2, theorem2
from mabn_ref.train import comparison
from mabn_ref.train.comparison import ROWS, plan
from mabn_ref.train.config import DECAY, SAMPLE_NORMS, TRAINED, RunConfig, is_control, label, recipe

CENTRED_IN_THE_PAPER = {"modified-bn", "mabn", "moving modified"}
MOVING: dict[str, Any] = {"norm": "moving", "forward_average": "sma", "backward_average": "batch"}
ALL: dict[str, dict[str, Any]] = {
    **{norm: {"norm": norm, "norm_batch": 1 if norm in SAMPLE_NORMS else 2} for norm in TRAINED if norm != "moving"},
    "moving vanilla": {**MOVING, "form": "vanilla"},
    "moving modified": {**MOVING, "form": "modified"},
}
WEIGHTS: dict[str, dict[str, bool]] = {
    "": {"centralized": False, "standardized": False},
    " + WC": {"centralized": True, "standardized": False},
    " + WS": {"centralized": False, "standardized": True},
    " + GC": {"centralized": False, "gradient_centralized": True},
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("norm", ALL)
def test_a_control_treats_weights_otherwise_than_the_paper_does(norm: str, weights: str) -> None:
    config = RunConfig(**ALL[norm], **WEIGHTS[weights])
    papers = " + WC" if norm in CENTRED_IN_THE_PAPER else ""
    assert is_control(config) == (weights != papers)
    assert label(config).endswith(weights)
    assert ("+" in label(config)) == (weights != "")
    found = comparison.collect([config], [])
    assert [(row.label, row.control, row.curves, row.diverged) for row in found] == [
        (label(config), weights != papers, {}, 0)
    ]


@pytest.mark.parametrize("norm", ALL)
def test_the_recipe_is_the_papers_pairing_with_this_projects_decay(norm: str) -> None:
    config = recipe(**ALL[norm])
    assert not is_control(config)
    assert (config.centralized, config.standardized) == (norm in CENTRED_IN_THE_PAPER, False)
    assert config.decay == {"brn": 0.99, "online": 0.999}.get(norm, 0.98)
    assert set(DECAY) <= set(TRAINED) - {"dyt", "derf"}
    if norm.split()[0] in DECAY:
        assert recipe(**ALL[norm], decay=0.5, centralized=True).decay == 0.5
    assert recipe(**ALL[norm], centralized=not config.centralized).centralized != config.centralized


def test_every_row_of_a_comparison_by_hand() -> None:
    runs = plan(list(ROWS), [3], width=16)
    assert [(label(run), is_control(run), run.gradient_batch) for run in runs] == [
        ("BN 32", False, 32),
        ("BN 2", False, 32),
        ("BN 32 + WC", True, 32),
        ("BN 2 + WC", True, 32),
        ("BRN 2 + WC", True, 32),
        ("EvalNorm 2 estimated", False, 32),
        ("SyncBN 32", False, 32),
        ("BN 32 + WS", True, 32),
        ("BN 2 + WS", True, 32),
        ("BRN 2", False, 32),
        ("modified BN 2 + WC", False, 32),
        ("MABN 2 + WC", False, 32),
        ("GN (8 groups)", False, 32),
        ("LN", False, 32),
        ("IN", False, 32),
        ("Online Norm", False, 32),
        ("EvalNorm 2", False, 32),
        ("RMSNorm", False, 32),
        ("FRN", False, 32),
        ("frozen BN", False, 32),
        ("PowerNorm 2", False, 32),
        ("UN 2", False, 32),
        ("DyT", False, 32),
        ("Derf", False, 32),
    ]
    assert {run.seed for run in runs} == {3}


def test_a_comparison_runs_all_rows_of_a_seed_before_the_next_seed() -> None:
    runs = plan(["bn-2", "mabn-2"], [4, 2], windows=[64, 16, 32], width=16)
    names = ["BN 2", "MABN 2 + WC", "MABN 2 + WC, m=64", "MABN 2 + WC, m=32"]  # m=16 is MABN 2 + WC itself
    assert [(run.seed, label(run)) for run in runs] == [(seed, name) for seed in (4, 2) for name in names]
    assert [run.window for run in runs[:4]] == [None, None, 64, 32]


def test_a_label_tells_apart_whatever_a_row_may_set() -> None:
    """Or two rows would be one line of a table, the runs of the second over those of the first."""
    mabn: dict[str, Any] = {"norm": "mabn", "norm_batch": 2, "centralized": True}
    assert label(RunConfig(**mabn, window=64)) == "MABN 2 + WC, m=64"
    assert label(RunConfig(**mabn, window=16)) == label(RunConfig(**mabn)) == "MABN 2 + WC"
    assert label(RunConfig(**{**mabn, "norm_batch": 4}, window=16)) == "MABN 4 + WC, m=16"
    assert label(RunConfig(**{**mabn, "centralized": False}, window=1)) == "MABN 2, m=1"
    assert label(RunConfig(norm="gn", norm_batch=1, groups=2, centralized=True)) == "GN (2 groups) + WC"
    assert label(RunConfig(norm="gn", norm_batch=1, centralized=False, standardized=True, width=12)) == (
        "GN (4 groups) + WS"
    )
    assert label(RunConfig(**mabn, window=64, devices=8)) == "MABN 2 + WC, m=64, 8 devices"
    names = [
        label(RunConfig(**{**MOVING, "form": form, "forward_average": ahead, "backward_average": back}))
        for form in ("vanilla", "modified")
        for ahead in ("batch", "sma", "ema")
        for back in ("batch", "sma", "ema")
    ]
    assert len(set(names)) == 18
    assert (names[1], names[14]) == ("vanilla BS/SMAS 2 + WC", "modified SMAS/EMAS 2 + WC")


def test_rows_of_the_whole_gradient_batch_stay_on_one_device() -> None:
    """They stand for SyncBN, and are the ones that the others are compared with."""
    configs = plan(["bn-32", "bn-2", "mabn-2", "bn-2-wc"], [0, 1, 2], devices=8)
    labels = ["BN 32", "BN 2, 8 devices", "MABN 2 + WC, 8 devices", "BN 2 + WC, 8 devices"]
    assert [(label(run), run.devices) for run in configs[:4]] == list(zip(labels, (1, 8, 8, 8), strict=True))
    records = [
        {"config": config.as_dict(), "status": "done", "epochs": [{"test_error": 40.0 + labels.index(label(config))}]}
        for config in configs
    ]
    found = comparison.table(comparison.collect(configs, records))
    assert found.header[3:] == ("minus BN 2", "minus BN 2 + WC", "minus BN 32")
    assert {line[0].strip(): line[3] for line in found.rows if len(line) > 1}[labels[2]] == "+1.00 ± 0.00"


def test_rows_are_paired_by_seed_and_the_pairing_comes_first() -> None:
    configs = plan(["bn-32-ws", "bn-32", "bn-32-wc"], [0, 1, 2])
    errors = {"BN 32": (40.0, 50.0, 45.0), "BN 32 + WC": (43.0, 53.0, 48.0), "BN 32 + WS": (38.0, 48.0, 43.0)}
    records = [
        {"config": config.as_dict(), "status": "done", "epochs": [{"test_error": errors[label(config)][config.seed]}]}
        for config in configs
    ]
    rows = comparison.collect(configs, records[::-1])
    assert [(row.label, row.control, row.errors) for row in rows] == [
        ("BN 32", False, {0: 40.0, 1: 50.0, 2: 45.0}),
        ("BN 32 + WS", True, {0: 38.0, 1: 48.0, 2: 43.0}),
        ("BN 32 + WC", True, {0: 43.0, 1: 53.0, 2: 48.0}),
    ]
    lines = str(comparison.table(rows)).splitlines()
    assert lines[1] == "The paper's pairing"
    assert lines[3] == "Controls"
    assert lines[4].split()[-6:] == ["-2.00", "±", "0.00", "-5.00", "±", "0.00"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            table1_table2.ROWS_OF_RELATED,
            {
                "BN 32": {"norm": "bn", "norm_batch": 32},
                "BN 2": {"norm": "bn", "norm_batch": 2},
                "MABN 2 + WC": {"norm": "mabn", "norm_batch": 2, "centralized": True},
                "GN": {"norm": "gn", "norm_batch": 1},
                "LN": {"norm": "ln", "norm_batch": 1},
                "IN": {"norm": "in", "norm_batch": 1},
                "GN + WS": {"norm": "gn", "norm_batch": 1, "standardized": True},
                "BN 2 + WS": {"norm": "bn", "norm_batch": 2, "standardized": True},
                "EvalNorm 2": {"norm": "eval-norm", "norm_batch": 2},
                "EvalNorm 2, estimated": {"norm": "eval-norm", "norm_batch": 2, "estimated": True},
                "Online Norm": {"norm": "online", "norm_batch": 1, "decay": 0.999},
                "SyncBN 32": {"norm": "sync-bn", "norm_batch": 32},
            },
        ),
        (
            equation6._ROWS,
            {
                "BN 32": {"norm": "bn", "norm_batch": 32},
                "BN 2": {"norm": "bn", "norm_batch": 2},
                "BN 2, decay 0.9": {"norm": "bn", "norm_batch": 2, "decay": 0.9},
                "BRN 2": {"norm": "brn", "norm_batch": 2, "decay": 0.99},
                "modified BN 2 + WC": {"norm": "modified-bn", "norm_batch": 2, "centralized": True},
                "MABN 2 + WC": {"norm": "mabn", "norm_batch": 2, "centralized": True},
            },
        ),
        (
            figures._ROWS,
            {
                "Figure 2: BN 2": {"norm": "bn", "norm_batch": 2},
                "Figure 3: modified BN 2 + WC": {"norm": "modified-bn", "norm_batch": 2, "centralized": True},
                "Figure 4: MABN 2 + WC": {"norm": "mabn", "norm_batch": 2, "centralized": True},
            },
        ),
        (theorem2._ROWS, {"BN 32": {"norm": "bn", "norm_batch": 32}}),
    ],
    ids=["related", "equation6", "figures", "theorem2"],
)
def test_the_rows_of_a_study_run_what_they_are_called(rows: Any, expected: dict[str, dict[str, Any]]) -> None:
    usual: dict[str, Any] = {"centralized": False, "decay": 0.98, "window": None}
    assert {row.label: recipe(**row.settings) for row in rows} == {
        name: RunConfig(**usual | settings) for name, settings in expected.items()
    }


def test_a_new_normaliser_trains_and_is_compared_without_another_line(tmp_path: Path) -> None:
    """In a process of its own, whose registry has one more before any command is imported."""
    sizes = ["--epochs", "1", "--width", "2", "--train-size", "32", "--test-size", "10", "--out", str(tmp_path)]
    code = (
        "import sys\n"
        "from mabn_ref import norms\n"
        "norms.NORMS['new'] = norms.Norm(norms.batch_norm, 'New Norm')\n"
        "norms.NORMS['new-gn'] = norms.Norm(norms.group_norm, 'New GN', {'groups': 2})\n"
        "norms.NORMS['still'] = norms.Norm(norms.frozen_batch_norm, 'Still')\n"
        "from mabn_ref.cli import main\n"
        f"sizes = {sizes!r}\n"
        "assert main(['train', '--norm', 'new', '--decay', '0.5', *sizes]) == 0\n"
        "assert main(['train', '--norm', 'new-gn', *sizes]) == 0\n"
        "assert main(['train', '--norm', 'still', '--re-estimate', *sizes]) == 2\n"
        "from mabn_ref.train.comparison import plan, table, collect\n"
        "print(table(collect(plan(['new-2', 'new-gn'], [0]), [])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^ *New.*?(?=:|  )", done.stdout, re.MULTILINE) == [
        "New Norm 2",
        "New GN",
        "  New Norm 2",
        "  New GN",
    ]
