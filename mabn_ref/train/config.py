"""A training run as plain values: `RunConfig` holds everything that its numbers depend on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from mabn_ref.arrays import check_at_least
from mabn_ref.nn import dynamic_erf, dynamic_tanh
from mabn_ref.nn.networks import NETWORKS
from mabn_ref.norms import NORMS, Norm
from mabn_ref.norms.checks import Checked, Ramp, setting
from mabn_ref.norms.devices import on_devices

LARGEST = 1e100  #: of the numbers of a run and its record: sums of squares do not overflow

TRAINED = NORMS | {"dyt": Norm(dynamic_tanh, "DyT"), "derf": Norm(dynamic_erf, "Derf")}
"""What can follow the convolutions of a run: a normaliser, or a curve in its place."""


def _fields(norm: str) -> set[str]:
    """Return the field names of a normaliser's own Config; none for a curve, which has no Config."""
    config = getattr(TRAINED[norm].module, "Config", None)
    return set() if config is None else {field.name for field in dataclasses.fields(config)}


def state_fields(norm: str) -> tuple[str, ...]:
    """Return the fields of a normaliser's State, "iteration" among them if its statistics move; () for a curve."""
    fields: tuple[str, ...] = getattr(getattr(TRAINED[norm].module, "State", None), "_fields", ())
    return fields


GROUPS = 8  #: default groups of GN; where 8 does not divide the width, their greatest common divisor

SAMPLE_NORMS = tuple(norm for norm in TRAINED if "norm_batch" not in _fields(norm))
"""Normalisers without batch statistics: |B| is 1."""

CENTRALIZED = ("modified-bn", "mabn")
"""Normalisers that the paper pairs with centralised weights; it also pairs the modified form of "moving"."""

DECAY = {
    norm: {"brn": 0.99, "online": 0.999}.get(norm, 0.98)
    for norm in NORMS
    if {"decay", "decay_forward"} & _fields(norm)
}
"""Weight of the old value in the moving averages of each normaliser.

BN has the decay of MABN. The paper's 0.9 averages over about ten normalisation batches; at |B| = 2 these are so few
samples that noise in the averages would be mistaken for an effect of small batches. For BN, 0.9 changes nothing in
training and little in the test error (``mabn-ref paper equation6``); for BRN, which trains with the averages, it
costs several points (``mabn-ref paper search``).
"""

DEFAULTS: dict[str, dict[str, Any]] = {
    "embedded": {"train_size": 2400, "test_size": 1000, "augment": False, "width": 12, "epochs": 8, "lr": 0.06},
    "cifar10": {"train_size": 5000, "test_size": 5000, "augment": True, "width": 32, "epochs": 10, "lr": 0.1},
    "directory": {"train_size": None, "test_size": None, "augment": True, "width": 32, "epochs": 10, "lr": 0.1},
}
"""The default settings of the commands for each source of images; None: all images.

Images are generated, or come from the CIFAR-10 archive in the cache or from record files in a directory. Generated
images are not flipped and cropped: that would mirror the textures and pad them with black, and 600 steps were then
too few to leave the plateau on which training begins. How late a run left it was chance, and decided its error.
"""


