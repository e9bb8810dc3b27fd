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

    def empties(dgradients: Any, dout: Any, cache: Any) -> Any:
        found = double_backward(dgradients, dout, cache)
        dgradients[0][...] = 0
        return found

    def scales(dgradients: Any, dout: Any, cache: Any) -> Any:
        dout *= 2
        return double_backward(dgradients, dout, cache)

    for wrong, said in (
        (empties, "double_backward changed dgradients"),
        (scales, "double_backward changed dout"),
        (changes, "double_backward changed cache"),
        (differs, "double_backward returned different numbers on a second call"),
    ):
        result = check(forward, backward, (X, W), double_backward=wrong)
        assert result.verdict == "impure"
        assert said in result.violations
        assert said != "double_backward changed dout" or len(result.violations) == 1


def test_an_impure_backward_is_reported_before_anything_is_differentiated_twice() -> None:
    def impure(dout: Any, cache: Any) -> Any:
        dout *= 2
        return backward(dout, cache)

    result = check(forward, impure, (X, W), double_backward=double_backward)
    assert result.violations == ("backward changed dout",)


def test_too_few_gradients() -> None:
    said = "double_backward returned 2 gradients, expected 3, those of dout of backward, x of"
    with pytest.raises(ValueError, match=said) as caught:
        check(forward, backward, (X, W), double_backward=lambda *a: double_backward(*a)[1:])
    assert "in the check of double_backward" in caught.value.__notes__[0]


def test_each_function_is_called_by_its_own_name() -> None:
    """Backward is what is differentiated; what it does with complex numbers is not said of forward."""

    def real(dout: Any, cache: Any) -> Any:
        return tuple(map(np.real, backward(dout, cache)))

    result = check(forward, real, (X, W), double_backward=lambda *a: double_backward(*a, forget=True))
    assert result.worst.refusal == "backward returned float64 for complex input"
    assert "double_backward says" in str(result.worst)

    def clipped(dgradients: Any, dout: Any, cache: Any) -> Any:
        return double_backward(tuple(np.clip(g, -5e3, 5e3) for g in dgradients), dout, cache)

    reason = check(forward, backward, (X, W), double_backward=clipped).worst.reason
    assert reason.startswith("double_backward is not linear in dgradients: ")
