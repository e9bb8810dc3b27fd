"""The directive ``equation``, and the trace: every equation with its code, its tests, its tutorials and exercises.

An equation is written where it is derived::

    .. equation:: bn-backward
       :paper: 4

       \\frac{\\partial L}{\\partial x_b} = ...

Its label is its name everywhere: ``:eq:`bn-backward``` in prose and docstrings, ``# eq: bn-backward (4)`` at the end
of the line of code that computes it, ``eq: bn-backward`` in the docstring of a test. The number in the margin is the
paper's; an equation that the paper does not number has none. A line under it leads to code and tests, and the
directive ``trace`` lists all of them. A build with ``-W`` fails where one of these is missing, unless the equation is
a step of a proof and stands, with the reason, in ``trace_exempt`` of ``conf.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import scan
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.directives.patches import MathDirective
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

EXERCISES = "howto/work_through_the_exercises"
"""The page of the course."""


class Equation(NamedTuple):
    """An equation of the pages."""

    page: str
    number: str | None
    tex: str


class Trace(NamedTuple):
    """Where the sources mention each equation, by label."""

    code: dict[str, list[scan.Place]]
    tests: dict[str, list[scan.Place]]
    tutorials: dict[str, list[scan.Place]]
    exercises: dict[str, list[scan.Place]]


class TraceLine(nodes.General, nodes.Element):
    """Stands for the line under an equation until all places are known."""


class TraceTable(nodes.General, nodes.Element):
    """Stands for the table of the trace page."""


class EquationDirective(MathDirective):
    """A displayed equation with a label, its argument, and the paper's number as an option."""

    required_arguments = 1
    optional_arguments = 0
    option_spec = {"paper": directives.positive_int}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        label = self.arguments[0]
        self.options["label"], self.arguments = label, []
        shown = super().run()
        number = str(self.options["paper"]) if "paper" in self.options else None
        math = next(node for node in shown if isinstance(node, nodes.math_block))
        math["number"] = number
        page = self.env.docname
        self.env.domains.math_domain.equations[label] = (page, label)  # type: ignore[assignment]
        equations(self.env)[label] = Equation(page, number, "\n".join(self.content))
        return [*shown, TraceLine(label=label)]


class TraceDirective(SphinxDirective):
    """The table of all equations."""

    def run(self) -> list[nodes.Node]:
        return [TraceTable()]


def equations(env: BuildEnvironment) -> dict[str, Equation]:
    """All equations of the pages read so far, by label."""
    if not hasattr(env, "mabn_equations"):
        env.mabn_equations = {}
    found: dict[str, Equation] = env.mabn_equations
    return found


def code_page(path: str) -> str:
    """The page that shows the source file `path`."""
    return "code/" + path.removesuffix(".py").replace("/", ".")


def anchor(place: scan.Place) -> str:
    """The id of a place's line on its page."""
    return f"L{place.line}"


def short_name(place: scan.Place) -> str:
    """A place as prose names it: ``batch_norm.backward``."""
    return f"{Path(place.path).stem}.{place.name}" if place.name else Path(place.path).stem


def in_words(place: scan.Place) -> str:
    """A test as prose names it: ``algebra: closed form and graph agree``."""
    return f"{Path(place.path).stem}: {place.name}".replace("test_", "").replace("_", " ")


