"""Theorem 1 by simulation: bias and variance of both moving averages, of stationary and of drifting sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.experiments import theorems
from mabn_ref.paper import drawing
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table, no_runs

__all__ = ["THEOREM_1"]

WINDOW, DECAY, STEPS = 16, 0.98, 300
_SEQUENCES = {
    "constant": "stationary",
    "settling": "settles, (8)",
    "slow": "changes ever more slowly, (10)",
    "drift": "drifts by 0.01 an iteration",
    "jump": "jumps by 1 half way",
}


def _band(estimate: Any, at: int) -> str:
    return f"{estimate.mean[at]:+.4f} [{estimate.low[at]:+.4f}, {estimate.high[at]:+.4f}]"


def _outcome(context: Context, records: Records) -> Outcome:
    bias: list[tuple[str, ...]] = []
    variance: list[tuple[str, ...]] = []
    verdicts, figures, data = [], {}, {}
    series: dict[str, dict[str, Any]] = {}
    claimed = {"SMAS": 1 / WINDOW, "EMAS": (1 - DECAY ** (2 * STEPS)) * (1 - DECAY) / (1 + DECAY)}
    for number, (kind, said) in enumerate(_SEQUENCES.items()):
        sequence, rng = theorems.expectations(kind, STEPS), np.random.default_rng([context.seeds[0], number])
        both = theorems.average_moments(sequence, window=WINDOW, decay=DECAY, rng=rng)
        exact = theorems.exact_moments(sequence, window=WINDOW, decay=DECAY)
        last, moments = STEPS - 1, dict(zip(("SMAS", "EMAS"), both, strict=True))
        bias.append((said, *(_band(moment.bias, last) for moment in both), *(f"{b[last]:+.4f}" for b, _ in exact)))
        variance.append((said, *(_band(moment.variance, last) for moment in both)))
        for name, moment in moments.items():
            low, high = float(moment.variance.low[last]), float(moment.variance.high[last])
            held = "inside" if low <= claimed[name] <= high else "outside"
            formula = "(11)" if name == "SMAS" else "(9)"
            verdicts.append(
                f"variance of {name}, {said}: {formula} gives {claimed[name]:.5f}, {held} [{low:.5f}, {high:.5f}]"
            )
        series[said] = {name: list(moment.bias.mean) for name, moment in moments.items()}
        data[kind] = {
            name: {"bias": moment.bias.mean.round(5).tolist(), "variance": moment.variance.mean.round(5).tolist()}
            for name, moment in moments.items()
        }
    figures[""] = drawing.panels(series, "Bias of the averages, in deviations", "iteration", logarithmic=False)
    tables = [
        Table(
            f"Bias after {STEPS} iterations, m = {WINDOW}, decay {DECAY}",
            ("", "SMAS", "EMAS", "SMAS exact", "EMAS exact"),
            bias,
        ),
        Table("Variance, in units of that of one value", ("", "SMAS", "EMAS"), variance),
    ]
    notes = [
        "In brackets 95 % intervals of the simulation; xi_t are independent and uniform, of variance 1.",
        "Where the sequence drifts both lag, EMAS by decay / (1 - decay) iterations, SMAS by (m - 1) / 2.",
    ]
    return Outcome(tables, verdicts, notes, figures, data)


THEOREM_1 = Study("Theorem 1: bias and variance of both averages", no_runs, _outcome)
