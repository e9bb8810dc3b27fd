"""The gradient of one input against its derivatives taken numerically.

In the tables here a row is a cotangent and a column a line through the input: an element, or a random direction.
"""

from __future__ import annotations

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import probes, verdict
from mabn_ref.gradcheck.claim import Claim
from mabn_ref.gradcheck.differences import NotAnalytic, View, complex_slopes, stencil, taylor_remainder
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.result import InputResult
from mabn_ref.gradcheck.verdict import KINKED, NEAR_ONE, SLACK, TRUST, Finding, Sight

KINK = 1e-4
"""A jump between the one-sided slopes is examined if it is above this fraction of the largest derivative."""

SEARCHED = 2048  #: how many parts of a large input are searched for the elements that have kinks


def compare(claim: Claim, rng: np.random.Generator) -> InputResult:
    """Apply one stencil along each line, and climb a ladder of steps where doubt remains."""
    lines = probes.directions(claim.units, rng)
    if claim.units.size > probes.SMALL:
        sizes = np.max(to_float(abs(claim.gradients[:NEAR_ONE])), axis=0) * claim.units
        lines = np.concat([lines, probes.drowned(lines[0], sizes)])
    table = _Table(claim, lines)
    return _report(claim, table, verdict.worst(table.findings(rng)), rng)


class _Table:
    """One stencil and one complex step along each line, for each cotangent."""

    def __init__(self, claim: Claim, lines: Array) -> None:
        self.claim, self.lines = claim, lines
        looks = [stencil(claim.along(line), claim.center, claim.step) for line in lines]
        slopes, jumps, moves = map(np.stack, zip(*looks, strict=True))
        moves = np.max(moves, axis=1)
        weights = to_float(abs(claim.cotangents))
        self.numeric = claim.cotangents @ slopes.T
        self.analytic = claim.gradients @ lines.T
        self.errors = to_float(abs(self.analytic - self.numeric))
        self.jumps = weights @ to_float(abs(jumps)).T
        self.sizes = verdict.sizes(weights, slopes, lines)
        self.top = np.max(np.where(np.isfinite(self.sizes), self.sizes, 0.0), axis=1)
        moving = (moves > 0) | ~(moves > 0).any(axis=1, keepdims=True)
        self.noise = claim.eps * (weights * to_float(abs(claim.center))) @ moving.T
        self.stepped: Array | None = None
        self.refusal = ""
        try:
            self.stepped = complex_slopes([claim.along(line) for line in lines], claim.functions[0])
        except NotAnalytic as reason:
            self.refusal = str(reason)
        self.views: dict[int, View] = {}

    def view(self, p: int) -> View:
        """Climb a ladder along line p."""
        if p not in self.views:
            self.views[p] = self.claim.view(self.lines[p])
        return self.views[p]

    def findings(self, rng: np.random.Generator) -> list[Finding]:
        """Return the worst entry that needs no second look, and all those that do."""
        doubtful = ~self._accepted()
        lines = np.flatnonzero(doubtful.any(axis=0)).tolist()
        if self.stepped is not None:
            # test it by Cauchy and Riemann's condition where it is off most, and on every line that it decides
            off = np.abs(self.claim.cotangents @ self.stepped.T - self.numeric)
            most = int(np.argmax(np.max(off / np.maximum(self.top, np.finfo(float).tiny)[:, None], axis=0)))
            if most in lines and self._not_analytic(self.stepped, most):
                return self.findings(rng)
        found = []
        errors = np.where(doubtful, -1.0, self.errors / np.maximum(self.top, np.finfo(float).tiny)[:, None])
        k, p = map(int, np.unravel_index(np.argmax(errors), errors.shape))
        if not doubtful.all():
            found.append(self._entry("ok", k, p))
        for p in sorted(lines, key=lambda p: -float(np.max(self.errors[:NEAR_ONE, p]))):
            if self.stepped is not None and self._not_analytic(self.stepped, p):
                return self.findings(rng)
            stepped = None if self.stepped is None else self.stepped[p]
            found += Sight(self.claim, self.lines[p], self.view(p), stepped, self.top).findings(rng)
            if verdict.worst(found).verdict == "wrong":
                return found
        kinked = [p for p in lines if self.view(p).kinked.any() and np.count_nonzero(self.lines[p]) > 1]
        whole = [p for p in kinked if self.lines[p].all()]
        for p in whole[:1] or kinked:  # a whole direction has all elements in it
            elements = _kinked_elements(self.claim, self.lines[p], self.view(p), self.top, rng)
            found += elements or [self._entry(KINKED, 0, p)]
        return found

    def _entry(self, name: str, k: int, p: int) -> Finding:
        claim = self.claim
        return Finding(
            name, float(self.errors[k, p]), self.numeric[k, p], claim.step, k, self.lines[p],
            claim.cotangents[k], claim.gradients[k],
        )  # fmt: skip

    def _accepted(self) -> Array:
        """Entries that need no second look."""
        claim, top = self.claim, self.top[:, None]
        large = self.lines.shape[1] > probes.SMALL
        # an error along a random direction may come from a single element
        share = claim.rtol / 10 / (np.sqrt(self.lines.shape[1]) if large else 1.0)
        smooth = (self.errors <= claim.rtol / 10 * top) & (self.jumps <= KINK * top)
        if self.stepped is None:
            close = self.errors <= np.maximum(share * self.sizes, 8 * self.noise / claim.step)
            return np.asarray(smooth & close & (self.errors <= share * top))
        stepped = claim.cotangents @ self.stepped.T
        near = np.abs(self.analytic - stepped) <= share * self.sizes + SLACK * self.noise
        return np.asarray(smooth & near & (np.abs(stepped - self.numeric) <= 1e-6 * top))

    def _not_analytic(self, stepped: Array, p: int) -> bool:
        """Refuse the complex step if it differs from what the ladder along line p settles on."""
        claim, view = self.claim, self.view(p)
        weights = to_float(abs(claim.cotangents)) * ~view.kinked
        off = np.abs((claim.cotangents * ~view.kinked) @ (stepped[p] - view.slope))
        slack = SLACK * (weights @ claim.rounding())
        trusted = np.maximum(TRUST * (weights @ view.uncertainty), 1e-6 * self.top) + slack
        if (off <= trusted).all():
            return False
        part = np.max(off / np.maximum(self.top, np.finfo(float).tiny))
        self.refusal = (
            f"{claim.functions[0]} is not analytic: the complex step differs from central differences by {part:.1e}"
        )
        self.stepped = None
        return True


