"""Probes at the edges of the range: a gamma of 0, one sample, constants, a far mean and half precision."""

from __future__ import annotations

import re

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.probing import Limit, NotOffered, Probing, apart, arrays, offered, twins
from mabn_ref.check.scenarios import ALONE
from mabn_ref.check.target import statistic

FAR = 8192.0
"""A mean of about 10^4 standard deviations; every number drawn can be added to it exactly in float32."""
ALMOST = 0.1
"""What float32 may lose at this mean: it keeps three digits of a sample's distance from the mean."""
OF_SIZE_100 = {"float16": 0.05, "bfloat16": 0.1}
"""Half precisions, and the relative error allowed in each on inputs of size 100."""


def zero_gamma(p: Probing) -> str:
    """Compare the gradients at a gamma of 0 with those at another gamma."""
    twins(p)
    x, gamma, beta, dz = p.first_step()
    outputs, gradients = [], []
    for scale in (gamma, 0 * gamma):
        layer = p.new()
        outputs.append(np.array(p.target.forward(layer, x.copy(), scale, beta.copy(), True)))
        gradients.append(arrays(p.target.backward(layer, dz.copy())))
    if not p.apart(outputs[1:], outputs[:1]):
        raise NotOffered("its output does not depend on gamma")
    expected, found = gradients
    words = p.apart(found, [0 * found[0], *expected[1:]])  # z = gamma * y + beta: only dx depends on gamma
    return f"one of dx, dgamma and dbeta is {words}" if words else ""


def one_sample(p: Probing) -> str:
    """Compare inference on a sample alone with the same among others."""
    layer = p.new()
    p.step(layer, 0)
    x = np.concatenate(p.xs)  # more than one call of a layer that is given one or two samples

    def infer(samples: int) -> Array:
        gamma, beta = p.gammas[0].copy(), p.betas[0].copy()
        return np.array(p.target.forward(layer, x[:samples].copy(), gamma, beta, False))

    with offered():
        two, among = infer(2), infer(3)
    if p.apart([two], [among[:2]]):
        raise NotOffered("its output for a sample depends on the other samples")
    try:
        with offered():
            one = infer(1)
    except NotOffered as why:
        raise Limit(f"it refuses one sample at inference ({why})") from why
    words = p.apart([one], [among[:1]])
    return f"z is {words}" if words else ""


def constant(p: Probing) -> str:
    """Try a channel of zeros and one of another constant; with samples instead, if each has its own statistics."""
    x = p.xs[0].copy()
    parts = x if p.norm in ALONE else np.moveaxis(x, -1, 0)
    parts[0], parts[-1] = 0.0, 0.5
    layer = p.new()
    z = p.target.forward(layer, x, p.gammas[0], p.betas[0], True)
    dx = p.target.backward(layer, p.dzs[0].copy())[0]
    for name, a in (("z", z), ("dx", dx)):
        if not np.isfinite(a).all():
            return f"{name} is {np.array(a)[~np.isfinite(a)][0]}"
    return ""


def far_mean(p: Probing) -> str:
    """Compare the same numbers around 0 and around `FAR`, in float32: z is the same, except for BRN's d."""
    x = p.xs[0].astype(np.float32)
    one, none = np.ones(p.channels, np.float32), np.zeros(p.channels, np.float32)
    layers = p.new(), p.new()
    given = zip(layers, (x, x + np.float32(FAR)), strict=True)
    near, far = (np.array(p.target.forward(layer, a, one, none, True), float) for layer, a in given)
    if abs(np.mean(far)) > 0.5 and p.norm != "brn":
        raise NotOffered(f"its output is not centred there: its mean is {np.mean(far):.3g}")
    if p.norm == "brn":  # d is the same for all values of a channel
        near, far = (a - np.mean(a, axis=tuple(range(x.ndim - 1))) for a in (near, far))
    if words := apart([far], [near], ALMOST):
        return words
    kept = [p.target.state(layer) for layer in layers]
    spread = [name for name in kept[0] if statistic(name) == "second" and re.search("var|std|sigma", name)]
    for name in spread:
        there, due = (np.array(state[name], float) for state in reversed(kept))
        if np.max(there, initial=0) > FAR:  # far more than E[x^2] - E[x]^2 may lose: it is no variance
            raise NotOffered(f"its {name} grows with the mean")
        if words := apart([there], [due], ALMOST):
            return f"{name} is {words}"
    return ""


def half(p: Probing, name: str) -> str:
    """Compare the layer in a half precision with itself in float64."""
    x = 100 * p.xs[0].astype(float)
    with offered():
        found, expected, returned = p.target.in_precision(name, p.channels, p.config, x, p.dzs[0])
    if not np.isfinite(found["dx"]).all():
        return "dx is not finite on inputs of size 100"
    for what, due in expected.items():
        if words := apart([found[what]], [due], OF_SIZE_100[name]):
            return f"on inputs of size {1 if what == 'inference' else 100} {what} is {words}"
    if returned != name:
        raise Limit(f"z is {returned} where x is of half precision")
    return ""
