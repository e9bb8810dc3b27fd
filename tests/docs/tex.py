"""A parser for the part of TeX that the pages use: it knows few commands, and says what it does not accept."""

from __future__ import annotations

import re

_ACCENTS = "bar hat tilde mathbf mathbb mathcal mathrm text operatorname sqrt substack boxed"
_GREEK = (
    "alpha beta gamma delta epsilon eta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega ell Psi Phi Sigma"
)
_SIGNS = (
    "sum prod int partial infty nabla cdot odot times langle rangle lfloor rfloor lceil rceil top le ge ne approx to "
    "equiv in"
)
_DOTS = "dots cdots ldots vdots ddots quad qquad blacksquare Rightarrow leftarrow rightarrow mathbin pm mid sim ast"
_NAMES = "max min log exp sup inf cos sin tanh lim det displaystyle tfrac bigl bigr Bigl Bigr big Big bigg Bigg"
_OURS = "E Var Cov clip R"

ARITY = (
    dict.fromkeys(_ACCENTS.split(), 1)
    | dict.fromkeys(f"{_GREEK} {_SIGNS} {_DOTS} {_NAMES} {_OURS}".split(), 0)
    | {"frac": 2, "tfrac": 2, "d": 2}
)
"""Commands and how many arguments each takes. Others are refused: add one when it has been seen to render."""

ENVIRONMENTS = {"aligned", "cases", "gathered", "pmatrix", "split"}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[^\\\s]", re.DOTALL)
_TEXT = re.compile(r"\\(text|operatorname|mathrm)\s*\{([^{}]*)\}")


class TexError(ValueError):
    """What is wrong with a formula."""


def check(formula: str) -> None:
    """Raise a `TexError` unless the formula is balanced and every command is known and has its arguments."""
    # Words in a formula may hold any character, and are not parsed.
    tokens = _TOKEN.findall(_TEXT.sub(r"\\\1{x}", formula))
    end = _sequence(tokens, 0, until=None)
    if end != len(tokens):
        raise TexError(f"{tokens[end]} without its beginning")


def _sequence(tokens: list[str], at: int, until: str | None) -> int:
    """Go over tokens up to `until`, and return where that stands."""
    while at < len(tokens):
        token = tokens[at]
        if token == until or token in ("}", r"\right", r"\end"):
            break
        at = _item(tokens, at)
    if until is not None and (at == len(tokens) or tokens[at] != until):
        raise TexError(f"{until} is missing")
    return at


def _item(tokens: list[str], at: int) -> int:
    """Go over one symbol, group, environment or command with its arguments."""
    if at == len(tokens):
        raise TexError("the formula ends where an argument should be")
    token = tokens[at]
    if token == "{":
        return _sequence(tokens, at + 1, "}") + 1
    if token in ("_", "^"):
        return _argument(tokens, at + 1, token)
    if token == r"\left":
        return _sequence(tokens, at + 2, r"\right") + 2
    if token == r"\begin":
        name, at = _name(tokens, at + 1)
        end = _sequence(tokens, at, r"\end")
        closed, at = _name(tokens, end + 1)
        if name != closed or name not in ENVIRONMENTS:
            raise TexError(f"environment {name} ended as {closed}")
        return at
    if re.fullmatch(r"\\[A-Za-z]+", token):
        if token[1:] not in ARITY:
            raise TexError(f"unknown command {token}")
        at += 1
        for _ in range(ARITY[token[1:]]):
            at = _argument(tokens, at, token)
        return at
    return at + 1


def _argument(tokens: list[str], at: int, of: str) -> int:
    if at == len(tokens) or tokens[at] in ("}", "&", r"\\", "_", "^", r"\right", r"\end"):
        raise TexError(f"{of} without its argument")
    return _item(tokens, at)


def _name(tokens: list[str], at: int) -> tuple[str, int]:
    end = _sequence(tokens, at + 1, "}") if at < len(tokens) and tokens[at] == "{" else at
    return "".join(tokens[at + 1 : end]), end + 1
