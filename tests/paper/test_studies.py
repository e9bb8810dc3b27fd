"""All studies: their sizes, and that without runs they claim nothing."""

from __future__ import annotations

from importlib import import_module

import pytest

from mabn_ref.paper import search
from mabn_ref.paper.studies import STUDIES
from tests.paper.made_up import CONTEXT


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.plan(CONTEXT, [])])
def test_a_study_without_any_run_says_so_and_claims_nothing(name: str) -> None:
    outcome = STUDIES[name].outcome(CONTEXT, [])
    if name != "theorem2":  # half of which is a simulation
        assert all("no verdict" in line for line in outcome.verdicts)
    assert all(str(table) for table in outcome.tables)


def test_the_sizes_of_the_studies() -> None:
    runs = {name: len(study.plan(CONTEXT, [])) for name, study in STUDIES.items()}
    assert runs == {
        "table1": 3 * 12,
        "figure1b": 3 * 36,
        "table2": 3 * 13,
        "table4": 3 * 36,
        "credit": 3 * 36,
        "window": 3 * (7 + 2 * 8 + 3),
        "search": 2 * 5 * search.BUDGET,
        "figures": 9,
        "theorem1": 0,
        "theorem2": 3,
        "equation6": 18,
        "table8": 3 * 10,
        "table9": 0,
    }
    assert set(STUDIES["table1"].plan(CONTEXT, [])) <= set(STUDIES["figure1b"].plan(CONTEXT, []))


def test_each_is_in_the_file_of_its_name() -> None:
    for name, study in STUDIES.items():
        assert study in vars(import_module(f"mabn_ref.paper.{name}")).values(), name
