"""The definitions once more, written to be obvious: one normalisation batch at a time, lists and loops, no algebra.

An independent transcription of the equations, float64 alone, against which implementations are judged; it shares no
line with `mabn_ref.norms` and `mabn_ref.nn`, and is itself checked against the recorded runs of the authors' code.
"""

from __future__ import annotations

import re
from importlib import import_module
from inspect import getmembers, isclass, isfunction
from pkgutil import iter_modules
from typing import Any

from mabn_ref.mistakes.plain import layers
from mabn_ref.mistakes.plain.batch_statistics import BatchNorm, BatchRenorm, Normaliser
from mabn_ref.mistakes.plain.layers import sgd
from mabn_ref.mistakes.plain.mean_squares import MABN, ModifiedBatchNorm

__all__ = ["LAYERS", "MABN", "NORMALISERS", "BatchNorm", "BatchRenorm", "ModifiedBatchNorm", "Normaliser", "sgd"]

NORMALISERS: dict[str, Any] = {
    re.sub("(?<!^)(?=[A-Z][a-z])", "_", name).lower(): kind
    for file in iter_modules(__path__)
    for name, kind in getmembers(import_module(f"{__name__}.{file.name}"), isclass)
    if issubclass(kind, Normaliser) and kind is not Normaliser
}
"""By the name of the module in `mabn_ref.norms`: `BatchRenorm` is that of batch_renorm. One without a definition here
is checked by its derivatives alone."""
LAYERS: dict[str, Any] = {name: layer for name, layer in getmembers(layers, isfunction) if name != "sgd"}
"""By the name of the module in `mabn_ref.nn`, as the functions are called."""
