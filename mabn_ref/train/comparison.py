"""A comparison: its rows, their runs, its table and its picture.

The rows are the paper's pairing of normalisers with weight centralisation, and controls. The picture needs the extra
``run`` (matplotlib).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mabn_ref import storage
from mabn_ref.train import plotting, results
from mabn_ref.train.config import SAMPLE_NORMS, TRAINED, RunConfig, is_control, label, recipe
from mabn_ref.train.table_layout import Table, mean_interval, paired_difference, text

BASELINES = ("BN 2", "BN 2 + WC", "BN 32", "BN 32 + WC")
"""Rows that the others are compared with. Small batches come first: MABN is meant for them."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE, _BAR = 20, 24  #: columns of `sketch`: the most for the epochs, and those of the longest bar
DEFAULT_ROWS = ("bn-32", "bn-2", "brn-2", "mabn-2", "bn-32-wc", "bn-2-wc")

ROWS: dict[str, dict[str, Any]] = {
    "bn-32": {"norm": "bn", "norm_batch": 32},
    "bn-2": {"norm": "bn", "norm_batch": 2},
    "bn-32-wc": {"norm": "bn", "norm_batch": 32, "centralized": True},
    "bn-2-wc": {"norm": "bn", "norm_batch": 2, "centralized": True},
    "brn-2-wc": {"norm": "brn", "norm_batch": 2, "centralized": True},
    "eval-norm-2-est": {"norm": "eval-norm", "norm_batch": 2, "estimated": True},
    "sync-bn-32": {"norm": "sync-bn", "norm_batch": 32},
    "bn-32-ws": {"norm": "bn", "norm_batch": 32, "standardized": True},
    "bn-2-ws": {"norm": "bn", "norm_batch": 2, "standardized": True},
}
"""The settings of each row; `recipe` fills in the rest. The rows of normalisers as they are follow below."""
ROWS |= {
    norm if norm in SAMPLE_NORMS else f"{norm}-2": {"norm": norm, "norm_batch": 1 if norm in SAMPLE_NORMS else 2}
    for norm in TRAINED
    if norm not in ("bn", "sync-bn", "moving")  # their rows are above, or they need further settings
}


def plan(names: Sequence[str], seeds: Sequence[int], windows: Sequence[int] = (), **settings: Any) -> list[RunConfig]:
    """Return the runs of a comparison, seed by seed, so that an interrupted comparison has complete pairs.

    `names` are keys of `ROWS`; each row runs with each of the seeds. `windows` are the m of further MABN rows; a
    window of one gradient batch is the row "mabn-2" itself. All rows share the `settings`, fields of `RunConfig`,
    except `devices`: rows with statistics of the whole gradient batch have one device, and stand for SyncBN. No run
    appears twice.

    Examples
    --------
    >>> [(run.norm, run.window, run.seed) for run in plan(["bn-2", "mabn-2"], seeds=[0], windows=[16, 64])]
    [('bn', None, 0), ('mabn', None, 0), ('mabn', 64, 0)]
    """
    rows = [ROWS[name] for name in names] + [{**ROWS["mabn-2"], "window": window} for window in windows]
    whole = settings.get("gradient_batch", RunConfig.gradient_batch)
    rows = [row | ({"devices": 1} if row["norm_batch"] == whole else {}) for row in rows]
    runs = [recipe(**settings | row, seed=seed) for seed, row in itertools.product(seeds, rows)]
    one_batch = [dataclasses.replace(run, window=None) if run.window == run.micro_batches else run for run in runs]
    return list(dict.fromkeys(one_batch))


class Row(NamedTuple):
    """The runs of one row: the curves of those that finished, by seed, and how many diverged."""

    label: str
    control: bool
    curves: dict[int, list[float]]  #: test error in % after each epoch
    diverged: int

    @property
    def errors(self) -> dict[int, float]:
        """The last test error of each seed, in %."""
        return {seed: curve[-1] for seed, curve in self.curves.items()}


def collect(configs: Sequence[RunConfig], records: Sequence[dict[str, Any]]) -> list[Row]:
    """Sort records into rows, the paper's pairing before the controls; runs without a record are ignored."""
    runs: dict[str, list[RunConfig]] = {}
    for config in configs:
        runs.setdefault(label(config), []).append(config)
    rows = []
    for name, of_row in runs.items():
        done, diverged = results.by_seed(records, of_row)
        curves = {seed: [line["test_error"] for line in record["epochs"]] for seed, record in done.items()}
        rows.append(Row(name, is_control(of_row[0]), curves, len(diverged)))
    return sorted(rows, key=lambda row: row.control)


