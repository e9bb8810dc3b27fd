"""What people get wrong in the layers around a normaliser, in what is done to their weights, and in the optimiser."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from mabn_ref import nn
from mabn_ref.mistakes.edit import Mistake
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS
from mabn_ref.mistakes.random_layer_inputs import convolution, matrices


def _kind(subject: ModuleType, equation: str, oracle: str, **rest: Any) -> partial[Mistake]:
    """A maker of mistakes in one layer; inputs are drawn as for the right layer unless `rest` says otherwise."""
    return partial(
        Mistake, subject=subject, equation=equation, oracle=oracle, **{"draw": RIGHT_DRAWS[subject]} | rest
    )


_two_by_two = convolution(kernel=2)
_conv2d_forward = _kind(nn.conv2d, "conv2d-forward", "forward", draw=_two_by_two)
_conv2d_backward = _kind(nn.conv2d, "conv2d-backward", "gradient", draw=_two_by_two)
_cbn_statistics = _kind(nn.cross_iteration, "cbn-statistics", "forward")
_cbn_backward = _kind(nn.cross_iteration, "cbn-backward", "gradient")
_centralize_forward = _kind(nn.centralize, "centralize-forward (18)", "forward")
_centralize_backward = _kind(nn.centralize, "centralize-backward", "gradient")
_filters = convolution(kernel=2, with_input=False, eps=0.1)
_standardize_forward = _kind(nn.standardize, "standardize-forward", "forward", draw=_filters)
_standardize_backward = _kind(nn.standardize, "standardize-backward", "gradient", draw=_filters)
_linear_backward = _kind(nn.linear, "linear-backward", "gradient")
_bias_backward = _kind(nn.bias, "bias-backward", "gradient")
_relu_backward = _kind(nn.relu, "relu-backward", "gradient")
_pool_backward = _kind(nn.global_average_pool, "global-average-pool-backward", "gradient")
_upsample_forward = _kind(nn.upsample, "upsample-forward", "forward")
_upsample_backward = _kind(nn.upsample, "upsample-backward", "gradient")
_threshold_backward = _kind(nn.threshold, "threshold-backward", "gradient")
_dyt_backward = _kind(nn.dynamic_tanh, "dyt-backward", "gradient")
_derf_backward = _kind(nn.dynamic_erf, "derf-backward", "gradient")
_residual_backward = _kind(nn.residual, "residual-backward", "gradient")
_loss_forward = _kind(nn.softmax_cross_entropy, "softmax-cross-entropy-forward", "forward")
_loss_backward = _kind(nn.softmax_cross_entropy, "softmax-cross-entropy-backward", "gradient")
_focal_forward = _kind(nn.focal_loss, "focal-loss-forward", "forward")
_focal_backward = _kind(nn.focal_loss, "focal-loss-backward", "gradient")
_iou_forward = _kind(nn.iou_loss, "iou-loss-forward", "forward")
_iou_backward = _kind(nn.iou_loss, "iou-loss-backward", "gradient")
_sgd = _kind(nn.optimiser, "sgd", "recurrence")

MISTAKES = {
    "conv2d-kernel-flipped": _conv2d_forward(
        edits={
            "check_arguments(x, w, stride, padding)\n": "check_arguments(x, w, stride, padding)\n"
            "    w = namespace(w).flip(w, axis=(0, 1))\n",
            "return xp.reshape(dw, cache.w.shape)": "return xp.flip(xp.reshape(dw, cache.w.shape), axis=(0, 1))",
        },
        sentence="Your convolution flips the kernel; in deep learning, convolution does not.",
    ),
    "conv2d-kernel-not-turned-in-backward": _conv2d_backward(
        edits={
            "xp.permute_dims(xp.flip(cache.w, axis=(0, 1)), (0, 1, 3, 2))": "xp.permute_dims(cache.w, (0, 1, 3, 2))",
            "d @ cache.w[a, b, :, :].T": "d @ cache.w[kh - 1 - a, kw - 1 - b, :, :].T",
        },
        sentence="Your dx slides the kernel as in forward; backward slides the flipped kernel.",
        draw=convolution(kernel=3),
    ),
    "conv2d-padding-kept": _conv2d_backward(
        edits={
            "_correlate(_pad(dout, kh - 1 - padding, kw - 1 - padding), turned, 1)": "_correlate("
            "_pad(dout, kh - 1, kw - 1), turned, 1)[:, :h, :w, :]",
            "dx[:, padding : padding + h, padding : padding + w, :]": "dx[:, :h, :w, :]",
        },
        sentence="Your dx is shifted by the padding: remove the padding on all sides, not only at the far ends.",
        draw=convolution(kernel=3, padding=1),
    ),
    "conv2d-stride-forgotten": _conv2d_backward(
        edits={
            "stride, padding = cache.stride, cache.padding\n    if stride": "stride, padding = 1, cache.padding\n"
            "    if cache.stride",
        },
        sentence="Your dx puts neighbouring outputs side by side; they are a stride apart.",
        draw=convolution(kernel=2, stride=2),
    ),
    "conv2d-dw-of-last-sample": _conv2d_backward(
        edits={
            "seen.T @ xp.reshape(dout[block, ...], ": "seen.T @ xp.reshape(dout[-1:, ...], ",
            "_seen_by_blocks(cache.padded, ": "_seen_by_blocks(cache.padded[-1:, ...], ",
        },
        sentence="Your dw comes from the last sample only; every sample used the kernel, so add them all up.",
    ),
    "cbn-spread-of-means-forgotten": _cbn_statistics(
        edits={"variances + (means - mean) ** 2": "variances", "y * psi": "(y - total(y) / count) * psi"},
        sentence="Your variance is the mean of the iterations' variances; add the spread of their means.",
    ),
    "cbn-not-divided-by-the-window": _cbn_backward(
        edits={"(g + y * psi) / iterations": "(g + y * psi)"},
        sentence="Your dx subtracts all of g + y * Psi; divide it by k: this batch is one part in k of the window.",
    ),
    "cbn-window-held": _cbn_backward(
        edits={"(dy - (g + y * psi) / iterations)": "dy"},
        sentence="Your dx treats the statistics of the window as constants; this batch is one part in k of them.",
    ),
    "centralize-per-input": _centralize_forward(
        edits={"w[:1, :1, :1, :]": "w[:1, :1, :, :1]", "axis=(0, 1, 2)": "axis=(0, 1, 3)"},
        sentence="Your weight is centred per input channel; equation (18) takes the mean per output filter.",
    ),
    "centralize-per-kernel": _centralize_forward(
        edits={"axis=(0, 1, 2)": "axis=(0, 1)"},
        sentence="Your mean is over (kh, kw) only; equation (18) takes it over the input channels too.",
    ),
    "centralize-not-in-backward": _centralize_backward(
        edits={"return centred(dw_c)": "return dw_c"},
        sentence="Your dW is the gradient of the centred weight; going back through W - mean(W) centres it too.",
    ),
    "standardize-unbiased": _standardize_forward(
        edits={
            "var = xp.mean(centred * centred, axis=axes, keepdims=True)": "n = math.prod(w.shape[:3])\n"
            "    var = xp.sum(centred * centred, axis=axes, keepdims=True) / (n - 1)",
            "psi = xp.mean(w_s * dw_s, axis=axes, keepdims=True)": "n = math.prod(w_s.shape[:3])\n"
            "    psi = xp.sum(w_s * dw_s, axis=axes, keepdims=True) / (n - 1)",
        },
        sentence="Your variance of a filter divides by n - 1, as some libraries do by default; divide by n.",
    ),
    "standardize-eps-outside": _standardize_forward(
        edits={
            "xp.sqrt(var + eps)": "xp.sqrt(var) + eps",
            # with eps = 0 the root of the mean square of w_s is 1; here it is root / (root + eps)
            "(dw_s - g - w_s * psi)": "(dw_s - g - w_s * psi / xp.sqrt(xp.mean(w_s**2, axis=axes, keepdims=True)))",
        },
        sentence="Your eps is added to the standard deviation; add it to the variance, inside the root.",
    ),
    "standardize-per-kernel": _standardize_forward(
        edits={
            "xp, axes, eps = namespace(w), (0, 1, 2), float(eps)": "xp, axes, eps = namespace(w), (0, 1), float(eps)",
            "centred = centralize.centred(w)": "centred = w - xp.mean(w, axis=axes, keepdims=True)",
            "xp, axes, (w_s, sigma) = namespace(dw_s), (0, 1, 2), cache": "xp, axes, (w_s, sigma) = "
            "namespace(dw_s), (0, 1), cache",
        },
        sentence="Your mean and variance are over (kh, kw) only; take them over the input channels too.",
    ),
    "standardize-no-psi": _standardize_backward(
        edits={"(dw_s - g - w_s * psi)": "(dw_s - g)"},
        sentence="Your dW is what you get with the standard deviation held fixed; every weight moves it.",
    ),
    "standardize-no-g": _standardize_backward(
        edits={"(dw_s - g - w_s * psi)": "(dw_s - w_s * psi)"},
        sentence="Your dW is what you get with the mean held fixed; every weight moves it.",
    ),
    "linear-weight-not-transposed": _linear_backward(
        edits={"dout @ cache.w.T": "dout @ cache.w"},
        sentence="Your dx multiplies by w instead of its transpose; that runs only because w is square.",
        draw=matrices("ni", "ii", "i"),
    ),
    "linear-gradients-averaged": _linear_backward(
        edits={"cache.x.T @ dout": "cache.x.T @ dout / dout.shape[0]", "total(dout)": "total(dout) / dout.shape[0]"},
        sentence="Your dw and db are means over samples; the loss's 1/N is already in dout, so they must be sums.",
    ),
    "bias-gradient-averaged": _bias_backward(
        edits={"db = total(dout)": "db = total(dout) * dout.shape[-1] / dout.size"},
        sentence="Your db is a mean over samples and positions; b was added at each of them, so add them up.",
    ),
    "relu-sign-of-gradient": _relu_backward(
        edits={"dout * positive": "namespace(dout).maximum(dout, 0)"},
        sentence="Your ReLU passes dout where dout is positive; it passes it where the input was positive.",
    ),
    "pool-not-divided": _pool_backward(
        edits={"dout[:, None, None, :] / (h * w)": "dout[:, None, None, :]"},
        sentence="Your dx gives every position the whole gradient of the mean; each gets a share of 1 / (H * W).",
    ),
    "upsample-first-pixel": _upsample_backward(
        edits={"xp.sum(squares, axis=(2, 4))": "squares[:, :, 0, :, 0, :]"},
        sentence="Your dx keeps one gradient of each square; the pixel filled the whole square, so add them up.",
    ),
    "upsample-tiled": _upsample_forward(
        edits={
            "xp.repeat(xp.repeat(x, factor, axis=1), factor, axis=2)": "xp.tile(x, (1, factor, factor, 1))",
            "(n, h, s, w, s, c)": "(n, s, h, s, w, c)",
            "axis=(2, 4)": "axis=(1, 3)",
        },
        sentence="Your output repeats the whole image; each pixel should become a square in its own place.",
    ),
    "threshold-tau-held": _threshold_backward(
        edits={"dtau = total(dout * (1 - above))": "dtau = total(dout * 0)"},
        sentence="Your threshold does not learn: its gradient is the sum of dout where x is at or below it.",
    ),
    "dyt-alpha-forgotten-in-backward": _dyt_backward(
        edits={"dx = alpha * da": "dx = da"},
        sentence="Your dx lacks alpha, the slope of what is inside the tanh.",
    ),
    "dyt-slope-of-the-output": _dyt_backward(
        edits={"(1 - y * y)": "(1 - (gamma * y) ** 2)"},
        sentence="Your slope is 1 - (gamma * y)^2, of the scaled value; it is 1 - y^2 with the y from before gamma.",
    ),
    "derf-alpha-forgotten-in-backward": _derf_backward(
        edits={"dx = alpha * da": "dx = da"},
        sentence="Your dx lacks alpha, the slope of what is inside the error function.",
    ),
    "derf-slope-at-0": _derf_backward(
        edits={"gamma * _SLOPE * np.exp": "gamma * np.exp"},
        sentence="Your slope is 1 at 0; the error function's is 2 / sqrt(pi) there.",
    ),
    "residual-one-branch": _residual_backward(
        edits={"return d, d  #": "return d, 0 * d  #"},
        sentence="Your Add gives its gradient to one branch; a sum passes the whole gradient on to both.",
    ),
    "residual-gradient-shared": _residual_backward(
        edits={"return d, d  #": "return d / 2, d / 2  #"},
        sentence="Your Add divides its gradient between the branches; a sum passes the whole gradient on to both.",
    ),
    "residual-held-dropped": _residual_backward(
        edits={"return d + held, None": "return d, None"},
        sentence="Your Keep drops the gradient of the shortcut; its input went two ways, so add both gradients.",
    ),
    "loss-summed": _loss_forward(
        edits={"xp.mean(xp.log(sums) - picked)": "xp.sum(xp.log(sums) - picked)", "(dloss / n)": "dloss"},
        sentence="Your loss is summed over the batch, not averaged.",
    ),
    "loss-gradient-not-averaged": _loss_backward(
        edits={"(dloss / n)": "dloss"},
        sentence="Your dlogits lack the 1/N of the mean that the loss takes.",
    ),
    "loss-no-one-hot": _loss_backward(
        edits={"(cache.probabilities - cache.one_hot)": "cache.probabilities"},
        sentence="Your dlogits are the probabilities; subtract 1 at the label of each row.",
    ),
    "loss-dloss-ignored": _loss_backward(
        edits={"(dloss / n)": "(1.0 / n)"},
        sentence="Your dlogits do not depend on dloss, the gradient that comes in; multiply them by it.",
    ),
    "focal-weights-swapped": _focal_forward(
        edits={"(1 - alpha) + (2 * alpha - 1) * yes": "alpha + (1 - 2 * alpha) * yes"},
        sentence="Your alpha is the weight where the answer is no; it belongs to yes, and 1 - alpha to no.",
    ),
    "focal-one-weight": _focal_forward(
        edits={"(1 - alpha) + (2 * alpha - 1) * yes": "alpha + 0 * yes"},
        sentence="Your alpha is the weight of all answers; where the answer is no, the weight is 1 - alpha.",
    ),
    "focal-over-all-answers": _focal_forward(
        edits={"max(int(xp.sum(truth)), 1)": "logits.shape[0] * logits.shape[1]"},
        sentence="Your loss is a mean over all answers; divide the sum by the number of yes answers.",
    ),
    "focal-no-gamma-in-backward": _focal_backward(
        edits={"(gamma * p * log_p - q)": "(p * log_p - q)"},
        sentence="Your gradient lacks the factor gamma from the derivative of the power.",
    ),
    "focal-power-held": _focal_backward(
        edits={"(gamma * p * log_p - q)": "(-q)"},
        sentence="Your gradient treats (1 - p_t)^gamma as a constant; it depends on the score as well.",
    ),
    "focal-sign-forgotten": _focal_backward(
        edits={"sign * weight * q**gamma": "weight * q**gamma"},
        sentence="Your gradient pushes every score up; where the answer is no, turn its sign round.",
    ),
    "iou-max-for-min": _iou_forward(
        edits={"xp.minimum(d, truth)": "xp.maximum(d, truth)", "d < truth": "d > truth"},
        sentence="Your intersection reaches to the farther of two sides, like the box around both; take the nearer.",
    ),
    "iou-overlap-counted-twice": _iou_forward(
        edits={"+ true_h * true_w - intersection": "+ true_h * true_w", "(sides - d_i)": "sides"},
        sentence="Your union is the sum of both areas, which counts the intersection twice.",
    ),
    "iou-union-held": _iou_backward(
        edits={"(d_i - i / u * (sides - d_i))": "d_i"},
        sentence="Your gradient treats the union as a constant; a side that moves changes it, too.",
    ),
    "iou-of-distances": _iou_backward(
        edits={"-d * (d_i": "-(d_i"},
        sentence="Your gradient is for the distances; back through their exponential, multiply it by d.",
    ),
    "iou-outside-sides-count": _iou_backward(
        edits={"d_i = inside * overlap_sides": "d_i = overlap_sides"},
        sentence="Your intersection grows with every side; beyond the true box a side no longer adds to it.",
    ),
    "sgd-velocity-averaged": _sgd(
        edits={"(grad[name] + weight_decay * p)": "(1 - momentum) * (grad[name] + weight_decay * p)"},
        sentence="Your velocity scales the gradient by 1 - momentum; it should add the whole gradient.",
    ),
    "sgd-decay-beside-velocity": _sgd(
        edits={
            "(grad[name] + weight_decay * p)": "grad[name]",
            "p - lr * v[name]": "p - lr * (v[name] + weight_decay * p)",
        },
        sentence="Your weight decay acts on the parameter directly; add it to the gradient, so that it goes "
        "through the velocity.",
    ),
}
