"""The whole factorial at |B| = 2: averages in either direction, form, weight centralisation.

`mabn_ref.norms.moving_statistics` is the one normaliser of all its cells.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from mabn_ref.paper.measured import Row

__all__ = ["AVERAGES", "CELLS", "FORMS", "NAMES", "ROWS", "cell", "moving"]

FORMS, AVERAGES = ("vanilla", "modified"), ("batch", "sma", "ema")
NAMES = {"batch": "BS", "sma": "SMAS", "ema": "EMAS"}

CELLS = (
    "BS: the batch's statistics. Forward EMAS is the batch's corrected by r and d, as in BRN; forward SMAS the "
    "window's corrected by r and d, as in MABN, whose cell is modified SMAS/SMAS + WC. All cells have the same clip, "
    "start of r, window and decay."
)


def moving(form: str, forward: str, backward: str, centralized: bool) -> dict[str, Any]:
    """Return the settings of a cell."""
    averages = {"form": form, "forward_average": forward, "backward_average": backward}
    return {"norm": "moving", "norm_batch": 2, "centralized": centralized, **averages}


def cell(form: str, forward: str, backward: str, centralized: bool) -> str:
    """Return its name: statistics in forward / in backward."""
    return f"{form} {NAMES[forward]}/{NAMES[backward]}{' + WC' if centralized else ''}"


ROWS = [
    Row(cell(form, ahead, back, wc), moving(form, ahead, back, wc))
    for form, wc, ahead, back in product(FORMS, (False, True), AVERAGES, AVERAGES)
]
