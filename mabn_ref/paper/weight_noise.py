"""The noise in the gradients of the weights during training, with and without the batch's g and Psi in backward."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.data.images import flip_and_crop
from mabn_ref.nn import network
from mabn_ref.norms import batch_norm
from mabn_ref.norms.common import merge, split
from mabn_ref.paper.claims import BELOW, configs, plan_of, rows_of, side_of_zero
from mabn_ref.paper.recorder import both_passes, recorded
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting, results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import to_device, to_host
from mabn_ref.train.loop import Progress, Setup
from mabn_ref.train.runs import run_one
from mabn_ref.train.table_layout import FEWEST, Interval, Table, mean_interval, text

UPDATES = (0, 200, 600)  #: the numbers of updates after which the noise is measured, besides at the end
_BATCHES = 40
_FEWEST = 2  #: the fewest gradient batches that have a variance
_DIGITS = 6
_MEDIAN = "median"
_FORMS = {
    "batch": "batch g, batch Psi",
    "no g": "no g, batch Psi",
    "population g": "population g, batch Psi",
    "population Psi": "batch g, population Psi",
    "population": "population g and Psi",
}
_SHOWN = [
    *((form, "weights", f"{said}: dL/dW") for form, said in _FORMS.items() if form != "batch"),
    ("no g", "dx", f"{_FORMS['no g']}: noise of dx"),
]
"""The lines of the tables: the form, what is noisy, and the line's name."""


def _gradient_batches(setup: Setup, progress: Progress) -> Iterator[dict[str, tuple[Any, Any, Array, Any]]]:
    """Yield for each gradient batch, by convolution: layer and cache, and dz and cache of the normaliser above."""
    config, train = setup.config, setup.images.train
    last: dict[str, tuple[Array, Any]] = {}
    layers = recorded(setup.layers, lambda name, x, dz, cache, state: last.update({name: (dz, cache)}))
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(len(train.labels))
    for k in range(_used(setup.steps)):
        chosen = order[k * config.gradient_batch :][: config.gradient_batch]
        pixels = train.images[chosen]
        if config.augment:
            pixels = flip_and_crop(pixels, rng)
        caches, _ = both_passes(setup, progress, layers, progress.states, pixels, train.labels[chosen])
        yield {
            layer.name: (layer, caches[i], *last[layers[i + 1].name])
            for i, layer in enumerate(layers)
            if isinstance(layer, network.Conv)
        }


def _used(steps: int) -> int:
    """Return how many of an epoch's gradient batches are used."""
    return min(_BATCHES, steps)


