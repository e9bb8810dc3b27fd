"""The verdict: points for parts, the mistake before the generic message, the axis that is wrong."""

from __future__ import annotations

import warnings
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mabn_ref.learn import notebook
from mabn_ref.learn.checking import Check, Malformed, close
from mabn_ref.learn.exercise import Exercise, find, run_source
from mabn_ref.learn.gradebook import student_report
from mabn_ref.learn.judge import _fault, _known_on, _seen, check_code, check_source
from mabn_ref.learn.judges import Judges, grade_one
from mabn_ref.learn.process import Limits
from mabn_ref.learn.result_form import form_fault, same
from mabn_ref.learn.terminal import Style, verdict
from tests.learn.clock import Clock
from tests.signals import HUNG

BACKWARD = find("04_bn_backward")


def test_partial_credit() -> None:
    source = BACKWARD.solution.replace("return dx, dgamma, dbeta", "return np.cos(dx), dgamma, dbeta + 1")
    report = check_source(BACKWARD, source)
    assert {part.name: part.ok for part in report.parts} == {"dx": False, "dgamma": True, "dbeta": False}
    assert (report.points, report.passed, report.sentences) == (1, False, ())
    assert report.summary == f"dx: {report.parts[0].message}"
    assert report.summary.startswith("dx: dx is not the derivative of forward: at ")


STATES, RENORM, MABN = find("05_running_statistics"), find("11_brn_forward"), find("15_mabn_forward")
RENORM_RESULT, MABN_RESULT = (
    next(line.strip() for line in exercise.solution.splitlines() if line.startswith("    return z, Cache"))
    for exercise in (RENORM, MABN)
)


@pytest.mark.parametrize(
    ("exercise", "line", "instead", "missing"),
    [
        (STATES, "State(mean, decay * state.var + (1 - decay) * var)", "State(mean, None)", {"var"}),
        (STATES, "State(mean, decay * state.var + (1 - decay) * var)", "None", {"mean", "var"}),
        (RENORM, RENORM_RESULT, "return z, None, State(mean_after, sigma_after)", {"r", "d", "cache"}),
        (MABN, MABN_RESULT, "return z, None, State(chi2, held)", {"chi", "r", "cache"}),
        (MABN, MABN_RESULT, "return z, Cache(y, chi, r, gamma), None", {"chi2", "chi2_window"}),
        (MABN, MABN_RESULT, "return z, Cache(None, chi, r, gamma), State(None, held)", {"cache", "chi2"}),
    ],
)
def test_none_stands_for_what_is_missing_and_the_rest_is_judged(
    exercise: Exercise, line: str, instead: str, missing: set[str]
) -> None:
    assert line in exercise.solution
    report = check_source(exercise, exercise.solution.replace(line, instead))
    assert {part.name for part in report.parts if not part.ok} == missing
    assert all("nothing" in part.message or "State" in part.message for part in report.parts if not part.ok)


def test_a_gradient_that_does_not_sum_to_zero_is_told_so() -> None:
    note = "; nor does it sum to zero over a channel, though shifting all of x changes nothing"
    for mistake, noted in (("no-g", True), ("no-psi", False)):  # without Psi it does sum to zero
        code = run_source(BACKWARD.with_mistakes(mistake) or "", mistake)
        assert check_code(BACKWARD, code).parts[0].message.endswith(note) is noted


def test_two_mistakes_at_once() -> None:
    both = ("no-g", "parameter-means")
    source = BACKWARD.with_mistakes(*both)
    assert source is not None
    assert check_source(BACKWARD, source).sentences == tuple(BACKWARD.mistakes[name].sentence for name in both)


def test_no_warning_of_the_judge_reaches_the_student() -> None:
    """Neither of a test that draws no sample, nor of mistakes that are tried together."""
    test = find("property_test")
    warm = find("mabn_warmup")
    files = {
        test: test.solution.replace("standard_normal((2, 6, 4, 3))", "standard_normal((2, 0, 4, 3))"),
        warm: warm.with_mistakes("r-in-warm-up", "counted-from-zero", "forward-only", "counted-twice") or "",
    }
    for exercise, source in files.items():
        _known_on.cache_clear()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert not check_source(exercise, source).passed
        assert not [str(warning.message) for warning in seen]


def test_a_warning_of_the_students_own_is_left_to_them() -> None:
    source = BACKWARD.solution.replace("dy = dz", "import warnings\n    warnings.warn('mine')\n    dy = dz")
    with pytest.warns(UserWarning, match="mine"):
        check_code(BACKWARD, run_source(source, "warning"))


