"""The definitions once more, written to be obvious: one normalisation batch at a time, lists and loops, no algebra.

An independent transcription of the equations, float64 alone, against which implementations are judged; it shares no
line with `mabn_ref.norms` and `mabn_ref.nn`, and is itself checked against the recorded runs of the authors' code.
"""

from __future__ import annotations

from typing import Any

from mabn_ref.mistakes.plain.batch_statistics import BatchNorm, BatchRenorm, EvalNorm
from mabn_ref.mistakes.plain.layers import LAYERS, sgd
from mabn_ref.mistakes.plain.mean_squares import MABN, ModifiedBatchNorm, PowerNorm, UnifiedNorm
from mabn_ref.mistakes.plain.single_samples import FrozenBatchNorm, GroupNorm, OnlineNorm, RMSNorm

__all__ = ["LAYERS", "MABN", "NORMALISERS", "BatchNorm", "BatchRenorm", "ModifiedBatchNorm", "sgd"]

NORMALISERS: dict[str, Any] = {
    "batch_norm": BatchNorm,
    "batch_renorm": BatchRenorm,
    "modified_batch_norm": ModifiedBatchNorm,
    "mabn": MABN,
    "mabn_variants": MABN,
    "group_norm": GroupNorm,
    "eval_norm": EvalNorm,
    "online_norm": OnlineNorm,
    "rms_norm": RMSNorm,
    "frozen_batch_norm": FrozenBatchNorm,
    "power_norm": PowerNorm,
    "unified_norm": UnifiedNorm,
    "sync_batch_norm": BatchNorm,  # synchronised ranks share one batch, their union
}
"""By the name of the module in `mabn_ref.norms`. One that is not here is checked by its derivatives alone."""
