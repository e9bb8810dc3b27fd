"""No points without understanding: answers that use what a check could give away, in exercises that could be bent."""

from __future__ import annotations

import pytest

from mabn_ref.learn import judge
from mabn_ref.learn.exercise import find
from mabn_ref.learn.judge import check_source

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


@pytest.mark.parametrize("name", CHEATS)
def test_a_trick_has_no_points(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number, source, honest = CHEATS[name]
    # which mistakes a trick resembles is no matter of points, and is most of the work
    monkeypatch.setattr(judge._Known, "_recognised", lambda *_: ((), frozenset()))
    report = check_source(find(number), source, seeds=(0, 11))
    assert report.points <= honest, [(part.name, part.ok) for part in report.parts]


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
