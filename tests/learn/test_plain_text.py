"""Statements as text: no LaTeX is left in any of them, and what a formula says is still said."""

from __future__ import annotations

import re

import pytest

from mabn_ref.learn.exercise import Exercise, course
from mabn_ref.learn.plain_text import as_text, unicode_maths

EXERCISES = [pytest.param(exercise, id=exercise.name) for exercise in course()]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_latex_is_left(exercise: Exercise) -> None:
    for text in (exercise.statement, *exercise.hints):
        shown = as_text(text, 72)
        assert "\\" not in shown
        assert "$" not in shown
        assert not re.search(r"\w\{", shown.partition(">>>")[0])
        assert "\u00a0" not in shown


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("width", [60, 100])
def test_it_is_as_wide_as_the_terminal(exercise: Exercise, width: int) -> None:
    code = (">>>", "...", "[")
    lines = [line for line in as_text(exercise.statement, width).splitlines() if not line.strip().startswith(code)]
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_word_is_lost(exercise: Exercise) -> None:
    shown = as_text(exercise.statement, 60).split()
    for word in exercise.statement.partition("```")[0].split():
        if word.isalpha() and len(word) > 3:
            assert word in shown


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\frac{\partial L}{\partial x_b}", "∂L/∂x_b"),
        (r"\frac{x_b - \mu}{\sqrt{v + \epsilon}}", "(x_b - μ)/√(v + ε)"),
        (r"\frac{y_{tb} \Psi_t}{m}", "(y_tb Ψ_t)/m"),
        (r"\frac1M \sum_{b=1}^M x_b", "1/M Σ[b = 1 … M] x_b"),
        (r"\hat\mu_{t-1}", "μ̂_(t-1)"),
        (r"\chi_{t+k}^2", "χ_(t+k)²"),
        (r"M^{-1/2}", "M^(-1/2)"),
        (r"r_{\max} = 1", "r_max = 1"),
        (r"\mathrm{clip}_{[-d_{\max},\, d_{\max}]}", "clip[-d_max, d_max]"),
        (r"\begin{cases} 1 & t < T_w \\ r & t \ge T_w \end{cases}", "1 if t < T_w, r if t ≥ T_w"),
        (r"a, \qquad b", "a,\nb"),
    ],
)
def test_formulas(tex: str, shown: str) -> None:
    assert unicode_maths(tex) == shown


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown command \\int in a formula"):
        unicode_maths(r"\int x")
