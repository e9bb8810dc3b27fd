"""What people get wrong in modified batch normalisation and in MABN."""

from __future__ import annotations

from functools import partial
from typing import Any

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls
from mabn_ref.norms import mabn, modified_batch_norm

_modified = partial(Mistake, subject=modified_batch_norm, draw=calls(modified_batch_norm))
_modified_backward = partial(_modified, equation="modified-backward (16)", oracle="gradient")
_modified_statistics = partial(_modified, equation="modified-statistics (15)", oracle="forward")
_modified_forward = partial(_modified, equation="modified-normalise (15)", oracle="forward")
_modified_moving = partial(_modified, equation="ema-forward (12)", oracle="recurrence")

MISTAKES = {
    "modified-no-psi": _modified_backward(
        edits={"(dy - y * psi) / chi": "dy / chi"},
        sentence="Your dx is what you get without the Psi_B term of equation (16): every x also moves chi_B.",
    ),
    "modified-keeps-g": _modified_backward(
        edits={"(dy - y * psi) / chi": "(dy - sums(dy) / values - y * psi) / chi"},
        sentence="Your dx still has the g_B term of equation (4); forward subtracts no mean, so backward has no g_B.",
    ),
    "modified-variance": _modified_statistics(
        edits={
            "chi2 = mean_square(x)": "chi2 = mean_square(x - sums(x) / x.shape[1])",
            "(dy - y * psi) / chi": "(dy - (y - sums(y) / values) * psi) / chi",
        },
        sentence="Your chi_B^2 is the variance; equation (15) has the mean square, no mean subtracted.",
    ),
    "modified-no-root": _modified_forward(
        edits={
            "chi = root(chi2 + config.eps)": "chi = chi2 + config.eps",
            "(dy - y * psi) / chi": "(dy - 2 * chi * y * psi) / chi",
        },
        sentence="Your y is x divided by the mean square; equation (15) divides by its root, chi_B.",
    ),
    "modified-weights-swapped": _modified_moving(
        edits={"ema(state.chi2, chi2, config.decay)": "ema(state.chi2, chi2, 1 - config.decay)"},
        sentence="Your moving mean square multiplies the new value by decay; decay is the weight of the old one.",
        draw=calls(modified_batch_norm, decay=0.9),
    ),
}

_settings: dict[str, Any] = {"window": 3, "decay": 0.9, "clip": 5.0, "warmup": 0, "renorm_from": 1}
_mabn = partial(Mistake, subject=mabn, draw=calls(mabn, **_settings, count=6))
_mabn_backward = partial(_mabn, equation="mabn-backward (20)", oracle="one-call derivative")
_psi_average = partial(_mabn, equation="sma-backward (13)", oracle="one-call derivative")
# Where r is not clipped, z is gamma * x / chi_hat, whatever the window holds.
_unclipped = calls(mabn, **_settings | {"clip": 1.0}, count=6)
_chi2_average = partial(_mabn, equation="sma-backward (13)", oracle="forward", draw=_unclipped)
_mabn_forward = partial(_mabn, equation="mabn-renormalise (19)", oracle="forward")
_mabn_moving = partial(_mabn, equation="ema-forward (12)", oracle="recurrence")
_CHI2_AVERAGE = "average, chi2_window = sma(state.chi2_window, chi2_batch, seen=t)"
_PSI_AVERAGE = "average, psi_window = sma(state.psi_window, psi_batch, seen=t)"

