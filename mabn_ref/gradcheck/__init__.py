"""A gradient checker for any forward and backward pass written with NumPy; it knows nothing of particular layers.

``check`` compares what backward returns with central differences and, where the forward is analytic, with the complex
step, and says what it found. ``exact`` makes arrays of 50-digit numbers, on which the same passes run and the same
check applies; ``ulps`` measures rounding errors against them.
"""

from __future__ import annotations

from mabn_ref.gradcheck.checker import check
from mabn_ref.gradcheck.differences import Taylor
from mabn_ref.gradcheck.exact import Exact, exact, to_float, ulps
from mabn_ref.gradcheck.result import GradientError, InputResult, Result

__all__ = ["Exact", "GradientError", "InputResult", "Result", "Taylor", "check", "exact", "to_float", "ulps"]
