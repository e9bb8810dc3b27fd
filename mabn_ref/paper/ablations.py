"""Tables 1, 2 and 4 and Figure 1(b) of the paper, the window, and who gets the credit: errors of rows of runs."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

from mabn_ref.experiments.config import RunConfig
from mabn_ref.experiments.intervals import Interval, mean_interval, paired_difference
from mabn_ref.paper import drawing
from mabn_ref.paper.measured import (
    FEWEST,
    Claim,
    Measured,
    Row,
    configs,
    error_table,
    measure,
    row_data,
    text,
    verdict,
)
from mabn_ref.paper.search import BUDGET, best
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["CREDIT", "FIGURE_1B", "TABLE_1", "TABLE_2", "TABLE_4", "WINDOW"]

PAIRING = (
    "The paper's pairing centralises weights (WC) with the modified form alone. Rows marked (control) do otherwise, "
    "so that WC's part can be told from the normaliser's."
)
PAPER_IS_IMAGENET = (
    "The paper's numbers are top-1 errors of ResNet-50 on ImageNet; only signs and orders can be compared with ours. "
    "Its BN and BRN average with decay 0.9, ours with 0.98 and 0.99: `mabn-ref paper equation6` shows what that does."
)

SIZES = (1, 2, 4, 8, 16, 32)
_METHODS = {"BN": "bn", "BRN": "brn", "MABN": "mabn"}
_PAPER_1 = {("bn", 32): "23.41", ("bn", 2): "35.22", ("brn", 2): "30.29", ("mabn", 2): "23.58"}


def _size_rows() -> list[Row]:
    """|B| of 1 to 32 for each method, with centralised weights and without."""
    rows = []
    for (name, norm), centralized, size in product(_METHODS.items(), (False, True), SIZES):
        pairing = centralized == (norm == "mabn")
        label = f"{name} {size}{' + WC' if centralized else ''}{'' if pairing else ' (control)'}"
        settings = {"norm": norm, "norm_batch": size, "centralized": centralized}
        rows.append(Row(label, settings, _PAPER_1.get((norm, size), "") if pairing else ""))
    return rows


_ROWS_1 = [row for row in _size_rows() if row.label.split()[1] in ("2", "32")]


def _plan(rows: list[Row]) -> Any:
    def plan(context: Context, records: Records) -> list[RunConfig]:
        return configs(rows, context)

    return plan


TUNED = "BRN 2, best of the search"


def with_tuned(rows: list[Row], context: Context, records: Records) -> list[Row]:
    """Return `rows`, and Batch Renormalization as the search has tuned it once the search's runs are recorded."""
    chosen = best("BRN 2", context, records)
    return rows if chosen is None else [*rows, Row(TUNED, chosen.settings)]


def _plan_tuned(rows: list[Row]) -> Any:
    def plan(context: Context, records: Records) -> list[RunConfig]:
        return configs(with_tuned(rows, context, records), context)

    return plan


def _note_on_tuning(rows: list[Row]) -> str:
    if rows[-1].label == TUNED:
        return (
            f"BRN has Ioffe's schedule squeezed into the run, and below the best of {BUDGET} settings on other seeds."
        )
    return (
        "BRN has Ioffe's schedule squeezed into the run. After `mabn-ref paper search` this table has its best, too."
    )


