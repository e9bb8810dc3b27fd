"""Folding, training, the hunts: they pass solved in another way, and a mistake is known in another guise."""

from __future__ import annotations

import pytest

from mabn_ref.learn.exercise import find, run_source
from mabn_ref.learn.judge import check_code, check_source
from mabn_ref.learn.process import Limits
from tests.signals import HUNG

FOLDING = """
import numpy as np

def line(gamma, beta, m, q, eps):
    def z(x):
        return gamma * (x - m) / np.sqrt(q + eps) + beta
    return z(np.ones(len(m))) - z(0), z(0)

def fold(w, s, t):
    k = np.empty_like(w)
    for o in range(w.shape[-1]):
        k[..., o] = s[o] * (w[..., o] - w[..., o].mean())
    return k, np.array(t)
"""
IN_PLACE = """
import math
import statistics
import numpy as np

def train(gradients, params, state, batches, lr, momentum):
    v, losses = {}, []
    params = {name: p.copy() for name, p in params.items()}
    for batch in batches:
        loss, grads, state = gradients(params, state, batch)
        losses += [float(loss)]
        for name in params:
            v[name] = lr * grads[name] + (momentum * v[name] if name in v else 0)
            params[name] -= v[name]
    return params, state, losses

def compare(run, rows, base, seeds, t):
    errors = {row: [run(row, seed) for seed in seeds] for row in rows}
    found = {}
    for row, values in errors.items():
        d = [a - b for a, b in zip(values, errors[base])]
        found[row] = [statistics.fmean(d), t * statistics.stdev(d) / math.sqrt(len(d))]
    return found
"""


def mended(name: str, *changes: tuple[str, str]) -> str:
    """The file as it is given, with these changes."""
    source = find(name).skeleton
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


KEPT = "z, _, state = normalise(x, gamma, beta, state, settings)"
AGAIN = "_, cache, _ = normalise(*kept)"
COMPUTED = """x, (r, d), axes = kept['x'], kept['rd'], tuple(range(dz.ndim - 1))
    sigma = np.sqrt(np.var(x, axis=axes) + kept['eps'])
    cache = ((x - np.mean(x, axis=axes)) / sigma, sigma, r, d, kept['gamma'])"""
ONES = "np.ones(x.shape)"
RIGHT = {
    "folding, filter by filter": ("folding", FOLDING),
    "training in place": ("train_and_compare", IN_PLACE),
    "eps taken off where it is stored": (
        "hunt_eps_twice",
        mended("hunt_eps_twice", ("(1 - decay) * var", "(1 - decay) * (var - eps)")),
    ),
    "the state kept under another name": (
        "hunt_recompute",
        mended(
            "hunt_recompute",
            (KEPT, f"old = state\n    {KEPT}"),
            ("beta, state, settings)\n\n\ndef b", "beta, old, settings)\n\n\ndef b"),
        ),
    ),
    "r and d kept": (
        "hunt_recompute",
        mended(
            "hunt_recompute",
            (KEPT, KEPT.replace("_", "(_, _, r, d, _)")),
            (
                "Kept(x, gamma, beta, state, settings)\n",
                "{'x': x, 'gamma': gamma, 'rd': [r, d], 'eps': settings.eps}\n",
            ),
            (AGAIN, COMPUTED),
        ),
    ),
    "the root of a ratio": ("hunt_r", mended("hunt_r", ("var / std_hat,", "np.sqrt(var / (var_hat + eps)),"))),
    "NumPy's own correction": (
        "hunt_bessel",
        mended("hunt_bessel", ("var * m / (m - 1)", "np.var(x, axis=axes, ddof=1)")),
    ),
    "uniform weights": (
        "hunt_gradient_test",
        mended("hunt_gradient_test", (ONES, "np.random.default_rng().uniform(0, 1, x.shape)")),
    ),
    "weights that are no accident": (
        "hunt_gradient_test",
        mended("hunt_gradient_test", (ONES, "np.cos(np.arange(x.size) ** 2.0).reshape(x.shape)")),
    ),
    "ones first, then chance": (
        "hunt_gradient_test",
        mended(
            "hunt_gradient_test",
            ("def gradient_test(forward, backward, x, seed):", "def blind(forward, backward, x, seed):"),
        )
        + "\n\ndef gradient_test(forward, backward, x, seed):\n"
        "    if not blind(forward, backward, x, seed):\n        return False\n"
        "    dz = np.random.default_rng(seed).standard_normal(x.shape)\n"
        "    dx = backward(x, dz)\n"
        "    for i in np.ndindex(x.shape):\n"
        "        h = np.zeros(x.shape)\n        h[i] = 1e-6\n"
        "        number = np.sum(dz * (forward(x + h) - forward(x - h))) / 2e-6\n"
        "        if not np.isclose(dx[i], number, rtol=1e-4, atol=1e-6):\n            return False\n"
        "    return np.bool_(True)\n",
    ),
}
for weights in (
    "0.5 + rng.random(x.shape)",
    "rng.normal(5, 1, x.shape)",
    "rng.integers(10, 20, x.shape)",
    "np.sin(forward(x)) - 20",
    "forward(x) + 0.01 * rng.standard_normal(x.shape)",
):
    RIGHT[f"weights {weights}"] = ("hunt_gradient_test", mended("hunt_gradient_test", (ONES, weights)))


