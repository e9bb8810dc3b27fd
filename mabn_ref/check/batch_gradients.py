"""Every known backward pass of a layer with a convention: the right one, and what people write instead.

The right dx is the derivative of the layer's own forward with r and d held constant; for MABN it is (20).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.batch_model import Model, Pass, through_gamma
from mabn_ref.check.conventions import Convention


class Terms(NamedTuple):
    """The symbols of (4), (16) and (20), all of shapes that broadcast with (G, M, K)."""

    dz: Array
    dn: Array  #: gamma * dz
    dy: Array  #: gamma * r * dz
    y: Array
    #: n sigma times the derivative of sigma by x: y, where sigma is the root of the mean square or the variance
    moved: Array
    sigma: Array
    std: Array
    r: Array
    n: int
    g: Array
    psi: Array


def _mean(a: Array) -> Array:
    return np.asarray(a.sum(axis=1, keepdims=True) / a.shape[1])


def _terms(model: Model, dz: Array) -> Terms:
    p, c = model.last, model.c
    dz = p.batch.cut(dz)
    sigma, r, n = p.sigma[:, None], p.r[:, None], p.batch.x.shape[1]
    raw = p.batch.var if c.statistic == "variance" else p.batch.square
    std = np.sqrt(raw)[:, None]
    moved = p.y - _mean(p.y) if c.statistic == "variance" and not model.centred else p.y
    if c.variance == "unbiased" and n > 1:
        moved = moved * (n / (n - 1))
        std = std * np.sqrt(n / (n - 1))
    if c.by != "batch":
        moved = np.zeros_like(p.y)
    elif c.eps_at == "largest":
        moved = np.where(std**2 > c.eps, moved, 0)
    elif c.root == "no":
        moved = moved * 2 * sigma
    elif c.eps_at == "outside":
        moved = moved * sigma / std
    gamma = through_gamma(p.gamma, c)
    dy = gamma * dz * r
    g = _mean(dy) if model.centred and c.by == "batch" else np.zeros_like(sigma)
    return Terms(dz, gamma * dz, dy, p.y, moved, sigma, std, r, n, g, _mean(p.y * dy))


def of_parameters(
    c: Convention,
    dz: Array,
    y: Array,
    gamma: Array,
    own: Mapping[str, Callable[[], Array]],
    beta: Array | None = None,
    whole: Callable[[Array], Array] = np.asarray,
) -> Iterator[Array]:
    """Yield dgamma and dbeta, where gamma multiplied y; `own` has what a normaliser sums in other conventions.

    `whole` brings the summands into the shape of the call.
    """
    shift: Any = 0.0 if beta is None else beta
    right = {
        "(y + beta) gamma": lambda: dz * (y + shift),
        "|gamma|": lambda: dz * y * np.sign(gamma),
        "|gamma| + eps": lambda: dz * y * np.sign(gamma),
        "gamma forgotten": lambda: 0 * dz,
    }.get(c.affine, lambda: dz * y)
    kinds = {
        "times gamma": lambda: gamma * dz * y,
        "of z": lambda: dz * (gamma * y + shift),
        "of dz": lambda: dz,
        "none": lambda: 0 * dz,
        **own,
    }
    terms = kinds.get(c.dgamma, right)()
    shifted = gamma * dz if c.affine == "(y + beta) gamma" else dz
    shifted = 0 * dz if c.dbeta == "none" or c.affine == "beta forgotten" else shifted
    for kind, a in ((c.dgamma, terms), (c.dbeta, shifted)):
        summed = whole(a)
        axes = tuple(range(summed.ndim - 1))
        over = {"mean": math.prod(summed.shape[:-1]), "mean over samples": len(summed)}
        yield summed.sum(axis=axes) / over.get(kind, 1)


def backward(model: Model, dz: Array) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta by the formulas that the convention names."""
    p, c, t = model.last, model.c, _terms(model, dz)
    dx = _mabn(model, p, t) if model.norm == "mabn" else _derivative(model, p, t)
    own = {"without d": lambda: t.dz * t.y * t.r, "before corrections": lambda: t.dz * t.y}
    own |= {"not normalised": lambda: t.dz * t.y * t.sigma, "of x": lambda: t.dz * p.batch.x}
    given = (t.dz * t.r, t.y) if c.affine == "before r" else (t.dz, t.y * t.r + p.d[:, None])
    dgamma, dbeta = of_parameters(c, *given, p.gamma, own, p.beta, p.batch.whole)
    return p.batch.whole(dx), dgamma, dbeta


