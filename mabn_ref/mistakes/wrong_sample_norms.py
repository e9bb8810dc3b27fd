"""What people get wrong in normalisers whose samples do not share statistics: never, at inference, or once frozen."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls, grouped_calls, sample_calls
from mabn_ref.norms import eval_norm, frozen_batch_norm, group_norm, online_norm, rms_norm


def _several_samples(rng: np.random.Generator) -> Any:
    """A draw of two samples or more: one alone is the batch."""
    while True:
        inputs = grouped_calls()(rng)
        if inputs.xs.shape[1] > 1:
            return inputs


_gn = partial(Mistake, subject=group_norm, draw=grouped_calls(groups=2))
_gn_backward = partial(_gn, equation="gn-backward", oracle="gradient")
_gn_statistics = partial(_gn, equation="gn-statistics", oracle="forward")
_NEIGHBOURS = "groups == 1 or x.size == samples * channels"

MISTAKES = {
    "gn-gamma-after-the-means": _gn_backward(
        edits={
            "dy = split(dz * gamma, config)\n    g = ": "dy = split(dz, config)\n    g = ",
            "dx = (dy - g - y * psi) / sigma": "dx = gamma * merge((dy - g - y * psi) / sigma, shape)",
        },
        sentence="Your dx takes the means of dz and multiplies by gamma at the end; gamma differs within a group, so "
        "that g and Psi are means of dy = gamma * dz.",
        equation="gn-gradient-statistics",
    ),
    "gn-no-statistics": _gn_backward(
        edits={"(dy - g - y * psi) / sigma": "dy / sigma"},
        sentence="Your dx is dy / sigma, as if mean and variance were constants; they come from this very sample.",
        draw=grouped_calls(),
    ),
    "gn-statistics-of-the-batch": _gn_statistics(
        edits={
            _NEIGHBOURS: "False",
            "xp.repeat(of_groups, width": "xp.repeat(np.mean(of_groups, axis=0, keepdims=True), width",
            "one_of(x)[:, :, ::width]": "one_of(x)[:1, :, ::width]",
        },
        sentence="Your mean and variance are taken over the samples as well; every sample has its own.",
        draw=_several_samples,
    ),
    "gn-channels-interleaved": _gn_statistics(
        edits={
            _NEIGHBOURS: "False",
            "(x.shape[0], 1, -1, width)), axis=3)": "(x.shape[0], 1, width, -1)), axis=2)",
            "xp.repeat(of_groups, width, axis=2)": "xp.tile(of_groups, (1, 1, width))",
            "repeat(one_of(x)[:, :, ::width], width, axis=2)": "tile(one_of(x)[:, :, : x.shape[2] // width], "
            "(1, 1, width))",
        },
        sentence="Your groups take every groups-th channel; a group should hold C / groups neighbouring channels.",
    ),
}

_online = partial(Mistake, subject=online_norm, draw=sample_calls(online_norm))
_online_forward = partial(_online, equation="online-variance", oracle="forward")
_three_calls = sample_calls(online_norm, count=3, decay_backward=0.5, decay_forward=0.9)
_online_control = partial(_online, equation="online-control-v", oracle="recurrence", draw=_three_calls)
_V = "accumulated(state.v, psi, held * sums(y * y) / values)"
_U = "accumulated(state.u, through, held * namespace(dz).ones_like(through))"

MISTAKES |= {
    "online-statistics-after": _online_forward(
        edits={"root(moving_var + config.eps)": "root(new_var + config.eps)", "(x - moving_mu)": "(x - new_mu)"},
        sentence="Your y is normalised by averages that include this sample; use those from before it.",
        equation="online-normalise",
    ),
    "online-no-distance": _online_forward(
        edits={"fed = var + decay * (mu - moving_mu) ** 2": "fed = var"},
        sentence="Your moving variance averages the variances of the samples; add the spread of their means, too.",
    ),
    "online-distance-from-new-mean": _online_forward(
        edits={"decay * (mu - moving_mu) ** 2": "decay * (mu - new_mu) ** 2"},
        sentence="Your moving variance takes the distance from the new mean; the update needs the old mean.",
        draw=sample_calls(online_norm, decay_forward=0.3),
    ),
    "online-v-of-dy": _online_control(
        edits={_V: "accumulated(state.v, psi, 0 * psi)"},
        sentence="Your v adds up all of Psi; add up what is left after the share of v, and v stays bounded.",
    ),
    "online-u-before-control": _online_control(
        edits={_U: "accumulated(state.u, through, 0 * through)"},
        sentence="Your u adds up the gradient before u is subtracted; it should add up dx itself.",
        equation="online-control-u",
    ),
    "online-control-averaged": _online_control(
        edits={
            _V: "accumulated(state.v, held * psi, held + held**2 * sums(y * y) / values)",
            _U: "accumulated(state.u, held * through, held + held**2 * np.ones_like(through))",
        },
        sentence="Your u and v are averages; they should be sums, and the share 1 - decay_backward is subtracted.",
    ),
    "online-control-of-this-sample": _online_control(
        edits={"dy = dz * gamma": "v = np.concatenate([v[1:], v_after[None, None, :]])\n    dy = dz * gamma"},
        sentence="Your dy subtracts a share of the v that includes this sample; use the v from before this sample.",
    ),
    "online-scale-held": _online(
        edits={"(dz - cache.z * _mean_of_sample(dz * cache.z)) / cache.scale": "dz / cache.scale"},
        sentence="Your gradient treats layer scaling as division by a constant; every value of the sample moves it.",
        equation="layer-scaling-backward",
        oracle="gradient",
        draw=sample_calls(online_norm, layer_scaling=True),
    ),
}

_OF_SAMPLE = "np.repeat(np.mean(np.reshape({0}, (shape[0], -1)), axis=1), len({1}) // shape[0])[:, None, None]"
_rms = partial(Mistake, subject=rms_norm, draw=sample_calls(rms_norm, channels=4))
_rms_forward = partial(_rms, equation="rms-normalise", oracle="forward")
_rms_statistics = partial(_rms, equation="rms-statistics", oracle="forward")
_rms_backward = partial(_rms, equation="rms-backward", oracle="gradient")

MISTAKES |= {
    "rms-mean-subtracted": _rms_forward(
        edits={
            "chi2 = mean_square(values, x)": "values = values - mean(values)\n    chi2 = mean_square(values, x)",
            "(dy - y * psi) / chi": "(dy - mean(dy) - y * psi) / chi",
        },
        sentence="Your forward subtracts the mean, as layer or instance normalisation does; divide x itself.",
    ),
    "rms-mean-square-of-the-sample": _rms_statistics(
        edits={
            "chi2 = mean_square(values, x)": f"chi2 = {_OF_SAMPLE.format('values * values', 'values')}",
            "psi = mean(y * dy)  #": f"psi = {_OF_SAMPLE.format('y * dy', 'y')}  #",
        },
        sentence="Your mean square is over the positions and the channels of a sample; take only one of them.",
    ),
    "rms-no-statistics": _rms_backward(
        edits={"(dy - y * psi) / chi": "dy / chi"},
        sentence="Your dx is dy / chi, as if the mean square were a constant; it is computed from x.",
    ),
    "rms-gamma-after-the-mean": _rms_backward(
        edits={
            "dy = split(dz * gamma, config)\n    psi": "dy = split(dz, config)\n    psi",
            "dx = (dy - y * psi) / chi": "dx = split(gamma * merge((dy - y * psi) / chi, shape), config)",
        },
        sentence="Your dx takes the mean of y * dz and multiplies by gamma at the end; gamma differs between "
        "channels, so that Psi is a mean of y * dy with dy = gamma * dz.",
        draw=sample_calls(rms_norm, channels=4, axes="channels"),
    ),
}

_batches_of_three = partial(calls, eval_norm, norm_batch=3, space=(2,))
_given = _batches_of_three(groups=2, estimated=False)
_estimated = _batches_of_three(groups=1, estimated=True, scale=(0.5, 2.0), rate=0.01, decay=0.5, eps=0.1)
_eval = partial(Mistake, subject=eval_norm, equation="eval-mixture", oracle="forward", draw=_given)
_eval_estimate = partial(_eval, equation="eval-estimate", oracle="recurrence", draw=_estimated)

MISTAKES |= {
    "eval-averages-alone": _eval(
        edits={
            "state.a, state.b, config)": "0 * state.a, 0 * state.b, config)",
            "off = (1 - state.a) * (sample_mean": "off = (sample_mean",
        },
        sentence="Your inference is plain batch normalisation; it ignores the sample's own mean and variance.",
    ),
    "eval-weights-swapped": _eval(
        edits={
            "state.a, state.b, config)": "1 - state.a, 1 - state.b, config)",
            "off = (1 - state.a) * (sample_mean": "off = state.a * (sample_mean",
        },
        sentence="Your inference gives the moving statistics the weights a and b, which belong to the sample's own.",
    ),
    "eval-mean-alone": _eval(
        edits={"state.a, state.b, config)": "state.a, 0 * state.b, config)"},
        sentence="Your inference mixes only the means; mix the variances too, with weight b for the sample's.",
    ),
    "eval-whole-batch": _eval(
        edits={"centred = _of_samples(x)": "centred = _of_samples(x.reshape(1, -1, x.shape[-1]))"},
        sentence="Your inference uses the statistics of the whole call; each answer depends only on its own sample.",
        equation="eval-infer",
    ),
    "eval-uphill": _eval_estimate(
        edits={"a - config.rate": "a + config.rate", "b - config.rate": "b + config.rate"},
        sentence="Your a and b go up the gradient, which makes the outputs differ more; go down it.",
    ),
    "eval-one-for-both": _eval_estimate(
        edits={"return a, b\n": "return a, a\n"},
        sentence="Your b equals your a; a is the weight of a mean, b of a variance, and each has its own gradient.",
    ),
}

_frozen = partial(Mistake, subject=frozen_batch_norm, draw=sample_calls(frozen_batch_norm))
_frozen_backward = partial(_frozen, equation="frozen-backward", oracle="gradient")
_frozen_forward = partial(_frozen, equation="bn-infer", oracle="forward")
_frozen_statistics = partial(_frozen, equation="bn-infer", oracle="recurrence")

MISTAKES |= {
    "frozen-batch-statistics-in-backward": _frozen_backward(
        edits={"dx = dy / sigma": "dx = (dy - np.mean(dy, (0, 1)) - y * np.mean(y * dy, (0, 1))) / sigma"},
        sentence="Your dx subtracts g and y * Psi; the statistics are constants, and nothing flows through them.",
    ),
    "frozen-variance-of-the-batch": _frozen_forward(
        edits={
            "sigma = root(state.var + config.eps)": "sigma = root(statistics(x, config)[1][0] + config.eps)",
            "dx = dy / sigma": "dx = (dy - (y - np.mean(y, (0, 1))) * np.mean(y * dy, (0, 1))) / sigma",
        },
        sentence="Your training pass divides by the batch's standard deviation; a frozen layer uses its constants.",
    ),
    "frozen-keeps-averaging": _frozen_statistics(
        edits={"State(*map(copied, state))": "State(0.9 * state.mean + 0.1 * np.mean(x, (0, 1)), copied(state.var))"},
        sentence="Your moving mean still moves in training; a frozen layer changes neither mean nor variance.",
    ),
}
