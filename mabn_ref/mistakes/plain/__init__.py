"""The definitions once more, written to be obvious: one normalisation batch at a time, lists and loops, no algebra.

An independent transcription of the equations, float64 alone, against which implementations are judged; it shares no
line with `mabn_ref.norms` and `mabn_ref.nn`, and is itself checked against the recorded runs of the authors' code.
"""

from __future__ import annotations

from typing import Any

from mabn_ref.mistakes.plain.batch_norm import BatchNorm
from mabn_ref.mistakes.plain.batch_renorm import BatchRenorm
from mabn_ref.mistakes.plain.eval_norm import EvalNorm
from mabn_ref.mistakes.plain.group_norm import GroupNorm
from mabn_ref.mistakes.plain.layers import LAYERS, sgd
from mabn_ref.mistakes.plain.mabn import MABN
from mabn_ref.mistakes.plain.modified_batch_norm import ModifiedBatchNorm
from mabn_ref.mistakes.plain.online_norm import OnlineNorm

__all__ = [
    "LAYERS",
    "MABN",
    "NORMS",
    "BatchNorm",
    "BatchRenorm",
    "EvalNorm",
    "GroupNorm",
    "ModifiedBatchNorm",
    "OnlineNorm",
    "sgd",
]

NORMS: dict[str, Any] = {
    "batch_norm": BatchNorm,
    "batch_renorm": BatchRenorm,
    "modified_batch_norm": ModifiedBatchNorm,
    "mabn": MABN,
    "group_norm": GroupNorm,
    "eval_norm": EvalNorm,
    "online_norm": OnlineNorm,
    "sync_batch_norm": BatchNorm,
}
"""By the name of the module in `mabn_ref.norms`. Synchronised ranks share one batch, their union."""
