"""Convert a network that was trained with batch normalisation to a normaliser for small batches.

`convert` replaces the normalisers and keeps the network's function, up to rounding. MABN wants centralised weights as
well, and centring weights that were trained without it changes the function: `centre` changes it as little as
possible. Nothing is trained here. Both return new lists and do not change their arguments.

>>> import numpy as np
>>> from mabn_ref.norms import batch_norm, mabn
>>> layers = [Conv("conv", 1, 1, kernel=1, padding=0), Norm("norm", batch_norm, 1, batch_norm.Config(eps=0.0))]
>>> params = [{"w": np.array([[[[2.0]]]])}, {"gamma": np.array([1.0]), "beta": np.array([0.5])}]
>>> states = [None, batch_norm.State(np.array([3.0]), np.array([16.0]), 100)]
>>> after = convert(layers, params, states, mabn, mabn.Config(eps=0.0))
>>> after.states[1].chi2, after.params[1]
(array([25.]), {'gamma': array([1.25]), 'beta': array([-0.25])})
>>> x = np.array([[[[4.0]]]])
>>> network.infer(layers, params, states, x).item(), network.infer(*after, x).item()
(1.75, 1.75)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mabn_ref.arrays import Array, copied, namespace
from mabn_ref.nn import centralize, conv2d, folding, network
from mabn_ref.nn.network import Conv, Layer, Norm

_AT_ONCE = 50
"""The number of images whose patches are held at a time."""
_RIDGE = 1e-6
"""Added to the covariance's diagonal, times its mean eigenvalue: inputs that are always 0 have no variance."""


class Network(NamedTuple):
    """The arguments that `mabn_ref.nn.network.infer` takes before the images."""

    layers: list[Layer]
    params: list[dict[str, Array]]
    states: list[Any]


def convert(
    layers: Sequence[Layer], params: Sequence[dict[str, Array]], states: Sequence[Any], module: Any, config: Any
) -> Network:
    """Replace every linear normaliser that keeps a mean and variance by `module`; inference is the same, to rounding.

    Linear means that inference is one scale and shift per channel: EvalNorm is not linear, and Online Normalization
    is only without layer scaling.

    `module` is one of `mabn_ref.norms` and `config` its Config. If it keeps a mean and variance, it takes them over.
    If it keeps a mean square, as modified batch normalisation and MABN do, chi^2 is set to what it will measure, and
    gamma and beta make up for it: :eq:`convert-chi2`, :eq:`convert-affine`. Windows start empty and counts at 0. The
    exponential average is good from the start, so MABN's ``renorm_from`` may stay 1.

    The variances have to be biased; PyTorch's ``running_var`` is not: multiply it by (M - 1) / M first.

    Raises
    ------
    TypeError
        If `module` keeps no statistics of this kind, or a state does not belong to its layer's normaliser.
    ValueError
        If there is nothing to convert, if `module` is not linear with this `config`, if `config` starts its averages
        from the first batch, or if its eps differs and nothing can make up for that.
    """
    network.check_parallel(layers, params=params, states=states)
    network.check_config(module, config)
    if getattr(config, "ema_start", None) == "first":
        raise ValueError("ema_start is 'first', expected a number: the first batch would replace what is converted")
    after = Network(list(layers), [dict(p) for p in params], list(states))
    found = [i for i in of_mean_and_variance(layers, states) if folding.is_linear(layers[i])]
    if not found:
        raise ValueError(
            "layers have no linear normaliser with a moving mean and variance, expected at least one to convert"
        )
    for i in found:
        layer, p, state = layers[i], params[i], states[i]
        assert isinstance(layer, Norm)
        after.layers[i] = Norm(layer.name, module, layer.channels, config)
        xp = namespace(state.var)
        start = module.init(layer.channels, config, dtype=state.var.dtype, xp=xp)
        if hasattr(start, "chi2"):
            sigma = xp.sqrt(state.var + layer.config.eps)
            chi2 = state.var + state.mean**2  # eq: convert-chi2
            gamma = p["gamma"] * xp.sqrt(chi2 + config.eps) / sigma  # eq: convert-affine
            beta = p["beta"] - p["gamma"] * state.mean / sigma  # eq: convert-affine
            after.params[i], after.states[i] = {"gamma": gamma, "beta": beta}, start._replace(chi2=chi2)
        elif {"mean", "var"} <= set(getattr(start, "_fields", ())):
            if config.eps != layer.config.eps:
                raise ValueError(f"config.eps is {config.eps}, expected {layer.config.eps}, the eps of {layer.name}")
            after.states[i] = start._replace(mean=copied(state.mean), var=copied(state.var))
        else:
            raise TypeError(
                f"module is {module.__name__}, expected one that keeps a mean and variance or a mean square"
            )
        if not folding.is_linear(after.layers[i]):
            raise ValueError(f"module is {module.__name__}, expected one that config makes linear at inference")
    return after


