"""Training to the end: are the differences after a few epochs differences in speed, or in the final error?

BN, BRN and MABN, with and without centralised weights and each with its own learning rate, train until the training
images are learnt. The rates are compared on held-out training images, so that no choice depends on the test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

from mabn_ref.paper import claims, search
from mabn_ref.paper.claims import Claim, Found, Row, configs, error_text, measure
from mabn_ref.paper.hits import packed
from mabn_ref.paper.study import Context, Outcome, Records, Study, usual
from mabn_ref.train import plotting, results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.loop import Progress, Setup, predictions, test_error_of
from mabn_ref.train.runs import run_one
from mabn_ref.train.table_layout import Table, mean_interval, paired_difference, text

FACTORS = (0.5, 1.0, 2.0)  #: factors of the learning rate that are tried for every row
TUNING_SEEDS = (1000,)

_USUAL: dict[str, Any] = {"width": 16, "epochs": 20, "augment": False}
"""Default sizes; no flips and crops, for they would delay the end."""

_METHODS: dict[str, dict[str, Any]] = {
    "BN 32": {"norm": "bn", "norm_batch": 32},
    "BN 2": {"norm": "bn", "norm_batch": 2},
    "BRN 2": {"norm": "brn", "norm_batch": 2},
    "MABN 2": {"norm": "mabn", "norm_batch": 2},
}
_ROWS = [
    *(Row(name, {**method, "centralized": False}) for name, method in _METHODS.items()),
    *(Row(f"{name} + WC", {**method, "centralized": True}) for name, method in _METHODS.items()),
    *(
        Row(f"{name} + GC", {**_METHODS[name], "centralized": False, "gradient_centralized": True})
        for name in ("BN 32", "MABN 2")
    ),
]
_CLAIMS = [
    Claim("BN 32", "BN 2", True, "Table 1"),
    Claim("BRN 2", "BN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "BN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "BRN 2", True, "Table 1"),
    Claim("MABN 2 + WC", "BN 32", False, "Table 1"),
    Claim("MABN 2 + WC", "BN 32 + WC", False, "the control"),
    Claim("MABN 2 + WC", "BN 2 + WC", True, "the control"),
    Claim("MABN 2 + WC", "MABN 2", True, "Table 4: WC matters to the modified form"),
    Claim("BN 32 + WC", "BN 32", False, "Table 4: WC does little for the vanilla form"),
    Claim("MABN 2 + WC", "MABN 2 + GC", None, "the control: WC in backward alone"),
    Claim("BN 32 + WC", "BN 32 + GC", None, "the control: WC in backward alone"),
]
_PANELS = {
    "What small batches cost, weights centralised": [
        (f"{name} + WC", "BN 32 + WC") for name in ("BN 2", "BRN 2", "MABN 2")
    ],
    "What centralised weights do": [(f"{name} + WC", name) for name in ("BN 2", "BN 32", "MABN 2")],
}
"""The pairs of rows in each panel, which shows the first minus the second."""
_PAIRS = [*dict.fromkeys([pair for pairs in _PANELS.values() for pair in pairs] + [("BN 2", "BN 32")])]
_NOTES = [
    "The intervals of differences at the end are over seeds and test images; all others are over seeds.",
    (
        "in training: errors during the last epoch, with the statistics of the batch. training images: of the "
        "trained network, with moving statistics."
    ),
    (
        f"Every row had {len(FACTORS)} learning rates, compared on one seed that is not reported: trained on "
        "half of the training images, tested on the other half."
    ),
    "GC: the gradient of the weights is centralised, and the weights are not.",
]


def run_to_the_end(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `run_one` does; the record also has `hits`, which test images were right, and `fitted_error`.

    `fitted_error` is the error on the training images, in %, of the trained network with moving statistics. The
    training errors by epoch are taken during training, with the statistics of the batch, while the weights change.
    """

    def finished(setup: Setup, progress: Progress) -> dict[str, Any]:
        said = predictions(setup, progress) if progress.predicted is None else progress.predicted
        on_training = setup._replace(images=setup.images._replace(test=setup.images.train))
        fitted = test_error_of(on_training, progress)
        return {"fitted_error": fitted, "hits": packed(said == setup.images.test.labels)}

    return run_one(config, finished=finished, **keywords)


_suited = partial(usual, own=_USUAL)


def _trials(row: Row, context: Context) -> list[Row]:
    """The row with each learning rate, on half of the training images, tested on the other half."""
    rates = [factor * float(context.settings.get("lr", RunConfig.lr)) for factor in FACTORS]
    return [Row(f"{row.label}: {rate:g}", {**row.settings, "lr": rate, "held_out": True}) for rate in rates]


def _tuned(context: Context, records: Records) -> list[Row]:
    """Return every row with its best rate, once its trials are recorded and unless all of them diverged."""
    searching = context._replace(seeds=TUNING_SEEDS)
    chosen = ((row, search.lowest(_trials(row, context), searching, records)) for row in _ROWS)
    return [Row(row.label, {**row.settings, "lr": best.settings["lr"]}) for row, best in chosen if best is not None]


