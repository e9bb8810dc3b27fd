"""The solutions from Batch Renormalization to MABN give the package's own numbers over a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mabn_ref.learn.exercise import find, run_source
from mabn_ref.nn import centralize
from mabn_ref.norms import batch_renorm, mabn, modified_batch_norm, rms_norm

C, STEPS = 3, 9
GAMMA, BETA = np.array([0.7, -1.3, 1.1]), np.array([0.2, -0.4, 0.1])


def solution(name: str) -> SimpleNamespace:
    return run_source(find(name).solution, f"{name}_solution")


def steps() -> Any:
    rng = np.random.default_rng(5)
    return [tuple(rng.uniform(0.3, 2.0) * rng.standard_normal((2, 4, 2, 5, C))) for _ in range(STEPS)]


def agree(found: Any, right: Any) -> None:
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_batch_renormalization() -> None:
    """eq: brn-forward, brn-corrections, brn-backward"""
    forward, backward = solution("brn_forward"), solution("brn_backward")
    config = batch_renorm.Config(eps=0.1, decay=0.8, r_max=1.2, d_max=0.2)
    theirs = batch_renorm.init(C, config, dtype=np.float64)
    ours = forward.State(theirs.mean, np.sqrt(theirs.var + config.eps))
    for x, dz in steps():
        z, cache, ours = forward.forward(x, GAMMA, BETA, ours, 0.1, 0.8, 1.2, 0.2)
        z_right, cache_right, theirs = batch_renorm.forward(x, GAMMA, BETA, theirs, config)
        agree([z, ours.mean, ours.sigma], [z_right, theirs.mean, np.sqrt(theirs.var + config.eps)])
        agree(backward.backward(dz, backward.Cache(*cache)), batch_renorm.backward(dz, cache_right, theirs)[:3])


def test_modified_form() -> None:
    """eq: modified-normalise, modified-backward"""
    code, config = solution("modified_bn"), modified_batch_norm.Config(eps=0.1)
    state = modified_batch_norm.init(C, config, dtype=np.float64)
    for x, dz in steps():
        z, cache = code.forward(x, GAMMA, BETA, 0.1)
        z_right, cache_right, state = modified_batch_norm.forward(x, GAMMA, BETA, state, config)
        agree([z, *code.backward(dz, cache)], [z_right, *modified_batch_norm.backward(dz, cache_right, state)[:3]])


@pytest.mark.parametrize(
    ("name", "module", "settings"),
    [
        ("modified BN", modified_batch_norm, {}),
        ("FRN", rms_norm, {"axes": "positions"}),
        ("RMSNorm", rms_norm, {"axes": "channels"}),
    ],
)
def test_three_normalisers(name: str, module: Any, settings: dict[str, Any]) -> None:
    """eq: rms-normalise, rms-backward, modified-backward"""
    code, config = solution("three_normalisers"), module.Config(eps=0.1, **settings)
    x, dz = steps()[0]
    axes = code.axes_of(name, x.ndim)
    z, cache = code.forward(x, GAMMA, BETA, 0.1, axes)
    z_right, held, state = module.forward(x, GAMMA, BETA, module.init(C, config, dtype=np.float64), config)
    agree([z, *code.backward(dz, cache, axes)], [z_right, *module.backward(dz, held, state)[:3]])


def test_centralisation() -> None:
    """eq: centralize-forward, centralize-backward"""
    code = solution("weight_centralization")
    w, dw_c = np.random.default_rng(0).standard_normal((2, 2, 3, 5, 4))
    w_c, cache = centralize.forward(w)
    agree([code.forward(w), code.backward(dw_c)], [w_c, centralize.backward(dw_c, cache)])


def test_mabn() -> None:
    """eq: mabn-forward, mabn-renormalise, mabn-backward"""
    code, back = solution("mabn_forward"), solution("mabn_backward")
    config = mabn.Config(eps=0.1, window=3, decay=0.8, clip=1.1)
    theirs = mabn.init(C, config, dtype=np.float64)
    ours, psi_window = code.State(np.ones(C), np.zeros((0, C))), np.zeros((0, C))
    for x, dz in steps():
        z, cache, ours = code.forward(x, GAMMA, BETA, ours, 0.1, 3, 0.8, 1.1)
        z_right, cache_right, theirs = mabn.forward(x, GAMMA, BETA, theirs, config)
        *gradients, psi_window = back.backward(dz, back.Cache(*cache), psi_window, 3)
        *right, theirs = mabn.backward(dz, cache_right, theirs)
        agree([z, ours.chi2, *gradients], [z_right, theirs.chi2, *right])


@pytest.mark.parametrize("ahead", [0, 3])
def test_mabn_with_warm_up(ahead: int) -> None:
    """Forward passes run ahead of the backward passes, or not.

    eq: mabn-forward, mabn-backward
    """
    code = solution("mabn_warmup")
    settings: dict[str, Any] = {"eps": 0.1, "window": 3, "decay": 0.8, "clip": 1.1, "warmup": 5}
    config, own = mabn.Config(renorm_from=5, **settings), code.Config(**settings)
    theirs = mabn.init(C, config, dtype=np.float64)
    ours = code.State(np.ones(C), np.zeros((0, C)), np.zeros((0, C)), 0)
    waiting: list[Any] = []
    for x, dz in steps():
        z, cache, ours = code.forward(x, GAMMA, BETA, ours, own)
        z_right, cache_right, theirs = mabn.forward(x, GAMMA, BETA, theirs, config)
        agree([z, ours.chi2, ours.iteration], [z_right, theirs.chi2, theirs.iteration])
        waiting.append((dz, cache, cache_right))
        if len(waiting) > ahead:
            dz, cache, cache_right = waiting.pop(0)
            *gradients, ours = code.backward(dz, cache, ours, own)
            *right, theirs = mabn.backward(dz, cache_right, theirs)
            agree(gradients, right)


def test_adjoint() -> None:
    """MABN over a run in one call, its window full of zeros of Psi before.

    eq: mabn-backward
    """
    code, m, samples = solution("adjoint"), 3, 4
    config = mabn.Config(norm_batch=samples, window=m, clip=1.0)
    begin = mabn.init(1, config, dtype=np.float64)._replace(chi2_window=np.full((m, 1), 0.7), iteration=m)
    x, u = np.random.default_rng(1).standard_normal((2, STEPS, samples))
    _, cache, state = mabn.forward(x.reshape(-1, 1), np.ones(1), np.zeros(1), begin, config)
    right = mabn.backward(u.reshape(-1, 1), cache, state)[0].reshape(x.shape)

    def behind(values: Any) -> Any:
        return code.future_mean(values[::-1], m)[::-1]

    agree(code.mabn(x, u, cache.chi[:, 0, 0], behind), right)
