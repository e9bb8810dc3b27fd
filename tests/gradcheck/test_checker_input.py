"""Bad input is an error that names it, not a verdict."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check, exact

x = np.array([[0.5, -1.0, 2.0], [1.0, 0.3, -0.2]])
w = np.array([1.0, 2.0, 3.0])


def forward(x: Any, w: Any) -> Any:
    return x * w, (x, w)


def backward(dout: Any, cache: Any) -> Any:
    x, w = cache
    return dout * w, np.sum(dout * x, axis=0)


def put(array: Any, value: float) -> Any:
    array = array.copy()
    array[1, 2] = value
    return array


def test_this_pair_is_fine() -> None:
    """So the errors below are not its own."""
    assert check(forward, backward, [x, w]).verdict == "ok"


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (x, TypeError, "inputs is a ndarray, expected a tuple of arrays"),
        ((), ValueError, "inputs is empty"),
        (
            (x, np.array([1, 2, 3])),
            TypeError,
            r"inputs\[1\] has dtype int64, expected float32, float64 or exact numbers",
        ),
        ((x.astype(np.float16), w), TypeError, r"inputs\[0\] has dtype float16"),
        ((x > 0, w), TypeError, r"inputs\[0\] has dtype bool"),
        ((x + 0j, w), TypeError, r"inputs\[0\] has dtype complex128"),
        (
            (np.ma.array(x), w),
            TypeError,
            "x is a MaskedArray, expected a plain array: fill in or leave out what is masked first",
        ),
        ((x.view(np.recarray), w), TypeError, "x is a recarray, expected a plain array$"),
        ((put(x, np.nan), w), ValueError, r"inputs\[0\] is nan at \[1, 2\], expected finite numbers"),
        ((put(x, np.inf), w), ValueError, r"inputs\[0\] is inf at \[1, 2\]"),
        ((x[:0], w), ValueError, r"inputs\[0\] has shape \(0, 3\), expected at least one element"),
    ],
)
def test_inputs(inputs: Any, error: Any, message: str) -> None:
    """Dtype, finiteness, emptiness."""
    with pytest.raises(error, match=message):
        check(forward, backward, inputs)


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("forward", None, TypeError, "forward is None, expected a function"),
        ("backward", 3, TypeError, "backward is 3, expected a function"),
        ("double_backward", 0, TypeError, "double_backward is 0, expected a function"),
        ("rtol", "1e-7", TypeError, "rtol is '1e-7', expected a finite number of at least 0"),
        ("rtol", -1.0, ValueError, "rtol is -1.0, expected a finite number of at least 0"),
        ("rtol", np.nan, ValueError, "rtol is nan, expected a finite number of at least 0"),
        ("seed", -1, ValueError, "seed is -1, expected an integer of at least 0"),
        ("seed", 1.5, TypeError, "seed is 1.5, expected an integer of at least 0"),
        ("names", "x", TypeError, "names is 'x', expected a sequence of names"),
        ("names", 3, TypeError, "names is 3, expected a sequence of names"),
    ],
)
def test_other_arguments(argument: str, value: Any, error: Any, message: str) -> None:
    given: dict[str, Any] = {"forward": forward, "backward": backward, "inputs": (x, w), argument: value}
    with pytest.raises(error, match=re.escape(message)):
        check(**given)


def test_names() -> None:
    """One for each input; the parameters' by default, numbers where there are none."""
    with pytest.raises(ValueError, match=r"names has 1 entries \('x',\), expected 2"):
        check(forward, backward, (x, w), names=["x"])
    assert [found.name for found in check(forward, backward, (x, w)).inputs] == ["x", "w"]
    assert [found.name for found in check(forward, backward, (x, w), names=("a", "b")).inputs] == ["a", "b"]
    assert check(lambda *a: (a[0] * 2, None), lambda d, _: 2 * d, (x,)).worst.name == "a"

    def optional(x: Any, w: Any, eps: float = 0.0) -> Any:
        return forward(x, w + eps)

    assert [found.name for found in check(optional, backward, (x, w)).inputs] == ["x", "w"]
    assert [found.name for found in check(lambda *a: forward(*a), backward, (x, w)).inputs] == [
        "inputs[0]",
        "inputs[1]",
    ]


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda x, w: x * w, TypeError, r"forward returned a ndarray, expected the pair \(out, cache\)"),
        (lambda x, w: (x * w, x, w), TypeError, r"forward returned a tuple of 3, expected the pair"),
        (lambda x, w: (x > w, (x, w)), TypeError, "forward's out has dtype bool"),
        (lambda x, w: (x * 1j, (x, w)), TypeError, "forward's out has dtype complex128"),
        (
            lambda x, w: (x[:0], (x, w)),
            ValueError,
            r"forward's out has shape \(0, 3\), expected at least one element",
        ),
        (lambda x, w: (x * np.nan, (x, w)), ValueError, r"forward's out is nan at \[0, 0\]"),
    ],
)
def test_forward_output(returned: Any, error: Any, message: str) -> None:
    """A pair, of finite floating-point numbers."""
    with pytest.raises(error, match=message):
        check(returned, backward, (x, w))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda d, c: d * w, ValueError, "backward returned 1 gradients, expected 2, those of x, w"),
        (lambda d, c: (*backward(d, c), w), ValueError, "backward returned 3 gradients, expected 2, those of x, w"),
        (lambda d, c: (d * w, d * x), ValueError, r"backward's gradient of w has shape \(2, 3\), expected \(3,\)"),
        (lambda d, c: (d * w, np.zeros(3, int)), TypeError, "backward's gradient of w has dtype int64"),
        (
            lambda d, c: (d * w, None),
            TypeError,
            r"backward's gradient of w is None, expected an array of shape \(3,\)",
        ),
        (lambda d, c: (put(d, np.nan), w), ValueError, r"backward's gradient of x is nan at \[1, 2\]"),
    ],
)
def test_backward_output(returned: Any, error: Any, message: str) -> None:
    """As many gradients as inputs, of their shapes, of finite floating-point numbers."""
    with pytest.raises(error, match=message):
        check(forward, returned, (x, w))


