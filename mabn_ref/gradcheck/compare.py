"""The gradient of one input against its derivatives taken numerically.

In the tables here a row is a cotangent and a column a line through the input: an element, or a random direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck import central, complex_step, probes, taylor
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.result import VERDICTS, InputResult

__all__ = ["SLACK", "Claim", "compare"]

KINK = 1e-4
"""A jump between the one-sided slopes is looked into if it is above this fraction of the largest derivative."""

TRUST = 10
"""Where differences settle to within u, a gradient is wrong if it is off by more than this many u."""

SLACK = 20
"""A right gradient may be off by this many times the rounding of <|cotangent|, |output|>."""

BELIEVED = 0.1
"""The complex step decides where differences, which are to confirm it, settle to this part of the derivative."""

COARSEST = 1e-2
"""But by no more than this part of the largest derivative, whatever the rounding."""

SINGLE = 16
"""Of the outputs that have a kink along one line, so many are looked at one by one."""

SEARCHED = 2048
"""How many parts of a large input are searched for the elements that have kinks."""

NEAR_ONE = 3
"""The first cotangents, whose numbers are of one size."""

KINKED = "not differentiable here"


@dataclass(frozen=True)
class Claim:
    """What backward says: that `gradients` are those of <cotangent, function(x)> at this `x`, one row for each.

    `pull` is backward, of one more cotangent; `units` is the unit of each element of x, `center` the output there,
    `eps` that of the output's numbers; `rounding` gives the rounding of each output, `coarser` is how many times that
    the gradients' numbers have, and `conditioning` is how many units from zero any input of forward lies.
    """

    name: str
    function: Callable[[Array], Array]
    pull: Callable[[Array], Array]
    x: Array
    units: Array
    center: Array
    cotangents: Array
    gradients: Array
    rtol: float
    rounding: Callable[[], Array]
    eps: float
    coarser: float
    conditioning: float

    def along(self, direction: Array) -> central.Along:
        """Return the output as a function of how far x has moved in a direction."""
        direction = direction.reshape(self.x.shape)
        return lambda t: self.function(np.asarray(self.x + t * direction))

    @cached_property
    def step(self) -> float:
        """The step of the first stencil."""
        return central.first_step(self.eps)


class _Finding(NamedTuple):
    """What was found along one line for one cotangent; `error` is in absolute numbers until it is reported."""

    verdict: str
    error: float
    slope: Any
    step: float
    row: int
    line: Array
    cotangent: Array
    gradient: Array
    reason: str = ""


def _worst(findings: Sequence[_Finding]) -> _Finding:
    # the numbers of a cotangent over many decades are shown only where no other has the verdict
    return max(findings, key=lambda found: (VERDICTS.index(found.verdict), found.row < NEAR_ONE, found.error))


def compare(claim: Claim, rng: np.random.Generator) -> InputResult:
    """Take one stencil along each line, and climb a ladder of steps where that leaves a doubt."""
    lines = probes.directions(claim.units, rng)
    table = _Table(claim, lines)
    findings = table.findings(rng)
    return _report(claim, table, _worst(findings), rng)


class _Table:
    """One stencil and one complex step along each line, for each cotangent."""

    def __init__(self, claim: Claim, lines: Array) -> None:
        self.claim, self.lines = claim, lines
        looks = [central.stencil(claim.along(line), claim.center, claim.step) for line in lines]
        slopes, jumps, moves = map(np.stack, zip(*looks, strict=True))
        moves = np.max(moves, axis=1)
        weights = to_float(abs(claim.cotangents))
        self.numeric = claim.cotangents @ slopes.T
        self.analytic = claim.gradients @ lines.T
        self.errors = to_float(abs(self.analytic - self.numeric))
        self.jumps = weights @ to_float(abs(jumps)).T
        self.sizes = _sizes(weights, slopes, lines)
        self.top = np.max(self.sizes, axis=1)
        moving = (moves > 0) | ~(moves > 0).any(axis=1, keepdims=True)
        self.noise = claim.eps * (weights * to_float(abs(claim.center))) @ moving.T
        self.stepped: Array | None = None
        self.refusal = ""
        try:
            self.stepped = complex_step.slopes([claim.along(line) for line in lines])
        except complex_step.NotAnalytic as reason:
            self.refusal = str(reason)
        self.views: dict[int, central.View] = {}

    def view(self, p: int) -> central.View:
        """Climb a ladder along line p."""
        if p not in self.views:
            self.views[p] = _view(self.claim, self.lines[p])
        return self.views[p]

    def findings(self, rng: np.random.Generator) -> list[_Finding]:
        """Return the worst entry that needs no second look, and all those that do."""
        self._distrust()
        doubtful = ~self._accepted()
        # the complex step is judged by Cauchy and Riemann's condition before it judges anything
        if self.stepped is not None:
            for p in np.flatnonzero(doubtful.any(axis=0)).tolist():
                if self._not_analytic(p):
                    doubtful = ~self._accepted()
                    break
        found = []
        errors = np.where(doubtful, -1.0, self.errors / np.maximum(self.top, np.finfo(float).tiny)[:, None])
        k, p = map(int, np.unravel_index(np.argmax(errors), errors.shape))
        if not doubtful.all():
            found.append(self._entry("ok", k, p))
        order = np.flatnonzero(doubtful.any(axis=0))
        for p in sorted(order.tolist(), key=lambda p: -float(np.max(self.errors[:NEAR_ONE, p]))):
            stepped = None if self.stepped is None else self.stepped[p]
            found += _along_one(self.claim, self.lines[p], self.view(p), stepped, self.top, rng)
            if _worst(found).verdict == "wrong":
                return found
        kinked = [p for p in order.tolist() if self.view(p).kinked.any() and np.count_nonzero(self.lines[p]) > 1]
        for p in kinked[:1]:  # every direction has all elements in it
            elements = _kinked_elements(self.claim, self.lines[p], self.view(p), self.top, rng)
            found += elements or [self._entry(KINKED, 0, p)]
        return found

    def _entry(self, verdict: str, k: int, p: int) -> _Finding:
        claim = self.claim
        return _Finding(
            verdict, float(self.errors[k, p]), self.numeric[k, p], claim.step, k, self.lines[p],
            claim.cotangents[k], claim.gradients[k],
        )  # fmt: skip

    def _accepted(self) -> Array:
        """Entries that need no second look."""
        claim, top = self.claim, self.top[:, None]
        large = self.lines.shape[1] > probes.SMALL
        # what is off along a random direction may be the error of one element
        share = claim.rtol / 10 / (np.sqrt(self.lines.shape[1]) if large else 1.0)
        smooth = (self.errors <= claim.rtol / 10 * top) & (self.jumps <= KINK * top)
        if self.stepped is None:
            close = self.errors <= np.maximum(share * self.sizes, 8 * self.noise / claim.step)
            return np.asarray(smooth & close & (self.errors <= share * top))
        stepped = claim.cotangents @ self.stepped.T
        near = np.abs(self.analytic - stepped) <= share * self.sizes + SLACK * self.noise
        return np.asarray(smooth & near & (np.abs(stepped - self.numeric) <= 1e-6 * top))

    def _mismatch(self) -> Array:
        """How far the complex step is off central differences, on the scale of the largest derivative."""
        assert self.stepped is not None
        off = np.abs(self.claim.cotangents @ self.stepped.T - self.numeric)
        return np.asarray(np.max(off / np.maximum(self.top, np.finfo(float).tiny)[:, None], axis=0))

    def _distrust(self) -> None:
        """Look first where the complex step and central differences disagree most."""
        if self.stepped is not None:
            mismatch = self._mismatch()
            p = int(np.argmax(mismatch))
            if mismatch[p] > 1e-6:
                self._not_analytic(p)

    def _not_analytic(self, p: int) -> bool:
        """Refuse the complex step if it is off what the ladder along line p settles on."""
        if self.stepped is None:
            return True
        claim, view = self.claim, self.view(p)
        weights = to_float(abs(claim.cotangents)) * ~view.kinked
        off = np.abs((claim.cotangents * ~view.kinked) @ (self.stepped[p] - view.slope))
        slack = SLACK * (weights @ claim.rounding())
        trusted = np.maximum(TRUST * (weights @ view.uncertainty), 1e-6 * self.top) + slack
        if (off <= trusted).all():
            return False
        part = np.max(off / np.maximum(self.top, np.finfo(float).tiny))
        self.refusal = f"forward is not analytic: the complex step is off central differences by {part:.1e}"
        self.stepped = None
        return True


def _sizes(weights: Array, slopes: Array, lines: Array) -> Array:
    """The size of a derivative: the sum of what the outputs have in it; of a random direction, their length."""
    slopes = to_float(abs(slopes))
    if len(lines) and np.count_nonzero(lines[0]) == 1:
        return np.asarray(weights @ slopes.T)
    return np.stack([[_length(row * slope) for slope in slopes] for row in weights])


def _length(values: Array) -> float:
    """The root of the sum of squares, none of which overflows."""
    largest = float(np.max(values))
    return largest * float(np.linalg.norm(values / largest)) if 0 < largest < np.inf else largest


def _view(claim: Claim, line: Array) -> central.View:
    view = central.climb(claim.along(line), claim.center, claim.step, claim.rounding())
    if not np.isfinite(view.uncertainty).all():
        raise ValueError(f"forward is not finite next to {claim.name}, expected finite numbers around the inputs")
    return view


def _along_one(
    claim: Claim, line: Array, view: central.View, stepped: Array | None, top: Array, rng: np.random.Generator
) -> list[_Finding]:
    """Judge one line by its ladder; where outputs have kinks along it, those, and the rest without them."""
    rows = list(zip(claim.cotangents, claim.gradients, strict=True))
    element = np.count_nonzero(line) == 1
    if not view.kinked.any():
        found = [_judge(claim, line, view, stepped, top, k, c, g) for k, (c, g) in enumerate(rows)]
        return found if element else [_localised(claim, finding, stepped is not None, top) for finding in found]
    silenced = [np.where(view.kinked, 0 * c, c) for c, _ in rows]
    found = [_judge(claim, line, view, stepped, top, k, c, claim.pull(c)) for k, c in enumerate(silenced)]
    if not element:
        return [_localised(claim, finding, stepped is not None, top) for finding in found]
    found += [_judge(claim, line, view, None, top, k, c, g) for k, (c, g) in enumerate(rows)]
    outputs = np.flatnonzero(view.kinked)
    if outputs.size > 1:
        for j in rng.permutation(outputs)[:SINGLE]:
            c = 0 * rows[0][0]
            c[j] = rows[0][0][j]
            found.append(_judge(claim, line, view, None, top, 0, c, claim.pull(c)))
    return found


def _judge(
    claim: Claim,
    line: Array,
    view: central.View,
    stepped: Array | None,
    top: Array,
    row: int,
    cotangent: Array,
    gradient: Array,
) -> _Finding:
    """Decide what one gradient is worth along one line."""
    weights = to_float(abs(cotangent))
    analytic, slope = gradient @ line, cotangent @ view.slope
    half = weights @ to_float(abs(view.jump)) / 2
    size = float(_sizes(weights[None], view.slope[None], line[None])[0, 0]) + half
    largest = max(float(top[row]), size)
    doubt = TRUST * float(weights @ view.uncertainty)
    # a derivative that cannot be told from 0 may be the rounding of any output, others that of those that move
    counted = (view.uncertainty > 0) | (size <= doubt)
    rounding = SLACK * claim.coarser * float(weights @ np.where(counted, claim.rounding(), 0.0))
    allowed = claim.rtol * size + (min(rounding, COARSEST * largest) if size > doubt else rounding)
    off = abs(float(analytic - slope))
    error, reason = max(off - half, 0.0), ""
    kinked = bool(half > 0)
    if kinked:
        low, high = float(slope) - half, float(slope) + half
        allowed += min(doubt, COARSEST * largest)
        reason = f"slopes to either side are {low:.9g} and {high:.9g}, times the cotangent"
    elif stepped is not None:
        exact = cotangent @ stepped
        if error > allowed and abs(exact - slope) <= max(doubt, 1e-6 * largest) and doubt <= BELIEVED * largest:
            # differences may be too noisy to tell either from the truth; the complex step is not noisy
            slope, error, doubt = exact, abs(float(analytic - exact)), 0.0
    if error <= allowed or (error <= doubt and doubt <= claim.rtol * largest):
        verdict = KINKED if kinked else "ok"
    elif error <= max(doubt, rounding):
        verdict, reason = "undecided", _coarse(claim, view, weights, max(doubt, rounding) / size)
    else:
        verdict = "wrong"
    step = float(view.step[int(np.argmax(weights * to_float(abs(view.slope))))])
    return _Finding(verdict, off, slope, step, row, line, cotangent, gradient, reason)


def _coarse(claim: Claim, view: central.View, weights: Array, part: float) -> str:
    """Say why differences cannot tell."""
    moves = np.where(weights > 0, view.grain, 0.0)
    j = int(np.argmax(moves))
    said = (
        f"forward is too coarse: its differences tell this derivative to {part:.0e} of its size, "
        f"rtol is {claim.rtol:.0e}"
    )
    coarse = moves[j] > 100 * claim.eps * abs(float(claim.center[j]))
    return f"{said}; an output of {float(claim.center[j]):.3g} moves in steps of {moves[j]:.0e}" if coarse else said


def _localised(claim: Claim, found: _Finding, analytic: bool, top: Array) -> _Finding:
    """Follow an accepted error along a direction that rounding does not explain to the element it comes from."""
    if found.verdict != "ok":
        return found
    line = _narrow(claim, found, analytic)
    if line is None or np.count_nonzero(line) > 1:
        return found
    view = _view(claim, line)
    single = _judge(claim, line, view, None, 0 * top, found.row, found.cotangent, found.gradient)
    return single if single.verdict == "wrong" else found


def _narrow(claim: Claim, found: _Finding, analytic: bool) -> Array | None:
    """Halve a direction down to the element along which the gradient disagrees most; None if that is rounding."""
    cotangent, gradient = found.cotangent, found.gradient
    weights = to_float(abs(cotangent))

    def disagreement(line: Array) -> tuple[float, float]:
        if analytic:
            slope = complex_step.slopes([claim.along(line)])[0]
            unsure = SLACK * (weights @ claim.rounding())
        else:
            view = _view(claim, line)
            slope, unsure = view.slope, TRUST * (weights @ view.uncertainty)
        return abs(float(cotangent @ slope - gradient @ line)), unsure

    line = found.line
    error, unsure = disagreement(line)
    if error <= unsure:
        return None
    while np.count_nonzero(line) > 1:
        nonzero = np.flatnonzero(line)
        half = line.copy()
        half[nonzero[: nonzero.size // 2]] = 0.0
        line = max(half, line - half, key=lambda part: disagreement(part)[0])
    return line


def _kinked_elements(
    claim: Claim, line: Array, view: central.View, top: Array, rng: np.random.Generator
) -> list[_Finding]:
    """Search a direction for the elements whose slopes jump; check those, and the rest of the input, by themselves.

    The search looks at `SEARCHED` parts of the input, in random order; of what is left, the outputs without a kink
    have been checked.
    """
    least = 1e-6 * float(np.max(np.abs(to_float(view.jump))))
    found: list[_Finding] = []
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
        doubtful = not table._accepted().all() or jumps
        if doubtful and (part.size == 1 or not _view(claim, along).kinked.any()):
            found += _along_one(claim, along, table.view(0), None, top, rng)
        if found and _worst(found).verdict == "wrong":
            break
    return found


def _persisting(claim: Claim, line: Array, kinked: Array, least: float) -> bool:
    """Whether any of the outputs that have kinks has one along this part of the line."""
    before = None
    for step in (claim.step, claim.step / 8):
        jump = to_float(abs(central.stencil(claim.along(line), claim.center, step).jump))
        floor = np.maximum(least, 32 * claim.rounding() / step)
        alike = kinked & (jump > floor)
        if before is not None:
            alike &= (before / 2 <= jump) & (jump <= before * 2)
        if not alike.any():
            return False
        before = jump
    return True


def _report(claim: Claim, table: _Table, worst: _Finding, rng: np.random.Generator) -> InputResult:
    line, slope = worst.line, worst.slope
    if worst.verdict not in ("ok", KINKED) and np.count_nonzero(line) > 1:
        narrowed = _narrow(claim, worst, table.stepped is not None)
        line = line if narrowed is None else narrowed
        slope = worst.cotangent @ _view(claim, line).slope
    largest = np.max(np.maximum(table.sizes, _claimed(claim, table.lines)), axis=1)
    scale = np.maximum(largest, np.finfo(float).tiny)
    complex_error = None
    if table.stepped is not None:
        off = np.abs(table.analytic - claim.cotangents @ table.stepped.T)
        complex_error = float(np.max(off / scale[:, None]))
    j, *others = np.flatnonzero(line)
    unit = 1.0 if others else float(line[j])
    random = probes.bounded(rng, line.shape) * claim.units
    return InputResult(
        name=claim.name,
        verdict=worst.verdict,
        error=worst.error / float(scale[worst.row]),
        complex_error=complex_error,
        refusal=table.refusal,
        index=None if others else tuple(map(int, np.unravel_index(j, claim.x.shape))),
        analytic=float(worst.gradient @ line) / unit,
        numeric=float(slope) / unit,
        step=worst.step * abs(unit),
        taylor=taylor.fit(
            claim.along(random),
            claim.center,
            worst.cotangent,
            worst.gradient @ random,
            step=claim.step,
            scale=float(scale[worst.row]),
            rounding=claim.eps
            * claim.conditioning
            * float(to_float(abs(worst.cotangent)) @ to_float(abs(claim.center))),
        ),
        reason=worst.reason,
    )


def _claimed(claim: Claim, lines: Array) -> Array:
    """The size of each derivative by the gradient under test."""
    gradients = to_float(abs(claim.gradients))
    if np.count_nonzero(lines[0]) == 1:
        return np.asarray(gradients @ np.abs(lines).T)
    return np.stack([[_length(row * np.abs(line)) for line in lines] for row in gradients])