def of_mean_and_variance(layers: Sequence[Layer], states: Sequence[Any]) -> list[int]:
    """The indices of the normalisers that keep a moving mean and variance."""
    return [
        i
        for i, (layer, state) in enumerate(zip(layers, states, strict=True))
        if isinstance(layer, Norm) and {"mean", "var"} <= set(getattr(state, "_fields", ()))
    ]


def centre(
    layers: Sequence[Layer],
    params: Sequence[dict[str, Array]],
    states: Sequence[Any],
    images: Array,
    *,
    optimal: bool = True,
) -> Network:
    """Centre the weight of every convolution before a normaliser, and measure that normaliser's statistics again.

    This goes layer by layer from the input on, over `images`, (N, H, W, C), a few hundred of the training images. A
    centred filter cannot see the sum of its patch. With `optimal` its weights make up for that as well as those of a
    centred filter can, :eq:`centre-optimal`; without, the filter's mean is subtracted, :eq:`centralize-forward`.
    These convolutions are ``centralized`` afterwards, so that training keeps them centred; convolutions that no
    normaliser follows stay as they are. Residual blocks are handled too.

    Raises
    ------
    ValueError
        If there is no such convolution, or one is standardised.
    """
    network.check_parallel(layers, params=params, states=states)
    after = Network(list(layers), [dict(p) for p in params], list(states))
    norms = set(of_mean_and_variance(layers, states))
    if not any(isinstance(layer, Conv) and i + 1 in norms for i, layer in enumerate(layers)):
        raise ValueError(
            "layers have no convolution before a normaliser with a moving mean and variance, expected at least one"
        )
    x, held = images, None
    for i, layer in enumerate(layers):
        if isinstance(layer, Conv) and i + 1 in norms:
            if layer.standardized:
                raise ValueError(f"{layer.name} is standardized, expected weights that are used as they are")
            w = params[i]["w"]
            after.params[i] = {"w": optimally_centred(w, covariance(layer, x)) if optimal else centralize.centred(w)}
            after.layers[i] = layer._replace(centralized=True)
        x, held = network.infer_layer(after.layers[i], after.params[i], after.states[i], x, held)
        if i + 1 in norms:
            xp = namespace(x)
            mean = xp.mean(x, axis=(0, 1, 2))
            var = xp.mean((x - mean) ** 2, axis=(0, 1, 2))
            after.states[i + 1] = states[i + 1]._replace(mean=mean, var=var)
    return after


def covariance(layer: Conv, x: Array) -> Array:
    """The covariance of the patches of `x` under the kernel, (kh*kw*in, kh*kw*in).

    A convolution whose filters are the unit vectors returns the patches themselves, to rounding.
    """
    xp, size = namespace(x), layer.kernel * layer.kernel * layer.channels_in
    unit = xp.reshape(xp.eye(size, dtype=x.dtype), (layer.kernel, layer.kernel, layer.channels_in, size))

    def patches(images: Array) -> Array:
        out, _ = conv2d.forward(images, unit, stride=layer.stride, padding=layer.padding)
        return xp.reshape(out, (-1, size))

    cuts = range(0, x.shape[0], _AT_ONCE)
    count = x.shape[0] * patches(x[:1, ...]).shape[0]
    mean = sum(xp.sum(patches(x[n : n + _AT_ONCE, ...]), axis=0) for n in cuts) / count
    total = 0
    for n in cuts:
        off = patches(x[n : n + _AT_ONCE, ...]) - mean
        total = total + off.T @ off
    return total / count


def optimally_centred(w: Array, sigma: Array) -> Array:
    """The filters that sum to zero and come closest to `w`, (kh, kw, in, out), on patches of covariance `sigma`.

    Closest means that the difference of their outputs has the least variance: :eq:`centre-optimal`. If `sigma` is the
    identity, this is `mabn_ref.nn.centralize.centred`.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)
    >>> optimally_centred(w, np.eye(3)).ravel().round(4)
    array([-2., -1.,  3.])
    >>> optimally_centred(w, np.diag([1.0, 1.0, 4.0])).ravel().round(4)
    array([-3., -2.,  5.])
    """
    xp, shape = namespace(w), tuple(w.shape)
    flat, size = xp.reshape(w, (-1, shape[-1])), sigma.shape[0]
    eye = xp.eye(size, dtype=w.dtype)
    ridge = _RIDGE * xp.linalg.trace(sigma) / size
    direction = xp.linalg.solve(sigma + ridge * eye, xp.ones((size, 1), dtype=w.dtype))
    moved = flat - direction * (xp.sum(flat, axis=0) / xp.sum(direction))  # eq: centre-optimal
    return centralize.centred(xp.reshape(moved, shape))  # whose sums are 0 but for rounding
