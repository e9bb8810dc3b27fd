"""The student's code in a notebook: Python without Jupyter's own syntax and without cells that check."""

from __future__ import annotations

import re
import symtable
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from mabn_ref import storage

_PIECE = re.compile(
    r"""(?P<text>(?P<three>'''|\"{3})(?:\\.|(?!(?P=three)).)*(?:(?P=three)|\Z)"""
    r"""|(?P<one>['"])(?:\\.|(?!(?P=one))[^\\\n])*(?P=one)?|\#[^\n]*|\\\n)"""
    r"""|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>\n)|(?P<help>\?(?=\??[ \t]*(?:\n|\Z)))|(?P<into>=[ \t]*[%!])""",
    re.DOTALL,
)
"""What decides where a statement ends. `help` and `into`, as in ``x?`` and ``files = !ls``, are not Python."""
_MAGIC = re.compile(r"[ \t]*[%!?,;/]")
"""How statements of IPython begin, and none of Python does."""
_LINE = re.compile(r"(?:\\.|[^\\\n])*(?:\n|\Z)", re.DOTALL)
_OTHER_LANGUAGE = re.compile(r"\s*%%(?!(?:time|timeit|capture|prun)\b)")
_CHECK = re.compile(
    r"from mabn_ref\.learn import notebook\b|notebook\.check|import otter\b|grader\s*(?:=\s*otter\b|\.\w+\()"
)
"""Statements of the cells that check, as `notebook.as_notebook` and Otter-Grader write them."""
_DEFINITION = re.compile(r"(?:@.*\n)*(?:async[ \t]+)?(?:def|class)[ \t]")
_CHANGE = re.compile(r"^[ \t]*(\w+)[ \t]*[.\[]", re.MULTILINE)
"""How a line begins that may change an object, as ``table[0] = 1`` and ``table.append(1)`` do."""
_STAR = re.compile(r"\bimport[ \t]*\*")
_IMPORTS = re.compile(r"import[ \t][\w.,; \t]*+(?:#.*)?+\s*+\Z")
_BRANCH = re.compile(r"(?:elif|else|except|finally)\b")
_DOT = re.compile(r"\.\s*[^\W\d]")
_DOTS = 25_000
"""Dots before names, at most, in a block whose names are looked up: Python takes long over a name with very many."""


class _Names(NamedTuple):
    """The names of a block that are not local to its functions."""

    assigned: frozenset[str] = frozenset()  #: including those of its functions and classes
    imported: frozenset[str] = frozenset()  #: "*" for all of a module
    read: frozenset[str] = frozenset()
    read_later: frozenset[str] = frozenset()  #: by its functions


