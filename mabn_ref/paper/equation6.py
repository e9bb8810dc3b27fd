"""Equation (6): inference with statistics over the whole training set, beside the moving averages ("precise BN")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mabn_ref.arrays import Array, namespace
from mabn_ref.data import to_float
from mabn_ref.experiments.config import RunConfig
from mabn_ref.experiments.devices import to_device
from mabn_ref.experiments.intervals import mean_interval, paired_difference
from mabn_ref.experiments.runs import run_one
from mabn_ref.experiments.training import Diverged, Progress, Setup, test_error_of
from mabn_ref.nn import network
from mabn_ref.nn.network import Norm
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.paper import drawing
from mabn_ref.paper.measured import FEWEST, Row, measure, plan_of, row_data, text
from mabn_ref.paper.study import Context, Outcome, Records, Study, Table

__all__ = ["EQUATION_6", "population_states", "run_reestimated"]

_CHUNK = 250


def population_states(setup: Setup, progress: Progress) -> list[Any]:
    """Replace every normaliser's moving statistics by those of all training images, as they are, not augmented.

    One layer after the other: the images reach a layer through layers that already use population statistics, which
    is how (6) is meant. Only what inference reads is replaced.

    Parameters
    ----------
    setup, progress
        A run, and where it is.

    Returns
    -------
    list
        States, parallel to the layers.
    """
    images = setup.images.train.images
    xs = [
        to_device(to_float(images[i : i + _CHUNK], setup.images.mean, setup.images.std), setup.xp)
        for i in range(0, len(images), _CHUNK)
    ]
    states = list(progress.states)
    for i, layer in enumerate(setup.layers):
        if isinstance(layer, Norm):
            states[i] = _measured(xs, states[i])
        one = ([layer], [progress.params[i]], [states[i]])
        xs = [network.infer(*one, x) for x in xs]
    return states


def _measured(xs: list[Array], state: Any) -> Any:
    """The state with the mean and variance, or the mean square, of all of `xs`."""
    if hasattr(state, "mean"):
        config = batch_norm.Config()
        mean = _mean([batch_norm.statistics(x, config)[0][0, :] for x in xs], xs)
        # the variance around the mean of all: its chunk's own variance, and how far its mean is off
        parts = [batch_norm.statistics(x, config) for x in xs]
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

    Parameters
    ----------
    config : RunConfig
        The run.
    **keywords
        Those of `run_one`.

    Returns
    -------
    dict
        The record of `run_one`, and `population_error`, the test error in % by (6); None if an output is not finite.

    Examples
    --------
    >>> record = run_reestimated(RunConfig(width=4, epochs=1, train_size=64, test_size=10))
    >>> 0 <= record["population_error"] <= 100
    True
    """

    def tested(setup: Setup, progress: Progress) -> dict[str, Any]:
        try:
            states = population_states(setup, progress)
            return {"population_error": test_error_of(setup, progress._replace(states=states))}
        except Diverged:
            return {"population_error": None}

    return run_one(config, finished=tested, **keywords)


_ROWS = [
    Row("BN 32", {"norm": "bn", "norm_batch": 32}),
    Row("BN 2", {"norm": "bn", "norm_batch": 2}),
    Row("BN 2, decay 0.9", {"norm": "bn", "norm_batch": 2, "decay": 0.9}),
    Row("BRN 2", {"norm": "brn", "norm_batch": 2}),
    Row("modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}),
    Row("MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}),
]


def _outcome(context: Context, records: Records) -> Outcome:
    moving = measure(_ROWS, context, records)
    done = [record for record in records if record.get("population_error") is not None]
    population = measure(_ROWS, context, done, value="population_error")
    lines, verdicts = [], []
    for row in _ROWS:
        a, b = moving[row.label].errors, population[row.label].errors
        difference = paired_difference(b, a)
        shown = [text(mean_interval(list(errors.values()))) if errors else "none" for errors in (a, b)]
        lines.append((row.label, str(len(a)), *shown, text(difference, "+")))
        if difference is not None and difference.half is not None and difference.runs >= FEWEST:
            low, high = difference.mean - difference.half, difference.mean + difference.half
            judged = (
                "lowers the error" if high < 0 else "raises the error" if low > 0 else "makes no difference found"
            )
            verdicts.append(
                f"{row.label}: re-estimating {judged}, {text(difference, '+')} over {difference.runs} pairs"
            )
    table = Table(
        "Equation (6): test error % with moving averages, and with statistics of the whole training set",
        ("", "runs", "moving averages", "training set", "difference"),
        lines,
    )
    notes = ["Training images as they are, not augmented; one layer after the other, weights fixed."]
    data = {"moving": row_data(_ROWS, moving), "population": row_data(_ROWS, population)}
    return Outcome([table], verdicts, notes, data)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    pairs = zip(data["population"], data["moving"], strict=True)
    differences = {b["label"]: paired_difference(a["errors"], b["errors"]) for a, b in pairs}
    return {"": drawing.intervals(differences, "Training-set statistics against moving averages", "difference (%)")}


EQUATION_6 = Study(
    "Equation (6): statistics of the whole training set at inference",
    plan_of(_ROWS),
    _outcome,
    _draw,
    run_reestimated,
    "precise.jsonl",
)