PLACEHOLDERS = {
    "no means": ("weight_centralization", {"np.sum(w_c * mu[:, None], axis=(0, 1, 2))": "np.zeros(len(w_c.T))"}),
    "no Psi": ("noise_of_g_and_psi", {"np.mean(y * u, axis=1)": "0 * g"}),
}


@pytest.mark.parametrize("what", PLACEHOLDERS)
def test_zeros_are_not_taken_for_a_mistake_that_comes_out_next_to_zero(what: str) -> None:
    name, edits = PLACEHOLDERS[what]
    exercise = find(name)
    source = exercise.solution
    for old, new in edits.items():
        assert old in source
        source = source.replace(old, new)
    report = check_code(exercise, run_source(source, "zeros"))
    assert not report.passed
    assert not report.mistakes


def test_zeros_that_a_mistake_gives_are_known() -> None:
    folding = find("folding")
    source = folding.solution.replace("b = t", "b = np.zeros(len(t))")
    assert check_code(folding, run_source(source, "zeros")).mistakes == ("no-bias",)


def test_a_mistake_beside_an_unknown_one() -> None:
    source = BACKWARD.with_mistakes("no-g")
    assert source is not None
    report = check_source(BACKWARD, source.replace("return dx, dgamma, dbeta", "return dx, np.cos(dgamma), dbeta"))
    assert report.sentences == (BACKWARD.mistakes["no-g"].sentence,)
    assert report.points == 1


def test_a_part_that_joins_others_is_not_blamed_for_one_of_them() -> None:
    """`squares_backward` returns a sum, and centring takes it off again, as if `backward` had dropped it."""
    exercise = find("03_bn_backward_graph")
    squares = "2 * centred * dvar / values"
    assert squares in exercise.solution
    summed = f"({squares}).sum(tuple(range(centred.ndim - 1)))"
    report = check_source(exercise, exercise.solution.replace(squares, summed))
    assert {part.name for part in report.parts if not part.ok} == {"through_var", "dx"}
    assert report.sentences == ()


@pytest.mark.parametrize("step", ["1e-9", "1e-12", "1e-15"])
def test_a_step_that_is_far_too_small_is_called_so_though_no_digit_is_left(step: str) -> None:
    exercise = find("06_gradient_check")
    report = check_source(exercise, exercise.solution.replace("h = 1e-5", f"h = {step}"))
    assert report.sentences == (exercise.mistakes["step-too-small"].sentence,)


def test_a_function_that_hangs_leaves_the_others_their_points(clock: Clock) -> None:
    running = find("running_statistics")
    source = running.solution.replace("    mean = decay", f"    {clock.hang}\n    mean = decay")
    report = check_source(running, source, limits=Limits(seconds=HUNG))
    assert [part.name for part in report.parts if part.ok] == ["start", "z"]
    assert [error.kind for error in report.errors] == ["timeout"]


GRAPH = find("bn_backward_graph")
LOOPS = {
    "in all": (list(range(6)), 2, {"affine_backward", "division_backward"}, set()),
    "in all, stopped at once": (list(range(6)), 1, {"affine_backward"}, set()),
    "in two, around a right one": ([0, 2], 2, {"affine_backward", "root_backward"}, {"direct", "dsigma"}),
    "in the last": ([5], 2, {"backward"}, {part for part in GRAPH.parts if part != "dx"}),
}
"""In which functions there is a loop and how many time-outs there may be; what is stopped, and what is right."""


@pytest.mark.parametrize("loops", LOOPS)
def test_a_file_is_not_run_on_after_its_last_time_out(loops: str, clock: Clock) -> None:
    where, timeouts, stopped, right = LOOPS[loops]
    head, *functions = GRAPH.solution.split("\ndef ")
    looping = [text.replace('"""\n    ', f'"""\n    {clock.hang}\n    ') for text in functions]
    source = "\ndef ".join([head, *(looping[k] if k in where else text for k, text in enumerate(functions))])
    report = check_source(GRAPH, source, limits=Limits(seconds=HUNG), timeouts=timeouts)
    assert clock.jumps == len(stopped)
    assert {str(error).partition(" ")[0] for error in report.errors if error.kind == "timeout"} == stopped
    assert {part.name for part in report.parts if part.ok} == right
    not_run = [str(error) for error in report.errors if error.kind == "not run"]
    times = "once" if timeouts == 1 else "twice"
    rest = [f"the rest was not run: by then the file had run out of time {times}"] if loops != "in the last" else []
    assert not_run == rest


