"""Batch norm's double backward: differences of backward, 50 digits, PyTorch, and mistakes that have to be found."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mabn_ref.gradcheck import check, exact
from mabn_ref.mistakes import edited
from mabn_ref.norms import batch_norm, batch_norm_double
from tests.strategies import many, parameters, sample


def checked(module: Any, seed: int, numbers: Any = lambda a: a, low: float = -3, **settings: Any) -> Any:
    """The check of a version of the module, on two normalisation batches."""
    rng = np.random.default_rng(seed)
    config = batch_norm.Config(**{"norm_batch": 3, "eps": 0.1} | settings)
    x, (gamma, beta) = sample(rng, (6, 1), low=low), parameters(rng, 1)
    state = batch_norm.init(1, config, dtype=float)
    state = state._replace(mean=numbers(state.mean), var=numbers(state.var))

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        return batch_norm.forward(x, gamma, beta, state, config)[:2]

    def backward(dz: Any, cache: Any) -> Any:
        return batch_norm.backward(dz, cache, state._replace(iteration=2))[:3]

    def twice(dgradients: Any, dz: Any, cache: Any) -> Any:
        return module.double_backward(*dgradients, dz, cache)

    return check(forward, backward, tuple(map(numbers, (x, gamma, beta))), double_backward=twice, seed=seed)


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_it_is_the_derivative_of_backward(eps: float) -> None:
    """eq: bn-double-dz, bn-double-gamma, bn-double-y, bn-double-x"""
    for seed in range(many(1, 1000)):
        result = checked(batch_norm_double, seed, eps=eps)
        assert result.verdict == "ok", (seed, result)
        assert len(result.inputs) == 7


def test_fifty_digits() -> None:
    """eq: bn-double-dz, bn-double-gamma, bn-double-y, bn-double-x"""
    result = checked(batch_norm_double, 0, numbers=exact)
    assert result.verdict == "ok", result
    assert max(found.error for found in result.inputs) <= 1e-25


MISTAKES = {
    "sigma is a constant": ({"mean(y * w) + mean(a * dx)": "mean(y * w)"}, {"x"}),
    "y is a constant in the last term": ({"(a * psi + dy * psi_a)": "a * psi"}, {"x"}),
    "y is a constant in the mean": ({"(a * psi + dy * psi_a)": "dy * psi_a"}, {"x"}),
    "dgamma is forgotten": ({"ddgamma * dz - ": "-", "+ ddgamma * y": ""}, {"x", "dout"}),
    "dbeta is forgotten": ({" + ddbeta": ""}, {"dout"}),
    "gamma is forgotten": ({"ddz = gamma * moved": "ddz = moved"}, {"dout"}),
    "statistics of the whole call": (
        {"psi_a = mean(y * a)": "psi_a = mean(y * a).mean(axis=0, keepdims=True)"},
        {"x", "dout", "gamma"},
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found_by_the_second_check_alone(name: str) -> None:
    edits, where = MISTAKES[name]
    wrong: ModuleType = edited(batch_norm_double, edits.items(), name=name)
    for seed in range(many(1, 200)):
        result = checked(wrong, seed, low=-1)  # beside the root of eps smaller y hide what is multiplied by them
        found = {of.name for of in result.inputs if of.verdict == "wrong"}
        assert found == {f"{what} of backward" for what in where}, (seed, result)


def test_the_gradient_by_beta_is_zero_whatever_it_is_a_gradient_of() -> None:
    rng = np.random.default_rng(4)
    x, dz, a = rng.standard_normal((3, 4, 2))
    config = batch_norm.Config()
    _, cache, _ = batch_norm.forward(x, a[0], a[1], batch_norm.init(2, config, dtype=float), config)
    *_, dbeta = batch_norm_double.double_backward(a, a[0], np.array([0.0, 3.0]), dz, cache)
    assert dbeta.tolist() == [0, 0]


@pytest.mark.frameworks
def test_it_is_that_of_pytorch() -> None:
    """eq: bn-double-dz, bn-double-gamma, bn-double-x"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(3)
    x, dz, a = rng.standard_normal((3, 4, 5, 2))
    gamma, beta, p, q = rng.standard_normal((4, 2))
    config = batch_norm.Config(eps=0.1)
    _, cache, _ = batch_norm.forward(x, gamma, beta, batch_norm.init(2, config, dtype=float), config)
    ours = batch_norm_double.double_backward(a, p, q, dz, cache)
    leaves = [torch.tensor(value, requires_grad=True) for value in (dz, x, gamma, beta)]
    dz_, x_, gamma_, beta_ = leaves
    z = torch.nn.functional.batch_norm(x_.movedim(-1, 1), None, None, gamma_, beta_, training=True, eps=0.1)
    first = torch.autograd.grad(z, leaves[1:], dz_.movedim(-1, 1), create_graph=True)
    loss = sum((torch.tensor(c) * value).sum() for c, value in zip((a, p, q), first, strict=True))
    theirs = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert theirs[3] is None or not theirs[3].any()
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ddx": np.zeros((4, 2))}, ValueError, r"ddx has shape \(4, 2\), expected \(4, 3\)"),
        ({"ddgamma": np.zeros(2)}, ValueError, r"ddgamma has shape \(2,\), expected \(3,\)"),
        (
            {"ddbeta": np.zeros(3, dtype=np.float32)},
            TypeError,
            "ddbeta has dtype float32, expected float64, the dtype of the forward pass",
        ),
        (
            {"ddx": np.zeros((4, 3), dtype=complex)},
            TypeError,
            "ddx has dtype complex128, expected float64, the dtype",
        ),
        ({"dz": np.zeros((4, 2))}, ValueError, r"dz has shape \(4, 2\), expected \(4, 3\)"),
        ({"cache": None}, TypeError, r"cache is None, expected a batch_norm\.Cache"),
    ],
)
def test_bad_arguments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    one, config = np.ones(3), batch_norm.Config()
    x = np.arange(12.0).reshape(4, 3)
    _, cache, _ = batch_norm.forward(x, one, one, batch_norm.init(3, config, dtype=float), config)
    arguments = {"ddx": x, "ddgamma": one, "ddbeta": one, "dz": x, "cache": cache} | change
    with pytest.raises(error, match=message):
        batch_norm_double.double_backward(**arguments)
