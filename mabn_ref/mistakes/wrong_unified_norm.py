"""What people get wrong in Unified Normalization."""

from __future__ import annotations

from functools import partial
from typing import Any

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls
from mabn_ref.norms import unified_norm

_from_the_start: dict[str, Any] = {"count": 6, "groups": 1, "outliers": False, "warmup": 0, "renorm_from": 1}
_six_calls = calls(unified_norm, window=3, decay=0.5, clip=5.0, **_from_the_start)
_unified = partial(Mistake, subject=unified_norm, oracle="recurrence", draw=_six_calls)

MISTAKES = {
    "unified-arithmetic-mean": _unified(
        edits={"batch if own else geometric_mean(window)": "batch if own else xp.mean(window, axis=0)"},
        sentence="Your window takes the arithmetic mean, as MABN does; Unified Normalization takes the geometric.",
        equation="unified-mean",
    ),
    "unified-r-in-forward": _unified(
        edits={"z = gamma * y + beta": "z = gamma * r * y + beta"},
        sentence="Your output is multiplied by r, as in MABN; here r belongs in backward only.",
        equation="affine (3)",
    ),
    "unified-window-alone": _unified(
        edits={"subtracted.append(mean if alone[g] else average)": "subtracted.append(mean)"},
        sentence="Your dx uses the window's mean of Psi; here it needs an exponential average of that mean.",
        equation="unified-psi",
    ),
}
