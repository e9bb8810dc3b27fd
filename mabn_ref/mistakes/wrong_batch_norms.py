"""What people get wrong in batch normalisation, and where ranks share a batch."""

from __future__ import annotations

from functools import partial

from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import calls
from mabn_ref.norms import batch_norm, sync_batch_norm

_large_eps = calls(batch_norm, eps=0.3)
_slow = calls(batch_norm, decay=0.9)
_bn = partial(Mistake, subject=batch_norm, draw=calls(batch_norm))
_bn_backward = partial(_bn, equation="bn-backward (4)", oracle="gradient")
_bn_means = partial(_bn, equation="bn-gradient-statistics (5)", oracle="gradient")
_bn_parameters = partial(_bn, equation="affine-backward", oracle="gradient")
_bn_statistics = partial(_bn, equation="bn-statistics (2)", oracle="forward")
_bn_forward = partial(_bn, equation="bn-normalise (1)", oracle="forward", draw=_large_eps)
_bn_moving = partial(_bn, equation="ema-forward (12)", oracle="recurrence", draw=_slow)
_bn_infer = partial(_bn, equation="bn-infer", oracle="forward")
_images = calls(batch_norm, norm_batch=3, space=(2, 2))
_BY_POSITION = """\
def by_position(a, shape):
    apart = a.reshape(a.shape[0], -1, int(np.prod(shape[1:-1])), shape[-1])
    return np.broadcast_to(np.mean(apart, axis=1, keepdims=True), apart.shape).reshape(a.shape)


def forward("""

