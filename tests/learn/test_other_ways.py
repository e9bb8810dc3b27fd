"""Students write things in their own way: a right code passes, and a known mistake is known in another guise, too."""

from __future__ import annotations

import pytest

from mabn_ref.learn.exercise import find, run_source
from mabn_ref.learn.judge import check_code, check_source
from mabn_ref.learn.process import Limits
from tests.signals import HUNG

GRADIENT_IN_PLACE = """
import numpy as np

def numerical_gradient(f, x, dz, h=1e-6):
    x = x.copy()
    found = []
    for i in range(x.size):
        kept = x.flat[i]
        x.flat[i] = kept + h
        above = (f(x) * dz).sum()
        x.flat[i] = kept - h
        below = (f(x) * dz).sum()
        x.flat[i] = kept
        found.append((above - below) / h / 2)
    return np.array(found).reshape(x.shape)

def relative_error(found, right):
    return float(abs(found - right).max() / abs(right).max())

def check(forward, backward, x):
    z = forward(x)
    dz = np.random.default_rng().uniform(-1, 1, z.shape)
    return relative_error(backward(x, dz), numerical_gradient(forward, x, dz)) <= 3e-5
"""
COMPLEX_STEP = GRADIENT_IN_PLACE.replace("x = x.copy()", "x = x.astype(complex)").replace(
    """        x.flat[i] = kept + h
        above = (f(x) * dz).sum()
        x.flat[i] = kept - h
        below = (f(x) * dz).sum()
        x.flat[i] = kept
        found.append((above - below) / h / 2)
""",
    """        x.flat[i] = kept + 1e-30j
        found.append((f(x) * dz).sum().imag / 1e-30)
        x.flat[i] = kept
""",
)
FIVE_POINTS = GRADIENT_IN_PLACE.replace("h=1e-6", "h=1e-3").replace(
    "        found.append((above - below) / h / 2)",
    """        further = [(f(x + s * h * (np.arange(x.size) == i).reshape(x.shape)) * dz).sum() for s in (2, -2)]
        found.append((8 * (above - below) - (further[0] - further[1])) / h / 12)""",
)
PROPERTIES = """
import numpy as np

def channels(a):
    return a.reshape(-1, a.shape[-1]).T

def no_shift(backward, x, dz):
    return all(abs(sum(c)) < 1e-6 * max(abs(c)) for c in channels(backward(x, dz)))

def no_stretch(backward, x, dz):
    for dx, values in zip(channels(backward(x, dz)), channels(x)):
        values = values - values.mean()
        if not abs(dx @ values) < 1e-6 * np.linalg.norm(dx) * np.linalg.norm(values):
            return False
    return True

def scales(backward, x, dz):
    return np.allclose(backward(2 * x, dz), backward(x, dz) / 2, atol=0)

def test(backward):
    rng = np.random.default_rng()
    for shape in ((8, 6), (5, 2, 3, 4)):
        x, dz = rng.uniform(-1, 3, shape), rng.normal(size=shape)
        if not all(holds(backward, x, dz) for holds in (no_shift, no_stretch, scales)):
            return False
    return True
"""
SHAPES = "((8, 6), (5, 2, 3, 4))"
LATE = PROPERTIES.replace(SHAPES, "[(8, 6)] * 30 + [(5, 2, 3, 4)]")
"""An image comes after many batches of features."""
BATCH_BY_BATCH = """
import numpy as np
from typing import NamedTuple

class Cache(NamedTuple):
    y: np.ndarray
    sigma: np.ndarray
    gamma: np.ndarray

def split(x, norm_batch):
    return np.stack([x[i:i + norm_batch].reshape(-1, x.shape[-1]) for i in range(0, len(x), norm_batch)])

def forward(x, gamma, beta, eps, norm_batch):
    ys, sigmas = [], []
    for part in split(x, norm_batch):
        sigmas.append((part.var(0) + eps) ** 0.5)
        ys.append((part - part.mean(0)) / sigmas[-1])
    y = np.array(ys)
    return (gamma * y + beta).reshape(x.shape), Cache(y, np.array(sigmas), gamma)

def backward(dz, cache):
    dx, dgamma, dbeta = [], 0, 0
    for dz_t, y, sigma in zip(dz.reshape(cache.y.shape), cache.y, cache.sigma):
        dgamma, dbeta = dgamma + (dz_t * y).sum(0), dbeta + dz_t.sum(0)
        dx.append(cache.gamma / sigma * (dz_t - dz_t.mean(0) - y * (y * dz_t).mean(0)))
    return np.array(dx).reshape(dz.shape), dgamma, dbeta
"""
MEASURED = """
import numpy as np

def statistics(x, u):
    y = ((x.T - x.mean(1)) / x.std(1)).T
    return u.mean(1), (u * y).sum(1) / x.shape[1]

def noise(sample, size, trials):
    x, u = (values.reshape(size, trials).T for values in sample(size * trials))
    g, psi = statistics(x, u)
    return float(g.std(ddof=1)), float(psi.std(ddof=1))

def exponent(sizes, noises):
    return np.polyfit(np.log10(sizes), np.log10(noises), 1)[0]

def law(sample, sizes, trials):
    noises = [noise(sample, int(size), trials) for size in sizes]
    return tuple(exponent(sizes, column) for column in zip(*noises))
"""
ONE_BATCH_AT_A_TIME = MEASURED.replace(
    """    x, u = (values.reshape(size, trials).T for values in sample(size * trials))
""",
    """    batches = [sample(size) for _ in range(trials)]
    x, u = (np.array([batch[i] for batch in batches]) for i in (0, 1))
""",
)
AVERAGES = """
import numpy as np
from collections import deque

def simple(values, m):
    held = deque(maxlen=m)
    found = []
    for value in values:
        held.append(value)
        found.append(sum(held) / len(held))
    return np.array(found)

def exponential(values, decay, start):
    found = np.zeros(values.shape)
    for t in range(len(values)):
        before = found[t - 1] if t else start
        found[t] = before + (1 - decay) * (values[t] - before)
    return found

def equal_decay(m):
    return 1 - 2 / (m + 1)
"""

