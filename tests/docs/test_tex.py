"""Formulas of pages and docstrings are sound TeX. Sphinx lets anything pass, and readers would see the error."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.building import written
from tests.docs.tex import TexError, check

ROOT = Path(__file__).parents[2]
_ROLE = re.compile(r":math:`((?:[^`\\]|\\.)+)`", re.DOTALL)
_BLOCK = re.compile(r"^( *)\.\. (math|equation):: *(.*)\n((?:\1 +.*\n|\s*\n)*)", re.MULTILINE)


@functools.cache
def _sources() -> list[tuple[str, str]]:
    return [*_found()]


def _found() -> Iterator[tuple[str, str]]:
    for page in written():
        yield page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    for path in sorted([*(ROOT / "mabn_ref").rglob("*.py"), *(ROOT / "tutorials").glob("*.py")]):
        name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if path.parent.name == "tutorials":
            yield name, re.sub(r"^# ?", "", source, flags=re.MULTILINE)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield name, ast.get_docstring(node) or ""


def formulas(text: str) -> Iterator[str]:
    """The TeX of every formula in a reST text."""
    yield from _ROLE.findall(text)
    for _, kind, argument, body in _BLOCK.findall(text + "\n"):
        body = re.sub(r"^ *:\w+:.*\n", "", body, flags=re.MULTILINE)
        parts = re.split(r"\n\s*\n", body) + ([argument] if kind == "math" else [])
        yield from (part for part in parts if part.strip())


def test_formulas_are_sound() -> None:
    count = 0
    for name, text in _sources():
        for formula in formulas(text):
            count += 1
            try:
                check(formula)
            except TexError as error:
                pytest.fail(f"{name}: {error} in\n{formula}")
    assert count > 300


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac{a}{",
        r"\frac{a}",
        r"a}",
        r"\alhpa",
        r"x_",
        r"{x_}",
        r"x^ & y",
        r"\left( a",
        r"a \right)",
        r"\begin{aligned} a",
        r"\begin{aligned} a \end{cases}",
        r"\begin{tabular} a \end{tabular}",
        r"a \end{aligned}",
        r"\sqrt",
        r"\d{L}",
    ],
)
def test_broken_formulas_are_refused(formula: str) -> None:
    with pytest.raises(TexError):
        check(formula)


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac1M \sum_{b=1}^M x_b",
        r"\left. \d{L}{x_b} \right|_{\text{a {b}}}".replace("{b}", "b"),
        r"\begin{aligned} a &= b \\ &= \sqrt{c} \end{aligned}",
        r"\{1, 2\}, \; \clip_{[1/\lambda, \, \lambda]}",
        r"\text{shape } (M)",
    ],
)
def test_sound_formulas_are_accepted(formula: str) -> None:
    check(formula)


def test_formulas_are_found() -> None:
    text = (
        "a :math:`x` b\n\n.. math:: y\n\n.. math::\n\n   z\n\n   w\n\n.. equation:: name\n   :paper: 4\n\n   v\n\nend"
    )
    assert [formula.strip() for formula in formulas(text)] == ["x", "y", "z", "w", "v"]


def test_no_formula_is_an_image() -> None:
    for name, text in _sources():
        for alt in re.findall(r"\.\. (?:image|figure)::.*", text):
            assert "formula" not in alt, name
            assert "equation" not in alt, name
