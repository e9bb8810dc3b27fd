"""A build of the pages fails where an equation lacks code, a test or a page; and not where it has them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.docs.building import EXTENSIONS, complaints, configuration

pytestmark = pytest.mark.docs

CODE = "def double(x):\n    return 2 * x  # eq: twice (1)\n"
TEST = 'def test_double():\n    """eq: twice"""\n'
EQUATION = ".. equation:: twice\n   :paper: 1\n\n   y = 2 x\n"
TUTORIAL = '"""First"""\n# Doubling, :eq:`twice` (1), and again :eq:`twice`.\n'
PAGE = f"Page\n====\n\n{EQUATION}\n"


def warnings(
    root: Path,
    code: str = CODE,
    test: str = TEST,
    page: str = PAGE,
    exempt: dict[str, str] | None = None,
    tutorial: str = TUTORIAL,
) -> str:
    """What a build of a project with one module, one test, one page and one tutorial says."""
    conf = configuration(
        "equations",
        "annotated",
        source_root=str(root),
        trace_exempt=exempt or {},
        math_numfig=False,
        math_eqref_format="{number}",
    )
    files = {
        "mabn_ref/a.py": code,
        "tests/test_a.py": test,
        "tutorials/01_first.py": tutorial,
        "docs/index.rst": f"{page}\n.. toctree::\n\n   trace\n   code/index\n   tutorials/01_first\n",
        "docs/tutorials/01_first.rst": "First\n=====\n",  # in place of what the gallery makes of it
        "docs/trace.rst": "Trace\n=====\n\n.. trace::\n",
        "docs/conf.py": conf,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return complaints(root, "docs")


def test_whole(tmp_path: Path) -> None:
    assert warnings(tmp_path) == ""
    trace = (tmp_path / "html" / "trace.html").read_text(encoding="utf-8")
    assert 'href="code/mabn_ref.a.html#L2"' in trace
    assert 'href="code/tests.test_a.html#L1"' in trace
    assert 'href="index.html#equation-twice"' in trace
    assert "tutorials: " in trace
    assert "y = 2 x" in trace
    assert trace.count('href="tutorials/01_first.html">01 first</a>') == 1
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert 'href="code/mabn_ref.a.html#L2"' in page
    assert 'href="code/tests.test_a.html#L1"' in page
    assert page.count('href="tutorials/01_first.html">01 first</a>') == 1
    assert "code, 1 test, 1 tutorial</summary>" in page
    source = (tmp_path / "html" / "code" / "mabn_ref.a.html").read_text(encoding="utf-8")
    assert "y = 2 x" in source
    assert 'href="../index.html#equation-twice"' in source


def test_the_line_of_an_equation_stands_after_the_end_of_its_sentence(tmp_path: Path) -> None:
    """Over further formulas and a paragraph that goes on; not over one that begins a sentence."""
    two = f"{EQUATION.replace('y = 2 x', 'y = 2 x ,')}\nand also\n\n.. math:: y = x + x\n\nfor every x. More here.\n"
    cases = {
        f"Before:\n\n{two}\nNext sentence.\n": "More here.",
        f"Before:\n\n{EQUATION.replace('2 x', '2 x .')}\nand this, oddly.\n": "Before:",
        f"Before:\n\n{EQUATION}\nNext sentence.\n": "Before:",
        f"Before:\n\n{EQUATION}\n:math:`x` being a number.\n": "being a number.",
    }
    for text, last in cases.items():
        assert warnings(tmp_path, page=f"Page\n====\n\n{text}") == ""
        page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
        before, _, after = page.partition("<details")
        assert re.findall(r"<p>(.*)</p>", before)[-1].endswith(last), text
        assert "More here" not in after


def test_the_line_of_an_equation_that_others_follow_stands_below_it(tmp_path: Path) -> None:
    other = EQUATION.replace("twice", "half").replace("y = 2 x", "x = y / 2 .")
    page = f"Page\n====\n\nBefore:\n\n{EQUATION}\nand also\n\n{other}\nNext sentence.\n"
    assert warnings(tmp_path, page=page, exempt={"half": "is read from right to left"}).count("WARNING") == 1
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    in_order = ["y = 2 x", "code, 1 test", "and also", "x = y / 2", "is read from", "Next sentence"]
    assert sorted(in_order, key=html.index) == in_order


def test_a_formula_has_the_letter_of_its_line(tmp_path: Path) -> None:
    """One that is stated for several letters; a line with none of them has the formula as it is stated."""
    page = PAGE.replace("   y = 2 x\n", "   y = 2 \\hat\\xi .\n").replace("1\n", "1\n   :for: \\mu, v\n", 1)
    code = "def double(mu, psi_window, a):\n"
    code += "".join(f"    {line} = 0  # eq: twice (1)\n" for line in ("mu", "psi_window[0]", "other_mu", "a"))
    assert warnings(tmp_path, page=page, code=code) == ""
    stated = r"y = 2 \hat{\mu}, \qquad y = 2 \hat{v} ."
    assert stated in (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    source = (tmp_path / "html" / "code" / "mabn_ref.a.html").read_text(encoding="utf-8")
    assert re.findall(r"\\\[(y.*)\\\]", source) == [r"y = 2 \hat{\mu} .", r"y = 2 \hat{\Psi} .", stated]


def test_letters_for_a_formula_without_xi_are_an_error(tmp_path: Path) -> None:
    page = PAGE.replace("   :paper: 1\n", "   :paper: 1\n   :for: a, b\n")
    assert "index.rst:4: ERROR: with :for: the formula is one of \\xi" in warnings(tmp_path, page=page)


def test_no_code(tmp_path: Path) -> None:
    assert "docs/index.rst:4: WARNING: the equation 'twice' has no code" in warnings(tmp_path, code="")


def test_no_test(tmp_path: Path) -> None:
    assert "the equation 'twice' has no test" in warnings(tmp_path, test="")


def test_an_equation_of_the_paper_without_exercise(tmp_path: Path) -> None:
    """Once there are exercises; what the paper does not number needs none."""
    statement = tmp_path / "mabn_ref" / "learn" / "course" / "01_one" / "statement.md"
    statement.parent.mkdir(parents=True)
    statement.write_text("# One\n\nEquations: `twice` (1)\n")
    assert warnings(tmp_path) == ""
    statement.write_text("# One\n\nEquations: `twice` (2)\n")
    assert "statement.md:3: WARNING: twice: (2) here, the paper's number is 1" in warnings(tmp_path)
    more = EQUATION.replace("twice", "other").replace(":paper: 1", ":paper: 7")
    code = f"{CODE}    other = 2 * x  # eq: other (7)\n    third = 2 * x  # eq: third\n"
    page = f"{PAGE}\n{more}\n{EQUATION.replace('twice', 'third').replace('   :paper: 1', '')}"
    test = TEST.replace("twice", "twice, other, third")
    statement.write_text("# One\n\nEquations: `twice` (1)\n")
    assert "the equation 'other' has no exercise" in warnings(tmp_path, code=code, test=test, page=page)
    statement.write_text("# One\n\nEquations: `twice` (1), `other` (7)\n")
    assert warnings(tmp_path, code=code, test=test, page=page) == ""


def test_no_page(tmp_path: Path) -> None:
    found = warnings(tmp_path, page="Page\n====\n\nNothing.\n")
    assert "mabn_ref/a.py:2" in found
    assert "tests/test_a.py:1" in found
    assert "tutorials/01_first.py:2" in found
    assert found.count("names the equation 'twice', which no page defines") == 3


def test_two_pages(tmp_path: Path) -> None:
    assert "duplicate" in warnings(tmp_path, page=f"{PAGE}\n{EQUATION}\n")


def test_another_number(tmp_path: Path) -> None:
    assert "(2) here, the paper's number is 1" in warnings(tmp_path, code=CODE.replace("(1)", "(2)"))


def test_exempt(tmp_path: Path) -> None:
    proof = f"{PAGE}\nBy :eq:`step` this holds.\n\n.. equation:: step\n\n   x = x\n"
    assert warnings(tmp_path, page=proof, exempt={"step": "a step of a proof"}) == ""


def test_exempt_and_unused(tmp_path: Path) -> None:
    proof = f"{PAGE}\n.. equation:: step\n\n   x = x\n"
    said = warnings(tmp_path, page=proof, exempt={"step": "a step of a proof"})
    assert "docs/index.rst:10: WARNING: the equation 'step' is referred to nowhere" in said


def test_exempt_without_need(tmp_path: Path) -> None:
    assert "mabn_ref/a.py:2: WARNING: 'twice' has code and is exempt" in warnings(
        tmp_path, exempt={"twice": "no code"}
    )


def test_exempt_and_unknown(tmp_path: Path) -> None:
    said = warnings(tmp_path, exempt={"gone": "a step"})
    assert "trace_exempt of conf.py names the equation 'gone', which no page defines" in said


def test_words_after_a_label_are_no_labels(tmp_path: Path) -> None:
    assert warnings(tmp_path, code=CODE.replace("(1)", "(1), the doubling")) == ""


@pytest.mark.parametrize("tag", ["Twice", "twice_over (1)", "twice and more", "twice (one)"])
def test_a_tag_that_cannot_be_read_is_named_with_its_place(tmp_path: Path, tag: str) -> None:
    said = warnings(
        tmp_path,
        code=f"{CODE}    other = 3 * x  # eq: {tag}\n",
        test=f'{TEST}def test_other():\n    """Other.\n\n    eq: {tag}\n    """\n',
        tutorial=f"{TUTORIAL}# eq: {tag}\n",
    )
    for place in ("mabn_ref/a.py:3: WARNING: code", "tests/test_a.py:3: WARNING: test"):
        assert f"{place} names the equation {tag!r}" in said
    assert f"tutorials/01_first.py:3: WARNING: tutorial names the equation {tag!r}" in said


def test_a_colon_ends_a_tag(tmp_path: Path) -> None:
    assert warnings(tmp_path, test=TEST.replace("twice", "twice: 2 + 2 = 4")) == ""


def test_the_next_build_forgets(tmp_path: Path) -> None:
    """Sources that change between two builds into one folder are seen, and pages of files that are gone go too."""
    assert warnings(tmp_path) == ""
    assert "has no test" in warnings(tmp_path, test="")
    assert not (tmp_path / "docs" / "code" / "tests.test_a.rst").exists()


def test_the_next_build_shows_a_changed_formula_above_its_line(tmp_path: Path) -> None:
    assert warnings(tmp_path) == ""
    page, source = tmp_path / "docs" / "index.rst", tmp_path / "html" / "code" / "mabn_ref.a.html"
    assert "y = 2 x" in source.read_text(encoding="utf-8")
    page.write_text(page.read_text().replace("y = 2 x", "y = x + x"))
    later = page.stat().st_mtime + 10  # the clock of a file may be coarse
    os.utime(page, (later, later))
    assert complaints(tmp_path, "docs") == ""
    assert "y = x + x" in source.read_text(encoding="utf-8")


def test_no_tutorial_no_word_of_it(tmp_path: Path) -> None:
    assert warnings(tmp_path, tutorial="") == ""
    trace = (tmp_path / "html" / "trace.html").read_text(encoding="utf-8")
    assert "tutorials: " not in trace


def test_tutorial_without_a_page_for_its_equation(tmp_path: Path) -> None:
    found = warnings(tmp_path, tutorial=TUTORIAL.replace("twice` (1)", "thrice`"))
    assert "tutorials/01_first.py:2" in found
    assert "tutorial names the equation 'thrice', which no page defines" in found


def test_tutorials_of_the_pages_are_in_the_trace(html: Path) -> None:
    """Each tutorial that mentions an equation is linked from the equation's card."""
    trace = (html / "trace.html").read_text(encoding="utf-8")
    parts = re.split(r'<div[^>]* id="trace-([a-z0-9-]+)">', trace)
    cards = dict(zip(parts[1::2], parts[2::2], strict=True))
    count = 0
    for script in sorted((EXTENSIONS.parents[1] / "tutorials").glob("[0-9][0-9]_*.py")):
        for label in set(re.findall(r":eq:`([a-z0-9-]+)`", script.read_text(encoding="utf-8"))):
            assert f'href="tutorials/{script.stem}.html"' in cards[label], (script.stem, label)
            count += 1
    assert count > 3