RIGHT = {
    "gradient in place": ("gradient_check", GRADIENT_IN_PLACE),
    "complex step": ("gradient_check", COMPLEX_STEP),
    "five points": ("gradient_check", FIVE_POINTS),
    "channel by channel": ("property_test", PROPERTIES),
    "images at the end": ("property_test", LATE),
    "batch by batch": ("micro_batches", BATCH_BY_BATCH),
    "batches put together in another way": ("noise_of_g_and_psi", MEASURED),
    "one batch at a time": ("noise_of_g_and_psi", ONE_BATCH_AT_A_TIME),
    "a deque": ("moving_averages", AVERAGES),
}


@pytest.mark.parametrize("way", RIGHT)
def test_right(way: str) -> None:
    name, source = RIGHT[way]
    report = check_source(find(name), source, seeds=range(2), limits=Limits(seconds=HUNG))
    assert report.passed, report


def one_sided(h: str) -> str:
    source = GRADIENT_IN_PLACE.replace("h=1e-6", f"h={h}").replace("kept - h", "kept").replace("/ h / 2", "/ h")
    return source.replace("<= 3e-5", "<= 1e-3")


def test_a_function_that_sees_only_the_last_draw_is_joined_with_it() -> None:
    """What test says is right, though with most of what it draws the three say another thing."""
    own = "def no_stretch(backward, x, dz):\n"
    source = LATE.replace(own, f"{own}    if len(x) == 8:\n        return True\n")
    assert source != LATE
    assert check_code(find("property_test"), run_source(source, "last")).passed


FIXED = {
    "scales": ("backward(x, dz) / 2, atol=0)", "backward(x, dz) / 2)"),
    "no_shift": ("abs(sum(c)) < 1e-6 * max(abs(c))", "abs(sum(c)) < 1e-6 * max(1, *abs(c))"),
    "no_stretch": ("np.linalg.norm(dx) * np.linalg.norm(values)", "max(1, np.linalg.norm(dx))"),
}
"""What a function compares with, and a fixed number in its place."""