MISTAKES = {
    "bn-no-g": _bn_backward(
        edits={"(dy - g - y * psi) / sigma": "(dy - y * psi) / sigma"},
        sentence="Your dx is what you get without the g_B term of equation (4): every x also moves the mean.",
    ),
    "bn-no-psi": _bn_backward(
        edits={"(dy - g - y * psi) / sigma": "(dy - g) / sigma"},
        sentence="Your dx is what you get without the Psi_B term of equation (4): every x also moves the variance.",
    ),
    "bn-statistics-constant": _bn_backward(
        edits={"(dy - g - y * psi) / sigma": "dy / sigma"},
        sentence="Your dx is dy / sigma_B, as if mean and variance were constants: equation (4) has two more terms.",
    ),
    "bn-sums-for-means": _bn_means(
        edits={"gamma * dz_sum / values": "gamma * dz_sum", "gamma * dzy_sum / values": "gamma * dzy_sum"},
        sentence="Your g_B and Psi_B are sums over the batch where equation (5) has means.",
    ),
    "bn-whole-call-backward": _bn_means(
        edits={
            "gamma * dz_sum / values": "np.mean(gamma * dz_sum / values, axis=0, keepdims=True)",
            "gamma * dzy_sum / values": "np.mean(gamma * dzy_sum / values, axis=0, keepdims=True)",
        },
        sentence="Your g_B and Psi_B are means over the whole call; each normalisation batch has its own.",
        draw=calls(batch_norm, groups=2),
    ),
    "bn-gamma-forgotten": _bn_backward(
        edits={
            "dy = dz * gamma\n    g = gamma * dz_sum / values": "dy = dz\n    g = dz_sum / values",
            "gamma * dzy_sum / values": "dzy_sum / values",
        },
        sentence="Your dx lacks gamma: equation (4) starts from dy = gamma * dz, not from dz.",
    ),
    "bn-variance-for-sigma": _bn_backward(
        edits={"(dy - g - y * psi) / sigma": "(dy - g - y * psi) / sigma**2"},
        sentence="Your dx is divided by the variance where equation (4) divides by its root, sigma_B.",
    ),
    "bn-backward-no-eps": _bn_backward(
        edits={"(dy - g - y * psi) / sigma": "(dy - g - y * psi) / root(sums((y * sigma) ** 2) / values)"},
        sentence="Your dx is divided by sqrt(var) where forward divided by sqrt(var + eps).",
        draw=_large_eps,
    ),
    "bn-backward-recomputed-without-eps": _bn_backward(
        edits={
            "dx = (dy - g - y * psi) / sigma": "std = root(sums((y * sigma) ** 2) / values)\n"
            "    y = y * sigma / std\n"
            "    dx = (dy - g - y * sums(y * dy) / values) / std"
        },
        sentence="Your backward recomputes y and sigma_B and leaves out the eps that forward added.",
        draw=_large_eps,
    ),
    "bn-dgamma-not-normalised": _bn_parameters(
        edits={"total(dzy_sum)": "total(dzy_sum * sigma)"},
        sentence="Your dgamma sums dz * (x - mu_B); gamma multiplies y, so sum dz * y, already divided by sigma_B.",
    ),
    "bn-parameter-means": _bn_parameters(
        edits={
            "total(dz_sum)": "total(dz_sum) / (dz.shape[0] * values)",
            "total(dzy_sum)": "total(dzy_sum) / (dz.shape[0] * values)",
        },
        sentence="Your dgamma and dbeta are means over the values; every value used them, so they must be sums.",
    ),
    "bn-unbiased-variance": _bn_statistics(
        edits={
            "_, moving_mean = ema(": "var = var * (x.shape[1] / (x.shape[1] - 1))\n    _, moving_mean = ema(",
            "(dy - g - y * psi) / sigma": "(dy - g - y * psi * (values / (values - 1))) / sigma",
        },
        sentence="Your variance divides by M - 1; equation (2) divides by M, the number of values.",
    ),
    "bn-no-eps": _bn_forward(
        edits={"root(var + config.eps)": "root(var)"},
        sentence="Your forward divides by sqrt(var) and leaves out eps.",
    ),
    "bn-eps-outside": _bn_forward(
        edits={
            "root(var + config.eps)": "root(var) + config.eps",
            "dx = (dy - g - y * psi) / sigma": "std = root(sums((y * sigma) ** 2) / values)\n"
            "    dx = (dy - g - y * psi * sigma / std) / sigma",
        },
        sentence="Your forward divides by sqrt(var) + eps; eps belongs inside the root.",
    ),
    "bn-eps-twice": _bn_forward(
        edits={"root(var + config.eps)": "root(var + 2 * config.eps)"},
        sentence="Your forward has eps in the root twice.",
    ),
    "bn-channels-together": _bn_statistics(
        edits={
            (
                "mu, centred = centre(x)",
                2,
            ): "mu = np.mean(x, axis=(1, 2), keepdims=True) * np.ones_like(x[:1, :1, :])",
            ("var = mean_square(centred, x)", 2): "centred = x - mu\n"
            "    var = np.mean(centred**2, axis=(1, 2), keepdims=True) * np.ones_like(mu)",
            "gamma * dz_sum / values": "np.mean(dy, axis=(1, 2), keepdims=True)",
            "gamma * dzy_sum / values": "np.mean(y * dy, axis=(1, 2), keepdims=True)",
        },
        sentence="Your mean and variance are also taken over the channels; each channel has its own.",
        draw=calls(batch_norm, channels=3),
    ),
    "bn-positions-apart": _bn_statistics(
        edits={
            "def forward(": _BY_POSITION,
            "_, moving_mean = ema(state.mean, mu, config.decay, t)": "mu = by_position(x, shape)\n"
            "    centred = x - mu\n"
            "    var = by_position(centred**2, shape)\n"
            "    _, moving_mean = ema(state.mean, sums(mu) / mu.shape[1], config.decay, t)",
            "ema(state.var, var, config.decay, t)": "ema(state.var, sums(var) / mu.shape[1], config.decay, t)",
            "gamma * dz_sum / values": "by_position(dy, shape)",
            "gamma * dzy_sum / values": "by_position(y * dy, shape)",
        },
        sentence="Your mean and variance are taken over samples only; the positions of an image are values too.",
        draw=_images,
    ),
    "bn-whole-call": _bn_statistics(
        edits={
            "shape, x, t = tuple(x.shape)": "config = Config(eps=config.eps, decay=config.decay)\n"
            "    shape, x, t = tuple(x.shape)",
        },
        sentence="Your mean and variance are taken over the whole call; only norm_batch samples share them.",
        draw=calls(batch_norm, groups=2),
    ),
    "bn-weights-swapped": _bn_moving(
        edits={
            "ema(state.mean, mu, config.decay, t)": "ema(state.mean, mu, 1 - config.decay, t)",
            "ema(state.var, var, config.decay, t)": "ema(state.var, var, 1 - config.decay, t)",
        },
        sentence="Your moving statistics multiply the new value by decay, which is the weight of the old one "
        "(1 - momentum in PyTorch, momentum in Keras).",
    ),
    "bn-running-var-over-samples": _bn_moving(
        edits={
            "_, moving_var = ema(state.var, var, config.decay, t)": "n = config.norm_batch or shape[0]\n"
            "    _, moving_var = ema(state.var, var * (n / max(n - 1, 1)), config.decay, t)"
        },
        sentence="Your moving variance is scaled by N / (N - 1), with N the number of samples and not of values.",
        draw=_images,
    ),
    "bn-running-var-holds-eps": _bn_moving(
        edits={"ema(state.var, var, config.decay, t)": "ema(state.var, var + config.eps, config.decay, t)"},
        sentence="Your moving variance already has eps in it, so inference counts eps twice.",
        draw=_large_eps,
    ),
    "bn-variance-starts-at-zero": _bn_moving(
        edits={"var=xp.ones(": "var=xp.zeros("},
        sentence="Your moving variance starts at 0, so early inference divides by next to nothing; it starts at 1.",
    ),
    "bn-infer-batch-statistics": _bn_infer(
        edits={
            "y = (x - state.mean) / root(state.var + config.eps)": "axes = tuple(range(x.ndim - 1))\n"
            "    y = (x - np.mean(x, axis=axes)) / root(np.var(x, axis=axes) + config.eps)"
        },
        sentence="Your inference normalises by the batch at hand; it should use the moving statistics.",
        draw=_slow,
    ),
    "bn-infer-no-eps": _bn_infer(
        edits={"(x - state.mean) / root(state.var + config.eps)": "(x - state.mean) / root(state.var)"},
        sentence="Your inference divides by sqrt(var) and leaves out the eps that training had.",
        draw=_large_eps,
    ),
}


