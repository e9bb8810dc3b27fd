"""Who gets the credit: how much of MABN's gain each of its parts contributes, from the runs of Table 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations, product
from typing import Any

from mabn_ref.experiments.intervals import Interval, mean_interval, paired_difference
from mabn_ref.paper import drawing
from mabn_ref.paper.factorial import FORMS, cell, moving
from mabn_ref.paper.measured import Row, effect, measure, plan_of, row_data, text
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["CREDIT", "ROWS", "SHARES", "shares"]

_SIMPLE = ("batch", "sma")
_CORNERS = list(product((False, True), repeat=4))
_FACTORS = ("weight centralisation", "modified form", "averages in forward", "averages in backward")
_THREE = (*_FACTORS[:2], "averages in both directions")
_WHOLE = "all of it: MABN 2 minus BN 2"
_STEPS = [
    ("+ WC", (False, False, False, False), (True, False, False, False)),
    ("+ modified form", (True, False, False, False), (True, True, False, False)),
    ("+ SMAS forward", (True, True, False, False), (True, True, True, False)),
    ("+ SMAS backward = MABN 2", (True, True, True, False), (True, True, True, True)),
    ("the last two at once", (True, True, False, False), (True, True, True, True)),
]
SHARES = (
    "A share is a factor's effect, averaged over all orders of switching the factors on (its Shapley value); the "
    "shares add up to the whole. Averages are simple ones, MABN's."
)


def _label(on: tuple[bool, ...]) -> str:
    wc, modified, ahead, back = on
    return cell(FORMS[modified], _SIMPLE[ahead], _SIMPLE[back], wc)


ROWS = [Row(_label(on), moving(FORMS[on[1]], _SIMPLE[on[2]], _SIMPLE[on[3]], on[0])) for on in _CORNERS]
"""The cells of Table 4 without exponential averages."""


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


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
    errors = {on: found[_label(on)].errors for on in _CORNERS}
    seeds = [seed for seed in context.seeds if all(seed in errors[on] for on in _CORNERS)]
    lost = sorted(_label(on) for on in _CORNERS if found[_label(on)].diverged)
    whole = _difference(errors, seeds, (False,) * 4, (True,) * 4)
    four = _shared(_FACTORS, [shares({on: errors[on][seed] for on in _CORNERS}) for seed in seeds])
    together = [on for on in _CORNERS if on[2] == on[3]]
    three = _shared(_THREE, [shares({on[:3]: errors[on][seed] for on in together}) for seed in seeds])
    steps = {name: _difference(errors, seeds, before, after) for name, before, after in _STEPS}
    tables = [
        _table("Shares of MABN's gain over BN at |B| = 2 (negative: lower error)", {**three, _WHOLE: whole}),
        _table("With the two directions apart", four),
        _table("One step after the other, from BN 2", steps),
    ]
    notes = [
        SHARES,
        "The paper gives the credit to the averages, in backward above all, and calls WC a practical remedy.",
    ]
    if lost:
        notes.append(f"Seeds are left out where one of these diverged: {', '.join(lost)}.")
    effects = {**three, **{f"{name}, taken apart": four[name] for name in _FACTORS[2:]}, _WHOLE: whole}
    shown = {**three, **{f"... {name.removeprefix('averages ')}": four[name] for name in _FACTORS[2:]}, _WHOLE: whole}
    return Outcome(
        tables,
        [f"{name}: {effect(value, 'seeds')}" for name, value in effects.items()],
        notes,
        {
            "shares": {name: value and value._asdict() for name, value in shown.items()},
            "rows": row_data(ROWS, found),
        },
    )


def _shared(names: tuple[str, ...], of_seeds: list[list[float]]) -> dict[str, Interval | None]:
    """The share of each factor, with its interval over the seeds."""
    return {
        name: mean_interval([share[k] for share in of_seeds]) if of_seeds else None for k, name in enumerate(names)
    }


def _difference(
    errors: Mapping[tuple[bool, ...], Mapping[int, float]],
    seeds: Sequence[int],
    before: tuple[bool, ...],
    after: tuple[bool, ...],
) -> Interval | None:
    return paired_difference(
        {seed: errors[after][seed] for seed in seeds}, {seed: errors[before][seed] for seed in seeds}
    )


def _table(title: str, values: Mapping[str, Interval | None]) -> Table:
    lines: list[tuple[str, ...]] = [
        (name, str(value.runs if value else 0), text(value, "+")) for name, value in values.items()
    ]
    return Table(title, ("", "pairs", "difference in error %"), lines)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: value and Interval(**value) for name, value in data["shares"].items()}
    return {"": drawing.intervals(shared, "Who gets the credit", "difference in test error (%), with 95 % interval")}


CREDIT = Study("Who gets the credit: the factorial's shares of MABN's gain", plan_of(ROWS), _outcome, _draw)
