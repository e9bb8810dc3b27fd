"""Checks of the two derivatives, numerically on a run, and of an adjoint as such."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, close, gradient, gradient_judge

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
    return case


def _mean(matrix):
    """The mean over a window, of the first axis of whatever is handed over."""

    def mean(values):
        values = np.asarray(values)
        return np.tensordot(matrix, values, 1) if values.shape[:1] == (T,) else np.full(T, np.nan)

    return mean


def observe_all_calls(code, case):
    return {"all_calls": code.all_calls(case.x, case.u, case.chi, _mean(case.average.T))}


def judge_future_mean(found, case):
    if not close(np.sum(case.average @ case.other * case.values), np.sum(case.other * found)):
        return "<past mean of a, b> is not <a, future_mean(b)>: it is not the transpose of the moving average"
    if not close(found, case.average.T @ case.values):
        return "future_mean is not the transpose of the moving average, though one scalar product agrees"
    return None


def judge_mabn(found, case):
    y = case.x / case.chi[:, None]
    psi = np.sum(y * case.u, axis=1) / M
    through = (case.u - found * case.chi[:, None]) * y / np.sum(y**2, axis=1)[:, None]
    if not close(np.sum(through, axis=1), case.average @ psi):
        return "what is taken from u / chi is not y / chi times the mean of the past Psi"
    if not close(found, (case.u - y * (case.average @ psi)[:, None]) / case.chi[:, None]):
        return "what is taken from u / chi is not in the direction of y"
    return None


CHECKS = (
    Check.of("future_mean", lambda code, case: code.future_mean(case.values, case.m), judge_future_mean),
    Check.of(
        "one_call",
        lambda code, case: code.one_call(case.x, case.u, case.chi, case.m),
        gradient_judge("one_call", of="each loss by its own x"),
    ),
    Check(observe_all_calls, {"all_calls": gradient_judge("all_calls", of="the sum of all losses")}),
    Check.of("mabn", lambda code, case: code.mabn(case.x, case.u, case.chi, _mean(case.average)), judge_mabn),
)
