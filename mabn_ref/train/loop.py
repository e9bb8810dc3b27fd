"""The training loop: a step, the end of an epoch, and the state that a run carries from one to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import Array
from mabn_ref.data.images import flip_and_crop, to_float
from mabn_ref.extras import require
from mabn_ref.nn import centralize, dynamic_erf, network, optimiser
from mabn_ref.train.config import TRAINED, RunConfig, build
from mabn_ref.train.datasets import Images
from mabn_ref.train.devices import DeviceError, to_device, to_host
from mabn_ref.train.tasks import CLASSES, Task


class Diverged(ArithmeticError):
    """A loss or an output is not finite, or squares overflow; the message names the step and, if known, the layer."""


class Epoch(NamedTuple):
    """One line of a run's history. Training figures are taken during the epoch, on augmented images."""

    epoch: int
    train_loss: float
    train_error: float
    test_error: float
    seconds: float
    mean_iou: float | None = None  #: of pixel runs, None in other tasks; the fields below are of box runs
    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return the figures that are not None, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Setup(NamedTuple):
    """What does not change during a run."""

    config: RunConfig
    task: Task
    images: Images
    layers: list[Any]
    steps: int  #: gradient batches per epoch; the images left over are dropped
    xp: Any  #: the array library of the device

    def done(self, progress: Progress) -> int:
        """Return the gradient batches done since the start of the run."""
        return progress.epoch * self.steps + progress.step

    def answers(self, steps: int) -> int:
        """Return the number of answers in that many gradient batches: one per image, per pixel or per cell."""
        return steps * self.config.gradient_batch * self.task.answers


class Progress(NamedTuple):
    """The state of a run between two steps; it alone decides what the run does next."""

    params: list[dict[str, Array]]
    velocity: list[dict[str, Array]]
    states: list[Any]
    rng: Mapping[str, Any]  #: state of the generator that draws orders, flips and crops
    order: npt.NDArray[np.int64]  #: this epoch's order of the training images
    epoch: int  #: epochs completed
    step: int  #: gradient batches done in this epoch
    loss_sum: float
    wrong: int
    seconds: float  #: time spent in this epoch so far
    history: tuple[Epoch, ...]
    digest: str | None = None  #: digest of the images of all steps so far; None if unknown or not needed
    predicted: Any = None  #: `predictions` after the last epoch; not in checkpoints, for nothing depends on it


_BEFORE_AN_EPOCH: dict[str, Any] = {"step": 0, "loss_sum": 0.0, "wrong": 0, "seconds": 0.0}


def prepare(config: RunConfig, xp: Any = np, task: Task = CLASSES) -> Setup:
    """Read the images and build the network of a run that computes with the array library `xp`.

    Raises `DeviceError` for Derf on anything but the host: `mabn_ref.nn.dynamic_erf` takes NumPy arrays alone.
    """
    if xp is not np and TRAINED[config.norm].module is dynamic_erf:
        raise DeviceError(f"{config.norm} runs on the CPU alone: leave out --device")
    images = task.load(config)
    steps = len(images.train.labels) // config.gradient_batch
    return Setup(config, task, images, layers_of(config, steps * config.epochs, task), steps, xp)


def layers_of(config: RunConfig, steps: int, task: Task = CLASSES) -> list[Any]:
    """Return the network of a run of `steps` gradient batches."""
    return task.network(config, *build(config, steps))


def begin(setup: Setup) -> Progress:
    """Return a run's start: initial weights and the first order, the same for every normaliser of one seed."""
    weights, order = (np.random.default_rng(child) for child in np.random.SeedSequence(setup.config.seed).spawn(2))
    params, states = network.init(setup.layers, weights, dtype=setup.xp.float32, xp=setup.xp)
    first = order.permutation(len(setup.images.train.labels))
    rng = order.bit_generator.state
    begun = {"epoch": 0, "history": (), "digest": setup.images.digest, **_BEFORE_AN_EPOCH}
    return Progress(params, optimiser.init(params), states, rng, first, **begun)


def run(setup: Setup, progress: Progress) -> Iterator[Progress]:
    """Continue from `progress` to the end of the run, yielding after every step and at the end of every epoch.

    Steps and tests compute on one BLAS thread; between them the process has its usual number. Raises `Diverged` if a
    loss, or an output on test images, is not finite, or the squares of a layer's input overflow.
    """
    blas = require("threadpoolctl", "run").ThreadpoolController()
    while progress.epoch < setup.config.epochs:
        advance = _step if progress.step < setup.steps else _end_epoch
        # A run that diverges overflows first; the report of step and layer says more than NumPy's warning.
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        # More BLAS threads add in another order: a run's last bits would depend on who calls it.
        with blas.limit(limits=1, user_api="blas"), quiet:
            progress = advance(setup, progress)
        yield progress


