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
    configs = plan(["bn-32-wc", "bn-32", "bn-2", "mabn-2"], seeds=[0, 1, 2])
    errors = {"BN 32 + WC": (38, 38, 38), "BN 32": (40, 41, 42), "BN 2": (50, 51, 53), "MABN 2 + WC": (41, 42, 43)}
    records = [record(config, [90.0, errors[label(config)][config.seed]]) for config in reversed(configs)]
    diverged = configs[10]
    assert (label(diverged), diverged.seed) == ("BN 2", 2)
    records.append(record(diverged, [], status="diverged"))  # the last record of a run is the one that counts
    text = str(comparison.table(comparison.collect(configs, records)))
    assert text.splitlines() == [
        "                          runs     test error %        minus BN 2",
        "The paper's pairing",
        "  BN 32                      3     41.00 ± 2.48   -10.00 (2 runs)",
        "  BN 2          2 (1 diverged)   50.50 (2 runs)                 -",
        "  MABN 2 + WC                3     42.00 ± 2.48    -9.00 (2 runs)",
        "Controls",
        "  BN 32 + WC                 3     38.00 ± 0.00   -12.50 (2 runs)",
        "",
        "                    minus BN 32   minus BN 32 + WC",
        "The paper's pairing",
        "  BN 32                       -       +3.00 ± 2.48",
        "  BN 2          +10.00 (2 runs)    +12.50 (2 runs)",
        "  MABN 2 + WC      +1.00 ± 0.00       +4.00 ± 2.48",
        "Controls",
        "  BN 32 + WC       -3.00 ± 2.48                  -",
    ]


def test_a_row_without_a_finished_run_is_shown_as_such() -> None:
    configs = plan(["bn-32", "bn-2"], seeds=[0])
    rows = comparison.collect(configs, [record(configs[0], [40.0]), record(configs[1], [], "diverged")])
    assert comparison.table(rows).rows[-1] == ("  BN 2", "0 (1 diverged)", "none", "-", "none")
    assert comparison.sketch(rows).split() == ["BN", "32", "█", "40.0", "%", "█" * 24]


def test_the_small_batches_are_what_is_compared_with_first() -> None:
    table = comparison.table(comparison.collect(plan(list(comparison.DEFAULT_ROWS), seeds=[0]), []))
    assert table.header[-4:] == ("minus BN 2", "minus BN 2 + WC", "minus BN 32", "minus BN 32 + WC")


def test_the_sketch_fits_a_terminal_and_ends_with_the_last_epoch() -> None:
    configs = plan(["mabn-2"], seeds=[0], windows=[64])
    curve = [90.0] * 61 + [10.0]
    rows = comparison.collect(configs, [record(config, curve) for config in configs])
    for line in comparison.sketch(rows).splitlines():
        assert len(line) <= 80
        assert "█▂   10.0 %" in line
    assert "90.0" not in comparison.sketch(rows, blocks=False)
    assert "91   10.0 %  ####" in comparison.sketch(rows, blocks=False)


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
