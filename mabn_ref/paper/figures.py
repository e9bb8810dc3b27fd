"""Figures 2, 3 and 4: a layer's batch statistics during training, of |B| samples and of all samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mabn_ref.arrays import Array, namespace
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.norms.common import merge, split
from mabn_ref.paper.claims import Row, configs, plan_of
from mabn_ref.paper.recorder import recorded
from mabn_ref.paper.study import IMAGES, Context, Outcome, Records, Study
from mabn_ref.train import plotting, results
from mabn_ref.train.config import RunConfig, label
from mabn_ref.train.devices import to_host
from mabn_ref.train.runs import run_one
from mabn_ref.train.table_layout import Table, mean_interval, text

KINDS = ("small", "regular", "gap")
_DIGITS = 5


def norms_of_statistics(module: Any, x: Array, dz: Array, cache: Any, state: Any) -> dict[str, list[float]]:
    """Return, for each of a normaliser's statistics in one gradient batch, three norms over the channels.

    The statistics are "mu" and "var", or "chi2"; and "g" and "psi", or "psi" alone. The norms are of the statistic of
    the last normalisation batch or, for MABN, of the average in use ("small"); of the statistic of all samples in the
    gradient batch, computed from the same x and the same gradient of y, with r ("regular"); and of the difference of
    the two ("gap").
    """
    small, regular = _used(module, x, dz, cache, state)
    return {name: _norms(small[name], regular[name]) for name in small}


def _used(module: Any, x: Array, dz: Array, cache: Any, state: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the statistics that the last normalisation batch used, averages or its own; and those of all samples."""
    whole: Any = batch_norm if hasattr(state, "mean") else modified_batch_norm

    def statistics(form: Any, dz: Array, cache: Any) -> dict[str, Array]:
        g, psi = form.gradient_statistics(dz, cache)
        if whole is modified_batch_norm:
            return {"chi2": modified_batch_norm.statistics(x, cache.config), "psi": psi}
        mu, var = batch_norm.statistics(x, cache.config)
        return {"mu": mu, "var": var, "g": g, "psi": psi}

    small = {name: value[-1, :] for name, value in statistics(module, dz, cache).items()}
    if hasattr(state, "psi_window"):
        small["chi2"] = cache.chi[-1, 0, :] ** 2 - cache.config.eps
        small["psi"] = namespace(x).sum(state.psi_window, axis=0) / min(state.iteration, cache.config.window)
    config = whole.Config(eps=cache.config.eps)
    moving = whole.State(*(getattr(state, name) for name in whole.State._fields))
    _, kept, _ = whole.forward(x, cache.gamma, 0 * cache.gamma, moving, config)
    if hasattr(cache, "r"):  # dz reaches y through r, and each normalisation batch has its own r
        dz = merge(split(dz, cache.config.norm_batch) * cache.r, tuple(dz.shape))
    return small, {name: value[0, :] for name, value in statistics(whole, dz, kept).items()}


def _norms(small: Array, regular: Array) -> list[float]:
    values = (small, regular, small - regular)
    norms = [float(np.linalg.norm(np.asarray(to_host(value), dtype=np.float64))) for value in values]
    return [float(f"{norm:.{_DIGITS}g}") if math.isfinite(norm) else 0.0 for norm in norms]


def run_recorded(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train a normaliser with batch statistics as `run_one` does, and record the statistics of every layer.

    The record also has `statistics`: by layer and statistic, a list for each of `KINDS`, with a norm per gradient
    batch.
    """
    statistics: dict[str, dict[str, dict[str, list[float]]]] = {}
    modules: dict[str, Any] = {}

    def seen(layer: str, *found: Any) -> None:
        for name, norms in norms_of_statistics(modules[layer], *found).items():
            kinds = statistics[layer].setdefault(name, {kind: [] for kind in KINDS})
            for kind, norm in zip(KINDS, norms, strict=True):
                kinds[kind].append(norm)

    def watched(setup: Any) -> Any:
        modules.update({layer.name: layer.module for layer in setup.layers if hasattr(layer, "module")})
        statistics.update({layer: {} for layer in modules})
        return setup._replace(layers=recorded(setup.layers, seen))

    return run_one(config, prepared=watched, **keywords) | {"statistics": statistics}


_ROWS = [
    Row("Figure 2: BN 2", {"norm": "bn", "norm_batch": 2}),
    Row("Figure 3: modified BN 2 + WC", {"norm": "modified-bn", "norm_batch": 2}),
    Row("Figure 4: MABN 2 + WC", {"norm": "mabn", "norm_batch": 2}),
]
_NAMES = {"mu": "mu, mean", "var": "sigma^2, variance", "chi2": "chi^2, mean square", "g": "g", "psi": "Psi"}
_NORM = "norm over the channels"
_NOTE = (
    "Norms over the channels, one point a gradient batch. The regular statistics are computed from the same x and "
    "the same gradients of y as the small ones, over all samples of the gradient batch; the network is trained with "
    "the small ones."
)


def _outcome(context: Context, records: Records) -> Outcome:
    lines: list[tuple[str, ...]] = []
    data: dict[str, Any] = {}
    for row in _ROWS:
        plans = configs([row], context)
        found = [results.find(records, config) for config in plans]
        known = [record["statistics"] for record in found if record is not None and record["status"] == "done"]
        if not known:
            continue
        if context.layer not in known[0]:
            raise ValueError(f"layer is {context.layer!r}, expected one of {', '.join(known[0])}")
        of_layer = [statistics[context.layer] for statistics in known]
        run = {"layer": context.layer, "seed": plans[0].seed, "label": label(plans[0])}
        data[row.label] = run | {"statistics": of_layer[0]}
        for name in of_layer[0]:
            kept = [gap for values in of_layer if (gap := _relative(values[name])) is not None]
            shown = text(mean_interval(kept)) if kept else "none"
            lines.append((f"{row.label}: {_NAMES[name]}", str(len(kept)), shown))
    table = Table(
        "Distance of the statistic in use from that of all 32 samples, relative to it, second half of training, %",
        ("", "runs", "distance %"),
        lines,
    )
    return Outcome([table], [], [_NOTE], data)


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    figures = {}
    for row in _ROWS:
        if row.label not in data:
            continue
        found = data[row.label]
        series = {
            _NAMES[name]: {_legend(row, kind): {"mean": values[kind]} for kind in ("small", "regular")}
            for name, values in found["statistics"].items()
        }
        at = range(1, 1 + max((len(values["small"]) for values in found["statistics"].values()), default=0))
        title = f"{row.label}, layer {found['layer']}, seed {found['seed']}"
        name = row.label.partition(":")[0].replace(" ", "").lower()
        figures[name] = plotting.panels(at, series, title, "gradient batch", quantity=_NORM, logarithmic=True)
    return figures


def _legend(row: Row, kind: str) -> str:
    if kind == "regular":
        return "all 32 samples"
    return "average over the window" if row.settings["norm"] == "mabn" else "|B| = 2"


def _relative(values: dict[str, list[float]]) -> float | None:
    """Return the gap in % over the second half of training, after warm-up and the first iterations with r."""
    half = len(values["gap"]) // 2
    regular = sum(values["regular"][half:])
    return 100 * sum(values["gap"][half:]) / regular if regular > 0 else None


_TITLE = "Figures 2, 3 and 4: batch statistics during training"
FIGURES = Study(_TITLE, plan_of(_ROWS), _outcome, _draw, run_recorded, "recordings.jsonl", reads=IMAGES | {"layer"})