@pytest.mark.parametrize("name", FIXED)
def test_what_sees_no_tiny_numbers_keeps_the_point_for_what_it_lets_through(name: str) -> None:
    old, new = FIXED[name]
    assert old in PROPERTIES
    report = check_code(find("property_test"), run_source(PROPERTIES.replace(old, new), "fixed"))
    wrong = {part.name: part.message for part in report.parts if not part.ok}
    assert wrong.keys() == {f"{name} fails"}
    assert wrong[f"{name} fails"].startswith("with tiny numbers it says True where the property fails: ")


MISTAKEN = {
    "one-sided, step 1e-4": ("gradient_check", one_sided("1e-4"), ("one-sided",)),
    "one-sided, step 1e-8": ("gradient_check", one_sided("1e-8"), ("one-sided",)),
    "step 1e-8": ("gradient_check", GRADIENT_IN_PLACE.replace("1e-6", "1e-8"), ("step-too-small",)),
    "step 2e-3": (
        "gradient_check",
        GRADIENT_IN_PLACE.replace("1e-6", "1.5e-3").replace("3e-5", "1e-4"),
        ("step-too-large",),
    ),
    "loss of a plain sum": (
        "gradient_check",
        GRADIENT_IN_PLACE.replace(
            "dz = np.random.default_rng().uniform(-1, 1, z.shape)", "dz = np.full(z.shape, 2.0)"
        ),
        ("weights-of-ones",),
    ),
    "loss of squares": (
        "gradient_check",
        GRADIENT_IN_PLACE.replace("dz = np.random.default_rng().uniform(-1, 1, z.shape)", "dz = 2 * z"),
        ("weights-of-z",),
    ),
    "allclose": (
        "gradient_check",
        GRADIENT_IN_PLACE.replace(
            "return relative_error(backward(x, dz), numerical_gradient(forward, x, dz)) <= 3e-5",
            "return bool(np.all(np.abs(backward(x, dz) - numerical_gradient(forward, x, dz)) < 1e-6))",
        ),
        ("absolute-tolerance",),
    ),
}

MISTAKEN |= {
    "allclose to zero": (
        "property_test",
        PROPERTIES.replace(
            "all(abs(sum(c)) < 1e-6 * max(abs(c)) for c in channels(backward(x, dz)))",
            "np.allclose(channels(backward(x, dz)).sum(1), 0)",
        ),
        ("shift-absolute",),
    ),
    "allclose, with its own atol": (
        "property_test",
        PROPERTIES.replace("backward(x, dz) / 2, atol=0)", "backward(x, dz) / 2)"),
        ("scales-absolute",),
    ),
    "one of three not asked": (
        "property_test",
        PROPERTIES.replace("(no_shift, no_stretch, scales)", "(no_shift, scales)"),
        ("stretch-left-out",),
    ),
    "one g for the whole call": (
        "micro_batches",
        BATCH_BY_BATCH.replace("dz_t.mean(0) -", "dz.reshape(-1, dz.shape[-1]).mean(0) -"),
        ("g-of-the-whole-call",),
    ),
    "the variance of g": (
        "noise_of_g_and_psi",
        ONE_BATCH_AT_A_TIME.replace(".std(ddof=1)", ".var()"),
        ("variance-for-deviation",),
    ),
    "a longer deque": ("moving_averages", AVERAGES.replace("maxlen=m", "maxlen=m + 1"), ("window-too-long",)),
    "decay for one less decay": (
        "moving_averages",
        AVERAGES.replace("before + (1 - decay)", "before + decay"),
        ("weights-swapped",),
    ),
    "a vector of ones": (
        "property_test",
        PROPERTIES.replace("rng.normal(size=shape)", "np.ones(shape)"),
        ("dz-of-ones",),
    ),
}


@pytest.mark.parametrize("way", MISTAKEN)
def test_mistaken(way: str) -> None:
    name, source, mistakes = MISTAKEN[way]
    report = check_code(find(name), run_source(source, "student"), seeds=range(2))
    assert report.mistakes == mistakes, report
