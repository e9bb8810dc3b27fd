"""The directives ``course``, all exercises with equations and tutorials, and ``exercises``, those of one tutorial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scan
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.learn.exercise import Exercise, course


class CourseDirective(SphinxDirective):
    """A list of all exercises."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines: list[str] = []
        for exercise in course():
            lines += [f".. _exercise-{exercise.name}:", "", f"``{exercise.name}``", f"   {exercise.title}.", ""]
            about = ", ".join(f":eq:`{label}`" for label in exercise.equations)
            lines += [f"   *Points for* {', '.join(f'``{part}``' for part in exercise.parts)}.", ""]
            lines += [f"   *Equations* {about}. {self._tutorials(exercise)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))

    def _tutorials(self, exercise: Exercise) -> str:
        """Links to the tutorials that are there."""
        scripts = scan.scripts(Path(self.config.source_root))
        pages = [path.stem for n in exercise.tutorials for path in scripts if path.stem.startswith(f"{n:02}_")]
        return f"*Tutorial* {', '.join(f':doc:`/tutorials/{page}`' for page in pages)}." if pages else ""


class ExercisesDirective(SphinxDirective):
    """At the end of a tutorial: the exercises whose statements name it."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        number = int(Path(self.env.docname).name[:2])
        about = [exercise for exercise in course() if number in exercise.tutorials]
        page = ":doc:`exercises that check themselves </howto/work_through_the_exercises>`"
        lines = [f"``mabn-ref learn course`` makes a folder of {page}. {'About this tutorial:' if about else ''}"]
        lines += ["", *(f"* :ref:`{e.name} <exercise-{e.name}>`: {e.title}" for e in about)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("course", CourseDirective)
    app.add_directive("exercises", ExercisesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