def to_input(setup: Setup, pixels: Any) -> Array:
    """Return images as network input, on the device."""
    return to_device(to_float(pixels, setup.images.mean, setup.images.std), setup.xp)


def _step(setup: Setup, progress: Progress) -> Progress:
    """Do one gradient batch: draw, forward, backward, update."""
    start = time.perf_counter()
    config, layers, xp = setup.config, setup.layers, setup.xp
    rng = _generator(progress.rng)
    chosen = progress.order[progress.step * config.gradient_batch :][: config.gradient_batch]
    pixels, truth = setup.images.train.images[chosen], setup.images.train.labels[chosen]
    if config.augment:
        pixels = flip_and_crop(pixels, rng)
    x = to_input(setup, pixels)

    done = setup.done(progress)
    try:
        logits, caches, states = network.forward(layers, progress.params, progress.states, x)
    except OverflowError as error:
        layer = network.first_non_finite(layers, progress.params, progress.states, x)
        raise Diverged(f"step {done + 1}: layer {layer}: {error}") from error
    loss, dlogits, wrong = setup.task.loss(logits, truth, xp)
    if not math.isfinite(loss):
        layer = network.first_non_finite(layers, progress.params, progress.states, x)
        where = (
            f"layer {layer} is the first with an output that is not finite"
            if layer
            else "all layers' outputs are finite"
        )
        raise Diverged(f"step {done + 1}: the loss is {loss}; {where}")
    grads, states = network.backward(layers, dlogits, caches, states)
    if config.gradient_centralized:
        grads = [
            {"w": centralize.of_gradient(grad["w"])} if isinstance(layer, network.Conv) else grad
            for layer, grad in zip(layers, grads, strict=True)
        ]

    total = setup.steps * config.epochs
    lr = optimiser.cosine_rate(done, steps=total, lr=config.lr, warmup=min(config.warmup, total // 2))
    params, velocity = optimiser.step(
        progress.params, grads, progress.velocity, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return progress._replace(
        params=params,
        velocity=velocity,
        states=states,
        rng=rng.bit_generator.state,
        step=progress.step + 1,
        loss_sum=progress.loss_sum + loss,
        wrong=progress.wrong + wrong,
        seconds=progress.seconds + time.perf_counter() - start,
    )


def _end_epoch(setup: Setup, progress: Progress) -> Progress:
    """Test the network, add the epoch's line to the history and draw the next order."""
    start = time.perf_counter()
    predicted = predictions(setup, progress)
    tested = setup.task.figures(predicted, setup.images.test.labels)
    line = Epoch(
        epoch=progress.epoch + 1,
        train_loss=progress.loss_sum / setup.steps,
        train_error=100 * progress.wrong / setup.answers(setup.steps),
        seconds=progress.seconds + time.perf_counter() - start,
        **tested,
    )
    rng = _generator(progress.rng)
    order = rng.permutation(len(setup.images.train.labels))
    next_epoch = {"rng": rng.bit_generator.state, "order": order, "epoch": line.epoch, **_BEFORE_AN_EPOCH}
    return progress._replace(**next_epoch, history=(*progress.history, line), predicted=predicted)


def predictions(setup: Setup, progress: Progress) -> Array:
    """Return what the network, with moving statistics, predicts for each test image: class, pixel classes, boxes."""
    images, many = setup.images.test.images, setup.task.test_batch
    step, found, tested = (progress.epoch + 1) * setup.steps, [], setup.task.tested
    for start in range(0, len(images), many):
        x = to_input(setup, images[start : start + many])
        try:
            logits = to_host(network.infer(setup.layers, progress.params, progress.states, x))
        except OverflowError as error:
            raise Diverged(f"step {step}, on {tested}: {error}") from error
        if not bool(np.all(np.isfinite(logits))):
            raise Diverged(f"step {step}: the output on {tested} is not finite, though all training losses were")
        found.append(setup.task.predictions(logits))
    return np.concatenate(found)


def test_error_of(setup: Setup, progress: Progress) -> float:
    """Return the error of `predictions`, in %."""
    return setup.task.figures(predictions(setup, progress), setup.images.test.labels)["test_error"]


def _generator(state: Any) -> np.random.Generator:
    bits = np.random.PCG64()
    bits.state = state
    return np.random.Generator(bits)
