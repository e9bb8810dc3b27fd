"""Dense prediction with true small batches: a class for every pixel, weights updated after every batch of two.

The paper's COCO and Cityscapes experiments in miniature. Scenes are those of `mabn_ref.data.scenes`, the network is a
tiny encoder-decoder, and the measure is the mean intersection over union of the classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.data import channel_statistics, scenes, to_float
from mabn_ref.extras import require
from mabn_ref.nn import network, schedule, sgd, softmax_cross_entropy
from mabn_ref.train import devices, normalisers
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import to_device, to_host
from mabn_ref.train.machine import made_with
from mabn_ref.train.runs import Report
from mabn_ref.train.training import Diverged

__all__ = ["EXAMPLES", "encoder_decoder", "mean_iou", "run_one"]

EXAMPLES = 4
"""Test scenes whose predictions a record keeps."""

_CLASSES = len(scenes.CLASS_NAMES)
_TEST_BATCH = 100


def encoder_decoder(
    module: Any, config: Any, *, centralized: bool = False, standardized: bool = False, width: int = 16
) -> list[network.Layer]:
    """Three convolutions down to a quarter of each side, two up again, and a class for every pixel.

    A 32x32 image becomes maps of 16, 8 and 8 pixels, then, after nearest upsampling, of 16 and 32.

    Parameters
    ----------
    module, config
        The normaliser, a module of `mabn_ref.norms`, and its Config.
    centralized, standardized : bool
        What is done to the weights of all convolutions but the last, which no normaliser follows.
    width : int
        Channels of the first convolution and of the last map.

    Returns
    -------
    list of Layer
        The network; its output has shape (N, 32, 32, classes).

    Examples
    --------
    >>> [layer.name for layer in encoder_decoder(None, None) if "norm" not in layer.name and "relu" not in layer.name]
    ['conv1', 'conv2', 'conv3', 'up1', 'conv4', 'up2', 'conv5', 'head']
    """
    channels = [3, width, 2 * width, 2 * width, width, width]
    layers: list[network.Layer] = []
    for i, stride in enumerate((2, 2, 1, 1, 1), start=1):
        if i > 3:
            layers.append(network.Upsample(f"up{i - 3}"))
        conv = network.Conv(f"conv{i}", channels[i - 1], channels[i], stride=stride)
        layers.append(conv._replace(centralized=centralized, standardized=standardized))
        layers.append(network.Norm(f"norm{i}", module, channels[i], config))
        layers.append(network.ReLU(f"relu{i}"))
    return [*layers, network.Conv("head", width, _CLASSES, kernel=1, padding=0)]


def mean_iou(confusion: Array) -> float:
    """Return the mean over classes of intersection over union, in %.

    Parameters
    ----------
    confusion : array of int, shape (classes, classes)
        Pixels by true class and predicted class.

    Returns
    -------
    float
        Classes that are neither there nor predicted do not count.

    Examples
    --------
    Two classes, of which one pixel of four is taken for the other:

    >>> round(mean_iou(np.array([[2, 0], [1, 1]])), 2)
    58.33
    """
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return float(100 * np.mean(both[union > 0] / union[union > 0]))


def run_one(
    config: RunConfig, *, report: Callable[[Report], object] | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Train one network on scenes, on one BLAS thread, and return its record.

    Parameters
    ----------
    config : RunConfig
        The run; `data` is "embedded" and stands for the scenes, which are the same for all seeds, and there is no
        augmentation.
    report : callable, optional
        Called with a `mabn_ref.train.runs.Report` every hundred steps and after every epoch.
    device : str
        "cpu", or "cuda" (CuPy).

    Returns
    -------
    dict
        As `mabn_ref.train.runs.run_one` does. An epoch, and the record for the last of them, also
        has `mean_iou`, in %; `train_error` and
        `test_error` are those of pixels; `predictions` are the last predictions of the first test scenes, a string of
        digits each.

    Raises
    ------
    ValueError
        If `data` is another.
    ImportError, DeviceError
        If threadpoolctl or CuPy is not installed, or the device cannot be used or is full.

    Examples
    --------
    >>> tiny = RunConfig(width=2, epochs=1, gradient_batch=2, window=16, train_size=4, test_size=4, augment=False)
    >>> record = run_one(tiny)
    >>> record["status"], len(record["epochs"]), len(record["predictions"][0])
    ('done', 1, 1024)
    """
    if config.data != "embedded" or config.augment:
        raise ValueError(
            f"data is {config.data!r} and augment {config.augment}, expected 'embedded' and False: scenes are drawn"
        )
    xp, epochs = devices.library(device), list[dict[str, Any]]()
    status, message, predictions = "done", None, list[str]()
    start = time.perf_counter()
    # A run that diverges overflows first; it is reported by step and layer, which says more than NumPy's warning.
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with require("threadpoolctl", "run").threadpool_limits(1, "blas"), devices.full_card_said(), quiet:
        try:
            predictions = _train(config, xp, epochs, report)
        except Diverged as error:
            status, message = "diverged", str(error)
    return {
        "status": status,
        "message": message,
        "config": config.as_dict(),
        "seed": config.seed,
        **made_with(device),
        "seconds": time.perf_counter() - start,
        "epochs": epochs,
        "mean_iou": epochs[-1]["mean_iou"] if status == "done" else None,
        "predictions": predictions,
    }


