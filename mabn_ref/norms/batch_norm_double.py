"""The derivative of batch normalisation's backward pass, for losses that contain a gradient.

An example is a gradient penalty: the size of dL/dx is a term of the loss, so training differentiates `backward` too.
`double_backward` does for `mabn_ref.norms.batch_norm.backward` what that does for `forward`. As everywhere, "d" in
front of a name means the gradient of the loss with respect to it: ``ddx`` is the gradient with respect to ``dx``.

Examples
--------
The gradient of sum(dx**2) / 2, whose ``ddx`` is dx itself:

>>> import numpy as np
>>> from mabn_ref.norms import batch_norm
>>> x, dz = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [0.0], [0.0]])
>>> one, config = np.ones(1), batch_norm.Config()
>>> z, cache, state = batch_norm.forward(x, one, one, batch_norm.init(1, config, dtype=x.dtype), config)
>>> dx, *_ = batch_norm.backward(dz, cache, state)
>>> ddz, dx_of_penalty, dgamma, dbeta = double_backward(dx, 0 * one, 0 * one, dz, cache)
>>> ddz.ravel().round(3), dgamma.round(3)
(array([ 0.184, -0.276,  0.092]), array([0.184]))
"""

from __future__ import annotations

from mabn_ref.arrays import Array, check_shaped, total
from mabn_ref.norms import checks
from mabn_ref.norms.batch_norm import Cache
from mabn_ref.norms.common import mean, merge, split


def double_backward(
    ddx: Array, ddgamma: Array, ddbeta: Array, dz: Array, cache: Cache
) -> tuple[Array, Array, Array, Array]:
    """Gradients, for dz and forward's x, gamma and beta, of a loss that depends on dx, dgamma and dbeta.

    Implements :eq:`bn-double-dz`, :eq:`bn-double-gamma`, :eq:`bn-double-y` and :eq:`bn-double-x`. `dz` and `cache`
    are the arguments of ``backward``, and ``ddx``, ``ddgamma``, ``ddbeta`` have the shapes of its results. The
    gradient for beta is zero, as dx, dgamma and dbeta do not depend on it.
    """
    checks.gradient_statistics(dz, (cache, Cache))
    y, sigma, gamma, _, shape, config = cache
    own = tuple(gamma.shape)
    for name, value, expected in (("ddx", ddx, shape), ("ddgamma", ddgamma, own), ("ddbeta", ddbeta, own)):
        check_shaped(name, value, expected, like=y, like_name="the forward pass", real=True)
    a, dz = split(ddx, config.norm_batch), split(dz, config.norm_batch)
    dy = gamma * dz
    g, psi = mean(dy), mean(y * dy)  # eq: bn-gradient-statistics (5)
    dx = (dy - g - y * psi) / sigma  # eq: bn-backward (4)
    psi_a = mean(y * a)
    moved = (a - mean(a) - y * psi_a) / sigma  # eq: bn-double-dz
    ddz = gamma * moved + ddgamma * y + ddbeta  # eq: bn-double-dz
    w = ddgamma * dz - (a * psi + dy * psi_a) / sigma  # eq: bn-double-y
    dx_again = (w - mean(w) - y * (mean(y * w) + mean(a * dx))) / sigma  # eq: bn-double-x
    dgamma = total(dz * moved)  # eq: bn-double-gamma
    return merge(ddz, shape), merge(dx_again, shape), dgamma, 0 * ddbeta