def notebook_source(text: str, asked: Collection[str] = ()) -> str:
    """The student's code of a notebook, in the order of its cells.

    It consists of

    - the cells marked as answers; those below the last check count only while the answers above it are unfinished;
    - from the cells between an answer and the next check, whatever gives a new value to a name that the exercise has
      `asked` for, or that the answers define and their functions read;
    - from other cells, those before the last check first, whatever defines a name that is asked for and still
      missing, or that this code reads.

    If no cell is marked, it is everything except checks. Assignments from other cells may fail, since what they need
    may be missing.

    Raises
    ------
    ValueError
        If it is not a notebook.

    Examples
    --------
    >>> import json
    >>> cells = [{"cell_type": "code", "source": "x = 1", "metadata": {"mabn_ref": "answer"}}]
    >>> notebook_source(json.dumps({"cells": cells}))
    'x = 1'
    """
    try:
        cells = [cell for cell in storage.as_json(text)["cells"] if cell["cell_type"] == "code"]
        marks = [cell.get("metadata", {}).get("mabn_ref") for cell in cells]
        sources = [_at_margin("".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n")) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("is not a notebook") from error
    codes = [
        (mark, [] if _OTHER_LANGUAGE.match(source) else _blocks(_statements(source)))
        for mark, source in zip(marks, sources, strict=True)
    ]
    if "answer" in marks:
        codes = [
            (mark, blocks if mark == "answer" else [part for block in blocks for part in _imports_apart(block)])
            for mark, blocks in codes
        ]
        checks = [place for place, (mark, _) in enumerate(codes) if mark == "check"]
        end = checks[-1] + 1 if checks else len(codes)
        above = [block for mark, blocks in codes[:end] if mark == "answer" for block in blocks]
        if above and not any("raise NotImplementedError" in block for block in above):
            codes[end:] = [("", blocks) for _, blocks in codes[end:]]  # a copy, which no check has seen
        names = {block: _names(block) for block in {block for _, blocks in codes for block in blocks}}
        answers = {block for mark, blocks in codes if mark == "answer" for block in blocks}
        own = _all(names[block].assigned for block in answers)
        again = {*asked, *(own & _all(names[block].read_later for block in answers))}
        answers |= _given_again(again, codes, names)
        parts = codes[:end], codes[end:]
        others = [[block for _, blocks in part for block in blocks if block not in answers] for part in parts]
        used = _used(answers, others, asked, names)
        codes = [
            (mark, [b if mark == "answer" else _guarded(b) for b in blocks if b in answers or b in used])
            for mark, blocks in codes
        ]
    else:
        codes = [(mark, blocks) for mark, blocks in codes if mark != "check"]
    return "\n".join("".join(blocks) for _, blocks in codes if blocks).rstrip("\n")


def _at_margin(cell: str) -> str:
    """A cell without the indentation of its first line, which Jupyter removes from all lines."""
    found = re.match(r"(?:[ \t]*\n)*([ \t]+)\S", cell)
    return re.sub(f"^{found[1]}", "", cell, flags=re.MULTILINE) if found else cell


def _all(groups: Iterable[Iterable[str]]) -> set[str]:
    return set[str]().union(*groups)


def _names(block: str) -> _Names:
    """Look up a block's names as Python would; a block that is not Python has none."""
    if len(_DOT.findall(block)) > _DOTS:
        return _Names()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the student's code
            top = symtable.symtable(block, "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _Names()
    symbols, inner, later = top.get_symbols(), top.get_children(), set[str]()
    while inner:
        table = inner.pop()
        inner += table.get_children()
        later |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    imported = {symbol.get_name() for symbol in symbols if symbol.is_imported()}
    return _Names(
        assigned=frozenset(symbol.get_name() for symbol in symbols if symbol.is_assigned()),
        imported=frozenset({*imported, "*"} if _STAR.search(block) else imported),
        read=frozenset(later.union(symbol.get_name() for symbol in symbols if symbol.is_referenced())),
        read_later=frozenset(later),
    )


def _changed(block: str) -> set[str]:
    """The names of the objects that a block, but for a function or a class, may change."""
    return set() if _DEFINITION.match(block) else set(_CHANGE.findall(block))


def _given_again(
    wanted: set[str], codes: Iterable[tuple[str | None, list[str]]], names: Mapping[str, _Names]
) -> set[str]:
    """Blocks that give one of these names another value, in cells from an answer to the next check."""
    found, between = set[str](), False
    for mark, blocks in codes:
        between = between or mark == "answer"
        if between and mark != "answer":
            found |= {block for block in blocks if not wanted.isdisjoint(names[block].assigned | _changed(block))}
        between = between and mark != "check"
    return found


def _statements(code: str) -> Iterator[str]:
    """Each statement with its lines; a statement of IPython or of a check becomes as many lines that do nothing."""
    code, start = code if code.endswith("\n") else f"{code}\n", 0
    while start < len(code):
        end, instead = _end(code, start)
        statement, start = code[start:end], end
        bare = statement.lstrip(" \t")
        if instead is None and not _CHECK.match(bare):
            yield statement
        else:
            indent = statement.removesuffix(bare)
            yield (instead or (indent and f"{indent}pass")) + "\n" * statement.count("\n")


def _end(code: str, start: int) -> tuple[int, str | None]:
    """Where a statement ends and, if it is one of IPython, what replaces it."""
    if _MAGIC.match(code, start):
        return _end_of_line(code, start), ""
    depth = 0
    for found in _PIECE.finditer(code, start):
        kind = found.lastgroup
        depth = max(depth + (kind == "open") - (kind == "close"), 0)
        if depth == 0 and kind == "end":
            return found.end(), None
        if depth == 0 and kind in ("help", "into"):
            instead = f"{code[start : found.start()]}= None" if kind == "into" else ""
            return _end_of_line(code, found.end()), instead
    return len(code), None


def _end_of_line(code: str, start: int) -> int:
    found = _LINE.match(code, start)
    return found.end() if found else len(code)


def _blocks(statements: Iterable[str]) -> list[str]:
    """Statements with those that are indented below them, with their decorators, and with their other branches."""
    blocks: list[list[str]] = []
    decorated = False
    for statement in statements:
        inner = statement[0].isspace() or statement[0] == "#" or _BRANCH.match(statement) is not None
        if blocks and (inner or decorated):
            blocks[-1].append(statement)
        else:
            blocks.append([statement])
        decorated = statement.startswith("@") or (inner and decorated)
    return ["".join(block) for block in blocks]


def _imports_apart(block: str) -> list[str]:
    """A line that imports several modules as a line for each, since those that nobody reads may not be there."""
    imports = [statement.split() for statement in block.partition("#")[0].split(";")]
    if not _IMPORTS.match(block) or any(words[:1] != ["import"] for words in imports):
        return [block]
    return [f"import {name.strip()}\n" for words in imports for name in " ".join(words[1:]).split(",")]


def _used(
    answers: Iterable[str], others: Iterable[Iterable[str]], asked: Iterable[str], names: Mapping[str, _Names]
) -> set[str]:
    """Other blocks, the first group before the second, that define a name that is asked for or that they read."""
    modules = _all(of.imported for of in names.values())
    defining: dict[str, list[str]] = {}
    for group in others:
        known = set(defining)
        for block in group:
            for name in (names[block].assigned | names[block].imported | (_changed(block) - modules)) - known:
                defining.setdefault(name, []).append(block)
    for name in _all(names[block].assigned | names[block].imported for block in answers) - {"*"}:
        defining.pop(name, None)
    used, wanted = set[str](), ["*", *asked, *(name for block in answers for name in names[block].read)]
    while wanted:
        for block in defining.pop(wanted.pop(), ()):
            if block not in used:
                used.add(block)
                wanted += names[block].read
    return used


def _guarded(block: str) -> str:
    """The block itself if it defines a function or imports; otherwise wrapped so that it may fail."""
    if _DEFINITION.match(block) or block.startswith(("import ", "from ")):
        return block
    return f"try:\n    exec({block!r})\nexcept Exception:\n    pass\n"
