"""Figure 1(a) and Table 9: the cost of inference and training with each normaliser, measured in one process."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.extras import require
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.nn.folding import fold, infer_folded, operations
from mabn_ref.paper.study import Context, Outcome, Records, Study, no_runs, usual
from mabn_ref.train import plotting
from mabn_ref.train.config import build, recipe
from mabn_ref.train.table_layout import Table

ROUNDS, _IMAGES = 45, 32

_SUBJECTS: dict[str, tuple[dict[str, Any], bool, str]] = {
    "BN 32, folded": ({"norm": "bn", "norm_batch": 32}, True, "237.88"),
    "BN 32": ({"norm": "bn", "norm_batch": 32}, False, ""),
    "MABN 2 + WC, folded": ({"norm": "mabn", "norm_batch": 2}, True, "237.88"),
    "MABN 2 + WC": ({"norm": "mabn", "norm_batch": 2}, False, ""),
    "GN": ({"norm": "gn", "norm_batch": 1}, False, "99.37"),
    "IN": ({"norm": "in", "norm_batch": 1}, False, "105.60"),
    "LN": ({"norm": "ln", "norm_batch": 1}, False, "125.44"),
}
"""Settings, whether folded for inference, and the paper's iterations per second for ResNet-50."""


class Subject(NamedTuple):
    """A network whose time and memory are measured."""

    layers: list[Any]
    #: functions without arguments, "infer" and "train"; no "train" if the normaliser is folded
    calls: dict[str, Callable[[], Any]]
    worst_fold: float | None  #: the largest difference of the folded network's logits, relative to the largest logit


def _subject(settings: dict[str, Any], folded: bool, width: int) -> Subject:
    rng = np.random.default_rng(0)
    config = recipe(**settings, width=width)
    module, norm = build(config, steps=1)
    layers = networks.small_network(module, norm, centralized=config.centralized, width=width)
    params, states = network.init(layers, rng)
    x = rng.standard_normal((_IMAGES, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 10, _IMAGES)
    for _ in range(3):  # so that the moving statistics are not the initial ones
        _, _, states = network.forward(layers, params, states, x)

    def train() -> Any:
        logits, caches, after = network.forward(layers, params, states, x)
        _, cache = softmax_cross_entropy.forward(logits, labels)
        grads, _ = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, after)
        return optimiser.step(params, grads, optimiser.init(params), lr=0.1, momentum=0.9, weight_decay=5e-4)

    if not folded:
        return Subject(layers, {"infer": lambda: network.infer(layers, params, states, x), "train": train}, None)
    steps = fold(layers, params, states)
    plain = network.infer(layers, params, states, x)
    worst = float(np.max(np.abs(infer_folded(steps, x) - plain)) / np.max(np.abs(plain)))
    return Subject(layers, {"infer": lambda: infer_folded(steps, x)}, worst)


def measure_cost(width: int = 32, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Measure time and peak memory of inference and of a training step of one network with each normaliser.

    Every round runs all of them in turn, so that whatever slows the machine for a while slows all. Each runs twice in
    a row, and the second call is timed. There is one BLAS thread.

    Returns by name: "infer" and "train", each a list of median and quartiles over the rounds, in ms; "infer_memory"
    and "train_memory" in MB; "operations" of one image; "worst_fold". If the normaliser is folded, there are no
    entries for training.
    """
    with require("threadpoolctl", "run").threadpool_limits(1, "blas"):
        subjects = {name: _subject(settings, folded, width) for name, (settings, folded, _) in _SUBJECTS.items()}
        times = defaultdict[tuple[str, str], list[float]](list)
        for _ in range(rounds):
            for name, subject in subjects.items():
                for what, call in subject.calls.items():
                    call()  # not timed, so that every timed call follows an equal one
                    start = time.perf_counter()
                    call()
                    times[name, what].append(1e3 * (time.perf_counter() - start))
        found: dict[str, dict[str, Any]] = {}
        for name, subject in subjects.items():
            found[name] = {what: _quartiles(times[name, what]) for what in subject.calls}
            found[name] |= {f"{what}_memory": _peak(call) for what, call in subject.calls.items()}
            found[name]["operations"] = operations(subject.layers, folded=_SUBJECTS[name][1])._asdict()
            found[name]["worst_fold"] = subject.worst_fold
    return found


def _quartiles(values: list[float]) -> list[float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [middle, low, high]


def _peak(call: Callable[[], Any]) -> float:
    """Return the most memory that the call allocates at once, in MB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _outcome(context: Context, records: Records) -> Outcome:
    width = int(context.settings.get("width", 32))
    found = measure_cost(width)
    base, step = found["BN 32, folded"]["infer"][0], found["BN 32"]["train"][0]
    header = ("", "paper it/s", "inference ms", "times BN", "step ms", "times BN", "M operations", "MB", "MB, step")
    lines: list[tuple[str, ...]] = []
    for name, cost in found.items():
        trains = "train" in cost
        count = sum(cost["operations"].values()) / 1e6
        inference = (_spread(cost["infer"]), f"{cost['infer'][0] / base:.2f}")
        training = (_spread(cost["train"]), f"{cost['train'][0] / step:.2f}") if trains else ("-", "-")
        memory = (f"{cost['infer_memory']:.1f}", f"{cost['train_memory']:.1f}" if trains else "-")
        lines.append((name, _SUBJECTS[name][2] or "-", *inference, *training, f"{count:.2f}", *memory))
    title = f"Table 9: cost on one core, {_IMAGES} images of 32 x 32, width {width}; "
    title += f"medians and quartiles of {ROUNDS} rounds"
    worst = max(cost["worst_fold"] for cost in found.values() if cost["worst_fold"] is not None)
    notes = [
        "These are this package's NumPy passes, written to be read. The paper's figure is ResNet-50 on a GPU.",
        f"Folding changes the logits by at most {worst:.1e} of the largest, which is float32's rounding.",
        "Operations of one image: a multiplication and an addition count one each. Memory is the peak of one call.",
        "BN and MABN count as a scale and a shift of each value at inference, folded as a shift; others as they run.",
        "`times BN` is of BN 32 folded at inference and of BN 32 in training, where nothing can be folded.",
    ]
    return Outcome([Table(title, header, lines)], [], notes, found)


def _spread(values: list[float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f}-{values[2]:.2f})"


def _draw(data: Mapping[str, Any]) -> dict[str, Any]:
    figure = plotting.new(plotting.NARROW, 3.4)
    for number, (what, title) in enumerate((("infer", "inference"), ("train", "training step")), start=1):
        axes = figure.add_subplot(1, 2, number)
        for position, cost in enumerate(data.values()):
            if what not in cost:
                continue
            middle, low, high = cost[what]
            axes.barh(position, middle, color=plotting.COLOURS[6])
            axes.errorbar(middle, position, xerr=[[middle - low], [high - middle]], color="black", capsize=3)
        axes.set_yticks(range(len(data)), list(data) if number == 1 else [""] * len(data))
        axes.set_ylim(len(data) - 0.5, -0.5)
        plotting.finish(axes, title, f"ms for {_IMAGES} images\n(bar: quartiles)")
    return {"": figure}


def _suited(context: Context) -> Context:
    """Keep only the width: no other setting is used."""
    return context._replace(settings={"width": usual(context).settings["width"]})


TABLE9 = Study(
    "Figure 1(a) and Table 9: the cost of each normaliser",
    no_runs,
    _outcome,
    _draw,
    seeds=1,
    suited=_suited,
    reads=frozenset({"width"}),
)
