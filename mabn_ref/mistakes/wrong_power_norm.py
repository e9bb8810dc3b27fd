"""What people get wrong in PowerNorm."""

from __future__ import annotations

from functools import partial

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls
from mabn_ref.norms import power_norm

_four_calls = calls(power_norm, decay=0.9, decay_backward=0.5, count=4, warmup=0)
_power = partial(Mistake, subject=power_norm, equation="power-control", oracle="recurrence", draw=_four_calls)

MISTAKES = {
    "power-average-after": _power(
        edits={"(chi2_batch, before,": "(chi2_batch, after,"},
        sentence="Your forward divides by an average that already includes this batch; use the one from before it.",
        equation="power-normalise",
    ),
    "power-v-of-dy": _power(
        edits={"psi, held * sums(y * y) / values": "psi, 0 * psi"},
        sentence="Your v adds up all of Psi; it should add up what is left once the share of v is subtracted.",
    ),
    "power-psi-of-this-batch": _power(
        edits={"dy = dz * gamma - held * v * y": "dy = dz * gamma - psi * y"},
        sentence="Your dx uses this batch's Psi, as modified batch normalisation does; PowerNorm uses a share of v.",
    ),
}