def _derivative(model: Model, p: Pass, t: Terms) -> Array:
    c, hat = model.c, p.sigma_hat[:, None]
    positions, y_std = t.n // p.batch.samples, t.y * t.sigma / t.std

    def means(dy: Array) -> tuple[Array, Array]:
        """g and Psi."""
        found = _mean(dy) if model.centred and c.by == "batch" else 0 * t.sigma, _mean(t.y * dy)
        return tuple(np.mean(a, axis=2, keepdims=True) for a in found) if c.shared_by == "channels" else found

    def through_shift() -> Any:
        """What the shift d * sqrt(var) / sigma adds, since it depends on x too."""
        if c.eps_at != "after r":
            return 0.0
        return _mean(t.dn) * p.d[:, None] * (1 / t.std**2 - 1 / t.sigma**2) * t.moved * t.sigma

    def late() -> Array:
        """The right formula without gamma."""
        return (bare - means(bare)[0] - t.moved * means(bare)[1]) / t.sigma + through_shift() / p.gamma

    def through_r() -> Array:
        steep = {
            "squares": lambda: 2 * t.sigma / hat**2,
            "variance": lambda: 2 * t.sigma / hat,
            "variance over square": lambda: 2 * t.sigma / hat**2,
            "inverted": lambda: -hat / t.sigma**2,
        }.get(c.r_of, lambda: 1 / hat)()
        return np.where(p.r_free[:, None], _mean(t.dn * t.y), 0) * steep * t.moved

    def through_d() -> Array:
        return np.where(p.d_free[:, None], _mean(t.dn), 0) / hat

    bare, (g, psi) = t.dz * t.r, means(t.dy)
    right = (t.dy - g - t.moved * psi) / t.sigma + through_shift()
    formulas: dict[str, Callable[[], Array]] = {
        "right": lambda: right,
        "no g": lambda: (t.dy - t.moved * psi) / t.sigma,
        "no psi": lambda: (t.dy - g) / t.sigma,
        "psi twice": lambda: (t.dy - g - 2 * t.moved * psi) / t.sigma,
        "psi added": lambda: (t.dy - g + t.moved * psi) / t.sigma,
        "g added": lambda: (t.dy + g - t.moved * psi) / t.sigma,
        "no gamma, psi added": lambda: (bare - means(bare)[0] + t.moved * means(bare)[1]) / t.sigma,
        "psi halved": lambda: (t.dy - g - t.moved * psi / 2) / t.sigma,
        "over samples": lambda: (t.dy - positions * (g + t.moved * psi)) / t.sigma,
        "g over samples": lambda: (t.dy - positions * g - t.moved * psi) / t.sigma,
        "psi over samples": lambda: (t.dy - g - positions * t.moved * psi) / t.sigma,
        "statistics constant": lambda: t.dy / t.sigma,
        "sums": lambda: (t.dy - t.n * g - t.moved * t.n * psi) / t.sigma,
        "whole call": lambda: (t.dy - g.mean(axis=0) - t.moved * psi.mean(axis=0)) / t.sigma,
        "gamma last": lambda: p.gamma * late(),
        "no gamma": late,
        "over variance": lambda: right / t.sigma,
        "over std": lambda: right * t.sigma / t.std,
        "times sigma": lambda: right * t.sigma,
        "recomputed without eps": lambda: (t.dy - g - y_std * _mean(y_std * t.dy)) / t.std,
        "keeps g": lambda: right - _mean(t.dy) / t.sigma,
        "r forgotten": lambda: right / t.r,
        "through r": lambda: right + through_r(),
        "through d": lambda: right + through_d(),
        "through r and d": lambda: right + through_r() + through_d(),
        "formula (4)": lambda: (t.dy - g - t.y * psi) / t.sigma,
    }
    return formulas[c.dx]()


