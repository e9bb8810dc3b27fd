"""Fifty digits: the arithmetic, NumPy's functions on it, and gradients checked with it."""

from __future__ import annotations

import operator
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import Exact, check, exact, to_float, ulps
from tests.gradcheck.passes import norm


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
@pytest.mark.parametrize("other", [3, 0.1, np.float64(0.1), np.float32(0.1), np.int64(3), Decimal("0.7"), Exact(7)])
def test_arithmetic(operation: Any, other: Any) -> None:
    """From both sides, against fractions; floats count at their exact binary value."""
    value = 1.7
    fraction = Fraction(
        other.value if isinstance(other, Exact) else other.item() if hasattr(other, "item") else other
    )
    for got, truth in (
        (operation(Exact(value), other), operation(Fraction(value), fraction)),
        (operation(other, Exact(value)), operation(fraction, Fraction(value))),
    ):
        assert isinstance(got, Exact)
        assert abs(Fraction(got.value) / truth - 1) < Fraction(1, 10**49)


def test_comparisons_and_conversions() -> None:
    """Like numbers."""
    a, b = Exact(0.5), Exact(2)
    assert a < b
    assert a <= 0.5
    assert b > 1
    assert a == 0.5
    assert a != b
    assert hash(a) == hash(Exact(0.5))
    assert (float(-a), float(abs(-a)), float(b**3), float(2**b), float(b**0.5)) == (-0.5, 0.5, 8, 4, 2**0.5)
    with pytest.raises(TypeError, match="value is a str"):
        Exact("1")
    with pytest.raises(TypeError):
        a + "1"  # type: ignore[operator]


def test_truth_and_sign() -> None:
    """Zeros are false, so that NumPy counts them as such; unary plus is there beside minus."""
    zeros = exact([0.0, -0.0, 2.0, -1e-300])
    assert zeros.astype(bool).tolist() == [False, False, True, True]
    assert np.count_nonzero(zeros) == 2
    assert not np.any(zeros[:2])
    assert (+zeros == zeros).all()


@pytest.mark.parametrize("name", ["tanh", "log1p"])
def test_of_small_and_large_numbers(name: str) -> None:
    """All fifty digits of numbers down to the least float, against the definitions with 900."""
    longer = Context(prec=900)

    def definition(x: Decimal) -> Decimal:
        if name == "log1p":
            return longer.ln(longer.add(1, x))
        e = longer.exp(longer.multiply(2, x))
        return longer.divide(longer.subtract(e, 1), longer.add(e, 1))

    for exponent in range(-324, 3):
        for digits in ("1.25", "3.7", "-9.3"):
            x = Decimal(f"{digits}e{exponent}")
            if name == "tanh" or x > -1:
                got, truth = getattr(Exact(x), name)().value, definition(x)
                assert abs(longer.divide(longer.subtract(got, truth), truth)) < Decimal("6e-50"), x
    assert getattr(Exact(0), name)() == 0
    small = np.array([5e-324, 1e-60, -1e-30, 1e-10])
    assert np.max(ulps(getattr(np, name)(small), getattr(np, name)(exact(small)))) < 2


def test_tanh_does_not_overflow() -> None:
    """Neither on one side nor on the other."""
    far = exact([1.2e6, -1.2e6, 1e300, -1e300])
    assert np.tanh(far).tolist() == [1, -1, 1, -1]
    assert np.tanh(exact([56.0]))[0] < 1


def test_numpy_functions() -> None:
    """Those that a pass is likely to use."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    e = exact(x)
    same = {
        "mean": lambda a: np.mean(a, axis=0),
        "sum": lambda a: np.sum(a, axis=(0, 1)),
        "var": lambda a: np.var(a, axis=0),
        "sqrt": lambda a: np.sqrt(a * a + 1),
        "exp": np.exp,
        "log": lambda a: np.log(np.exp(a)),
        "abs": abs,
        "maximum": lambda a: np.maximum(a, 0),
        "max": lambda a: np.max(a, axis=1, keepdims=True),
        "clip": lambda a: np.clip(a, -0.5, 0.5),
        "where": lambda a: np.where(a > 0, a, 2 * a),
        "einsum": lambda a: np.einsum("nc,nc->c", a, a),
        "matmul": lambda a: a.T @ a,
        "power": lambda a: a**2 + 2**a,
        "with floats": lambda a: (a * x - 0.1) / np.float64(3) + x[0],
        "concat": lambda a: np.concat([a[1:], a[:1]]),
    }
    for name, function in same.items():
        got = np.asarray(function(e))
        assert got.dtype == object, name
        np.testing.assert_allclose(to_float(got), function(x), rtol=1e-12, atol=1e-15, err_msg=name)


def test_values_are_taken_exactly() -> None:
    """0.1 is the double next to a tenth, of any shape."""
    assert exact(0.1).shape == ()
    assert exact(np.float32(0.1)).item().value == Decimal(float(np.float32(0.1)))
    assert exact([[0.1, 2]])[0, 0].value == Decimal.from_float(0.1)
    x = np.random.default_rng(0).standard_normal((2, 3))
    assert (to_float(exact(x)) == x).all()


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_differences_and_closed_form_agree_to_25_digits(eps: float) -> None:
    """At offset 1e4 and scale 1e-3, where float64 has nine digits left; and a mistake of 1e-20 is one."""
    pair = norm(eps)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = 1e4 + 1e-3 * rng.standard_normal((4, 2))
        inputs = [exact(a) for a in (x, rng.uniform(0.5, 2, 2), rng.standard_normal(2))]
        result = check(pair.forward, pair.backward, inputs)
        assert result.verdict == "ok", result
        assert result.rtol == 1e-25
        assert max(found.error for found in result.inputs) < 1e-29

        def wrong(dz: Any, cache: Any) -> Any:
            dx, dgamma, dbeta = pair.backward(dz, cache)
            return dx * (1 + exact(1e-20)), dgamma, dbeta

        assert check(pair.forward, wrong, inputs).verdict == "wrong"


def test_ulps_of_float64_and_float32() -> None:
    """Rounding to nearest costs at most half; one neighbour further, at least half."""
    x = np.random.default_rng(0).uniform(1, 1000, 200)
    third = exact(x) / 3
    for dtype in (np.float64, np.float32):
        rounded = to_float(third).astype(dtype)
        assert np.max(ulps(rounded, third)) <= 0.5 + 1e-6
        above = np.nextafter(rounded, dtype(np.inf))
        assert np.min(ulps(above, third)) >= 0.5 - 1e-6
    assert ulps(np.float32(1.5), exact(1.0)) == 0.5 * 2**23
    with pytest.raises(ValueError, match=r"value has shape \(2,\) and truth \(3,\)"):
        ulps(np.ones(2), exact(np.ones(3)))


def test_the_same_pass_in_float_and_exact() -> None:
    """The error of float64 is some ulps without an offset and millions with one."""
    pair = norm(1e-5)
    rng = np.random.default_rng(0)
    worst = []
    for offset in (0.0, 1e4):
        x = rng.standard_normal((6, 2)) * 1e-2 + offset
        inputs = (x, np.array([1.5, -0.7]), np.array([0.3, 0.1]))
        z = pair.forward(*inputs)[0]
        worst.append(np.max(ulps(z, pair.forward(*map(exact, inputs))[0])))
    assert worst[0] < 50
    assert 1e3 < worst[1] < 1e9
