"""The normalisers, one file each, with the same names in the same order: `diff` two of them to see the idea.

::

    Config, State, Cache
    init(channels, config, *, dtype, xp)       -> state
    statistics(x, config)                      -> mu, var
    statistics(x, config)                      -> chi2            where no mean is subtracted
    forward(x, gamma, beta, state, config)     -> z, cache, state
    gradient_statistics(dz, cache)             -> g, psi
    backward(dz, cache, state)                 -> dx, dgamma, dbeta, state
    backward_graph(dz, cache, state)           -> dx, dgamma, dbeta, state
    affine(gamma, beta, state, config)         -> scale, shift
    infer(x, gamma, beta, state, config)       -> z

All functions are pure: they change no argument, return the new state, and keep copies in the cache of all that the
caller may change. Their arguments, results and errors are described once, here; the docs repeat them with each
function. G is the number of normalisation batches in a call, N / norm_batch. If each sample is normalised alone, G is
N, and in group normalisation a group takes the place of a channel. `affine` is missing where inference is not an
affine map, and `backward_graph` where the graph adds nothing.

Parameters
----------
x : array, shape (N, ..., C), float32 or float64, channels last
    N samples; in training a multiple of `norm_batch`, in inference any number.
gamma, beta : array, shape (C,), of the dtype of `x`
    Scale and shift per channel.
state : State
    From `init` or the previous call. `backward` takes the state that its `forward` returned, or a later one.
config : Config
    The hyper-parameters, the same in every call.
dz : array, shape (N, ..., C), of the dtype of the forward pass
    Gradient of the loss with respect to z.
cache : Cache
    From `forward`. If backward keeps averages, give it each cache once, in the order of the forward passes.
channels : int
    The number of channels, C.
dtype, xp
    float32 or float64, and the array library of the state's arrays.

Returns
-------
z : array, shape (N, ..., C), of the dtype of `x`
    The output.
cache : Cache
    What backward needs.
state : State
    The new state.
mu, var : array, shape (G, C)
    Mean and biased variance of each normalisation batch.
chi2 : array, shape (G, C)
    Mean square of each normalisation batch.
g, psi : array, shape (G, C)
    Means of dy and of y * dy over each normalisation batch, where dy is gamma * dz, times r if there is one.
dx : array, shape (N, ..., C)
    The gradient with respect to x.
dgamma, dbeta : array, shape (C,)
    Gradients, summed over all samples.
scale, shift : array, shape (C,)
    Coefficients of the map z = scale * x + shift.

Raises
------
TypeError
    If a `State`, `Config` or `Cache` belongs to another module, or an array is not plain (a masked array, a matrix),
    is not float32 or float64, or differs in dtype from the others.
ValueError
    If shapes do not fit, `norm_batch` does not divide N, or the variance of a single value per channel would be
    taken; in backward, if the state is older than the forward pass, or this cache or a later one went through
    already.
OverflowError
    If the sum of the squares of finite values is too large for their dtype.

Each error names the argument, its value and what was expected, and is raised before anything changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from mabn_ref.norms import (
    batch_norm,
    batch_renorm,
    eval_norm,
    frozen_batch_norm,
    group_norm,
    mabn,
    modified_batch_norm,
    moving_statistics,
    online_norm,
    power_norm,
    rms_norm,
    sync_batch_norm,
    unified_norm,
)

__all__ = ["NORMS", "Norm"]


class Norm(NamedTuple):
    """A normaliser as commands, tables and checks know it."""

    module: ModuleType
    title: str  #: what tables print
    #: fields of its Config that make it what it is: layer norm is group norm with one group
    settings: Mapping[str, Any] = {}
    #: fields of its Config with which a few steps on small batches reach every branch, for checks and records
    example: Mapping[str, Any] = {}


NORMS: dict[str, Norm] = {
    "bn": Norm(batch_norm, "BN"),
    "brn": Norm(batch_renorm, "BRN", example={"decay": 0.9, "r_max": 2.0, "d_max": 1.5}),
    "modified-bn": Norm(modified_batch_norm, "modified BN"),
    "mabn": Norm(mabn, "MABN", example={"decay": 0.9, "window": 3, "clip": 2.0}),
    "gn": Norm(group_norm, "GN", example={"groups": 2}),
    "ln": Norm(group_norm, "LN", settings={"groups": 1}),
    "in": Norm(group_norm, "IN", settings={"groups": None}),
    "moving": Norm(moving_statistics, "moving statistics"),
    "sync-bn": Norm(sync_batch_norm, "SyncBN"),
    "online": Norm(online_norm, "Online Norm", example={"decay_forward": 0.9, "decay_backward": 0.95}),
    "eval-norm": Norm(eval_norm, "EvalNorm"),
    "rms": Norm(rms_norm, "RMSNorm", settings={"axes": "channels"}),
    "frn": Norm(rms_norm, "FRN", settings={"axes": "positions"}),
    "frozen-bn": Norm(frozen_batch_norm, "frozen BN"),
    "powernorm": Norm(power_norm, "PowerNorm", example={"decay_backward": 0.95}),
    "un": Norm(unified_norm, "UN", example={"window": 3, "clip": 2.0}),
}
"""Every normaliser, by its name in commands and records. No other list of them is kept by hand."""
