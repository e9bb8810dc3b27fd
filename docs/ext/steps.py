"""The steps of five normalisers as the nodes and arrows of their computation graphs: what ``graphs`` draws.

A node has the name that it has in the code, and leads to its equation, to the line of ``forward`` that assigns it and
to the function of the course that steps back over it. An arrow runs from what a step takes to the step. It has the
local derivative, by which what comes back is multiplied, and the line of the backward pass that does so.
`broken` says which of these places do not exist.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import scan

COURSE = "mabn_ref/learn/course"


class Node(NamedTuple):
    """A box of a drawing."""

    name: str
    """As in the code."""
    formula: str
    column: float
    row: float
    label: str
    """Its equation."""
    line: str = ""
    """What the line of ``forward`` assigns; "" for an input."""
    exercise: str = ""
    """The function of the course that computes it or steps back over it: ``03_bn_backward_graph.root_backward``."""
    kind: str = "value"
    """``value``, ``memory`` (what outlives the call), ``gone`` (left out of this normaliser), ``parameter``."""
    gradient: str = ""
    """What the backward pass calls its gradient, where that is not d and the name."""

    @property
    def arriving(self) -> str:
        """The name of its gradient."""
        return self.gradient or f"d{self.name}"


class Arrow(NamedTuple):
    """An arrow of a drawing, forward and, where it has a local derivative, backward."""

    start: str
    end: str
    local: str = ""
    """The local derivative; "" where nothing goes back."""
    line: str = ""
    """What the line of the backward pass assigns that multiplies by it."""
    nth: int = 0
    """Which of the lines that assign it."""
    kind: str = "both"
    """``both``, ``forward`` (constants), ``cut`` (scissors), ``back`` (backward only), ``next`` (next batch)."""
    via: tuple[tuple[float, float], ...] = ()
    """Columns and rows that it passes."""
    back_via: tuple[tuple[float, float], ...] = ()
    """The same of the way back, where that is another."""
    label_at: float = 0.5
    """How far along the way back the local derivative is written."""
    aside: float = 0.0
    """By how much the line is moved to its left."""


class Graph(NamedTuple):
    """One drawing."""

    title: str
    text: str
    """What it shows, in words."""
    module: str
    backward: str
    """The function that walks it backward."""
    label: str
    """The equation that lists the steps of backward."""
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]

    def node(self, name: str) -> Node:
        """The node of this name."""
        return next(node for node in self.nodes if node.name == name)

    def into(self, name: str) -> list[Arrow]:
        """The arrows that end in a node."""
        return [arrow for arrow in self.arrows if arrow.end == name]

    def out_of(self, name: str) -> list[Arrow]:
        """The arrows that start in a node."""
        return [arrow for arrow in self.arrows if arrow.start == name]


_COURSE_3 = "03_bn_backward_graph."
_AFFINE = (
    Node("gamma", "learned", 1, 6, "affine", kind="parameter"),
    Node("beta", "learned", 1, 6.95, "affine", kind="parameter"),
)
_INTO_Z = (
    Arrow("gamma", "z", "y", "dgamma"),
    Arrow("beta", "z", "1", "dbeta"),
)

BATCH_NORM = Graph(
    "Batch normalisation as a graph",
    "From x a mean mu is taken and subtracted, which gives centred; the mean of its squares is var, its root sigma; "
    "centred divided by sigma is y, and z is gamma times y plus beta. Against every arrow forward runs one backward.",
    "batch_norm",
    "backward_graph",
    "bn-graph",
    (
        Node("x", "input", 0, 0, "bn-statistics"),
        Node("mu", "mean of x", 1, 1, "bn-statistics", "mu", _COURSE_3 + "centring_backward"),
        Node("centred", "x − mu", 0, 2, "bn-statistics", "centred", _COURSE_3 + "centring_backward"),
        Node("var", "mean of centred²", 1, 3, "bn-statistics", "var", _COURSE_3 + "squares_backward"),
        Node("sigma", "√(var + eps)", 1, 4, "bn-normalise", "sigma", _COURSE_3 + "root_backward"),
        Node("y", "centred / sigma", 0, 5, "bn-normalise", "y", _COURSE_3 + "division_backward"),
        Node("z", "gamma · y + beta", 0, 6, "affine", "z", _COURSE_3 + "affine_backward"),
        *_AFFINE,
    ),
    (
        Arrow("x", "mu", "1/M", "dx"),
        Arrow("x", "centred", "1", "dx"),
        Arrow("mu", "centred", "−1", "dmu"),
        Arrow("centred", "var", "2 centred / M", "dcentred", 1),
        Arrow("var", "sigma", "1 / (2 sigma)", "dvar"),
        Arrow("centred", "y", "1 / sigma", "dcentred"),
        Arrow("sigma", "y", "−centred/sigma²", "dsigma"),
        Arrow("y", "z", "gamma", "dy"),
        *_INTO_Z,
    ),
)

MODIFIED = Graph(
    "Modified batch normalisation as a graph",
    "The nodes mu and centred of batch normalisation are gone. The mean of the squares of x is chi2, its root chi; "
    "x divided by chi is y, and z is gamma times y plus beta.",
    "modified_batch_norm",
    "backward_graph",
    "modified-graph",
    (
        Node("x", "input", 0, 0, "modified-statistics"),
        Node("mu", "", 1, 1, "bn-statistics", kind="gone"),
        Node("centred", "", 0, 2, "bn-statistics", kind="gone"),
        Node("chi2", "mean of x²", 1, 3, "modified-statistics", "chi2", "13_modified_bn.forward"),
        Node("chi", "√(chi2 + eps)", 1, 4, "modified-normalise", "chi", "13_modified_bn.forward"),
        Node("y", "x / chi", 0, 5, "modified-normalise", "y", "13_modified_bn.backward"),
        Node("z", "gamma · y + beta", 0, 6, "affine", "z", "13_modified_bn.backward"),
        *_AFFINE,
    ),
    (
        Arrow("x", "chi2", "2 x / M", "dx", 1, label_at=0.35),
        Arrow("chi2", "chi", "1 / (2 chi)", "dchi2"),
        Arrow("x", "y", "1 / chi", "dx"),
        Arrow("chi", "y", "−x / chi²", "dchi"),
        Arrow("y", "z", "gamma", "dy"),
        *_INTO_Z,
    ),
)

_COURSE_12 = "12_brn_backward.backward"
BATCH_RENORM = Graph(
    "Batch Renormalization as a graph",
    "The graph of batch normalisation, and two nodes more: r is sigma over the moving sigma, d is mu less the moving "
    "mean, over the moving sigma, and z is gamma times r y plus d, plus beta. The arrows into r and d are cut: "
    "nothing comes back through them.",
    "batch_renorm",
    "backward_graph",
    "brn-graph",
    (
        Node("x", "input", 0, 0, "bn-statistics"),
        Node("mu", "mean of x", 1, 1, "bn-statistics", "mu", _COURSE_3 + "centring_backward"),
        Node("centred", "x − mu", 0, 2, "bn-statistics", "centred", _COURSE_3 + "centring_backward"),
        Node("var", "mean of c²", 1, 3, "bn-statistics", "var", _COURSE_3 + "squares_backward"),
        Node("sigma", "√(var + eps)", 1, 4, "bn-normalise", "sigma", _COURSE_3 + "root_backward"),
        Node("y", "c / sigma", 0, 5, "bn-normalise", "y", _COURSE_3 + "division_backward"),
        Node("moving", "mean, sigma", 2, 3.05, "ema-forward", "moving_mu", "11_brn_forward.forward", "memory"),
        Node("d", "clipped", 2, 1.8, "brn-corrections", "d", "11_brn_forward.forward"),
        Node("r", "clipped", 2, 4.9, "brn-corrections", "r", "11_brn_forward.forward"),
        Node("z", "γ(r y+d)+β", 0, 6.5, "brn-forward", "z", _COURSE_12),
        Node("gamma", "learned", 1.3, 6.45, "brn-forward", kind="parameter"),
        Node("beta", "learned", 1.3, 7.5, "brn-forward", kind="parameter"),
    ),
    (
        Arrow("x", "mu", "1/M", "dx"),
        Arrow("x", "centred", "1", "dx"),
        Arrow("mu", "centred", "−1", "dmu"),
        Arrow("centred", "var", "2 c / M", "dcentred", 1),
        Arrow("var", "sigma", "1/(2σ)", "dvar"),
        Arrow("centred", "y", "1/sigma", "dcentred"),
        Arrow("mu", "d", kind="cut"),
        Arrow("moving", "d", kind="forward"),
        Arrow("mu", "moving", kind="next", via=((1.5, 1.7),)),
        Arrow("sigma", "moving", kind="next"),
        Arrow("sigma", "r", kind="cut"),
        Arrow("sigma", "y", "−c/σ²", "dsigma"),
        Arrow("moving", "r", kind="forward"),
        Arrow("d", "z", kind="forward", via=((2.42, 1.8), (2.42, 5.75), (0.8, 5.75))),
        Arrow("r", "z", kind="forward", via=((0.8, 5.35),)),
        Arrow("y", "z", "γ r", "dy"),
        Arrow("gamma", "z", "r y + d", "dgamma"),
        Arrow("beta", "z", "1", "dbeta"),
    ),
)

_COURSE_15, _COURSE_16 = "15_mabn_forward.forward", "16_mabn_backward.backward"
MABN = Graph(
    "MABN as a graph, with its two memories",
    "The graph of modified batch normalisation with a memory on each way. Forward, the batch's chi2 goes into a "
    "window of the last m and the mean of the window comes out. Backward, the batch's Psi goes into a window of the "
    "last m and the mean comes out. The factor r is chi over its exponential average; the arrow into r is cut: "
    "nothing comes back through it.",
    "mabn",
    "backward_graph",
    "mabn-graph",
    (
        Node("x", "input", 0, 0, "modified-statistics"),
        Node("chi2", "mean of x²", 1, 0.75, "modified-statistics", "chi2_batch", _COURSE_15),
        Node("chi2_window", "mean of last m", 1, 1.9, "sma-backward", "average", _COURSE_15, "memory"),
        Node("chi", "√(mean + eps)", 1, 3.05, "mabn-forward", "chi", _COURSE_15, gradient="dlog_chi"),
        Node("psi_window", "mean of last m", 1, 4.3, "sma-backward", "", _COURSE_16, "memory", "ell"),
        Node("moving", "EMA of chi2", 2, 1.9, "ema-forward", "before", _COURSE_15, "memory"),
        Node("r", "clipped", 2, 4.3, "mabn-renormalise", "r", _COURSE_15),
        Node("y", "x / chi", 0, 4.3, "mabn-forward", "y", _COURSE_16),
        Node("z", "γ r y + β", 0, 5.7, "mabn-forward", "z", _COURSE_16),
        Node("gamma", "learned", 1.25, 5.7, "mabn-affine-backward", kind="parameter"),
        Node("beta", "learned", 1.25, 6.65, "affine-backward", kind="parameter"),
    ),
    (
        Arrow("x", "chi2", "2 x / M", "dx", 1),
        Arrow("chi2", "chi2_window", kind="forward"),
        Arrow("chi2_window", "chi", kind="forward"),
        Arrow("chi2", "chi", "1/(2 chi²)", "dchi2", kind="back", back_via=((1.52, 2.85), (1.52, 0.9)), label_at=0.22),
        Arrow("chi2", "moving", kind="next", via=((2, 0.75),)),
        Arrow("moving", "r", kind="forward", aside=20),
        Arrow("chi", "r", kind="cut"),
        Arrow("x", "y", "1 / chi", "dx"),
        Arrow("chi", "y", kind="forward"),
        Arrow("psi_window", "y", "−y", "dlog_chi", kind="back"),
        Arrow("chi", "psi_window", "mean", "ell_average", kind="back"),
        Arrow("r", "z", kind="forward"),
        Arrow("y", "z", "γ r", "dy"),
        Arrow("gamma", "z", "r y", "dgamma"),
        Arrow("beta", "z", "1", "dbeta"),
    ),
)

ONLINE_NORM = Graph(
    "Online Normalization as a graph",
    "Forward, a sample is centred and divided by a mean and a variance that earlier samples have left in memory; "
    "then the sample is taken in for the next one. Backward goes straight from z to y to x, and on the way two "
    "memories are subtracted: v along y, and u along the constant. Nothing comes back from mean and variance.",
    "online_norm",
    "backward",
    "online-backward",
    (
        Node("x", "one sample", 0, 0, "online-normalise"),
        Node("mean", "of earlier samples", 1, 1.4, "online-mean", "moving_mu", kind="memory"),
        Node("var", "of earlier samples", 1, 2.35, "online-variance", "moving_var", kind="memory"),
        Node("sigma", "√(var + eps)", 1, 3.25, "online-normalise", "sigma"),
        Node("u", "mean let through", 1, 0.3, "online-control-u", kind="memory"),
        Node("y", "(x − mean)/sigma", 0, 3.8, "online-normalise", "y"),
        Node("v", "let through along y", 1, 4.4, "online-control-v", kind="memory"),
        Node("z", "γ y + β, scaled", 0, 5.4, "layer-scaling"),
        Node("gamma", "learned", 1, 5.5, "affine", kind="parameter"),
        Node("beta", "learned", 1, 6.45, "affine", kind="parameter"),
    ),
    (
        Arrow("x", "mean", kind="next"),
        Arrow("x", "var", kind="next", via=((0.5, 1.0), (0.5, 2.35))),
        Arrow("mean", "y", kind="forward", via=((0.6, 2.0), (0.6, 2.6))),
        Arrow("var", "sigma", kind="forward"),
        Arrow("sigma", "y", kind="forward"),
        Arrow("x", "y", "1 / sigma", "dx"),
        Arrow("y", "z", "gamma", "dy"),
        Arrow("x", "u", "− κ u", "dx", kind="back"),
        Arrow("y", "v", "− κ v y", "dy", kind="back"),
        Arrow("gamma", "z", "y", "dgamma"),
        Arrow("beta", "z", "1", "dbeta"),
    ),
)

GRAPHS = {
    "batch_norm": BATCH_NORM,
    "modified_batch_norm": MODIFIED,
    "batch_renorm": BATCH_RENORM,
    "mabn": MABN,
    "online_norm": ONLINE_NORM,
}


def forward_place(graph: Graph, node: Node, root: Path) -> scan.Place | None:
    """The line of ``forward`` that assigns a node."""
    found = _assigning(graph, "forward", node.line, root)
    return found[0] if found else None


def backward_place(graph: Graph, arrow: Arrow, root: Path) -> scan.Place | None:
    """The line of the backward pass that multiplies by an arrow's local derivative."""
    found = _assigning(graph, graph.backward, arrow.line, root)
    return found[arrow.nth] if arrow.nth < len(found) else None


