"""A probe: test a trained detector again, normalised by the statistics of its test batches, not by moving averages.

Training normalises by the statistics of a batch, inference by moving averages. A network that does badly with moving
averages and well with batch statistics has learnt what it should, and fails because the two differ: the probe tells
bad training from this mismatch. It is no way to use a network, since what the network predicts for a scene then
depends on the other scenes in the batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mabn_ref.nn import network
from mabn_ref.norms import batch_norm, modified_batch_norm
from mabn_ref.train import loop
from mabn_ref.train.config import RunConfig, build, state_fields
from mabn_ref.train.devices import to_host


def normaliser(config: RunConfig) -> tuple[Any, Any]:
    """Return the module and Config that normalise by batches of `norm_batch` alone, without averages.

    These are modified batch norm for normalisers that subtract no mean, as MABN, and batch norm for the others. A
    normaliser of single samples, or a curve, is returned as it is.

    Examples
    --------
    >>> module, norm = normaliser(RunConfig(norm="mabn", norm_batch=2))
    >>> module.__name__, norm.norm_batch
    ('mabn_ref.norms.modified_batch_norm', 2)
    """
    module, norm = build(replace(config, devices=1), 1)
    if not hasattr(norm, "norm_batch"):
        return module, norm
    modified = config.form == "modified" or "chi2" in state_fields(config.norm)
    plain = modified_batch_norm if modified else batch_norm
    return plain, plain.Config(norm_batch=config.norm_batch, eps=norm.eps)


def figures(setup: loop.Setup, progress: loop.Progress) -> dict[str, Any]:
    """Return the figures of the task with batch statistics, named "own_ap" and so on.

    The batches are the test scenes in order; scenes that do not fill a batch are left out. A normaliser whose
    state never moves trains with constants, so there is nothing to compare: its figures are None.
    """
    fields = state_fields(setup.config.norm)
    constant = fields and "iteration" not in fields
    found = {} if constant else _figures(setup, progress)
    return {f"own_{name}": found.get(name) for name in setup.task.measures}


def _figures(setup: loop.Setup, progress: loop.Progress) -> dict[str, float]:
    """Return the figures; none if an output is not finite or squares overflow."""
    module, norm = normaliser(setup.config)
    layers = [
        layer._replace(module=module, config=norm) if isinstance(layer, network.Norm) else layer
        for layer in setup.layers
    ]
    _, states = network.init(layers, np.random.default_rng(0), dtype=setup.xp.float32, xp=setup.xp)
    images, truth = setup.images.test.images, setup.images.test.labels
    batch = setup.config.norm_batch
    many, size = len(images) - len(images) % batch, batch * (setup.task.test_batch // batch or 1)
    said = []
    for start in range(0, many, size):
        x = loop.to_input(setup, images[start : min(start + size, many)])
        try:
            said.append(to_host(network.forward(layers, progress.params, states, x)[0]))
        except OverflowError:
            return {}
    if not said or not all(bool(np.all(np.isfinite(logits))) for logits in said):
        return {}
    return setup.task.figures(np.concatenate([setup.task.predictions(logits) for logits in said]), truth[:many])