def _table_1(context: Context, records: Records) -> Outcome:
    rows = with_tuned(_ROWS_1, context, records)
    found = measure(rows, context, records)
    claims = [
        Claim("MABN 2 + WC", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BRN 2", True, "Table 1"),
        Claim("BRN 2", "BN 2", True, "Table 1"),
        Claim("BN 32", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BN 32", False, "Table 1"),
        Claim("MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
        Claim("MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
    ]
    claims += [Claim("MABN 2 + WC", TUNED, True, "Table 1, after equal tuning")] if TUNED in found else []
    table = error_table("Table 1: test error", rows, found, ("BN 32", "BN 32 + WC (control)"))
    return Outcome(
        [table],
        [verdict(claim, found) for claim in claims],
        [_note_on_tuning(rows), PAIRING, PAPER_IS_IMAGENET],
        {"": drawing.errors_by_row(found, "Table 1 in miniature")},
        {"rows": row_data(rows, found)},
    )


def _figure_1b(context: Context, records: Records) -> Outcome:
    rows = _size_rows()
    found = measure(rows, context, records)
    curves: dict[str, dict[int, Measured]] = {}
    lines: list[tuple[str, ...]] = []
    for (name, norm), centralized in product(_METHODS.items(), (False, True)):
        title = f"{name}{' + WC' if centralized else ''}{'' if centralized == (norm == 'mabn') else ' (control)'}"
        of_title = {
            int(row.settings["norm_batch"]): found[row.label]
            for row in rows
            if row.settings["norm"] == norm and row.settings["centralized"] == centralized
        }
        curves[title] = of_title
        lines.append((title, *(_mean(of_title[size]) for size in SIZES)))
    runs = {len(measured.errors) for measured in found.values()}
    table = Table(
        f"Figure 1(b): test error %, mean and half of the 95 % interval over {'-'.join(map(str, sorted(runs)))} runs",
        ("|B|", *map(str, SIZES)),
        lines,
    )
    claims = [
        Claim("MABN 1 + WC", "BN 1", True, "Figure 1(b)"),
        Claim("MABN 2 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("BN 32", "BN 8", True, "Figure 1(b): BN relies on |B|"),
        Claim("BRN 32", "BRN 2", True, "Figure 1(b): BRN relies on |B|"),
    ]
    return Outcome(
        [table],
        [verdict(claim, found) for claim in claims],
        ["The gradient batch is 32 throughout, and MABN's window 32 / |B|.", PAIRING],
        {"": drawing.errors_over(curves, "Figure 1(b) in miniature", "|B|, samples that share statistics")},
        {"rows": row_data(rows, found)},
    )


def _mean(row: Measured) -> str:
    return text(mean_interval(list(row.errors.values()))) if row.errors else "diverged" if row.diverged else "none"


def _moving(form: str, forward: str, backward: str, centralized: bool, **settings: Any) -> dict[str, Any]:
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    return {"norm": "moving", "norm_batch": 2, "centralized": centralized, **averages, **settings}


_ROWS_2 = [
    Row("(1) BN 32", {"norm": "bn", "norm_batch": 32}, "23.41"),
    Row("(2) modified BN 32 + WC", {"norm": "modified-bn", "norm_batch": 32}, "as row 1"),
    Row("(3) BN 2", {"norm": "bn", "norm_batch": 2}, "35.22"),
    Row("(4) BRN 2", {"norm": "brn", "norm_batch": 2}, "30.29"),
    Row("(5) BRN 2, SMAS backward", _moving("vanilla", "ema", "sma", False), "diverged"),
    Row("(6) modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}, "below 30.29"),
    Row("(7) modified BN 2 + WC, EMAS forward", _moving("modified", "ema", "batch", True), "27.03"),
    Row("(8) MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}, "23.58"),
    Row("BN 32 + WC (control)", {"norm": "bn", "norm_batch": 32, "centralized": True}),
    Row("BN 2 + WC (control)", {"norm": "bn", "norm_batch": 2, "centralized": True}),
    Row("BRN 2 + WC (control)", {"norm": "brn", "norm_batch": 2, "centralized": True}),
    Row("modified BN 2 (control)", {"norm": "modified-bn", "norm_batch": 2, "centralized": False}),
    Row("MABN 2 (control)", {"norm": "mabn", "norm_batch": 2, "centralized": False}),
]

_CLAIMS_2 = [
    Claim("(8) MABN 2 + WC", "(3) BN 2", True, "Table 2, rows 3 and 8"),
    Claim("(8) MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
    Claim("(6) modified BN 2 + WC", "(4) BRN 2", True, "Table 2, rows 4 and 6"),
    Claim("(6) modified BN 2 + WC", "BN 2 + WC (control)", True, "the control"),
    Claim("(7) modified BN 2 + WC, EMAS forward", "(6) modified BN 2 + WC", True, "Table 2, rows 6 and 7"),
    Claim("(8) MABN 2 + WC", "(7) modified BN 2 + WC, EMAS forward", True, "Table 2, rows 7 and 8"),
    Claim("(8) MABN 2 + WC", "(1) BN 32", False, "Table 2, rows 1 and 8"),
    Claim("(8) MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
    Claim("(2) modified BN 32 + WC", "(1) BN 32", False, "Table 2, rows 1 and 2"),
    Claim("(8) MABN 2 + WC", "MABN 2 (control)", True, "Table 4: WC matters to the modified form"),
    Claim("(6) modified BN 2 + WC", "modified BN 2 (control)", True, "Table 4: WC matters to the modified form"),
    Claim("BN 2 + WC (control)", "(3) BN 2", False, "Table 4: WC does little for the vanilla form"),
]


def _table_2(context: Context, records: Records) -> Outcome:
    rows = with_tuned(_ROWS_2, context, records)
    found = measure(rows, context, records)
    fifth = found["(5) BRN 2, SMAS backward"]
    came = f"diverged in {len(fifth.diverged)} of {len(fifth.diverged) + len(fifth.errors)} runs here"
    return Outcome(
        [error_table("Table 2: test error", rows, found, ("(1) BN 32", "BN 32 + WC (control)"))],
        [verdict(claim, found) for claim in _CLAIMS_2],
        [
            f"Row 5 does not converge in the paper, and {came}.",
            "Rows 5 and 7 are `moving_statistics` with MABN's clip and start of r.",
            _note_on_tuning(rows),
            PAIRING,
            PAPER_IS_IMAGENET,
        ],
        {"": drawing.errors_by_row(found, "Table 2 in miniature")},
        {"rows": row_data(rows, found)},
    )


_FORMS, _AVERAGES = ("vanilla", "modified"), ("batch", "sma", "ema")
_NAMES = {"batch": "BS", "sma": "SMAS", "ema": "EMAS"}


def _cell(form: str, forward: str, backward: str, centralized: bool) -> str:
    return f"{form} {_NAMES[forward]}/{_NAMES[backward]}{' + WC' if centralized else ''}"


_ROWS_4 = [
    Row(_cell(form, ahead, back, wc), _moving(form, ahead, back, wc))
    for form, wc, ahead, back in product(_FORMS, (False, True), _AVERAGES, _AVERAGES)
]


def _table_4(context: Context, records: Records) -> Outcome:
    found = measure(_ROWS_4, context, records)
    tables = []
    for form, wc in product(_FORMS, (False, True)):
        lines = [
            (f"forward {_NAMES[ahead]}", *(_mean(found[_cell(form, ahead, back, wc)]) for back in _AVERAGES))
            for ahead in _AVERAGES
        ]
        header = ("", *(f"backward {_NAMES[back]}" for back in _AVERAGES))
        runs = sorted({len(found[_cell(form, a, b, wc)].errors) for a, b in product(_AVERAGES, _AVERAGES)})
        title = f"{form} form{' + WC' if wc else ''}: test error %, {'-'.join(map(str, runs))} runs a cell"
        tables.append(Table(title, header, lines))
    best = _cell("modified", "sma", "sma", True)
    claims = [
        Claim(best, _cell("modified", "ema", "batch", True), True, "section 4.3: SMAS in backward"),
        Claim(best, _cell("modified", "sma", "ema", True), True, "section 4.3: SMAS, not EMAS, in backward"),
        Claim(best, _cell("modified", "sma", "batch", True), True, "Table 4: averages in backward"),
        Claim(best, _cell("modified", "sma", "sma", False), True, "Table 4: WC matters to the modified form"),
        Claim(best, _cell("vanilla", "sma", "sma", False), True, "Table 2: averages alone fail in the vanilla form"),
    ]
    return Outcome(
        tables,
        [verdict(claim, found) for claim in claims],
        [
            CELLS,
            "The paper's own Table 4 could not be recovered from its text; its claims could.",
        ],
        {"": drawing.errors_by_row(found, "Table 4 as a full factorial")},
        {"rows": row_data(_ROWS_4, found)},
    )


CELLS = (
    "BS: the batch's statistics. Forward EMAS is the batch's corrected by r and d, as in BRN; forward SMAS the "
    "window's corrected by r and d, as in MABN, whose cell is modified SMAS/SMAS + WC. All cells have the same clip, "
    "start of r, window and decay."
)
_FACTORS = ("weight centralisation", "modified form", "averages in forward", "averages in backward")


SHARES = (
    "A share is a factor's effect, averaged over all 24 orders of switching the four on (its Shapley value); the "
    "four add up to the whole. Averages are simple ones, MABN's."
)


def shares(errors: dict[tuple[bool, ...], float]) -> list[float]:
    """Share a gain out among factors: each one's mean effect over all orders in which they can be switched on.

    These are Shapley values: they add up to the whole difference, and no order is preferred.

    Parameters
    ----------
    errors : dict
        The error with each combination of factors off and on.

    Returns
    -------
    list of float
        One a factor, in order.

    Examples
    --------
    Two factors that each take off 2, and 3 more only together:

    >>> shares({(False, False): 20.0, (True, False): 18.0, (False, True): 18.0, (True, True): 13.0})
    [-3.5, -3.5]
    """
    count = len(next(iter(errors)))
    total, orders = [0.0] * count, list(permutations(range(count)))
    for order in orders:
        on = [False] * count
        for factor in order:
            before = errors[tuple(on)]
            on[factor] = True
            total[factor] += errors[tuple(on)] - before
    return [value / len(orders) for value in total]


def _corner(on: tuple[bool, ...]) -> str:
    wc, modified, ahead, back = on
    return _cell(_FORMS[modified], _AVERAGES[ahead], _AVERAGES[back], wc)


def _credit(context: Context, records: Records) -> Outcome:
    found = measure(_ROWS_4, context, records)
    corners = list(product((False, True), repeat=4))
    seeds = [seed for seed in context.seeds if all(seed in found[_corner(on)].errors for on in corners)]
    lost = sorted(_corner(on) for on in corners if found[_corner(on)].diverged)
    each = [shares({on: found[_corner(on)].errors[seed] for on in corners}) for seed in seeds]
    credit: dict[str, Interval | None] = {
        factor: mean_interval([of_seed[k] for of_seed in each]) if each else None for k, factor in enumerate(_FACTORS)
    }
    credit["all four: MABN minus BN"] = paired_difference(
        {seed: found[_corner((True,) * 4)].errors[seed] for seed in seeds},
        {seed: found[_corner((False,) * 4)].errors[seed] for seed in seeds},
    )
    path: dict[str, Interval | None] = {}
    on, names = [False] * 4, ("BN 2", "+ WC", "+ modified form", "+ SMAS forward", "+ SMAS backward = MABN 2")
    for factor, name in enumerate(names[1:]):
        before = found[_corner(tuple(on))].errors
        on[factor] = True
        path[name] = paired_difference(found[_corner(tuple(on))].errors, before)
    header = ("", "pairs", "difference in error %")
    tables = [
        Table(
            "Shares of MABN's gain over BN at |B| = 2 (negative: lower error)",
            header,
            [(name, str(value.runs if value else 0), text(value, "+")) for name, value in credit.items()],
        ),
        Table(
            "One step after the other, from BN 2",
            header,
            [(name, str(value.runs if value else 0), text(value, "+")) for name, value in path.items()],
        ),
    ]
    verdicts = [_effect(name, value) for name, value in credit.items()]
    notes = [
        SHARES,
        "The paper gives the credit to the averages, in backward above all, and calls WC a practical remedy.",
    ]
    if lost:
        notes.append(f"Seeds are left out where one of these diverged: {', '.join(lost)}.")
    return Outcome(
        tables,
        verdicts,
        notes,
        {"": drawing.intervals(credit, "Who gets the credit", "difference in test error (%), with 95 % interval")},
        {
            "shares": {name: value and value._asdict() for name, value in credit.items()},
            "rows": row_data(_ROWS_4, found),
        },
    )


def _effect(name: str, value: Interval | None) -> str:
    if value is None or value.half is None or value.runs < FEWEST:
        return f"{name}: no verdict, fewer than {FEWEST} seeds with all cells"
    low, high = value.mean - value.half, value.mean + value.half
    judged = "lowers the error" if high < 0 else "raises the error" if low > 0 else "no effect found"
    return f"{name}: {judged}, {text(value, '+')} over {value.runs} seeds"


_WINDOWS = (1, 4, 16, 32, 64, 128, 256)


def _mabn(label: str, **settings: Any) -> Row:
    return Row(label, {"norm": "mabn", "norm_batch": 2, **settings})


def _window_rows() -> list[Row]:
    rows = [_mabn(f"m = {m}", window=None if m == 16 else m) for m in _WINDOWS]
    around: list[tuple[str, str, tuple[Any, ...]]] = [
        ("decay", "decay", (0.9, 0.995)),
        ("clip", "clip", (1.0, 1.5, 20.0)),
        ("r from gradient batch", "renorm_after", (0, 25, 10**6)),
    ]
    for m, (name, field, values) in product((16, 64), around):
        for value in values:
            shown = "never" if value == 10**6 else value
            rows.append(_mabn(f"m = {m}, {name} {shown}", window=None if m == 16 else m, **{field: value}))
    return [*rows, *_WINDOW_CONTROLS]


_WINDOW_CONTROLS = [
    Row("BN 32", {"norm": "bn", "norm_batch": 32}),
    Row("BN 32 + WC", {"norm": "bn", "norm_batch": 32, "centralized": True}),
    Row("BN 2 + WC", {"norm": "bn", "norm_batch": 2, "centralized": True}),
]


def _window(context: Context, records: Records) -> Outcome:
    rows = _window_rows()
    found = measure(rows, context, records)
    claims = [
        Claim("m = 64", "m = 16", True, "the prototype: four gradient batches are better than one"),
        Claim("m = 64", "BN 32 + WC", False, "the prototype: m = 64 closes the gap"),
        Claim("m = 16", "m = 16, r from gradient batch never", True, "the prototype: r matters"),
        Claim("m = 64", "m = 256", True, "does it turn?"),
        Claim("m = 16", "m = 1", True, "section 4.3: averages help"),
    ]
    curve = {"MABN 2 + WC": {m: found[f"m = {m}"] for m in _WINDOWS}}
    curve |= {row.label: dict.fromkeys((1, 256), found[row.label]) for row in _WINDOW_CONTROLS}
    return Outcome(
        [error_table("MABN at |B| = 2, centralised weights", rows, found, ("m = 16", "BN 32 + WC"))],
        [verdict(claim, found) for claim in claims],
        ["m = 16 is one gradient batch, as in the paper. Decay 0.98, clip 5, r from gradient batch 100 if not said."],
        {"": drawing.errors_over(curve, "MABN's window at |B| = 2", "m, normalisation batches in the window")},
        {"rows": row_data(rows, found)},
    )


TABLE_1 = Study("Table 1: BN, BRN and MABN at |B| = 2 and 32", _plan_tuned(_ROWS_1), _table_1)
FIGURE_1B = Study("Figure 1(b): error against |B|", _plan(_size_rows()), _figure_1b)
TABLE_2 = Study("Table 2: the ablation, one part of MABN after the other", _plan_tuned(_ROWS_2), _table_2)
TABLE_4 = Study(
    "Table 4 as a full factorial: averages in both directions, form, centralisation", _plan(_ROWS_4), _table_4
)
WINDOW = Study("MABN's window, decay, clip and start of r", _plan(_window_rows()), _window)
CREDIT = Study("Who gets the credit: the factorial's shares of MABN's gain", _plan(_ROWS_4), _credit)
