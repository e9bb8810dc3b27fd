"""Functions with right and wrong gradients that gradient checkers are tried on; none is of the project.

Each is a kind of trouble: kinks, offsets, decades, coarse numbers, cotangents of any size. ``against_others`` puts
them to other checkers too. What is undecidable by any differences is not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Function(NamedTuple):
    """A forward and a backward at some inputs, whether backward is right, and what a checker has to say of it.

    `coarse` ones are right, but no differences can show it to 1e-7: "undecided" is as good an answer as "ok".
    """

    name: str
    right: bool
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[Array, ...]
    coarse: bool = False


def elementwise(
    name: str, right: bool, f: Any, slope: Any, *inputs: Any, coarse: bool = False, real: bool = False
) -> Function:
    """A function of one array, element by element; `real` ones refuse complex numbers."""

    def forward(x: Array) -> Any:
        if real and np.iscomplexobj(x):
            raise TypeError("real numbers only")
        return f(x), x

    def backward(dout: Array, x: Array) -> Any:
        return (dout * slope(x),)

    return Function(name, right, forward, backward, tuple(np.asarray(x) for x in inputs), coarse)


def bent(name: str, right: bool, change: Any, *, f: Any = np.tanh, slope: Any = None) -> Function:
    """Tanh with a backward that does something to dout first."""
    slope = slope or (lambda x: 1 - np.tanh(x) ** 2)

    def backward(dout: Array, x: Array) -> Any:
        return (change(dout) * slope(x),)

    return Function(name, right, lambda x: (f(x), x), backward, (draw(3)(7),))


def draw(seed: int) -> Callable[..., Array]:
    """Standard normal numbers, of a shape."""
    return lambda *shape: np.random.default_rng(seed).standard_normal(shape)


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def half_zero(n: int, seed: int = 0) -> Array:
    """What comes out of a ReLU."""
    return np.maximum(draw(seed)(n), 0)


def at_zero(value: float) -> Callable[[Array], Array]:
    """ReLU's slope, with this value at 0."""
    return lambda x: np.where(x == 0, value, 1.0 * (x > 0))


def sum_abs(at_kink: float, factor: float = 1.0) -> tuple[Any, Any]:
    """The sum of |x|, one number, with some slope at 0."""
    return (
        lambda x: (np.sum(np.abs(x)), x),
        lambda dout, x: (dout * factor * np.where(x == 0, at_kink, np.sign(x)),),
    )


def leaky(x: Array) -> Array:
    """Slope 1 above 0 and 0.1 below."""
    return np.where(x > 0, x, 0.1 * x)


def hard_tanh(at_bound: float, factor: float = 1.0) -> Any:
    """The slope of a clip to [-1, 1]."""
    return lambda x: factor * np.where(np.abs(x) == 1, at_bound, 1.0 * (np.abs(x) < 1))


def max_pool(share: Any) -> tuple[Any, Any]:
    """The maximum of each row of two, and a backward that gives each tied element its share."""

    def forward(x: Array) -> Any:
        return np.max(x, axis=1), x

    def backward(dout: Array, x: Array) -> Any:
        largest = x == np.max(x, axis=1, keepdims=True)
        return (
            dout[:, None] * np.where(largest & (np.sum(largest, axis=1, keepdims=True) > 1), share, 1.0 * largest),
        )

    return forward, backward


def relu_layer(at_kink: float, factor: float = 1.0) -> tuple[Any, Any]:
    """ReLU of x w, whose outputs each depend on a row of x."""

    def forward(x: Array, w: Array) -> Any:
        s = x @ w
        return relu(s), (x, w, s)

    def backward(dout: Array, cache: Any) -> Any:
        x, w, s = cache
        ds = factor * dout * at_zero(at_kink)(s)
        return ds @ w.T, x.T @ ds

    return forward, backward