def test_right_numbers_with_arguments_changed_do_not_pass() -> None:
    source = BACKWARD.solution.replace("dy = dz * gamma", "dz *= gamma\n    dy = dz")
    report = check_source(BACKWARD, source)
    assert report.points == 3
    assert not report.passed
    assert report.notes == ("backward changes its argument dz; make a new array",)


IN_PLACE = {
    "its argument x": (
        "bn_forward",
        "    y = centred / sigma\n",
        "    x -= np.mean(x, axis=axes)\n    x /= sigma\n    y = x\n",
    ),
    "its argument dz": ("bn_backward", "dy = dz * gamma", "dz *= gamma\n    dy = dz"),
    "its arguments gamma and x": (
        "bn_forward",
        "    y = centred / sigma\n",
        "    y = centred / sigma\n    given = gamma.copy()\n    x += 1\n    gamma += 1\n    gamma = given\n",
    ),
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_all_points_and_not_passed_is_said(what: str, judges: Judges, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal, in a class's reports, and in a notebook, and with the same points."""
    name, old, new = IN_PLACE[what]
    exercise = find(name)
    source = exercise.solution.replace(old, new)
    report = check_source(exercise, source)
    graded = grade_one("ada", exercise.name, "exercise.py", source, (0,))
    most = len(exercise.parts)
    assert report.points == graded.points == most
    assert not report.passed
    lacks = f"not passed yet: {exercise.name[6:]} changes {what}; make a new array"
    said = verdict(report, exercise, Path("exercise.py"), source, Style()).splitlines()
    assert said[-1] == f"  {most} of {most} points, {lacks}"
    assert report.summary == graded.said == lacks
    reported = student_report([graded])
    assert f": {most} of {most}\n\nN{lacks[1:]}.\n\n- " in reported
    notebook.check(name, vars(run_source(source, "in place")))
    assert capsys.readouterr().out == f"{exercise.name}: {most} of {most} points, {lacks}\n"
    assert judges.grade_one("ada", exercise.name, "exercise.py", source, (0,)) == graded


def test_replacing_numpy_is_told() -> None:
    source = BACKWARD.solution.replace("import numpy as np\n", "import numpy as np\nnp.mean = np.sum\n")
    report = check_source(BACKWARD, source)
    assert not report.passed
    assert "your code replaces numpy.mean; leave NumPy as it is" in report.notes


def test_no_message_holds_a_right_number() -> None:
    """A wrong answer is told that it is wrong and by how many per cent, not what would be right."""
    source = BACKWARD.solution.replace("return dx, dgamma, dbeta", "return 0 * dx, 0 * dgamma, 0 * dbeta")
    report = check_source(BACKWARD, source)
    right = [value for case in BACKWARD.draw(0, 6) for a in (case.dx, case.dgamma, case.dbeta) for value in a.ravel()]
    said = " ".join(part.message for part in report.parts)
    assert all(f"{value:.3g}" not in said for value in right)


def test_a_cache_without_names_is_told() -> None:
    forward = find("02_bn_forward")
    source = forward.solution.replace("return z, Cache(y, sigma, gamma)", "return z, (y, sigma, gamma)")
    report = check_source(forward, source)
    assert [part.message for part in report.parts] == [
        "",
        "cache is a tuple without the names y, sigma, gamma; return a Cache",
    ]


def test_what_cannot_be_judged_is_not_right() -> None:
    def judge(value: object, case: object) -> None:
        raise TypeError

    assert _fault("v", judge, [None], [1.0], [1.0]) == "v cannot be judged (TypeError)"


def test_functions_of_a_notebook() -> None:
    class Notebook:
        @staticmethod
        def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            axes = tuple(range(x.ndim - 1))
            return x.mean(axis=axes), x.var(axis=axes)

    assert check_code(find("moments"), Notebook).passed
    report = check_code(find("moments"), object())
    assert [str(error) for error in report.errors] == ["there is no function moments"]
    report = check_code(find("moments"), SimpleNamespace(moments=lambda x: x.averaged()))
    assert [error.kind for error in report.errors] == ["raised"]


BOTH_WAYS = {
    "the same arrays filled again": (
        "moments",
        (
            "import numpy as np\nheld = {}\n"
            "def moments(x):\n    axes, c = tuple(range(x.ndim - 1)), x.shape[-1]\n"
            "    mu, var = held.setdefault(c, (np.empty(c), np.empty(c)))\n"
            "    return np.mean(x, axis=axes, out=mu), np.var(x, axis=axes, out=var)\n"
        ),
        "",
    ),
    "a gradient changed in place": (
        "train_and_compare",
        find("train_and_compare").solution.replace(
            "velocity = {name: momentum * velocity[name] + grads[name] for name in params}",
            "for name in params:\n            grads[name] += momentum * velocity[name]\n        velocity = grads",
        ),
        "",
    ),
    "its own named tuple": (
        "bn_backward",
        BACKWARD.solution.replace(
            "np.ndarray  # (C,)\n\n\n", "np.ndarray\n\n    def it(self):\n        return self\n\n\n"
        ).replace("y, sigma, gamma = cache", "y, sigma, gamma = cache.it()"),
        "",
    ),
    "no array": (
        "moments",
        "def moments(x):\n    return {1, 2}\n",
        "moments returned a set; expected numbers and arrays, of at most double precision",
    ),
    "a wrong argument": (
        "gradient_check",
        find("gradient_check").solution.replace("f(after)", "f(after[i])"),
        "your code calls f wrongly: x has shape (), expected (5, 4)",
    ),
    "no such keyword": (
        "gradient_check",
        find("gradient_check").solution.replace("f(after)", "f(after, h=1)"),
        "your code calls f wrongly: got an unexpected keyword argument 'h'",
    ),
    "keywords": (
        "gradient_check",
        find("gradient_check").solution.replace("f(after)", "f(x=after)").replace("rd(x, dz)", "rd(x=x, dz=dz)"),
        "",
    ),
}


@pytest.mark.parametrize("what", BOTH_WAYS)
def test_a_notebook_is_judged_as_a_file_is(what: str) -> None:
    name, source, said = BOTH_WAYS[what]
    exercise = find(name)
    here, apart = check_code(exercise, run_source(source, "cells")), check_source(exercise, source)
    assert here.passed is apart.passed is not said
    assert [str(error).startswith(said) for error in (*here.errors[:1], *apart.errors[:1])] == [True, True] * bool(
        said
    )


def test_a_wrong_call_is_shown_with_its_line() -> None:
    checking = find("gradient_check")
    source = checking.solution.replace("forward(x).shape", "forward(x[0]).shape")
    (error,) = check_source(checking, source).errors
    assert str(error) == "your code calls forward wrongly: x has shape (4,), expected (5, 4)"
    assert "forward(x[0]).shape" in error.excerpt(source)[1]


COMPARED = {
    "compared[row] = half": "compare, for {row}, returned a number, expected the mean difference, half the interval",
    "compared = np.mean(d), half": "compare returned 2 values, expected a dict with two numbers for each of the rows",
    "compared[row] = {}": "compare, for {row}, returned a dict, expected the mean difference, half the interval",
    "compared[row] = (np.mean(d), None)": "interval.{row} is nothing, expected a number",
}


@pytest.mark.parametrize("line", COMPARED)
def test_a_comparison_in_another_form_is_told_which_is_right(line: str) -> None:
    training = find("train_and_compare")
    code = run_source(training.solution.replace("compared[row] = (np.mean(d), half)", line), "compared")
    said = {part.message for part in check_code(training, code).parts if not part.ok}
    assert said <= {COMPARED[line].format(row=row) for row in ("BN 8 + WC", "BN 2 + WC", "MABN 2 + WC")}
    assert said


def test_losses_in_an_array_are_told_that_a_list_is_expected() -> None:
    training = find("train_and_compare")
    code = run_source(
        training.solution.replace("params, state, losses\n", "params, state, np.array(losses)\n"), "losses"
    )
    (wrong,) = (part.message for part in check_code(training, code).parts if not part.ok)
    assert wrong == "losses is an array of shape (1,), expected a list of 1 value"


@pytest.mark.parametrize(("loop", "often"), [("batches[1:]", "not at all"), ("[*batches, *batches]", "twice")])
def test_how_often_gradients_is_called_is_said_in_words(loop: str, often: str) -> None:
    training = find("train_and_compare")
    source = training.solution.replace("for batch in batches:", f"for batch in {loop}:")
    assert source != training.solution
    said = {part.message for part in check_code(training, run_source(source, "often")).parts if not part.ok}
    assert f"train calls gradients {often}, expected once for each batch, so once" in said


def test_an_error_of_a_check_is_not_said_to_be_one_of_the_student() -> None:
    def observe(code: object, case: object) -> dict[str, object]:
        return {"v": len(code)}  # type: ignore[arg-type]

    (seen,) = _seen(Check(observe, {"v": lambda v, case: []}), None, [None])["v"]
    assert str(seen) == "what your code returned is not in the form that the statement asks for"
    hunt = find("hunt_gradient_test")
    code = run_source(hunt.solution.replace("return True", "return np.ones(2)"), "hunt")
    assert {part.message for part in check_code(hunt, code).parts} == {
        "gradient_test returned an array of shape (2,), expected True or False"
    }


AXES = {"N": 6, "H": 2, "W": 5, "C": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.zeros((6, 2)),
            (
                "v has shape (6, 2), which is (N, H); expected (3,), which is (C,): "
                "it keeps axes N and H and lacks axis C"
            ),
        ),
        (
            np.zeros((1, 1, 3)),
            "v has shape (1, 1, 3), which is (1, 1, C); expected (3,), which is (C,): drop the axes of length 1",
        ),
        (np.zeros(4), "v has shape (4,); expected (3,), which is (C,): axis C has the wrong length"),
        (np.zeros((4, 3)), "v has shape (4, 3); expected (3,), which is (C,): it has 2 axes instead of 1"),
        (1.0, "v has shape () (a single number); expected (3,), which is (C,): it lacks axis C"),
        (None, "v is nothing, expected an array of shape (3,)"),
        ((1, 2), "v is 2 values, expected an array of shape (3,)"),
        ("word", "v is a str, expected an array of shape (3,)"),
        (np.zeros(3, dtype=np.float32), "v has dtype float32, expected float64, the dtype of this exercise's arrays"),
        (np.array([1, np.nan, 1]), "v is not finite: it has nan or inf in it"),
        (np.zeros(3), None),
    ],
)
def test_the_axis_that_is_wrong_is_named(value: object, message: str | None) -> None:
    assert form_fault("v", value, np.zeros(3), AXES) == message


