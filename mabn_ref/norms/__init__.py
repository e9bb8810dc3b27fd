"""The normalisers, one file each, all with the same names in the same order: `diff` two of them to see the idea."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

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

__all__ = ["NORMS", "Norm"]


class Norm(NamedTuple):
    """A normaliser as commands, tables and checks know it."""

    module: ModuleType
    title: str
    """What tables print."""
    settings: Mapping[str, Any] = {}
    """Fields of its Config that make it what it is: layer norm is group norm with one group."""
    example: Mapping[str, Any] = {}
    """Fields of its Config with which a few steps on small batches reach every branch, for checks and records."""


NORMS: dict[str, Norm] = {
    "bn": Norm(batch_norm, "BN"),
    "brn": Norm(batch_renorm, "BRN", example={"decay": 0.9, "r_max": 2.0, "d_max": 1.5}),
    "modified-bn": Norm(modified_batch_norm, "modified BN"),
    "mabn": Norm(mabn, "MABN", example={"decay": 0.9, "window": 3, "clip": 2.0}),
    "gn": Norm(group_norm, "GN", example={"groups": 2}),
    "ln": Norm(group_norm, "LN", settings={"groups": 1}),
    "in": Norm(group_norm, "IN", settings={"groups": None}),
    "moving": Norm(moving_statistics, "moving statistics"),
    "sync-bn": Norm(sync_batch_norm, "SyncBN"),
    "online": Norm(online_norm, "Online Norm", example={"decay_forward": 0.9, "decay_backward": 0.95}),
    "eval-norm": Norm(eval_norm, "EvalNorm"),
}
"""Every normaliser, by the name that commands and records have for it. Nothing else lists them by hand."""
