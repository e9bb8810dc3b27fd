"""The model that a layer is compared with: a bendable one or, if there is none, the normaliser's own module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check import batch_gradients
from mabn_ref.check.batch_model import Batch, Model, batch_of, samples_of
from mabn_ref.check.conventions import Convention
from mabn_ref.check.sample_models import EvalModel, OnlineModel, SampleModel
from mabn_ref.check.scenarios import ALONE, MODULES

BENDABLE: dict[str, Any] = {
    **dict.fromkeys(("bn", "brn", "modified-bn", "mabn"), Model),
    **dict.fromkeys(ALONE, SampleModel),
    "online": OnlineModel,
    "eval-norm": EvalModel,
}
"""The models that have every known convention, by the name of the normaliser."""


def model_of(norm: str, convention: Convention, channels: int, config: Any) -> Any:
    """Return the layer that a target is compared with; `config` is used if there is no bendable model."""
    kind = BENDABLE.get(norm)
    if kind:
        return kind(norm, convention, channels)
    if hasattr(config, "backward_by"):
        config = replace(config, backward_by=convention.backward_by)
    return ModuleModel(MODULES[norm], config, channels)


def call_of(norm: str, x: Array, samples: int, convention: Convention) -> Batch:
    """Cut a call into groups of values that share statistics."""
    if norm in ALONE:
        return samples_of(x, convention)
    return batch_of(x, 1 if norm == "online" else samples, convention.shared_by)


def backward(model: Any, dz: Array) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta."""
    found: tuple[Array, Array, Array] = (
        batch_gradients.backward(model, dz) if isinstance(model, Model) else model.backward(dz)
    )
    return found


class ModuleModel:
    """A module of `mabn_ref.norms` with the functions of a bendable model; it cannot be bent itself."""

    def __init__(self, module: Any, config: Any, channels: int) -> None:
        self.module, self.config = module, config
        self.kept: Any = module.init(channels, config, dtype=np.float64)
        self.cache: Any = None
        self.largest: tuple[Array, Array] = np.ones(channels), np.ones(channels)

    def forward(self, batch: Batch, gamma: Array, beta: Array, observed: Array | None = None) -> Array:
        x = batch.x.reshape(batch.shape)
        z, self.cache, self.kept = self.module.forward(x, gamma, beta, self.kept, self.config)
        steep = 1 / np.sqrt(batch.var[:, None] + self.config.eps)
        self.largest = batch.largest(batch.cut(np.abs((z - beta) / gamma))), batch.largest(steep)
        return np.asarray(z)

    def backward(self, dz: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta, self.kept = self.module.backward(dz, self.cache, self.kept)
        return dx, dgamma, dbeta

    def infer(self, x: Array, gamma: Array, beta: Array) -> Array:
        return np.asarray(self.module.infer(x, gamma, beta, self.kept, self.config))

    def state(self) -> dict[str, Array]:
        named = self.kept._asdict()
        found = {"mean": named["mean"]} if "mean" in named else {}
        square = named.get("var", named.get("chi2"))
        return found if square is None else found | {"square": square, "root": np.sqrt(square + self.config.eps)}

    def sizes(self) -> tuple[Array, Array]:
        """The largest normalised value and, roughly, the largest slope of every channel, (C,)."""
        return self.largest