@pytest.mark.parametrize(
    ("shape", "wanted", "said"),
    [
        ((6, 3), (6, 1, 1, 3), "keep axes 1 and 2, with length 1 (keepdims=True)"),
        ((), (1, 1), "keep axes 0 and 1, with length 1 (keepdims=True)"),
        ((6,), (1, 1, 1, 3), "it keeps axis N and lacks axis C and does not have length 1 along axes 0, 1 and 2"),
        ((6, 1, 3), (6, 1, 1), "it keeps axis C and does not have length 1 along axis 2 (keepdims=True)"),
        ((4, 7), (2, 5), "axes H and W have the wrong length"),
        ((4, 5), (2, 5), "axis H has the wrong length"),
        ((5, 4), (5, 7), "axis 1 has the wrong length"),
        ((3, 3), (5, 3), "axis W has the wrong length"),  # which is no (C, C)
        ((4,), (2, 5), "it has 1 axis instead of 2"),
    ],
)
def test_axes_are_named_in_a_sentence(shape: tuple[int, ...], wanted: tuple[int, ...], said: str) -> None:
    assert f": {said}" in (form_fault("v", np.zeros(shape), np.zeros(wanted), AXES) or "")


def test_a_window_of_another_length_is_not_taken_for_other_axes() -> None:
    """Whatever the lengths of other axes are: here those of N, W and C."""
    for held in (6, 5, 3):
        fault = form_fault("v", np.zeros((held, 3)), np.zeros((4, 3)), AXES | {"held": 4})
        assert fault == (
            f"v has shape ({held}, 3); expected (4, 3), which is (held, C): axis held has the wrong length"
        )


