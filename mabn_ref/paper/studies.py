"""All studies by name: the search, which tables refer to, then the order of the paper.

Each is in the file of its name.
"""

from __future__ import annotations

from mabn_ref.paper.credit import CREDIT
from mabn_ref.paper.equation6 import EQUATION_6
from mabn_ref.paper.figure1b import FIGURE_1B
from mabn_ref.paper.figures import FIGURES
from mabn_ref.paper.related import RELATED
from mabn_ref.paper.search import SEARCH
from mabn_ref.paper.study import Study
from mabn_ref.paper.table1 import TABLE_1
from mabn_ref.paper.table2 import TABLE_2
from mabn_ref.paper.table4 import TABLE_4
from mabn_ref.paper.table8 import TABLE_8
from mabn_ref.paper.table9 import TABLE_9
from mabn_ref.paper.theorem1 import THEOREM_1
from mabn_ref.paper.theorem2 import THEOREM_2
from mabn_ref.paper.weight_noise import WEIGHT_NOISE
from mabn_ref.paper.window import WINDOW

__all__ = ["STUDIES"]

STUDIES: dict[str, Study] = {
    "search": SEARCH,
    "table1": TABLE_1,
    "figure1b": FIGURE_1B,
    "table2": TABLE_2,
    "table4": TABLE_4,
    "credit": CREDIT,
    "window": WINDOW,
    "related": RELATED,
    "figures": FIGURES,
    "theorem1": THEOREM_1,
    "theorem2": THEOREM_2,
    "weight_noise": WEIGHT_NOISE,
    "equation6": EQUATION_6,
    "table8": TABLE_8,
    "table9": TABLE_9,
}
