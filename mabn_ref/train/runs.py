"""One training run as a function of its configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mabn_ref.extras import require
from mabn_ref.train import checkpoints, devices, training
from mabn_ref.train.config import RunConfig
from mabn_ref.train.machine import made_with

__all__ = ["Report", "run_one"]


class Report(NamedTuple):
    """How far a run is, after a gradient batch or at the end of an epoch."""

    images: int
    """Training images done, those of an earlier start included."""
    total: int
    loss: float
    """Mean over this epoch so far."""
    error: float
    """Training error over this epoch so far, in %."""
    line: training.Epoch | None
    """The epoch's figures, at its end."""


def run_one(
    config: RunConfig,
    *,
    report: Callable[[Report], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    device: str = "cpu",
    prepared: Callable[[training.Setup], training.Setup] | None = None,
    watched: Callable[[training.Setup, training.Progress], object] | None = None,
    finished: Callable[[training.Setup, training.Progress], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train one network, on one BLAS thread, and return its record.

    Parameters
    ----------
    config : RunConfig
        The run.
    report : callable, optional
        Called with a `Report` after every gradient batch and epoch.
    checkpoint : path, optional
        Where to keep a checkpoint. If the file exists, the run goes on from there.
    checkpoint_every : int
        Gradient batches between two checkpoints; there is one more at the end of each epoch.
    device : str
        "cpu", or "cuda" (CuPy). It is no part of the configuration: a run may go on elsewhere from its checkpoint.
    prepared : callable, optional
        Given what stays as it is during the run, returns it with something in its place: a layer that is watched.
    watched : callable, optional
        Called with that and where the run is: at its start, after every gradient batch and after every epoch.
    finished : callable, optional
        Given that and where the run ended, unless it diverged; returns further entries of the record.

    Returns
    -------
    dict
        One line of ``results.jsonl``: `status` ("done" or "diverged"), `message` (None, or the step and the layer
        where a number was not finite), `config`, `seed`, `versions`, `machine`, `seconds`, and `epochs`, a list of
        the fields of `training.Epoch`. Plain values only.

    Raises
    ------
    ValueError, OSError, ImportError
        If the images cannot be had (see `datasets.load`), the checkpoint is not one of this run (see
        `checkpoints.load`), or threadpoolctl or CuPy is not installed.
    DeviceError
        If the device cannot be used or is full.

    Examples
    --------
    >>> record = run_one(RunConfig(width=4, epochs=1, train_size=64, test_size=10))
    >>> record["status"], record["seed"], len(record["epochs"])
    ('done', 0, 1)
    """
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every is {checkpoint_every}, expected at least 1")
    status, message = "done", None
    xp = devices.library(device)
    with require("threadpoolctl", "run").threadpool_limits(1, "blas"), devices.full_card_said():
        setup = training.prepare(config, xp)
        if prepared is not None:
            setup = prepared(setup)
        start = training.begin(setup)
        file = Path(checkpoint) if checkpoint is not None else None
        if file is not None and file.exists():
            start = checkpoints.load(file, config, start)
        progress = start
        try:
            if watched is not None:
                watched(setup, start)
            for progress in training.run(setup, start):
                if watched is not None:
                    watched(setup, progress)
                if file is not None and progress.step % checkpoint_every == 0:
                    checkpoints.save(file, config, progress)
                if report is not None:
                    report(_report(setup, progress))
        except training.Diverged as error:
            status, message = "diverged", str(error)
        further = finished(setup, progress) if finished is not None and status == "done" else {}
    return {
        "status": status,
        "message": message,
        "config": config.as_dict(),
        "seed": config.seed,
        **made_with(device),
        "seconds": sum(line.seconds for line in progress.history) + progress.seconds,
        "epochs": [line._asdict() for line in progress.history],
        **further,
    }


def _report(setup: training.Setup, progress: training.Progress) -> Report:
    batch = setup.config.gradient_batch
    images = (progress.epoch * setup.steps + progress.step) * batch
    total = setup.config.epochs * setup.steps * batch
    if progress.step == 0:
        line = progress.history[-1]
        return Report(images, total, line.train_loss, line.train_error, line)
    return Report(
        images, total, progress.loss_sum / progress.step, 100 * progress.wrong / (progress.step * batch), None
    )