def _mabn(model: Model, p: Pass, t: Terms) -> Array:
    """(20), from an average of Psi as `_psi` makes it; the kinds that do not end like (20) come first."""
    kind, c = model.c.dx, model.c
    if kind == "no psi":
        return t.dy / t.sigma
    if kind == "dx averaged":
        own = (t.dy - t.y * t.psi) / t.sigma
        return _averaged(model, own.reshape(len(own), -1)).reshape(t.y.shape)
    if kind in ("one call", "through r"):
        reached = t.psi[:, 0] / p.sigma**2
        if kind == "through r":
            reached = reached - np.where(p.r_free, _mean(t.dn * t.y)[:, 0], 0) / (p.sigma_hat * p.sigma)
        return t.dy / t.sigma - t.y * t.sigma * _future(model, p, reached)
    average = _psi(model, p, t)[:, None]
    dy = t.r * t.dz if kind == "no gamma" else t.dn if kind == "r forgotten" else t.dy
    y = t.y * t.r if kind == "renormalised y" else t.y
    if kind in ("sums", "no gamma", "renormalised y", "r forgotten"):
        return (dy - y * average) / t.sigma
    dx = (dy - t.g - (y - _mean(y) if c.statistic == "variance" else y) * average) / t.sigma
    if kind == "over variance":
        return dx / t.sigma
    if kind == "batch chi":
        raw = p.batch.var if c.statistic == "variance" else p.batch.square
        return dx * t.sigma / np.sqrt(raw + c.eps)[:, None]
    return dx - _mean(t.dy) / t.sigma if kind == "keeps g" else dx


def _psi(model: Model, p: Pass, t: Terms) -> Array:
    """The average of Psi_B that the convention names, (G, K)."""
    kind = model.c.dx
    psi = t.n * t.psi if kind == "sums" else t.psi
    if kind in ("no gamma", "psi without gamma", "gamma after the average"):  # earlier batches' Psi_B lacks it too
        psi = _mean(t.y * t.r * t.dz)
    elif kind in ("renormalised y", "psi of r y"):
        psi = _mean(t.y * t.r * t.dy)
    elif kind in ("psi without r", "r forgotten"):
        psi = _mean(t.y * t.dn)
    psi = psi[:, 0]
    if kind == "psi of this batch":
        return psi
    average = _averaged(model, psi)
    return p.gamma * average if kind == "gamma after the average" else average


def _averaged(model: Model, rows: Array) -> Array:
    """The average that the convention names, a row per batch; during warm-up, unless ignored, the row itself."""
    kind, m, decay, found = model.c.dx, model.c.window, model.c.decay, []
    for row, own in zip(rows, model.last.own, strict=True):
        earlier = [held for held in model.psi_held if np.shape(held) == row.shape]
        model.psi_held = [*earlier, row][-m:]
        if kind == "psi one late":
            average = sum(earlier) / max(len(earlier), 1) + 0 * row
        elif kind.startswith("psi exponential"):
            first = row if kind.endswith("from the first") else 0 * row
            average = decay * (earlier[-1] if earlier else first) + (1 - decay) * row
            model.psi_held = [average]
        else:
            short = int(kind == "one short")
            held = model.psi_held[short - m :] if m > short else [row]
            average = sum(held) / (m if kind == "zeros counted" else len(held))
        found.append(row if own and kind != "no warm-up" else average)
    return np.stack(found)


def _future(model: Model, p: Pass, terms: Array) -> Array:
    """For each batch, the sum of terms, (G, K), over the batches of this call whose windows hold it, by its share."""
    groups, m = len(terms), model.c.window
    found = []
    for g in range(groups):
        reach = [s for s in range(g, min(g + m, groups)) if not p.own[s] or s == g]
        found.append(sum(terms[s] * p.share[s] for s in reach))
    return np.stack(found)[:, None]
