"""The layers and the optimiser, the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array


def conv2d(x: Array, w: Array, *, stride: int, padding: int) -> Array:
    """Every output position looks at its own piece of the padded image."""
    kh, kw = w.shape[:2]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = np.empty((len(x), rows, columns, w.shape[3]))
    for i in range(rows):
        for j in range(columns):
            piece = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw, :]
            out[:, i, j, :] = np.tensordot(piece, w, 3)
    return out


def centralize(w: Array) -> Array:
    """(18): one output filter at a time."""
    return np.stack([w[..., o] - w[..., o].mean() for o in range(w.shape[3])], axis=3)


def standardize(w: Array, *, eps: float = 1e-5) -> Array:
    """One output filter at a time."""
    filters = [w[..., o] for o in range(w.shape[3])]
    return np.stack([(f - f.mean()) / (((f - f.mean()) ** 2).mean() + eps) ** 0.5 for f in filters], axis=3)


def linear(x: Array, w: Array, b: Array) -> Array:
    """One sample at a time."""
    return np.stack([sum(x[n, i] * w[i] for i in range(len(w))) + b for n in range(len(x))])


def relu(x: Array) -> Array:
    """The positive part."""
    return np.where(x > 0, x, 0)


def global_average_pool(x: Array) -> Array:
    """One image at a time."""
    return np.stack([image.reshape(-1, x.shape[3]).mean(axis=0) for image in x])


def upsample(x: Array) -> Array:
    """Pixel by pixel: an output looks up where it lies, halved."""
    n, h, w, c = x.shape
    out = np.empty((n, 2 * h, 2 * w, c))
    for i, j in np.ndindex(2 * h, 2 * w):
        out[:, i, j] = x[:, i // 2, j // 2]
    return out


def softmax_cross_entropy(logits: Array, *, labels: Array) -> Array:
    """Minus the logarithm of each right class's probability, averaged."""
    odds = [np.exp(row) / np.exp(row[label]) for row, label in zip(logits, labels, strict=True)]
    return np.mean([np.log(sum(row)) for row in odds])


LAYERS: dict[str, Any] = {
    "conv2d": conv2d,
    "centralize": centralize,
    "standardize": standardize,
    "linear": linear,
    "relu": relu,
    "global_average_pool": global_average_pool,
    "upsample": upsample,
    "softmax_cross_entropy": softmax_cross_entropy,
}
"""By the name of the module in `mabn_ref.nn`."""


def sgd(
    params: list[dict[str, Array]], grads: Any, *, lr: float, momentum: float, weight_decay: float
) -> Iterator[tuple[list[dict[str, Array]], list[dict[str, Array]]]]:
    """Yield the parameters and velocity after each step."""
    params = [dict(layer) for layer in params]
    velocity = [{name: np.zeros(p.shape) for name, p in layer.items()} for layer in params]
    for grad in grads:
        for layer, g, v in zip(params, grad, velocity, strict=True):
            for name in layer:
                v[name] = momentum * v[name] + g[name] + weight_decay * layer[name]
                layer[name] = layer[name] - lr * v[name]
        yield [dict(layer) for layer in params], [dict(v) for v in velocity]