def norm(factor: float = 1.0, dbeta: float = 1.0, single: bool = False) -> tuple[Any, Any]:
    """Normalisation of columns, with dx and dbeta times a factor; forward in float32 if `single`."""

    def forward(x: Array, gamma: Array, beta: Array) -> Any:
        if single:
            x, gamma, beta = (np.asarray(a, dtype=np.float32) for a in (x, gamma, beta))
        centred = x - np.mean(x, axis=0)
        sigma = np.sqrt(np.mean(centred**2, axis=0) + 1e-5)
        y = centred / sigma
        return np.asarray(gamma * y + beta, dtype=np.result_type(gamma * y, np.float64)), (y, sigma, gamma)

    def backward(dz: Array, cache: Any) -> Any:
        y, sigma, gamma = cache
        dy = dz * gamma
        dx = (dy - np.mean(dy, axis=0) - y * np.mean(y * dy, axis=0)) / sigma
        return (
            np.asarray(factor * dx, float),
            np.asarray(np.sum(dz * y, axis=0), float),
            np.asarray(dbeta * np.sum(dz, axis=0), float),
        )

    return forward, backward


def matmul32(factor: float = 1.0) -> tuple[Any, Any]:
    """A product in float32 inside of a float64 forward."""
    w = draw(8)(4, 3)

    def forward(x: Array) -> Any:
        return np.tanh((x.astype(np.float32) @ w.astype(np.float32)).astype(np.float64)), x @ w

    def backward(dout: Array, s: Array) -> Any:
        return (factor * (dout * (1 - np.tanh(s) ** 2)) @ w.T,)

    return forward, backward


