"""Annotated source: every file that computes or tests an equation as a page, the formula above the line.

The pages are written to ``docs/code/`` before Sphinx reads its sources, and what is not needed any more is removed.
Docstrings are left out of them, since the API pages have them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pages
import scan
from docutils import nodes
from equations import Trace, anchor, code_page, equations, formula, stated_for
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

LETTERS = {"mu": r"\mu", "mean": r"\mu", "var": "v", "chi2": "q", "g": "g", "psi": r"\Psi"}
"""The letters of the pages for words in names of the code."""


class Formula(nodes.General, nodes.Element):
    """Stands for the formula of `label` until the pages are read; `letters`: those of the line below it."""


class Piece(NamedTuple):
    """Lines of a source file that are shown as one block."""

    first: int
    text: str
    places: list[scan.Place]


class AnnotatedDirective(SphinxDirective):
    """The source of one file, given relative to the repository."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        full = Path(self.config.source_root) / path
        self.env.note_dependency(str(full))
        trace: Trace = self.env.mabn_trace
        places = [p for by_label in (trace.code, trace.tests) for group in by_label.values() for p in group]
        shown: list[nodes.Node] = []
        in_package = path.startswith("mabn_ref/")
        for piece in pieces(full.read_text(encoding="utf-8"), [p for p in places if p.path == path]):
            letters = letters_of(piece.text)
            shown += [Formula(label=p.label, function=p.name, letters=letters, code=in_package) for p in piece.places]
            block = nodes.literal_block(piece.text, piece.text, language="python", linenos=True)
            block["highlight_args"] = {"linenostart": piece.first}
            if piece.places:
                wrapper = nodes.container(ids=[anchor(piece.places[0])], classes=["equation-line"])
                wrapper += block
                shown.append(wrapper)
            else:
                shown.append(block)
        return shown


def pieces(source: str, places: list[scan.Place]) -> Iterator[Piece]:
    """Cut a source into its lines with equations and what is between, without docstrings."""
    lines = source.splitlines()
    hidden = set(_docstring_lines(ast.parse(source)))
    by_line: dict[int, list[scan.Place]] = {}
    for place in places:
        by_line.setdefault(place.line, []).append(place)
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        cut = number in by_line or number in hidden
        if cut or (block and not line.strip() and number in (n + 1 for n in hidden)):
            yield from _block(block)
            block = []
        if number in by_line:
            yield Piece(number, line, by_line[number])
        elif number not in hidden:
            block.append((number, line))
    yield from _block(block)


def letters_of(line: str) -> list[str]:
    """The letters in a line of code: those of ``ema(state.chi2, chi2_batch, decay)`` are ``q``, and no other."""
    words = re.findall(r"[a-z0-9]+", line.partition("#")[0])
    return list(dict.fromkeys(LETTERS[word] for word in words if word in LETTERS))


def _block(lines: list[tuple[int, str]]) -> Iterator[Piece]:
    while lines and not lines[0][1].strip():
        lines = lines[1:]
    while lines and not lines[-1][1].strip():
        lines = lines[:-1]
    if lines:
        yield Piece(lines[0][0], "\n".join(text for _, text in lines), [])


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            yield from range(text.lineno, (text.end_lineno or text.lineno) + 1)


class ResolveFormulas(SphinxPostTransform):
    """Put the formulas, or in tests their names, above the lines; each once in a function."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        explained = set()
        for place in list(self.document.findall(Formula)):
            label, equation = place["label"], equations(self.env).get(place["label"])
            if equation is None:
                place.replace_self([])
                continue
            tex = equation.tex
            if equation.general and place["letters"]:
                tex = stated_for(equation.general, place["letters"])
            if (key := (place["function"], label, tex)) in explained:
                place.replace_self([])
                continue
            explained.add(key)
            link = addnodes.pending_xref(
                "", nodes.literal("", label), refdomain="math", reftype="eq", reftarget=label, refdoc=self.env.docname
            )
            line = nodes.paragraph("", "", link, classes=["trace-line"])
            if place["code"]:
                line += nodes.Text(f" ({equation.number})" if equation.number else "")
                place.replace_self([line, formula(tex)])
            else:
                place.replace_self([line])


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The source to write again: files whose formulas are not what they were in the last build."""
    shown = {label: equation._replace(line=0) for label, equation in equations(env).items()}
    before, env.mabn_shown = getattr(env, "mabn_shown", {}), shown
    trace: Trace = env.mabn_trace
    changed = [label for label, equation in shown.items() if before.get(label) != equation]
    names = {code_page(place.path) for label in changed for place in trace.code.get(label, [])}
    return sorted(names & env.found_docs)


def write_pages(app: Sphinx) -> None:
    """Write a page for every file that mentions an equation, and their index."""
    trace: Trace = app.env.mabn_trace
    paths = {p.path for by_label in (trace.code, trace.tests) for group in by_label.values() for p in group}
    written = {f"{_name(path)}.rst": _page(path) for path in paths}
    written["index.rst"] = _index(sorted(paths, key=lambda path: ("/norms/" not in path, path)))
    pages.write(Path(app.srcdir) / "code", written, "*.rst")


def _name(path: str) -> str:
    return code_page(path).removeprefix("code/")


def _page(path: str) -> str:
    outside = "" if path.startswith("mabn_ref/") else ":orphan:\n\n"
    return f"{outside}{path}\n{'=' * len(path)}\n\n.. annotated:: {path}\n"


def _index(paths: list[str]) -> str:
    """The index of all pages; its sidebar lists the code alone, since nobody looks for a test by its file's name."""
    title = "Annotated source"
    text = [title, "=" * len(title), "", "Every file that computes or tests an equation: the formula, then the line."]
    names = [_name(path) for path in paths]
    text += ["", ".. toctree::", "   :maxdepth: 1", "   :caption: Code", ""]
    text += [f"   {name}" for name in names if name.startswith("mabn_ref.")]
    text += ["", "The tests:", ""]
    text += [f"- :doc:`{name}`" for name in names if not name.startswith("mabn_ref.")]
    return "\n".join(text) + "\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("equations")
    app.add_directive("annotated", AnnotatedDirective)
    app.add_post_transform(ResolveFormulas)
    app.connect("builder-inited", write_pages, priority=600)
    app.connect("env-updated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