def gradient_noise(setup: Setup, progress: Progress) -> dict[str, dict[str, dict[str, float]]]:
    """Measure the noise of dx and of the weights' gradients in a network with batch norm, at fixed weights.

    The gradient that reaches a normaliser is batch norm's own. Only its step to dx is then repeated with other g and
    Psi, and followed down to the weights of the convolution below. Population values are means over all the batches.

    Returns by convolution and form ("batch", "no g", "population g", "population Psi", "population"): "weights", the
    variance of dL/dW over gradient batches, summed over W; "signal", its squared mean, also summed, minus what the
    variance adds to it; "dx", the mean squared distance of dx from dx with population values. Raises ValueError with
    fewer than two gradient batches.
    """
    if setup.steps < _FEWEST:
        raise ValueError(
            f"there are {len(setup.images.train.labels)} training images, expected at least "
            f"{_FEWEST * setup.config.gradient_batch}: a variance over gradient batches takes {_FEWEST} of them"
        )
    of_batches: dict[str, list[list[Array]]] = {}
    for found in _gradient_batches(setup, progress):
        for name, (_, _, dz, kept) in found.items():
            both = batch_norm.gradient_statistics(dz, kept)
            of_batches.setdefault(name, []).append([to_host(value).mean(axis=0) for value in both])
    whole = {name: np.mean(values, axis=0) for name, values in of_batches.items()}
    gradients: dict[tuple[str, str], list[Array]] = {}
    distances: dict[tuple[str, str], list[float]] = {}
    for found in _gradient_batches(setup, progress):
        for name, (layer, cache, dz, kept) in found.items():
            g, psi = batch_norm.gradient_statistics(dz, kept)
            of_all = [to_device(value, setup.xp) for value in whole[name]]
            used = {
                "batch": (g, psi),
                "no g": (0 * g, psi),
                "population g": (of_all[0], psi),
                "population Psi": (g, of_all[1]),
                "population": of_all,
            }
            for form, mine in used.items():
                infinite = [0 * of_all[0], of_all[1]] if form == "no g" else of_all
                dx = _dx(dz, kept, *mine)
                error = to_host(dx - _dx(dz, kept, *infinite)).astype(np.float64)
                grads, _ = network.backward([layer], dx, [cache], [None])
                gradients.setdefault((name, form), []).append(to_host(grads[0]["w"]).astype(np.float64))
                distances.setdefault((name, form), []).append(float(np.mean(error**2)))
    measured: dict[str, dict[str, dict[str, float]]] = {name: {} for name in whole}
    for (name, form), values in gradients.items():
        variance = float(np.sum(np.var(values, axis=0, ddof=1)))
        signal = float(np.sum(np.mean(values, axis=0) ** 2)) - variance / len(values)
        numbers = {"weights": variance, "signal": signal, "dx": float(np.mean(distances[name, form]))}
        measured[name][form] = {what: float(f"{value:.{_DIGITS}g}") for what, value in numbers.items()}
    return measured


def _dx(dz: Array, cache: batch_norm.Cache, g: Array, psi: Array) -> Array:
    """Batch norm's gradient with these g and Psi, (G, C) or of a population (C,), in place of its own."""
    u = split(dz, cache.config.norm_batch) * cache.gamma
    dx = (u - g[..., None, :] - cache.y * psi[..., None, :]) / cache.sigma  # eq: bn-backward (4)
    return merge(dx, cache.shape)


