"""The verdict on one gradient along one line: right, wrong, at a kink, or lost in the noise of forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.claim import MEASURED, Claim
from mabn_ref.gradcheck.differences import View, complex_slopes
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.probes import SMALL
from mabn_ref.gradcheck.result import VERDICTS

TRUST = 10  #: where differences settle to within u, a gradient is wrong if it is off by more than this many u
SLACK = 20  #: a right gradient may be off by this many times the rounding of <|cotangent|, |output|>
BELIEVED = 0.1
"""The complex step decides if differences, which have to confirm it, settle to this fraction of the derivative."""

LEAST = 2.0**10  #: a gradient may be off by this many least normal numbers: what underflows may be multiplied later
COARSEST = 1e-2  #: rounding excuses no more than this fraction of the largest derivative
SINGLE = 16  #: at most this many of the outputs with a kink along one line are examined one by one
NEAR_ONE = 3  #: how many cotangents come first, those whose elements are of one size
KINKED = "not differentiable here"


class Finding(NamedTuple):
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
    left: float = 0.0  #: the error that was judged, less what a kink excuses
    size: float = 0.0  #: the size of the derivative
    stepped: bool = False  #: whether the complex step was believed
    explained: bool = False  #: whether the rounding measured in backward explains the error


def worst(findings: Sequence[Finding]) -> Finding:
    # the numbers of a cotangent over many decades are shown only if no other cotangent has the same verdict
    return max(findings, key=lambda found: (VERDICTS.index(found.verdict), found.row < NEAR_ONE, found.error))


class Sight(NamedTuple):
    """What is seen along one line by a ladder of steps and by the complex step, None where that is refused."""

    claim: Claim
    line: Array
    view: View
    stepped: Array | None
    top: Array  #: the largest derivative, for each cotangent
    measured: bool = False  #: whether the ladder counts in the rounding measured inside forward

    def findings(self, rng: np.random.Generator) -> list[Finding]:
        """Judge by what is seen; if outputs have kinks along the line, judge those, and the rest without them."""
        claim, kinked = self.claim, self.view.kinked
        rows = list(zip(claim.cotangents, claim.gradients, strict=True))
        # the last cotangent has the largest elements: what overflows for it alone is judged by the others
        rows = smooth = [(c, g) for c, g in rows if np.isfinite(to_float(g @ self.line))] or rows
        if self.line.size > SMALL and not self.line.all():
            rows = smooth = rows[:1]  # the other cotangents are judged along whole directions
        if kinked.any():
            smooth = [(c, claim.pull(c)) for c in (np.where(kinked, 0 * c, c) for c, _ in rows)]
        found = [self._judge(k, c, g) for k, (c, g) in enumerate(smooth)]
        if np.count_nonzero(self.line) > 1:
            return [self._localised(finding) for finding in found]
        outputs = np.flatnonzero(kinked)
        if outputs.size:
            found += [self._replace(stepped=None)._judge(k, c, g) for k, (c, g) in enumerate(rows)]
        if outputs.size > 1:
            for j in rng.permutation(outputs)[:SINGLE]:
                c = 0 * rows[0][0]
                c[j] = rows[0][0][j]
                found.append(self._replace(stepped=None)._judge(0, c, claim.pull(c)))
        return found

    def _judge(self, row: int, cotangent: Array, gradient: Array) -> Finding:
        """Judge the gradient for one cotangent; if it seems wrong, measure the rounding inside both passes."""
        claim, view = self.claim, self.view
        found = self._weigh(row, cotangent, gradient)
        if (view.kinked & (cotangent != 0)).any():
            return found
        jumping = (cotangent != 0) & view.jumping
        if jumping.any() and not found.stepped:
            rest = np.where(jumping, 0 * cotangent, cotangent)
            others = self._judge(row, rest, claim.pull(rest))
            reason = f"{claim.functions[0]} jumps here, and has no derivative"
            return others if others.verdict == "wrong" else found._replace(verdict="undecided", reason=reason)
        if found.verdict != "wrong":
            return found
        if not found.stepped:
            hidden = self._hidden(found)
            if hidden.any():  # an error of the others shows without these
                rest = np.where(hidden, 0 * cotangent, cotangent)
                return self._judge(row, rest, claim.pull(rest))
            closer = self._closer(found)
            if closer is not None:
                return closer._judge(row, cotangent, gradient)
        return self._weigh(row, cotangent, gradient, *self._of_backward(found))

    def _weigh(
        self, row: int, cotangent: Array, gradient: Array, of_backward: float = 0.0, unseen: float = 0.0
    ) -> Finding:
        """Weigh an error against rounding: the known part, and that of backward, as measured and as it may be."""
        claim, line, view, stepped, top, _ = self
        weights = to_float(abs(cotangent))
        analytic, slope = gradient @ line, cotangent @ view.slope
        half = weights @ to_float(abs(view.jump)) / 2
        size = float(sizes(weights[None], view.slope[None], line[None])[0, 0]) + half
        largest = max(float(top[row]), size)
        doubt = TRUST * float(weights @ view.uncertainty)
        # a derivative that cannot be told from 0 may be the rounding of any output, others only of those that move
        counted = (view.uncertainty > 0) | (size <= doubt)
        rounding, passed_on = (
            SLACK * claim.coarser * float(weights @ np.where(counted, each, 0.0))
            for each in (claim.rounding(), claim.rounding(np.fmax(view.reach, claim.swing())))
        )
        off = abs(float(analytic - slope))
        error, reason = max(off - half, 0.0), ""
        kinked, believed = bool(half > 0), False
        if not kinked and stepped is not None and error > claim.rtol * size:
            exact = cotangent @ stepped
            if abs(exact - slope) <= max(doubt, 1e-6 * largest) and doubt <= BELIEVED * largest > 0:
                # differences may be too noisy to tell either from the truth; the complex step is not noisy
                slope, error, doubt, rounding = exact, abs(float(analytic - exact)), 0.0, passed_on
                believed = True
        # near the least normal number of its dtype a gradient has few digits, or none
        least = LEAST * float(np.finfo(gradient.dtype).tiny) if gradient.dtype.kind == "f" else 0.0
        rounding += of_backward + least * float(np.sum(to_float(abs(line))))
        allowed = claim.rtol * size + (min(rounding, COARSEST * largest) if largest > doubt else rounding)
        if kinked:
            low, high = float(slope) - half, float(slope) + half
            allowed += min(doubt, COARSEST * largest)
            reason = f"slopes to either side are {low:.9g} and {high:.9g}, times the cotangent"
        if error <= allowed or (error <= doubt and doubt <= claim.rtol * largest):
            verdict = KINKED if kinked else "ok"
            if not kinked and error > claim.rtol * largest > 0:
                reason = f"rounding explains an error of {allowed / largest:.0e} here, more than rtol"
        elif error <= max(doubt, rounding):
            verdict, reason = "undecided", self._unclear(weights, doubt, rounding, size)
        elif error <= unseen:
            verdict, reason = "undecided", self._rounded_away(error, largest)
        else:
            verdict = "wrong"
        step = float(view.step[int(np.argmax(weights * to_float(abs(view.slope))))])
        return Finding(
            verdict,
            off,
            slope,
            step,
            row,
            line,
            cotangent,
            gradient,
            reason,
            error,
            size,
            believed,
            error <= of_backward,
        )

    def _hidden(self, found: Finding) -> Array:
        """Return the outputs that stand still because rounding hides their derivative, if that explains the error."""
        claim = self.claim
        rounding = SLACK * claim.eps * claim.coarser * np.fmax(to_float(abs(claim.center)), claim.known_swing())
        rounding *= to_float(abs(found.cotangent)) * (self.view.reach == 0)
        if found.left <= np.sum(rounding):
            rounding *= claim.dependent(self.line)
        return np.asarray((rounding > 0) & (found.left <= np.sum(rounding)))

    def _closer(self, found: Finding) -> Sight | None:
        """Climb once more, with the rounding inside forward measured, if that can explain the error."""
        claim, view = self.claim, self.view
        weights = to_float(abs(found.cotangent))
        if self.measured or found.left > TRUST * float(weights @ (claim.most_inside() / view.step)):
            return None
        return self._replace(view=claim.measured_view(self.line), measured=True)

    def _of_backward(self, found: Finding) -> tuple[float, float]:
        """Return how much of the error is backward's rounding as measured, and how much may be.

        Backward's intermediate results are not known; their size is taken to be that of the gradient and of the
        swing.
        """
        claim = self.claim
        swing = np.where(self.view.reach > 0, claim.known_swing(), 0.0)
        rounding = claim.eps * (found.size + float(to_float(abs(found.cotangent)) @ swing))
        if found.left > TRUST * MEASURED * claim.coarser * rounding:
            return 0.0, 0.0
        seen = TRUST * claim.coarser * claim.rounding_of_backward(self.line, found.cotangent, MEASURED * rounding)
        return seen, SLACK * claim.coarser * rounding

    def _unclear(self, weights: Array, doubt: float, rounding: float, size: float) -> str:
        """Say why differences cannot decide, judging by the output that spoils them most."""
        claim, view = self.claim, self.view
        j = int(np.argmax(weights * view.uncertainty))
        center, grain = float(claim.center[j]), float(view.grain[j])
        coarse = grain > 100 * claim.eps * abs(center)
        cause = f"{claim.functions[0]} is too coarse"
        if view.near[j] and doubt >= rounding:
            # beside a kink, its moves may be multiples of one number by chance
            cause = f"a kink lies too near, or {cause}" if coarse else "a kink lies too near"
        unsure = max(doubt, rounding)
        shown = f"to {unsure / size:.0e} of its size" if size > 0 else f"only to be less than {unsure:.0e}"
        said = f"{cause}: differences show this derivative {shown}, and rtol is {claim.rtol:.0e}"
        return f"{said}; an output of {center:.3g} moves in steps of {grain:.0e}" if coarse else said

    def _rounded_away(self, error: float, largest: float) -> str:
        part = f"{error / largest:.0e} of the largest derivative"
        return f"{self.claim.functions[1]} is off by {part}, which may be rounding inside it"

    def _localised(self, found: Finding) -> Finding:
        """Trace an accepted error that rounding does not explain to the element of the line that it comes from."""
        open_ = found.verdict == "ok" and not found.explained
        line = narrowed(self.claim, found, self.stepped is not None) if open_ else None
        if line is None:
            return found
        closer = Sight(self.claim, line, self.claim.view(line), None, 0 * self.top)
        single = closer._judge(found.row, found.cotangent, found.gradient)
        return single if single.verdict == "wrong" else found


def narrowed(claim: Claim, found: Finding, analytic: bool) -> Array | None:
    """Halve a direction down to the element along which the gradient disagrees most; None if that is rounding."""
    cotangent, gradient = found.cotangent, found.gradient
    weights = to_float(abs(cotangent))

    def disagreement(line: Array) -> tuple[float, float]:
        if analytic:
            slope = complex_slopes([claim.along(line)], claim.functions[0])[0]
            unsure = SLACK * float(weights @ np.where(slope != 0, claim.rounding(), 0.0))
        else:
            view = claim.view(line)
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


def sizes(weights: Array, slopes: Array, lines: Array) -> Array:
    """The size of a derivative along each line; a row of `slopes` has the slope of each output along one line.

    It is the sum of the outputs' slopes, each times its weight in a row of `weights`; along a random direction, the
    root of the sum of squares. For what backward claims, the gradients are the weights and the lines the slopes.
    """
    slopes = to_float(abs(slopes))
    if len(lines) and np.count_nonzero(lines[0]) == 1:
        return np.asarray(weights @ slopes.T)
    return np.stack([[length(row * slope) for slope in slopes] for row in weights])


def length(values: Array) -> float:
    """The root of the sum of squares, none of which overflows."""
    largest = float(np.max(values))
    return largest * float(np.linalg.norm(values / largest)) if 0 < largest < np.inf else largest
