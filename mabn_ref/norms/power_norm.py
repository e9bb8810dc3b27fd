r"""PowerNorm: a moving mean square in forward, and a running sum of what was let through in backward.

Shen et al., "PowerNorm: Rethinking Batch Normalization in Transformers", ICML 2020. Forward divides by an average
over earlier batches, as MABN does where r is not clipped. Backward keeps a running sum v of the gradient along y and
subtracts the share 1 - decay_backward of it, as Online Normalization does for each sample. **backward is not the
derivative of forward**. In the example the first batch is divided by 1, the second by 5, the root of the mean square
of the first.

Examples
--------
>>> x, one, zero = np.array([[1.0], [7.0], [5.0], [11.0]]), np.ones(1), np.zeros(1)
>>> config = Config(eps=0.0, norm_batch=2, decay=0.0, decay_backward=0.5)
>>> z, cache, state = forward(x, one, zero, init(1, config, dtype=x.dtype), config)
>>> dx, dgamma, dbeta, state = backward(np.ones((4, 1)), cache, state)
>>> z.ravel(), dx.ravel(), state.v
(array([1. , 7. , 1. , 2.2]), array([ 1.  ,  1.  , -0.2 , -0.68]), array([-0.24]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.arrays import Array, copied, total
from mabn_ref.norms import checks, modified_batch_norm
from mabn_ref.norms.checks import setting
from mabn_ref.norms.common import accumulated, ema, gradient_means, mean_square, merge, root, split, sums, switched
from mabn_ref.norms.modified_batch_norm import statistics as statistics


@dataclass(frozen=True, kw_only=True)
class Config(modified_batch_norm.Config):
    """Hyper-parameters."""

    decay_backward: float = setting(0.9, at_least=0, below=1, note="1 minus the share of v that backward subtracts")
    warmup: int = setting(0, at_least=0, whole=True, imitation=True, note="batch's own chi while iteration <= warmup")
    backward_by: str = setting("moving", choices=("moving", "batch"), imitation=True, note="the chi in dx = dy / chi")

    @classmethod
    def authors(cls) -> Config:
        """Return the settings of the authors' code, without the scaling of groups of channels that precedes it."""
        return cls(warmup=10_000, backward_by="batch")


class State(NamedTuple):
    """Moving statistics, both of shape (C,); `backward` changes only `v` and its own count."""

    chi2: Array  #: the moving mean square, initially 1
    v: Array  #: the sum of the means of y times gradient that backward has let through, initially 0
    iteration: int = 0  #: normalisation batches so far
    backward_iteration: int = 0  #: iteration of the last batch that went through backward


class Cache(modified_batch_norm.Cache):
    """What backward needs: as in `mabn_ref.norms.modified_batch_norm`; `chi` is what backward divides by."""

    __slots__ = ()
    config: Config


def init(channels: int, config: Config, *, dtype: Any, xp: Any = np) -> State:
    """The state before the first batch."""
    checks.init(channels, (config, Config), dtype, xp)
    return State(xp.ones((channels,), dtype=dtype), xp.zeros((channels,), dtype=dtype))


def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
    """Divide by the root of the average before this batch: :eq:`power-normalise`, :eq:`affine` (3)."""
    checks.forward(x, gamma, beta, (state, State), (config, Config), init)
    shape, x, t = tuple(x.shape), split(x, config.norm_batch), state.iteration
    chi2_batch = mean_square(x)  # eq: modified-statistics (15)
    times = range(t + 1, t + 1 + x.shape[0])  # in warm-up roughly a mean of all
    decays = [config.decay * (1 - 1 / n) if n < config.warmup else config.decay for n in times]
    before, after = ema(state.chi2, chi2_batch, decays)  # eq: ema-forward (12)
    chi = root(switched(chi2_batch, before, config.warmup + 1, t) + config.eps)  # eq: power-normalise
    y = x / chi  # eq: power-normalise
    z = gamma * y + beta  # eq: affine (3)
    back = root(chi2_batch + config.eps) if config.backward_by == "batch" else chi
    state = State(after[-1, 0, :], copied(state.v), t + x.shape[0], state.backward_iteration)
    return merge(z, shape), Cache(y, back, copied(gamma), t, shape, config), state


def gradient_statistics(dz: Array, cache: Cache) -> tuple[Array, Array]:
    """The batch means g and Psi of dy and y * dy; v takes in Psi: :eq:`bn-gradient-statistics` (5)."""
    checks.gradient_statistics(dz, (cache, Cache))
    return gradient_means(split(dz, cache.config.norm_batch), cache.y, cache.gamma)


def backward(dz: Array, cache: Cache, state: State) -> tuple[Array, Array, Array, State]:
    """Gradients controlled by v: :eq:`power-control`, :eq:`power-backward`."""
    checks.backward(dz, (cache, Cache), (state, State), init)
    dz, values = split(dz, cache.config.norm_batch), cache.y.shape[1]
    y, chi, gamma, t, shape, _ = cache
    dz_sum, dzy_sum, held = sums(dz), sums(dz * y), 1 - cache.config.decay_backward
    dbeta = total(dz_sum)  # eq: affine-backward
    dgamma = total(dzy_sum)  # eq: affine-backward
    psi = gamma * dzy_sum / values  # eq: bn-gradient-statistics (5)
    v, v_after = accumulated(state.v, psi, held * sums(y * y) / values)  # eq: power-control
    dy = dz * gamma - held * v * y  # eq: power-control
    dx = dy / chi  # eq: power-backward
    return merge(dx, shape), dgamma, dbeta, state._replace(v=v_after, backward_iteration=t + y.shape[0])


def affine(gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Array]:
    """Inference as one map per channel, ``z = scale * x + shift``, which a convolution can absorb: :eq:`fold`."""
    checks.affine(gamma, beta, (state, State), (config, Config), init)
    scale = gamma / root(state.chi2 + config.eps)  # eq: modified-infer
    return scale, beta


def infer(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    """Divide by the moving root mean square: :eq:`modified-infer`."""
    checks.infer(x, gamma, beta, (state, State), (config, Config), init)
    y = x / root(state.chi2 + config.eps)  # eq: modified-infer
    return gamma * y + beta  # eq: affine (3)
