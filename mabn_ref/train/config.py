"""What a training run is, in plain values: `RunConfig` says everything that its numbers depend on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from mabn_ref.norms import NORMS
from mabn_ref.norms.batch_renorm import Ramp

__all__ = [
    "DATA",
    "DECAY",
    "DEFAULTS",
    "GROUPS",
    "LATER_FIELDS",
    "SAMPLE_NORMS",
    "RunConfig",
    "build",
    "groups_of",
    "is_control",
    "label",
    "recipe",
]


def _fields(norm: str) -> set[str]:
    """The fields of a normaliser's own Config."""
    return {field.name for field in dataclasses.fields(NORMS[norm].module.Config)}


GROUPS = 8
"""Groups of GN where none are given, or as many of them as divide the width."""

SAMPLE_NORMS = tuple(norm for norm in NORMS if "norm_batch" not in _fields(norm))
"""Those whose normalisation batch is one sample: |B| is 1."""

CENTRALIZED = ("modified-bn", "mabn")
"""Those that the paper pairs with centralised weights; and of "moving" the modified form."""

DECAY = {
    norm: {"brn": 0.99, "online": 0.999}.get(norm, 0.98)
    for norm in NORMS
    if {"decay", "decay_forward"} & _fields(norm)
}
"""Weight of the old value in the moving averages of each normaliser.

BN takes MABN's. The paper's 0.9 averages over some ten normalisation batches, few samples at |B| = 2, and the noise
of that would be no fault of small batches. It changes nothing in BN's training, and little in its test error
(``mabn-ref paper equation6``); in BRN, which trains with the averages, it costs several points
(``mabn-ref paper search``).
"""

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

