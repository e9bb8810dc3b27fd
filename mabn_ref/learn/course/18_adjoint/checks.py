"""Checks of the two derivatives, numerically on a run, and of an adjoint as such."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, close, gradient, gradient_judge
from mabn_ref.learn.regression import Term, explain_sum

T, M = 7, 4
WINDOWS = (3, 2, 4, 7, 1, 3)


def draw(rng, k):
    case = SimpleNamespace(m=WINDOWS[k % len(WINDOWS)], axes={"T": T, "M": M})
    before = rng.uniform(0.5, 2.0, case.m - 1)  # mean squares of the batches before the run
    eps = (1e-5, 0.1, 1.0)[k % 3]
    case.x, case.u = rng.uniform(0.5, 2.0, (T, 1)) * rng.standard_normal((2, T, M))
    case.values, case.other = rng.standard_normal((2, T))

    def chi(x):
        q = np.concatenate([before, np.sum(x**2, axis=1) / M])
        return np.sqrt(np.array([np.sum(q[t : t + case.m]) / case.m for t in range(T)]) + eps)

    def iteration(t):
        """What one iteration makes of its own x, the rest of the run held."""
        return lambda x: x / chi(np.concatenate([case.x[:t], x[None], case.x[t + 1 :]]))[t]

    case.chi = chi(case.x)
    case.one_call = np.stack([gradient(iteration(t), case.x[t], case.u[t]) for t in range(T)])
    case.all_calls = gradient(lambda x: x / chi(x)[:, None], case.x, case.u)
    case.average = sum(np.eye(T, k=-j) for j in range(case.m)) / case.m  # of the past
    case.behind, case.ahead = _mean("behind", case.average), _mean("ahead", case.average.T)
    return case


def _mean(name, matrix):
    """The mean over a window, of the first axis of whatever is handed over, as a function of that name."""

    def mean(values):
        values = np.asarray(values)
        return np.tensordot(matrix, values, 1) if values.shape[:1] == (T,) else np.full(T, np.nan)

    mean.__name__ = name
    return mean


def judge_future_mean(found, case):
    if not close(np.sum(case.average @ case.other * case.values), np.sum(case.other * found)):
        yield "<past mean of a, b> is not <a, future_mean(b)>: it is not the transpose of the moving average"
    if not close(found, case.average.T @ case.values):
        yield "future_mean is not the transpose of the moving average, though one scalar product agrees"


def judge_mabn(found, case):
    y = case.x / case.chi[:, None]
    psi = np.sum(y * case.u, axis=1) / M
    through = (case.u - found * case.chi[:, None]) * y / np.sum(y**2, axis=1)[:, None]
    if not close(np.sum(through, axis=1), case.average @ psi):
        yield "what is subtracted from u / chi is not y / chi times the mean of the past Psi"
    if not close(found, (case.u - y * (case.average @ psi)[:, None]) / case.chi[:, None]):
        yield "what is subtracted from u / chi is not a multiple of y in each iteration"


def _psi(case):
    return np.sum(case.x * case.u, axis=1) / case.chi / M


def _along_x(times):
    """x times one number for each iteration."""
    return lambda case: {way: case.x * numbers[:, None] for way, numbers in times(case).items()}


def _future(case):
    felt, past = _psi(case) / case.chi**2, case.average
    return {"": past.T @ felt, "{names} {is} averaged over the past; the transpose averages the future": past @ felt}


def _remembered(case):
    psi, past = _psi(case), case.average
    return {
        "": past @ psi / case.chi**2,
        "{names} {is} averaged over the future, which MABN does not know yet": past.T @ psi / case.chi**2,
    }


def _explain(of, name, times):
    """The explainer of u / chi less what goes along x."""
    direct = Term("u / chi", 1, lambda case: {"": case.u / case.chi[:, None]})
    return {of: explain_sum(of, [direct, Term(name, -1, _along_x(times))])}


CHECKS = (
    Check.of("future_mean(values, m)", {"future_mean": judge_future_mean}),
    Check.of(
        "one_call(x, u, chi, m)",
        {"one_call": gradient_judge("one_call", of="each loss for its own x")},
        explain=_explain("one_call", "y * Psi / (m * chi)", lambda case: {"": _psi(case) / case.chi**2 / case.m}),
    ),
    Check.of(
        "all_calls(x, u, chi, ahead)",
        {"all_calls": gradient_judge("all_calls", of="the sum of all losses")},
        explain=_explain("all_calls", "x times the mean of Psi / chi^2", _future),
    ),
    Check.of(
        "mabn(x, u, chi, behind)",
        {"mabn": judge_mabn},
        explain=_explain("mabn", "x / chi^2 times the mean of Psi", _remembered),
    ),
)
