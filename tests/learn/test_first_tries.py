"""What a class writes first: eleven wrong tries at exercises 3 and 4, each told what is wrong with it.

None is an edit that the exercises know by itself: there are several mistakes at once, or one found by regression.
"""

from __future__ import annotations

import pytest

from mabn_ref.learn.exercise import find, run_source
from mabn_ref.learn.judge import check_code
from mabn_ref.learn.report import Report

GRAPH, CLOSED = find("03_bn_backward_graph"), find("04_bn_backward")
DX = "(dy - g - y * psi) / sigma"
DSIGMA = "-np.sum(dy * centred, axis=axes) / sigma**2"
DVAR = "dsigma / (2 * sigma)"
SQUARES = "2 * centred * dvar / values"
CENTRING = "dcentred + dmu / values"
JOIN = "direct + through_var"


def judged(number: int, edits: dict[str, str], seeds: tuple[int, ...] = (0,)) -> Report:
    """The report on the solution with some of its pieces replaced."""
    exercise = (GRAPH, CLOSED)[number - 3]
    source = exercise.solution
    for old, new in edits.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return check_code(exercise, run_source(source, "tried"), seeds)


FOUR = {
    "len(dz) for M": (
        {
            "np.mean(dy, axis=axes)": "np.sum(dy, axis=axes) / len(dz)",
            "np.mean(y * dy, axis=axes)": "np.sum(y * dy, axis=axes) / len(dz)",
        },
        ["g and y * Psi are 10 times too large for a batch of shape (6, 2, 5, 3): divide by M = 60, the number of"],
    ),
    "means without axis": (
        {"np.mean(dy, axis=axes)": "np.mean(dy)", "np.mean(y * dy, axis=axes)": "np.mean(y * dy)"},
        ["Your g and y * Psi are averaged over the channels too, as np.mean does without axis"],
    ),
    "plus g": ({DX: "(dy + g - y * psi) / sigma"}, ["Your g has coefficient +1 in dx; it should be -1."]),
    "Psi alone is a sum": (
        {"np.mean(y * dy, axis=axes)": "np.sum(y * dy, axis=axes)"},
        ["Your y * Psi is 60 times too large for a batch of shape (6, 2, 5, 3): divide the sum by M."],
    ),
    "sums for the parameters, reused as means, gamma forgotten": (
        {DX: "(dy - dbeta - y * dgamma) / sigma"},
        [
            "Your g and y * Psi are computed from dz, without gamma",
            "Your g and y * Psi are 60 times too large for a batch of shape (6, 2, 5, 3)",
        ],
    ),
    "a wrong sign in front, the variance below": (
        {DX: "-(dy - g - y * psi) / sigma**2"},
        ["Your dx is divided by sigma squared; divide by sigma.", "Your dx has the wrong sign."],
    ),
}
THREE = {
    "three steps wrong": (
        {DSIGMA: DSIGMA[1:], DVAR: "dsigma / sigma", SQUARES: "2 * centred * dvar / len(centred)"},
        [
            "Your dsigma has the wrong sign",
            "Your dvar lacks a half",
            "Your squares_backward divides by the number of samples",
        ],
    ),
    "four wrong, the chain itself among them": (
        {
            "dz * y, axis=axes)": "dz * gamma, axis=axes)",
            DSIGMA: "-np.sum(dy * centred, axis=axes) / sigma",
            SQUARES: "2 * centred * dvar",
            JOIN: "direct",
        },
        [
            "Your dgamma has gamma in it",
            "Your dsigma divides by sigma once",
            "Your squares_backward does not divide by M",
            "Your backward drops what comes through the variance",
        ],
    ),
    "the derivative of 1 / sigma, as other notes have it": (
        {DVAR: "-0.5 * dsigma * sigma**-3"},
        ["Your dvar is divided by sigma^2 once too often", "Your dvar has the wrong sign."],
    ),
    "len(dcentred) for M": (
        {CENTRING: "dcentred + dmu / len(dcentred)"},
        ["Your mean of dcentred is 10 times too large for a batch of shape (6, 2, 5, 3): divide by M = 60"],
    ),
    "a mean without axis, and a step that nobody knows": (
        {CENTRING: "dcentred - np.mean(dcentred)", "return dz * gamma, dgamma": "return np.tanh(dz), dgamma"},
        ["Your mean of dcentred is averaged over the channels too"],
    ),
}


@pytest.mark.parametrize(
    ("number", "edits", "sentences"),
    [
        *(pytest.param(4, *FOUR[name], id=f"4: {name}") for name in FOUR),
        *(pytest.param(3, *THREE[name], id=f"3: {name}") for name in THREE),
    ],
)
def test_a_first_try_is_told_what_is_wrong(number: int, edits: dict[str, str], sentences: list[str]) -> None:
    report = judged(number, edits)
    assert not report.passed
    assert len(report.sentences) == len(sentences), report.sentences
    for sentence in sentences:
        assert any(sentence in said for said in report.sentences), report.sentences


def test_there_are_eleven() -> None:
    assert len(FOUR) + len(THREE) == 11