_LOWEST: dict[str, float] = {
    **dict.fromkeys(("norm_batch", "gradient_batch", "width", "epochs", "test_size", "clip", "r_max"), 1),
    **dict.fromkeys(("lr", "ramp", "momentum", "weight_decay", "warmup", "seed"), 0),
    **dict.fromkeys(("renorm_after", "decay", "d_max"), 0),
}
_OF_ONE_NORM = {"groups": "gn", "ramp": "brn"} | dict.fromkeys(
    ("form", "forward_average", "backward_average"), "moving"
)
_SAME_IN_CONFIG = ("norm_batch", "decay", "clip", "r_max", "d_max", "form", "groups", "estimated")
"""Fields that mean the same in a normaliser's Config, if it has them. `warmup` is not one: here it is of the rate."""
_OTHERWISE_IN_CONFIG = {"forward": "forward_average", "backward": "backward_average"}
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
        One of `mabn_ref.norms.NORMS`.
    norm_batch, gradient_batch : int
        |B|, the samples that share statistics; and the images of an optimiser step, a multiple of them.
    centralized, standardized : bool
        Whether the convolutions centralise their weights (WC), or standardise them (WS).
    decay : float
        Weight of the old value in the exponential moving averages.
    window : int, optional
        m, the normalisation batches that a simple moving average covers (MABN). None: one gradient batch.
    clip, renorm_after
        Bound of the renormalisation factor r, and the gradient batches with r = 1 before it starts (MABN).
    r_max, d_max, ramp
        Bounds of r and d at the end of their ramps, and how many times as long as in Ioffe's schedule these take
        (BRN); 0 is at once, None: 1.
    form, forward_average, backward_average : str, optional
        Those of `mabn_ref.norms.moving_statistics` ("moving", and required there): "vanilla" or "modified", and twice
        "batch", "sma" or "ema". Its r_max is `clip`, its d_max `d_max`.
    groups : int, optional
        Groups of channels (GN). None: 8, or as many of them as divide the width.
    estimated : bool
        Whether the weights of a sample's own statistics are estimated in training and not 1 / |B| (EvalNorm).
    data, data_dir : str
        One of `DATA`; the directory of record files where it is "directory".
    train_size, test_size : int, optional
        Images of each, drawn class-balanced. None: all there are (a size is needed for embedded data).
    augment, width
        Whether training images are flipped and cropped at random; channels of the first convolution.
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
            self._check_type(field.name, str(field.type))
        for name, lowest in {**_LOWEST, "train_size": self.gradient_batch}.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a number of at least {lowest:g}")
        for name in ("decay", "momentum"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected less than 1")
        if self.window is not None and "window" not in _fields(self.norm):
            raise ValueError(f"window is {self.window} with norm={self.norm!r}, expected None: MABN alone has one")
        if self.norm in SAMPLE_NORMS and self.norm_batch != 1:
            raise ValueError(
                f"norm_batch is {self.norm_batch} with norm={self.norm!r}, expected 1: no other sample counts"
            )
        for name, norm in _OF_ONE_NORM.items():
            value = getattr(self, name)
            if value is not None and self.norm != norm:
                raise ValueError(
                    f"{name} is {value!r} with norm={self.norm!r}, expected None: it is for {norm!r} alone"
                )
        if self.estimated and "estimated" not in _fields(self.norm):
            raise ValueError(
                f"estimated is True with norm={self.norm!r}, expected False: it is for 'eval-norm' alone"
            )
        if self.centralized and self.standardized:
            raise ValueError("standardized is True with centralized=True, expected at most one of them to be")
        if self.gradient_batch % self.norm_batch:
            raise ValueError(
                f"norm_batch is {self.norm_batch}, expected a divisor of gradient_batch={self.gradient_batch}"
            )
        try:
            build(self, steps=1)
        except ValueError as error:  # of the normaliser's own Config, under the name that the field has here
            name, _, said = str(error).partition(" ")
            raise ValueError(f"{_OTHERWISE_IN_CONFIG.get(name, name)} {said}, with norm={self.norm!r}") from error

    def _check_type(self, name: str, kinds: str) -> None:
        """Refuse a value of another type than the field's; an integer is a float too."""
        value = getattr(self, name)
        allowed = {*kinds.split(" | "), "int"} if "float" in kinds else set(kinds.split(" | "))
        if type(value).__name__ not in {"NoneType" if kind == "None" else kind for kind in allowed}:
            raise ValueError(f"{name} is {value!r}, expected {kinds.replace(' | ', ' or ')}")

    @property
    def micro_batches(self) -> int:
        """Normalisation batches in a gradient batch."""
        return self.gradient_batch // self.norm_batch

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return dataclasses.asdict(self)


def recipe(norm: str, **settings: Any) -> RunConfig:
    """Return a run of `norm` with the paper's pairing and this project's decay, unless `settings` say otherwise."""
    paired = norm in CENTRALIZED or settings.get("form") == "modified"
    usual: dict[str, Any] = {"centralized": paired, "decay": DECAY.get(norm, 0.98)}
    return RunConfig(norm=norm, **usual | settings)


def is_control(config: RunConfig) -> bool:
    """Tell whether the weights are not treated as the paper pairs it with the normaliser."""
    paired = config.norm in CENTRALIZED or config.form == "modified"
    return config.centralized != paired or config.standardized


def build(config: RunConfig, steps: int) -> tuple[Any, Any]:
    """Return the normaliser's module and its Config.

    Fields of one name are taken over; a normaliser counts normalisation batches, `RunConfig.micro_batches` of them in
    a gradient batch. `steps` are the gradient batches of the run, into which Batch Renormalization squeezes its
    schedule.

    Examples
    --------
    >>> module, norm = build(RunConfig(norm="mabn", norm_batch=2), steps=500)
    >>> norm.window, norm.renorm_from
    (16, 1601)
    """
    norm, per_step = NORMS[config.norm], config.micro_batches
    given = {name: getattr(config, name) for name in _SAME_IN_CONFIG}
    given["window"] = per_step if config.window is None else config.window
    given["renorm_from"] = config.renorm_after * per_step + 1
    match config.norm:
        case "brn":
            given |= _ioffes_schedule(config, steps * per_step)
        case "gn":  # whose default depends on the width
            given["groups"] = groups_of(config)
        case "moving":  # whose averages go by other names, and whose bound of r is called as in BRN
            given |= {"forward": config.forward_average, "backward": config.backward_average, "r_max": config.clip}
        case "online":  # which has two, of which inference reads this one
            given["decay_forward"] = config.decay
    taken = {name: given[name] for name in _fields(config.norm) & given.keys()}
    return norm.module, norm.module.Config(**taken | dict(norm.settings))


def _ioffes_schedule(config: RunConfig, iterations: int) -> dict[str, Ramp]:
    """Ioffe's: r_max from 1 on between steps 5k and 40k, d_max from 0 on between 5k and 25k, of 160k."""
    total = iterations if config.ramp is None else int(iterations * config.ramp)
    return {
        "r_max": Ramp(start=total * 5 // 160, stop=total * 40 // 160, first=1.0, last=config.r_max),
        "d_max": Ramp(start=total * 5 // 160, stop=total * 25 // 160, first=0.0, last=config.d_max),
    }


def groups_of(config: RunConfig) -> int:
    """Return the groups of a run of GN."""
    return math.gcd(GROUPS, config.width) if config.groups is None else config.groups


def label(config: RunConfig) -> str:
    """Name a run as tables do: normaliser, |B|, what is done to the weights, a window that is not one gradient batch.

    Examples
    --------
    >>> label(RunConfig(norm="bn", norm_batch=32, centralized=False))
    'BN 32'
    >>> label(RunConfig(norm="moving", form="modified", forward_average="ema", backward_average="batch"))
    'modified EMAS/BS 2 + WC'
    """
    title = NORMS[config.norm].title
    if config.norm == "moving":
        averages = (_AVERAGES[str(name)] for name in (config.forward_average, config.backward_average))
        text = f"{config.form} {'/'.join(averages)} {config.norm_batch}"
    elif config.norm in SAMPLE_NORMS:
        text = title + (f" ({groups_of(config)} groups)" if config.norm == "gn" else "")
    else:
        text = f"{title} {config.norm_batch}"
    if config.estimated:
        text += " estimated"
    if config.centralized:
        text += " + WC"
    if config.standardized:
        text += " + WS"
    if config.window not in (None, config.micro_batches):
        text += f", m={config.window}"
    return text
