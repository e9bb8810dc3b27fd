"""What one notices of a mistake first, found by running it beside the right pass, so that no list has to be kept.

`SYMPTOMS` has the sentences, and `symptoms` says which of them are true of a mistake. "Right" means equal to the
right pass, up to rounding, in all that several calls return: outputs, gradients, and inference at the end.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.mistakes.edit import Mistake, wrong
from mabn_ref.mistakes.one_call import as_one_call
from mabn_ref.mistakes.oracles import gradient
from mabn_ref.mistakes.random_inputs import Calls
from mabn_ref.mistakes.random_layer_inputs import Call, Steps

DRAWS = 2  #: draws of a mistake's own inputs; a symptom has to show on all of them


class Case:
    """A mistake, and the implementation that has it, beside the right pass, on the same inputs."""

    def __init__(self, mistake: Mistake, implementation: Any, inputs: Any, *, ones: bool = False) -> None:
        self.mistake, self.implementation, self.inputs = mistake, implementation, inputs
        with np.errstate(all="ignore"):
            modules = (implementation, mistake.subject)
            self.wrong, self.right = (_run(module, mistake.subject_name, inputs, ones) for module in modules)

    def on(self, inputs: Any, *, ones: bool = False) -> Case:
        """The same on other inputs."""
        return Case(self.mistake, self.implementation, inputs, ones=ones)

    def same(self, *kinds: str) -> bool:
        """Whether the results of these kinds, or of all kinds if none is named, are right."""
        return all(self._error(key) <= 1e-9 for key in self.right if not kinds or key[0] in kinds)

    def error(self) -> float:
        """The largest relative error of an output, in training or at inference."""
        return max(self._error(key) for key in self.right if key[0] in ("z", "inferred"))

    def _error(self, key: tuple[str, int]) -> float:
        got, expected = np.asarray(self.wrong[key]), np.asarray(self.right[key])
        if got.shape != expected.shape or not np.all(np.isfinite(got)):
            return float("inf")
        return float(np.max(np.abs(got - expected)) / max(float(np.max(np.abs(expected))), 1.0))

    def shares_statistics(self) -> bool:
        """Whether samples of a call share statistics, so that the call can be cut into other batches."""
        shared = isinstance(self.inputs, Calls) and hasattr(self.inputs.config, "norm_batch")
        return shared and self.mistake.subject_name not in ("eval_norm", "sync_batch_norm")

    def right_with(self, **settings: Any) -> bool:
        """Whether the inputs have a Config with these fields, and all is right with these values."""
        config: Any = getattr(self.inputs, "config", None)
        if not all(hasattr(config, name) for name in settings):
            return False
        return self.on(self.inputs._replace(config=replace(config, **settings))).same()


def _run(module: Any, subject: str, inputs: Any, ones: bool) -> dict[tuple[str, int], Array]:
    """What a run returns, by kind and number."""
    found: dict[tuple[str, int], Array] = {}
    module = as_one_call(subject, module)
    if isinstance(inputs, Steps):
        params, velocity = inputs.params, module.init(inputs.params)
        for grads in inputs.grads:
            params, velocity = module.step(params, grads, velocity, **inputs.options)
            for layer in params:
                found |= {("z", len(found) + k): array for k, array in enumerate(layer.values())}
        return found
    if isinstance(inputs, Call):
        found["z", 0], cache = module.forward(*inputs.inputs, **inputs.options)
        shape = np.shape(found["z", 0])
        returned = module.backward(np.ones(shape) if ones else np.random.default_rng(0).standard_normal(shape), cache)
        dx, *others = returned if isinstance(returned, tuple) else (returned,)
        return found | {("dx", 0): dx} | {("dparameter", k): array for k, array in enumerate(others)}
    state = module.init(len(inputs.gamma), inputs.config, dtype=float)
    for k, (x, dz) in enumerate(zip(inputs.xs, inputs.dzs, strict=True)):
        found["z", k], cache, state = module.forward(x, inputs.gamma, inputs.beta, state, inputs.config)
        found["dx", k], dgamma, dbeta, state = module.backward(np.ones_like(dz) if ones else dz, cache, state)
        found |= {("dparameter", 2 * k): dgamma, ("dparameter", 2 * k + 1): dbeta}
    found["inferred", 0] = module.infer(x, inputs.gamma, inputs.beta, state, inputs.config)
    found["inferred alone", 0] = module.infer(x[:1], inputs.gamma, inputs.beta, state, inputs.config)
    return found


def _fine_in_training(case: Case) -> bool:
    return not case.same() and case.same("z", "dx", "dparameter")


def _depends_on_company(case: Case) -> bool:
    if not isinstance(case.inputs, Calls):
        return False
    alone, among = case.wrong["inferred alone", 0], case.wrong["inferred", 0]
    return not np.allclose(alone, among[:1], rtol=1e-9)


def _passes_with_ones(case: Case) -> bool:
    if isinstance(case.inputs, Steps) or not case.same("z"):
        return False
    return not _fine_in_training(case) and case.on(case.inputs, ones=True).same("z", "dx", "dparameter")


def _right_while_gamma_is_one(case: Case) -> bool:
    if not isinstance(case.inputs, Calls):
        return False
    return case.on(case.inputs._replace(gamma=np.ones_like(case.inputs.gamma))).same()


def _right_for_vectors(case: Case) -> bool:
    if not case.shares_statistics():
        return False
    samples, *space, channels = case.inputs.xs[0].shape
    positions, norm_batch = math.prod(space), case.inputs.config.norm_batch or samples
    xs, dzs = (np.reshape(arrays, (len(arrays), -1, channels)) for arrays in (case.inputs.xs, case.inputs.dzs))
    config = replace(case.inputs.config, norm_batch=norm_batch * positions)
    return positions > 1 and case.on(case.inputs._replace(xs=xs, dzs=dzs, config=config)).same()


def _hardly_wrong_for_many(case: Case) -> bool:
    """On several runs: one may be lucky. Their scale and mean are far from where moving statistics start."""
    if not case.shares_statistics():
        return False
    rng, channels = np.random.default_rng(0), len(case.inputs.gamma)
    config, errors = replace(case.inputs.config, norm_batch=None), []
    for samples in (2, 32):
        runs = rng.standard_normal((8, 2, 6, samples, 4, channels))
        errors.append(
            sum(case.on(case.inputs._replace(xs=3 * x - 2, dzs=dz, config=config)).error() for x, dz in runs)
        )
    # 16 times as many values: an error falls to 1/16, or, if it falls with the root of their number, only to 1/4
    return errors[1] < errors[0] / 7


def _only_first_batch_right(case: Case) -> bool:
    if isinstance(case.inputs, Steps):
        first_step = list(case.right)[: len(case.right) // len(case.inputs.grads)]
        return not case.same() and all(case._error(key) <= 1e-9 for key in first_step)
    if not isinstance(case.inputs, Calls) or case.same("z", "dx"):
        return False
    first = slice(getattr(case.inputs.config, "norm_batch", 1))
    return all(np.allclose(case.wrong[key, 0][first], case.right[key, 0][first], rtol=1e-9) for key in ("z", "dx"))


def _right_in_the_end(case: Case) -> bool:
    if not isinstance(case.inputs, Calls) or case.same("z", "dx") or _only_first_batch_right(case):
        return False
    last = len(case.inputs.xs) - 1
    return all(case._error(key) <= 1e-9 for key in (("z", last), ("dx", last), ("inferred", 0)))


def _passes_gradient_check(case: Case) -> bool:
    subject = case.mistake.subject_name
    if isinstance(case.inputs, Steps) or subject in ("mabn", "online_norm") or case.same("z"):
        return False
    return gradient(subject, case.implementation, case.inputs).accepted


SYMPTOMS: dict[str, Callable[[Case], bool]] = {
    "The training loss is fine, but evaluation is bad": _fine_in_training,
    "At inference an output depends on the other images in the call": _depends_on_company,
    "A gradient check passes with an upstream gradient of ones": _passes_with_ones,
    "A gradient check passes, but the output is wrong": _passes_gradient_check,
    "Right at first, while gamma is 1": _right_while_gamma_is_one,
    "Wrong only where the variance is small; right with eps = 0": lambda case: case.right_with(eps=0.0),
    "Right as long as a call is one normalisation batch": lambda case: (
        case.shares_statistics() and case.right_with(norm_batch=None)
    ),
    "Right for vectors, wrong for images": _right_for_vectors,
    "Works at |B| = 32, but not at |B| = 2": _hardly_wrong_for_many,
    "The first batch is right, later ones drift away": _only_first_batch_right,
    "Wrong at first, right after some batches": _right_in_the_end,
    "dx is right, but the gradients of the parameters are not": lambda case: (
        case.same("z", "dx") and not case.same("dparameter")
    ),
    "The output is right, but dx is not": lambda case: case.same("z") and not case.same("dx"),
}
"""Each symptom, and the function that says whether a case shows it."""

NOTHING_SPECIAL = "The output is wrong, without any of these signs"


def symptoms(mistake: Mistake) -> list[str]:
    """The sentences of `SYMPTOMS` that are true of a mistake, or else `NOTHING_SPECIAL`.

    Examples
    --------
    >>> from mabn_ref.mistakes import named
    >>> symptoms(named("bn-infer-no-eps"))
    ['The training loss is fine, but evaluation is bad', 'Wrong only where the variance is small; right with eps = 0']
    """
    seeds = [[zlib.crc32(mistake.name.encode()), k] for k in range(DRAWS)]
    implementation = wrong(mistake)
    cases = [Case(mistake, implementation, mistake.draw(np.random.default_rng(seed))) for seed in seeds]
    found = [seen for seen, is_seen in SYMPTOMS.items() if all(is_seen(case) for case in cases)]
    return found or [NOTHING_SPECIAL]