MISTAKES |= {
    "mabn-psi-of-this-batch": _mabn_backward(
        edits={"(dy - y * psi) / chi": "(dy - y * psi_batch) / chi"},
        sentence="Your backward uses Psi_B of this batch; equation (20) has its average over the window.",
    ),
    "mabn-psi-window-one-late": _psi_average(
        edits={
            _PSI_AVERAGE: "rows = np.concatenate([state.psi_window, psi_batch[:, 0, :]])\n"
            "    held = [max(min(t + g, config.window), 1) for g in range(len(y))]\n"
            "    late = [np.sum(rows[g : g + config.window], axis=0) / held[g] for g in range(len(y))]\n"
            "    average, psi_window = np.stack(late)[:, None, :], rows[-config.window :]"
        },
        sentence="Your average of Psi leaves out this batch, which belongs to the window.",
    ),
    "mabn-psi-exponential": _psi_average(
        edits={
            _PSI_AVERAGE: "_, average = ema(state.psi_window[-1, :], psi_batch, config.decay)\n"
            "    psi_window = np.concatenate([state.psi_window, average[:, 0, :]])[-config.window :]"
        },
        sentence="Your average of Psi is exponential; backward uses the simple average of the last m batches.",
    ),
    "mabn-psi-without-gamma": _mabn(
        edits={"psi_batch = gamma * r * dzy_sum / values": "psi_batch = r * dzy_sum / values"},
        sentence="Your Psi_B is the mean of y * r * dz; the gradient that reaches y has gamma in it too.",
        equation="bn-gradient-statistics (5)",
        oracle="one-call derivative",
    ),
    "mabn-r-forgotten-in-backward": _mabn_backward(
        edits={
            "dy = dz * (gamma * r)": "dy = dz * gamma",
            "psi_batch = gamma * r * dzy_sum / values": "psi_batch = gamma * dzy_sum / values",
        },
        sentence="Your dx lacks r: equation (20) starts from dy = gamma * r * dz.",
    ),
    "mabn-dx-averaged": _mabn_backward(
        edits={
            # the window has another shape then
            "def statistics(": "def any_window(*channels, **rest):\n"
            "    return init(*channels, **rest)._replace(psi_window=None)\n\n\n"
            "def statistics(",
            ("(config, Config), init)", 3): "(config, Config), any_window)",
            ("(cache, Cache), (state, State), init)", 2): "(cache, Cache), (state, State), any_window)",
            _PSI_AVERAGE: "own, held = ((dy - y * psi_batch) / chi).reshape(len(y), -1), state.psi_window\n"
            "    if held.shape[1] != own.shape[1]:  # at the start, and when batches change their size\n"
            "        held = np.zeros((config.window, own.shape[1]), dtype=own.dtype)\n"
            "    average, psi_window = sma(held, own, seen=t)",
            "psi = switched(psi_batch, average, config.warmup, t)\n    dx = (dy - y * psi) / chi": "dx = switched("
            "own, average, config.warmup, t)",
        },
        sentence="Your backward averages dx over the window, but the dx of other samples mean nothing here.",
    ),
    "mabn-dgamma-before-r": _mabn(
        edits={"total(r * dzy_sum)": "total(dzy_sum)"},
        sentence="Your dgamma sums dz * y with the y from before r; gamma multiplies r * y.",
        equation="mabn-affine-backward",
        oracle="one-call derivative",
    ),
    "mabn-derivative-of-one-call": _mabn_backward(
        edits={
            _PSI_AVERAGE: "alone, psi_window = np.eye(len(y), dtype=y.dtype), state.psi_window\n"
            "    average, _ = sma(np.zeros((config.window, len(y)), dtype=y.dtype), alone, seen=t)",
            "psi = switched(psi_batch, average, config.warmup, t)": "# row s: how much of each is in what s uses\n"
            "    share = switched(alone, average, config.warmup, t)\n"
            "    psi = chi**2 * np.tensordot(share.T, psi_batch / chi**2, 1)",
        },
        sentence="Your dx is the derivative of this call alone; equation (20) also uses the Psi of earlier batches.",
        oracle="recurrence",
    ),
    "mabn-warm-up-forward-only": _psi_average(
        edits={"psi = switched(psi_batch, average, config.warmup, t)": "psi = average"},
        sentence="Your backward averages Psi during warm-up, while your forward uses each batch's own chi^2.",
        oracle="recurrence",
        draw=calls(mabn, **_settings | {"warmup": 6}, count=5),
    ),
    "mabn-window-one-short": _chi2_average(
        edits={
            _CHI2_AVERAGE: f"{_CHI2_AVERAGE}\n"
            "    short = state.chi2_window[1:, :]\n"
            "    average = sma(short, chi2_batch, seen=t)[0] if config.window > 1 else chi2_batch"
        },
        sentence="Your chi^2 is averaged over m - 1 batches, not m.",
    ),
    "mabn-zeros-counted": _chi2_average(
        edits={"sma(state.chi2_window, chi2_batch, seen=t)": "sma(state.chi2_window, chi2_batch)"},
        sentence="Your average of chi^2 divides by m before m batches have been seen; divide by the number held.",
    ),
    "mabn-chi-averaged": _chi2_average(
        edits={
            _CHI2_AVERAGE: f"{_CHI2_AVERAGE}\n"
            "    average = sma(root(state.chi2_window), root(chi2_batch), seen=t)[0] ** 2"
        },
        sentence="Your forward averages chi_B over the window; average chi_B^2, then take the root.",
        equation="mabn-forward (19)",
    ),
    "mabn-r-of-squares": _mabn_forward(
        edits={"chi / root(before + config.eps)": "chi**2 / (before + config.eps)"},
        sentence="Your r is a ratio of mean squares; take their roots first, chi over chi_hat.",
    ),
    "mabn-no-renormalisation": _mabn_forward(
        edits={"r = switched(1, r, config.renorm_from, t)": "r = np.ones_like(chi)"},
        sentence="Your output lacks r: by equation (19) gamma multiplies r * y, not y.",
        equation="mabn-forward (19)",
    ),
    "mabn-read-after-update": _mabn_forward(
        edits={"root(before + config.eps)": "root(after + config.eps)"},
        sentence="Your r uses an exponential average that already includes this batch; read it, then update.",
    ),
    "mabn-ema-of-window": _mabn_moving(
        edits={
            "ema(state.chi2, chi2_batch, config.decay)": "ema("
            "state.chi2, switched(chi2_batch, average, config.warmup, t), config.decay)"
        },
        sentence="Your exponential average takes in the window's mean, as the authors' code does; give it chi_B^2.",
    ),
    "mabn-weights-swapped": _mabn_moving(
        edits={"ema(state.chi2, chi2_batch, config.decay)": "ema(state.chi2, chi2_batch, 1 - config.decay)"},
        sentence="Your exponential average multiplies the new value by decay; decay is the weight of the old one.",
    ),
    "mabn-infer-window": _mabn_forward(
        edits={
            "y = x / root(state.chi2 + config.eps)": "held = np.any(state.chi2_window, axis=1)\n"
            "    mean = np.sum(state.chi2_window, axis=0) / max(int(np.count_nonzero(held)), 1)\n"
            "    y = x / root(mean + config.eps)"
        },
        sentence="Your inference divides by the simple average of the last batches; use the exponential one.",
        equation="modified-infer",
    ),
}
