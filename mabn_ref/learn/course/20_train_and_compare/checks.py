"""Checks of `train` and `compare`, on a network of two layers of weights with a normaliser between."""

from types import SimpleNamespace

import numpy as np

from mabn_ref.learn.checking import Check, Malformed, close, described, formed, judge_that, part, unpack
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.train.table_layout import t_quantile

CASES = 3
SECONDS = 10
INPUTS, HIDDEN, SAMPLES, BATCH = 6, 5, 48, 8
ROWS = {
    "BN 8 + WC": (batch_norm, batch_norm.Config(norm_batch=8, decay=0.9)),
    "BN 2 + WC": (batch_norm, batch_norm.Config(norm_batch=2, decay=0.9)),
    "MABN 2 + WC": (mabn, mabn.Config(norm_batch=2, decay=0.9, window=4)),
}


def draw(rng, k):
    row = ("BN 2 + WC", "MABN 2 + WC")[k % 2]
    x = rng.standard_normal((SAMPLES, INPUTS))
    data = x, np.tanh(x @ rng.standard_normal((INPUTS, 1)))
    start = _start(rng, row)
    batches = [rng.permutation(SAMPLES)[:BATCH] for _ in range((1, 6, 4)[k % 3])]
    case = SimpleNamespace(data=data, row=row, start=start, batches=batches, lr=rng.uniform(0.02, 0.1))
    case.momentum = rng.uniform(0.5, 0.95)
    case.seeds = [int(seed) for seed in rng.permutation(20)[: 3 + k % 2]]
    case.t = t_quantile(len(case.seeds) - 1)
    case.errors = {}
    # the second of three rows, so that one has more errors and one has less
    case.base = sorted(ROWS, key=lambda row: sum(_error(case, row, seed) for seed in case.seeds))[1]
    return case


def _start(rng, row):
    module, config = ROWS[row]
    params = {
        "w": rng.standard_normal((INPUTS, HIDDEN)),
        "gamma": np.ones(HIDDEN),
        "beta": np.zeros(HIDDEN),
        "v": rng.standard_normal((HIDDEN, 1)) / HIDDEN,
    }
    return params, module.init(HIDDEN, config, dtype=np.float64)


def _gradients(case, params, state, batch, row=""):
    """Half the mean squared error on some samples, its gradients, and the new state."""
    module, config = ROWS[row or case.row]
    x, target = (values[batch] for values in case.data)
    out = x @ (params["w"] - np.mean(params["w"], axis=0))
    y, cache, state = module.forward(out, params["gamma"], params["beta"], module.State(*state), config)
    error = y @ params["v"] - target
    dout, dgamma, dbeta, state = module.backward(error @ params["v"].T / len(batch), cache, state)
    dw = x.T @ dout
    grads = {"w": dw - np.mean(dw, axis=0), "gamma": dgamma, "beta": dbeta, "v": y.T @ error / len(batch)}
    return np.mean(error**2) / 2, grads, state


def _error(case, row, seed):
    """Train with this seed and test on all data; once only for each row and seed."""
    if (row, seed) not in case.errors:
        rng = np.random.default_rng(seed)
        params, state = _start(rng, row)
        for _ in range(10):
            _, grads, state = _gradients(case, params, state, rng.permutation(SAMPLES)[:BATCH], row)
            params = {name: p - 0.1 * grads[name] for name, p in params.items()}
        module, config = ROWS[row]
        out = case.data[0] @ (params["w"] - np.mean(params["w"], axis=0))
        y = module.infer(out, params["gamma"], params["beta"], state, config)
        case.errors[row, seed] = float(np.mean((y @ params["v"] - case.data[1]) ** 2))
    return case.errors[row, seed]


def _times(count):
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")