@pytest.mark.parametrize("way", RIGHT)
def test_right(way: str) -> None:
    name, source = RIGHT[way]
    report = check_source(find(name), source, seeds=(0, 1), limits=Limits(seconds=HUNG))
    assert report.passed, report


GIVEN = ("hunt_eps_twice", "hunt_recompute", "hunt_r", "hunt_bessel")
MISTAKEN = {
    **{f"{name} as given": (name, find(name).skeleton, ("as-given",)) for name in GIVEN},
    "the gradient test as given": ("hunt_gradient_test", find("hunt_gradient_test").skeleton, ("ones",)),
    "a filter folded as stored": (
        "folding",
        FOLDING.replace("(w[..., o] - w[..., o].mean())", "w[..., o]"),
        ("as-stored",),
    ),
    "in place, the state lost": (
        "train_and_compare",
        IN_PLACE.replace("loss, grads, state = gradients", "loss, grads, new = gradients"),
        ("state-left-behind",),
    ),
    "in place, n for n - 1": ("train_and_compare", IN_PLACE.replace("stdev(d)", "pstdev(d)"), ("spread-over-n",)),
    "eps inferred out": (
        "hunt_eps_twice",
        mended("hunt_eps_twice", ("np.sqrt(state.var + eps)", "np.sqrt(state.var)")),
        ("eps-out-of-infer",),
    ),
    "gradients of batch normalisation": (
        "hunt_recompute",
        mended("hunt_recompute", (AGAIN, f"{AGAIN}\n    cache = (*cache[:2], 1.0, 0.0, cache[4])")),
        ("corrections-dropped",),
    ),
    "variance over variance": (
        "hunt_r",
        mended("hunt_r", ("var / std_hat,", "var / (var_hat + eps),")),
        ("ratio-of-variances",),
    ),
    "at least two samples": (
        "hunt_bessel",
        mended("hunt_bessel", ("m / (m - 1)", "m / (m - 1 if m > 1 else 1)")),
        ("guarded",),
    ),
    "squares": ("hunt_gradient_test", mended("hunt_gradient_test", (ONES, "2 * forward(x)")), ("twice-the-output",)),
}


@pytest.mark.parametrize("way", MISTAKEN)
def test_mistaken(way: str) -> None:
    name, source, mistakes = MISTAKEN[way]
    report = check_code(find(name), run_source(source, "student"), seeds=(0, 1))
    assert report.mistakes == mistakes, report


@pytest.mark.parametrize("centred", ["w", "w - np.mean(w)", "(w - w.mean((0, 1, 2))) / w.std((0, 1, 2))"])
def test_a_kernel_without_s_is_not_said_to_have_it_nor_to_be_centred(centred: str) -> None:
    """Each sentence holds beside the other."""
    folding = find("folding")
    source = folding.solution.replace("w - np.mean(w, axis=(0, 1, 2))", centred).replace("w_c * s", "w_c")
    report = check_code(folding, run_source(source, "unscaled"))
    assert report.mistakes[1:] == ("not-scaled",)
    assert not any(said in " ".join(report.sentences) for said in ("times s", "is the centred", "is the stored"))


@pytest.mark.parametrize(
    "weights",
    [
        "rng.integers(10, 20) + 3 * forward(x)",
        "1 + 1e-6 * rng.standard_normal(x.shape)",
        "1 - forward(x) + 1e-6 * rng.standard_normal(x.shape)",
    ],
)
def test_weights_that_show_next_to_nothing_are_found(weights: str) -> None:
    source = mended("hunt_gradient_test", (ONES, weights))
    parts = check_code(find("hunt_gradient_test"), run_source(source, "blind")).parts
    assert {part.name for part in parts if not part.ok} >= {"dz", "scaled"}
