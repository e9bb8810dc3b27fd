"""Where equations occur: tags in code, lines in the docstrings of tests, mentions in tutorials and exercises."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_ITEM = re.compile(rf"({_NAME})(?:\s*\((\d+)\))?")
_END = r"(?=[ \t]*(?:[,.:;]|$))"  # so that words after a comma are no labels
_TAG = re.compile(rf"\beq:\s+({_ITEM.pattern}{_END}(?:,\s+{_ITEM.pattern}{_END})*)", re.MULTILINE)
_UNREAD = re.compile(r"(?<![:\w])eq:[ \t]*(\w.*)")
_ROLE = re.compile(rf":eq:`({_NAME})`")


class Place(NamedTuple):
    """One mention of one equation."""

    label: str
    number: str | None
    """The paper's number as the place gives it, None where it gives none."""
    path: str
    """Relative to the repository, with forward slashes."""
    line: int
    name: str
    """The function around it, as in ``backward``; "" outside of one."""


def tags(text: str) -> list[tuple[str, str | None]]:
    """The equations of the first ``eq: a, b (4)`` in `text`, with their numbers.

    One that is written otherwise counts as the name of an equation, which no page has, so that the build says where.
    """
    if found := _TAG.search(text):
        return [(label, number or None) for label, number in _ITEM.findall(found.group(1))]
    unread = _UNREAD.search(text)
    return [(unread.group(1).strip(), None)] if unread else []


def code(root: Path, only: str = "") -> list[Place]:
    """Lines of the package, or of one file of it, that are an equation: they end in a comment ``# eq: label``."""
    places = []
    for path in [root / only] if only else sorted((root / "mabn_ref").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        functions = list(_functions(ast.parse(source)))
        for number, line in enumerate(source.splitlines(), start=1):
            comment = line.rpartition("# eq:")
            if comment[1]:
                inside = [f.name for f in functions if f.lineno <= number <= (f.end_lineno or 0)]
                where = (_relative(path, root), number, inside[-1] if inside else "")
                places += [Place(label, paper, *where) for label, paper in tags("eq:" + comment[2])]
    return places


def tests(root: Path) -> list[Place]:
    """Test functions whose docstring names equations in a line ``eq: label, label``."""
    places = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        for function in _functions(ast.parse(path.read_text(encoding="utf-8"))):
            where = (_relative(path, root), function.lineno, function.name)
            places += [Place(label, paper, *where) for label, paper in tags(ast.get_docstring(function) or "")]
    return places


def tutorials(root: Path) -> list[Place]:
    """Tutorial scripts that mention an equation, once a script and equation."""
    return _mentions(root, scripts(root))


def scripts(root: Path) -> list[Path]:
    """The tutorials in order."""
    return sorted((root / "tutorials").glob("[0-9][0-9]_*.py"))


def recorded(root: Path) -> list[Path]:
    """Tutorials with a record of what they print, in place of a run: those of a framework that is not installed."""
    if importlib.util.find_spec("torch"):
        return []
    return [path for path in scripts(root) if path.with_suffix(".txt").exists()]


def exercises(root: Path) -> list[Place]:
    """Exercises whose statement names an equation in its line ``Equations: `label` (4)``."""
    places = []
    for path in sorted((root / "mabn_ref" / "learn" / "course").glob("*/statement.md")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith(("Equation: ", "Equations: ")):
                found = re.findall(rf"`({_NAME})`(?: \((\d+)\))?", line)
                where = (_relative(path, root), number, path.parent.name)
                places += [Place(label, paper or None, *where) for label, paper in found]
    return places


def _mentions(root: Path, paths: list[Path]) -> list[Place]:
    places: dict[tuple[str, str], Place] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for label, paper in tags(line) + [(label, None) for label in _ROLE.findall(line)]:
                where = _relative(path, root)
                places.setdefault((where, label), Place(label, paper, where, number, path.stem))
    return list(places.values())


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