def _kinked_elements(claim: Claim, line: Array, view: View, top: Array, rng: np.random.Generator) -> list[Finding]:
    """Search a direction for the elements whose slopes jump; check those, and the rest of the input, by themselves.

    The search looks at `SEARCHED` parts of the input, in random order; for the parts that are left, only the outputs
    without a kink have been checked.
    """
    least = 1e-6 * float(np.max(np.abs(to_float(view.jump))))
    found: list[Finding] = []
    parts = [rng.permutation(np.flatnonzero(line))]
    for _ in range(SEARCHED):
        if not parts:
            break
        part = parts.pop()
        along = np.zeros_like(line)
        along[part] = line[part]
        jumps = _persisting(claim, along, view.kinked, least)
        if part.size > 1 and jumps:
            parts += np.array_split(part, 2)
            continue
        table = _Table(claim, along[None])
        if table._accepted().all() and not jumps:
            continue
        if part.size > 1 and table.view(0).kinked.any():  # a kink beside it hides this one at larger steps
            parts += np.array_split(part, 2)
            continue
        found += Sight(claim, along, table.view(0), None, top).findings(rng)
        if found and verdict.worst(found).verdict == "wrong":
            break
    return found


def _persisting(claim: Claim, line: Array, kinked: Array, least: float) -> bool:
    """Whether any of the outputs that have kinks has one along this part of the line."""
    before = None
    for step in (claim.step, claim.step / 8):
        _, jump, _ = stencil(claim.along(line), claim.center, step)
        jump = to_float(abs(jump))
        floor = np.maximum(least, 32 * claim.rounding() / step)
        alike = kinked & (jump > floor)
        if before is not None:
            alike &= (before / 2 <= jump) & (jump <= before * 2)
        if not alike.any():
            return False
        before = jump
    return True


def _report(claim: Claim, table: _Table, found: Finding, rng: np.random.Generator) -> InputResult:
    line, slope = found.line, found.slope
    if found.verdict not in ("ok", KINKED) and np.count_nonzero(line) > 1:
        narrow = verdict.narrowed(claim, found, table.stepped is not None)
        line = line if narrow is None else narrow
        slope = found.cotangent @ claim.view(line).slope
    claimed = verdict.sizes(to_float(abs(claim.gradients)), table.lines, table.lines)
    largest = np.maximum(table.top, np.max(claimed, axis=1))
    scale = np.maximum(largest, np.finfo(float).tiny)
    complex_error = None
    if table.stepped is not None:
        off = np.abs(table.analytic - claim.cotangents @ table.stepped.T)
        complex_error = float(np.max(off / scale[:, None], where=np.isfinite(off), initial=0.0))
    j, *others = np.flatnonzero(line)
    unit = 1.0 if others else float(line[j])
    random = probes.bounded(rng, line.shape) * claim.units
    return InputResult(
        name=claim.name,
        verdict=found.verdict,
        error=found.error / float(scale[found.row]),
        complex_error=complex_error,
        refusal=table.refusal,
        index=None if others else tuple(map(int, np.unravel_index(j, claim.x.shape))),
        analytic=float(found.gradient @ line) / unit,
        numeric=float(slope) / unit,
        step=found.step * abs(unit),
        taylor=taylor_remainder(
            claim.along(random),
            claim.center,
            found.cotangent,
            found.gradient @ random,
            step=claim.step,
            scale=float(scale[found.row]),
            rounding=claim.eps
            * claim.conditioning
            * float(to_float(abs(found.cotangent)) @ to_float(abs(claim.center))),
        ),
        reason=found.reason,
        function=claim.functions[1],
    )
