"""One training run as a function of its configuration, and the record of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mabn_ref.arrays import check_at_least, kind
from mabn_ref.extras import require
from mabn_ref.train import checkpoints, devices, loop, own_statistics, starting
from mabn_ref.train.config import RunConfig
from mabn_ref.train.results import made_with
from mabn_ref.train.tasks import BOXES, CLASSES, EXAMPLES, PIXELS, Task


class Report(NamedTuple):
    """How far a run is, after a gradient batch or at the end of an epoch."""

    images: int  #: training images done, including those before the run resumed
    total: int
    loss: float  #: mean over this epoch so far
    error: float  #: training error over this epoch so far, in %
    line: loop.Epoch | None  #: the epoch's figures, at its end


def run_one(
    config: RunConfig,
    *,
    task: Task = CLASSES,
    report: Callable[[Report], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    device: str = "cpu",
    source: starting.Source | None = None,
    prepared: Callable[[loop.Setup], loop.Setup] | None = None,
    watched: Callable[[loop.Setup, loop.Progress], object] | None = None,
    finished: Callable[[loop.Setup, loop.Progress], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train one network, on one BLAS thread, and return its record.

    The record is one line of ``results.jsonl``, plain values only: `status` ("done" or "diverged"), `message` (None,
    or the step and the layer where a number was not finite), `config`, `seed`, `versions`, `machine`, `seconds`, and
    `epochs`, a list of `loop.Epoch.figures`. Runs on pixels also have `mean_iou` after the last epoch, in %, and
    `predictions`, a string of digits for each of the first test scenes; runs on boxes have `ap`, `ap50`, `ap75` and
    `predictions`. A run with a source has `start`: how the source describes itself, and what `starting.begin` says of
    the layers. A run on images from a directory has `images`, their digest, unless it resumed from a checkpoint
    without one. Errors are those of `datasets.load`, `checkpoints.load` and `devices.library`, and an ImportError if
    threadpoolctl is not installed.

    Parameters
    ----------
    report : callable, optional
        Called with a `Report` after every gradient batch and epoch.
    checkpoint, checkpoint_every : path, int
        The file of the checkpoint, and the gradient batches from one to the next; another is written at the end of
        each epoch. If the file exists, the run resumes from it.
    device : str
        One of `devices.DEVICES`. It is not part of the configuration: a run may resume on another device.
    source : starting.Source, optional
        The network to begin from; required if ``config.start`` is set, which must be its name.
    prepared, watched, finished : callable, optional
        `prepared` gets the run's `Setup` and returns it, possibly changed: with layers that are watched, for
        instance. `watched` is called with the `Setup` and the `Progress` at the start and after every gradient batch
        and epoch. `finished` is called with both at the end, unless the run diverged, and returns further entries of
        the record.

    Examples
    --------
    >>> record = run_one(RunConfig(width=4, epochs=1, train_size=64, test_size=10))
    >>> record["status"], record["seed"], len(record["epochs"])
    ('done', 0, 1)
    """
    if not isinstance(config, RunConfig):
        raise TypeError(f"config is {kind(config)}, expected a RunConfig")
    check_at_least("checkpoint_every", checkpoint_every, 1, whole=True)
    if config.start != (None if source is None else source.name):
        raise ValueError(f"start is {config.start!r}, expected the name of the source: {source and source.name!r}")
    status, message = "done", None
    further: dict[str, Any] = {}
    xp = devices.library(device)
    with require("threadpoolctl", "run").threadpool_limits(1, "blas"), devices.out_of_memory_as_device_error():
        setup = loop.prepare(config, xp, task)
        if prepared is not None:
            setup = prepared(setup)
        start = loop.begin(setup)
        if source is not None:
            start, layers = starting.begin(setup, start, source)
            further = {"start": source.about | {"layers": layers}}
        file = Path(checkpoint) if checkpoint is not None else None
        if file is not None and file.exists():
            start = checkpoints.load(file, config, start)
        progress = start
        try:
            if watched is not None:
                watched(setup, start)
            for progress in loop.run(setup, start):
                if watched is not None:
                    watched(setup, progress)
                if file is not None and progress.step % checkpoint_every == 0:
                    checkpoints.save(file, config, progress)
                if report is not None:
                    report(_report(setup, progress))
        except loop.Diverged as error:
            status, message = "diverged", str(error)
        if progress.digest is not None:
            further |= {"images": progress.digest}
        further |= _examples(setup, progress, status)
        if finished is not None and status == "done":
            further |= finished(setup, progress)
    return {
        "status": status,
        "message": message,
        "config": config.as_dict(),
        "seed": config.seed,
        **made_with(device),
        "seconds": sum(line.seconds for line in progress.history) + progress.seconds,
        "epochs": [line.figures() for line in progress.history],
        **further,
    }


def run_pixels(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `run_one` does, to predict a class for every pixel of scenes; `data` is "embedded", `augment` False.

    Examples
    --------
    >>> tiny = RunConfig(width=2, epochs=1, gradient_batch=2, window=16, train_size=4, test_size=4, augment=False)
    >>> record = run_pixels(tiny)
    >>> record["status"], len(record["epochs"]), len(record["predictions"][0])
    ('done', 1, 1024)
    """
    return run_one(config, task=PIXELS, **keywords)


def run_boxes(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `run_one` does, to find the boxes in scenes; `data` is "embedded", `augment` False.

    The record also has `own_ap`, `own_ap50` and `own_ap75`, from `own_statistics.figures`.

    Examples
    --------
    >>> tiny = RunConfig(width=2, epochs=1, gradient_batch=4, devices=2, train_size=8, test_size=4, augment=False)
    >>> record = run_boxes(tiny)
    >>> record["status"], len(record["predictions"]), 0 <= record["own_ap"] <= 100
    ('done', 4, True)
    """
    return run_one(config, task=BOXES, finished=own_statistics.figures, **keywords)


def _examples(setup: loop.Setup, progress: loop.Progress, status: str) -> dict[str, Any]:
    """Return the entries of a record on the last epoch, for tasks that keep examples."""
    task = setup.task
    if not task.measures:
        return {}
    if status != "done":
        return {**dict.fromkeys(task.measures), "predictions": []}
    predicted = loop.predictions(setup, progress) if progress.predicted is None else progress.predicted
    measured = {name: getattr(progress.history[-1], name) for name in task.measures}
    return {**measured, "predictions": task.examples(predicted[:EXAMPLES])}


def _report(setup: loop.Setup, progress: loop.Progress) -> Report:
    batch = setup.config.gradient_batch
    images, total = (steps * batch for steps in (setup.done(progress), setup.steps * setup.config.epochs))
    if progress.step == 0:
        line = progress.history[-1]
        return Report(images, total, line.train_loss, line.train_error, line)
    error = 100 * progress.wrong / setup.answers(progress.step)
    return Report(images, total, progress.loss_sum / progress.step, error, None)
