"""The directive ``equation``, and the trace: every equation with its code, its tests, its tutorials and exercises.

An equation is written where it is derived::

    .. equation:: bn-backward
       :paper: 4

       \\frac{\\partial L}{\\partial x_b} = ...

Its label is its name everywhere: ``:eq:`bn-backward``` in prose and docstrings, ``# eq: bn-backward (4)`` at the end
of the line of code that computes it, ``eq: bn-backward`` in the docstring of a test. The number in the margin is the
paper's; an equation that the paper does not number has none. After the sentence that it stands in, or below it where
the sentence has others, a folded line leads to code and tests, and the directive ``trace`` lists all of them. A build
with ``-W`` fails if one of these is missing, unless the equation is a step of a proof and stands, with the reason, in
``trace_exempt`` of ``conf.py``.

An equation that says the same of several letters is written once, of ``\\xi``, with the letters beside it::

    .. equation:: ema-forward
       :for: \\mu, v

       \\hat\\xi_t = \\alpha \\hat\\xi_{t-1} + (1 - \\alpha) \\xi_t ,

so that the annotated source can show it with the letter of its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import scan
from details import Details, Summary
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.directives.patches import MathDirective
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


class Equation(NamedTuple):
    """An equation of the pages."""

    page: str
    number: str | None
    tex: str
    general: str | None
    """The formula of ``\\xi``, where it is stated for several letters."""
    line: int
    """Of the page's source, for warnings."""


class Trace(NamedTuple):
    """Where the sources mention each equation, by label."""

    code: dict[str, list[scan.Place]]
    tests: dict[str, list[scan.Place]]
    tutorials: dict[str, list[scan.Place]]
    exercises: dict[str, list[scan.Place]]


class TraceLine(nodes.General, nodes.Element):
    """Stands for the line of an equation until all places are known."""


class TraceCards(nodes.General, nodes.Element):
    """Stands for the cards of the trace page."""


