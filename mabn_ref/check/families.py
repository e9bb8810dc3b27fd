"""Which bendable layer stands for a normaliser, and what it makes of a call."""

from __future__ import annotations

from typing import Any

from mabn_ref.arrays import Array
from mabn_ref.check import gradients
from mabn_ref.check.conventions import Convention
from mabn_ref.check.eval_model import EvalModel
from mabn_ref.check.model import Batch, Model, batch_of
from mabn_ref.check.online_model import OnlineModel
from mabn_ref.check.sample_model import SampleModel, samples_of
from mabn_ref.check.scenarios import ALONE

__all__ = ["backward", "call_of", "model_of"]


def model_of(norm: str, convention: Convention, channels: int) -> Any:
    """Return the layer that a target of this name is compared with."""
    if norm in ALONE:
        return SampleModel(convention)
    if norm == "eval-norm":
        return EvalModel("bn", convention, channels)
    return OnlineModel(convention, channels) if norm == "online" else Model(norm, convention, channels)


def call_of(norm: str, x: Array, samples: int, convention: Convention) -> Batch:
    """Cut a call into what shares statistics."""
    if norm in ALONE:
        return samples_of(x, convention.groups)
    return batch_of(x, 1 if norm == "online" else samples, convention.shared_by)


def backward(model: Any, dz: Array) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta."""
    found: tuple[Array, Array, Array] = (
        gradients.backward(model, dz) if isinstance(model, Model) else model.backward(dz)
    )
    return found