def test_two_coefficients_of_a_line_are_not_said_to_be_an_axis_of_the_batch() -> None:
    source = "import numpy as np\ndef exponent(sizes, noises): return np.polyfit(np.log(sizes), np.log(noises), 1)\n"
    report = check_code(find("noise_of_g_and_psi"), run_source(source, "line"))
    (said,) = (part.message for part in report.parts if part.name == "exponent")
    assert said == "exponent has shape (2,); expected () (a single number): it has 1 axis instead of 0"


def test_parts_of_a_cache_are_named() -> None:
    Cache = namedtuple("Cache", "y sigma")
    right = Cache(np.zeros((6, 3)), np.zeros(3))
    assert form_fault("cache", (np.zeros((6, 3)), np.zeros(6)), right, AXES) == (
        "cache.sigma has shape (6,), which is (N,); expected (3,), which is (C,): it keeps axis N and lacks axis C"
    )
    assert form_fault("cache", np.zeros(2), right, AXES) == "cache is an array of shape (2,), expected y, sigma"


def test_the_same_is_to_rounding_only() -> None:
    x = np.array([1.0, 1e-6])
    assert same({"a": (x, True)}, {"a": (x + 1e-12, np.True_)})
    assert not same(x, x * (1 + 1e-7))
    assert not same(x, x[:, None])
    assert same(np.array([np.nan, 1]), np.array([np.nan, 1]))
    assert not same(np.array([np.nan, 1]), np.array([1, 1]))


