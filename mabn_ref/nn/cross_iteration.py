r"""A convolution with Cross-Iteration Batch Normalization after it, as one layer and as an experiment.

Yao, Cao, Zheng, Huang and Lin, CVPR 2021. Mean and variance are taken over a window of iterations; the statistics of
earlier iterations are corrected for how the weight has changed since. That needs the weight of the convolution, which
normalisers of `mabn_ref.norms` do not receive, so the two are one layer here. It has no inference pass. The caller
keeps what the last k - 1 iterations measured. In the example the weight grows by a tenth. The corrected earlier mean
grows with it, from 3 to 3.3, and the variance from 4 to 4.71, close to the 4.84 that this batch would have now.

Examples
--------
>>> import numpy as np
>>> x, one, zero = np.array([[[[1.0], [5.0]]]]), np.ones(1), np.zeros(1)
>>> past, k = [], 2
>>> for w in np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 1.1):
...     means, variances = compensated(past, w)
...     z, cache = forward(x, w, one, zero, means=means, variances=variances, eps=0.0)
...     past = [*past, measured(cache)][-(k - 1) :]
>>> print(means, variances)
[[3.3]] [[4.71]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mabn_ref.arrays import Array, check_at_least, check_float_array, check_own, copied, namespace, total, zeros
from mabn_ref.nn import conv2d
from mabn_ref.nn.common import check_cotangent, check_rank, check_varied


class Batch(NamedTuple):
    """What later iterations need from one: its weight, its statistics, and their derivatives by the weight."""

    w: Array  #: (kh, kw, in, C)
    mean: Array  #: (C,)
    var: Array  #: (C,), biased
    mean_slope: Array  #: (kh, kw, in, C): derivative of each channel's mean by its own filter
    var_slope: Array  #: (kh, kw, in, C): the same for its variance


class Cache(NamedTuple):
    """What `backward` and `measured` need."""

    convolution: conv2d.Cache
    centred: Array  #: (N, H, W, C): the convolution's output less the mean of its own batch
    y: Array  #: (N, H, W, C): the normalised values
    sigma: Array  #: (C,)
    gamma: Array  #: (C,)
    mean: Array  #: (C,), of this batch
    var: Array  #: (C,), of this batch
    iterations: int  #: how many the statistics are taken over


def compensated(past: Sequence[Batch], w: Array) -> tuple[Array, Array]:
    """Return means and variances of earlier batches, (k - 1, C), corrected to the weight `w`: :eq:`cbn-compensate`.

    A corrected mean is exactly the one that the batch would have with `w`. A corrected variance lacks the mean square
    of the outputs' change, and is at least 0.
    """
    check_rank("w", w, "kh, kw, in, C")
    xp = namespace(w)
    means, variances = [zeros((0, w.shape[3]), like=w)], [zeros((0, w.shape[3]), like=w)]
    for i, batch in enumerate(past):
        check_own((batch, Batch))
        if tuple(batch.w.shape) != tuple(w.shape):
            raise ValueError(
                f"past[{i}].w has shape {tuple(batch.w.shape)}, expected {tuple(w.shape)}, the shape of w"
            )
        check_float_array(f"past[{i}].w", batch.w, like=w, like_name="w")
        change = w - batch.w
        moved = xp.sum(batch.mean_slope * change, axis=(0, 1, 2))
        mean = batch.mean + moved  # eq: cbn-compensate
        var = batch.var + xp.sum(batch.var_slope * change, axis=(0, 1, 2)) - moved**2  # eq: cbn-compensate
        means.append(mean[None, :])
        variances.append(xp.maximum(var, 0 * var)[None, :])
    return xp.concat(means), xp.concat(variances)


def forward(
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    *,
    means: Array,
    variances: Array,
    stride: int = 1,
    padding: int = 0,
    eps: float = 1e-5,
) -> tuple[Array, Cache]:
    """Convolve, then normalise by the statistics of this batch and of earlier ones, which are constants.

    Implements :eq:`cbn-statistics` and :eq:`cbn-normalise`. `gamma` and `beta`, scale and shift of the output's
    channels, are (C,); `means` and `variances`, from `compensated`, are (k - 1, C). With k = 1 this is batch
    normalisation. The other arguments are as for `mabn_ref.nn.conv2d`.
    """
    check_at_least("eps", eps, 0)
    out, convolution = conv2d.forward(x, w, stride=stride, padding=padding)
    xp, channels, count = namespace(out), out.shape[3], out.size // out.shape[3]
    check_varied(count, f"the convolution's output has shape {tuple(out.shape)}")
    for name, value in (("gamma", gamma), ("beta", beta), ("means", means), ("variances", variances)):
        check_float_array(name, value, like=x)
        of_one = name in ("gamma", "beta")
        expected = (channels,) if of_one else (*means.shape[:1], channels) if len(means.shape) == 2 else None
        if tuple(value.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {expected or f'(k - 1, {channels})'}")
    own_mean = total(out) / count  # eq: bn-statistics (2)
    centred = out - own_mean
    own_var = total(centred * centred) / count  # eq: bn-statistics (2)
    means, variances = xp.concat([means, own_mean[None, :]]), xp.concat([variances, own_var[None, :]])
    mean = xp.mean(means, axis=0)  # eq: cbn-statistics
    var = xp.mean(variances + (means - mean) ** 2, axis=0)  # eq: cbn-statistics
    sigma = xp.sqrt(var + eps)  # eq: cbn-normalise
    y = (out - mean) / sigma  # eq: cbn-normalise
    z = gamma * y + beta  # eq: affine (3)
    return z, Cache(convolution, centred, y, sigma, copied(gamma), own_mean, own_var, means.shape[0])


def measured(cache: Cache) -> Batch:
    """Return what later iterations need from this one: :eq:`cbn-slopes`, slopes by the convolution's backward."""
    check_own((cache, Cache))
    convolution, centred, *_, mean, var, _ = cache
    count = centred.size // centred.shape[3]
    mean_slope = conv2d.weight_gradient(0 * centred + 1 / count, convolution)  # eq: cbn-slopes
    var_slope = conv2d.weight_gradient(2 * centred / count, convolution)  # eq: cbn-slopes
    return Batch(copied(convolution.w), copied(mean), copied(var), mean_slope, var_slope)


def backward(dz: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """Return dx, dw, dgamma and dbeta: :eq:`cbn-backward`."""
    check_own((cache, Cache))
    convolution, _, y, sigma, gamma, *_, iterations = cache
    check_cotangent("dz", dz, tuple(y.shape), y, "x")
    count = y.size // y.shape[3]
    dbeta = total(dz)  # eq: affine-backward
    dgamma = total(dz * y)  # eq: affine-backward
    dy = dz * gamma
    g, psi = gamma * dbeta / count, gamma * dgamma / count  # eq: bn-gradient-statistics (5)
    dout = (dy - (g + y * psi) / iterations) / sigma  # eq: cbn-backward
    dx, dw = conv2d.backward(dout, convolution)
    return dx, dw, dgamma, dbeta
