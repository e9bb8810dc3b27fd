"""Small passes that the checker is tried on: right ones, and ways to get them wrong. None is of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Pair(NamedTuple):
    """A forward and its backward, and inputs drawn for them."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[np.random.Generator], tuple[Array, ...]]


def values(rng: np.random.Generator, shape: tuple[int, ...], high: float = 3) -> Array:
    """Channels of scale 1e-3 to 10**high, at up to 3 scales from zero."""
    return 10 ** rng.uniform(-3, high, shape[-1]) * (rng.standard_normal(shape) + rng.uniform(-3, 3, shape[-1]))


def norm(eps: float, mistake: str = "") -> Pair:
    """Batch normalisation, with an optional mistake in its backward."""

    def forward(x: Array, gamma: Array, beta: Array) -> Any:
        centred = x - np.mean(x, axis=0)
        sigma = np.sqrt(np.mean(centred**2, axis=0) + eps)
        y = centred / sigma
        return gamma * y + beta, (y, sigma, gamma)

    def backward(dz: Array, cache: Any) -> Any:
        y, sigma, gamma = cache
        m = len(y)
        dy = dz if mistake == "gamma forgotten" else dz * gamma
        g, psi = np.mean(dy, axis=0), np.mean(y * dy, axis=0)
        if mistake == "eps forgotten":
            sigma = np.sqrt(sigma**2 - eps)
        if mistake == "g dropped":
            g = 0 * g
        if mistake == "psi dropped":
            psi = 0 * psi
        if mistake == "unbiased":
            psi = psi * m / (m - 1)
        if mistake == "sum for mean":
            g = g * m
        dx, dgamma, dbeta = (dy - g - y * psi) / sigma, np.sum(dz * y, axis=0), np.sum(dz, axis=0)
        if mistake == "one per cent":
            dx = dx * 1.01
        if mistake == "one element":
            dx[0, 0] *= 1.01
        if mistake == "zero":
            dx = 0 * dx
        if mistake == "dgamma by x":
            dgamma = np.sum(dz * (y * sigma), axis=0)
        if mistake == "dbeta averaged":
            dbeta = dbeta / m
        return dx, dgamma, dbeta

    def draw(rng: np.random.Generator) -> tuple[Array, ...]:
        rows, channels = int(rng.integers(3, 5)), int(rng.integers(1, 3))
        gamma = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels)
        high = 0 if mistake == "eps forgotten" else 3  # where it matters
        return values(rng, (rows, channels), high), gamma, rng.standard_normal(channels)

    return Pair(forward, backward, draw)


def slope_two(slope: float = 2.0) -> Pair:
    """Multiply by 2; HIPS autograd's test of its checker."""
    return Pair(lambda x: (2 * x, None), lambda dout, _: slope * dout, lambda rng: (values(rng, (3, 2)),))


def tanh_layer(mistake: str = "") -> Pair:
    """Compute tanh(x w)."""

    def forward(x: Array, w: Array) -> Any:
        y = np.tanh(x @ w)
        return y, (x, w, y)

    def backward(dout: Array, cache: Any) -> Any:
        x, w, y = cache
        ds = dout * (1 - y) if mistake == "square forgotten" else dout * (1 - y**2)
        return ds @ w.T, (x.T @ dout if mistake == "activation forgotten" else x.T @ ds)

    return Pair(forward, backward, lambda rng: (rng.standard_normal((2, 3)), rng.standard_normal((3, 1))))


def relu(mistake: str = "") -> Pair:
    """Compute max(x, 0)."""

    def backward(dout: Array, x: Array) -> Array:
        return dout * (x > 0) * 1.01 if mistake else dout * (x > 0)

    def draw(rng: np.random.Generator) -> tuple[Array, ...]:
        return (rng.permutation([1.0, -1.0, 1.0, -1.0]) * rng.uniform(0.1, 3, 4),)

    return Pair(lambda x: (np.maximum(x, 0), x), backward, draw)


def row_max(mistake: str = "") -> Pair:
    """Take the largest of each row; in a tie the gradient goes to the first."""

    def forward(x: Array) -> Any:
        return np.max(x, axis=1), x

    def backward(dout: Array, x: Array) -> Array:
        dx = np.zeros_like(x)
        dx[np.arange(len(x)), np.argmin(x, axis=1) if mistake else np.argmax(x, axis=1)] = dout
        return dx

    return Pair(forward, backward, lambda rng: (rng.standard_normal((2, 3)),))


def softmax_loss(mistake: str = "") -> Pair:
    """Mean cross entropy with fixed labels, a scalar."""
    labels = np.eye(3)[[0, 2]]

    def forward(logits: Array) -> Any:
        shifted = np.exp(logits - np.max(logits.real, axis=1, keepdims=True))
        p = shifted / np.sum(shifted, axis=1, keepdims=True)
        return -np.sum(labels * np.log(p)) / 2, p

    def backward(dloss: Array, p: Array) -> Array:
        return dloss * (p - labels) / (1 if mistake else 2)

    return Pair(forward, backward, lambda rng: (2 * rng.standard_normal((2, 3)),))


RIGHT = {
    "norm, eps 1e-5": norm(1e-5),
    "norm, eps 0.1": norm(0.1),
    "norm, eps 1": norm(1.0),
    "slope 2": slope_two(),
    "tanh layer": tanh_layer(),
    "relu": relu(),
    "row max": row_max(),
    "softmax loss": softmax_loss(),
}

WRONG = {
    **{
        f"norm, {mistake}": norm(1e-5, mistake)
        for mistake in (
            "gamma forgotten",
            "g dropped",
            "psi dropped",
            "unbiased",
            "sum for mean",
            "one per cent",
            "one element",
            "zero",
            "dgamma by x",
            "dbeta averaged",
        )
    },
    "norm, eps 0.1 forgotten": norm(0.1, "eps forgotten"),
    "norm, eps 1 forgotten": norm(1.0, "eps forgotten"),
    "slope 2.001": slope_two(2.001),
    "tanh layer, square forgotten": tanh_layer("square forgotten"),
    "tanh layer, activation forgotten": tanh_layer("activation forgotten"),
    "relu, one per cent": relu("one per cent"),
    "row max, at the smallest": row_max("at the smallest"),
    "softmax loss, sum for mean": softmax_loss("sum for mean"),
}
