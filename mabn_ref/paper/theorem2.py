"""Theorem 2 by simulation, as printed and repaired: on made-up values and on values recorded in training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from mabn_ref.paper import theorems
from mabn_ref.paper.claims import configs, plan_of, rows_of
from mabn_ref.paper.recorder import both_passes, recorded
from mabn_ref.paper.study import Context, Outcome, Records, Study
from mabn_ref.train import plotting, results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import to_host
from mabn_ref.train.loop import Progress, Setup
from mabn_ref.train.plotting import COLOURS
from mabn_ref.train.runs import run_one
from mabn_ref.train.table_layout import Table

BATCHES = (2, 4, 8, 16, 32)
_LAYERS, _CHANNELS, _IMAGES = ("norm2", "norm4", "norm6"), 4, 960
_POSITIONS, _RUNS = 16, 1000


def _gaps(x: Any, u: Any, kind: str, rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Return the gaps of Theorem 2 relative to Var[g], with their intervals, one per batch size."""
    gaps = theorems.gradient_gaps(x, u, BATCHES, statistics=kind, rng=rng, runs=runs)
    unit = np.where(gaps.var_g.mean > 0, gaps.var_g.mean, 1.0)
    return {
        name: [[float(value) for value in part / unit] for part in (found.mean, found.low, found.high)]
        for name, found in (("total", gaps.total), ("noise", gaps.noise))
    }