class ResolveTrace(SphinxPostTransform):
    """Put the lines under equations and the table into the pages."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for line in list(self.document.findall(TraceLine)):
            line.replace_self(self._line(line["label"]))
        for table in list(self.document.findall(TraceTable)):
            table.replace_self(self._table())

    def _line(self, label: str) -> nodes.Node:
        line = nodes.paragraph(classes=["trace-line"])
        line += nodes.literal("", label)
        trace: Trace = self.env.mabn_trace
        if label in self.config.trace_exempt:
            line += nodes.Text(f" · {self.config.trace_exempt[label]}")
        else:
            by_function = {short_name(place): place for place in reversed(trace.code.get(label, []))}
            for i, (name, place) in enumerate(sorted(by_function.items())):
                line += nodes.Text(", " if i else " · code: ")
                line += self._link(code_page(place.path), anchor(place), name)
            line += nodes.Text(" · ")
            tests = len({(place.path, place.name) for place in trace.tests.get(label, [])})
            line += self._link("trace", f"trace-{label}", f"{tests} test{'s' if tests != 1 else ''}")
        for place in trace.tutorials.get(label, []):
            line += nodes.Text(" · ")
            line += self._link(f"tutorials/{place.name}", "", f"tutorial {place.name[:2]}")
        for place in trace.exercises.get(label, []):
            line += nodes.Text(" · ")
            line += self._link(EXERCISES, nodes.make_id(f"exercise-{place.name}"), f"exercise {place.name[:2]}")
        return line

    def _table(self) -> nodes.Node:
        trace: Trace = self.env.mabn_trace
        scripts = {"tutorial": trace.tutorials, "exercise": trace.exercises}
        scripts = {title: by_label for title, by_label in scripts.items() if by_label}
        titles = ["equation", "code", "tests", *scripts]
        table = nodes.table(classes=["trace"])
        group = nodes.tgroup(cols=len(titles))
        table += group
        for _ in titles:
            group += nodes.colspec(colwidth=1)
        head, body = nodes.thead(), nodes.tbody()
        group += head
        group += body
        head += _row([nodes.paragraph("", title) for title in titles])
        in_order = sorted(equations(self.env).items(), key=lambda item: (int(item[1].number or 99), item[1].page))
        for label, equation in in_order:
            name = nodes.paragraph(ids=[f"trace-{label}"])
            name += self._link(equation.page, nodes.make_id(f"equation-{label}"), label)
            name += nodes.Text(f" ({equation.number})" if equation.number else "")
            if label in self.config.trace_exempt:
                row = [name, nodes.paragraph("", self.config.trace_exempt[label]), nodes.paragraph()]
            else:
                row = [name, self._places(trace.code.get(label, []), short_name)]
                row += [self._places(trace.tests.get(label, []), in_words)]
            body += _row(row + [self._scripts(kind, by_label.get(label, [])) for kind, by_label in scripts.items()])
        return table

    def _places(self, places: list[scan.Place], name: Callable[[scan.Place], str]) -> nodes.Node:
        by_function: dict[tuple[str, str], list[scan.Place]] = {}
        for place in places:
            by_function.setdefault((place.path, place.name), []).append(place)
        cell = nodes.bullet_list()
        for (path, _), group in sorted(by_function.items()):
            item = nodes.paragraph()
            item += self._link(code_page(path), anchor(group[0]), name(group[0]))
            for place in group[1:]:
                item += nodes.Text(", ")
                item += self._link(code_page(path), anchor(place), str(place.line))
            cell += nodes.list_item("", item)
        return cell

    def _scripts(self, kind: str, places: list[scan.Place]) -> nodes.Node:
        cell = nodes.paragraph()
        for i, place in enumerate(places):
            cell += nodes.Text(", " if i else "")
            if kind == "tutorial":
                cell += self._link(f"tutorials/{place.name}", "", place.name.replace("_", " "))
            else:
                cell += self._link(EXERCISES, nodes.make_id(f"exercise-{place.name}"), place.name)
        return cell

    def _link(self, page: str, fragment: str, text: str) -> nodes.Node:
        if page not in self.env.found_docs:
            return nodes.literal("", text)
        uri = self.app.builder.get_relative_uri(self.env.current_document.docname, page)
        return nodes.reference("", text, internal=True, refuri=f"{uri}#{fragment}" if fragment else uri)


def _row(cells: list[nodes.Node]) -> nodes.Node:
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", cell)
    return row


def collect(app: Sphinx) -> None:
    """Scan the sources."""
    root = Path(app.config.source_root)
    found = []
    for places in (scan.code(root), scan.tests(root), scan.tutorials(root), scan.exercises(root)):
        by_label: dict[str, list[scan.Place]] = {}
        for place in places:
            by_label.setdefault(place.label, []).append(place)
        found.append(by_label)
    app.env.mabn_trace = Trace(*found)


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Write every page with an equation again, and the trace: the sources may have changed."""
    pages = {equation.page for equation in equations(env).values()} | {"trace"}
    return sorted((pages & env.found_docs) - removed)


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every hole."""
    trace: Trace = env.mabn_trace
    known, exempt = equations(env), app.config.trace_exempt
    for kind, by_label in zip(("code", "test", "tutorial", "exercise"), trace, strict=True):
        for label, places in by_label.items():
            for place in places:
                location = f"{place.path}:{place.line}"
                if label not in known:
                    logger.warning("%s names the equation %r, which no page defines", kind, label, location=location)
                elif place.number not in (None, known[label].number):
                    of_page = known[label].number or "none"
                    logger.warning(
                        "%s: (%s) here, the paper's number is %s", label, place.number, of_page, location=location
                    )
                elif label in exempt and kind == "code":
                    logger.warning("%r has code and is exempt in trace_exempt: strike it there", label)
    for label in exempt:
        if label not in known:
            logger.warning("trace_exempt names the equation %r, which no page defines", label)
    referred = _referred(env)
    for label, equation in known.items():
        wanted = {} if label in exempt else {"code": trace.code, "test": trace.tests}
        if trace.exercises and equation.number and label not in exempt:
            wanted["exercise"] = trace.exercises
        for kind, by_label in wanted.items():
            if label not in by_label:
                logger.warning("the equation %r has no %s", label, kind, location=equation.page)
        if label in exempt and label not in referred:
            logger.warning("the equation %r is referred to nowhere", label, location=equation.page)


def _referred(env: BuildEnvironment) -> set[str]:
    """Labels that some page refers to."""
    labels = set()
    for page in env.found_docs:
        for node in env.get_doctree(page).findall(addnodes.pending_xref):
            if node["refdomain"] == "math":
                labels.add(node["reftarget"])
    return labels


def purge(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget the equations of a page that is read again."""
    for label in [label for label, equation in equations(env).items() if equation.page == page]:
        del equations(env)[label]


def merge(app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Take over what another process read."""
    equations(env).update({label: e for label, e in equations(other).items() if e.page in pages})


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("equation", EquationDirective)
    app.add_directive("trace", TraceDirective)
    app.add_config_value("trace_exempt", {}, "env", types=frozenset({dict}))
    app.add_config_value("source_root", "..", "env", types=frozenset({str}))
    app.add_post_transform(ResolveTrace)
    app.connect("builder-inited", collect)
    app.connect("env-get-outdated", outdated)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
