"""What all normalisers share, with each function: from the docstring of `mabn_ref.norms` to the API pages.

That docstring has a table of functions, ``forward(x, ...) -> z, cache, state``, and says of each name once what it
is. A function of a normaliser gets the entries of its own arguments, results and errors; a section that its docstring
has already is left as it is. A dataclass whose fields are declared by `mabn_ref.norms.checks.setting` gets their
notes and ranges as its list of parameters, those that only imitate the code of a paper's authors apart.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from sphinx.application import Sphinx

from mabn_ref import norms
from mabn_ref.norms import checks

NORMALISERS = {norm.module.__name__ for norm in norms.NORMS.values()} | {"mabn_ref.norms.mabn_variants"}
IMITATION = "To imitate the authors' code"
SECTIONS = ("Parameters", "Returns", "Raises")


def entries(docstring: str, section: str) -> dict[str, list[str]]:
    """The entries of a section in NumPy format, by name; one that stands for several names once for each."""
    text = inspect.cleandoc(docstring).partition(f"\n{section}\n{'-' * len(section)}\n")[2]
    found: dict[str, list[str]] = {}
    block: list[str] = []
    for line in text.splitlines():
        if re.match(r"-+$", line) or (block and not line):
            break
        if not line.startswith(" "):
            block = []
            found |= dict.fromkeys(line.partition(" : ")[0].split(", "), block)
        block.append(line)
    return found


def results(function: FunctionType) -> list[str]:
    """What a function returns, by the table in the docstring; some return one statistic, and others two."""
    rows = re.findall(rf"^ +{function.__name__}\(.*\) +-> ((?:\w+, )*\w+)", norms.__doc__ or "", re.MULTILINE)
    several = str(inspect.signature(function).return_annotation).startswith("tuple")
    return next((row.split(", ") for row in rows if (", " in row) == several), [])


def sections_of(function: FunctionType) -> Iterator[tuple[str, list[str]]]:
    """The shared sections of a function of a normaliser, and their lines."""
    arguments = list(inspect.signature(function).parameters)
    errors = ["TypeError", "ValueError", *(["OverflowError"] if "x" in arguments else [])]
    for section, names in zip(SECTIONS, (arguments, results(function), errors), strict=True):
        shared = entries(norms.__doc__ or "", section)
        lines: list[str] = []
        for name in names:
            if not (set(shared[name]) <= set(lines)):  # gamma and beta are one entry
                lines += shared[name]
        yield section, lines


def settings_of(config: type, *, imitation: bool = False) -> list[str]:
    """The fields of a Config as entries of a section; those of the paper, or those that imitate its authors' code."""
    lines = []
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if field.metadata["imitation"] == imitation:
            lines += [f"{field.name} : {checks.expected(field)}", f"    {field.metadata['note']}."]
    return lines


def add_sections(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Append what the docstring of `member` leaves to `mabn_ref.norms`."""
    added: list[tuple[str, list[str]]] = []
    if what == "function" and member.__module__ in NORMALISERS and results(member):
        added = list(sections_of(member))
    elif what == "class" and isinstance(member, type) and issubclass(member, checks.Checked):
        added = [("Parameters", settings_of(member)), (IMITATION, settings_of(member, imitation=True))]
        added.append(("Raises", ["TypeError, ValueError", "    If a value is out of its range, or of another type."]))
    for section, text in added:
        if text and section not in lines:
            lines += ["", section, "-" * len(section), *text]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", add_sections, priority=300)  # before napoleon reads the sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}
