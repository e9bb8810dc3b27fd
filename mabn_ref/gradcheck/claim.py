"""What backward claims for one input, and what can be measured of both passes around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.gradcheck.differences import Along, View, climb
from mabn_ref.gradcheck.exact import to_float
from mabn_ref.gradcheck.rounding import rounding_along

MEASURED = 1024  #: rounding that is measured inside a pass counts up to this many times the eps of its numbers


@dataclass(frozen=True)
class Claim:
    """What backward claims: `gradients` are those of <cotangent, function(x)> at `x`, one row for each cotangent.

    `functions` are the names of forward and backward. `pull` is backward for one more cotangent, `pull_at` the same
    at another x; `units` is the unit of each element of x, `center` the output at x, and `eps` the eps of its dtype.
    `inherited` returns how far the rounding of the inputs moves each output, and `swing` how far quite different
    inputs move it. `coarser` is the eps of the gradients in multiples of `eps`, and `conditioning` the distance from
    zero, in units, of the farthest input of forward. `measured` keeps views that took long.
    """

    name: str
    functions: tuple[str, str]
    function: Callable[[Array], Array]
    pull: Callable[[Array], Array]
    pull_at: Callable[[Array, Array], Array]
    x: Array
    units: Array
    center: Array
    cotangents: Array
    gradients: Array
    rtol: float
    inherited: Callable[[], Array]
    swing: Callable[[], Array]
    eps: float
    coarser: float
    conditioning: float
    measured: dict[bytes, View] = field(default_factory=dict)

    def along(self, direction: Array) -> Along:
        """Return the output as a function of how far x has moved in a direction.

        Where forward raises, it is NaN: if a neighbour is outside its domain, that is not the caller's error.
        """
        direction = direction.reshape(self.x.shape)

        def at(t: Any) -> Array:
            try:
                return self.function(np.asarray(self.x + t * direction))
            except Exception:
                if np.iscomplexobj(t) or self.center.dtype == object:  # exact numbers have no NaN
                    raise
                return np.full_like(self.center, np.nan)

        return at

    def rounding(self, reach: Array | float = np.inf) -> Array:
        """How far rounding may move each output; `reach` caps its size, as backward sees no added constants."""
        return np.fmax(self.eps * np.fmin(to_float(abs(self.center)), reach), self.inherited())

    def view(self, line: Array, rounding: Array | float = 0.0) -> View:
        """Climb a ladder of steps along a line, with `rounding` of the outputs besides what is known of it."""
        view = climb(self.along(line), self.center, self.step, self.rounding() + rounding)
        if not np.isfinite(view.uncertainty).all():
            raise self._out_of_domain(line)
        return view

    def measured_view(self, line: Array) -> View:
        """Climb a ladder with the rounding inside forward, measured along the line, counted in."""
        key = line.tobytes()
        if key not in self.measured:
            self.measured[key] = self.view(line, rounding_along(self.along(line), self.most_inside()))
        return self.measured[key]

    def most_inside(self) -> Array:
        """Return the largest size that counts as rounding inside forward, for each output."""
        return MEASURED * self.eps * np.fmax(to_float(abs(self.center)), self.known_swing())

    def rounding_of_backward(self, line: Array, cotangent: Array, most: float) -> float:
        """Return how far <gradient, line> is rounded, as measured at neighbours of x."""
        along = line.reshape(self.x.shape)

        def at(t: float) -> Array:
            try:
                return np.atleast_1d(self.pull_at(cotangent, self.x + t * along) @ line)
            except Exception:  # as in `along`
                return np.array([np.nan])

        return float(rounding_along(at, np.array([most]))[0])

    def known_swing(self) -> Array:
        """Return the swing of the outputs, 0 where it is unknown."""
        swing = self.swing()
        return np.where(np.isfinite(swing), swing, 0.0)

    def dependent(self, line: Array) -> Array:
        """Return which outputs move if the line's elements become 0, half, negated, or plus or minus the largest."""
        on = (line != 0).reshape(self.x.shape)
        largest = np.max(abs(self.x))
        moves = np.zeros(self.center.shape, dtype=bool)
        for values in (0 * self.x, self.x / 2, -self.x, 0 * self.x + largest, 0 * self.x - largest):
            with suppress(Exception):
                moved = to_float(abs(self.function(np.where(on, values, self.x)) - self.center))
                moves |= np.isfinite(moved) & (moved > 0)
        return moves

    def _out_of_domain(self, line: Array) -> ValueError:
        """Make the error for a forward that is not finite along a line, however small the step."""
        forward, _ = self.functions
        said = ValueError(f"{forward} is not finite near {self.name}, expected finite numbers around the inputs")
        j, *others = np.flatnonzero(line)
        for t in (self.step, -self.step):
            moved = self.x + t * line.reshape(self.x.shape)
            try:
                self.function(moved)
            except Exception as error:
                where = list(map(int, np.unravel_index(j, self.x.shape)))
                at = "several elements" if others else f"{moved[tuple(where)]:.17g} at {where}"
                said.__cause__ = error
                said.add_note(
                    f"{forward} raised {type(error).__name__} for {self.name} with {at}, {abs(t * line[j]):.1e} from "
                    "the input: it is called at neighbours of the inputs, and has to accept some on either side"
                )
                break
        return said

    @cached_property
    def step(self) -> float:
        """The step of the first stencil, a power of two: it balances truncation, step**4, and rounding, eps/step."""
        return float(2.0 ** np.round(np.log2(self.eps) / 5))
