"""No points without understanding: answers that use what a check could give away, in exercises that could be bent."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.learn import judge
from mabn_ref.learn.child import arrays_in
from mabn_ref.learn.exercise import course, find, run_source
from mabn_ref.learn.judge import check_code, check_source

CHEATS = {
    "26: every sixth is right": (
        "26",
        (
            "n = -1\ndef gradient_test(forward, backward, x, seed):\n    global n\n    n += 1\n"
            "    import numpy as np\n    backward(x, np.random.default_rng(seed).standard_normal(x.shape))\n"
            "    return n % 6 == 0\n"
        ),
        1,  # the weights
    ),
    "07: from a table": (
        "07",
        (
            "import numpy as np\nn = -1\n"
            "def no_shift(b, x, dz):\n    global n\n    n += 1\n    return n % 8 < 3\n"
            "m = -1\ndef no_stretch(b, x, dz):\n    global m\n    m += 1\n    return m % 8 < 2\n"
            "k = -1\ndef scales(b, x, dz):\n    global k\n    k += 1\n    return k % 7 < 2\n"
            "t = -1\ndef test(b):\n    global t\n    t += 1\n"
            "    x = np.random.default_rng(0).standard_normal((4, 3, 2))\n    b(x, x**2 + x[::-1])\n"
            "    return t % 4 == 0\n"
        ),
        1,  # what is drawn
    ),
    "06: from a table": (
        "06",
        (
            "import numpy as np\nTABLE = [[1, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 0, 0]]\nn = -1\n"
            "def numerical_gradient(f, x, dz): return x\ndef relative_error(a, b): return 1.0\n"
            "def check(f, b, x):\n    global n\n    n += 1\n"
            "    b(x, np.random.default_rng(0).standard_normal(f(x).shape))\n"
            "    return bool([v for row in TABLE for v in row][n % 13])\n"
        ),
        1,  # the weights
    ),
    "20: zeros of the form of the differences": (
        "20",
        (
            "import numpy as np\ndef train(gradients, params, state, batches, lr, momentum):\n"
            "    for batch in batches:\n        gradients(params, state, batch)\n    n = len(batches) + 1\n"
            "    return ({k: np.zeros((n, *np.shape(v))) for k, v in params.items()},\n"
            "            tuple(np.zeros((n, *np.shape(v))) for v in state), [0.0] * len(batches))\n"
            "def compare(run, rows, base, seeds, t): return {row: (0.0, 0.0) for row in rows}\n"
        ),
        0,
    ),
    "19: a shift where the slope is no number": (
        "19",
        "def line(gamma, beta, m, q, eps): return 0.0, beta\ndef fold(w, s, t): return w, s\n",
        0,
    ),
    "10: what would be derived": (
        "10",
        (
            "import numpy as np\n"
            "def simple(v, m):\n    full = np.array([v[max(0, t - m + 1) : t + 1].mean(0) for t in range(len(v))])\n"
            "    return full[m - 1 :] if m > 1 else full[1:]\n"
            "def exponential(v, decay, start): return v\ndef equal_decay(m): return 0.0\n"
        ),
        0,
    ),
    "09: quoted, not measured": (
        "09",
        (
            "import numpy as np\ndef statistics(x, u): return x[:, 0], u[:, 0]\n"
            "def noise(sample, size, trials): return np.sqrt(1.49 / size), 0.9 / np.sqrt(size)\n"
            "def exponent(sizes, noises): return -0.5\ndef law(sample, sizes, trials): return -0.5, -0.5\n"
        ),
        0,
    ),
}


@pytest.fixture(autouse=True)
def _no_mistake_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes most of the time, and changes no point."""
    monkeypatch.setattr(judge._Known, "_recognised", lambda *args: ((), frozenset()))


