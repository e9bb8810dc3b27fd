"""Statistics of the whole training set in place of the moving averages, computed after training ("precise BN")."""

from __future__ import annotations

from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.data.dataset import Images
from mabn_ref.data.images import flip_and_crop
from mabn_ref.nn import network
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.train.config import RunConfig
from mabn_ref.train.loop import Diverged, Progress, Setup, test_error_of, to_input
from mabn_ref.train.runs import run_one

_CHUNK = 250


def population_states(setup: Setup, progress: Progress, images: Images) -> list[Any]:
    """Return the states of a run with every normaliser's moving statistics replaced by those of all `images`.

    The images are those of the training set, as they are or augmented. They reach each layer through layers that use
    population statistics already, as (6) intends. Only what inference reads is replaced.
    """
    xs = [to_input(setup, images[i : i + _CHUNK]) for i in range(0, len(images), _CHUNK)]
    states, held = list(progress.states), list[Any]([None] * len(xs))
    for i, layer in enumerate(setup.layers):
        if isinstance(layer, network.Norm):
            states[i] = _measured(xs, states[i])
        one = (layer, progress.params[i], states[i])
        found = (network.infer_layer(*one, *both) for both in zip(xs, held, strict=True))
        xs, held = map(list, zip(*found, strict=True))
    return states


def _measured(xs: list[Array], state: Any) -> Any:
    """Return the state with the mean and variance, or mean square, of all `xs`; on several devices, in device 0."""
    if hasattr(state, "each"):
        return state._replace(each=(_measured(xs, state.each[0]), *state.each[1:]))
    if hasattr(state, "mean"):
        parts = [batch_norm.statistics(x, batch_norm.Config()) for x in xs]
        mean = _mean([mu[0, :] for mu, _ in parts], xs)
        # the variance around the overall mean: the chunk's own variance plus its mean's squared distance
        var = _mean([var[0, :] + (mu[0, :] - mean) ** 2 for mu, var in parts], xs)
        return state._replace(mean=mean, var=var)
    if hasattr(state, "chi2"):
        squares = [modified_batch_norm.statistics(x, modified_batch_norm.Config())[0, :] for x in xs]
        return state._replace(chi2=_mean(squares, xs))
    return state


def _mean(values: list[Array], xs: list[Array]) -> Array:
    """Return the mean of the chunks' values, weighted by their sizes."""
    total = sum(x.shape[0] for x in xs)
    return sum(value * (x.shape[0] / total) for value, x in zip(values, xs, strict=True))


def run_reestimated(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `run_one` does, then test with population statistics too.

    The record also has `population_error`, the test error in % by (6) with the training images as they are, and
    `augmented_error`, the same with each image flipped and cropped at random once; None if an output is not finite.
    """

    def tested(setup: Setup, progress: Progress) -> dict[str, Any]:
        as_they_are, found = setup.images.train.images, dict[str, float | None]()
        augmented = flip_and_crop(as_they_are, np.random.default_rng(config.seed))
        for name, images in (("population_error", as_they_are), ("augmented_error", augmented)):
            try:
                states = population_states(setup, progress, images)
                found[name] = test_error_of(setup, progress._replace(states=states))
            except (Diverged, OverflowError):
                found[name] = None
        return found

    return run_one(config, finished=tested, **keywords)
