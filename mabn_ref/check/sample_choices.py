"""What may differ in normalisers of single samples, as in `choices`; and all choices together."""

from __future__ import annotations

from mabn_ref.check.choices import CHOICES, Choice, choice

__all__ = ["ALL_CHOICES"]

_ALONE = "gn ln in"
_EARLY = "z dx dgamma inferred"

_FORWARD = (
    choice(
        "over",
        "position",
        "ln",
        _EARLY,
        "Every position has statistics of its own, over channels alone, as LayerNorm in Transformers.",
        accepted=True,
    ),
    choice(
        "over",
        "position",
        "gn",
        _EARLY,
        "Every position has statistics of its own; those of a group of channels are over all positions of a sample.",
    ),
    choice("over", "batch", "gn ln in", _EARLY, mistake="gn-statistics-of-the-batch"),
    choice("over", "channel", "ln", _EARLY, "Every channel has statistics of its own: instance normalisation."),
    choice("grouping", "every", "gn", _EARLY, mistake="gn-channels-interleaved"),
    choice("variance", "unbiased", _ALONE, _EARLY, mistake="bn-unbiased-variance"),
    choice("eps_at", "outside", _ALONE, _EARLY, mistake="bn-eps-outside"),
    choice("eps_at", "twice", _ALONE, _EARLY, mistake="bn-eps-twice"),
    choice("eps_at", "none", _ALONE, _EARLY, mistake="bn-no-eps"),
)

_INFERENCE = (
    choice("infer_by", "sample", "gn ln in", "inferred", "Inference is right; training is not.", accepted=True),
    choice(
        "infer_by",
        "moving",
        "in",
        "inferred",
        "Inference has moving statistics, as with track_running_stats=True in PyTorch; the paper's is as training.",
        accepted=True,
    ),
)


def _dx(value: str, norms: str, words: str = "", mistake: str = "") -> Choice:
    return choice("dx", value, norms, "dx", words, mistake=mistake)


_BACKWARD = (
    _dx("gamma last", "gn ln", mistake="gn-gamma-after-the-means"),
    _dx("statistics constant", _ALONE, mistake="gn-no-statistics"),
    _dx("no g", _ALONE, "Your dx lacks g, the mean of dy over sample and group: every x also moves the mean."),
    _dx("no psi", _ALONE, "Your dx lacks y * Psi: every x also moves the variance."),
    _dx("no gamma", _ALONE, mistake="bn-gamma-forgotten"),
    _dx("sums", _ALONE, mistake="bn-sums-for-means"),
    _dx("over variance", _ALONE, mistake="bn-variance-for-sigma"),
    _dx("over std", _ALONE, mistake="bn-backward-no-eps"),
    choice("dgamma", "times gamma", _ALONE, "dgamma", "Your dgamma has gamma in it: it sums dz * y, not dy * y."),
    choice("dgamma", "not normalised", _ALONE, "dgamma", mistake="bn-dgamma-not-normalised"),
    choice("dgamma", "mean", _ALONE, "dgamma", mistake="bn-parameter-means"),
    choice("dbeta", "mean", _ALONE, "dbeta", mistake="bn-parameter-means"),
)

_MOVED = "state z dx dgamma inferred"
_SEEN = "z dx dgamma inferred"
_ONLINE = (
    choice("distance", "none", "online", _MOVED, mistake="online-no-distance"),
    choice("distance", "new mean", "online", _MOVED, mistake="online-distance-from-new-mean"),
    choice("used", "after", "online", _SEEN, mistake="online-statistics-after"),
    choice(
        "guard", "clamp", "online", _SEEN, "The output is clipped to [-5, 5], without layer scaling.", accepted=True
    ),
    choice(
        "guard", "scaling first", "online", _SEEN, "Your layer scaling comes before gamma and beta; it comes last."
    ),
    choice("eps_at", "outside", "online", _SEEN, mistake="bn-eps-outside"),
    choice("eps_at", "twice", "online", _SEEN, mistake="bn-eps-twice"),
    choice("eps_at", "none", "online", _SEEN, mistake="bn-no-eps"),
    choice("infer_by", "unguarded", "online", "inferred", "Your inference leaves layer scaling out."),
    _dx("v of dy", "online", mistake="online-v-of-dy"),
    _dx("u before control", "online", mistake="online-u-before-control"),
    _dx("averaged", "online", mistake="online-control-averaged"),
    _dx("v after", "online", mistake="online-control-of-this-sample"),
    _dx("no control", "online", "Your dx is dy / sigma: nothing takes u and v off."),
    choice("dx", "scale held", "online", "dx dgamma dbeta", mistake="online-scale-held"),
    choice("dgamma", "times gamma", "online", "dgamma", "Your dgamma has gamma in it: it sums dz * y, not dy * y."),
    choice("dgamma", "mean", "online", "dgamma", mistake="bn-parameter-means"),
    choice("dbeta", "mean", "online", "dbeta", mistake="bn-parameter-means"),
)

_EVAL = (
    choice("infer_by", "moving", "eval-norm", "inferred", mistake="eval-averages-alone"),
    choice("infer_by", "swapped", "eval-norm", "inferred", mistake="eval-weights-swapped"),
    choice("infer_by", "mean alone", "eval-norm", "inferred", mistake="eval-mean-alone"),
    choice("infer_by", "mixture of the call", "eval-norm", "inferred", mistake="eval-whole-batch"),
    choice(
        "infer_by",
        "variances alone",
        "eval-norm",
        "inferred",
        "The variances alone are mixed, without the term by which the means differ.",
        accepted=True,
    ),
)

ALL_CHOICES: tuple[Choice, ...] = (*CHOICES, *_FORWARD, *_INFERENCE, *_BACKWARD, *_ONLINE, *_EVAL)