def table(rows: Sequence[Row]) -> Table:
    """Return the table of errors over seeds and of paired differences from the baselines among the rows of `collect`.

    Where there are controls, they have a heading, and so has what they are controls of. Without them there is none:
    of Dynamic Tanh, for one, the paper has no pairing.

    Examples
    --------
    >>> print(table([Row("BN 32", False, {0: [41.0], 1: [42.0], 2: [43.0]}, 0), Row("GN", False, {0: [50.5]}, 2)]))
                        runs    test error %     minus BN 32
      BN 32                3    42.00 ± 2.48               -
      GN      1 (2 diverged)   50.50 (1 run)   +9.50 (1 run)
    """
    named = {row.label.partition(",")[0]: row for row in rows}  # without a number of devices, which may follow
    baselines = {name: named[name] for name in BASELINES if name in named}
    lines: list[tuple[str, ...]] = []
    for control, group in itertools.groupby(rows, key=lambda row: row.control):
        if rows[-1].control:
            lines.append(("Controls" if control else "The paper's pairing",))
        for row in group:
            runs = str(len(row.curves)) + (f" ({row.diverged} diverged)" if row.diverged else "")
            error = text(mean_interval(list(row.errors.values())) if row.errors else None)
            differences = (
                "-" if row is base else text(paired_difference(row.errors, base.errors), "+")
                for base in baselines.values()
            )
            lines.append(("  " + row.label, runs, error, *differences))
    return Table("", ("", "runs", "test error %", *(f"minus {name}" for name in baselines)), lines)


def sketch(rows: Sequence[Row], *, blocks: bool = True) -> str:
    """Draw `figure` as text: each row's mean error after each epoch, and after the last one as a bar.

    With `blocks`, a higher block is a larger error. Without, for terminals that lack the characters, digits are tens
    of per cent.

    Examples
    --------
    >>> rows = [Row("BN 2", False, {0: [80.0, 40.0, 20.0]}, 0), Row("MABN 2", False, {0: [70.0, 20.0, 5.0]}, 0)]
    >>> print(sketch(rows))
      BN 2     █▅▃   20.0 %  ████████████████████████
      MABN 2   ▇▃▁    5.0 %  ██████
    >>> print(sketch(rows, blocks=False))
      BN 2     842   20.0 %  ########################
      MABN 2   720    5.0 %  ######
    """
    means = {row.label: _mean_curve(row) for row in rows if row.curves}
    names = max(map(len, means), default=0)
    highest = max((error for curve in means.values() for error in curve), default=0) or 1
    longest = max((curve[-1] for curve in means.values()), default=0) or 1
    lines = []
    for name, curve in means.items():
        shown = curve[:: -math.ceil(len(curve) / _CURVE)][::-1]
        heights = "".join(_BLOCKS[round(7 * e / highest)] if blocks else str(min(int(e / 10), 9)) for e in shown)
        bar = ("█" if blocks else "#") * round(_BAR * curve[-1] / longest)
        lines.append(f"  {name:<{names}}   {heights}   {curve[-1]:4.1f} %  {bar}".rstrip())
    return "\n".join(lines)


def _mean_curve(row: Row) -> list[float]:
    """Return the mean over the seeds after each epoch."""
    return [statistics.fmean(values) for values in zip(*row.curves.values(), strict=True)]


def learning_curves(path: Path, rows: Sequence[Row], title: str) -> None:
    """Write `figure` to a PNG, atomically."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the title may have a directory's name
        storage.write(path, lambda file: figure(rows, title).savefig(file, format="png"))


def figure(rows: Sequence[Row], title: str) -> Any:
    """Draw the test error after each epoch: for each row the mean over seeds and a band from lowest to highest.

    Lines differ in dash and marker as well as in colour, and the legend lists them from the highest last error to the
    lowest, so that the picture can be read in greyscale. Rows without a finished run are left out. Returns a
    matplotlib Figure.
    """
    drawing = plotting.new()
    axes = drawing.add_subplot()
    numbers = {row.label: number for number, row in enumerate(rows)}
    for row in sorted((row for row in rows if row.curves), key=lambda row: -statistics.fmean(row.errors.values())):
        epochs, mean = list(zip(*row.curves.values(), strict=True)), _mean_curve(row)
        position, style = range(1, len(mean) + 1), plotting.style(numbers[row.label])
        name = f"{row.label}: {mean[-1]:.1f} %" + (" (control)" if row.control else "")
        face = "white" if row.control else style["color"]
        axes.plot(position, mean, **style, markerfacecolor=face, label=name)
        lowest, highest = [min(values) for values in epochs], [max(values) for values in epochs]
        axes.fill_between(position, lowest, highest, color=style["color"], alpha=0.12, linewidth=0)
    plotting.finish(axes, title, "epoch (passes over the training images)", "test error (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.legend(title="after the last epoch (line: mean, band: all seeds)", frameon=False, fontsize="small")
    return drawing