def run_watched(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train batch norm as `run_one` does, and measure the noise of the gradients a few times on the way.

    The record also has `noise`, the results of `gradient_noise` by the number of updates before it, for those of
    `UPDATES` that the run reaches and for its end; and `batches`, the number of gradient batches used.
    """
    noise: dict[str, Any] = {}
    batches = 0

    def watched(setup: Setup, progress: Progress) -> None:
        nonlocal batches
        done, batches = setup.done(progress), _used(setup.steps)
        if (done in UPDATES or done == setup.steps * config.epochs) and str(done) not in noise:
            noise[str(done)] = gradient_noise(setup, progress)

    record = run_one(config, watched=watched, **keywords)
    return {**record, "noise": noise, "batches": batches}


_ROWS = rows_of("bn-2", "bn-2-wc")


def _notes(batches: int) -> list[str]:
    return [
        (
            "The weights are trained with batch norm. What comes back to a normaliser is the same for all forms, and "
            "so is its forward pass: they differ in the g and Psi of that one layer's backward pass. The modified "
            "form has no g."
        ),
        (
            f"Variance over {batches} gradient batches at fixed weights, summed over the weights of a layer. "
            "Population values are the means over those batches."
        ),
        "Noise of dx: the squared distance to dx with population values, as Theorem 2, repaired, has it.",
        (
            "Verdicts are on the median of the seven layers. The records have the squared mean of dL/dW too, as "
            "`signal`; so few batches measure it too coarsely for a table."
        ),
    ]


def _outcome(context: Context, records: Records) -> Outcome:
    data: dict[str, dict[str, Any]] = {}
    batches = _BATCHES  # used in earlier versions, whose records do not say so
    for row in _ROWS:
        done, _ = results.by_seed(records, configs([row], context))
        batches = next((record["batches"] for record in done.values() if "batches" in record), batches)
        noises = {str(seed): record["noise"] for seed, record in done.items() if "noise" in record}
        data[row.label] = {seed: _changes(noise) for seed, noise in noises.items() if _alive(noise)}
    tables, verdicts = [], []
    for label, seeds in data.items():
        first: dict[str, Any] = next(iter(seeds.values()), {"0": {"": {}}})
        layers = [layer for layer in next(iter(first.values())) if layer != _MEDIAN]
        lines = [
            (f"{k} updates, {said}", *(text(_over(seeds, k, layer, form, what), "+") for layer in layers))
            for k, (form, what, said) in product(first, _SHOWN)
        ]
        title = f"{label}: variance of the weights' gradients, change in % from batch g and batch Psi"
        tables.append(Table(title, ("", *layers), lines))
        verdicts += [
            _verdict(f"{label}, after {k} updates", _over(seeds, k, _MEDIAN, "no g", "weights")) for k in first
        ]
    return Outcome(tables, verdicts, _notes(batches), data)


def _alive(noise: Mapping[str, Any]) -> bool:
    """Whether gradients reach every layer: behind dead ReLUs there is no noise that could change."""
    found = [forms["batch"] for layers in noise.values() for forms in layers.values()]
    return all(numbers[what] > 0 for numbers in found for what in ("weights", "dx"))


def _changes(noise: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes in %, by updates, layer, form and what is noisy; with the median over layers."""
    changes: dict[str, Any] = {}
    for k, layers in noise.items():
        found = {
            layer: {
                form: {what: 100 * (numbers[what] / forms["batch"][what] - 1) for what in ("weights", "dx")}
                for form, numbers in forms.items()
            }
            for layer, forms in layers.items()
        }
        median = {
            form: {what: statistics.median(of[form][what] for of in found.values()) for what in ("weights", "dx")}
            for form in _FORMS
        }
        changes[k] = {**found, _MEDIAN: median}
    return changes


def _over(seeds: Mapping[str, Any], k: str, layer: str, form: str, what: str) -> Interval | None:
    values = [changes[k][layer][form][what] for changes in seeds.values()]
    return mean_interval(values) if values else None


def _verdict(where: str, change: Interval | None) -> str:
    """Judge section 4.2's claim by the interval of the change without g.

    Examples
    --------
    >>> _verdict("BN 2, after 0 updates", mean_interval([20.0, 22.0, 21.0]))
    'less noise in the weights without g, BN 2, after 0 updates: the opposite holds; +21.00 ± 2.48 % over 3 seeds'
    """
    said = f"less noise in the weights without g, {where}"
    side = side_of_zero(change)
    if change is None or side is None:
        return f"{said}: no verdict, fewer than {FEWEST} seeds"
    return f"{said}: {BELOW[side]}; {text(change, '+')} % over {change.runs} seeds"


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    figure = plotting.new(plotting.NARROW, 7)
    for number, (label, seeds) in enumerate(data.items(), 1):
        axes = figure.add_subplot(len(data), 1, number, sharey=figure.axes[0] if figure.axes else None)
        updates = list(next(iter(seeds.values()), {}))
        for i, (form, said) in enumerate(_FORMS.items()):
            if form == "batch" or not updates:
                continue
            changes = [change for k in updates if (change := _over(seeds, k, _MEDIAN, form, "weights"))]
            look = {"marker": plotting.MARKERS[i], "linestyle": ("-", "-", "--", ":", "-.")[i]}
            look |= {"color": plotting.COLOURS[i], "label": said}
            plotting.interval_line(axes, list(map(float, updates)), changes, **look)
        axes.axhline(0, color=plotting.COLOURS[4], linewidth=1)
        quantity = "variance of dL/dW, change in %,\nmedian of layers"
        plotting.finish(axes, label, "updates", quantity, legend=number == 1)
    return {"": figure}


_TITLE = "What reaches the weights: the noise of their gradients"
_PLAN, _FILE = plan_of(_ROWS), "weight_noise.jsonl"
WEIGHT_NOISE = Study(_TITLE, _PLAN, _outcome, _draw, run_watched, _FILE, batches=_FEWEST)
