"""What a check found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mabn_ref.gradcheck.differences import Taylor

VERDICTS = ("ok", "not differentiable here", "undecided", "wrong", "impure")  #: from best to worst


class GradientError(AssertionError):
    """A gradient is wrong, or cannot be shown to be right; the message is the whole result."""


@dataclass(frozen=True)
class InputResult:
    """What was found for the gradient of one input."""

    name: str  #: the input's name
    #: "ok"; "wrong"; "not differentiable here", where the slopes to either side differ, the gradient lies between
    #: them, and everything else is right; "undecided", where differences cannot tell: the forward is too coarse for
    #: them, or kinks lie too near
    verdict: str
    #: worst error against central differences, relative to the input's largest derivative, both per unit of spread
    error: float
    complex_error: float | None  #: the same against the complex step; None where that was refused
    refusal: str  #: why the complex step was refused, or ""
    #: the worst element; None for an accepted gradient that was checked along random directions
    index: tuple[int, ...] | None
    analytic: float  #: what backward says there; along a direction where there is no `index`
    numeric: float  #: what differences say there
    step: float  #: the step of that difference, in units of the input (of its spread along a direction)
    taylor: Taylor  #: the first-order part of the Taylor remainder along a random direction
    reason: str = ""  #: what is behind the verdict where numbers alone do not say it, or ""
    function: str = "backward"  #: whose gradient it is; "double_backward" for those of the pass of that name

    def __str__(self) -> str:
        """Return one line, and for anything but "ok" a second one with the worst element."""
        stepped = f"refused ({self.refusal})" if self.complex_error is None else f"{self.complex_error:.1e}"
        line = (
            f"{self.name}: {self.verdict}; worst error by central differences {self.error:.1e}, "
            f"by complex step {stepped}; Taylor {self.taylor}"
        )
        if self.verdict != "ok":
            where = "along a random direction" if self.index is None else f"at {self.name}{list(self.index)}"
            measured = f", differences say {self.numeric:.9g} (step {self.step:.1e})"
            if math.isnan(self.step):  # not linear in dout: both numbers are those of backward
                measured = f" and {self.numeric:.9g}"
            line += f"\n    {where} {self.function} says {self.analytic:.9g}{measured}"
        return f"{line}\n    {self.reason}" if self.reason else line


@dataclass(frozen=True, repr=False)
class Result:
    """What a check found for all inputs."""

    #: one for each input; empty if the passes are impure, since no number means anything then
    inputs: tuple[InputResult, ...]
    #: what the passes changed although it is not theirs, a different answer on a second call, or a cache not used
    violations: tuple[str, ...]
    rtol: float  #: the tolerance of the errors; NaN if there are none
    seed: int  #: of the cotangents and directions

    @property
    def verdict(self) -> str:
        """The worst verdict of any input, or "impure"."""
        return "impure" if self.violations else self.worst.verdict

    @property
    def worst(self) -> InputResult:
        """The input with the worst verdict and, among those, the largest error."""
        return max(self.inputs, key=lambda found: (VERDICTS.index(found.verdict), found.error))

    def __repr__(self) -> str:
        """Return the verdict and a line or two for each input."""
        tolerance = "" if self.violations else f"rtol {self.rtol:.0e}, "
        lines = [f"gradient check: {self.verdict} ({tolerance}seed {self.seed})"]
        return "\n  ".join([*lines, *self.violations, *map(str, self.inputs)])

    def raise_for_error(self) -> None:
        """Do nothing if the gradients are right; at kinks, if they lie between the slopes on the two sides.

        Raises
        ------
        GradientError
            If the verdict is "wrong", "undecided" or "impure".
        """
        if self.verdict not in VERDICTS[:2]:
            raise GradientError(repr(self))
