"""The training loop: one step, the end of an epoch, and what a run holds between two of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import Array
from mabn_ref.data import CLASSES, to_float
from mabn_ref.data.augment import flip_and_crop
from mabn_ref.extras import require
from mabn_ref.nn import network, schedule, sgd, softmax_cross_entropy
from mabn_ref.train import datasets, normalisers
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import to_device, to_host

__all__ = ["Diverged", "Epoch", "Progress", "Setup", "begin", "prepare", "run", "test_error_of"]

_TEST_BATCH = 250


class Diverged(ArithmeticError):
    """A loss or an output is not finite, or squares overflow; the message names the step and the layer."""


class Epoch(NamedTuple):
    """One line of a run's history. Training figures are of the augmented images while the weights changed."""

    epoch: int
    train_loss: float
    train_error: float
    test_error: float
    seconds: float


class Setup(NamedTuple):
    """What stays as it is during a run."""

    config: RunConfig
    images: datasets.Images
    layers: list[Any]
    steps: int
    """Gradient batches an epoch; the images left over are dropped."""
    xp: Any
    """The array library of the device."""


class Progress(NamedTuple):
    """What a run holds between two steps: nothing else decides how it goes on."""

    params: list[dict[str, Array]]
    velocity: list[dict[str, Array]]
    states: list[Any]
    rng: Mapping[str, Any]
    """State of the generator that draws orders, flips and crops."""
    order: npt.NDArray[np.int64]
    """This epoch's order of the training images."""
    epoch: int
    """Epochs completed."""
    step: int
    """Gradient batches done in this epoch."""
    loss_sum: float
    wrong: int
    seconds: float
    """This epoch's so far."""
    history: tuple[Epoch, ...]


def prepare(config: RunConfig, xp: Any = np) -> Setup:
    """Read the images and build the network of a run, which computes with the array library `xp`.

    Raises
    ------
    ValueError, ConnectionError, ImportError
        As `datasets.load` does.
    """
    images = datasets.load(config)
    steps = len(images.train.labels) // config.gradient_batch
    module, norm = normalisers.build(config, steps * config.epochs)
    layers = network.small_network(
        module,
        norm,
        centralized=config.centralized,
        standardized=config.standardized,
        classes=CLASSES,
        width=config.width,
    )
    return Setup(config, images, layers, steps, xp)


def begin(setup: Setup) -> Progress:
    """Return a run's start: initial weights and the first order, the same for every normaliser of one seed."""
    weights, order = (np.random.default_rng(child) for child in np.random.SeedSequence(setup.config.seed).spawn(2))
    params, states = network.init(setup.layers, weights, dtype=setup.xp.float32, xp=setup.xp)
    first = order.permutation(len(setup.images.train.labels))
    return Progress(params, sgd.init(params), states, order.bit_generator.state, first, 0, 0, 0.0, 0, 0.0, ())


def run(setup: Setup, progress: Progress) -> Iterator[Progress]:
    """Go on from `progress` to the end of the run, yielding after every step and at the end of every epoch.

    Steps and tests compute on one BLAS thread; between them the process has as many as it had.

    Raises
    ------
    Diverged
        If a loss, or an output on test images, is not finite, or the squares of a layer's input overflow.
    ImportError
        If threadpoolctl is not installed.
    """
    blas = require("threadpoolctl", "run").ThreadpoolController()
    while progress.epoch < setup.config.epochs:
        advance = _step if progress.step < setup.steps else _end_epoch
        # A run that diverges overflows first; it is reported by step and layer, which says more than NumPy's warning.
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        # More threads of BLAS add in another order, and a run's last bits would be those of whoever calls it.
        with blas.limit(limits=1, user_api="blas"), quiet:
            progress = advance(setup, progress)
        yield progress


