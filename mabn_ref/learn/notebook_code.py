"""The student's code in a notebook: Python without what only Jupyter understands, and without cells that check."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Iterator

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
_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*")
_DEFINITION = re.compile(r"(?:@.*\n)*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")
_IN_BRANCH = re.compile(r"([ \t]+)(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")
_ASSIGNMENT = re.compile(r"(\w+)[ \t]*(?::[^=\n]+)?=(?!=)")
_IMPORT = re.compile(r"(?:from[^\n]*?\s)?import\b([^;]*)")
_BRANCH = re.compile(r"(?:elif|else|except|finally)\b")
_PARAMETERS = re.compile(r"(?:\bdef[ \t]+\w+[ \t]*\(|\blambda\b)([^):]*)")
_BINDING = re.compile(
    r"^[ \t]*(?:(?:import|from)[ \t]+(.*)|([\w.,* \t]+?)(?::[^=\n]+)?(?:[-+*/%&|^@]|//|\*\*|<<|>>)?=(?!=))",
    re.MULTILINE,
)


def notebook_source(text: str, asked: Collection[str] = ()) -> str:
    """The student's code of a notebook, in the order of its cells.

    That is the cells marked as answers; what of these, and of the names that the exercise has `asked` for, is defined
    again before a check; and what other cells, those before the last check first, define of the names that are asked
    for and not there yet, or that all this reads. Where no cell is marked, it is all but checks. An assignment of
    another cell may fail, as what it is made of may not be there.

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
        sources = ["".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n") for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("is not a notebook") from error
    codes = [
        (mark, _blocks(_statements(source)) if mark != "check" and not _OTHER_LANGUAGE.match(source) else [])
        for mark, source in zip(marks, sources, strict=True)
    ]
    if "answer" in marks:
        answers = {block for mark, blocks in codes if mark == "answer" for block in blocks}
        own = {name for block in answers for name in _definitions(block)}
        answers = {*answers, *_defined_again({*asked, *own}, codes)}
        checks = [place for place, (mark, _) in enumerate(codes) if mark == "check"]
        end = checks[-1] if checks else len(codes)
        parts = codes[:end], codes[end:]
        others = [[block for _, blocks in part for block in blocks if block not in answers] for part in parts]
        used = _used(answers, others, asked)
        codes = [
            (mark, [b if mark == "answer" else _guarded(b) for b in blocks if b in answers or b in used])
            for mark, blocks in codes
        ]
    return "\n".join("".join(blocks) for _, blocks in codes if blocks).rstrip("\n")


def _definitions(block: str) -> set[str]:
    """The functions and classes that a block defines, be it in a branch, but not those inside of another."""
    if found := _DEFINITION.match(block):
        return {found[1]}
    names, margin = set[str](), ""  # of the function or class that the lines are in
    for line in filter(str.strip, _bare(block).splitlines()):
        if margin and line.startswith(margin) and line[len(margin)].isspace():
            continue
        found = _IN_BRANCH.match(line)
        names, margin = (names | {found[2]}, found[1]) if found else (names, "")
    return names


def _defined_again(names: set[str], codes: Iterable[tuple[str | None, list[str]]]) -> list[str]:
    """Blocks that define one of these names, in the cells between an answer and a check."""
    found_again, between = [], False
    for mark, blocks in codes:
        between = mark == "answer" or (between and mark != "check")
        if between and mark != "answer":
            found_again += [block for block in blocks if not names.isdisjoint(_redefined(block))]
    return found_again


def _statements(code: str) -> Iterator[str]:
    """Each statement with its lines; for one of IPython, or of a check, as many lines that do nothing."""
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
    """Where a statement ends and, if it is one of IPython, what stands in its place."""
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


def _redefined(block: str) -> set[str]:
    """The functions and classes that a block defines, and the name that it assigns."""
    assigned = _ASSIGNMENT.match(block)
    return _definitions(block) | ({assigned[1]} if assigned else set())


def _used(answers: Iterable[str], others: Iterable[Iterable[str]], asked: Iterable[str]) -> set[str]:
    """What other blocks, the first group before the second, define of what is asked for, or of what these read."""
    defining: dict[str, list[str]] = {}
    for group in others:
        known = set(defining)
        for block in group:
            for name in _defined(block) - known:
                defining.setdefault(name, []).append(block)
    for name in {name for block in answers for name in _defined(block)}:
        defining.pop(name, None)
    used, wanted = set[str](), ["*", *asked, *(name for block in answers for name in _read(block))]
    while wanted:
        for block in defining.pop(wanted.pop(), ()):
            if block not in used:
                used.add(block)
                wanted += _read(block)
    return used


def _defined(block: str) -> set[str]:
    """The names that a block binds, "*" for all of a module."""
    if _DEFINITION.match(block):
        return _definitions(block)
    imported = _IMPORT.fullmatch(_bare(block))
    if imported:
        parts = [part.split() for part in re.sub(r"[()]", " ", imported[1]).split(",")]
        return {part[-1].partition(".")[0] for part in parts if part}
    bound = [words or target for words, target in _BINDING.findall(_at_depth_0(block))]
    return _definitions(block).union(*map(_words, bound))


def _read(block: str) -> set[str]:
    """The names in a block that are neither its arguments nor bound in it, as far as lines show that."""
    code = _bare(block)
    own = _PARAMETERS.findall(code) + [target for _, target in _BINDING.findall(_at_depth_0(block))]
    return set(_words(code)) - {name for names in own for name in _words(names)}


def _guarded(block: str) -> str:
    """What defines a function or imports as it is; what computes something may fail."""
    if _DEFINITION.match(block) or block.startswith(("import ", "from ")):
        return block
    return f"try:\n    exec({block!r})\nexcept Exception:\n    pass\n"


def _at_depth_0(block: str) -> str:
    """The code of a block outside all brackets: there, ``name=`` is an assignment and not a keyword."""
    depth, kept = 0, []
    for piece in re.split(r"([(\[{]|[)\]}])", _bare(block)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(piece, 0) if len(piece) == 1 else 0
        kept += [piece] * (depth == 0)
    return "".join(kept)


def _bare(block: str) -> str:
    """The code of a block without strings and comments."""
    return _PIECE.sub(lambda found: " " if found["text"] else found[0], block)


def _words(code: str) -> list[str]:
    """The names in a piece of code, attributes left out."""
    return [word for word in _WORD.findall(_bare(code)) if not keyword.iskeyword(word)]