def test_an_error_is_the_same_as_one_that_says_the_same() -> None:
    error = Malformed("z has shape ()")
    assert same([error], [Malformed("z has shape ()")])
    assert not any(same(error, other) for other in (Malformed("z"), ValueError(str(error)), str(error), 1.0))


def test_three_normalisers_are_told_which_of_them_is_wrong() -> None:
    exercise = find("27_three_normalisers")
    source = exercise.solution.replace("return (rank - 1,)", "return (rank - 2, rank - 1)")
    source = source.replace("dgamma = np.sum(y * dz, axis=others)", "dgamma = y * dz")
    messages = {part.name: part.message for part in check_code(exercise, run_source(source, "wrong")).parts}
    assert messages["axes of RMSNorm"] == (
        "for x of shape (6, 5, 3), your RMSNorm has one mean square for values that differ in W and C; it should be "
        "C alone"
    )
    assert messages["dgamma"].startswith("for modified BN and x of shape (6, 5, 3), dgamma has shape (6, 5, 3)")


def test_a_part_is_wrong_if_it_is_so_on_any_case() -> None:
    def judge(value: float, case: float) -> list[str]:
        return [] if value == case else [f"it is {value}, not {case}"]

    assert _fault("v", judge, [1.0, 2.0], [1.0, 5.0], [1.0, 2.0]) == "it is 5.0, not 2.0"


def test_close_is_to_a_ten_millionth_of_the_largest_number() -> None:
    right = np.array([1e-3, 4.0])
    assert close(right + np.array([3e-7, 0.0]), right)
    assert not close(right + np.array([6e-7, 0.0]), right)


HALF_MENDED = {
    "hunt_bessel": ("m = np.float64(x.shape[0])", "m = np.float64(x.size)", {"z", "mean"}, "var"),
    "hunt_eps_in_backward": ("1 / np.sqrt(var)", "1 / (np.sqrt(var) + eps)", {"z", "dbeta"}, "dx or dgamma"),
    "hunt_recompute": ("z, state, Kept(", "z, state, Kept(2 * ", {"z", "dbeta"}, "dx or dgamma"),
}
"""What is written for what; what is right before and after it, and with what it counts."""


@pytest.mark.parametrize("name", HALF_MENDED)
def test_what_is_right_is_not_called_wrong_for_want_of_a_point(
    name: str, judges: Judges, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a terminal, in a class's reports, and in a notebook."""
    old, new, right, others = HALF_MENDED[name]
    hunt = find(name)
    source = hunt.skeleton.replace(old, new)
    report = check_source(hunt, source)
    assert report.points == 0
    assert {part.name for part in report.parts if part.waits} >= right
    why = f"as in the skeleton; no point until {others} is right"
    said = verdict(report, hunt, Path("exercise.py"), source, Style()).splitlines()
    graded = grade_one("ada", hunt.name, "exercise.py", source, (0,))
    assert judges.grade_one("ada", hunt.name, "exercise.py", source, (0,)) == graded
    reported = student_report([graded]).splitlines()
    assert not report.summary.startswith(tuple(right))
    for part in right:
        assert any(line.split() == ["right", part, *why.split()] for line in said)
        assert f"- {part}: right: `{why}`" in reported
        functions = vars(run_source(source, "given"))
        with pytest.raises(AssertionError, match=f"^{part}: right, {why}"):
            notebook.check_part(name, part, functions)
    assert not any(line.split()[:2] == ["wrong", part] for line in said for part in right)
    notebook.check(name, functions)
    told = capsys.readouterr().out
    assert f"{hunt.name}: 0 of " in told
    assert bool(report.sentences) or all(f"\n{part}: right, {why}\n" in told for part in right)