def _train(
    config: RunConfig, xp: Any, epochs: list[dict[str, Any]], report: Callable[[Report], object] | None
) -> list[str]:
    """Train, adding a line to `epochs` after each; return the predictions for the first test scenes."""
    train, test = scenes.generate(config.train_size or 0, config.test_size or 0, 0)
    mean, std = channel_statistics(train.images)
    batch, steps = config.gradient_batch, len(train.images) // config.gradient_batch
    module, norm = normalisers.build(config, steps * config.epochs)
    layers = encoder_decoder(
        module, norm, centralized=config.centralized, standardized=config.standardized, width=config.width
    )
    weights, orders = (np.random.default_rng(child) for child in np.random.SeedSequence(config.seed).spawn(2))
    params, states = network.init(layers, weights, dtype=xp.float32, xp=xp)
    velocity, total = sgd.init(params), steps * config.epochs
    predicted: Array = None
    for epoch in range(config.epochs):
        started, loss_sum, wrong = time.perf_counter(), 0.0, 0
        order = orders.permutation(len(train.images))
        for step in range(steps):
            chosen, done = order[step * batch : (step + 1) * batch], epoch * steps + step
            x, truth = to_device(to_float(train.images[chosen], mean, std), xp), train.masks[chosen].ravel()
            try:
                logits, caches, after = network.forward(layers, params, states, x)
            except OverflowError as overflow:
                layer = network.first_non_finite(layers, params, states, x)
                raise Diverged(f"step {done + 1}: layer {layer}: {overflow}") from overflow
            loss, cache = softmax_cross_entropy.forward(_pixels(logits, xp), to_device(truth, xp))
            if not math.isfinite(float(loss)):
                layer = network.first_non_finite(layers, params, states, x)
                raise Diverged(f"step {done + 1}: the loss is {float(loss)}; first not finite: layer {layer}")
            dlogits = xp.reshape(softmax_cross_entropy.backward(1.0, cache), logits.shape)
            grads, states = network.backward(layers, dlogits, caches, after)
            lr = schedule.cosine(done, steps=total, lr=config.lr, warmup=min(config.warmup, total // 2))
            params, velocity = sgd.step(
                params, grads, velocity, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay
            )
            loss_sum += float(loss)
            wrong += int(np.sum(np.argmax(to_host(_pixels(logits, xp)), axis=1) != truth))
            if report is not None and step % 100 == 99:
                error = 100 * wrong / ((step + 1) * batch * 1024)
                report(Report((done + 1) * batch, total * batch, loss_sum / (step + 1), error, None))
        predicted = _predict(layers, params, states, to_float(test.images, mean, std), xp, (epoch + 1) * steps)
        counts = np.bincount((_CLASSES * test.masks + predicted).ravel(), minlength=_CLASSES**2)
        line = {
            "epoch": epoch + 1,
            "train_loss": loss_sum / steps,
            "train_error": 100 * wrong / (steps * batch * 1024),
            "test_error": float(100 * np.mean(predicted != test.masks)),
            "mean_iou": mean_iou(counts.reshape(_CLASSES, _CLASSES)),
            "seconds": time.perf_counter() - started,
        }
        epochs.append(line)
        if report is not None:
            report(Report((epoch + 1) * steps * batch, total * batch, line["train_loss"], line["train_error"], None))
    return ["".join(map(str, image.ravel())) for image in predicted[:EXAMPLES]]


def _pixels(logits: Array, xp: Any) -> Array:
    """Logits as (pixels, classes)."""
    return xp.reshape(logits, (-1, _CLASSES))


def _predict(layers: Any, params: Any, states: Any, images: Array, xp: Any, step: int) -> Array:
    """The class of every pixel of the test scenes, with the moving statistics."""
    found = []
    for start in range(0, len(images), _TEST_BATCH):
        x = to_device(images[start : start + _TEST_BATCH], xp)
        try:
            logits = to_host(network.infer(layers, params, states, x))
        except OverflowError as error:
            raise Diverged(f"step {step}, on test scenes: {error}") from error
        if not bool(np.all(np.isfinite(logits))):
            raise Diverged(f"step {step}: the output on test scenes is not finite, though all training losses were")
        found.append(np.argmax(logits, axis=3))
    return np.concatenate(found)
