"""The table and the picture of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mabn_ref.train import comparison
from mabn_ref.train.comparison import ROWS, plan
from mabn_ref.train.config import RunConfig, label


def record(config: RunConfig, errors: list[float], status: str = "done") -> dict[str, Any]:
    epochs = [{"epoch": i, "test_error": error} for i, error in enumerate(errors, start=1)]
    return {"status": status, "config": config.as_dict(), "seed": config.seed, "epochs": epochs}


def test_the_table_shows_means_intervals_and_paired_differences() -> None:
    configs = plan(["bn-32-wc", "bn-32", "bn-2", "mabn-2"], seeds=[0, 1])
    errors = {"BN 32 + WC": (38, 38), "BN 32": (40, 42), "BN 2": (50, 53), "MABN 2 + WC": (41, 43)}
    records = [record(config, [90.0, errors[label(config)][config.seed]]) for config in reversed(configs)]
    diverged = configs[6]
    assert (label(diverged), diverged.seed) == ("BN 2", 1)
    records.append(record(diverged, [], status="diverged"))  # the last record of a run is the one that counts
    text = str(comparison.table(comparison.collect(configs, records)))
    assert text.splitlines() == [
        "                          runs    test error %     minus BN 32   minus BN 32 + WC",
        "The paper's pairing",
        "  BN 32                      2   41.00 ± 12.71               -      +3.00 ± 12.71",
        "  BN 2          1 (1 diverged)           50.00          +10.00             +12.00",
        "  MABN 2 + WC                2   42.00 ± 12.71    +1.00 ± 0.00      +4.00 ± 12.71",
        "Controls",
        "  BN 32 + WC                 2    38.00 ± 0.00   -3.00 ± 12.71                  -",
    ]


def test_a_row_without_a_finished_run_is_shown_as_such() -> None:
    configs = plan(["bn-32", "bn-2"], seeds=[0])
    rows = comparison.collect(configs, [record(configs[0], [40.0]), record(configs[1], [], "diverged")])
    text = str(comparison.table(rows))
    assert text.splitlines()[-1].split() == ["BN", "2", "0", "(1", "diverged)", "none", "none"]


def test_the_picture_reads_in_greyscale_and_is_labelled(tmp_path: Path) -> None:
    configs = plan(list(ROWS), seeds=[0, 1], windows=[64])
    rows = comparison.collect(configs, [record(c, [80.0, 60.0 + c.seed]) for c in configs])
    axes = comparison.figure(rows, "a title").axes[0]
    styles = {(line.get_linestyle(), line.get_marker(), line.get_markerfacecolor()) for line in axes.lines}
    assert len(styles) == len(rows) == len(ROWS) + 1
    assert axes.get_ylabel() == "test error (%)"
    assert "epoch" in axes.get_xlabel()
    assert axes.get_title() == "a title"
    for line in axes.lines:
        assert list(line.get_ydata()) == [80.0, 60.5]
    comparison.learning_curves(tmp_path / "new" / "curves.png", rows, "a title")
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["curves.png"]