@pytest.mark.parametrize("name", CHEATS)
def test_a_trick_has_no_points(name: str) -> None:
    number, source, honest = CHEATS[name]
    report = check_source(find(number), source, seeds=(0, 11))
    assert report.points <= honest, [(part.name, part.ok) for part in report.parts]


RULED_OUT = {
    "9: exponents quoted with some noise": (
        "9",
        {
            "    of_g, of_psi = np.array([noise(sample, size, trials) for size in sizes]).T\n": "",
            "return exponent(sizes, of_g), exponent(sizes, of_psi)": (
                "return tuple(-0.5 + 0.01 * np.random.default_rng().standard_normal(2))"
            ),
        },
        {"law": "where x has two values and u follows x, the exponents come out near -1/2 and -1; yours are -0."},
    ),
    "6: a tolerance that is too wide": (
        "6",
        {"error < 1e-4": "error < 9e-3"},
        {"rejects the wrong": "it accepts wrong backward passes: one that is off by two thousandths"},
    ),
    "7: tolerances that are too wide": (
        "7",
        {"1e-9": "1e-2"},
        dict.fromkeys(
            ("no_shift fails", "no_stretch fails", "scales fails"),
            "with usual numbers it says True where the property fails: one that is off by a few thousandths",
        ),
    ),
    "27: an axis that is no tuple": (
        "27",
        {"(rank - 1,)": "rank - 1"},
        {"axes of RMSNorm": "axes_of('RMSNorm', 3) is not a tuple of axes, each from -3 to 2"},
    ),
}
for number, root, value, name in (
    ("2", "np.sqrt(var", "gamma * y", "sigma"),
    ("8", "np.sqrt(np.mean", "gamma * y", "sigma[0]"),
    ("13", "np.sqrt(chi2", "gamma * y", "chi"),
    ("27", "np.sqrt(np.mean", "gamma * y", "chi"),
):
    RULED_OUT[f"{number}: a negative root"] = (
        number,
        {root: f"-{root}", value: f"-{value}"},
        {"cache": f"cache.{name} is negative: it is the positive root"},
    )
"""Number of the exercise, edits of its solution, and what is then wrong with which parts."""


@pytest.mark.parametrize("what", RULED_OUT)
def test_what_the_statement_rules_out_is_wrong(what: str) -> None:
    number, edits, wrong = RULED_OUT[what]
    source = find(number).solution
    for old, new in edits.items():
        assert old in source
        source = source.replace(old, new)
    messages = {part.name: part.message for part in check_code(find(number), run_source(source, "it")).parts}
    assert {name for name, message in messages.items() if message} == set(wrong)
    assert all(messages[name].startswith(said) for name, said in wrong.items()), messages


def test_what_is_kept_outside_of_the_cache_is_gone() -> None:
    """The pass as it was, but for a cache that is a key of a dictionary in the module."""
    exercise = find("23")
    solution = exercise.solution
    source = solution.replace("def forward(", "KEPT = {}\ndef _forward(", 1).replace(
        "def backward(", "def _backward(", 1
    )
    source += (
        "\ndef forward(x, *rest):\n    z, state, kept = _forward(x, *rest)\n"
        "    KEPT[x.tobytes()] = kept, np.exp(x)\n    return z, state, x\n"
        "def backward(dz, x):\n    return _backward(dz, KEPT[x.tobytes()][0])\n"
    )
    report = check_source(exercise, source)
    assert not any(part.ok for part in report.parts if part.name in ("dx", "dgamma", "dbeta"))
    assert "KeyError" in report.summary


def formed(value: Any, make: Callable[[Any], Any]) -> Any:
    """A result with its numbers made anew, in the form that it has."""
    if isinstance(value, tuple | list):
        items = [formed(item, make) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: formed(item, make) for key, item in value.items()}
    if isinstance(value, bool):
        return bool(make(np.zeros(())))
    return make(np.asarray(value)) if isinstance(value, np.ndarray | np.generic | float | int) else value


