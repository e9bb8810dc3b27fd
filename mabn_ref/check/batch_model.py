"""All conventions in one layer: the arithmetic that a target's numbers are compared with.

Unlike `mabn_ref.norms`, which is written to be read, this is written to be bent. It takes one call after the other,
like the layers that it imitates. A test compares it with `mabn_ref.norms` where nothing is bent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.conventions import Convention
from mabn_ref.check.scenarios import LIKE


@dataclass(frozen=True)
class Batch:
    """A call in the canonical form (G, M, K), with its statistics (G, K).

    For normalisation batches K is C, or positions times C; if samples are normalised alone, K is 1.
    """

    x: Array
    mean: Array
    var: Array
    square: Array
    samples: int
    positions: int  #: how many times the channels are repeated in K
    shape: tuple[int, ...]  #: of the call, (N, ..., C)
    split: tuple[int, ...]
    order: list[int]  #: the axes of `split` that are G, M and K

    def cut(self, a: Array) -> Array:
        """Bring an array of the shape of the call into the canonical form."""
        return a.reshape(self.split).transpose(self.order).reshape(self.x.shape)

    def whole(self, a: Array) -> Array:
        """Bring the canonical form, or an array that is constant along M, into the shape of the call."""
        if a.shape != self.x.shape:
            a = np.broadcast_to(a, self.x.shape)
        apart, back = self._back
        return a.reshape(apart).transpose(back).reshape(self.shape)

    @functools.cached_property
    def _back(self) -> tuple[list[int], list[int]]:
        """The lengths of `split` in canonical order, and the permutation that brings its axes back."""
        return [self.split[k] for k in self.order], [self.order.index(k) for k in range(len(self.order))]

    def largest(self, a: Array) -> Array:
        """The largest value of the canonical form in every channel, (C,)."""
        return np.asarray(self.whole(a).reshape(-1, self.shape[-1]).max(axis=0))


def batch_of(x: Array, samples: int, shared_by: str) -> Batch:
    """Cut a call into normalisation batches of `samples`, and take their statistics."""
    positions = 1
    samples = {"call": len(x), "sample": 1}.get(shared_by, samples)
    if shared_by == "position":
        positions = int(np.prod(x.shape[1:-1]))
    xs = x.reshape(len(x) // samples, -1, positions * x.shape[-1])
    axis = (1, 2) if shared_by == "channels" else (1,)
    return Batch(xs, *_statistics(xs, axis), samples, positions, x.shape, xs.shape, [0, 1, 2])


def samples_of(x: Array, c: Convention) -> Batch:
    """Cut a call into the values that share statistics if each sample is normalised alone."""
    axes = "NPgc" if c.grouping == "neighbours" else "NPcg"  # samples, positions, groups, channels of a group
    sizes = {"N": len(x), "P": -1, "g": c.groups, "c": x.shape[-1] // c.groups}
    apart = {"sample": "Ng", "position": "NPg", "batch": "g", "channel": "Ngc"}[c.over]
    order = [axes.index(a) for a in apart + "".join(a for a in "NPgc" if a not in apart)]
    split = x.reshape([sizes[a] for a in axes])
    count = int(np.prod([split.shape[k] for k in order[: len(apart)]]))
    xs = split.transpose(order).reshape(count, -1, 1)
    return Batch(xs, *_statistics(xs), 1, 1, x.shape, split.shape, order)


def _statistics(xs: Array, axis: tuple[int, ...] = (1,)) -> tuple[Array, Array, Array]:
    """The mean, the variance and the mean square, (G, K)."""
    alike = np.ones((1, 1, xs.shape[2]), dtype=int)
    mean = np.mean(xs, axis=axis, keepdims=True) * alike
    var = np.mean((xs - mean) ** 2, axis=axis, keepdims=True) * alike
    square = np.mean(xs * xs, axis=axis, keepdims=True) * alike
    return mean[:, 0], var[:, 0], square[:, 0]


def root(square: Array, c: Convention) -> Array:
    """The root that forward divides by, from the statistic."""
    if c.root == "no":
        return square + c.eps
    if c.eps_at == "outside":
        return np.sqrt(square) + c.eps
    if c.eps_at == "largest":
        return np.sqrt(np.maximum(square, c.eps))
    return np.sqrt(square + {"twice": 2 * c.eps, "none": 0.0}.get(c.eps_at, c.eps))


def affine(y: Array, gamma: Array, beta: Array, c: Convention) -> Array:
    """Scale and shift."""
    if c.affine == "(y + beta) gamma":
        return gamma * (y + beta)
    return np.asarray(through_gamma(gamma, c) * y + (0 * beta if c.affine == "beta forgotten" else beta))


def through_gamma(gamma: Array, c: Convention) -> Array:
    """What y is multiplied by."""
    if c.affine.startswith("|gamma|"):
        return np.abs(gamma) + (c.eps if c.affine.endswith("eps") else 0)
    return 0 * gamma + 1 if c.affine == "gamma forgotten" else gamma


def _averaged_of(square: Array, c: Convention) -> Array:
    """What goes into the moving average, from the statistic."""
    if c.average_of == "square":
        return square
    return np.sqrt(square) if c.average_of == "bare root" else root(square, c)


class Pass(NamedTuple):
    """What one call leaves for backward; (G, M, K) and (G, K)."""

    batch: Batch
    y: Array
    sigma: Array
    r: Array
    d: Array
    sigma_hat: Array
    r_free: Array
    d_free: Array
    share: Array  #: (G, K): the weight of a normalisation batch in the statistic that it is divided by
    own: list[bool]  #: which used their own statistics
    gamma: Array
    beta: Array


def _repeated(a: Array, positions: int) -> Array:
    """Repeat an array of the channels as often as K contains them."""
    return a if positions == 1 else np.tile(a, positions)


def _stacked(rows: list[Any]) -> tuple[Array, Array]:
    means, seconds = zip(*rows, strict=True)
    return np.array(means), np.array(seconds)


def _seen(centred: Array, u: Array, sigma: Array, used: Array, c: Convention) -> tuple[Array, Array]:
    """The r and d with which an output was made, (G, K); `u` is the output without scale and shift."""
    slope = np.sum(u * centred, axis=1) / np.sum(centred**2, axis=1)
    if c.eps_at != "after r":
        return slope * sigma, np.mean(u, axis=1)
    r = np.sqrt(used / (1 / slope**2 - c.eps))
    return r, np.mean(u, axis=1) * r / (np.sqrt(used) * slope)


class Model:
    """A layer with a convention, and its memory: batch norm, Batch Renormalization, modified batch norm or MABN."""

    def __init__(self, norm: str, convention: Convention, channels: int) -> None:
        self.norm, self.c, c = LIKE.get(norm, norm), convention, convention
        self.iteration = 0
        one = np.ones(channels)
        self.mean: Array = None if c.start_mean == "first" else c.start_mean * one
        self.second: Array = None
        self.hidden: tuple[Any, Any] = 0 * one, 0 * one
        if c.start == "debiased":
            self.mean, self.second = self.hidden
        elif c.start == "root":
            self.second = one if c.average_of == "root" else one - c.eps
        elif c.start == "no root":
            self.second = 0 * one
        elif c.start != "first":
            self.second = one * _averaged_of(np.asarray(c.start), c)
        self.held: list[Array] = []
        self.psi_held: list[Any] = []
        self.last: Pass
        self.bounds: list[tuple[float, float]] = []

    def forward(self, batch: Batch, gamma: Array, beta: Array, observed: Array | None = None) -> Array:
        """Return z and update the memory; `observed` is the target's z, from which "measured" bounds are read."""
        c, groups, n = self.c, len(batch.x), batch.x.shape[1]
        raw = batch.var if c.statistic == "variance" else batch.square
        own = raw * n / (n - 1) if c.variance == "unbiased" and n > 1 else raw
        gamma, beta = self._along(batch, gamma), self._along(batch, beta)
        early = [self._own(g) for g in range(groups)]
        used, share = self._windowed(own, early)
        sigma = root(used, c)
        moved = self._moved(batch, raw, own, used, gamma, beta)
        centre = batch.mean
        if c.by != "batch":
            means, seconds = moved[c.by]
            centre, sigma = _repeated(means, batch.positions), self._moving_root(seconds, batch.positions)
        means, seconds = moved[c.read]
        mean_hat, sigma_hat = _repeated(means, batch.positions), self._moving_root(seconds, batch.positions)
        centred = batch.x - (centre[:, None] if self.centred else 0)
        seen = None
        if observed is not None and "measured" in (c.clip, c.r_max, c.d_max):
            seen = _seen(centred, (batch.cut(observed) - beta) / gamma, sigma, used, c)
        r, d, r_free, d_free = self._corrections(batch, sigma, used, sigma_hat, mean_hat, seen)
        if c.eps_at == "after r":
            spread, sigma = np.sqrt(used), np.sqrt(used + c.eps * r**2)
            d = d * spread / sigma
        y = centred / sigma[:, None]
        self.last = Pass(batch, y, sigma, r, d, sigma_hat, r_free, d_free, share, early, gamma, beta)
        self.iteration += 1 if c.fed_per == "call" else groups
        if c.affine == "before r":
            return batch.whole((gamma * y + beta) * r[:, None] + d[:, None])
        return batch.whole(affine(r[:, None] * y + d[:, None], gamma, beta, c))

    def _along(self, batch: Batch, a: Array) -> Array:
        """Repeat gamma or beta, (C,), along the canonical form."""
        return _repeated(a, batch.positions)

    @property
    def centred(self) -> bool:
        """Whether the mean is subtracted."""
        return self.norm in ("bn", "brn") or self.c.centred == "yes"

    def _own(self, group: int) -> bool:
        """Whether a normalisation batch of this call uses its own statistics."""
        iteration = self.iteration + 1 + (0 if self.c.fed_per == "call" else group)
        return iteration < self.c.warmup or (self.c.partial == "batch" and iteration <= self.c.window)

    def _windowed(self, squares: Array, early: list[bool]) -> tuple[Array, Array]:
        """The statistics that forward divides by, and the share of each batch in its own."""
        c = self.c
        if c.window == 1:
            return squares, np.ones_like(squares)
        used, shares = [], []
        for square, own in zip(squares, early, strict=True):
            earlier, self.held = self.held or [square], [*self.held, square][-c.window :]
            rows = self.held[c.short - c.window :] if c.window > c.short else self.held[-1:]
            rows = earlier if c.window_holds == "earlier ones" else rows
            count = c.window if c.partial == "zeros" else len(rows)
            rooted = c.window_of == "root"
            average = (sum(np.sqrt(row) for row in rows) / count) ** 2 if rooted else sum(rows) / count
            used.append(square if own else average)
            shares.append(np.full(square.shape, 1.0 if own else 1 / count))
        return np.array(used), np.array(shares)

    def _moved(
        self, batch: Batch, raw: Array, own: Array, used: Array, gamma: Array, beta: Array
    ) -> dict[str, tuple[Array, Array]]:
        """Update the moving averages; return means and seconds, (G, C), "before" and "after" each batch."""
        c, n, samples = self.c, batch.x.shape[1], batch.samples
        kinds: dict[str, Callable[[], Array]] = {
            "as used": lambda: own,
            "biased": lambda: raw,
            "unbiased": lambda: raw * (n / max(n - 1, 1)),
            "unbiased twice": lambda: raw * (n / max(n - 1, 1)) ** 2,
            "nothing": lambda: raw,
            "over samples": lambda: raw * (samples / (samples - 1)) if samples > 1 else np.full_like(raw, np.nan),
            "with eps": lambda: raw + c.eps,
            "normalised": lambda: raw / root(used, c) ** 2,
            "outputs": lambda: raw / root(used, c) ** 2 * gamma**2,
        }
        fed = used if c.fed_by == "window" else kinds[c.fed]()
        means = batch.mean if c.mean_fed == "inputs" else 0 * batch.mean + (beta if c.mean_fed == "outputs" else 0)
        if c.fed_per == "call":
            fed, means = (np.mean(a, axis=0, keepdims=True) for a in (fed, means))
        if batch.positions > 1:
            fed, means = (np.mean(a.reshape(len(a), batch.positions, -1), axis=1) for a in (fed, means))
        values = _averaged_of(fed, c)
        before: list[Any] = []
        after: list[Any] = []
        for g, (mean, value) in enumerate(zip(means, values, strict=True)):
            old = mean if self.mean is None else self.mean, value if self.second is None else self.second
            decay = 1 - 1 / (self.iteration + g + 1) if c.decay == "cumulative" else c.decay
            if c.stops and self.iteration + g + 1 > c.stops:
                decay = 1.0
            kept = self.hidden if c.start == "debiased" else old
            value = kept[1] if c.fed == "nothing" else value
            self.mean, self.second = (decay * a + (1 - decay) * b for a, b in zip(kept, (mean, value), strict=True))
            if c.start == "debiased":
                self.hidden = self.mean, self.second
                weights = 1 - decay ** (self.iteration + g + 1)
                self.mean, self.second = self.mean / weights, self.second / weights
            before.append(old)
            after.append((self.mean, self.second))
        repeats = len(raw) // len(values)  # a call that is averaged first has one value for all its batches
        return {"before": _stacked(before * repeats), "after": _stacked(after * repeats)}

    def _moving_root(self, second: Array, positions: int) -> Array:
        c = self.c
        hat = second
        if c.average_of != "root":
            square = second**2 if c.average_of == "bare root" else second
            hat = np.sqrt(square) if c.moving_eps == "none" else root(square, c)
        if c.moving_eps == "twice":
            hat = np.sqrt(hat**2 + c.eps)
        return _repeated(hat, positions)

    def _corrections(
        self, batch: Batch, sigma: Array, used: Array, sigma_hat: Array, mean_hat: Array, seen: Any
    ) -> tuple[Array, Array, Array, Array]:
        """r and d, and where the clips leave them unchanged."""
        c, one, zero = self.c, np.ones_like(sigma), np.zeros_like(sigma)
        if self.norm in ("bn", "modified-bn") or c.r_of == "one":
            return one, zero, zero > 1, zero > 1
        ratio = {
            "roots": lambda: sigma / sigma_hat,
            "squares": lambda: (sigma / sigma_hat) ** 2,
            "variance": lambda: used / sigma_hat,
            "variance over square": lambda: used / sigma_hat**2,
            "without eps": lambda: np.sqrt(used / (sigma_hat**2 - c.eps)),
            "squares without eps": lambda: used / (sigma_hat**2 - c.eps),
            "inverted": lambda: sigma_hat / sigma,
        }[c.r_of]()
        shift = (batch.mean - mean_hat) / {"batch": sigma, "variance": sigma_hat**2}.get(c.d_over, sigma_hat)
        highest, widest = self._bounds(len(sigma), seen)
        low = 1 / highest if c.clip_sides == "both" else -np.inf
        r = np.minimum(np.maximum(ratio, low), highest)
        if self.norm == "mabn":
            return r, zero, r == ratio, zero > 1
        d = np.minimum(np.maximum(shift, -np.inf if c.clip_sides == "above" else -widest), widest)
        free = r == ratio, d == shift
        if c.blend:
            share = self._share(len(r))
            r, d = 1 + (r - 1) * share, d * share
        return r, -d if c.d_over == "negative" else d, *free

    def _share(self, groups: int) -> Array:
        """How far r and d have come in, (G, 1)."""
        length, kind, largest = self.c.blend
        passed = (self.iteration + np.arange(groups)[:, None]) / length
        return np.asarray(np.minimum(np.floor(passed) if kind == "steps" else passed, largest))

    def _bounds(self, groups: int, seen: Any) -> tuple[Array, Array]:
        """The bounds of r and d of a call's normalisation batches, (G, 1)."""
        c = self.c
        r_seen = d_seen = np.ones(groups)
        if seen is not None:
            r_seen = np.maximum(np.max(np.maximum(seen[0], 1 / seen[0]), axis=1), 1.0)
            d_seen = np.max(np.abs(seen[1]), axis=1)
        now = np.array([self.iteration + 1 + (0 if c.fed_per == "call" else g) for g in range(groups)])
        highest, widest = (
            read_off if bound == "measured" else np.array([self._bound(bound, t) for t in now.tolist()])
            for bound, read_off in ((c.clip if self.norm == "mabn" else c.r_max, r_seen), (c.d_max, d_seen))
        )
        if self.norm == "mabn":
            highest = np.where(now < c.renorm_from, 1.0, highest)
        self.bounds += list(zip(highest.tolist(), widest.tolist(), strict=True))
        return highest[:, None], widest[:, None]

    def _bound(self, bound: Any, iteration: int) -> float:
        if not hasattr(bound, "at"):
            return float(bound)
        if self.c.bounds == "flipped":
            bound = replace(bound, first=bound.last, last=bound.first)
        return float(bound.at(iteration))

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        c, axes = self.c, tuple(range(x.ndim - 1))
        if c.infer_by == "moved":
            batch = batch_of(x, len(x), "call")
            raw = batch.var if c.statistic == "variance" else batch.square
            self._moved(batch, raw, raw, raw, gamma, beta)
        mean = (np.mean(x, axis=axes) if c.infer_by == "batch" else self.mean) if self.centred else 0.0
        second = self.second
        if c.infer_by == "batch":
            hat = np.sqrt(np.mean((x - mean) ** 2, axis=axes) + c.eps)
        elif c.infer_by == "window":
            held: Array = sum(self.held) / len(self.held)
            hat = np.sqrt(np.mean(held.reshape(-1, x.shape[-1]), axis=0) + c.eps)
        elif c.infer_by == "debiased":
            weights = 1 - c.decay**self.iteration if isinstance(c.decay, float) else 1.0
            mean, hat = mean / weights, np.sqrt(second / weights + c.eps)
        else:
            hat = self._moving_root(second, 1) if c.moving_eps == "same" else self.state()["root"]
            if c.infer_eps != "same":
                times = {"none": 0, "twice": 2}.get(c.infer_eps, 1)
                eps = times * c.eps if isinstance(c.infer_eps, str) else c.infer_eps
                hat = (second if c.infer_eps == "root again" else self.state()["square"]) + eps
                hat = hat if c.infer_eps == "no root" else np.sqrt(hat)
        return affine((x - mean) / hat, gamma, beta, c)

    def sizes(self) -> tuple[Array, Array]:
        """The largest r * y + d and the largest slope of every channel, (C,)."""
        p = self.last
        values = np.abs(p.r[:, None] * p.y + p.d[:, None])
        return p.batch.largest(values), p.batch.largest(np.abs(p.r / p.sigma)[:, None])

    def state(self) -> dict[str, Array]:
        """The moving statistics: mean, square and root."""
        if self.c.average_of == "square":
            return {"mean": self.mean, "square": self.second, "root": root(self.second, self.c)}
        if self.c.average_of == "bare root":
            return {"mean": self.mean, "square": self.second**2, "root": self.second}
        return {"mean": self.mean, "square": self.second**2 - self.c.eps, "root": self.second}
