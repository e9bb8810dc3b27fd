"""From Batch Renormalization to the adjoint, written in other ways: right code passes, mistakes are known again."""

from __future__ import annotations

import pytest

from mabn_ref.learn.exercise import find, run_source
from mabn_ref.learn.judge import check_code, check_source
from mabn_ref.learn.process import Limits
from tests.signals import HUNG

BRN_GRAPH = """
import numpy as np

def backward(dz, cache):
    shape, channels = dz.shape, dz.shape[-1]
    dz, y = dz.reshape(-1, channels), cache.y.reshape(-1, channels)
    values = len(dz)
    dgamma, dbeta = ((cache.r * y + cache.d) * dz).sum(0), dz.sum(0)
    dy = dz * cache.gamma * cache.r
    centred = y * cache.sigma
    dvar = (dy * centred).sum(0) * -0.5 * cache.sigma**-3
    dcentred = dy / cache.sigma + 2 / values * centred * dvar
    dx = dcentred - dcentred.mean(0)
    return dx.reshape(shape), dgamma, dbeta
"""
CENTRE_EINSUM = """
import numpy as np

def forward(w):
    n = w[..., 0].size
    flat = w.reshape(n, -1)
    return (flat - np.ones((n, n)) @ flat / n).reshape(w.shape)

def backward(dw_c):
    return forward(dw_c)

def output_means(w_c, mu):
    return np.einsum("hwio,i->o", w_c, mu)
"""
MABN_CHANNELS = """
from collections import deque
from typing import NamedTuple
import numpy as np

class State(NamedTuple):
    chi2: np.ndarray
    chi2_window: np.ndarray

class Cache(NamedTuple):
    y: np.ndarray
    chi: np.ndarray
    r: np.ndarray
    gamma: np.ndarray

def forward(x, gamma, beta, state, eps, window, decay, clip):
    y, z, kept = np.empty_like(x), np.empty_like(x), []
    chi, r, chi2 = np.empty_like(gamma), np.empty_like(gamma), np.empty_like(gamma)
    for c in range(len(gamma)):
        q = float((x[..., c] ** 2).mean())
        last = deque(state.chi2_window[:, c], maxlen=window)
        last.append(q)
        kept.append(list(last))
        chi[c] = (sum(last) / len(last) + eps) ** 0.5
        r[c] = min(max(chi[c] / (state.chi2[c] + eps) ** 0.5, 1 / clip), clip)
        y[..., c] = x[..., c] / chi[c]
        z[..., c] = gamma[c] * r[c] * y[..., c] + beta[c]
        chi2[c] = q + decay * (state.chi2[c] - q)
    return z, Cache(y, chi, r, gamma), State(chi2, np.array(kept).T)
"""
MABN_GRAPH = """
import numpy as np

def backward(dz, cache, psi_window, window):
    axes = tuple(range(dz.ndim - 1))
    values = dz[..., 0].size
    dy = cache.gamma * cache.r * dz
    x = cache.y * cache.chi
    dlog = -(dy * cache.y).sum(axes) / values
    rows = list(psi_window) + [-dlog]
    if len(rows) > window:
        rows.pop(0)
    mean = -sum(rows) / len(rows)
    dx = dy / cache.chi + 2 * x / values * values * mean / (2 * cache.chi**2)
    return dx, cache.r * (dz * cache.y).sum(axes), dz.sum(axes), np.stack(rows)
"""
ADJOINT = """
import numpy as np

def matrix(n, window):
    return sum(np.eye(n, k=-k) for k in range(window)) / window

def future_mean(values, window):
    return values @ matrix(len(values), window)

def one_call(x, u, chi, window):
    dchi = -(u * x).sum(1) / chi**2
    return u / chi[:, None] + (dchi / (2 * chi) / window)[:, None] * 2 * x / x.shape[1]

def all_calls(x, u, chi, ahead):
    dq = ahead(-(u * x).sum(1) / (2 * chi**3))
    return u / chi[:, None] + 2 * x * dq[:, None] / x.shape[1]

def mabn(x, u, chi, behind):
    y = (x.T / chi).T
    return ((u - y * behind((y * u).mean(1)).reshape(-1, 1)).T / chi).T
"""

RIGHT = {
    "through the graph": ("brn_backward", BRN_GRAPH),
    "a matrix": ("weight_centralization", CENTRE_EINSUM),
    "channel by channel": ("mabn_forward", MABN_CHANNELS),
    "through the graph, a list": ("mabn_backward", MABN_GRAPH),
    "through the graph, a matrix": ("adjoint", ADJOINT),
}


@pytest.mark.parametrize("way", RIGHT)
def test_right(way: str) -> None:
    name, source = RIGHT[way]
    report = check_source(find(name), source, seeds=range(3), limits=Limits(seconds=HUNG))
    assert report.passed, report


MISTAKEN = {
    "r behind the graph, too": (
        "brn_backward",
        BRN_GRAPH.replace("return dx.reshape(shape)", "return dx.reshape(shape) * cache.r"),
        ("r-twice",),
    ),
    "r in front and r behind": (
        "mabn_backward",
        MABN_GRAPH.replace("return dx", "return cache.r * dx"),
        ("r-twice",),
    ),
    "r where y is, and again": (
        "mabn_backward",
        MABN_GRAPH.replace("dy = cache.gamma * cache.r * dz", "dy = cache.r * (cache.gamma * cache.r * dz)"),
        ("r-squared",),
    ),
    "every route of an automatic derivative": (
        "brn_backward",
        BRN_GRAPH.replace(
            "    dx = dcentred - dcentred.mean(0)", "    dx = dz * cache.gamma / (cache.sigma / cache.r)"
        ),
        ("both-differentiated",),
    ),
    "kernel by kernel": (
        "weight_centralization",
        CENTRE_EINSUM.replace(
            "    return forward(dw_c)", "    return dw_c - dw_c.sum((0, 1)) / dw_c[..., 0, 0].size"
        ),
        ("backward-per-kernel",),
    ),
    "a deque one too long": (
        "mabn_forward",
        MABN_CHANNELS.replace("maxlen=window", "maxlen=window + 1"),
        ("not-trimmed",),
    ),
    "the average before its update": (
        "mabn_forward",
        MABN_CHANNELS.replace("q + decay * (state.chi2[c] - q)", "state.chi2[c] + decay * (q - state.chi2[c])"),
        ("weights-swapped",),
    ),
    "only its own share": (
        "mabn_backward",
        MABN_GRAPH.replace("mean = -sum(rows) / len(rows)", "mean = dlog / len(rows)"),
        ("one-call",),
    ),
    "two at a time": (
        "adjoint",
        ADJOINT.replace("values @ matrix", "matrix")
        .replace("window)\n\ndef one", "window) @ values\n\ndef one")
        .replace("/ (2 * chi) / window", "/ (2 * chi)"),
        ("looks-back", "whole-psi"),
    ),
}


@pytest.mark.parametrize("way", MISTAKEN)
def test_mistaken(way: str) -> None:
    name, source, mistakes = MISTAKEN[way]
    report = check_code(find(name), run_source(source, "student"), seeds=range(3))
    assert report.mistakes == mistakes, report
