"""Wrong passes of EvalNorm, whose training is batch normalisation's: of its inference and its estimate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mabn_ref.arrays import Array
from mabn_ref.mistakes.draws import calls
from mabn_ref.mistakes.mistake import Mistake
from mabn_ref.norms import batch_norm, eval_norm
from mabn_ref.norms.eval_norm import Cache, Config, State

__all__ = ["MISTAKES"]


def _averages_alone(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    moving = batch_norm.State(state.mean, state.var)
    return batch_norm.infer(x, gamma, beta, moving, batch_norm.Config(eps=config.eps))


def _swapped(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    return eval_norm.infer(x, gamma, beta, state._replace(a=1 - state.a, b=1 - state.b), config)


def _mean_alone(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    return eval_norm.infer(x, gamma, beta, state._replace(b=0 * state.b), config)


def _of_the_whole_batch(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> Array:
    together = x.reshape(1, -1, x.shape[-1])
    return eval_norm.infer(together, gamma, beta, state, config).reshape(x.shape)


def _stepped(step: Callable[[State, State, Config], State]) -> Callable[..., Any]:
    """Forward with another new state, made of the old one and of the right new one."""

    def forward(x: Array, gamma: Array, beta: Array, state: State, config: Config) -> tuple[Array, Cache, State]:
        z, cache, new = eval_norm.forward(x, gamma, beta, state, config)
        return z, cache, step(state, new, config)

    return forward


def _uphill(old: State, new: State, config: Config) -> State:
    return new._replace(a=2 * old.a - new.a, b=2 * old.b - new.b)


def _one_for_both(old: State, new: State, config: Config) -> State:
    return new._replace(b=new.a)


_mistake = partial(Mistake, subject=eval_norm)
_any = calls(eval_norm, norm_batch=3, space=(2,), groups=2, estimated=False)
_learning = calls(
    eval_norm, norm_batch=3, space=(2,), groups=1, estimated=True, rate=0.01, decay=0.5, eps=0.1, scale=(0.5, 2.0)
)

MISTAKES = (
    _mistake(
        name="eval-averages-alone",
        code={"infer": _averages_alone},
        sentence="Your inference is batch normalisation's: the sample's own mean and variance have no part in it.",
        equation="eval-mixture",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="eval-weights-swapped",
        code={"infer": _swapped},
        sentence="Your inference gives a and b to the moving statistics; they are the weights of the sample's.",
        equation="eval-mixture",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="eval-mean-alone",
        code={"infer": _mean_alone},
        sentence="Your inference mixes the means alone; the sample's variance has the weight b.",
        equation="eval-mixture",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="eval-whole-batch",
        code={"infer": _of_the_whole_batch},
        sentence="Your inference takes the statistics of all samples of a call; an answer depends on its own alone.",
        equation="eval-infer",
        oracle="forward",
        draw=_any,
    ),
    _mistake(
        name="eval-uphill",
        code={"forward": _stepped(_uphill)},
        sentence="Your a and b step along the gradient, which makes the outputs differ more; step against it.",
        equation="eval-estimate",
        oracle="recurrence",
        draw=_learning,
    ),
    _mistake(
        name="eval-one-for-both",
        code={"forward": _stepped(_one_for_both)},
        sentence="Your b is your a; they weigh a mean and a variance, and are estimated each by its own gradient.",
        equation="eval-estimate",
        oracle="recurrence",
        draw=_learning,
    ),
)
