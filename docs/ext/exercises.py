"""The course: a page for each exercise, and three lists of them.

``course`` lists them all, ``course-parts`` what to read before each part, and ``exercises`` those of one tutorial.

The pages are written to ``docs/course/`` before Sphinx reads its sources, from the statements that students get.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pages
import scan
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.learn.exercise import Exercise, course


class Part(NamedTuple):
    """A part of the course, which ends where the next one begins."""

    first: int
    """The number of its first exercise."""
    title: str
    beside: str = ""
    """A page to read beside the tutorials that its exercises name."""


PARTS = (
    Part(1, "Batch normalisation, forward and backward"),
    Part(6, "How to check a gradient", "/howto/check_a_gradient"),
    Part(8, "Noise of small batches, and averages"),
    Part(11, "Batch Renormalization, modified BN, centralised weights"),
    Part(15, "MABN"),
    Part(19, "Inference, and an experiment with controls"),
    Part(21, "Bug hunts in somebody else's code", "/mistakes"),
    Part(27, "RMSNorm, FRN and modified BN in the same lines", "/derivations/rms_norm"),
)


def of_part(part: Part) -> list[Exercise]:
    """The exercises of a part."""
    last = min((other.first - 1 for other in PARTS if other.first > part.first), default=course()[-1].number)
    return [exercise for exercise in course() if part.first <= exercise.number <= last]


class CourseDirective(SphinxDirective):
    """A list of all exercises."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines: list[str] = []
        for part in PARTS:
            lines += ["", f".. rubric:: {part.title}", ""]
            for exercise in of_part(part):
                points = f"{len(exercise.parts)} point{'s' if len(exercise.parts) > 1 else ''}"
                lines += [f"* :doc:`{exercise.number}. {exercise.title} </course/{exercise.name}>` ({points})"]
        return self.parse_text_to_nodes("\n".join(lines))


class CoursePartsDirective(SphinxDirective):
    """A table of the parts: their exercises, and what to read first."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines = [".. list-table::", "   :header-rows: 1", ""]
        lines += _row("part", "exercises", "read first")
        scripts = [path.stem for path in scan.scripts(Path(self.config.source_root))]
        for part in PARTS:
            exercises = of_part(part)
            first, last = exercises[0].number, exercises[-1].number
            between = " to " if last > first + 1 else " and "
            numbers = f"{first}{between}{last}" if last > first else str(first)
            tutorials = sorted({number for exercise in exercises for number in exercise.tutorials})
            read = [f":doc:`tutorial {number} </tutorials/{_stem(number, scripts)}>`" for number in tutorials]
            read += [f":doc:`{part.beside}`"] if part.beside else []
            lines += _row(part.title, numbers, ", ".join(read))
        return self.parse_text_to_nodes("\n".join(lines))


def _row(*cells: str) -> list[str]:
    return [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(cells)]


def _stem(number: int, scripts: list[str]) -> str:
    """The tutorial of a number."""
    (stem,) = (stem for stem in scripts if stem.startswith(f"{number:02}_"))
    return stem


class ExercisesDirective(SphinxDirective):
    """At the end of a tutorial: the exercises whose statements name it."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        number = int(Path(self.env.docname).name[:2])
        about = [exercise for exercise in course() if number in exercise.tutorials]
        page = ":doc:`exercises that check themselves </course/index>`"
        lines = [f"``mabn-ref learn course`` makes a folder of {page}. {'About this tutorial:' if about else ''}"]
        lines += ["", *(f"* :doc:`{e.name} </course/{e.name}>`: {e.title}" for e in about)]
        return self.parse_text_to_nodes("\n".join(lines))


def write_pages(app: Sphinx) -> None:
    """Write a page for each exercise, and remove those of exercises that are gone."""
    scripts = [path.stem for path in scan.scripts(Path(app.config.source_root))]
    written = {f"{exercise.name}.rst": page(exercise, scripts) for exercise in course()}
    pages.write(Path(app.srcdir) / "course", written, "[0-9]*.rst")


def page(exercise: Exercise, scripts: list[str]) -> str:
    """The page of an exercise: its statement, its hints one by one under a fold, and the file to begin with."""
    title = f"{exercise.number}. {exercise.title}"
    explained = [f":doc:`/tutorials/{_stem(number, scripts)}`" for number in exercise.tutorials]
    parts = ", ".join(f"``{part}``" for part in exercise.parts)
    lines = [title, "=" * len(title), "", rst(_without_references(exercise.statement)), ""]
    lines += [f"*Points for* {parts}. *Equations* {', '.join(f':eq:`{label}`' for label in exercise.equations)}."]
    lines += [f"*Tutorial* {', '.join(explained)}."] if explained else []
    lines += ["", f"Write it in ``{exercise.name}/exercise.py``, then:", "", ".. code-block:: console", ""]
    lines += [f"   $ mabn-ref learn check {exercise.number}", ""]
    for k, hint in enumerate(exercise.hints, start=1):
        lines += [*_folded(f"Hint {k}", rst(hint)), ""]
    lines += _folded("The file to begin with", f".. code-block:: python\n\n{_indented(exercise.skeleton)}")
    return "\n".join(lines) + "\n"


def _without_references(statement: str) -> str:
    """A statement without its title and without the lines that name equations and tutorials."""
    body = statement.partition("\n")[2]
    return re.sub(r"^(Equations?|Tutorials?): .*\n", "", body, flags=re.MULTILINE).strip()


def _folded(title: str, body: str) -> list[str]:
    return [f".. admonition:: {title}", "   :collapsible: closed", "", _indented(body)]


def _indented(text: str) -> str:
    return textwrap.indent(text, "   ")


def rst(markdown: str) -> str:
    r"""The Markdown of the statements as reStructuredText.

    >>> print(rst("Let `x` be\n\n$$x = 1, \\qquad y = 2 .$$\n\nand $z$."))
    Let ``x`` be
    <BLANKLINE>
    .. math::
    <BLANKLINE>
       \begin{gathered} x = 1, \\ y = 2 . \end{gathered}
    <BLANKLINE>
    and :math:`z`.
    """
    blocks = re.split(r"(^```.*?^```$|^ *\$\$.*?\$\$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(map(_block, blocks))


def _block(block: str) -> str:
    if block.startswith("```"):
        return f".. code-block:: pycon\n\n{_indented(chr(10).join(block.splitlines()[1:-1]))}"
    if block.lstrip().startswith("$$"):
        margin = " " * (len(block) - len(block.lstrip()))
        tex = " ".join(block.strip().strip("$").split())
        formulas = re.split(r"\\q?quad", tex)
        if len(formulas) > 1:
            rows = r" \\ ".join(formula.strip() for formula in formulas)
            tex = rf"\begin{{gathered}} {rows} \end{{gathered}}"
        return f"{margin}.. math::\n\n{margin}   {tex}"
    text = re.sub(r"(?<!\n)\n- ", "\n\n- ", block)
    pieces = re.split(r"(`[^`]*`|\$[^$]*\$)", text)
    return "".join(_inline(piece) for piece in pieces)


def _inline(piece: str) -> str:
    if piece.startswith("`"):
        return f"`{piece}`"
    if piece.startswith("$"):
        return f":math:`{' '.join(piece[1:-1].split())}`"
    return piece.replace("|", r"\|")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("course", CourseDirective)
    app.add_directive("course-parts", CoursePartsDirective)
    app.add_directive("exercises", ExercisesDirective)
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
