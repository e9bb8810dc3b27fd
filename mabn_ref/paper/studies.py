"""All studies by name: the search, which tables refer to, then the order of the paper."""

from __future__ import annotations

from mabn_ref.paper import ablations, inference, population, recording, search, segmentation, theorems
from mabn_ref.paper.study import Study

__all__ = ["STUDIES"]

STUDIES: dict[str, Study] = {
    "search": search.SEARCH,
    "table1": ablations.TABLE_1,
    "figure1b": ablations.FIGURE_1B,
    "table2": ablations.TABLE_2,
    "table4": ablations.TABLE_4,
    "credit": ablations.CREDIT,
    "window": ablations.WINDOW,
    "figures": recording.FIGURES,
    "theorem1": theorems.THEOREM_1,
    "theorem2": theorems.THEOREM_2,
    "equation6": population.EQUATION_6,
    "table8": segmentation.TABLE_8,
    "table9": inference.COST,
}