def _step(setup: Setup, progress: Progress) -> Progress:
    """One gradient batch: draw, forward, backward, update."""
    start = time.perf_counter()
    config, layers = setup.config, setup.layers
    rng = _generator(progress.rng)
    chosen = progress.order[progress.step * config.gradient_batch :][: config.gradient_batch]
    pixels, labels = setup.images.train.images[chosen], setup.images.train.labels[chosen]
    if config.augment:
        pixels = flip_and_crop(pixels, rng)
    x = to_device(to_float(pixels, setup.images.mean, setup.images.std), setup.xp)
    truth = to_device(labels, setup.xp)

    done = progress.epoch * setup.steps + progress.step
    try:
        logits, caches, states = network.forward(layers, progress.params, progress.states, x)
    except OverflowError as error:
        layer = network.first_non_finite(layers, progress.params, progress.states, x)
        raise Diverged(f"step {done + 1}: layer {layer}: {error}") from error
    loss_value, cache = softmax_cross_entropy.forward(logits, truth)
    loss = float(loss_value)
    if not math.isfinite(loss):
        layer = network.first_non_finite(layers, progress.params, progress.states, x)
        where = f"the first output that is not finite is that of layer {layer}" if layer else "all layers are finite"
        raise Diverged(f"step {done + 1}: the loss is {loss}; {where}")
    dlogits = softmax_cross_entropy.backward(1.0, cache)
    grads, states = network.backward(layers, dlogits, caches, states)

    total = setup.steps * config.epochs
    lr = schedule.cosine(done, steps=total, lr=config.lr, warmup=min(config.warmup, total // 2))
    params, velocity = sgd.step(
        progress.params, grads, progress.velocity, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return progress._replace(
        params=params,
        velocity=velocity,
        states=states,
        rng=rng.bit_generator.state,
        step=progress.step + 1,
        loss_sum=progress.loss_sum + loss,
        wrong=progress.wrong + _wrong(to_host(logits), labels),
        seconds=progress.seconds + time.perf_counter() - start,
    )


def _end_epoch(setup: Setup, progress: Progress) -> Progress:
    """Test, write the epoch's line and draw the next order."""
    start = time.perf_counter()
    seen = setup.steps * setup.config.gradient_batch
    test_error = test_error_of(setup, progress)
    line = Epoch(
        epoch=progress.epoch + 1,
        train_loss=progress.loss_sum / setup.steps,
        train_error=100 * progress.wrong / seen,
        test_error=test_error,
        seconds=progress.seconds + time.perf_counter() - start,
    )
    rng = _generator(progress.rng)
    order = rng.permutation(len(setup.images.train.labels))
    return progress._replace(
        rng=rng.bit_generator.state,
        order=order,
        epoch=progress.epoch + 1,
        step=0,
        loss_sum=0.0,
        wrong=0,
        seconds=0.0,
        history=(*progress.history, line),
    )


def test_error_of(setup: Setup, progress: Progress) -> float:
    """Return the error on the test images with the moving statistics, in %.

    Raises
    ------
    Diverged
        If an output is not finite, or the squares of a layer's input overflow.
    """
    images, labels = setup.images.test
    wrong = 0
    for start in range(0, len(labels), _TEST_BATCH):
        x = to_device(to_float(images[start : start + _TEST_BATCH], setup.images.mean, setup.images.std), setup.xp)
        step = (progress.epoch + 1) * setup.steps
        try:
            logits = to_host(network.infer(setup.layers, progress.params, progress.states, x))
        except OverflowError as error:
            raise Diverged(f"step {step}, on test images: {error}") from error
        if not bool(np.all(np.isfinite(logits))):
            raise Diverged(f"step {step}: the output on test images is not finite, though all training losses were")
        wrong += _wrong(logits, labels[start : start + _TEST_BATCH])
    return 100 * wrong / len(labels)


def _wrong(logits: Array, labels: Array) -> int:
    return int(np.sum(np.argmax(logits, axis=1) != labels))


def _generator(state: Any) -> np.random.Generator:
    bits = np.random.PCG64()
    bits.state = state
    return np.random.Generator(bits)