def test_a_forward_that_is_not_finite_around_the_inputs() -> None:
    """The root of zero has no derivative to compare with."""
    with pytest.raises(ValueError, match="forward is not finite near x"):
        check(lambda x: (np.sqrt(x), x), lambda dout, x: dout, (np.array([0.0, 1.0]),))


def test_an_error_of_forward_in_float64_says_that_it_was_in_float64() -> None:
    """Since the caller's inputs were not."""

    def picky(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return 2 * x, None

    with pytest.raises(TypeError, match="float32 only") as caught:
        check(picky, lambda dout, _: 2 * dout, (x.astype(np.float32),))
    assert "in float64" in caught.value.__notes__[0]


def test_edge_of_the_domain() -> None:
    """Steps that leave it are passed over: log at 1e-3 of the spread from 0."""
    x = np.array([1e-3, 1.0, -0.5]) ** 2
    assert check(lambda x: (np.log(x), x), lambda dout, x: dout / x, (x,)).verdict == "ok"
    assert check(lambda x: (np.log(x), x), lambda dout, x: dout / x * 1.01, (x,)).verdict == "wrong"


def test_numbers_without_axes() -> None:
    """A number in, a number out."""
    result = check(lambda x: (float(x) ** 2 if np.isrealobj(x) else x**2, x), lambda dout, x: 2 * x * dout, (1.5,))
    assert (result.verdict, result.worst.index) == ("ok", ())


def log_of_part(p: Any) -> Any:
    if np.any(p <= 0) or np.any(p >= 1):  # NumPy orders complex numbers by their real part
        raise ValueError("p must lie between 0 and 1")
    return np.log(p), p


@pytest.mark.parametrize("size", [3, 100])
def test_a_forward_that_refuses_numbers_outside_of_its_domain(size: int) -> None:
    """Steps that it refuses are passed over, as those where it is not a number are."""
    p = np.random.default_rng(0).uniform(0.3, 0.7, size)
    p[:3] = 0.5, 0.9999, 0.01
    assert check(log_of_part, lambda dout, p: dout / p, (p,)).verdict == "ok"
    wrong = check(log_of_part, lambda dout, p: dout / p * (1 + 1e-3 * (p > 0.99)), (p,))
    assert (wrong.verdict, wrong.worst.index) == ("wrong", (1,))


def test_a_forward_that_refuses_every_neighbour() -> None:
    """The error is the checker's, names the neighbour, and has that of forward as its cause."""

    def forward(p: Any) -> Any:
        if np.any(p.real > 1):
            raise ValueError("p must be at most 1")
        return p * p, p

    with pytest.raises(ValueError, match="forward is not finite near p, expected finite numbers around") as caught:
        check(forward, lambda dout, p: 2 * dout * p, (np.array([0.5, 1.0]),))
    assert str(caught.value.__cause__) == "p must be at most 1"
    assert re.search(r"forward raised ValueError for p with 1\.000\d+ at \[1\]", caught.value.__notes__[0])


def test_exact_numbers_outside_of_the_domain() -> None:
    """Which have no NaN: the error is that of forward."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        check(lambda p: log_of_part(p), lambda dout, p: dout / p, (exact([0.5, 1 - 1e-12]),))
