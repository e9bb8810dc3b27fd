"""Wrong codes at random: a solution in which one expression is another, in a way that no known mistake has it."""

from __future__ import annotations

import ast
import copy
from typing import Any

import numpy as np

WRAPPED = (
    "({e}) * (1 + {d})",
    "({e}) + {d}",
    "({e}) * ({e}) * {d}",
    "np.tanh({e})",
    "np.cbrt({e})",
    "np.roll({e}, 1, axis=0)",
    "np.sort({e}, axis=0)",
    "({e})[::-1]",
    "np.where(({e}) > {d}, {e}, {d})",
)


def mutant(source: str, rng: np.random.Generator) -> str:
    """The source with one random expression of one function wrapped."""
    tree = ast.parse(source)
    places = [
        (parent, field, index)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for statement in function.body
        for parent in ast.walk(statement)
        for field, index, node in _children(parent)
        if isinstance(node, ast.BinOp | ast.Call | ast.Name)
        and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    ]
    parent, field, index = places[rng.integers(len(places))]
    node = getattr(parent, field) if index is None else getattr(parent, field)[index]
    change = round(float(rng.choice([-1, 1]) * rng.uniform(0.02, 0.4)), 6)
    text = WRAPPED[rng.integers(len(WRAPPED))].format(e=ast.unparse(node), d=change)
    new = ast.parse(text, mode="eval").body
    if index is None:
        setattr(parent, field, copy.deepcopy(new))
    else:
        getattr(parent, field)[index] = copy.deepcopy(new)
    return ast.unparse(ast.fix_missing_locations(tree))


def _children(parent: ast.AST) -> list[tuple[str, int | None, Any]]:
    found: list[tuple[str, int | None, Any]] = []
    for field, value in ast.iter_fields(parent):
        if isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Call) and field == "func"):
            continue
        if isinstance(value, list):
            found += [(field, i, item) for i, item in enumerate(value)]
        else:
            found.append((field, None, value))
    return found
