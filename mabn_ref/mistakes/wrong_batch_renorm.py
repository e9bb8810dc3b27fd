"""What people get wrong in Batch Renormalization."""

from __future__ import annotations

from functools import partial
from typing import Any

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls
from mabn_ref.norms import batch_renorm
from mabn_ref.norms.checks import Ramp


def _differentiated(*through: str) -> dict[Any, str]:
    """Backward through "r", through "d" or through both, where their clips let x through."""
    slopes = {
        "r": "np.where(np.abs(np.log(sigma / moving_sigma)) < np.log(r_max), 1 / moving_sigma, 0)",
        "d": "np.where(np.abs(mu - moving_mu) / moving_sigma < d_max, 1 / moving_sigma, 0)",
    }
    gradients = {"r": "y * (gamma * dzy_sum / values)", "d": "(gamma * dz_sum / values)"}
    made = "".join(f"by_{name} = {slopes[name]}\n    " for name in through)
    fields = "".join(f"    by_{name}: Array\n" for name in through)
    names = ", ".join(f"by_{name}" for name in through)
    terms = "".join(f" + by_{name} * {gradients[name]}" for name in through)
    cached, kept = "y, sigma, r, d, copied(gamma), t, shape, config", "y, sigma, r, d, gamma, _, shape, _"
    return {
        "    config: Config\n\n\ndef init": f"    config: Config\n{fields}\n\ndef init",
        "scale, shift = gamma * r": f"{made}scale, shift = gamma * r",
        f"Cache({cached})": f"Cache({cached}, {names})",
        (f"{kept} = cache", 2): f"{kept}, {names} = cache",
        "(dy - g - y * psi) / sigma": f"(dy - g - y * psi) / sigma{terms}",
    }


_free: dict[str, Any] = {"r_max": 50.0, "d_max": 50.0, "decay": 0.9}
_brn = partial(Mistake, subject=batch_renorm, draw=calls(batch_renorm, **_free))
_brn_backward = partial(_brn, equation="brn-backward", oracle="gradient")
_brn_corrections = partial(_brn, equation="brn-corrections (14)", oracle="forward")
_ramp: dict[str, Any] = {
    "r_max": Ramp(start=2, stop=6, first=1.0, last=3.0),
    "d_max": Ramp(start=2, stop=6, first=0.0, last=5.0),
    "decay": 0.9,
}

MISTAKES = {
    "brn-r-differentiated": _brn_backward(
        edits=_differentiated("r"),
        sentence="Your dx goes back through r, a constant in backward; unless clipped, the Psi_B term vanishes.",
    ),
    "brn-d-differentiated": _brn_backward(
        edits=_differentiated("d"),
        sentence="Your dx goes back through d, a constant in backward; unless clipped, the g_B term vanishes.",
    ),
    "brn-r-and-d-differentiated": _brn_backward(
        edits=_differentiated("r", "d"),
        sentence="Your dx is the derivative of forward, through r and d too, which are constants in backward.",
    ),
    "brn-r-forgotten-in-backward": _brn_backward(
        edits={
            "dy = dz * (gamma * r)": "dy = dz * gamma",
            "gamma * r * dz_sum / values": "gamma * dz_sum / values",
            "gamma * r * dzy_sum / values": "gamma * dzy_sum / values",
        },
        sentence="Your dx lacks r: in backward dy = gamma * r * dz.",
    ),
    "brn-dgamma-before-corrections": _brn_backward(
        edits={"total(r * dzy_sum + d * dz_sum)": "total(dzy_sum)"},
        sentence="Your dgamma sums dz * y with the y from before r and d; gamma multiplies r * y + d.",
    ),
    "brn-r-of-variance": _brn_corrections(
        edits={"r = clip(sigma / moving_sigma": "r = clip(var / moving_sigma"},
        sentence="Your r is the batch variance over the moving sigma; equation (14) divides sigma by sigma.",
    ),
    "brn-read-after-update": _brn_corrections(
        edits={"r = clip(": "moving_mu, moving_sigma = new_mu, root(new_var + config.eps)\n    r = clip("},
        sentence="Your r and d use moving statistics that already include this batch; read them, then update.",
    ),
    "brn-d-over-batch-sigma": _brn_corrections(
        edits={"(mu - moving_mu) / moving_sigma": "(mu - moving_mu) / sigma"},
        sentence="Your d is divided by the batch's sigma; equation (14) divides it by the moving one.",
    ),
    "brn-clip-from-above-only": _brn_corrections(
        edits={
            "clip(sigma / moving_sigma, 1 / r_max, r_max)": "np.minimum(sigma / moving_sigma, r_max)",
            "d = clip((mu - moving_mu) / moving_sigma, -d_max, d_max)": "d = np.minimum("
            "(mu - moving_mu) / moving_sigma, d_max)",
        },
        sentence="Your r and d are bounded only from above; r has to stay above 1/r_max and d above -d_max.",
        draw=calls(batch_renorm, r_max=1.1, d_max=0.1, decay=0.9, eps=1e-5, scale=(0.1, 0.3)),
    ),
    "brn-eps-twice": _brn_corrections(
        edits={"r = clip(": "moving_sigma = root(moving_sigma**2 + config.eps)\n    r = clip("},
        sentence="Your moving sigma contains eps twice: sqrt(var + eps), which it averages, has it already.",
        draw=calls(batch_renorm, **_free, eps=0.3, ema_of="sigma"),
    ),
    "brn-warm-up-inverted": _brn_corrections(
        edits={
            "in_force(bound": "in_force(Ramp(start=bound.start, stop=bound.stop, first=bound.last, last=bound.first)"
            " if isinstance(bound, Ramp) else bound"
        },
        sentence="Your bounds are wide first, then narrow; early moving statistics are poor, so start narrow.",
        draw=calls(batch_renorm, **_ramp),
    ),
}
