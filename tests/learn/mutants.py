"""Wrong codes at random: a solution in which an expression or a statement, or two of them, are others."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

_WRAPPED = (
    "({e}) * (1 + CHANGE)",
    "({e}) + CHANGE",
    "({e}) * ({e}) * CHANGE",
    "-({e})",
    "np.abs({e})",
    "np.tanh({e})",
    "np.cbrt({e})",
    "np.roll({e}, 1, axis=0)",
    "np.sort({e}, axis=0)",
    "({e})[::-1]",
    "np.where(({e}) > CHANGE, {e}, CHANGE)",
)
_AXES = ("0", "1", "-1", "-2", "None", "(0, 1)")
_NUMBERS = ("0", "1", "2", "-1", "3", "0.5", "CHANGE")
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class Place(NamedTuple):
    """Where an expression or a statement stands in the tree."""

    parent: ast.AST
    field: str
    index: int | None
    node: Any

    def put(self, node: ast.AST) -> None:
        """Put another one there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(source: str, rng: np.random.Generator) -> Iterator[str]:
    """Distinct sources, one change in each or, in every third, two; distinct means that more than a number differs.

    It ends once new ones have become rare.
    """
    seen = {ast.unparse(ast.parse(source))}
    misses = 0
    while misses < 500:
        tree = ast.parse(source)
        for _ in range(1 + (rng.random() < 1 / 3)):
            _change(tree, rng)
        text = ast.unparse(ast.fix_missing_locations(tree))
        misses = misses + 1 if text in seen else 0
        if not misses:
            seen.add(text)
            number = rng.choice([-1, 1]) * rng.uniform(0.02, 0.4)
            yield text.replace("CHANGE", f"({number:.6f})")


def _change(tree: ast.Module, rng: np.random.Generator) -> None:
    """Change the tree at a random place of one of its functions, in one of the ways that fit there."""
    places = [(place, ways) for place in _places(tree) if (ways := _ways(place))]
    place, ways = places[rng.integers(len(places))]
    place.put(_one_of(ways, rng)(place.node, rng))


def _places(tree: ast.Module) -> Iterator[Place]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for parent in (node for function in functions for part in function.body for node in ast.walk(part)):
        yield from _children(parent)
    for function in functions:
        yield from (Place(function, "body", k, node) for k, node in enumerate(function.body))


def _children(parent: ast.AST) -> Iterator[Place]:
    for field, value in ast.iter_fields(parent):
        if isinstance(parent, ast.Attribute | ast.FunctionDef) or (isinstance(parent, ast.Call) and field == "func"):
            continue  # the name of a method stays
        if isinstance(value, list):
            yield from (Place(parent, field, k, item) for k, item in enumerate(value))
        else:
            yield Place(parent, field, None, value)


_Way = Callable[[Any, np.random.Generator], ast.AST]


def _ways(place: Place) -> list[_Way]:
    """How what stands at a place can be another; none where it is no expression or statement of interest."""
    node = place.node
    if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return []
    if isinstance(node, ast.keyword):
        return [_other_axis] if node.arg in ("axis", "keepdims") else []
    ways: list[_Way] = []
    if isinstance(node, ast.BinOp | ast.Call | ast.Name):
        ways += [_wrapped, _wrapped]
    if isinstance(node, ast.BinOp):
        ways += [_swapped, _other_operator, lambda node, rng: node.left, lambda node, rng: node.right]
    if isinstance(node, ast.Call) and node.args:
        ways += [lambda node, rng: node.args[0], _swapped_arguments]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        ways += [_other_number]
    if isinstance(node, ast.UnaryOp):
        ways += [lambda node, rng: node.operand]
    if isinstance(node, ast.Compare | ast.BoolOp):
        ways += [_other_comparison]
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not isinstance(node.value, ast.Constant):
        ways += [lambda node, rng: ast.Pass()]
    return ways


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _one_of(values: Any, rng: np.random.Generator) -> Any:
    return values[rng.integers(len(values))]


def _wrapped(node: ast.expr, rng: np.random.Generator) -> ast.AST:
    return _expression(_one_of(_WRAPPED, rng).format(e=ast.unparse(node)))


def _swapped(node: ast.BinOp, rng: np.random.Generator) -> ast.AST:
    return ast.BinOp(node.right, node.op, node.left)


def _other_operator(node: ast.BinOp, rng: np.random.Generator) -> ast.AST:
    return ast.BinOp(node.left, _one_of(_OPERATORS, rng)(), node.right)


def _swapped_arguments(node: ast.Call, rng: np.random.Generator) -> ast.AST:
    return ast.Call(node.func, node.args[::-1], node.keywords)


def _other_axis(node: ast.keyword, rng: np.random.Generator) -> ast.AST:
    values = _AXES if node.arg == "axis" else ("True", "False")
    return ast.keyword(node.arg, _expression(_one_of(values, rng)))


def _other_number(node: ast.Constant, rng: np.random.Generator) -> ast.AST:
    return _expression(_one_of(_NUMBERS, rng))


def _other_comparison(node: ast.Compare | ast.BoolOp, rng: np.random.Generator) -> ast.AST:
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    return ast.Compare(node.left, [_one_of(_COMPARISONS, rng)(), *node.ops[1:]], node.comparators)
