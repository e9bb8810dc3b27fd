"""Conventions as data: every way of doing it that is known, the frameworks' own among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["PRESETS", "Convention", "Preset", "from_config"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way of doing all normalisers; a field that a normaliser has no use for is left alone.

    Parameters
    ----------
    eps, decay, window, clip, r_max, d_max, warmup, renorm_from, groups, norm_batch, decay_forward, decay_backward
        Hyper-parameters, as in the Configs of `mabn_ref.norms`; a bound may be "measured": read off the outputs, and
        the decay "cumulative": an average of all batches so far.
    shared_by : str
        Which values share statistics: those of a "normalisation batch", a whole "call", all "channels" together,
        or of the samples alone, every "position" apart.
    over : str
        Where a sample is normalised alone: a group of channels over all positions of the "sample", or of every
        "position" apart; or of all samples of the "batch"; or every "channel" for itself.
    grouping : str
        A group is of "neighbours", or of "every" groups-th channel.
    used, distance, guard : str
        Of Online Normalization: the averages from "before" or "after" the sample; the distance that enters the
        variance is from the "old mean", the "new mean", or there is "none"; after gamma and beta comes layer
        "scaling", a "clamp" or "none", or before them "scaling first".
    statistic : str
        "variance" or "mean square".
    centred : str
        "as named": the mean is subtracted by batch norm and Batch Renormalization; or "yes".
    variance : str
        "biased", 1/n, or "unbiased", 1/(n-1), in training.
    eps_at : str
        "inside" the root, "outside", "twice" inside, "none", or "after r": beside var / r^2, as where Batch
        Renormalization is written as a change of mean and variance.
    root : str
        "yes", or "no": division by the statistic itself.
    average_of : str
        The moving average is of the "square" (variance, chi^2), of the "root" (sigma, chi) with eps in it, or of the
        "bare root" without.
    fed : str
        What goes into it: the variance "as used" in training, "biased", "unbiased", scaled by N/(N-1) "over samples",
        or "with eps".
    fed_by : str
        The "batch" or the "window": its own statistic, or the one that forward divides by.
    fed_per : str
        "micro-batch" or "call".
    start : float or str
        The first square; "root" is a root of 1, and "first" the first value.
    start_mean : float or str
        The first mean, or "first".
    read : str
        r and d read the averages "before" or "after" the update.
    moving_eps : str
        eps in the moving sigma: "same" as in training, "twice", "none".
    r_of : str
        r is the ratio of "roots", of "squares", of "variance" over moving root, of "variance over square",
        "inverted", "without eps", of "squares without eps", or always "one".
    d_over : str
        d is in units of the "moving" or the "batch" sigma, or the moving one and "negative".
    clip_sides : str
        r and d are clipped from "both" sides, from "above" alone, or "r above" alone.
    partial : str
        While the window fills: "mean" of what it holds, the "batch" alone, or "zeros" counted in.
    window_of : str
        The window's mean is of the "square" or of the "root".
    short : int
        By how many the window of forward is too short.
    infer_by : str
        As the normaliser has it ("own"), the "moving" statistics, those of the "batch", of the "sample", or the
        "window"; or "unguarded": without layer scaling. Of EvalNorm the "mixture", with the "variances alone" mixed,
        the "mean alone", weights "swapped", or the "mixture of the call".
    infer_eps : str
        eps at inference: "same" as in training, "inside" the root, "none", "twice"; or "no root" is taken.
    bounds : str
        Ramps of r_max and d_max "as given" or "flipped".
    dx, dgamma, dbeta : str
        "right", or which other formula.
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
    norm_batch: int = 1
    over: str = "sample"
    grouping: str = "neighbours"
    decay_forward: float = 0.999
    decay_backward: float = 0.99
    used: str = "before"
    distance: str = "old mean"
    guard: str = "scaling"
    shared_by: str = "normalisation batch"
    statistic: str = "variance"
    centred: str = "as named"
    variance: str = "biased"
    eps_at: str = "inside"
    root: str = "yes"
    average_of: str = "square"
    fed: str = "as used"
    fed_by: str = "batch"
    fed_per: str = "micro-batch"
    start: Any = 1.0
    start_mean: Any = 0.0
    read: str = "before"
    moving_eps: str = "same"
    r_of: str = "roots"
    d_over: str = "moving"
    clip_sides: str = "both"
    partial: str = "mean"
    window_of: str = "square"
    short: int = 0
    infer_by: str = "own"
    infer_eps: str = "same"
    bounds: str = "as given"
    dx: str = "right"
    dgamma: str = "right"
    dbeta: str = "right"


def from_config(norm: str, config: Any) -> Convention:
    """Return the convention of a normaliser of this project.

    Parameters
    ----------
    norm : str
        A key of `mabn_ref.check.scenarios.MODULES`.
    config
        Its Config.

    Examples
    --------
    >>> from mabn_ref.norms import batch_renorm
    >>> from_config("brn", batch_renorm.Config()).average_of
    'root'
    """
    if norm in ("gn", "ln", "in"):
        return Convention(eps=config.eps, groups=config.groups)
    if norm == "eval-norm":
        mixture = "mixture" if config.merged else "variances alone"
        return Convention(eps=config.eps, decay=config.decay, infer_by=mixture, norm_batch=config.norm_batch)
    if norm == "online":
        decays = {"decay_forward": config.decay_forward, "decay_backward": config.decay_backward}
        return Convention(eps=config.eps, guard="scaling" if config.layer_scaling else "none", **decays)
    if norm == "bn":
        return Convention(eps=config.eps, decay=config.decay)
    if norm == "modified-bn":
        return Convention(eps=config.eps, decay=config.decay, statistic="mean square")
    if norm == "brn":
        return Convention(
            eps=config.eps,
            decay=config.decay,
            r_max=config.r_max,
            d_max=config.d_max,
            average_of="root" if config.ema_of == "sigma" else "square",
        )
    return Convention(
        eps=config.eps,
        decay=config.decay,
        window=config.window,
        clip=config.clip,
        warmup=config.warmup,
        renorm_from=config.renorm_from,
        statistic="mean square",
        partial=config.partial_window,
        fed_by=config.ema_of,
        fed_per=config.ema_per.replace("_", "-"),
        read=config.ema_read,
        start=config.ema_start,
    )


@dataclass(frozen=True, eq=False)
class Preset:
    """A convention with a name: where it differs from this project's default, and the usual hyper-parameters."""

    name: str
    changes: dict[str, Any]
    defaults: dict[str, Any]


PRESETS: dict[str, tuple[Preset, ...]] = {
    "bn": (
        Preset("the paper", {}, {}),
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
    "modified-bn": (Preset("the paper", {}, {}),),
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
    "ln": (Preset("the paper", {}, {}), Preset("Transformers", {"over": "position"}, {})),
    "in": (Preset("the paper", {}, {}),),
    "eval-norm": (
        Preset("the paper", {}, {}),
        Preset("PyTorch", {"fed": "unbiased"}, {"eps": 1e-5, "decay": 0.9}),
    ),
    "online": (
        Preset("the paper", {}, {"decay_forward": 0.999, "decay_backward": 0.99, "eps": 1e-5}),
        Preset("the authors' later code", {"guard": "clamp"}, {"decay_forward": 0.999, "eps": 1e-5}),
    ),
}
"""By what a layer is checked as; the first is this project's default."""
