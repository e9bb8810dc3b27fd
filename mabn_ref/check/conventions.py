"""Conventions as data: every known way of doing it, those of frameworks and authors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way of computing all normalisers; a normaliser ignores the fields that it does not use.

    The fields up to `decay_backward` are hyper-parameters, as in the Configs of `mabn_ref.norms`. A bound may be
    "measured": read off the outputs. The decay may be "cumulative": an average of all batches so far.
    """

    eps: float = 1e-5
    decay: Any = 0.9
    window: int = 1
    clip: Any = 5.0
    r_max: Any = 1.0
    d_max: Any = 0.0
    warmup: int = 0
    renorm_from: int = 1
    groups: int = 1
    decay_forward: float = 0.999
    decay_backward: float = 0.99
    backward_by: str = "moving"  #: PowerNorm's backward divides by forward's root, or by that of the "batch"
    norm_batch: int = 1  #: |B|, as far as inference depends on it
    #: which values share statistics: also those of a whole "call", all "channels" together, every "position", or
    #: every "sample"
    shared_by: str = "normalisation batch"
    #: for samples alone: a group of channels over all positions of the "sample", over each "position" separately,
    #: over all samples of the "batch", or each "channel" by itself
    over: str = "sample"
    grouping: str = "neighbours"  #: a group has neighbouring channels, or "every" groups-th channel
    used: str = "before"  #: Online Normalization reads its averages "before" or "after" the sample
    #: the distance in its variance: from the "old mean", from the "new mean", or "none"
    distance: str = "old mean"
    #: after gamma and beta comes layer "scaling", a "clamp" or "none"; or before them "scaling first"
    guard: str = "scaling"
    statistic: str = "variance"  #: or "mean square"
    centred: str = "as named"  #: the mean is subtracted by batch norm and Batch Renormalization; or "yes", by all
    variance: str = "biased"  #: 1/n, or "unbiased", 1/(n-1), in training
    #: inside the root, "outside", "twice" inside, "none", the "largest" of it and the variance, or "after r": beside
    #: var / r^2, as where Batch Renormalization is written as a change of mean and variance
    eps_at: str = "inside"
    root: str = "yes"  #: or "no": division by the statistic itself
    #: the moving average is of the square (variance, chi^2), of the "root" (sigma, chi) with eps in it, or of the
    #: "bare root" without
    average_of: str = "square"
    #: what goes into it: the variance as used in training, "biased", "unbiased", "unbiased twice", scaled by N/(N-1)
    #: "over samples", or "with eps"; or that of the values "normalised", or of the "outputs"; or "nothing"
    fed: str = "as used"
    #: what goes into the moving mean: the mean of the "inputs", of the values "normalised", or of the "outputs"
    mean_fed: str = "inputs"
    fed_by: str = "batch"  #: the batch's own statistic, or that of the "window", which forward divides by
    fed_per: str = "micro-batch"  #: or "call"
    #: the first square; "root": a root of 1; "no root": a root of 0; "first": the first value; "debiased": 0, and
    #: every average is divided by the sum of its weights
    start: Any = 1.0
    stops: Any = 0  #: the iteration after which the averages no longer move; 0: never
    #: training normalises by the statistics of the batch, or by the moving ones "before" or "after" it
    by: str = "batch"
    #: or "(y + beta) gamma", "|gamma|", "|gamma| + eps", "gamma forgotten", "beta forgotten"; of Batch
    #: Renormalization "before r"
    affine: str = "y gamma + beta"
    blend: Any = ()  #: how r and d come in: by nothing, or (iterations, "steps" or "slope", the largest factor)
    start_mean: Any = 0.0  #: the first mean, or "first"
    read: str = "before"  #: r and d read the averages "before" or "after" the update
    moving_eps: str = "same"  #: eps in the moving sigma: as in training, "twice", or "none"
    #: r is the ratio of roots, of "squares", of "variance" over moving root, of "variance over square", "inverted",
    #: "without eps", of "squares without eps", or always "one"
    r_of: str = "roots"
    #: d is in units of the moving or the "batch" sigma, of the moving "variance", or of the moving one and "negative"
    d_over: str = "moving"
    clip_sides: str = "both"  #: r and d are clipped from both sides, from "above" alone, or "r above" alone
    #: while the window fills: the mean of what it holds, the "batch" alone, or "zeros" counted in
    partial: str = "mean"
    window_of: str = "square"  #: the window's mean is of the square or of the "root"
    short: int = 0  #: by how many the window of forward is too short
    window_holds: str = "this batch"  #: the window of forward ends with this batch, or holds the "earlier ones" alone
    #: as the normaliser does, or by the "moving" statistics, those of the "batch", the "sample" or the "window", or
    #: the moving ones "debiased", or "moved" by the batch first; or "unguarded": without layer scaling. Of EvalNorm
    #: the "mixture", with the "variances alone" mixed, the "mean alone", weights "swapped", or the "mixture of the
    #: call".
    infer_by: str = "own"
    #: eps at inference: as in training, "inside" the root, "none", "twice"; "no root" is taken, or that of the "root
    #: again"; or another number
    infer_eps: Any = "same"
    bounds: str = "as given"  #: ramps of r_max and d_max, or the same "flipped"
    dx: str = "right"  #: or which other formula; `dgamma` and `dbeta` likewise
    dgamma: str = "right"
    dbeta: str = "right"