def _plan(context: Context, records: Records) -> list[RunConfig]:
    context = _suited(context)
    trials = [trial for row in _ROWS for trial in _trials(row, context)]
    return [*configs(trials, context._replace(seeds=TUNING_SEEDS)), *configs(_tuned(context, records), context)]


def _outcome(context: Context, records: Records) -> Outcome:
    context = _suited(context)
    rows = _tuned(context, records)
    found = measure(rows, context, records)
    curves = {row.label: _curves(row, context, records) for row in rows}
    tables = [
        _errors(rows, found, curves, measure(rows, context, records, "fitted_error")),
        _over_epochs(found, curves, int(context.settings["epochs"])),
        _trial_errors(context, records),
    ]
    return claims.outcome_of(rows, found, _CLAIMS, tables, _NOTES, curves=curves)


_ByEpoch: TypeAlias = Mapping[str, Mapping[str, list[float]]]
"""A row's "test" and "train" errors after each epoch, for every seed that ended."""


def _curves(row: Row, context: Context, records: Records) -> _ByEpoch:
    done, _ = results.by_seed(records, configs([row], context))
    return {
        name: {str(seed): [line[f"{name}_error"] for line in done[seed]["epochs"]] for seed in sorted(done)}
        for name in ("test", "train")
    }


def _errors(rows: list[Row], found: Found, curves: Mapping[str, _ByEpoch], fitted: Found) -> Table:
    lines = []
    for row in rows:
        mine, last = found[row.label], [errors[-1] for errors in curves[row.label]["train"].values()]
        trained = (
            text(mean_interval(errors) if errors else None)
            for errors in (last, list(fitted[row.label].errors.values()))
        )
        lines.append((row.label, f"{row.settings['lr']:g}", claims.runs_text(mine), *trained, error_text(mine)))
    header = ("", "rate", "runs", "in training %", "training images %", "test %")
    return claims.compared("Errors after the last epoch", header, lines, found, ("BN 32", "BN 32 + WC"))


def _over_epochs(found: Found, of_rows: Mapping[str, _ByEpoch], epochs: int) -> Table:
    """Return the table of differences early, where the other studies stop, and at the end."""
    early, lines = max(epochs // 3, 1), list[tuple[str, ...]]()
    for a, b in [(a, b) for a, b in _PAIRS if a in of_rows and b in of_rows]:
        curves = [{int(seed): curve for seed, curve in of_rows[label]["test"].items()} for label in (a, b)]
        then, end = ([{seed: curve[at] for seed, curve in row.items()} for row in curves] for at in (early - 1, -1))
        gone = [{seed: last[seed] - first[seed] for seed in last} for first, last in zip(then, end, strict=True)]
        differences = (paired_difference(*then), claims.between(found[a], found[b]), paired_difference(*gone))
        lines.append((f"{a} minus {b}", *(text(difference, "+") for difference in differences)))
    header = ("", f"after epoch {early}", f"after epoch {epochs}", "change")
    return Table("Differences in test error %, early and at the end", header, lines)


def _trial_errors(context: Context, records: Records) -> Table:
    searching = context._replace(seeds=TUNING_SEEDS)
    tried = {row.label: measure(_trials(row, context), searching, records).values() for row in _ROWS}
    lines = [(label, *map(error_text, found)) for label, found in tried.items()]
    header = ("", *(f"rate {trial.settings['lr']:g}" for trial in _trials(_ROWS[0], context)))
    return Table("Learning rates: error % on held-out training images", header, lines)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the differences over the epochs: thick lines are means over the seeds, thin lines single seeds."""
    tests = {label: curves["test"] for label, curves in data["curves"].items()}
    drawing = plotting.new(plotting.NARROW, 6.4)
    panels = drawing.subplots(len(_PANELS), 1, sharex=True)
    for axes, (title, pairs) in zip(panels, _PANELS.items(), strict=True):
        for (a, b), colour, marker in zip(pairs, ("#d55e00", "#7a7a7a", "#0072b2"), "so^", strict=True):
            shared = sorted(tests.get(a, {}).keys() & tests.get(b, {}).keys())
            curves = [[x - y for x, y in zip(tests[a][seed], tests[b][seed], strict=True)] for seed in shared]
            if not curves:
                continue
            at = range(1, len(curves[0]) + 1)
            means = [sum(values) / len(values) for values in zip(*curves, strict=True)]
            axes.plot(at, means, color=colour, marker=marker, markevery=max(len(at) // 8, 1), label=f"{a} − {b}")
            for curve in curves if len(curves) > 1 else []:
                axes.plot(at, curve, color=colour, linewidth=0.4, alpha=0.5)
        axes.axhline(0, color="#7a7a7a", linewidth=1)
        plotting.finish(axes, title, "", "difference of test errors (%)", legend=True)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    return {"": drawing}


_TITLE = "Training to the end, learning rates tuned"
LONG = Study(_TITLE, _plan, _outcome, _draw, run_to_the_end, "long.jsonl", seeds=5, suited=_suited)
