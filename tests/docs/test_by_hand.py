"""The numbers by hand are right: plain Python arithmetic gives what the pages show of the package's steps."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.building import EXTENSIONS, complaints, configuration

pytestmark = pytest.mark.docs
X, DZ, GAMMA, BETA, M = [0.5, -1.0, 2.0, 0.1], [0.3, -0.8, 0.4, 1.0], 1.5, 0.2, 4
Numbers = list[list[float]]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("sphinx", reason='sphinx is not installed: pip install "mabn_ref[docs]"')
    monkeypatch.setattr(sys, "path", [str(EXTENSIONS), *sys.path])
    import by_hand

    return by_hand


def _moments(eps: float) -> tuple[float, list[float], float, float, list[float]]:
    mu = sum(X) / M
    centred = [x - mu for x in X]
    var = sum(c**2 for c in centred) / M
    sigma = math.sqrt(var + eps)
    return mu, centred, var, sigma, [c / sigma for c in centred]


def _mean_product(a: list[float], b: list[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True)) / M


def _back(dy: list[float], centred: list[float], sigma: float) -> Numbers:
    dsigma = -sum(u * c for u, c in zip(dy, centred, strict=True)) / sigma**2
    dvar = dsigma / (2 * sigma)
    dcentred = [u / sigma + 2 * c * dvar / M for u, c in zip(dy, centred, strict=True)]
    dmu = -sum(dcentred)
    y = [c / sigma for c in centred]
    g, psi = sum(dy) / M, _mean_product(y, dy)
    closed = [(u - g - v * psi) / sigma for u, v in zip(dy, y, strict=True)]
    return [dy, [dsigma], [dvar], dcentred, [dmu], [d + dmu / M for d in dcentred], [g], [psi], closed]


def batch_norm(eps: float) -> Numbers:
    mu, centred, var, sigma, y = _moments(eps)
    z = [GAMMA * v + BETA for v in y]
    dgamma = sum(v * d for v, d in zip(y, DZ, strict=True))
    return [
        *([mu], centred, [var], [sigma], y, z, [sum(DZ)], [dgamma]),
        *_back([GAMMA * d for d in DZ], centred, sigma),
    ]


def batch_renorm(eps: float) -> Numbers:
    mu, centred, var, sigma, y = _moments(eps)
    r, d = sigma / 0.8, (mu - 0.2) / 0.8
    corrected = [r * v + d for v in y]
    z = [GAMMA * v + BETA for v in corrected]
    dgamma = sum(v * d for v, d in zip(corrected, DZ, strict=True))
    return [
        *([mu], centred, [var], [sigma], y, [r], [d], z, [sum(DZ)], [dgamma]),
        *_back([GAMMA * r * d for d in DZ], centred, sigma),
    ]


def modified_batch_norm(eps: float) -> Numbers:
    q = sum(x**2 for x in X) / M
    chi = math.sqrt(q + eps)
    y = [x / chi for x in X]
    dy = [GAMMA * d for d in DZ]
    dchi = -sum(u * x for u, x in zip(dy, X, strict=True)) / chi**2
    dq = dchi / (2 * chi)
    psi = _mean_product(y, dy)
    return [
        *([q], [chi], y, [GAMMA * v + BETA for v in y]),
        *([sum(DZ)], [sum(v * d for v, d in zip(y, DZ, strict=True))], dy, [dchi], [dq]),
        [u / chi + 2 * x * dq / M for u, x in zip(dy, X, strict=True)],
        *([psi], [(u - v * psi) / chi for u, v in zip(dy, y, strict=True)]),
    ]


def mabn(eps: float) -> Numbers:
    q = sum(x**2 for x in X) / M
    average = (0.9 + 0.7 + q) / 3
    chi = math.sqrt(average + eps)
    r = chi / math.sqrt(0.8 + eps)
    y = [x / chi for x in X]
    dy = [GAMMA * r * d for d in DZ]
    ell = -_mean_product(y, dy)
    ell_average = (-0.5 - 0.3 + ell) / 3
    dq = M * ell_average / (2 * chi**2)
    psi = (0.5 + 0.3 + _mean_product(y, dy)) / 3
    return [
        *([q], [average], [chi], [r], y, [GAMMA * r * v + BETA for v in y]),
        *([sum(DZ)], [sum(r * v * d for v, d in zip(y, DZ, strict=True))], dy),
        *([ell], [ell_average], [M * ell_average], [dq]),
        [u / chi + 2 * x * dq / M for u, x in zip(dy, X, strict=True)],
        *([-ell], [psi], [(u - v * psi) / chi for u, v in zip(dy, y, strict=True)]),
    ]


BY_HAND = [batch_norm, modified_batch_norm, batch_renorm, mabn]


@pytest.mark.parametrize("right", BY_HAND)
def test_plain_arithmetic_agrees(by_hand: Any, right: Any) -> None:
    """eq: bn-graph, modified-graph, brn-graph, mabn-graph, bn-backward, modified-backward, mabn-backward"""
    found = by_hand.numbers(by_hand.EXAMPLES[right.__name__])
    for (step, values), expected in zip(found, right(by_hand.EPS), strict=True):
        assert values == pytest.approx(expected, rel=1e-12, abs=1e-15), step


@pytest.mark.parametrize("right", BY_HAND)
def test_the_table_has_the_numbers_with_or_without_eps(by_hand: Any, right: Any) -> None:
    """A reader who leaves eps out is off by one in the last digit at most."""
    lines = "\n".join(by_hand.table(by_hand.EXAMPLES[right.__name__]))
    for values, without in zip(right(by_hand.EPS), right(0.0), strict=True):
        assert f"     - {', '.join(map(by_hand.written, values))}\n" in f"{lines}\n", values
        assert [round(1e4 * value) for value in values] == pytest.approx([round(1e4 * v) for v in without], abs=1)


def test_the_last_of_several_assignments_is_found(by_hand: Any) -> None:
    import numpy as np

    def function(a: Any) -> Any:
        b = a + 1
        b = b * 2
        return b

    returned, found = by_hand.recorded(function, np.ones(1))
    assert returned == 4
    assert [value.item() for value in found["b"]] == [2.0, 4.0]


def test_nothing_by_hand_is_an_error(by_hand: Any, tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(configuration("by_hand"))
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. by-hand:: nothing\n")
    assert "nothing is by hand for 'nothing'" in complaints(tmp_path)


def test_the_playground_starts_from_the_same_memory(by_hand: Any) -> None:
    """Its window has the two batches before this one; the oldest falls out."""
    script = (EXTENSIONS.parent / "_static" / "playground.js").read_text(encoding="utf-8")
    state = by_hand.EXAMPLES["mabn"].state
    for name, held in (
        ("chi2Window", state.chi2_window[1:]),
        ("psiWindow", state.psi_window[1:]),
        ("chi2", state.chi2),
    ):
        (shown,) = re.findall(rf'\["{name}", .*, \[(.*)\], MEMORY\]', script)
        assert [float(value) for value in shown.split(",")] == held.ravel().tolist()