def run_gaps(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train batch norm as `run_one` does, then simulate Theorem 2 with the inputs and gradients of some normalisers.

    The record also has `gaps`: by layer and kind of statistics, for a few channels, the differences vanilla minus
    modified in units of Var[g] / s^2, each a list of mean, low and high over `BATCHES`.
    """

    def simulated(setup: Setup, progress: Progress) -> dict[str, Any]:
        gaps: dict[str, Any] = {}
        for layer, (x, u) in _activations(setup, progress).items():
            flat = [[_flat(a[..., channel]) for a in (x, u)] for channel in range(min(_CHANNELS, x.shape[-1]))]
            alive = [[a / np.std(a) for a in pair] for pair in flat if all(np.std(a) > 0 for a in pair)]
            gaps[layer] = {
                kind: [_gaps(x, u, kind, np.random.default_rng(config.seed), _RUNS) for x, u in alive]
                for kind in theorems.STATISTICS
            }
        return {"gaps": gaps}

    return run_one(config, finished=simulated, **keywords)


def _flat(a: Any) -> Any:
    """Return an array (samples, positions) with about `_POSITIONS` evenly spaced positions."""
    flat = a.reshape(len(a), -1).astype(np.float64)
    return flat[:, :: max(flat.shape[1] // _POSITIONS, 1)]


def _activations(setup: Setup, progress: Progress) -> dict[str, list[Any]]:
    """Return x and u = dL/dy of some normalisers, on unaugmented training images, with fixed weights."""
    found: dict[str, list[tuple[Any, Any]]] = {name: [] for name in _LAYERS}

    def seen(name: str, x: Any, dz: Any, cache: Any, state: Any) -> None:
        found[name].append((to_host(x), to_host(dz * cache.gamma)))

    layers, states = recorded(setup.layers, seen, _LAYERS), progress.states
    train, batch = setup.images.train, setup.config.gradient_batch
    for start in range(0, min(_IMAGES, len(train.labels)) - batch + 1, batch):
        chosen = slice(start, start + batch)
        _, states = both_passes(setup, progress, layers, states, train.images[chosen], train.labels[chosen])
    return {name: [np.concatenate(part) for part in zip(*pairs, strict=True)] for name, pairs in found.items()}


_ROWS = rows_of("bn-32")
_NOTES = [
    (
        "The theorem as printed says that the vanilla form has the larger total variance, by Var[g] / s^2 or more. "
        "The derivations show why it cannot, and prove the same of the squared distance to the population's gradient."
    ),
    (
        "Every batch its own: the modified gradient is divided by chi, which is never smaller than sigma. Brought "
        "to one scale: each gradient times its batch's sigma or chi, over s."
    ),
    f"Recorded rows: medians over {_CHANNELS} channels, {_POSITIONS} positions an image, of layers of BN 32.",
]
_KINDS = {
    "centred": "frozen, y centred in the batch",
    "frozen": "frozen, the population's mean",
    "batch": "every batch its own sigma or chi",
    "scaled": "the same, brought to one scale",
}


def _outcome(context: Context, records: Records) -> Outcome:
    rng = np.random.default_rng(0)
    x, u = theorems.dependent_pairs(20_000, 4, rng)
    sources: dict[str, Mapping[str, list[dict[str, Any]]]] = {
        "made up": {kind: [_gaps(x, u, kind, np.random.default_rng(1), 4000)] for kind in _KINDS}
    }
    for config in configs(_ROWS, context):
        record = results.find(records, config)
        if record is not None and "gaps" in record:
            sources |= {f"{layer}, seed {config.seed}": found for layer, found in record["gaps"].items()}
    tables = []
    for what, title in (("total", "total variance"), ("noise", "squared distance to the population's gradient")):
        lines: list[tuple[str, ...]] = []
        for source, found in sources.items():
            for kind, said in _KINDS.items():
                if found[kind]:
                    lines.append((f"{source}: {said}", *(_median(found[kind], what, k) for k in range(len(BATCHES)))))
        header = ("|B|", *map(str, BATCHES))
        tables.append(Table(f"Vanilla minus modified in {title}, in units of Var[g] / s^2", header, lines))
    made_up = sources["made up"]
    verdicts = []
    for kind in ("centred", "frozen"):
        var_g, total, noise = (values[-1] for values in theorems.exact_gaps(x, u, BATCHES, statistics=kind))
        for what, claim, proven in (
            ("total", "total variance, printed: +1 or more", total / var_g),
            ("noise", "squared distance, repaired: about +1", noise / var_g),
        ):
            mean, low, high = (made_up[kind][0][what][k][-1] for k in range(3))
            held = "inside" if low <= proven <= high else "outside"
            shown = f"proven {proven:+.3f}, {held} [{low:+.3f}, {high:+.3f}] around the simulated {mean:+.3f}"
            if what == "total":
                shown = f"{'does not hold' if high < 1 else 'holds' if low > 1 else 'not decided'}; {shown}"
            verdicts.append(f"Theorem 2, {claim}; {_KINDS[kind]}, |B| = {BATCHES[-1]}: {shown}")
    return Outcome(tables, verdicts, _NOTES, {name: dict(found) for name, found in sources.items()})


def _median(found: list[dict[str, Any]], what: str, k: int) -> str:
    values = [one[what][0][k] for one in found]
    return f"{statistics.median(values):+.2f}"


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    figure = plotting.new(plotting.NARROW, 7)
    titles = {"total": "Total variance", "noise": "Distance to the population's"}
    for number, (what, title) in enumerate(titles.items(), 1):
        axes = figure.add_subplot(2, 1, number)
        for k, (kind, said) in enumerate(_KINDS.items()):
            mean, low, high = data["made up"][kind][0][what]
            axes.plot(BATCHES, mean, "os^D"[k], color=COLOURS[k], linestyle=("-", "--", ":", "-.")[k], label=said)
            axes.fill_between(BATCHES, low, high, color=COLOURS[k], alpha=0.2, linewidth=0)
        axes.axhline(0, color=COLOURS[4], linewidth=1)
        axes.axhline(1, color=COLOURS[4], linewidth=1, linestyle=":")
        plotting.over_powers_of_two(axes, BATCHES)
        plotting.finish(axes, title, "|B|", "vanilla minus modified, in Var[g] / s^2", legend=number == 1)
    return {"": figure}


THEOREM2 = Study("Theorem 2, as printed and repaired", plan_of(_ROWS), _outcome, _draw, run_gaps, "gaps.jsonl", 1)
