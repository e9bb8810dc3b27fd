"""Who gets the credit: how much of MABN's gain each of its parts contributes, from the runs of Table 4."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations, product
from typing import Any

from mabn_ref.experiments.intervals import Interval, mean_interval, paired_difference
from mabn_ref.paper import drawing
from mabn_ref.paper.factorial import AVERAGES, FORMS, ROWS, cell
from mabn_ref.paper.measured import FEWEST, measure, plan_of, row_data, text
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["CREDIT", "SHARES", "shares"]

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
    return cell(FORMS[modified], AVERAGES[ahead], AVERAGES[back], wc)


def _outcome(context: Context, records: Records) -> Outcome:
    found = measure(ROWS, context, records)
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
        {
            "shares": {name: value and value._asdict() for name, value in credit.items()},
            "rows": row_data(ROWS, found),
        },
    )


def _effect(name: str, value: Interval | None) -> str:
    if value is None or value.half is None or value.runs < FEWEST:
        return f"{name}: no verdict, fewer than {FEWEST} seeds with all cells"
    low, high = value.mean - value.half, value.mean + value.half
    judged = "lowers the error" if high < 0 else "raises the error" if low > 0 else "no effect found"
    return f"{name}: {judged}, {text(value, '+')} over {value.runs} seeds"


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: value and Interval(**value) for name, value in data["shares"].items()}
    return {"": drawing.intervals(shared, "Who gets the credit", "difference in test error (%), with 95 % interval")}


CREDIT = Study("Who gets the credit: the factorial's shares of MABN's gain", plan_of(ROWS), _outcome, _draw)
