"""What every probe works with: a target, small inputs that all probes share, and the comparison of two answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.observe import config_of
from mabn_ref.check.scenarios import Scenario, parameters
from mabn_ref.check.target import Target


class NotOffered(Exception):
    """The layer does not offer what a probe asks for, and says so."""


class Limit(Exception):
    """Something that users of the layer should know, although its numbers are right."""


class Probing:
    """A target and its inputs: small, and the same in every probe."""

    def __init__(self, target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> None:
        self.target: Any = target
        self.norm, self.channels = norm, scenario.channels
        self.shape = (scenario.samples, *space, self.channels)
        self.dtype, self.config = scenario.dtype, config_of(norm, scenario)
        rng = np.random.default_rng(7)
        # multiples of 2^-9 up to 8, exact in half precision
        drawn = np.clip(np.rint(512 * rng.standard_normal((6, *self.shape))) / 512, -4, 4)
        self.xs, self.dzs = drawn[:3].astype(self.dtype), drawn[3:].astype(self.dtype)
        self.gammas, self.betas = zip(
            *([a.astype(self.dtype) for a in parameters(k, self.channels)] for k in range(3)), strict=True
        )

    def new(self) -> Any:
        """A new layer."""
        return self.target.make(self.channels, self.config)

    def train(
        self, layer: Any, k: int, by: int | None = None, sizes: Sequence[int | None] = (), training: bool = True
    ) -> Array:
        """The k-th forward pass, with the parameters of step `by`; `sizes` are the samples and positions per row."""
        gamma, beta = (a[k if by is None else by].copy() for a in (self.gammas, self.betas))
        return np.array(self.target.forward(layer, cut(self.xs[k], *sizes), gamma, beta, training))

    def step(self, layer: Any, k: int, by: int | None = None, sizes: Sequence[int | None] = ()) -> list[Array]:
        """The k-th pass forward and backward: z, dx, dgamma and dbeta."""
        z = self.train(layer, k, by, sizes)
        return [z, *arrays(self.target.backward(layer, cut(self.dzs[k], *sizes)))]

    def infer(self, layer: Any, k: int, by: int | None = None, sizes: Sequence[int | None] = ()) -> Array:
        """Inference on the k-th input, with the parameters of the step `by`."""
        return self.train(layer, k, by, sizes, training=False)

    def first_step(self) -> tuple[Array, Array, Array, Array]:
        """Copies of the first x, gamma, beta and dz."""
        return self.xs[0].copy(), self.gammas[0].copy(), self.betas[0].copy(), self.dzs[0].copy()

    def apart(self, found: Sequence[Array], expected: Sequence[Array]) -> str:
        """Say where arrays that should be the same differ, or return ""; a layer may always compute in float32."""
        return apart(found, expected, 1e-5 if self.dtype == "float64" else 1e-4)


def twins(p: Probing) -> tuple[Any, Any]:
    """Two new layers after the same step; if they already differ here, later differences prove nothing."""
    one, other = p.new(), p.new()
    if p.apart(p.step(one, 0), p.step(other, 0)):
        raise NotOffered("two new layers return different numbers for the same input")
    return one, other


@contextlib.contextmanager
def offered() -> Iterator[None]:
    """Turn an error into `NotOffered`: a layer that refuses gives no wrong numbers."""
    try:
        yield
    except Exception as error:
        raise NotOffered(first_line(error)) from error


def cut(a: Array, samples: int | None = None, positions: int | None = None) -> Array:
    """A copy of the first samples, and of the first positions of every row."""
    return a[:samples].copy() if positions is None else a[:samples, ..., :positions, :].copy()


def first_line(error: Exception) -> str:
    """The type of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def arrays(values: Sequence[Any]) -> list[Array]:
    """Copies of the arrays that are not None."""
    return [np.array(value) for value in values if value is not None]


def apart(found: Sequence[Array], expected: Sequence[Array], tolerance: float) -> str:
    """Say where two lists of arrays differ, or return ""."""
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape:
            return f"an array of shape {a.shape}, expected {b.shape}"
        size = np.max(np.abs(b)) + 1e-3
        error = np.where(np.isfinite(a), np.abs(a - b), np.inf) / size
        worst = np.unravel_index(np.argmax(error), error.shape)
        if error[worst] > tolerance:
            return f"{a[worst]:.6g}, expected {b[worst]:.6g}"
    return ""