HYPER_PARAMETERS = tuple(Convention.__dataclass_fields__)[:11]
"""The fields that a report shows as numbers."""

_MEANING: dict[str, Callable[[Any], dict[str, Any]]] = {
    "brn": lambda config: {"average_of": "root" if config.ema_of == "sigma" else "square"},
    "modified-bn": lambda config: {"statistic": "mean square"},
    "mabn": lambda config: {"statistic": "mean square"},
    "rms": lambda config: {"statistic": "mean square", "over": "position"},
    "frn": lambda config: {"statistic": "mean square", "over": "channel"},
    "online": lambda config: {"guard": "scaling" if config.layer_scaling else "none"},
    "eval-norm": lambda config: {"infer_by": "mixture" if config.merged else "variances alone"},
}
"""What a Config says about a convention, apart from the fields with the same names."""


def from_config(norm: str, config: Any) -> Convention:
    """Return the convention of a normaliser of this project, by its name and its Config.

    Examples
    --------
    >>> from mabn_ref.norms import batch_renorm
    >>> from_config("brn", batch_renorm.Config()).average_of
    'root'
    """
    same = {name: value for name, value in vars(config).items() if name in Convention.__dataclass_fields__}
    return Convention(**same | (_MEANING[norm](config) if norm in _MEANING else {}))


def asked_for(norm: str, asked: Mapping[str, Any], norm_batch: int) -> dict[str, Any]:
    """Return the fields of a convention that a user's values decide, in calls of `norm_batch` samples.

    Examples
    --------
    >>> asked_for("mabn", {"real_batch": 16, "clip": 4.0}, norm_batch=2)
    {'clip': 4.0, 'window': 8}
    """
    by_name = {"norm_batch"} | (set() if norm == "gn" else {"groups"})  # part of the normaliser, not a choice
    found = {name: v for name, v in asked.items() if name in Convention.__dataclass_fields__ and name not in by_name}
    if "real_batch" in asked:
        found["window"] = max(1, int(asked["real_batch"] // asked.get("norm_batch", norm_batch)))
    return found


@dataclass(frozen=True, eq=False)
class Preset:
    """A convention with a name: where it differs from this project's default, and the usual hyper-parameters."""

    name: str
    changes: dict[str, Any]
    defaults: dict[str, Any]


_PAPER = Preset("the paper", {}, {})
_NO_SHIFT = {"affine": "beta forgotten"}
PRESETS: dict[str, tuple[Preset, ...]] = {
    "bn": (
        _PAPER,
        Preset("PyTorch", {"fed": "unbiased"}, {"eps": 1e-5, "decay": 0.9}),
        Preset("Keras 3", {}, {"eps": 1e-3, "decay": 0.99}),
        Preset("Flax", {}, {"eps": 1e-5, "decay": 0.99}),
        Preset("Chainer", {"fed": "unbiased"}, {"eps": 2e-5, "decay": 0.9}),
    ),
    "brn": (
        Preset("Ioffe's paper", {}, {"decay": 0.99}),
        Preset("Ioffe's paper, with the average of equation (12)", {"average_of": "square"}, {}),
        Preset("Keras 3 with renorm", {"start": "root"}, {"eps": 1e-3, "decay": 0.99}),
        Preset("Chainer", {"average_of": "square", "fed": "unbiased"}, {"eps": 2e-5, "decay": 0.9}),
    ),
    "mabn": (
        Preset("the paper", {}, {"decay": 0.98, "eps": 1e-5}),
        Preset(
            "the authors' MABN.py",
            {"partial": "batch", "fed_by": "window", "renorm_from": 1001, "warmup": 100},
            {"decay": 0.98, "eps": 1e-5, "warmup": 100, "clip": 5.0},
        ),
        Preset(
            "the authors' cls/networks/MABN.py",
            {"fed_by": "window", "fed_per": "call", "start": "first", "warmup": 2, "renorm_from": 100},
            {"decay": 0.98, "eps": 1e-5, "window": 16, "clip": 5.0},
        ),
    ),
    "gn": (
        Preset("the paper", {}, {"eps": 1e-5}),
        Preset("Keras 3", {}, {"eps": 1e-3}),
        Preset("Flax", {}, {"eps": 1e-6}),
    ),
    "ln": (_PAPER, Preset("Transformers", {"over": "position"}, {})),
    "rms": (_PAPER, Preset("PyTorch", _NO_SHIFT, {}), Preset("Keras 3 and Flax", _NO_SHIFT, {"eps": 1e-6})),
    "eval-norm": (_PAPER, Preset("PyTorch", {"fed": "unbiased"}, {"eps": 1e-5, "decay": 0.9})),
    "powernorm": (_PAPER, Preset("the authors' code", {"backward_by": "batch"}, {})),
    "online": (
        Preset("the paper", {}, {"decay_forward": 0.999, "decay_backward": 0.99, "eps": 1e-5}),
        Preset("the authors' later code", {"guard": "clamp"}, {"decay_forward": 0.999, "eps": 1e-5}),
    ),
}
"""By normaliser, if there are more than "the paper"; this project's default comes first."""


def presets_of(norm: str) -> tuple[Preset, ...]:
    """Return the named conventions that a layer checked as `norm` may have."""
    return PRESETS.get(norm, (_PAPER,))