def filled(said: Mapping[str, Any], usual: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return the fields in `said`, filled in with `usual` and then with the defaults of their source of images.

    Examples
    --------
    >>> filled({"epochs": 3}, {"epochs": 20, "width": 16})["epochs"]
    3
    """
    source = {"data": "embedded", "data_dir": None} | dict(said)
    return {**DEFAULTS[source["data"]], "weight_decay": RunConfig.weight_decay, **usual, **source}


LATER_FIELDS = [
    "devices",
    "head_warmup",
    "exposure",
    "network",
    "standardized",
    "estimated",
    "heads",
    "textured",
    "gradient_centralized",
    "held_out",
    "ramp",
    "form",
    "forward_average",
    "backward_average",
    "groups",
    "start",
]
"""Fields of `RunConfig` that older records and checkpoints lack: the defaults held when those were made."""

_SAME_IN_CONFIG = ("norm_batch", "decay", "window", "clip", "r_max", "d_max", "form", "groups", "estimated")
_IN_CONFIG = {name: name for name in _SAME_IN_CONFIG} | {"decay_forward": "decay", "renorm_from": "renorm_after"}
_IN_CONFIG |= {"forward": "forward_average", "backward": "backward_average"}
"""Settings of a normaliser's Config, with the field that sets each. `warmup` is left out: here it is the rate's."""
READ_BY = {
    field: tuple(
        norm
        for norm, of_norm in TRAINED.items()
        if any(_IN_CONFIG.get(name) == field for name in _fields(norm) - of_norm.settings.keys())
    )
    for field in _IN_CONFIG.values()
    if field != "norm_batch"  # where no normaliser reads it, it must be 1, not its default
}
READ_BY |= {"r_max": ("brn",), "ramp": ("brn",), "head_warmup": ("mabn",), "clip": (*READ_BY["clip"], "moving")}
"""The normalisers that read each field, for fields that not all read. The r_max of "moving" is `clip`."""
_AVERAGES = {"batch": "BS", "sma": "SMAS", "ema": "EMAS"}
_COUNT: dict[str, Any] = {"at_least": 1, "whole": True}
_FROM_0 = _COUNT | {"at_least": 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Checked):
    """One training run, by default of MABN 2 on embedded data; `DEFAULTS` holds the commands' defaults by source.

    Two equal configurations give bit-identical weights on one machine. Every value is a string, number, bool or None,
    so that a configuration can be a line of JSON, a dictionary key and an argument sent to any process. Values that
    do not fit together raise a ValueError that names the field.

    Examples
    --------
    >>> config = RunConfig(norm="mabn", norm_batch=2, centralized=True, window=64)
    >>> label(config)
    'MABN 2 + WC, m=64'
    >>> RunConfig(norm_batch=5)
    Traceback (most recent call last):
    ValueError: norm_batch is 5, expected a divisor of 32, the images of a gradient batch
    """

    norm: str = setting("mabn", choices=tuple(TRAINED), note="a key of `TRAINED`")
    norm_batch: int = setting(2, **_COUNT, note=r"\|B\|, the samples that share statistics")
    centralized: bool = setting(True, note="whether the convolutions centralise their weights (WC)")
    standardized: bool = setting(False, note="whether they standardise them (WS)")
    gradient_centralized: bool = setting(
        False, note="whether the gradient of their weights is centralised, and the weights are not (GC)"
    )
    decay: float = setting(0.98, at_least=0, below=1, note="weight of the old value in exponential moving averages")
    window: int | None = setting(
        None,
        **_COUNT,
        note="m, normalisation batches in a moving window (MABN, moving, UN); None: one gradient batch",
    )
    clip: float = setting(5.0, at_least=1, note="bound of the renormalisation factor r (MABN, moving, UN)")
    renorm_after: int = setting(100, **_FROM_0, note="gradient batches with r = 1 at the start (MABN, moving, UN)")
    r_max: float = setting(3.0, at_least=1, note="bound of r at the end of its ramp (BRN)")
    d_max: float = setting(5.0, at_least=0, note="bound of d at the end of its ramp (BRN), or without one (moving)")
    ramp: float | None = setting(
        None, at_least=0, note="length of the ramps, relative to Ioffe's schedule (BRN); 0: none; None: 1"
    )
    form: str | None = setting(
        None, choices=("vanilla", "modified"), note="of `mabn_ref.norms.moving_statistics` (moving, which needs it)"
    )
    forward_average: str | None = setting(None, choices=tuple(_AVERAGES), note="its `forward` (moving)")
    backward_average: str | None = setting(None, choices=tuple(_AVERAGES), note="its `backward` (moving)")
    groups: int | None = setting(
        None, **_COUNT, note="groups of channels (GN); None: 8, or as many of them as divide the width"
    )
    estimated: bool = setting(
        False, note="whether the weight of a sample's own statistics is estimated in training, not 1/|B| (EvalNorm)"
    )
    gradient_batch: int = setting(32, **_COUNT, note="images of an optimiser step, a multiple of `norm_batch`")
    devices: int = setting(
        1, **_COUNT, note="devices that share the gradient batch, each with moving statistics of its own"
    )
    heads: bool = setting(False, note="whether the head of a detector has a normaliser too (boxes)")
    head_warmup: int = setting(
        0, **_FROM_0, note="gradient batches in which the head uses batch statistics (MABN, boxes)"
    )
    exposure: float = setting(
        0.15, at_least=0, note="lowest exposure of a scene; 1: all scenes are exposed alike (boxes)"
    )
    textured: bool = setting(False, note="whether a scene's objects are told apart by texture, not shape (boxes)")
    data: str = setting("embedded", choices=tuple(DEFAULTS), note="where the images come from")
    data_dir: str | None = setting(None, note="the directory of record files, where `data` is 'directory'")
    train_size: int | None = setting(
        2400, **_COUNT, or_none=True, note="training images, class-balanced; None: all of them, except embedded ones"
    )
    test_size: int | None = setting(1000, **_COUNT, or_none=True, note="test images, likewise")
    held_out: bool = setting(False, note="whether to train on half of the training images and test on the other half")
    augment: bool = setting(True, note="whether training images are flipped and cropped at random")
    network: str = setting(
        "plain", choices=tuple(NETWORKS), note="a key of `mabn_ref.nn.networks.NETWORKS`, for whole images only"
    )
    width: int = setting(16, **_COUNT, note="channels of the first convolution")
    epochs: int = setting(8, **_COUNT, note="passes over the training images")
    lr: float = setting(
        0.03, at_least=0, below=LARGEST, note="highest learning rate, from which it falls to 0 along a cosine"
    )
    momentum: float = setting(0.9, at_least=0, below=1, note="of SGD")
    weight_decay: float = setting(5e-4, at_least=0, below=LARGEST, note="of SGD, on every parameter")
    start: str | None = setting(None, note="the trained network that the run begins from; None: random weights")
    warmup: int = setting(50, **_FROM_0, note="steps in which the rate rises (half the run, if that is less)")
    seed: int = setting(0, **_FROM_0, note="of initial weights, order, flips and crops; images are the same for all")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (misfit := next(self._misfits(), None)) is not None:
            raise ValueError(misfit)
        if self.train_size is not None:
            fewest = self.gradient_batch * (2 if self.held_out else 1)
            check_at_least("train_size", self.train_size, fewest, whole=True)
        try:
            build(self, steps=1)
        except ValueError as error:  # raised by the normaliser's own Config: give the field its name here
            name, _, said = str(error).partition(" ")
            raise ValueError(f"{_IN_CONFIG.get(name, name)} {said}, with norm={self.norm!r}") from error

    def _misfits(self) -> Iterator[str]:
        """Yield a sentence for each field that does not fit the others."""
        if not isinstance(self.data_dir, str if self.data == "directory" else type(None)):
            expected = (
                "the path of a directory" if self.data == "directory" else "None: only data='directory' reads it"
            )
            yield f"data_dir is {self.data_dir!r} with data={self.data!r}, expected {expected}"
        if type(self.start) not in (str, type(None)):
            yield f"start is {self.start!r}, expected the name of a network or None"
        if not 0 < self.exposure <= 1:
            yield f"exposure is {self.exposure}, expected a number in (0, 1]"
        if self.data == "embedded" and None in (self.train_size, self.test_size):
            yield "train_size or test_size is None, expected a number: embedded images are generated"
        if self.norm in SAMPLE_NORMS and self.norm_batch != 1:
            yield f"norm_batch is {self.norm_batch} with norm={self.norm!r}, expected 1: it has no batch statistics"
        for name, norms in READ_BY.items():
            value, unused = getattr(self, name), getattr(RunConfig, name)
            if value != unused and self.norm not in norms:
                those = ", ".join(map(repr, norms))
                yield f"{name} is {value!r} with norm={self.norm!r}, expected {unused}: only {those} can use it"
        if self.centralized and self.standardized:
            yield "standardized is True with centralized=True, expected at most one of them to be"
        if self.centralized and self.gradient_centralized:
            yield "gradient_centralized is True with centralized=True, expected at most one: WC centres that gradient"
        if self.gradient_batch % self.norm_batch:
            images = f"{self.gradient_batch}, the images of a gradient batch"
            yield f"norm_batch is {self.norm_batch}, expected a divisor of {images}"
        elif self.micro_batches % self.devices:
            yield (
                f"devices is {self.devices}, expected a divisor of {self.micro_batches}, the normalisation batches "
                f"of {self.norm_batch} in a gradient batch of {self.gradient_batch}"
            )
        if self.norm == "sync-bn" and self.devices != 1:
            yield f"devices is {self.devices} with norm='sync-bn', expected 1: they would not share their statistics"
        if self.groups is not None and self.width % self.groups:
            yield f"groups is {self.groups}, expected a divisor of width={self.width}"
        if self.head_warmup and not self.heads:
            yield f"head_warmup is {self.head_warmup} with heads=False, expected 0: the head has no normaliser"

    @property
    def micro_batches(self) -> int:
        """Normalisation batches in a gradient batch, on all devices together."""
        return self.gradient_batch // self.norm_batch

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def recipe(norm: str, **settings: Any) -> RunConfig:
    """Return a run of `norm` with the paper's pairing and this project's decay, unless `settings` say otherwise."""
    paired = norm in CENTRALIZED or settings.get("form") == "modified"
    usual: dict[str, Any] = {"centralized": paired, "decay": DECAY.get(norm, 0.98)}
    return RunConfig(norm=norm, **usual | settings)


def is_control(config: RunConfig) -> bool:
    """Tell whether the weights are treated otherwise than the paper does with this normaliser."""
    paired = config.norm in CENTRALIZED or config.form == "modified"
    return config.centralized != paired or config.standardized or config.gradient_centralized


def build(config: RunConfig, steps: int) -> tuple[Any, Any]:
    """Return the normaliser's module, on as many devices as the run has, and its Config; or a curve and None.

    The Config takes over the fields that it has. A normaliser counts the normalisation batches of one device, which
    in a gradient batch are `RunConfig.micro_batches` divided by `devices`. If `window` is None, it is `micro_batches`
    on any number of devices, as in the authors' code. `steps` are the gradient batches of the run, to which the
    schedule of Batch Renormalization is scaled.

    Examples
    --------
    >>> module, norm = build(RunConfig(norm="mabn", norm_batch=2), steps=500)
    >>> norm.window, norm.renorm_from
    (16, 1601)
    """
    norm, per_step = TRAINED[config.norm], config.micro_batches // config.devices
    if not hasattr(norm.module, "Config"):
        return norm.module, None
    given = {name: getattr(config, field) for name, field in _IN_CONFIG.items()}
    given["window"] = config.micro_batches if config.window is None else config.window
    given["renorm_from"] = config.renorm_after * per_step + 1
    match config.norm:
        case "brn":
            given |= _ioffes_schedule(config, steps * per_step)
        case "gn":  # the default depends on the width
            given["groups"] = groups_of(config)
        case "moving":  # its bound of r is called r_max, as in BRN
            given["r_max"] = config.clip
    taken = {name: given[name] for name in _fields(config.norm) & given.keys()}
    return on_devices(norm.module, config.devices), norm.module.Config(**taken | dict(norm.settings))


def head_config(config: RunConfig, norm: Any) -> Any:
    """Return the Config of the normaliser in a detector's head, given that of the backbone.

    Examples
    --------
    >>> config = RunConfig(norm="mabn", gradient_batch=16, devices=8, heads=True, head_warmup=100)
    >>> head_config(config, build(config, steps=500)[1]).warmup  # the first iteration without batch statistics
    101
    """
    warmup = config.head_warmup * (config.micro_batches // config.devices)
    return dataclasses.replace(norm, warmup=warmup + 1) if warmup else norm


def _ioffes_schedule(config: RunConfig, iterations: int) -> dict[str, Ramp]:
    """Return Ioffe's ramps, scaled: of 160k steps, r_max rises from 1 over 5k to 40k, d_max from 0 over 5k to 25k."""
    total = iterations if config.ramp is None else int(iterations * config.ramp)
    return {
        "r_max": Ramp(start=total * 5 // 160, stop=total * 40 // 160, first=1.0, last=config.r_max),
        "d_max": Ramp(start=total * 5 // 160, stop=total * 25 // 160, first=0.0, last=config.d_max),
    }


def groups_of(config: RunConfig) -> int:
    """Return the number of groups in a run of GN."""
    return math.gcd(GROUPS, config.width) if config.groups is None else config.groups


def label(config: RunConfig) -> str:
    """Return the name of a run in tables: normaliser, |B|, treatment of the weights, and what differs from the usual.

    That can be a window that is not one gradient batch, several devices, features of a detector and its scenes, the
    network that it begins from, and a test on held-out training images.

    Examples
    --------
    >>> label(RunConfig(norm="bn", norm_batch=32, centralized=False))
    'BN 32'
    >>> label(RunConfig(norm="moving", form="modified", forward_average="ema", backward_average="batch"))
    'modified EMAS/BS 2 + WC'
    """
    title = TRAINED[config.norm].title
    if config.norm == "moving":
        averages = (_AVERAGES[str(name)] for name in (config.forward_average, config.backward_average))
        text = f"{config.form} {'/'.join(averages)} {config.norm_batch}"
    elif config.norm in SAMPLE_NORMS:
        groups = groups_of(config) if config.norm == "gn" else 0
        text = title + (f" ({groups} group{'' if groups == 1 else 's'})" if groups else "")
    else:
        text = f"{title} {config.norm_batch}"
    marks = {
        " estimated": config.estimated,
        " + WC": config.centralized,
        " + WS": config.standardized,
        " + GC": config.gradient_centralized,
        f", m={config.window}": config.window not in (None, config.micro_batches),
        f", {config.devices} devices": config.devices > 1,
        ", heads too": config.heads,
        f", exposure {config.exposure:g}": config.exposure != RunConfig.exposure,
        f", from {config.start}": config.start is not None,
        ", held-out images": config.held_out,
    }
    return text + "".join(mark for mark, made in marks.items() if made)
