"""The directive ``by-hand``: four numbers carried through every step of a normaliser, beside the formulas.

::

    .. by-hand:: batch_norm

The numbers are the package's own: its forward pass and ``backward_graph`` run while the page is read, and what they
assign on the way is recorded. The batch is that of tutorial 02.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm

X, DZ = (0.5, -1.0, 2.0, 0.1), (0.3, -0.8, 0.4, 1.0)
GAMMA, BETA, EPS = 1.5, 0.2, 1e-5


class Step(NamedTuple):
    """A row of a table."""

    tex: str
    name: str
    """What the code assigns."""
    nth: int = 0
    """Which of the assignments; -1 is the last."""


class Example(NamedTuple):
    """A normaliser, a state before the batch, and its steps."""

    norm: Any
    config: Any
    state: Any
    given: str
    """What is given besides the batch, as reStructuredText."""
    forward: tuple[Step, ...]
    graph: tuple[Step, ...]
    closed: tuple[Step, ...]
    """The same gradient once more, by the closed form."""


def _column(*values: float) -> Any:
    return np.array(values)[:, None]


_MOMENTS = (
    Step(r"\mu = \frac1M \sum_b x_b", "mu"),
    Step(r"c_b = x_b - \mu", "centred"),
    Step(r"v = \frac1M \sum_b c_b^2", "var"),
    Step(r"\sigma = \sqrt{v + \epsilon}", "sigma"),
    Step(r"y_b = c_b / \sigma", "y"),
)
_BACK_TO_X = (
    Step(r"\d{L}{\sigma} = -\frac{1}{\sigma^2} \sum_b u_b c_b", "dsigma"),
    Step(r"\d{L}{v} = \frac{1}{2\sigma} \d{L}{\sigma}", "dvar"),
    Step(r"\d{L}{c_b} = \frac{u_b}{\sigma} + \frac{2 c_b}{M} \d{L}{v}", "dcentred", -1),
    Step(r"\d{L}{\mu} = -\sum_b \d{L}{c_b}", "dmu"),
    Step(r"\d{L}{x_b} = \d{L}{c_b} + \frac1M \d{L}{\mu}", "dx"),
)
_DBETA = Step(r"\d{L}{\beta} = \sum_b \d{L}{z_b}", "dbeta")
_DGAMMA = Step(r"\d{L}{\gamma} = \sum_b y_b \d{L}{z_b}", "dgamma")
_G, _PSI = Step(r"g = \frac1M \sum_b u_b", "g"), Step(r"\Psi = \frac1M \sum_b y_b u_b", "psi")
_CLOSED = _G, _PSI, Step(r"\d{L}{x_b} = \frac1\sigma (u_b - g - y_b \Psi)", "dx")
_WINDOW, _PSI_WINDOW = _column(1.2, 0.9, 0.7), _column(0.4, 0.5, 0.3)

EXAMPLES = {
    "batch_norm": Example(
        batch_norm,
        batch_norm.Config(eps=EPS),
        batch_norm.init(1, batch_norm.Config(), dtype=np.float64),
        "",
        (*_MOMENTS, Step(r"z_b = \gamma y_b + \beta", "z")),
        (_DBETA, _DGAMMA, Step(r"u_b = \gamma \d{L}{z_b}", "dy"), *_BACK_TO_X),
        _CLOSED,
    ),
    "modified_batch_norm": Example(
        modified_batch_norm,
        modified_batch_norm.Config(eps=EPS),
        modified_batch_norm.init(1, modified_batch_norm.Config(), dtype=np.float64),
        "",
        (
            Step(r"q = \frac1M \sum_b x_b^2", "chi2"),
            Step(r"\chi = \sqrt{q + \epsilon}", "chi"),
            Step(r"y_b = x_b / \chi", "y"),
            Step(r"z_b = \gamma y_b + \beta", "z"),
        ),
        (
            _DBETA,
            _DGAMMA,
            Step(r"u_b = \gamma \d{L}{z_b}", "dy"),
            Step(r"\d{L}{\chi} = -\frac{1}{\chi^2} \sum_b u_b x_b", "dchi"),
            Step(r"\d{L}{q} = \frac{1}{2\chi} \d{L}{\chi}", "dchi2"),
            Step(r"\d{L}{x_b} = \frac{u_b}{\chi} + \frac{2 x_b}{M} \d{L}{q}", "dx", -1),
        ),
        (_PSI, Step(r"\d{L}{x_b} = \frac1\chi (u_b - y_b \Psi)", "dx")),
    ),
    "batch_renorm": Example(
        batch_renorm,
        batch_renorm.Config(eps=EPS, r_max=3.0, d_max=5.0),
        batch_renorm.State(mean=np.array([0.2]), var=np.array([0.64 - EPS]), iteration=100),
        r"The moving averages from before the batch are :math:`\hat\mu = 0.2` and :math:`\hat\sigma = 0.8`; "
        r"the bounds are :math:`r_{\max} = 3` and :math:`d_{\max} = 5`, so that nothing is clipped. ",
        (
            *_MOMENTS,
            Step(r"r = \sigma / \hat\sigma", "r"),
            Step(r"d = (\mu - \hat\mu) / \hat\sigma", "d"),
            Step(r"z_b = \gamma \, (r y_b + d) + \beta", "z"),
        ),
        (
            _DBETA,
            Step(r"\d{L}{\gamma} = \sum_b (r y_b + d) \d{L}{z_b}", "dgamma"),
            Step(r"u_b = \gamma r \d{L}{z_b}", "dy"),
            *_BACK_TO_X,
        ),
        _CLOSED,
    ),
    "mabn": Example(
        mabn,
        mabn.Config(eps=EPS, window=3),
        mabn.State(np.array([0.8]), _WINDOW, _PSI_WINDOW, 100, 100),
        r"The window is :math:`m = 3`. Before the batch it holds 1.2, 0.9, 0.7 for :math:`q` and 0.4, 0.5, 0.3 for "
        r":math:`\Psi`, oldest first: the oldest falls out, the batch's own comes in. The exponential average is "
        r":math:`\hat q = 0.8`; with :math:`\lambda = 5` nothing is clipped. ",
        (
            Step(r"q_t = \frac1M \sum_b x_b^2", "chi2_batch"),
            Step(r"\bar q = \frac13 (0.9 + 0.7 + q_t)", "average"),
            Step(r"\bar\chi = \sqrt{\bar q + \epsilon}", "chi"),
            Step(r"r = \bar\chi / \sqrt{\hat q + \epsilon}", "r"),
            Step(r"y_b = x_b / \bar\chi", "y"),
            Step(r"z_b = \gamma r y_b + \beta", "z"),
        ),
        (
            _DBETA,
            Step(r"\d{L}{\gamma} = \sum_b r y_b \d{L}{z_b}", "dgamma"),
            Step(r"u_b = \gamma r \d{L}{z_b}", "dy"),
            Step(r"\ell_t = -\frac1M \sum_b y_b u_b", "ell"),
            Step(r"\bar\ell = \frac13 (-0.5 - 0.3 + \ell_t)", "ell_average"),
            Step(r"\d{L}{\log \bar\chi} = M \bar\ell", "dlog_chi"),
            Step(r"\d{L}{q} = \frac{1}{2 \bar\chi^2} \d{L}{\log \bar\chi}", "dchi2"),
            Step(r"\d{L}{x_b} = \frac{u_b}{\bar\chi} + \frac{2 x_b}{M} \d{L}{q}", "dx", -1),
        ),
        (
            Step(r"\Psi_t = \frac1M \sum_b y_b u_b", "psi_batch"),
            Step(r"\bar\Psi = \frac13 (0.5 + 0.3 + \Psi_t)", "psi"),
            Step(r"\d{L}{x_b} = \frac{1}{\bar\chi} (u_b - y_b \bar\Psi)", "dx"),
        ),
    ),
}


def numbers(example: Example) -> list[tuple[Step, Any]]:
    """What each step gives: forward, backward through the graph, and backward in closed form."""
    norm, gamma, beta = example.norm, np.array([GAMMA]), np.array([BETA])
    (_, cache, state), forward = recorded(norm.forward, _column(*X), gamma, beta, example.state, example.config)
    _, graph = recorded(norm.backward_graph, _column(*DZ), cache, state)
    _, closed = recorded(norm.backward, _column(*DZ), cache, state)
    found = [(step, _taken(forward, step)) for step in example.forward]
    found += [(step, _taken(graph, step)) for step in example.graph]
    return found + [(step, _taken(closed, step)) for step in example.closed]


def _taken(values: dict[str, list[Any]], step: Step) -> Any:
    return np.ravel(values[step.name][step.nth])


def recorded(function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, list[Any]]]:
    """What a function returns, and everything that it assigned to a name on the way, in order."""
    found: dict[str, list[Any]] = {}

    def look(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is not function.__code__:
            return None
        for name, value in frame.f_locals.items():
            if isinstance(value, np.ndarray) and not any(value is old for old in found.setdefault(name, [])):
                found[name].append(value)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        returned = function(*arguments)
    finally:
        sys.settrace(before)
    return returned, found


class ByHandDirective(SphinxDirective):
    """The table of one normaliser."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in EXAMPLES:
            raise self.error(f"nothing is by hand for {self.arguments[0]!r}, only for {', '.join(EXAMPLES)}")
        self.env.note_reread()  # the package that it computes with may have changed
        return self.parse_text_to_nodes("\n".join(table(EXAMPLES[self.arguments[0]])))


def table(example: Example) -> list[str]:
    """The table as reStructuredText."""
    given = (
        rf"Take :math:`x = ({_list(X)})`, so :math:`M = {len(X)}`, with :math:`\gamma = {GAMMA}`, "
        rf":math:`\beta = {BETA}` and :math:`\d{{L}}{{z}} = ({_list(DZ)})`. {example.given}"
        r":math:`\epsilon = 10^{-5}` can be left out on a calculator: it changes no last digit by more than one. "
        "Rounding on the way may cost another."
    )
    lines = [
        given,
        "",
        ".. list-table::",
        "   :class: by-hand",
        "   :header-rows: 1",
        "   :widths: 58 42",
        "",
        "   * - step, and its name in the code",
        "     - by hand",
    ]
    for step, values in numbers(example):
        shown = ", ".join(written(value) for value in values)
        lines += [f"   * - :math:`{step.tex}` ``{step.name}``", f"     - {shown}"]
    return lines


def written(value: float) -> str:
    """A number with four decimals, zero without a sign, and a true minus."""
    text = f"{value:.4f}"
    return "0.0000" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _list(values: tuple[float, ...]) -> str:
    return r",\; ".join(f"{value:g}" for value in values)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("by-hand", ByHandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
