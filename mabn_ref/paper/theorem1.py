"""Theorem 1 by simulation: bias and variance of both moving averages, of stationary and of drifting sequences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mabn_ref.paper import theorems
from mabn_ref.paper.study import Context, Outcome, Records, Study, no_runs
from mabn_ref.train import plotting
from mabn_ref.train.table_layout import Table

WINDOW, DECAY, STEPS = 16, 0.98, 300
_SEQUENCES = {
    "constant": "stationary",
    "settling": "settles, (8)",
    "slow": "changes less and less, (10)",
    "drift": "drifts by 0.01 an iteration",
    "jump": "jumps by 1 half way",
}
SIMPLE, EXPONENTIAL = "simple average", "exponential average"  #: the paper's SMAS and EMAS
_SHOWN = range(1, STEPS + 1, 3)  #: the iterations of the picture


def _claimed(iterations: Sequence[int]) -> dict[str, list[float]]:
    """Return the variances of (11) and (9), in units of the variance of one value."""
    return {
        SIMPLE: [1 / WINDOW if t >= WINDOW else math.nan for t in iterations],  # earlier, it has fewer values
        EXPONENTIAL: [(1 - DECAY ** (2 * t)) * (1 - DECAY) / (1 + DECAY) for t in iterations],
    }


def _curve(estimate: Any) -> dict[str, list[float]]:
    shown = np.array(_SHOWN) - 1
    return {name: values[shown].round(5).tolist() for name, values in estimate._asdict().items()}


def _band(estimate: Any) -> str:
    """Return the estimate after the last iteration, with its interval, as text."""
    return f"{estimate.mean[-1]:+.4f} [{estimate.low[-1]:+.4f}, {estimate.high[-1]:+.4f}]"


def _inside(value: float, estimate: Any, digits: int, sign: str = "") -> str:
    """Return as text whether the interval after the last iteration contains a value."""
    low, high = float(estimate.low[-1]), float(estimate.high[-1])
    held = "inside" if low <= value <= high else "outside"
    return f"{value:{sign}.{digits}f}, {held} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def _outcome(context: Context, records: Records) -> Outcome:
    bias: list[tuple[str, ...]] = []
    variance: list[tuple[str, ...]] = []
    verdicts = []
    data: dict[str, Any] = {"iterations": list(_SHOWN)}
    claimed = {name: formula[-1] for name, formula in _claimed([STEPS]).items()}
    for number, (kind, said) in enumerate(_SEQUENCES.items()):
        sequence, rng = theorems.expectations(kind, STEPS), np.random.default_rng([context.seeds[0], number])
        both = theorems.average_moments(sequence, window=WINDOW, decay=DECAY, rng=rng)
        exact = theorems.exact_moments(sequence, window=WINDOW, decay=DECAY)
        data[kind] = {}
        for name, moment, (exactly, _) in zip((SIMPLE, EXPONENTIAL), both, exact, strict=True):
            row = f"{said}: {name.removesuffix(' average')}"
            bias.append((row, _band(moment.bias), f"{exactly[-1]:+.4f}"))
            variance.append((row, _band(moment.variance), f"{claimed[name]:.4f}"))
            formula = "(11)" if name == SIMPLE else "(9)"
            verdicts += [
                f"bias of the {name}, {said}: exactly {_inside(exactly[-1], moment.bias, 4, '+')}",
                f"variance of the {name}, {said}: {formula} gives {_inside(claimed[name], moment.variance, 5)}",
            ]
            data[kind][name] = {"bias": _curve(moment.bias), "variance": _curve(moment.variance)}
    title = f"Bias after {STEPS} iterations, m = {WINDOW}, decay {DECAY}"
    tables = [
        Table(title, ("moving average", "simulated", "exact"), bias),
        Table("Variance, in units of that of one value", ("moving average", "simulated", "(11), (9)"), variance),
    ]
    notes = [
        "xi_t are independent and uniform, of variance 1. In brackets 95 % intervals: one in twenty misses.",
        (
            "Where the sequence drifts both averages lag, the exponential one by decay / (1 - decay) iterations, the "
            "simple one by (m - 1) / 2."
        ),
    ]
    return Outcome(tables, verdicts, notes, data)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    at = data["iterations"]
    bias, variance = (
        {said: {name: of[what] for name, of in data[kind].items()} for kind, said in _SEQUENCES.items()}
        for what in ("bias", "variance")
    )
    dotted = "Variance of the averages, in that of one value; dotted: (11) and (9)"
    return {
        "": plotting.panels(at, bias, "Bias of the averages, in deviations of one value", "iteration"),
        "variance": plotting.panels(at, variance, dotted, "iteration", logarithmic=True, claimed=_claimed(at)),
    }


THEOREM1 = Study(
    "Theorem 1: bias and variance of both averages",
    no_runs,
    _outcome,
    _draw,
    seeds=1,
    suited=lambda context: context,
    reads=frozenset(),
)
