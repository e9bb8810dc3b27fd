"""What a training run is, in plain values: `RunConfig` says everything that its numbers depend on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

__all__ = ["DATA", "DEFAULTS", "GROUPS", "LATER_FIELDS", "NORMS", "SAMPLE_NORMS", "RunConfig", "groups_of", "label"]

NORMS = {
    "bn": "BN",
    "brn": "BRN",
    "modified-bn": "modified BN",
    "mabn": "MABN",
    "gn": "GN",
    "ln": "LN",
    "in": "IN",
    "moving": "moving statistics",
    "sync-bn": "SyncBN",
    "online": "Online Norm",
    "eval-norm": "EvalNorm",
}
"""The normalisers by the name that a configuration has for them, with the name that tables print."""

GROUPS = 8
"""Groups of GN where none are given, or as many of them as divide the width."""

SAMPLE_NORMS = ("gn", "ln", "in", "online")
"""Those whose normalisation batch is one sample: |B| is 1."""

DATA = ("embedded", "cifar10", "directory")
"""Where the images come from: generated, the CIFAR-10 archive in the cache, or record files in a directory."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "embedded": {"train_size": 2400, "test_size": 1000, "width": 16, "epochs": 8, "lr": 0.03},
    "cifar10": {"train_size": 5000, "test_size": 5000, "width": 32, "epochs": 10, "lr": 0.1},
    "directory": {"train_size": None, "test_size": None, "width": 32, "epochs": 10, "lr": 0.1},
}
"""What a command makes of each source if nothing else is said; None: all images."""

LATER_FIELDS: dict[str, Any] = {"standardized": False, "estimated": False} | dict.fromkeys(
    ("ramp", "form", "forward_average", "backward_average", "groups")
)
"""Fields of `RunConfig` that records and checkpoints made before them lack, with what was so then."""


