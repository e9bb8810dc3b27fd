"""Networks to fine-tune: the detector's backbone, trained to tell embedded images apart with batch norm of 32.

The textures are those of the objects that the detector of Table 6 looks for. A pretraining is not stored: every
process that needs one repeats it, for it depends only on the configuration of the runs that begin from it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mabn_ref.data import CLASSES as CLASS_COUNT
from mabn_ref.nn import convert, network
from mabn_ref.norms import mabn
from mabn_ref.train import boxes, loop
from mabn_ref.train.config import RunConfig, recipe
from mabn_ref.train.runs import run_boxes
from mabn_ref.train.starting import MEASURED, Source
from mabn_ref.train.tasks import Task, of_network

PLAIN, CENTRALIZED = "BN 32", "BN 32 + WC"
"""The two pretrainings, as `RunConfig.start` names them."""


def run_tuned(config: RunConfig, **keywords: Any) -> dict[str, Any]:
    """Train as `mabn_ref.train.runs.run_boxes` does, from the pretraining that ``config.start`` names, if any.

    The pretraining has six times as many embedded images as the run has scenes, and as many epochs.
    """
    if config.start is None:
        return run_boxes(config, **keywords)
    if config.start not in (PLAIN, CENTRALIZED):
        raise ValueError(f"start is {config.start!r}, expected {PLAIN!r}, {CENTRALIZED!r} or None")
    own: dict[str, Any] = {"norm_batch": 32, "centralized": config.start == CENTRALIZED, "augment": False, "lr": 0.06}
    shared = {name: getattr(config, name) for name in ("test_size", "width", "epochs", "weight_decay", "seed")}
    pretraining = recipe("bn", train_size=6 * (config.train_size or 0), **own, **shared)
    return run_boxes(config, source=_pretrained(config.start, pretraining), **keywords)


def backbone_classifier(module: Any, config: Any, **options: Any) -> list[network.Layer]:
    """Return the layers of the detector before its head, followed by a global average pool and a linear layer.

    Examples
    --------
    >>> [layer.name for layer in backbone_classifier(None, None, width=4)][-4:]
    ['norm5', 'relu5', 'pool', 'linear']
    """
    layers = boxes.detector(module, config, **options)
    backbone = layers[: [layer.name for layer in layers].index("head")]
    last = backbone[-2]
    assert isinstance(last, network.Norm)
    pool = network.GlobalAveragePool("pool")
    return [*backbone, pool, network.Linear("linear", last.channels, CLASS_COUNT)]


class _Backbone(Task):
    """Classify images with the detector's backbone."""

    def network(self, config: RunConfig, module: Any, norm: Any) -> list[network.Layer]:
        return backbone_classifier(module, norm, **of_network(config))


@functools.lru_cache(maxsize=4)
def _pretrained(name: str, config: RunConfig) -> Source:
    """Train the network; its description in records includes what each conversion to MABN loses."""
    setup = loop.prepare(config, task=_Backbone())
    *_, end = loop.run(setup, loop.begin(setup))
    net = convert.Network(setup.layers, end.params, end.states)
    return Source(name, net, {"config": config.as_dict(), "conversions": conversions(net, setup)})


def conversions(net: convert.Network, setup: loop.Setup) -> dict[str, dict[str, float]]:
    """Return the test error in % after each conversion to MABN, and how far the logits moved, in % of their size.

    Nothing is trained. "exact" exchanges the normalisers only; the others also centre the weights: "naive" keeps the
    statistics, "plain" and "optimal" measure them again.
    """
    config = mabn.Config()
    measured = loop.to_input(setup, setup.images.train.images[:MEASURED])
    centralized = [
        layer._replace(centralized=True) if isinstance(layer, network.Conv) else layer for layer in net.layers
    ]
    ways = {"none": net, "exact": convert.convert(*net, mabn, config)}
    if centralized != net.layers:
        ways["naive"] = convert.convert(centralized, net.params, net.states, mabn, config)
        for name, optimal in (("plain", False), ("optimal", True)):
            ways[name] = convert.convert(*convert.centre(*net, measured, optimal=optimal), mabn, config)
    images, many = setup.images.test.images, setup.task.test_batch
    batches = [loop.to_input(setup, images[n : n + many]) for n in range(0, len(images), many)]
    logits = {name: np.concatenate([network.infer(*way, batch) for batch in batches]) for name, way in ways.items()}
    size = np.sqrt(np.mean(logits["none"] ** 2))
    return {
        name: {
            **setup.task.figures(setup.task.predictions(said), setup.images.test.labels),
            "moved": float(100 * np.sqrt(np.mean((said - logits["none"]) ** 2)) / size),
        }
        for name, said in logits.items()
    }
