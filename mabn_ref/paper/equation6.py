"""Equation (6): inference with statistics over the whole training set, beside the moving averages ("precise BN")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, namespace
from mabn_ref.data.dataset import Images
from mabn_ref.data.images import flip_and_crop
from mabn_ref.nn import network
from mabn_ref.nn.network import Norm
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.paper.claims import Row, effect, error_text, measure, plan_of, row_data, rows_of
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting
from mabn_ref.train.config import RunConfig
from mabn_ref.train.loop import Diverged, Progress, Setup, test_error_of, to_input
from mabn_ref.train.runs import run_one
from mabn_ref.train.table_layout import Table, paired_difference, text

_CHUNK = 250


def population_states(setup: Setup, progress: Progress, images: Images) -> list[Any]:
    """Return the states of a run with every normaliser's moving statistics replaced by those of all `images`.

    Those are the training set's, as they are or augmented. They reach a layer through layers that already use
    population statistics, which is how (6) is meant. Only what inference reads is replaced.
    """
    xs = [to_input(setup, images[i : i + _CHUNK]) for i in range(0, len(images), _CHUNK)]
    states, held = list(progress.states), list[Any]([None] * len(xs))
    for i, layer in enumerate(setup.layers):
        if isinstance(layer, Norm):
            states[i] = _measured(xs, states[i])
        one = (layer, progress.params[i], states[i])
        found = [network.infer_layer(*one, *both) for both in zip(xs, held, strict=True)]
        xs, held = [x for x, _ in found], [kept for _, kept in found]
    return states


def _measured(xs: list[Array], state: Any) -> Any:
    """The state with the mean and variance, or the mean square, of all of `xs`."""
    if hasattr(state, "mean"):
        parts = [batch_norm.statistics(x, batch_norm.Config()) for x in xs]
        mean = _mean([mu[0, :] for mu, _ in parts], xs)
        # the variance around the mean of all: its chunk's own variance, and how far its mean is off
        var = _mean([var[0, :] + (mu[0, :] - mean) ** 2 for mu, var in parts], xs)
        return state._replace(mean=mean, var=var)
    if hasattr(state, "chi2"):
        squares = [modified_batch_norm.statistics(x, modified_batch_norm.Config())[0, :] for x in xs]
        return state._replace(chi2=_mean(squares, xs))
    return state


def _mean(values: list[Array], xs: list[Array]) -> Array:
    """The mean of chunks' values, weighted by their sizes."""
    total = sum(x.shape[0] for x in xs)
    weighted = namespace(xs[0]).stack([value * (x.shape[0] / total) for value, x in zip(values, xs, strict=True)])
    return namespace(xs[0]).sum(weighted, axis=0)


def run_reestimated(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `run_one` does, then test with the population's statistics too.

    The record has `population_error`, too, the test error in % by (6) with the training images as they are, and
    `augmented_error`, that with each of them flipped and cropped at random, as training does unless told otherwise;
    None if an output is not finite.
    """

    def tested(setup: Setup, progress: Progress) -> dict[str, Any]:
        as_they_are = setup.images.train.images
        augmented = flip_and_crop(as_they_are, np.random.default_rng(config.seed))
        return {
            "population_error": _error(setup, progress, as_they_are),
            "augmented_error": _error(setup, progress, augmented),
        }

    return run_one(config, finished=tested, **keywords)


def _error(setup: Setup, progress: Progress, images: Images) -> float | None:
    try:
        return test_error_of(setup, progress._replace(states=population_states(setup, progress, images)))
    except (Diverged, OverflowError):
        return None


_ROWS = [
    *rows_of("bn-32", "bn-2"),
    Row("BN 2, decay 0.9", {"norm": "bn", "norm_batch": 2, "decay": 0.9}),
    *rows_of("brn-2", "modified-bn-2", "mabn-2"),
]


_IMAGES = {"population_error": "training images", "augmented_error": "augmented"}


def _outcome(context: Context, records: Records) -> Outcome:
    moving = measure(_ROWS, context, records)
    again = {name: measure(_ROWS, context, _with(name, records), value=name) for name in _IMAGES}
    lines, verdicts, differences = [], [], []
    for row in _ROWS:
        before = moving[row.label].errors
        cells = [row.label, str(len(before)), error_text(moving[row.label])]
        for name, images in _IMAGES.items():
            found = again[name][row.label]
            difference = paired_difference(found.errors, before)
            differences.append(difference)
            cells += [error_text(found), text(difference, "+")]
            verdicts.append(f"{row.label}, {images}: {effect(difference)}")
        lines.append(tuple(cells))
    header = ("", "runs", "moving averages", "training images", "difference", "augmented", "difference")
    title = "Equation (6): test error % with moving averages, and with statistics of the whole training set"
    notes = [
        "Weights fixed, one layer after the other.",
        "Augmented: every training image flipped and cropped once at random, "
        + ("as" if context.settings.get("augment", True) else "which is not how")
        + " the network saw them in training.",
    ]
    data = {"moving": row_data(_ROWS, moving)} | {name: row_data(_ROWS, found) for name, found in again.items()}
    return Outcome([Table(title, header, lines)], verdicts, notes, data, differences)


def _with(name: str, records: Records) -> Records:
    """What has this error, and what diverged and so has none."""
    return [record for record in records if record["status"] != "done" or record.get(name) is not None]


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    differences = {}
    for k, row in enumerate(data["moving"]):
        for name, images in _IMAGES.items():
            differences[f"{row['label']}, {images}"] = paired_difference(data[name][k]["errors"], row["errors"])
    return {"": plotting.intervals(differences, "Training-set statistics against moving averages", "difference (%)")}


EQUATION6 = Study(
    "Equation (6): statistics of the whole training set at inference",
    plan_of(_ROWS),
    _outcome,
    _draw,
    run_reestimated,
    "precise.jsonl",
)
