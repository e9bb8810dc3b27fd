"""The normalisers, one file each, all with the same names in the same order: `diff` two of them to see the idea."""

from __future__ import annotations

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

__all__ = [
    "batch_norm",
    "batch_renorm",
    "eval_norm",
    "group_norm",
    "mabn",
    "modified_batch_norm",
    "moving_statistics",
    "online_norm",
    "sync_batch_norm",
]
