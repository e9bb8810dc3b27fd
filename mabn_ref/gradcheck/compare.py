"""The gradient of one input against its derivatives taken numerically.

In the tables here a row is a cotangent and a column a line through the input: an element, or a random direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import central, complex_step, probes, taylor
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.result import VERDICTS, InputResult

__all__ = ["Claim", "compare"]

FLOOR = 1e-2
"""A derivative per spread below this part of <|cotangent|, |output|> is near zero; errors are relative to it."""

KINK = 1e-4
"""A jump between the one-sided slopes is looked into if it is above this fraction of the largest derivative."""

TRUST = 10
"""Where differences settle to within u, a gradient is wrong if it is off by more than this many u."""

KINKED = "not differentiable here"


@dataclass(frozen=True)
class Claim:
    """What backward says: that `gradients` are those of <cotangent, function(x)> at this `x`, one row for each.

    `units` is the spread of each element of x, `center` the output there; `eps` is that of the output's numbers,
    `conditioning` how many spreads from zero any input of forward lies, and `rounding` what a right gradient may be
    off by.
    """

    name: str
    function: Callable[[Array], Array]
    x: Array
    units: Array
    center: Array
    cotangents: Array
    gradients: Array
    rtol: float
    rounding: float
    eps: float
    conditioning: float

    @cached_property
    def size(self) -> Array:
        """<|cotangent|, |output|> for each cotangent."""
        return to_float(abs(self.cotangents) @ abs(self.center))

    @cached_property
    def scale(self) -> Array:
        """What errors are relative to, one for each cotangent: the largest derivative per spread, or their length."""
        gradients = np.abs(to_float(self.gradients) * self.units)
        small = self.x.size <= probes.SMALL
        largest = np.max(gradients, axis=1) if small else np.linalg.norm(gradients, axis=1)
        return np.asarray(np.maximum(largest, np.maximum(FLOOR * self.size, np.finfo(np.float64).tiny)))

    def along(self, direction: Array) -> central.Along:
        """Return the output as a function of how far x has moved in a direction."""
        direction = direction.reshape(self.x.shape)
        return lambda t: self.function(np.asarray(self.x + t * direction))


class _Finding(NamedTuple):
    verdict: str
    error: float
    slope: Any
    step: float
    row: int
    column: int


def compare(claim: Claim, rng: np.random.Generator) -> InputResult:
    """Take one stencil along each line, and climb a ladder of steps where that leaves a doubt."""
    directions = probes.directions(claim.units, rng)
    lines = [claim.along(direction) for direction in directions]
    step = central.first_step(claim.eps)
    stencils = [central.stencil(line, claim.center, step) for line in lines]
    numeric = claim.cotangents @ np.stack([slope for slope, _ in stencils]).T
    jumps = to_float(abs(claim.cotangents) @ abs(np.stack([jump for _, jump in stencils])).T)
    analytic, scale = claim.gradients @ directions.T, claim.scale[:, None]
    errors = to_float(abs(analytic - numeric)) / scale
    try:
        stepped, refusal = claim.cotangents @ complex_step.slopes(lines).T, ""
    except complex_step.NotAnalytic as reason:
        stepped, refusal = np.full(numeric.shape, np.nan), str(reason)

    doubtful = ~((errors <= claim.rtol / 10) & (jumps <= KINK * scale))
    accepted = np.where(doubtful, -1.0, errors)
    k, p = map(int, np.unravel_index(np.argmax(accepted), errors.shape))
    worst = _Finding("ok", float(accepted[k, p]), numeric[k, p], step, k, p)
    for p in sorted(np.flatnonzero(doubtful.any(axis=0)).tolist(), key=lambda p: -float(np.max(errors[:, p]))):
        ladder = central.climb(lines[p], claim.center, step)
        for k in np.flatnonzero(doubtful[:, p]).tolist():
            finding = _settle(claim, ladder, directions[p], stepped[k, p], k, p)
            worst = max(worst, finding, key=lambda found: (VERDICTS.index(found.verdict), found.error))
            numeric[k, p], doubtful[k, p] = finding.slope, finding.verdict == KINKED
        if worst.verdict == "wrong":
            break

    mismatch = np.max(to_float(abs(stepped - numeric)) / scale, where=~doubtful, initial=0.0)
    if not refusal and mismatch > max(1e-6, 1e4 * claim.eps * claim.conditioning):
        refusal = f"forward is not analytic: the complex step is off central differences by {mismatch:.1e}"
    complex_error = None if refusal else float(np.max(to_float(abs(analytic - stepped)) / scale))
    return _report(claim, worst, directions[worst.column], complex_error, refusal, rng)


def _settle(claim: Claim, ladder: central.Ladder, v: Array, stepped: Any, row: int, column: int) -> _Finding:
    """Decide one entry by a ladder of steps."""
    size, scale = float(claim.size[row]), float(claim.scale[row])
    settled = central.settle(
        ladder,
        claim.cotangents[row],
        rounding=claim.eps * size,
        least_slope=FLOOR * size,
        least_jump=KINK * scale,
    )
    if not np.isfinite(settled.uncertainty):
        raise ValueError(f"forward is not finite next to {claim.name}, expected finite numbers around the inputs")
    analytic, slope = claim.gradients[row] @ v, settled.slope
    error = abs(float(analytic - slope)) / scale
    if settled.jump:
        excused = error <= claim.rtol + settled.jump / scale
        return _Finding(KINKED if excused else "wrong", error, slope, settled.step, row, column)
    doubt = max(TRUST * settled.uncertainty / scale, claim.rounding)
    if claim.rtol < error <= doubt and abs(float(stepped - slope)) / scale <= doubt:
        # differences are too noisy to tell either from the truth; the complex step is not noisy
        slope, error = stepped, abs(float(analytic - stepped)) / scale
    verdict = "ok" if error <= claim.rtol else "undecided" if error <= doubt else "wrong"
    return _Finding(verdict, error, slope, settled.step, row, column)


def _report(
    claim: Claim, worst: _Finding, v: Array, complex_error: float | None, refusal: str, rng: np.random.Generator
) -> InputResult:
    cotangent, gradient, slope = claim.cotangents[worst.row], claim.gradients[worst.row], worst.slope
    if worst.verdict != "ok" and np.count_nonzero(v) > 1:
        v = _bisect(claim, v, worst)
        slope = cotangent @ central.stencil(claim.along(v), claim.center, worst.step)[0]
    j, *others = np.flatnonzero(v)
    unit = 1.0 if others else float(v[j])
    random = probes.bounded(rng, v.shape) * claim.units
    rounding = claim.eps * claim.conditioning * claim.size[worst.row]
    return InputResult(
        name=claim.name,
        verdict=worst.verdict,
        error=worst.error,
        complex_error=complex_error,
        refusal=refusal,
        index=None if others else tuple(map(int, np.unravel_index(j, claim.x.shape))),
        analytic=float(gradient @ v) / unit,
        numeric=float(slope) / unit,
        step=worst.step * abs(unit),
        taylor=taylor.fit(
            claim.along(random),
            claim.center,
            cotangent,
            gradient @ random,
            step=central.first_step(claim.eps),
            scale=claim.scale[worst.row],
            rounding=rounding,
        ),
    )


def _bisect(claim: Claim, v: Array, worst: _Finding) -> Array:
    """Narrow a direction down to one element: along which the gradient disagrees, or the slopes to either side do."""
    cotangent, gradient = claim.cotangents[worst.row], claim.gradients[worst.row]

    def disagreement(part: Array) -> float:
        slope, jump = central.stencil(claim.along(part), claim.center, worst.step)
        return abs(float(cotangent @ jump if worst.verdict == KINKED else cotangent @ slope - gradient @ part))

    while np.count_nonzero(v) > 1:
        nonzero = np.flatnonzero(v)
        half = v.copy()
        half[nonzero[: nonzero.size // 2]] = 0.0
        v = max(half, v - half, key=disagreement)
    return v
