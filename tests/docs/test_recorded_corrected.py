"""Verdicts that a correction for their number leaves undecided say so on their page and stand in a table."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.paper.output import write as write_study
from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from tests.docs.building import complaints
from tests.docs.test_recorded import SETTINGS, built
from tests.docs.test_recorded import folder as folder
from tests.docs.test_recorded import made as made
from tests.paper.made_up import records

pytestmark = pytest.mark.docs

FALLS = "the difference is -3.00 ± 2.48 over 3 pairs (Table 1)"


def write(place: Path, lower: int) -> None:
    """Table 1 where BRN 2 is lower than BN 2 by `lower`, one more and one less, and nothing else differs."""
    study, context = STUDIES["table1"], Context((0, 1, 2), SETTINGS)

    def error(config: RunConfig) -> float:
        low = lower - 1 + config.seed if (config.norm, config.norm_batch) == ("brn", 2) else 0
        return 40.0 + config.seed - low

    (place / study.file).unlink(missing_ok=True)
    results.prepare(place / study.file)
    for record in records(study.plan(context, []), error):
        made: dict[str, Any] = {"seconds": 1.0, "versions": {"numpy": "2.0"}, "machine": {"system": "Linux"}}
        results.append(place / study.file, record | made)
    records_ = results.read(place / study.file)
    outcome, planned = study.outcome(context, records_), study.plan(context, records_)
    write_study("table1", study, outcome, context, place, "mabn-ref paper table1", planned, records_)


TEXT = "Page\n====\n\n.. _findings-corrected:\n\nCorrected\n---------\n\n.. recorded-corrected::\n\n"
TEXT += ".. recorded:: results/table1.json\n"


def page(folder: Path, more: str = "") -> str:
    html = built(folder, TEXT + more)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", html)))


def test_a_verdict_that_falls_is_marked_and_listed_and_one_that_stays_is_not(folder: Path) -> None:
    (folder / "results/table2.json").unlink()
    write(folder / "results", 3)  # p = 0.035, and two distinct differences
    text = page(folder)
    assert "7 verdicts on 2 distinct paired differences. Taken one by one, 1 of" in text
    assert "(Benjamini and Hochberg, 1995), 0 are; 0 if" in text
    assert f"table1, embedded, width 16 BRN 2 below BN 2: holds; {FALLS} 0.035" in text
    assert f"BRN 2 below BN 2: holds; {FALLS}; not decided after correction" in text
    assert text.count("not decided after correction") == 2, "both verdicts on the difference"
    write(folder / "results", 5)  # p = 0.013
    text = page(folder)
    assert "(Benjamini and Hochberg, 1995), 1 are; 1 if" in text
    assert "BRN 2 below BN 2: holds; the difference is -5.00 ± 2.48" in text
    assert "not decided after correction" not in text


def test_the_text_says_it_of_a_verdict_that_falls_and_of_no_other(folder: Path) -> None:
    (folder / "results/table2.json").unlink()
    marked = "\nThat is :fallen:`BRN 2 below BN 2`.\n"
    write(folder / "results", 3)
    assert "That is not decided after correction." in page(folder, marked)
    assert 'href="#findings-corrected"' in (folder / "html" / "index.html").read_text(encoding="utf-8")
    write(folder / "results", 5)
    assert "WARNING: no verdict 'BRN 2 below BN 2' has fallen" in complaints(folder)