def first_that_fits(given: list[Any]) -> Callable[[Any], Any]:
    """Of what a function was given, the first that has the form of what it is to return."""
    return lambda value: next((x.astype(value.dtype) for x in given if x.shape == value.shape), np.zeros_like(value))


FORMS: dict[str, Callable[[list[Any], Any], Any]] = {
    "zeros": lambda given, value: formed(value, np.zeros_like),
    "ones": lambda given, value: formed(value, np.ones_like),
    "what was given": lambda given, value: formed(value, first_that_fits(given)),
    "what was given last": lambda given, value: formed(value, first_that_fits(given[::-1])),
}
CONSTANTS = {
    "True": True,
    "False": False,
    "None": None,
    "0.0": 0.0,
    "()": (),
    "pairs": (0.0, 0.0),
    "threes": (1.0,) * 3,
}
ASKED_WELL = {
    "06_gradient_check": {"weights"},
    "07_property_test": {"what is drawn"},
    "26_hunt_gradient_test": {"dz"},
}
"""What the FORMS keep of the solution: how it asks the functions that it is given."""


def trivial(name: str) -> dict[str, Any]:
    """Files of one exercise that show no understanding: as handed out, constants, and the form of what is right."""
    exercise = find(name)
    solution = run_source(exercise.solution, "trivial")
    functions = {n: f for n, f in vars(solution).items() if isinstance(f, FunctionType) and f.__module__ == "trivial"}

    def all_of_them(made: Callable[[Any], Any]) -> SimpleNamespace:
        return SimpleNamespace(**{n: made(f) for n, f in functions.items()})

    files = {"as handed out": run_source(exercise.skeleton, "trivial")}
    for said, value in CONSTANTS.items():
        files[said] = all_of_them(lambda f, value=value: lambda *args: value)
    for said, form in FORMS.items():
        files[said] = all_of_them(
            lambda f, form=form: lambda *args: form(arrays_in(list(args), np.ndarray), f(*args))
        )
    return files


@pytest.mark.parametrize("name", [exercise.name for exercise in course()])
def test_a_trivial_answer_has_no_points(name: str) -> None:
    for said, code in trivial(name).items():
        right = {part.name for part in check_code(find(name), code).parts if part.ok}
        assert right <= (ASKED_WELL.get(name, set()) if said in FORMS else set()), said


def test_a_test_of_one_thing_alone_has_no_point_for_all_else() -> None:
    """What sees nan, or zeros, accepts and rejects in its own way, and neither is a verdict on the gradient."""
    properties = "import numpy as np\n" + "".join(
        f"def {name}(b, x, dz): return not bool(np.isnan(b(x, dz)).any())\n"
        for name in ("no_shift", "no_stretch", "scales")
    )
    zeros = "def gradient_test(f, b, x, seed): return not b(x, x**2).any()\n"
    for number, source in (("07", properties), ("26", zeros)):
        report = check_source(find(number), source)
        assert [part.name for part in report.parts if part.ok] in ([], ["dz"]), number


def test_what_a_hunt_has_right_counts_once_something_is_mended() -> None:
    hunt = find("hunt_recompute")
    given = check_code(hunt, run_source(hunt.skeleton, "given"))
    assert {part.message for part in given.parts if part.name in ("z", "dbeta")} == {
        "as in the skeleton; no point until dx or dgamma is right"
    }
    assert check_code(hunt, run_source(hunt.solution, "mended")).points == 6
    folding = find("folding")
    said = check_code(folding, run_source(folding.solution.replace("k = w_c * s", "k = w * s"), "kernel"))
    assert [part.name for part in said.parts if part.ok] == ["s", "t"]
    assert [part.message for part in said.parts if part.waits] == ["no point until k is right"]
    said = run_source(folding.solution.replace("b = t", "b = -t"), "bias")
    assert [part.name for part in check_code(folding, said).parts if part.ok] == ["s", "t", "k"]