def observe_train(code, case):
    """What is wrong with each of the three, given what `gradients` answered: nothing is counted twice."""
    calls = []

    def gradients(params, state, batch):
        formed("params", params, first)
        formed("state", state, start)
        if np.size(batch) > SAMPLES:
            raise Malformed(f"batch has {np.size(batch)} samples, expected those of one of batches")
        answer = _gradients(case, params, state, batch)
        calls.append(({name: np.array(value) for name, value in params.items()}, state, *answer))
        return answer

    first, start = case.start
    given = {name: value.copy() for name, value in first.items()}
    result = code.train(gradients, given, start, case.batches, case.lr, case.momentum)
    params, last, losses = unpack("train", result, "params", "state", "losses")
    if len(calls) != len(case.batches):
        often, there_are = _times(len(calls)), _times(len(case.batches))
        raise Malformed(f"train calls gradients {often}, expected once for each batch, so {there_are}")

    path, states, right_losses, grads, new_states = map(list, zip(*calls, strict=True))

    def beside_the_states():
        pairs = list(zip([*states, formed("state", last, start)], [start, *new_states], strict=True))
        return tuple(np.array([found[i] - right[i] for found, right in pairs]) for i in range(len(start)))

    def beside_the_losses():
        formed("losses", losses, right_losses)
        return [found - right for found, right in zip(losses, right_losses, strict=True)]

    return {
        "params": part(lambda: _off(first, [*path, formed("params", params, first)], grads, case)),
        "state": part(beside_the_states),
        "losses": part(beside_the_losses),
    }


def _off(first, path, grads, case):
    """By how much the parameters are beside the path on which the gradients lead, at each step."""
    params, velocity, off = first, dict.fromkeys(first, 0.0), []
    for found, grad in zip(path, [*grads, None], strict=True):
        off.append({name: found[name] - right for name, right in params.items()})
        if grad is not None:
            velocity = {name: case.momentum * v + grad[name] for name, v in velocity.items()}
            params = {name: p - case.lr * velocity[name] for name, p in params.items()}
    return {name: np.stack([o[name] for o in off]) for name in first}


def observe_compare(code, case):
    def run(row, seed):
        if row not in ROWS or seed not in case.seeds:
            raise Malformed(f"row is {row!r} and seed is {seed!r}, expected one of rows and one of seeds")
        return _error(case, row, int(seed))

    compared = code.compare(run, list(ROWS), case.base, case.seeds, case.t)
    if not isinstance(compared, dict) or set(compared) != set(ROWS):
        raise Malformed(
            f"compare returned {described(compared)}, expected a dict with two numbers for each of the rows"
        )
    pairs = {row: _pair(row, numbers) for row, numbers in compared.items()}
    return {
        "difference": {row: pair[0] for row, pair in pairs.items()},
        "interval": {row: pair[1] for row, pair in pairs.items()},
    }


def _pair(row, numbers):
    numbers = list(numbers) if isinstance(numbers, np.ndarray) and numbers.ndim == 1 else numbers
    return unpack(f"compare, for {row},", numbers, "the mean difference", "half the interval")


def _wrong_steps(off, case):
    return [step for step in range(len(case.batches) + 1) if max(np.max(np.abs(o[step])) for o in off) > 1e-9]


def judge_params(off, case):
    for step in _wrong_steps(off.values(), case):
        if step == 0:
            yield "the first call of gradients does not get the parameters that train is given"
        way = "params - lr * gradient" if step == 1 else "params - lr * velocity, though until then they were"
        yield f"after {step} batch{'es' if step > 1 else ''} the parameters are not {way}"


def judge_state(off, case):
    for step in _wrong_steps(off, case):
        if step == len(case.batches):
            yield "the state that train returns is not the one that the last call of gradients returned"
        yield f"call {step + 1} of gradients does not get the state that the call before it returned"


judge_losses = judge_that(
    lambda off, case: np.max(np.abs(off)) <= 1e-9, "the losses are not those that gradients returned, in order"
)


def judge_difference(difference, case):
    if difference[case.base] != 0:
        yield "compared with itself, with the same seeds, a row does not differ; yours does"
    yield from _judged(difference, case, 0, "the difference of {row} is not the mean over seeds of row minus base")


def judge_interval(half, case):
    if half[case.base] != 0:
        yield "compared with itself, with the same seeds, a row has an interval of width 0; yours does not"
    yield from _judged(half, case, 1, "half the interval of {row} is not t s / sqrt(n)")


def _judged(found, case, which, message):
    for row in ROWS:
        d = np.array([_error(case, row, seed) - _error(case, case.base, seed) for seed in case.seeds])
        spread = d - np.sum(d) / len(d)
        half = case.t * np.sqrt(np.sum(spread**2) / (len(d) - 1) / len(d))
        if not close(found[row], (np.sum(d) / len(d), half)[which]):
            yield message.format(row=row)


CHECKS = (
    Check(observe_train, {"params": judge_params, "state": judge_state, "losses": judge_losses}),
    Check(observe_compare, {"difference": judge_difference, "interval": judge_interval}),
)
