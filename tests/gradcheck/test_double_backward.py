"""The option `double_backward`: right and wrong ones, impure ones, and those that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check

X, W = np.random.default_rng(0).standard_normal((2, 3)), np.random.default_rng(1).standard_normal((3, 2))


def forward(x: Any, w: Any) -> Any:
    return (x @ w) ** 2, (x, w)


def backward(dout: Any, cache: Any) -> Any:
    x, w = cache
    d = 2 * (x @ w) * dout
    return d @ w.T, x.T @ d


def double_backward(dgradients: Any, dout: Any, cache: Any, *, forget: bool = False) -> Any:
    (ddx, ddw), (x, w) = dgradients, cache
    s, d = x @ w, 2 * (x @ w) * dout
    dd = ddx @ w + x @ ddw
    ds = 2 * dd * dout
    dx, dw = ds @ w.T + (0 if forget else d @ ddw.T), x.T @ ds + ddx.T @ d
    return 2 * s * dd, dx, dw


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_right_one_and_a_wrong_one(dtype: type) -> None:
    inputs = X.astype(dtype), W.astype(dtype)
    result = check(forward, backward, inputs, double_backward=double_backward)
    assert result.verdict == "ok", result
    assert [found.name for found in result.inputs] == ["x", "w", "dout of backward", "x of backward", "w of backward"]
    assert check(forward, backward, inputs).inputs == result.inputs[:2]
    wrong = check(forward, backward, inputs, double_backward=lambda *a: double_backward(*a, forget=True))
    assert [found.verdict for found in wrong.inputs] == ["ok", "ok", "ok", "wrong", "ok"]
    assert wrong.verdict == "wrong"


def test_a_single_gradient_need_not_be_in_a_tuple() -> None:
    def once(dout: Any, x: Any) -> Any:
        return dout * np.cos(x)

    def twice(dgradients: Any, dout: Any, x: Any) -> Any:
        (ddx,) = dgradients
        return ddx * np.cos(x), -ddx * dout * np.sin(x)

    assert check(lambda x: (np.sin(x), x), once, (X,), double_backward=twice).verdict == "ok"


def test_impure_ones_are_named() -> None:
    def changes(dgradients: Any, dout: Any, cache: Any) -> Any:
        found = double_backward(dgradients, dout, cache)
        cache[0][0, 0] += 1.0
        return found

    calls = [0]

    def differs(dgradients: Any, dout: Any, cache: Any) -> Any:
        calls[0] += 1
        return [value + calls[0] for value in double_backward(dgradients, dout, cache)]

    for wrong, said in (
        (changes, "double_backward changed cache"),
        (differs, "double_backward returned other numbers on a second call"),
    ):
        result = check(forward, backward, (X, W), double_backward=wrong)
        assert result.verdict == "impure"
        assert said in result.violations


def test_an_impure_backward_is_reported_before_anything_is_differentiated_twice() -> None:
    def impure(dout: Any, cache: Any) -> Any:
        dout *= 2
        return backward(dout, cache)

    result = check(forward, impure, (X, W), double_backward=double_backward)
    assert result.violations == ("backward changed dout",)


def test_too_few_gradients() -> None:
    with pytest.raises(ValueError, match="2 gradients, expected 3, those of dout of backward, x of") as caught:
        check(forward, backward, (X, W), double_backward=lambda *a: double_backward(*a)[1:])
    assert "in the check of double_backward" in caught.value.__notes__[0]