_sync = partial(Mistake, subject=sync_batch_norm, draw=calls(sync_batch_norm, groups=1, norm_batch=6))
_sync_means = partial(_sync, equation="sync-gradient-statistics", oracle="gradient")
_sync_variance = partial(_sync, equation="sync-variance", oracle="forward")
_sync_mean = partial(_sync, equation="sync-mean", oracle="forward")
_sync_parameters = partial(_sync, equation="affine-backward", oracle="gradient")
_OFF = "off = _summed(sums(centred), config) / values"
_VAR_OF_ALL = "var = _summed(sums(centred * centred), config) / values"

MISTAKES |= {  # most are right on one rank, or where all have as many samples
    "sync-variances-averaged": _sync_variance(
        edits={
            _VAR_OF_ALL: "own = x - sums(x) / x.shape[1]\n    var = _summed(sums(own * own), config) / values",
            "(dy - g - y * psi) / sigma": "(dy - g - (y - sums(y) / y.shape[1]) * psi) / sigma",
        },
        sentence="Your variance is the mean of the ranks' variances; it ignores that their means differ.",
    ),
    "sync-ranks-alike": _sync_mean(
        edits={
            _OFF: "off = _summed(sums(centred) / x.shape[1], config) / ranks",
            _VAR_OF_ALL: "var = _summed(sums(centred * centred) / x.shape[1], config) / ranks",
            "return mu, var, centred, values": "return mu, var, centred, ranks * x.shape[1]",
        },
        sentence="Your statistics average the ranks' means; weight each mean by its number of values.",
    ),
    "sync-backward-alone": _sync_means(
        edits={
            "_summed(namespace(dz).stack([dz_sum, dzy_sum]), cache.config)": "np.stack([dz_sum, dzy_sum])",
            ("/ cache.values", 2): "/ dz.shape[1]",
        },
        sentence="Your g and Psi are this rank's own, but each of its x also moves the other ranks' outputs.",
    ),
    "sync-backward-divided-by-own": _sync_means(
        edits={("/ cache.values", 2): "/ dz.shape[1]"},
        sentence="Your g and Psi divide sums over all ranks by this rank's count; divide by the count of all ranks.",
    ),
    "sync-dgamma-summed": _sync_parameters(
        edits={
            "total(dz_sum)": "_summed(total(dz_sum), cache.config)",
            "total(dzy_sum)": "_summed(total(dzy_sum), cache.config)",
        },
        sentence="Your dgamma and dbeta are summed over the ranks here, and will be again with all other gradients.",
    ),
}
