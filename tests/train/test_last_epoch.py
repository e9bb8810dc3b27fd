"""What a table shows is the error after the last epoch of each run that ended, and how many did not."""

from __future__ import annotations

from typing import Any

from mabn_ref.paper.claims import Row, measure
from mabn_ref.paper.study import Context
from mabn_ref.train import comparison
from mabn_ref.train.comparison import plan
from mabn_ref.train.config import RunConfig


def record(config: RunConfig, errors: list[float]) -> dict[str, Any]:
    """One whose best epoch is not its last; one that diverged if there is none."""
    epochs = [{"epoch": k, "test_error": error} for k, error in enumerate(errors, start=1)]
    status = "done" if errors else "diverged"
    return {"status": status, "message": None, "config": config.as_dict(), "seed": config.seed, "epochs": epochs}


def test_the_last_epoch_counts_and_not_the_best() -> None:
    (config,) = plan(["bn-2"], [0])
    (row,) = comparison.collect([config], [record(config, [60.0, 30.0, 45.0])])
    assert (row.curves, row.errors) == ({0: [60.0, 30.0, 45.0]}, {0: 45.0})
    context = Context((0,), {})
    found = measure([Row("BN 2", {"norm": "bn", "norm_batch": 2})], context, [record(config, [60.0, 30.0, 45.0])])
    assert found["BN 2"].errors == {0: 45.0}


def test_every_run_that_diverged_is_counted() -> None:
    configs = plan(["bn-2"], range(5))
    records = [record(config, [50.0] if config.seed == 3 else []) for config in configs[:4]]
    (row,) = comparison.collect(configs, records)
    assert (row.errors, row.diverged) == ({3: 50.0}, 3)
    assert str(comparison.table([row])).splitlines()[-1].split()[:6] == ["BN", "2", "1", "(3", "diverged)", "50.00"]


def test_a_picture_has_the_mean_the_band_of_all_seeds_and_hollow_controls() -> None:
    configs = plan(["bn-2", "bn-2-wc"], range(3))
    curves = {0: [80.0, 60.0], 1: [70.0, 61.0], 2: [90.0, 68.0]}
    rows = comparison.collect(configs, [record(config, curves[config.seed]) for config in configs])
    axes = comparison.figure(rows, "title").axes[0]
    assert [line.get_label() for line in axes.lines] == ["BN 2: 63.0 %", "BN 2 + WC: 63.0 % (control)"]
    for line, band in zip(axes.lines, axes.collections, strict=True):
        assert list(line.get_xdata()) == [1, 2]
        assert list(line.get_ydata()) == [80.0, 63.0]
        box = band.get_paths()[0].get_extents()
        assert (box.y0, box.y1) == (60.0, 90.0)
        assert (line.get_markerfacecolor() == "white") == ("control" in line.get_label())