def test_a_try_that_is_no_sum_of_the_parts_is_told_nothing_of_them() -> None:
    for dx in (
        "np.tanh(dy - g - y * psi) / sigma",
        "(dy - g - y**2 * psi) / sigma",
        "(dy - g - y * psi) / sigma**1.5",
    ):
        report = judged(4, {DX: dx})
        assert not report.sentences
        assert "dx is not the derivative of forward" in report.parts[0].message


def test_nearly_a_sum_of_the_parts_is_not_one() -> None:
    """The fit is exact to rounding or it is not told: a ten-millionth beside it is too much."""
    assert judged(4, {DX: "(dy + g - y * psi) / sigma"}).sentences
    assert not judged(4, {DX: "(dy + g - y * psi + 1e-7 * y**2) / sigma"}).sentences


def test_a_sentence_holds_on_fresh_cases() -> None:
    for edits, _ in FOUR.values():
        assert judged(4, edits).sentences == judged(4, edits, seeds=(17, 18)).sentences


@pytest.mark.parametrize("name", ["12_brn_backward", "13_modified_bn", "16_mabn_backward"])
@pytest.mark.parametrize(("a", "b", "c"), [(1, 0, 1), (-1, 0, -1), (1, 1, -2), (2, -1, 0), (1, 0.5, -1)])
def test_coefficients_of_other_backward_passes(name: str, a: float, b: float, c: float) -> None:
    """Whatever multiples of dy, g and y * Psi are added up, the sentences say which are wrong."""
    exercise = find(name)
    chi = "sigma" if name.startswith("12") else "chi"
    new = f"({a} * dy + {b} * np.mean(dy, axis=axes) + {c} * y * psi) / {chi}"
    line = next(line for line in exercise.solution.splitlines() if line.strip().startswith("dx = "))
    report = check_code(exercise, run_source(exercise.solution.replace(line, f"    dx = {new}"), "tried"))
    right = {"dy": 1, "g": -1 if chi == "sigma" else 0, "y * Psi": -1}
    wrong = [term for term, k in zip(right, (a, b, c), strict=True) if k != right[term]]
    said = " ".join(report.sentences)
    if report.mistakes or all(k == -right[term] for term, k in zip(right, (a, b, c), strict=True)):
        assert said
        return
    assert len(report.sentences) == len(wrong)
    for term, k in zip(right, (a, b, c), strict=True):
        named = f"Your {term} has coefficient {k:+g}" in said or f"has no {term} in it" in said
        named = named or f"has {term} in it, with coefficient {k:+g}" in said
        assert named is (term in wrong), said


LATER = {
    "08_micro_batches": (
        "u - g - y * psi",
        "u - 2 * g - y * psi",
        "Your g has coefficient -2 in dx; it should be -1.",
    ),
    "17_mabn_warmup": ("dy - y * psi", "dy - 2 * y * psi", "Your y * Psi has coefficient -2 in dx; it should be -1."),
    "18_adjoint": (
        "u / chi[:, None] - x * felt[:, None]",
        "u / chi[:, None] + 3 * x * felt[:, None]",
        "Your x times the mean of Psi / chi^2 has coefficient +3 in all_calls; it should be -1.",
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_a_wrong_coefficient_in_a_later_exercise(name: str) -> None:
    exercise, (old, new, said) = find(name), LATER[name]
    assert exercise.solution.count(old) == 1
    report = check_code(exercise, run_source(exercise.solution.replace(old, new), "tried"))
    assert report.sentences == (said,)


@pytest.mark.parametrize(
    ("summed", "by"),
    [
        ("mean(1).sum(0)", "M, the number of values in a normalisation batch"),
        ("mean((0, 1))", "G * M, the number of values in the whole call"),
        ("sum((0, 1)) / len(dz)", "N, the number of samples"),
        ("sum((0, 1)) / (len(dz) // len(y))", "norm_batch"),
    ],
)
def test_what_the_parameters_of_micro_batches_are_divided_by(summed: str, by: str) -> None:
    exercise = find("micro_batches")
    source = exercise.solution.replace("np.sum(dz.reshape(y.shape) * y, axis=(0, 1))", f"(d * y).{summed}")
    source = source.replace("np.sum(dz.reshape(y.shape), axis=(0, 1))", f"d.{summed}")
    source = source.replace("    dgamma =", "    d = dz.reshape(y.shape)\n    dgamma =")
    why = "every value of a channel used the parameter, so its gradient is a sum"
    assert check_code(exercise, run_source(source, "tried")).sentences == tuple(
        f"Your {name} is divided by {by}; {why}." for name in ("dgamma", "dbeta")
    )


def test_what_the_batch_hides_is_not_told() -> None:
    """A g of the samples alone is told only of images: of (N, C) it is right."""
    report = judged(4, {"np.mean(dy, axis=axes)": "np.mean(dy, axis=0)"})
    assert report.sentences == ("Your g is averaged only over the samples; average over all axes but the last.",)


def test_nothing_is_read_off_numbers_of_another_form() -> None:
    for dx in ("(dy + g - y * psi).astype(np.float32) / sigma", "np.nan * dy", "0 * dy", "(dy + g)[0]"):
        assert not judged(4, {DX: dx}).sentences