def one_wrong(n: int, size: float) -> Any:
    """The slope of tanh, with one element of n off by a part of itself."""
    return lambda x: (1 - np.tanh(x) ** 2) * (1 + size * (np.arange(x.size) == n // 3))


def build() -> list[Function]:
    """All functions, the right ones first."""
    normal, small = draw(0)(6), draw(1)
    dtanh = lambda x: 1 - np.tanh(x) ** 2  # noqa: E731
    decades = np.exp(4 * draw(5)(12))
    many = np.exp(4 * draw(6)(150))
    rows = np.array([[1.0, 1.0], [0.5, 2.0], [-1.0, -3.0]])
    bounds = np.array([1.0, -1.0, 0.3, 2.0, -1.7])
    columns = (draw(9)(7, 2), np.array([0.7, -1.3]), np.array([0.2, 0.1]))
    layer = (np.array([[1.0, -1.0, 0.5], [0.0, 0.0, 0.0]]), np.array([[1.0, 2.0], [1.0, 0.5], [0.4, -1.0]]))
    single = tuple(a.astype(np.float32) for a in columns)
    gelu = lambda x: x / (1 + np.exp(-1.702 * x))  # noqa: E731

    def dgelu(x: Array) -> Array:
        s = 1 / (1 + np.exp(-1.702 * x))
        return s + 1.702 * x * s * (1 - s)

    quarter_squares = lambda x: 0.25 * x**2  # noqa: E731
    return [
        elementwise("gelu", True, gelu, dgelu, normal),
        elementwise("relu, all at 0, slope 0", True, relu, at_zero(0.0), np.zeros(5)),
        elementwise("relu, all at 0, slope 1", True, relu, at_zero(1.0), np.zeros(5)),
        elementwise("relu, all at 0, slope 1/2", True, relu, at_zero(0.5), np.zeros(5)),
        elementwise("relu of 600, half at 0", True, relu, at_zero(0.0), half_zero(600)),
        elementwise("leaky relu, 3 of 5 at 0, slope 0.1", True, leaky, lambda x: np.where(x > 0, 1.0, 0.1),
                    np.array([0.0, 1.0, 0.0, -2.0, 0.0])),
        elementwise("hard tanh at its bounds, slope 0", True, lambda x: np.clip(x, -1, 1), hard_tanh(0.0), bounds),
        elementwise("hard tanh at its bounds, slope 1", True, lambda x: np.clip(x, -1, 1), hard_tanh(1.0), bounds),
        Function("sum of |x|, 4 of 8 at 0", True, *sum_abs(0.0), (half_zero(8, 4),)),
        Function("sum of |x|, 200, half at 0", True, *sum_abs(0.0), (half_zero(200, 4),)),
        Function("max pool with a tie, shared", True, *max_pool(0.5), (rows,)),
        Function("max pool with ties at 0, 200 rows", True, *max_pool(0.5), (np.maximum(draw(7)(200, 2), 0),)),
        Function("relu layer, one row of zeros", True, *relu_layer(0.0), layer),
        Function("relu layer, one row of zeros, slope 1", True, *relu_layer(1.0), layer),
        elementwise("|x| + 1e6 at 0", True, lambda x: np.abs(x) + 1e6, np.sign, np.array([0.0, 1.0, -2.0])),
        elementwise("x + 1e9", True, lambda x: x + 1e9, np.ones_like, small(5)),
        elementwise("x + 1e9, real only", True, lambda x: x + 1e9, np.ones_like, small(5), real=True, coarse=True),
        elementwise("3 x at 1e200", True, lambda x: 3 * x, lambda x: 3 + 0 * x, 1e200 * small(5)),
        elementwise("5 x at 1e-312", True, lambda x: 5 * x, lambda x: 5 + 0 * x, 1e-312 * small(5)),
        elementwise("log over many decades", True, np.log, lambda x: 1 / x, decades),
        elementwise("1/x over many decades, 150", True, lambda x: 1 / x, lambda x: -1 / x**2, many),
        elementwise("sqrt over many decades, real only", True, np.sqrt, lambda x: 0.5 / np.sqrt(x), many, real=True),
        Function("sum of log over many decades, 150", True, lambda x: (np.sum(np.log(x)), x),
                 lambda dout, x: (dout / x,), (many,)),
        elementwise("sin(1e6 x)", True, lambda x: np.sin(1e6 * x), lambda x: 1e6 * np.cos(1e6 * x), normal),
        elementwise("ceil, slope 0", True, np.ceil, np.zeros_like, np.array([0.3, 1.45, -2.7])),
        Function("norm", True, *norm(), columns),
        Function("norm, x = 1e8 +- 1", True, *norm(), (columns[0] + 1e8, *columns[1:])),
        Function("norm, float32 inputs", True, *norm(), single),
        Function("bias of 1e-9", True, lambda x, b: (np.cos(x) + b, x),
                 lambda dout, x: (-dout * np.sin(x), np.sum(dout, axis=0)), (draw(2)(5, 2), np.array([1e-9, 3e-9]))),
        bent("dout in two halves", True, lambda d: np.minimum(d, 0) + np.maximum(d, 0)),
        Function("float32 product inside", True, *matmul32(), (draw(11)(3, 4),), coarse=True),
        Function("float32 norm inside", True, *norm(single=True), columns, coarse=True),
        elementwise("rounded to 1e-9", True, lambda x: np.round(np.tanh(x), 9), dtanh, normal, coarse=True),
        elementwise("rounded to 1e-6", True, lambda x: np.round(np.tanh(x), 6), dtanh, normal, coarse=True),
        elementwise("rounded to 1e-3, 100", True, lambda x: np.round(np.tanh(x), 3), dtanh, draw(12)(100),
                    coarse=True),
        # ---------- wrong
        elementwise("gelu, 1e-6 off", False, gelu, lambda x: dgelu(x) * (1 + 1e-6), normal),
        elementwise("relu, all at 0, slope 1.3", False, relu, at_zero(1.3), np.zeros(5)),
        elementwise("relu, all at 0, slope -0.2", False, relu, at_zero(-0.2), np.zeros(5)),
        elementwise("relu of 600, half at 0, slope 1.3 there", False, relu, at_zero(1.3), half_zero(600)),
        elementwise("relu of 600, half at 0, negated", False, relu, lambda x: -at_zero(0.0)(x), half_zero(600)),
        elementwise("relu of 600, half at 0, 1 % off", False, relu, lambda x: 1.01 * at_zero(0.0)(x), half_zero(600)),
        elementwise("relu of 600, half at 0, zero", False, relu, np.zeros_like, half_zero(600)),
        elementwise("leaky relu, slope 0 at 0", False, leaky, lambda x: np.where(x > 0, 1.0, 0.1 * (x < 0)),
                    np.array([0.0, 1.0, 0.0, -2.0, 0.0])),
        elementwise("hard tanh at its bounds, slope 2", False, lambda x: np.clip(x, -1, 1), hard_tanh(2.0), bounds),
        Function("sum of |x|, 4 of 8 at 0, slope 1.5", False, *sum_abs(1.5), (half_zero(8, 4),)),
        Function("sum of |x|, 200, half at 0, doubled", False, *sum_abs(0.0, 2.0), (half_zero(200, 4),)),
        Function("sum of |x|, 200, half at 0, slope -1.2", False, *sum_abs(-1.2), (half_zero(200, 4),)),
        Function("max pool with a tie, 1.5 each", False, *max_pool(1.5), (rows,)),
        Function("max pool with ties at 0, -0.5 each", False, *max_pool(-0.5), (np.maximum(draw(7)(200, 2), 0),)),
        Function("relu layer, one row of zeros, halved", False, *relu_layer(0.0, 0.5), layer),
        Function("relu layer, one row of zeros, slope 1.2", False, *relu_layer(1.2), layer),
        elementwise("|x| + 1e6 at 0, slope 2 there", False, lambda x: np.abs(x) + 1e6,
                    lambda x: np.sign(x) + 2.0 * (x == 0), np.array([0.0, 1.0, -2.0])),
        elementwise("x + 1e9, zero", False, lambda x: x + 1e9, np.zeros_like, small(5)),
        elementwise("x + 1e9, 3 % off, real only", False, lambda x: x + 1e9, lambda x: 1.03 + 0 * x, small(5),
                    real=True),
        elementwise("3 x at 1e200, 1 % off", False, lambda x: 3 * x, lambda x: 3.03 + 0 * x, 1e200 * small(5)),
        elementwise("squares, one of size 1e-9, doubled there", False, quarter_squares,
                    lambda x: np.where(x < 1e-8, x, 0.5 * x), np.array([1.0, 1e-9, 2.0])),
        elementwise("log over many decades, small ones zero", False, np.log, lambda x: (x > 1e-2) / x, decades),
        elementwise("1/x over many decades, 150, large ones zero", False, lambda x: 1 / x,
                    lambda x: (x < 1e2) * -1.0 / x**2, many),
        elementwise("sin(1e6 x), zero", False, lambda x: np.sin(1e6 * x), np.zeros_like, normal),
        Function("norm, 0.1 % off", False, *norm(1.001), columns),
        Function("norm, x = 1e8 +- 1, dbeta 1 % off", False, *norm(dbeta=1.01), (columns[0] + 1e8, *columns[1:])),
        Function("norm, float32 inputs, 0.1 % off", False, *norm(1.001), single),
        Function("bias of 1e-9, zero", False, lambda x, b: (np.cos(x) + b, x),
                 lambda dout, x: (-dout * np.sin(x), 0 * np.sum(dout, axis=0)),
                 (draw(2)(5, 2), np.array([1e-9, 3e-9]))),
        Function("an input beside one at 1e10, zero", False, lambda x, b: (np.tanh(x) + (b - 1e10), x),
                 lambda dout, x: (0 * dout, dout), (draw(2)(5), np.full(5, 1e10))),
        bent("dout clipped at 5", False, lambda d: np.clip(d, -5, 5)),
        bent("dout below 1e-4 dropped", False, lambda d: d * (np.abs(d) > 1e-4)),
        bent("dout below 1e-3 of the largest dropped", False, lambda d: d * (np.abs(d) > 1e-3 * np.max(np.abs(d)))),
        bent("negative dout dropped", False, lambda d: np.maximum(d, 0)),
        bent("sign of dout", False, np.sign),
        bent("|dout| for dout", False, np.abs),
        bent("dout + dout**3", False, lambda d: d + 1e-9 * d**3),
        bent("dout to 3 digits", False, lambda d: np.round(d, 3)),
        Function("float32 product inside, 1 % off", False, *matmul32(1.01), (draw(11)(3, 4),)),
        elementwise("rounded to 1e-6, 1 % off", False, lambda x: np.round(np.tanh(x), 6), lambda x: 1.01 * dtanh(x),
                    normal),
        elementwise("one of 20,000 off by 1e-4", False, np.tanh, one_wrong(20000, 1e-4), draw(13)(20000)),
        elementwise("one of 300 doubled, real only", False, np.tanh, one_wrong(300, 1.0), draw(13)(300), real=True),
    ]  # fmt: skip
