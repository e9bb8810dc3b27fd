"""Studies that consist of rows and claims: Tables 1 and 2, Figure 1(b), the window, the methods of section 2."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from mabn_ref.paper.claims import Claim, Row, counts_text, error_table, error_text, rows_of, rows_study
from mabn_ref.paper.search import TUNED, note_on_tuning, tuned_rows
from mabn_ref.paper.table4 import moving
from mabn_ref.train import plotting
from mabn_ref.train.table_layout import Table

PAIRING = (
    "The paper's pairing centralises weights (WC) with the modified form alone. Rows marked (control) do otherwise, "
    "so that WC's part can be told from the normaliser's."
)
PAPER_IS_IMAGENET = (
    "The paper's numbers are top-1 errors of ResNet-50 on ImageNet; only signs and orders can be compared with ours. "
    "Its BN and BRN average with decay 0.9, ours with 0.98 and 0.99: `mabn-ref paper equation6` shows what that does "
    "to BN, and `mabn-ref paper search` what it does to BRN."
)
BN_32, BN_32_WC, BN_2, BN_2_WC = rows_of("bn-32", "bn-32-wc", "bn-2", "bn-2-wc")


# Figure 1(b): error against |B| at a fixed gradient batch, with centralised weights and without.

SIZES = (1, 2, 4, 8, 16, 32)
_PAPER = {"BN 32": "23.41", "BN 2": "35.22", "BRN 2": "30.29", "MABN 2 + WC": "23.58"}


def _line_of_1b(name: str, centralized: bool) -> tuple[str, dict[int, Row]]:
    """Return the name of a line of the figure, and its rows by |B|."""
    paired = centralized == (name == "MABN")
    rest = f"{' + WC' if centralized else ''}{'' if paired else ' (control)'}"
    rows = {}
    for size in SIZES:
        label, settings = f"{name} {size}{rest}", {"norm": name.lower(), "norm_batch": size}
        rows[size] = Row(label, {**settings, "centralized": centralized}, _PAPER.get(label, ""))
    return f"{name}{rest}", rows


_LINES_1B = dict(_line_of_1b(name, wc) for name, wc in product(("BN", "BRN", "MABN"), (False, True)))
ROWS_1B = [row for line in _LINES_1B.values() for row in line.values()]


def _draw_1b(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = {row["label"]: row for row in data["rows"]}
    curves = {name: {size: rows[row.label] for size, row in line.items()} for name, line in _LINES_1B.items()}
    return {"": plotting.errors_over(curves, "Figure 1(b) in miniature", "|B|, samples that share statistics")}


FIGURE1B = rows_study(
    "Figure 1(b): error against |B|",
    ROWS_1B,
    [
        Claim("MABN 1 + WC", "BN 1", True, "Figure 1(b)"),
        Claim("BRN 1", "BN 1", True, "Figure 1(b)"),
        Claim("BRN 2", "BN 2", True, "Figure 1(b)"),
        Claim("MABN 1 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("MABN 2 + WC", "MABN 32 + WC", False, "Figure 1(b): MABN retains its capacity at any |B|"),
        Claim("MABN 1 (control)", "MABN 32 (control)", None, "the control"),
        Claim("BN 32", "BN 8", True, "Figure 1(b): BN relies on |B|"),
        Claim("BRN 32", "BRN 2", True, "Figure 1(b): BRN relies on |B|"),
        *(Claim(f"MABN {size} + WC", f"BN {size} + WC (control)", None, "the control") for size in SIZES),
    ],
    tables=lambda rows, found: [
        Table(
            "Figure 1(b): test error %, mean and half of the 95 % interval over "
            f"{counts_text(list(found.values()))} runs",
            ("|B|", *map(str, SIZES)),
            [(name, *(error_text(found[row.label]) for row in line.values())) for name, line in _LINES_1B.items()],
        )
    ],
    notes=lambda rows, found: ["The gradient batch is 32 throughout, and MABN's window 32 / |B|.", PAIRING],
    draw=_draw_1b,
)


# Table 1: batch norm, Batch Renormalization and MABN at both ends of the figure.

TABLE1 = rows_study(
    "Table 1: BN, BRN and MABN at |B| = 2 and 32",
    [row for row in ROWS_1B if row.settings["norm_batch"] in (2, 32)],
    [
        Claim("MABN 2 + WC", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BRN 2", True, "Table 1"),
        Claim("BRN 2", "BN 2", True, "Table 1"),
        Claim("BN 32", "BN 2", True, "Table 1"),
        Claim("MABN 2 + WC", "BN 32", False, "Table 1"),
        Claim("MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
        Claim("MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
        Claim("MABN 2 + WC", TUNED, True, "Table 1, with BRN tuned and MABN not"),
    ],
    tables=lambda rows, found: [error_table("Table 1: test error", rows, found, ("BN 32", "BN 32 + WC (control)"))],
    notes=lambda rows, found: [note_on_tuning(rows), PAIRING, PAPER_IS_IMAGENET],
    draw=lambda data: {"": plotting.errors_by_row(data["rows"], "Table 1 in miniature")},
    more=tuned_rows,
)


# Table 2: the ablation, one part of MABN after the other.

_FIFTH = "(5) BRN 2, SMAS backward"
ROWS_2 = [
    BN_32._replace(label="(1) BN 32", paper="23.41"),
    Row("(2) modified BN 32 + WC", {"norm": "modified-bn", "norm_batch": 32}, "as row 1"),
    BN_2._replace(label="(3) BN 2", paper="35.22"),
    Row("(4) BRN 2", {"norm": "brn", "norm_batch": 2}, "30.29"),
    Row(_FIFTH, moving("vanilla", "ema", "sma", False), "diverged"),
    Row("(6) modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}, "below 30.29"),
    Row("(7) modified BN 2 + WC, EMAS forward", moving("modified", "ema", "batch", True), "27.03"),
    Row("(8) MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}, "23.58"),
    BN_32_WC._replace(label="BN 32 + WC (control)"),
    BN_2_WC._replace(label="BN 2 + WC (control)"),
    Row("BRN 2 + WC (control)", {"norm": "brn", "norm_batch": 2, "centralized": True}),
    Row("modified BN 2 (control)", {"norm": "modified-bn", "norm_batch": 2, "centralized": False}),
    Row("MABN 2 (control)", {"norm": "mabn", "norm_batch": 2, "centralized": False}),
]


def _notes_on_2(rows: Any, found: Any) -> list[str]:
    diverged, ended = len(found[_FIFTH].diverged), len(found[_FIFTH].errors)
    return [
        f"Row 5 does not converge in the paper, and diverged in {diverged} of {diverged + ended} runs here.",
        "Rows 5 and 7 are `moving_statistics` with MABN's clip and start of r.",
        note_on_tuning(rows),
        PAIRING,
        PAPER_IS_IMAGENET,
    ]


TABLE2 = rows_study(
    "Table 2: the ablation, one part of MABN after the other",
    ROWS_2,
    [
        Claim("(8) MABN 2 + WC", "(3) BN 2", True, "Table 2, rows 3 and 8"),
        Claim("(8) MABN 2 + WC", "BN 2 + WC (control)", True, "the control"),
        Claim("(4) BRN 2", "(3) BN 2", True, "Table 2, rows 3 and 4"),
        Claim("(6) modified BN 2 + WC", "(4) BRN 2", True, "Table 2, rows 4 and 6"),
        Claim("(6) modified BN 2 + WC", "BN 2 + WC (control)", True, "the control"),
        Claim("(7) modified BN 2 + WC, EMAS forward", "(6) modified BN 2 + WC", True, "Table 2, rows 6 and 7"),
        Claim("(8) MABN 2 + WC", "(7) modified BN 2 + WC, EMAS forward", True, "Table 2, rows 7 and 8"),
        Claim("(8) MABN 2 + WC", "(1) BN 32", False, "Table 2, rows 1 and 8"),
        Claim("(8) MABN 2 + WC", "BN 32 + WC (control)", False, "the control"),
        Claim("(2) modified BN 32 + WC", "(1) BN 32", False, "Table 2, rows 1 and 2"),
        Claim("(2) modified BN 32 + WC", "BN 32 + WC (control)", False, "the control"),
        Claim("(8) MABN 2 + WC", "MABN 2 (control)", True, "Table 4: WC matters to the modified form"),
        Claim("(6) modified BN 2 + WC", "modified BN 2 (control)", True, "Table 4: WC matters to the modified form"),
        Claim("BN 2 + WC (control)", "(3) BN 2", False, "Table 4: WC does little for the vanilla form"),
    ],
    tables=lambda rows, found: [
        error_table("Table 2: test error", rows, found, ("(1) BN 32", "BN 32 + WC (control)"))
    ],
    notes=_notes_on_2,
    draw=lambda data: {"": plotting.errors_by_row(data["rows"], "Table 2 in miniature")},
    more=tuned_rows,
)


# The window: error against m, and decay, clip and start of r around it.

_WINDOWS = (1, 4, 16, 32, 64, 128, 256)
_AROUND = [("decay", "decay", value) for value in (0.9, 0.995)]
_AROUND += [("clip", "clip", value) for value in (1.0, 1.5, 20.0)]
_AROUND += [("r from gradient batch", "renorm_after", value) for value in (0, 25, 10**6)]
_CONTROLS = [BN_32, BN_32_WC, BN_2_WC]


def _mabn(m: int, around: str = "", **settings: Any) -> Row:
    window = None if m == 16 else m
    return Row(f"m = {m}{around}", {"norm": "mabn", "norm_batch": 2, "window": window, **settings})


ROWS_OF_WINDOW = [
    *(_mabn(m) for m in _WINDOWS),
    *(
        _mabn(m, f", {name} {'never' if value == 10**6 else value}", **{field: value})
        for m, (name, field, value) in product((16, 64), _AROUND)
    ),
    *_CONTROLS,
]


def _draw_window(data: Mapping[str, Any]) -> dict[str, Any]:
    rows = {row["label"]: row for row in data["rows"]}
    curves = {"MABN 2 + WC": {m: rows[f"m = {m}"] for m in _WINDOWS}}
    curves |= {row.label: dict.fromkeys((1, 256), rows[row.label]) for row in _CONTROLS}
    return {"": plotting.errors_over(curves, "MABN's window at |B| = 2", "m, normalisation batches in the window")}


WINDOW = rows_study(
    "MABN's window, decay, clip and start of r",
    ROWS_OF_WINDOW,
    [
        Claim("m = 64", "m = 16", True, "the prototype: four gradient batches are better than one"),
        Claim("m = 64", "BN 32 + WC", False, "the prototype: m = 64 closes the gap"),
        Claim("m = 16", "m = 16, r from gradient batch never", True, "the prototype: r matters"),
        Claim("m = 64", "m = 256", None, "does it turn?"),
        Claim("m = 16", "m = 1", True, "section 4.3: averages help"),
    ],
    tables=lambda rows, found: [
        error_table("MABN at |B| = 2, centralised weights", rows, found, ("m = 16", "BN 32 + WC"))
    ],
    notes=lambda rows, found: [
        "m = 16 is one gradient batch, as in the paper. Decay 0.98, clip 5, r from gradient batch 100 if not said."
    ],
    draw=_draw_window,
)


# Section 2: the methods that the paper names beside its own, on the same small network.

ROWS_OF_RELATED = [
    *rows_of("bn-32", "bn-2", "mabn-2"),
    Row("GN", {"norm": "gn", "norm_batch": 1}),
    *rows_of("ln", "in"),
    Row("GN + WS", {"norm": "gn", "norm_batch": 1, "standardized": True}),
    *rows_of("bn-2-ws", "eval-norm-2"),
    Row("EvalNorm 2, estimated", {"norm": "eval-norm", "norm_batch": 2, "estimated": True}),
    *rows_of("online", "sync-bn-32"),
]

RELATED = rows_study(
    "Related methods: GN, LN, IN, weight standardisation, EvalNorm, Online Norm, SyncBN",
    ROWS_OF_RELATED,
    [
        Claim("GN", "BN 32", False, "section 2: GN restores the performance of BN very well"),
        Claim("BN 32", "LN", True, "section 2: LN shows no superiority to BN in most cases"),
        Claim("BN 32", "IN", True, "section 2: IN shows no superiority to BN in most cases"),
        Claim("GN + WS", "GN", True, "section 2: WS needs GN where batches are small"),
        Claim("BN 32", "BN 2 + WS", True, "section 2: WS alone does not mend small batches"),
        Claim("EvalNorm 2", "BN 2", True, "section 2: EvalNorm restores BN to some extent"),
        Claim("EvalNorm 2, estimated", "BN 2", True, "section 2: EvalNorm restores BN to some extent"),
        Claim("BN 32", "EvalNorm 2, estimated", True, "section 2: but not completely"),
        Claim("Online Norm", "BN 32", False, "section 2: Online Normalization without degradation"),
        Claim("MABN 2 + WC", "GN", None, "our question"),
    ],
    tables=lambda rows, found: [error_table("Related methods: test error", rows, found, ("BN 32", "BN 2"))],
    notes=lambda rows, found: [
        "The paper gives no numbers for these on this task; the claims are its sentences.",
        "SyncBN runs in one process here, as a single worker with the whole batch, and so is BN 32.",
        "EvalNorm trains as BN 2 does. At inference a sample's own statistics weigh 1/2, or as was estimated.",
        "WS: standardised weights. Nothing was tuned.",
    ],
    draw=lambda data: {"": plotting.errors_by_row(data["rows"], "Related methods in miniature")},
)
