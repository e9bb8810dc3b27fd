"""From the plain values of a run to a normaliser's module and its `Config`."""

from __future__ import annotations

from typing import Any

from mabn_ref.norms import (
    batch_norm,
    batch_renorm,
    eval_norm,
    group_norm,
    mabn,
    modified_batch_norm,
    moving_statistics,
    online_norm,
    sync_batch_norm,
)
from mabn_ref.train.config import RunConfig, groups_of

__all__ = ["build"]


def build(config: RunConfig, steps: int) -> tuple[Any, Any]:
    """Return the normaliser's module and configuration.

    Parameters
    ----------
    config : RunConfig
        The run.
    steps : int
        Its gradient batches, into which Batch Renormalization squeezes its schedule.

    Returns
    -------
    module, config
        One of `mabn_ref.norms` and its `Config`.

    Notes
    -----
    A normaliser counts normalisation batches, `RunConfig.micro_batches` of them in a gradient batch. Ioffe's schedule
    runs r_max from 1 to 3 between steps 5k and 40k, and d_max from 0 to 5 between 5k and 25k, of 160k: the same
    fractions of the run here.

    Examples
    --------
    >>> module, norm = build(RunConfig(norm="mabn", norm_batch=2), steps=500)
    >>> norm.window, norm.renorm_from
    (16, 1601)
    """
    shared: dict[str, Any] = {"norm_batch": config.norm_batch, "decay": config.decay}
    per_step = config.micro_batches
    if config.norm == "bn":
        return batch_norm, batch_norm.Config(**shared)
    if config.norm == "modified-bn":
        return modified_batch_norm, modified_batch_norm.Config(**shared)
    if config.norm == "sync-bn":  # one process: a single rank with the whole batch
        return sync_batch_norm, sync_batch_norm.Config(**shared)
    if config.norm == "brn":
        total = steps * per_step if config.ramp is None else int(steps * per_step * config.ramp)
        r_max = batch_renorm.Ramp(start=total * 5 // 160, stop=total * 40 // 160, first=1.0, last=config.r_max)
        d_max = batch_renorm.Ramp(start=total * 5 // 160, stop=total * 25 // 160, first=0.0, last=config.d_max)
        return batch_renorm, batch_renorm.Config(**shared, r_max=r_max, d_max=d_max)
    if config.norm in ("gn", "ln", "in"):
        return group_norm, group_norm.Config(groups={"gn": groups_of(config), "ln": 1, "in": None}[config.norm])
    if config.norm == "eval-norm":
        return eval_norm, eval_norm.Config(**shared, estimated=config.estimated)
    if config.norm == "online":
        return online_norm, online_norm.Config(decay_forward=config.decay)
    renorm_from = config.renorm_after * per_step + 1
    if config.norm == "moving":
        return moving_statistics, moving_statistics.Config(
            **shared,
            form=str(config.form),
            forward=str(config.forward_average),
            backward=str(config.backward_average),
            window=config.window or per_step,
            r_max=config.clip,
            d_max=config.d_max,
            renorm_from=renorm_from,
        )
    return mabn, mabn.Config(
        **shared,
        window=config.window or per_step,
        clip=config.clip,
        renorm_from=renorm_from,
    )