def _assigning(graph: Graph, function: str, name: str, root: Path) -> list[scan.Place]:
    path = f"mabn_ref/norms/{graph.module}.py"
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    return [
        place
        for place in scan.code(root, path)
        if place.name == function and name in re.split(r"[,\s]+", lines[place.line - 1].partition("=")[0].strip())
    ]


def broken(graph: Graph, labels: set[str], root: Path) -> list[str]:
    """What a drawing names and what does not exist: equations, lines of code, functions of the course."""
    found = [f"{graph.module}: no equation {graph.label}"] if graph.label not in labels else []
    names = [node.name for node in graph.nodes]
    for node in graph.nodes:
        if node.label not in labels:
            found.append(f"{graph.module}.{node.name}: no equation {node.label}")
        if node.line and forward_place(graph, node, root) is None:
            found.append(f"{graph.module}.{node.name}: no line of forward with an equation assigns {node.line}")
        folder, _, function = node.exercise.partition(".")
        if folder and function not in _functions(root / COURSE / folder / "solution.py"):
            found.append(f"{graph.module}.{node.name}: no exercise {node.exercise}")
    for arrow in graph.arrows:
        found += [f"{graph.module}: no node {name}" for name in arrow[:2] if name not in names]
        if arrow.line and backward_place(graph, arrow, root) is None:
            where = f"{graph.module}: {arrow.start} to {arrow.end}"
            found.append(f"{where}: no line of {graph.backward} with an equation assigns {arrow.line}")
    return found


def _functions(solution: Path) -> set[str]:
    if not solution.exists():
        return set()
    tree = ast.parse(solution.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
