"""Checks of the axes, of `forward` and of `backward`, each normaliser on arrays of rank 3 and 4."""

from collections import namedtuple

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, add_gradients, batch, close, gradient_judges, part, root_faults

Cache = namedtuple("Cache", ["y", "chi", "gamma"])
NAMES = ("modified BN", "FRN", "RMSNorm")


def draw(rng, k):
    case = batch(rng, 1 + k // 3 % 2)
    case.eps = (1e-5, 0.1, 1.0)[(k + k // 3) % 3]
    case.name = NAMES[k % 3]
    case.over = _axes(case.name, case.x.ndim)
    case.at = f"for {case.name} and x of shape {case.x.shape}, "
    case.cache = Cache(*_normalised(case, case.x), case.gamma)
    return add_gradients(case, lambda x: _normalised(case, x)[0])


def _axes(name, rank):
    return {"modified BN": tuple(range(rank - 1)), "FRN": tuple(range(1, rank - 1)), "RMSNorm": (rank - 1,)}[name]


def _mean_square(case, x):
    return np.mean(x**2, axis=case.over, keepdims=True)


def _normalised(case, x):
    chi = np.sqrt(_mean_square(case, x) + case.eps)
    return x / chi, chi


def _letters(case, name, axes):
    """The axes by their letters, as a word."""
    rank, letters = case.x.ndim, list(case.axes)
    if not isinstance(axes, tuple) or not all(
        isinstance(axis, int | np.integer) and -rank <= axis < rank for axis in axes
    ):
        raise Malformed(f"axes_of({name!r}, {rank}) is not a tuple of axes, each from {-rank} to {rank - 1}")
    return "".join(sorted({letters[axis] for axis in axes}, key=letters.index))


def observe_axes(code, case):
    return {f"axes of {of}": part(lambda of=of: _letters(case, of, code.axes_of(of, case.x.ndim))) for of in NAMES}


def _judge_axes(name):
    def judge(word, case):
        right = [list(case.axes)[axis] for axis in _axes(name, case.x.ndim)]
        if word != "".join(right):
            yield (
                f"for x of shape {case.x.shape}, your {name} has one mean square for values that differ in "
                f"{' and '.join(word) or 'nothing'}; it should be {' and '.join(right)}{' alone' * (len(right) == 1)}"
            )

    return judge


def judge_z(z, case):
    y = (z - case.beta) / case.gamma
    q, found = _mean_square(case, case.x), _mean_square(case, y)
    if not close(found * (q + case.eps), q):
        yield (
            "the mean square of (z - beta) / gamma over the axes is not q / (q + eps), where q is the mean square "
            f"of x over the same axes and eps = {case.eps:g}"
        )
    if not close(y * np.sqrt(q), case.x * np.sqrt(found)):
        yield "(z - beta) / gamma has the right mean square, but is not x times one number for each set"


def judge_cache(cache, case):
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"
    otherwise = f"cache.chi squared is not the mean square over the axes plus eps, with eps = {case.eps:g}"
    yield from root_faults("cache.chi", cache.chi, _mean_square(case, case.x) + case.eps, otherwise)
    if not close(cache.y * cache.chi, case.x):
        yield "cache.y times cache.chi does not give x back"


CHECKS = (
    Check(observe_axes, {f"axes of {name}": _judge_axes(name) for name in NAMES}),
    Check.of("forward(x, gamma, beta, eps, over)", {"z": judge_z, "cache": judge_cache}),
    Check.of("backward(dz, cache, over)", gradient_judges(at="{case.at}")),
)