_AVERAGES = {"batch": "BS", "sma": "SMAS", "ema": "EMAS"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run, by default MABN 2 as ``mabn-ref compare`` runs it on embedded data.

    Two equal configurations give bit-identical weights on one machine.

    Every value is a string, number, bool or None, so that a configuration is a line of JSON, a dictionary key and an
    argument that any executor can send to any process.

    Parameters
    ----------
    norm : str
        One of `NORMS`.
    norm_batch : int
        |B|, the samples that share statistics; divides `gradient_batch`.
    centralized : bool
        Whether the convolutions centralise their weights (WC).
    standardized : bool
        Whether they standardise them instead (WS).
    decay : float
        Weight of the old value in the exponential moving averages.
    window : int, optional
        m, the normalisation batches that a simple moving average covers (MABN). None: one gradient batch.
    clip : float
        Bound of the renormalisation factor r (MABN).
    renorm_after : int
        Gradient batches with r = 1 before renormalisation starts (MABN).
    r_max, d_max : float
        Bounds of r and d at the end of their ramps (BRN).
    ramp : float, optional
        How many times as long as in Ioffe's schedule the bounds take to get there (BRN); 0 is at once. None: 1.
    form, forward_average, backward_average : str, optional
        Those of `mabn_ref.norms.moving_statistics` ("moving", and required there): "vanilla" or "modified", and twice
        "batch", "sma" or "ema". Its r_max is `clip`, its d_max `d_max`.
    groups : int, optional
        Groups of channels (GN). None: 8, or as many of them as divide the width.
    estimated : bool
        Whether the weights of a sample's own statistics are estimated in training and not 1 / |B| (EvalNorm).
    gradient_batch : int
        Images an optimiser step.
    data, data_dir : str
        One of `DATA`; the directory of record files where it is "directory".
    train_size, test_size : int, optional
        Images of each, drawn class-balanced. None: all there are (a size is needed for embedded data).
    augment : bool
        Whether training images are flipped and cropped at random.
    width : int
        Channels of the network's first convolution.
    epochs, lr, momentum, weight_decay, warmup
        SGD: `lr` rises over `warmup` steps (half the run, if that is less), then falls to 0 along a cosine.
    seed : int
        Seed of initial weights, order of the images, flips and crops. The images are the same for all seeds.

    Raises
    ------
    ValueError
        If a value is out of range or two do not fit together, naming the field.

    Examples
    --------
    >>> config = RunConfig(norm="mabn", norm_batch=2, centralized=True, window=64)
    >>> label(config)
    'MABN 2 + WC, m=64'
    >>> RunConfig(norm_batch=5)
    Traceback (most recent call last):
    ValueError: norm_batch is 5, expected a divisor of gradient_batch=32
    """

    norm: str = "mabn"
    norm_batch: int = 2
    centralized: bool = True
    standardized: bool = False
    decay: float = 0.98
    window: int | None = None
    clip: float = 5.0
    renorm_after: int = 100
    r_max: float = 3.0
    d_max: float = 5.0
    ramp: float | None = None
    form: str | None = None
    forward_average: str | None = None
    backward_average: str | None = None
    groups: int | None = None
    estimated: bool = False
    gradient_batch: int = 32
    data: str = "embedded"
    data_dir: str | None = None
    train_size: int | None = 2400
    test_size: int | None = 1000
    augment: bool = True
    width: int = 16
    epochs: int = 8
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm is {self.norm!r}, expected one of {', '.join(NORMS)}")
        if self.data not in DATA:
            raise ValueError(f"data is {self.data!r}, expected one of {', '.join(DATA)}")
        if (self.data == "directory") != (self.data_dir is not None):
            raise ValueError(
                f"data_dir is {self.data_dir!r} with data={self.data!r}, expected one with 'directory' only"
            )
        if self.data == "embedded" and None in (self.train_size, self.test_size):
            raise ValueError("train_size or test_size is None, expected a number: embedded data has no end")
        for field in dataclasses.fields(self):
            self._typed(field.name, str(field.type))
        for name in ("norm_batch", "gradient_batch", "width", "epochs", "window", "test_size", "groups"):
            self._at_least(name, 1)
        for name in ("lr", "ramp", "momentum", "weight_decay", "warmup", "seed", "renorm_after", "decay", "d_max"):
            self._at_least(name, 0)
        self._at_least("clip", 1)
        self._at_least("r_max", 1)
        self._at_least("train_size", self.gradient_batch)
        for name in ("decay", "momentum"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected less than 1")
        if self.window is not None and self.norm not in ("mabn", "moving"):
            raise ValueError(f"window is {self.window} with norm={self.norm!r}, expected None: MABN alone has one")
        if self.norm in SAMPLE_NORMS and self.norm_batch != 1:
            raise ValueError(
                f"norm_batch is {self.norm_batch} with norm={self.norm!r}, expected 1: no other sample counts"
            )
        self._only_with("groups", "gn")
        self._only_with("ramp", "brn")
        if self.estimated and self.norm != "eval-norm":
            raise ValueError(
                f"estimated is True with norm={self.norm!r}, expected False: it is for 'eval-norm' alone"
            )
        averages = ("batch", "sma", "ema")
        for name, choices in (
            ("form", ("vanilla", "modified")),
            ("forward_average", averages),
            ("backward_average", averages),
        ):
            self._only_with(name, "moving")
            value = getattr(self, name)
            if self.norm == "moving" and value not in choices:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)} with norm='moving'")
        if self.centralized and self.standardized:
            raise ValueError("standardized is True with centralized=True, expected at most one of them to be")
        if self.gradient_batch % self.norm_batch:
            raise ValueError(
                f"norm_batch is {self.norm_batch}, expected a divisor of gradient_batch={self.gradient_batch}"
            )

    def _only_with(self, name: str, norm: str) -> None:
        value = getattr(self, name)
        if value is not None and self.norm != norm:
            raise ValueError(f"{name} is {value!r} with norm={self.norm!r}, expected None: it is for {norm!r} alone")

    def _typed(self, name: str, kinds: str) -> None:
        """Refuse a value of another type than the field's; an integer is a float too."""
        value = getattr(self, name)
        allowed = {*kinds.split(" | "), "int"} if "float" in kinds else set(kinds.split(" | "))
        if type(value).__name__ not in {"NoneType" if kind == "None" else kind for kind in allowed}:
            raise ValueError(f"{name} is {value!r}, expected {kinds.replace(' | ', ' or ')}")

    def _at_least(self, name: str, lowest: float) -> None:
        value = getattr(self, name)
        if value is not None and not lowest <= value < float("inf"):
            raise ValueError(f"{name} is {value}, expected a number of at least {lowest:g}")

    @property
    def micro_batches(self) -> int:
        """Normalisation batches in a gradient batch."""
        return self.gradient_batch // self.norm_batch

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return dataclasses.asdict(self)


def groups_of(config: RunConfig) -> int:
    """Return the groups of a run of GN.

    Examples
    --------
    >>> [groups_of(RunConfig(norm="gn", norm_batch=1, centralized=False, width=width)) for width in (32, 12)]
    [8, 4]
    """
    return config.groups or math.gcd(GROUPS, config.width)


def label(config: RunConfig) -> str:
    """Name a run as tables do: normaliser, |B|, what is done to the weights, a window that is not one gradient batch.

    Examples
    --------
    >>> label(RunConfig(norm="bn", norm_batch=32, centralized=False))
    'BN 32'
    >>> label(RunConfig(norm="moving", form="modified", forward_average="ema", backward_average="batch"))
    'modified EMAS/BS 2 + WC'
    """
    if config.norm == "moving":
        averages = (_AVERAGES[str(name)] for name in (config.forward_average, config.backward_average))
        text = f"{config.form} {'/'.join(averages)} {config.norm_batch}"
    elif config.norm in SAMPLE_NORMS:
        text = NORMS[config.norm] + (f" ({groups_of(config)} groups)" if config.norm == "gn" else "")
    else:
        text = f"{NORMS[config.norm]} {config.norm_batch}"
    if config.estimated:
        text += " estimated"
    if config.centralized:
        text += " + WC"
    if config.standardized:
        text += " + WS"
    if config.window not in (None, config.micro_batches):
        text += f", m={config.window}"
    return text
