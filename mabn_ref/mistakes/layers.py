"""Wrong passes of the layers around a normaliser."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import convolution, logits, matrices, steps
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.nn import centralize, conv2d, global_average_pool, linear, relu, sgd, softmax_cross_entropy, upsample

__all__ = ["MISTAKES"]


def _flipped(x: Array, w: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, conv2d.Cache]:
    return conv2d.forward(x, np.flip(w, (0, 1)), stride=stride, padding=padding)


def _flipped_backward(dout: Array, cache: conv2d.Cache) -> tuple[Array, Array]:
    dx, dw = conv2d.backward(dout, cache)
    return dx, np.flip(dw, (0, 1))


def _not_turned(dout: Array, cache: conv2d.Cache) -> tuple[Array, Array]:
    turned_once_more = cache._replace(w=np.flip(cache.w, (0, 1)))
    return conv2d.input_gradient(dout, turned_once_more), conv2d.weight_gradient(dout, cache)


def _padding_kept(dout: Array, cache: conv2d.Cache) -> tuple[Array, Array]:
    n, h, w, channels = cache.x_shape
    padded = (n, h + 2 * cache.padding, w + 2 * cache.padding, channels)
    dpadded = conv2d.input_gradient(dout, cache._replace(x_shape=padded, padding=0))
    return dpadded[:, :h, :w, :], conv2d.weight_gradient(dout, cache)


def _stride_forgotten(dout: Array, cache: conv2d.Cache) -> tuple[Array, Array]:
    n, h, w, channels = cache.x_shape
    kh, kw = cache.w.shape[:2]
    rows, columns = cache.out_shape[1] + kh - 1, cache.out_shape[2] + kw - 1
    close = cache._replace(x_shape=(n, rows, columns, channels), stride=1, padding=0)
    dpadded = np.zeros((n, h + 2 * cache.padding, w + 2 * cache.padding, channels), dtype=dout.dtype)
    dpadded[:, :rows, :columns, :] = conv2d.input_gradient(dout, close)
    inside = slice(cache.padding, cache.padding + h), slice(cache.padding, cache.padding + w)
    return dpadded[:, inside[0], inside[1], :], conv2d.weight_gradient(dout, cache)


def _last_sample(dout: Array, cache: conv2d.Cache) -> tuple[Array, Array]:
    last = cache._replace(padded=cache.padded[-1:], out_shape=(1, *cache.out_shape[1:]))
    dw = conv2d.weight_gradient(dout[-1:], last)
    return conv2d.input_gradient(dout, cache), dw.reshape(cache.w.shape)


def _centred_over(w: Array, axes: tuple[int, ...]) -> Array:
    return w - np.mean(w, axis=axes, keepdims=True)


def _centred(*axes: int) -> dict[str, Any]:
    """Centralisation over other axes of (kh, kw, in, out), and its derivative."""

    def forward(w: Array) -> tuple[Array, centralize.Cache]:
        w_c = _centred_over(w, axes)
        return w_c, centralize.Cache(w_c.shape, w_c.dtype)

    def backward(dw_c: Array, cache: centralize.Cache) -> Array:
        return _centred_over(dw_c, axes)

    return {"forward": forward, "backward": backward}


def _not_centred(dw_c: Array, cache: centralize.Cache) -> Array:
    return dw_c


def _not_transposed(dout: Array, cache: linear.Cache) -> tuple[Array, Array, Array]:
    _, dw, db = linear.backward(dout, cache)
    return dout @ cache.w, dw, db


def _averaged(dout: Array, cache: linear.Cache) -> tuple[Array, Array, Array]:
    dx, dw, db = linear.backward(dout, cache)
    return dx, dw / len(dout), db / len(dout)


def _where_gradient_positive(dout: Array, cache: relu.Cache) -> Array:
    return np.where(dout > 0, dout, np.zeros_like(dout))


def _not_divided(dout: Array, cache: global_average_pool.Cache) -> Array:
    _, h, w, _ = cache.x_shape
    return global_average_pool.backward(dout, cache) * (h * w)


def _first_of_square(dout: Array, cache: upsample.Cache) -> Array:
    return dout[:, :: cache.factor, :: cache.factor, :]


def _tiled(x: Array, *, factor: int = 2) -> tuple[Array, upsample.Cache]:
    out = np.tile(x, (1, factor, factor, 1))
    return out, upsample.Cache(x.shape, x.dtype, factor)


def _tiled_backward(dout: Array, cache: upsample.Cache) -> Array:
    n, h, w, c = dout.shape
    s = cache.factor
    return dout.reshape(n, s, h // s, s, w // s, c).sum(axis=(1, 3))


def _summed(logits: Array, labels: Array) -> tuple[Array, softmax_cross_entropy.Cache]:
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    return loss * len(logits), cache


def _not_averaged(dloss: Array | float, cache: softmax_cross_entropy.Cache) -> Array:
    return softmax_cross_entropy.backward(dloss, cache) * len(cache.one_hot)


def _no_one_hot(dloss: Array | float, cache: softmax_cross_entropy.Cache) -> Array:
    return softmax_cross_entropy.backward(dloss, cache._replace(one_hot=np.zeros_like(cache.one_hot)))


def _dloss_ignored(dloss: Array | float, cache: softmax_cross_entropy.Cache) -> Array:
    return softmax_cross_entropy.backward(1.0, cache)


def _velocity_averaged(
    params: sgd.Params, grads: sgd.Params, velocity: sgd.Params, *, lr: float, momentum: float, weight_decay: float
) -> Any:
    slow = [{name: (1 - momentum) * g for name, g in layer.items()} for layer in grads]
    weight_decay *= 1 - momentum
    return sgd.step(params, slow, velocity, lr=lr, momentum=momentum, weight_decay=weight_decay)


def _decay_beside(
    params: sgd.Params, grads: sgd.Params, velocity: sgd.Params, *, lr: float, momentum: float, weight_decay: float
) -> Any:
    new, velocity = sgd.step(params, grads, velocity, lr=lr, momentum=momentum, weight_decay=0.0)
    shrunk = [
        {name: p - lr * weight_decay * old[name] for name, p in layer.items()}
        for layer, old in zip(new, params, strict=True)
    ]
    return shrunk, velocity


_image = "nhwc"
_features = matrices("ni", "io", "o")

MISTAKES = (
    Mistake(
        name="conv2d-kernel-flipped",
        subject=conv2d,
        code={"forward": _flipped, "backward": _flipped_backward},
        sentence="Your convolution turns the kernel around; what is called convolution in deep learning does not.",
        equation="conv2d-forward",
        oracle="forward",
        draw=convolution(kernel=2),
    ),
    Mistake(
        name="conv2d-kernel-not-turned-in-backward",
        subject=conv2d,
        code={"backward": _not_turned},
        sentence="Your dx slides the kernel as forward did; going back, it is turned around.",
        equation="conv2d-backward",
        oracle="gradient",
        draw=convolution(kernel=3),
    ),
    Mistake(
        name="conv2d-padding-kept",
        subject=conv2d,
        code={"backward": _padding_kept},
        sentence="Your dx is shifted by the padding: cut the padding off on all sides, not at the far ends alone.",
        equation="conv2d-backward",
        oracle="gradient",
        draw=convolution(kernel=3, padding=1),
    ),
    Mistake(
        name="conv2d-stride-forgotten",
        subject=conv2d,
        code={"backward": _stride_forgotten},
        sentence="Your dx puts neighbouring outputs side by side; they are `stride` pixels apart.",
        equation="conv2d-backward",
        oracle="gradient",
        draw=convolution(kernel=2, stride=2),
    ),
    Mistake(
        name="conv2d-dw-of-last-sample",
        subject=conv2d,
        code={"backward": _last_sample},
        sentence="Your dw is that of the last sample alone: every sample used the kernel, so add them all up.",
        equation="conv2d-backward",
        oracle="gradient",
        draw=convolution(kernel=2),
    ),
    Mistake(
        name="centralize-per-input",
        subject=centralize,
        code=_centred(0, 1, 3),
        sentence="Your weight is centred per input channel; equation (18) takes the mean per output filter.",
        equation="centralize-forward (18)",
        oracle="forward",
        draw=convolution(with_input=False),
    ),
    Mistake(
        name="centralize-per-kernel",
        subject=centralize,
        code=_centred(0, 1),
        sentence="Your mean is over (kh, kw) alone; equation (18) takes it over the input channels too.",
        equation="centralize-forward (18)",
        oracle="forward",
        draw=convolution(with_input=False),
    ),
    Mistake(
        name="centralize-not-in-backward",
        subject=centralize,
        code={"backward": _not_centred},
        sentence="Your dW is that of the centred weight: back through W - mean(W), the gradient is centred too.",
        equation="centralize-backward",
        oracle="gradient",
        draw=convolution(with_input=False),
    ),
    Mistake(
        name="linear-weight-not-transposed",
        subject=linear,
        code={"backward": _not_transposed},
        sentence="Your dx multiplies by w where it takes its transpose, which only a square w lets pass.",
        equation="linear-backward",
        oracle="gradient",
        draw=matrices("ni", "ii", "i"),
    ),
    Mistake(
        name="linear-gradients-averaged",
        subject=linear,
        code={"backward": _averaged},
        sentence="Your dw and db are means over the samples; the 1/N is the loss's, and is in dout already.",
        equation="linear-backward",
        oracle="gradient",
        draw=_features,
    ),
    Mistake(
        name="relu-sign-of-gradient",
        subject=relu,
        code={"backward": _where_gradient_positive},
        sentence="Your ReLU lets through what is positive in dout; it is the input that has to be positive.",
        equation="relu-backward",
        oracle="gradient",
        draw=matrices(_image),
    ),
    Mistake(
        name="pool-not-divided",
        subject=global_average_pool,
        code={"backward": _not_divided},
        sentence="Your dx gives every position the whole gradient of the mean; each has a share of 1 / (H * W).",
        equation="global-average-pool-backward",
        oracle="gradient",
        draw=matrices(_image),
    ),
    Mistake(
        name="upsample-first-pixel",
        subject=upsample,
        code={"backward": _first_of_square},
        sentence="Your dx takes one gradient of each square; the pixel was used for all of them, so add them up.",
        equation="upsample-backward",
        oracle="gradient",
        draw=matrices(_image),
    ),
    Mistake(
        name="upsample-tiled",
        subject=upsample,
        code={"forward": _tiled, "backward": _tiled_backward},
        sentence="Your output is the image four times over; each pixel becomes a square where it is.",
        equation="upsample-forward",
        oracle="forward",
        draw=matrices(_image),
    ),
    Mistake(
        name="loss-summed",
        subject=softmax_cross_entropy,
        code={"forward": _summed, "backward": _not_averaged},
        sentence="Your loss is summed over the batch, not averaged.",
        equation="softmax-cross-entropy-forward",
        oracle="forward",
        draw=logits,
    ),
    Mistake(
        name="loss-gradient-not-averaged",
        subject=softmax_cross_entropy,
        code={"backward": _not_averaged},
        sentence="Your dlogits lack the 1/N of the mean that the loss takes.",
        equation="softmax-cross-entropy-backward",
        oracle="gradient",
        draw=logits,
    ),
    Mistake(
        name="loss-no-one-hot",
        subject=softmax_cross_entropy,
        code={"backward": _no_one_hot},
        sentence="Your dlogits are the probabilities; subtract 1 at the label of each row.",
        equation="softmax-cross-entropy-backward",
        oracle="gradient",
        draw=logits,
    ),
    Mistake(
        name="loss-dloss-ignored",
        subject=softmax_cross_entropy,
        code={"backward": _dloss_ignored},
        sentence="Your dlogits do not depend on dloss, the gradient that comes in; it multiplies all of them.",
        equation="softmax-cross-entropy-backward",
        oracle="gradient",
        draw=logits,
    ),
    Mistake(
        name="sgd-velocity-averaged",
        subject=sgd,
        code={"step": _velocity_averaged},
        sentence="Your velocity weighs the gradient by 1 - momentum; it takes in the whole gradient.",
        equation="sgd",
        oracle="recurrence",
        draw=steps,
    ),
    Mistake(
        name="sgd-decay-beside-velocity",
        subject=sgd,
        code={"step": _decay_beside},
        sentence="Your weight decay acts on the parameter directly; it is added to the gradient and goes through the "
        "velocity.",
        equation="sgd",
        oracle="recurrence",
        draw=steps,
    ),
)