class EquationDirective(MathDirective):
    """A displayed equation with a label, its argument, and the paper's number as an option."""

    required_arguments = 1
    optional_arguments = 0
    option_spec = {"paper": directives.positive_int, "for": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        label, general = self.arguments[0], None
        self.options["label"], self.arguments = label, []
        if "for" in self.options:
            general = "\n".join(self.content)
            if r"\xi" not in general:
                raise self.error(r"with :for: the formula is one of \xi, and here is none")
            stated = stated_for(general, self.options["for"].split(","))
            self.content = StringList(stated.splitlines(), source=label)
        shown = super().run()
        number = str(self.options["paper"]) if "paper" in self.options else None
        math = next(node for node in shown if isinstance(node, nodes.math_block))
        math["number"] = number
        page = self.env.docname
        self.env.domains.math_domain.equations[label] = (page, label)  # type: ignore[assignment]
        equations(self.env)[label] = Equation(
            page, number, "\n".join(self.content), general, self.get_source_info()[1]
        )
        return [*shown, TraceLine(label=label)]


class TraceDirective(SphinxDirective):
    """The cards of all equations."""

    def run(self) -> list[nodes.Node]:
        return [TraceCards()]


def equations(env: BuildEnvironment) -> dict[str, Equation]:
    """All equations of the pages read so far, by label."""
    if not hasattr(env, "mabn_equations"):
        env.mabn_equations = {}
    found: dict[str, Equation] = env.mabn_equations
    return found


def stated_for(general: str, letters: list[str]) -> str:
    """A formula of ``\\xi``, for each of the letters; the punctuation at its end stays there."""
    formula = general.rstrip(" .,")
    return (
        r", \qquad ".join(formula.replace(r"\xi", f"{{{letter.strip()}}}") for letter in letters)
        + general[len(formula) :]
    )


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


def _sentence_ends(node: nodes.Node) -> bool:
    """Whether nothing that follows a formula or a paragraph belongs to its last sentence."""
    if isinstance(node, nodes.math_block):
        text = re.sub(r"(\s|\\end\{\w+\}|\\q?quad|\\blacksquare)*$", "", node.astext())
        return text.endswith(".")
    if isinstance(node, nodes.paragraph):
        return node.astext().rstrip(")\"'”’").endswith((".", "?", "!"))
    return True


def _goes_on(node: nodes.Node) -> bool:
    """Whether a sentence that has not ended yet can go on in `node`."""
    if isinstance(node, nodes.paragraph):
        return isinstance(node[0], nodes.math) or not node.astext()[:1].isupper()
    return isinstance(node, nodes.math_block | nodes.literal_block | nodes.doctest_block | nodes.Sequential)


def _place_of(line: TraceLine) -> nodes.Node:
    """What `line` stands behind: the last node of its equation's sentence, or the equation if others follow in it."""
    siblings = list(line.parent)
    found, at = line, siblings.index(line)
    said = next(node for node in reversed(siblings[:at]) if isinstance(node, nodes.math_block))
    for node in siblings[at + 1 :]:
        if isinstance(node, nodes.target):
            continue
        if isinstance(node, TraceLine):
            return line
        if _sentence_ends(said) or not _goes_on(node):
            break
        said = found = node
    return found


class ResolveTrace(SphinxPostTransform):
    """Put the lines of equations and the cards into the pages."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        lines = list(self.document.findall(TraceLine))
        for line, last in [(line, _place_of(line)) for line in lines]:
            shown = nodes.container("", self._line(line["label"]), classes=["trace-lines"])
            last.parent.insert(last.parent.index(last) + 1, shown)
        for line in lines:
            line.replace_self([])
        for cards in list(self.document.findall(TraceCards)):
            known = equations(self.env).items()
            in_order = sorted(known, key=lambda item: (int(item[1].number or 99), item[1].page))
            cards.replace_self([self._card(label, equation) for label, equation in in_order])

    def _line(self, label: str) -> nodes.Node:
        if label in self.config.trace_exempt:
            line = nodes.paragraph(classes=["trace-line"])
            line += [nodes.literal("", label), nodes.Text(f" {self.config.trace_exempt[label]}")]
            return line
        places = self._places(label)
        counts = [f"{len(links)} {kind}" for kind, links in places.items() if kind != "code" and links]
        counts = [count.removesuffix("s") if count.startswith("1 ") else count for count in counts]
        summary = Summary("", "", nodes.literal("", label), nodes.Text(f" {', '.join(['code', *counts])}"))
        return Details("", summary, *self._lists(places), classes=["trace-line"])

    def _card(self, label: str, equation: Equation) -> nodes.Node:
        card = nodes.container(classes=["trace-card"], ids=[f"trace-{label}"])
        name = nodes.paragraph(classes=["trace-name"])
        name += self._link(equation.page, nodes.make_id(f"equation-{label}"), label)
        name += nodes.Text(f" ({equation.number})" if equation.number else "")
        name += nodes.inline("", self.env.titles[equation.page].astext(), classes=["trace-page"])
        card += [name, formula(equation.tex)]
        if label in self.config.trace_exempt:
            card += nodes.paragraph("", f"No code and no tests: {self.config.trace_exempt[label]}.")
            places = self._places(label)
            card += self._lists({kind: places[kind] for kind in ("tutorials", "exercises") if kind in places})
            return card
        places = self._places(label)
        tests = places.pop("tests")
        code, *others = self._lists(places)
        count = f"{len(tests)} tests" if len(tests) != 1 else "1 test"
        listed = nodes.bullet_list("", *(nodes.list_item("", nodes.paragraph("", "", *links)) for links in tests))
        card += [code, Details("", Summary("", count), listed), *others]
        return card

    def _lists(self, places: dict[str, list[list[nodes.Node]]]) -> list[nodes.Node]:
        """A paragraph for each kind of place."""
        shown: list[nodes.Node] = []
        for kind, links in places.items():
            paragraph = nodes.paragraph("", f"{kind}: ")
            for i, link in enumerate(links):
                paragraph += [nodes.Text(", " if i else ""), *link]
            shown += [paragraph] if links else []
        return shown

    def _places(self, label: str) -> dict[str, list[list[nodes.Node]]]:
        """The links to the places of an equation, by kind: each function, test, tutorial and exercise once."""
        trace: Trace = self.env.mabn_trace
        found = {
            "code": self._functions(trace.code.get(label, []), short_name),
            "tests": self._functions(trace.tests.get(label, []), in_words),
        }
        for kind, by_label in (("tutorials", trace.tutorials), ("exercises", trace.exercises)):
            found[kind] = [[self._script(kind, place)] for place in by_label.get(label, [])]
        return found

    def _functions(self, places: list[scan.Place], name: Callable[[scan.Place], str]) -> list[list[nodes.Node]]:
        by_function: dict[tuple[str, str], list[scan.Place]] = {}
        for place in places:
            by_function.setdefault((place.path, place.name), []).append(place)
        found = []
        for (path, _), group in sorted(by_function.items()):
            links = [self._link(code_page(path), anchor(group[0]), name(group[0]))]
            for place in group[1:]:
                links += [nodes.Text(" "), self._link(code_page(path), anchor(place), str(place.line))]
            found.append(links)
        return found

    def _script(self, kind: str, place: scan.Place) -> nodes.Node:
        title = place.name.replace("_", " ")
        if kind == "tutorials":
            return self._link(f"tutorials/{place.name}", "", title)
        return self._link(f"course/{place.name}", "", title)

    def _link(self, page: str, fragment: str, text: str) -> nodes.Node:
        if page not in self.env.found_docs:
            return nodes.literal("", text)
        uri = self.app.builder.get_relative_uri(self.env.current_document.docname, page)
        return nodes.reference("", text, internal=True, refuri=f"{uri}#{fragment}" if fragment else uri)


def formula(tex: str) -> nodes.math_block:
    """A displayed formula that has no name and no number."""
    math = nodes.math_block(tex, tex, number=None, label=None, classes=[])
    math["no-wrap"] = math["nowrap"] = False
    return math


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
                    logger.warning(
                        "%r has code and is exempt in trace_exempt: strike it there", label, location=location
                    )
    for label in exempt:
        if label not in known:
            logger.warning("trace_exempt of conf.py names the equation %r, which no page defines", label)
    referred = _referred(env)
    for label, equation in known.items():
        wanted = {} if label in exempt else {"code": trace.code, "test": trace.tests}
        if trace.exercises and equation.number and label not in exempt:
            wanted["exercise"] = trace.exercises
        for kind, by_label in wanted.items():
            if label not in by_label:
                logger.warning("the equation %r has no %s", label, kind, location=(equation.page, equation.line))
        if label in exempt and label not in referred:
            place = equation.page, equation.line
            logger.warning("the equation %r is referred to nowhere", label, location=place)


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


def add_filter(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """The page with the cards loads the script that filters them."""
    if tree is not None and any("trace-card" in node["classes"] for node in tree.findall(nodes.container)):
        app.add_js_file("trace.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("details")
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
    app.connect("html-page-context", add_filter)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 3}
