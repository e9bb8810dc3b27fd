"""The rooms of the package, the floors they are on and the arrows between them, read off the imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PACKAGE", "arrows", "floors", "without_detours"]

PACKAGE = Path(__file__).resolve().parents[2] / "mabn_ref"

_UPPER_FLOORS = [
    ["norms", "nn", "gradcheck", "data"],
    ["mistakes", "train"],
    ["check", "learn", "paper"],
    ["cli"],
]


def floors(package: Path = PACKAGE) -> list[list[str]]:
    """The rooms, from the ground up; on the ground are the files that are in no folder."""
    ground = sorted(path.stem for path in package.glob("*.py") if not path.stem.startswith("__"))
    return [ground, *_UPPER_FLOORS]


@functools.cache  # to read every file of the package takes a second
def arrows(package: Path = PACKAGE) -> dict[tuple[str, str], set[str]]:
    """From the room that imports to the one that is imported, with the files that do it."""
    rooms = {path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")}
    rooms -= {"__init__", "__main__"}
    found: dict[tuple[str, str], set[str]] = {}
    for path in package.rglob("*.py"):
        file = path.relative_to(package)
        here = file.parts[0].removesuffix(".py")
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if top == package.name and {here, there} <= rooms and here != there:
                found.setdefault((here, there), set()).add(file.as_posix())
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def without_detours(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that no chain of others stands for; with these, every other is a way from arrow to arrow."""
    return {(here, there) for here, there in found if there not in _reached(here, found - {(here, there)})}


def _reached(start: str, found: set[tuple[str, str]]) -> set[str]:
    seen: set[str] = set()
    new = {start}
    while new:
        new = {there for here, there in found if here in new} - seen
        seen |= new
    return seen
