"""The report is one file that needs no other, and holds what was printed."""

from __future__ import annotations

import re
from html import unescape

import pytest

from mabn_ref.paper import output
from mabn_ref.paper.study import STUDIES, Context
from mabn_ref.train.config import recipe


@pytest.fixture(scope="module")
def page() -> str:
    context, names = Context((0, 1, 2), {}), ("table2", "credit", "theorem1")
    records = []
    for config in {*STUDIES["table2"].plan(context, []), *STUDIES["credit"].plan(context, [])}:
        epochs = [{"test_error": 40.0 + config.seed + 10 * (config.norm == "bn")}]
        records.append({"status": "done", "message": None, "config": config.as_dict(), "epochs": epochs})
    found = {name: (STUDIES[name], STUDIES[name].outcome(context, records)) for name in names}
    return output.page(found, "embedded data & <nothing> else")


def test_it_reaches_for_nothing(page: str) -> None:
    assert not re.findall(r'(?:src|href)="(?!#|data:image/svg\+xml;base64,)', page)
    assert not re.search(r"<script|@import|url\(", page)
    assert page.count("data:image/svg+xml;base64,") == 4  # Theorem 1 has two


def test_tables_verdicts_and_notes_are_there(page: str) -> None:
    text = unescape(re.sub(r"<[^>]+>", "|", page))
    assert "embedded data & <nothing> else" in text
    assert "|(8) MABN 2 + WC||23.58||3||41.00 ± 2.48|" in text
    assert "(8) MABN 2 + WC below (3) BN 2: holds; the difference is -10.00 ± 0.00 over 3 pairs" in text
    assert "is formed seed by seed" in text
    assert "Rows 5 and 7 are <code>moving_statistics</code> with" in page
    assert "`" not in text


def test_it_is_marked_up_for_those_who_cannot_see_it(page: str) -> None:
    assert '<html lang="en">' in page
    pictures = re.findall(r"<img [^>]+>", page)
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)
    links, places = (set(re.findall(pattern, page)) for pattern in (r'href="#(\w+)"', r'id="(\w+)"'))
    assert links == places == {"table2", "credit", "theorem1"}
    assert page.count("<caption>") == page.count("<table>")


def test_recipe_is_what_rows_are_made_with() -> None:
    """The defaults of a study's runs are those of the other commands, so that their records are shared."""
    assert recipe("mabn", norm_batch=2, seed=0) in STUDIES["table2"].plan(Context((0,), {}), [])
