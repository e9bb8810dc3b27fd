"""The layers and the optimiser, the plain way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mabn_ref.arrays import Array


def conv2d(x: Array, w: Array, *, stride: int, padding: int) -> Array:
    """Every output position looks at its own piece of the padded image."""
    kh, kw = w.shape[:2]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = np.empty((len(x), rows, columns, w.shape[3]), np.result_type(float, x, w))
    for i in range(rows):
        for j in range(columns):
            piece = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw, :]
            out[:, i, j, :] = np.tensordot(piece, w, 3)
    return out


def cross_iteration(
    x: Array, w: Array, gamma: Array, beta: Array, *, means: Array, variances: Array, eps: float, **options: Any
) -> Array:
    """One channel at a time: mean and mean square of every iteration, this one last, averaged."""
    out = conv2d(x, w, **options)
    channels = []
    for c in range(len(gamma)):
        here = out[..., c]
        mu = np.mean([*means[:, c], here.mean()])
        nu = np.mean([*(variances[:, c] + means[:, c] ** 2), (here**2).mean()])
        channels.append(gamma[c] * (here - mu) / (nu - mu**2 + eps) ** 0.5 + beta[c])
    return np.stack(channels, axis=-1)


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


def threshold(x: Array, tau: Array) -> Array:
    """The larger of a value and its channel's threshold."""
    return np.stack([np.where(x[..., c] > tau[c], x[..., c], tau[c]) for c in range(len(tau))], axis=-1)


def dynamic_tanh(x: Array, alpha: Array, gamma: Array, beta: Array) -> Array:
    """A curve, made of exponentials."""
    up, down = np.exp(alpha[0] * x), np.exp(-alpha[0] * x)
    return gamma * (up - down) / (up + down) + beta


def dynamic_erf(x: Array, alpha: Array, s: Array, gamma: Array, beta: Array) -> Array:
    """A curve, value by value."""
    return gamma * np.vectorize(math.erf)(alpha[0] * x + s[0]) + beta


def global_average_pool(x: Array) -> Array:
    """One image at a time."""
    return np.stack([image.reshape(-1, x.shape[3]).mean(axis=0) for image in x])


def upsample(x: Array) -> Array:
    """Pixel by pixel: an output looks up where it lies, halved."""
    n, h, w, c = x.shape
    out = np.empty((n, 2 * h, 2 * w, c), np.result_type(float, x))
    for i, j in np.ndindex(2 * h, 2 * w):
        out[:, i, j] = x[:, i // 2, j // 2]
    return out


def bias(x: Array, b: Array) -> Array:
    """One channel at a time."""
    return np.stack([x[..., c] + b[c] for c in range(len(b))], axis=-1)


def focal_loss(logits: Array, *, truth: Array, alpha: float = 0.25, gamma: float = 2.0) -> Array:
    """One question at a time: a weight, how far the answer is from right, and its cross-entropy."""
    total = 0.0
    for x, yes in zip(logits.ravel(), truth.ravel(), strict=True):
        p = 1 / (1 + np.exp(-x)) if yes else 1 / (1 + np.exp(x))
        total += (alpha if yes else 1 - alpha) * (1 - p) ** gamma * -np.log(p)
    return np.asarray(total / max(truth.sum(), 1))


def iou_loss(logs: Array, *, truth: Array) -> Array:
    """One box at a time, its corners seen from the place in it."""
    losses = []
    for o, d in zip(logs, truth, strict=True):
        (x0, y0), (x1, y1) = -np.exp(o[:2]), np.exp(o[2:])
        (a0, b0), (a1, b1) = -d[:2], d[2:]
        shared = (min(x1, a1) - max(x0, a0)) * (min(y1, b1) - max(y0, b0))
        losses.append(1 - shared / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared))
    return np.mean(losses)


def residual(x: Array, f: Array, s: Array) -> Array:
    """A block whose branches multiply by f and by s."""
    return np.array([x_i * f_i + x_i * s_i for x_i, f_i, s_i in zip(x, f, s, strict=True)])


def softmax_cross_entropy(logits: Array, *, labels: Array) -> Array:
    """Minus the logarithm of each right class's probability, averaged."""
    odds = [np.exp(row) / np.exp(row[label]) for row, label in zip(logits, labels, strict=True)]
    return np.mean([np.log(sum(row)) for row in odds])


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
