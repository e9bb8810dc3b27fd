"""What may differ, one thing at a time: a field of a `Convention`, another value, and the words for it.

A choice that is in the catalogue of mistakes has its name, and its sentence from there. One that a framework or an
author made, or that a paper leaves open, is accepted; any other is a disagreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mabn_ref.mistakes import named

__all__ = ["CHOICES", "Choice"]

STATE, TRAINED, INFERRED = "state", "z", "inferred"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One deviation from a preset.

    Attributes
    ----------
    changes : tuple of (str, value)
        Fields of a `Convention` and the values that they get.
    norms : tuple of str
        The normalisers in which it makes a difference.
    shows : tuple of str
        The tensors in which it may show.
    words : str
        What to say; the catalogue's sentence if it is a mistake.
    mistake : str
        Its name in `mabn_ref.mistakes`, or "".
    accepted : bool
        Whether it is no disagreement.
    as_convention : str
        What to say of a mistake where it is part of somebody's convention.
    """

    changes: tuple[tuple[str, Any], ...]
    norms: tuple[str, ...]
    shows: tuple[str, ...]
    words: str
    mistake: str = ""
    accepted: bool = False
    as_convention: str = ""


def _choice(
    field: str,
    value: Any,
    norms: str,
    shows: str,
    words: str = "",
    *,
    mistake: str = "",
    accepted: bool = False,
    as_convention: str = "",
) -> Choice:
    words = words or named(mistake).sentence
    return Choice(
        changes=((field, value),),
        norms=tuple(norms.split()),
        shows=tuple(shows.split()),
        words=words,
        mistake=mistake,
        accepted=accepted,
        as_convention=as_convention,
    )


_BN, _CHI, _ALL = "bn brn", "modified-bn mabn", "bn brn modified-bn mabn"
_EARLY = "z dx dgamma state inferred"
_MOVING = "state inferred"
_RENORM = "z dx dgamma"

_FORWARD = (
    _choice("variance", "unbiased", _BN, _EARLY, mistake="bn-unbiased-variance"),
    _choice("eps_at", "outside", _BN, _EARLY, mistake="bn-eps-outside"),
    _choice("eps_at", "outside", _CHI, _EARLY, "Your forward divides by chi + eps; eps belongs inside the root."),
    _choice("eps_at", "twice", _ALL, _EARLY, mistake="bn-eps-twice"),
    _choice("eps_at", "none", _ALL, _EARLY, mistake="bn-no-eps"),
    _choice(
        "eps_at",
        "after r",
        "brn",
        _RENORM,
        "Your eps is added to var / r^2, after r; it belongs into the sigma that r is made of.",
    ),
    _choice("shared_by", "call", "bn", _EARLY, mistake="bn-whole-call"),
    _choice("shared_by", "call", "brn modified-bn mabn", _EARLY, mistake="bn-whole-call"),
    _choice("shared_by", "channels", _ALL, _EARLY, mistake="bn-channels-together"),
    _choice("shared_by", "position", _ALL, _EARLY, mistake="bn-positions-apart"),
    _choice("statistic", "variance", _CHI, _EARLY, mistake="modified-variance"),
    Choice(
        changes=(("centred", "yes"), ("statistic", "variance")),
        norms=("modified-bn", "mabn"),
        shows=tuple(_EARLY.split()),
        words="Your output has the batch's mean subtracted and is divided by sigma; (15) divides by chi alone.",
    ),
    _choice("root", "no", _CHI, _EARLY, mistake="modified-no-root"),
    _choice("short", 1, "mabn", _EARLY, mistake="mabn-window-one-short"),
    _choice("partial", "zeros", "mabn", _EARLY, mistake="mabn-zeros-counted"),
    _choice(
        "partial",
        "batch",
        "mabn",
        _EARLY,
        "Until the window is full each batch uses its own statistics, as in the authors' code.",
        accepted=True,
    ),
    _choice("window_of", "root", "mabn", _EARLY, mistake="mabn-chi-averaged"),
    _choice("r_of", "squares", "mabn brn", _RENORM, mistake="mabn-r-of-squares"),
    _choice("r_of", "one", "mabn", _RENORM, mistake="mabn-no-renormalisation"),
    _choice(
        "r_of",
        "one",
        "brn",
        _RENORM,
        "Your r is 1 and your d is 0 from the start: so far this is batch normalisation, no Batch Renormalization.",
    ),
    _choice("r_of", "variance", "brn", _RENORM, mistake="brn-r-of-variance"),
    _choice("r_of", "variance over square", "brn mabn", _RENORM, "Your r is the batch's square over sigma_hat^2."),
    _choice("r_of", "without eps", "brn mabn", _RENORM, "Your r has no eps in it: it is a ratio of bare roots."),
    _choice("r_of", "squares without eps", "brn mabn", _RENORM, "Your r is a ratio of squares, with no eps in it."),
    _choice("r_of", "inverted", "brn mabn", _RENORM, "Your r is upside down: the batch's root belongs above."),
    _choice("d_over", "negative", "brn", _RENORM, "Your d has the wrong sign: it is (mu_B - mu_hat) / sigma_hat."),
    _choice("clip_sides", "r above", "brn", _RENORM, mistake="brn-clip-from-above-only"),
    _choice("d_over", "batch", "brn", _RENORM, mistake="brn-d-over-batch-sigma"),
    _choice("read", "after", "brn", _RENORM, mistake="brn-read-after-update"),
    _choice("read", "after", "mabn", _RENORM, mistake="mabn-read-after-update"),
    _choice("clip_sides", "above", "brn", _RENORM, mistake="brn-clip-from-above-only"),
    _choice("clip_sides", "above", "mabn", _RENORM, "Your r is bounded from above alone; 1/clip is to bound it."),
    _choice("bounds", "flipped", "brn", _RENORM, mistake="brn-warm-up-inverted"),
    _choice("moving_eps", "twice", "brn", _RENORM, mistake="brn-eps-twice"),
    _choice("moving_eps", "none", "brn", _RENORM, "Your moving sigma in r and d has no eps in it."),
    _choice("moving_eps", "none", "mabn", _RENORM, "Your moving chi in r has no eps in it."),
)

_AVERAGES = (
    _choice(
        "average_of", "root", "bn", _MOVING, "The moving average is of sigma, eps in it, as in Batch Renormalization."
    ),
    _choice(
        "average_of",
        "root",
        _CHI,
        _MOVING + " z dx dgamma",
        "The moving average is of chi, not of chi^2; the paper leaves it open.",
        accepted=True,
    ),
    _choice(
        "average_of",
        "root",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving average is of sigma, as Ioffe has it.",
        accepted=True,
    ),
    _choice(
        "average_of",
        "square",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving average is of the variance, as in equation (12).",
        accepted=True,
    ),
    _choice(
        "fed",
        "unbiased",
        _BN,
        _MOVING + " z dx dgamma",
        "running_var matches the unbiased variance: PyTorch's convention, n/(n-1) = {bessel:.4g} at n = {values}.",
        accepted=True,
    ),
    _choice(
        "fed",
        "biased",
        _BN,
        _MOVING + " z dx dgamma",
        "running_var takes the biased variance, though training normalises by the unbiased one.",
    ),
    _choice("fed", "unbiased", _CHI, _EARLY, "Your moving average is fed chi_B^2 times n / (n - 1)."),
    _choice("fed", "over samples", _BN, _MOVING + " z dx dgamma", mistake="bn-running-var-over-samples"),
    _choice("fed", "with eps", _BN, _MOVING + " z dx dgamma", mistake="bn-running-var-holds-eps"),
    _choice(
        "decay",
        "cumulative",
        "bn brn",
        _MOVING + " z dx dgamma",
        "The moving statistics are averages of all batches so far, as with momentum=None in PyTorch.",
        accepted=True,
    ),
    _choice("start", 0.0, _ALL, _MOVING + " z dx dgamma", mistake="bn-variance-starts-at-zero"),
    _choice(
        "start",
        "root",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving sigma starts at 1, as in Keras; Ioffe's average would start at sqrt(1 + eps).",
        accepted=True,
    ),
    _choice(
        "start",
        "first",
        _ALL,
        _MOVING + " z dx dgamma",
        "The moving average starts at the first value.",
        accepted=True,
    ),
    _choice(
        "average_of",
        "bare root",
        "brn mabn",
        _MOVING + " z dx dgamma",
        "The moving average is of the root without eps in it.",
        accepted=True,
    ),
    _choice("start", "no root", "brn", _MOVING + " z dx dgamma", "The moving sigma starts at 0."),
    _choice("start_mean", 1.0, _BN, _MOVING + " z dx dgamma", "The moving mean starts at 1; it starts at 0."),
    _choice(
        "start_mean",
        "first",
        _BN,
        _MOVING + " z dx dgamma",
        "The moving mean starts at the first value.",
        accepted=True,
    ),
    _choice(
        "fed_by",
        "window",
        "mabn",
        _EARLY,
        mistake="mabn-ema-of-window",
        as_convention="The exponential average is fed the window's mean, as in the authors' code.",
    ),
    _choice(
        "fed_by", "batch", "mabn", _EARLY, "The exponential average is fed chi_B^2, as in the paper.", accepted=True
    ),
    _choice(
        "fed_per",
        "call",
        "mabn",
        _EARLY,
        "The exponential average is updated once a call, as in the authors' ImageNet code.",
        accepted=True,
    ),
)

_INFERENCE = (
    _choice("infer_by", "batch", _BN, INFERRED, mistake="bn-infer-batch-statistics"),
    _choice("infer_by", "window", "mabn", INFERRED, mistake="mabn-infer-window"),
    _choice("infer_eps", "inside", _ALL, INFERRED, "Inference has eps inside the root.", accepted=True),
    _choice("infer_eps", "none", _ALL, INFERRED, mistake="bn-infer-no-eps"),
    _choice("infer_eps", "twice", _ALL, INFERRED, "Your inference has eps in the root twice."),
    _choice("infer_eps", "no root", _BN, INFERRED, "Your inference divides by the variance; take its root."),
    _choice("infer_eps", "no root", _CHI, INFERRED, "Your inference divides by chi^2; take its root."),
)


def _dx(value: str, norms: str, words: str = "", mistake: str = "") -> Choice:
    return _choice("dx", value, norms, "dx", words, mistake=mistake)


_BACKWARD = (
    _dx("no g", _BN, mistake="bn-no-g"),
    _dx("no psi", _BN, mistake="bn-no-psi"),
    _dx("statistics constant", _BN, mistake="bn-statistics-constant"),
    _dx("sums", _BN, mistake="bn-sums-for-means"),
    _dx("whole call", _BN, mistake="bn-whole-call-backward"),
    _dx("no gamma", "bn brn modified-bn", mistake="bn-gamma-forgotten"),
    _dx("over variance", "bn brn modified-bn", mistake="bn-variance-for-sigma"),
    _dx("over std", "bn brn modified-bn", mistake="bn-backward-no-eps"),
    _dx("recomputed without eps", _BN, mistake="bn-backward-recomputed-without-eps"),
    _dx(
        "formula (4)",
        "bn brn modified-bn",
        "Your dx is formula (4) or (16), which is not of your forward.",
    ),
    _dx("no psi", "modified-bn", mistake="modified-no-psi"),
    _dx("no psi", "mabn", mistake="modified-no-psi"),
    _dx("keeps g", _CHI, mistake="modified-keeps-g"),
    _dx("r forgotten", "brn", mistake="brn-r-forgotten-in-backward"),
    _dx("through r", "brn", mistake="brn-r-differentiated"),
    _dx("through d", "brn", mistake="brn-d-differentiated"),
    _dx("through r and d", "brn", mistake="brn-r-and-d-differentiated"),
    _dx("psi of this batch", "mabn", mistake="mabn-psi-of-this-batch"),
    _dx("psi one late", "mabn", mistake="mabn-psi-window-one-late"),
    _dx("psi exponential", "mabn", mistake="mabn-psi-exponential"),
    _dx("psi without gamma", "mabn", mistake="mabn-psi-without-gamma"),
    _dx(
        "gamma after the average",
        "mabn",
        "Your Psi_B is averaged without gamma, and the average is multiplied by today's gamma: right as long as "
        "gamma stays. The Psi_B of an earlier batch has the gamma of then.",
    ),
    _dx("r forgotten", "mabn", mistake="mabn-r-forgotten-in-backward"),
    _dx("dx averaged", "mabn", mistake="mabn-dx-averaged"),
    _dx("one call", "mabn", mistake="mabn-derivative-of-one-call"),
    _dx("no warm-up", "mabn", mistake="mabn-warm-up-forward-only"),
    _dx("through r", "mabn", "Your dx is the derivative of this call alone and goes back through r, a constant."),
    _dx(
        "psi without r",
        "mabn",
        "Your Psi_B is the mean of y * gamma * dz; what reaches y has r in it too.",
    ),
    _dx("psi of r y", "mabn", "Your Psi_B is made with r * y; it is the mean of y * dy with the y from before r."),
    _dx("sums", "mabn", mistake="bn-sums-for-means"),
    _dx("sums", "modified-bn", mistake="bn-sums-for-means"),
    _dx("no gamma", "mabn", mistake="bn-gamma-forgotten"),
    _dx("over variance", "mabn", "Your dx is divided by chi^2 where equation (20) divides by its root."),
    _dx("renormalised y", "mabn", "Your dx and Psi have r * y in them; it is the y from before r."),
    _dx("psi exponential from the first", "mabn", mistake="mabn-psi-exponential"),
    _dx("batch chi", "mabn", "Your dx is divided by this batch's chi; equation (20) divides by the average."),
    _choice("dgamma", "without d", "brn", "dgamma", "Your dgamma sums dz * r * y and leaves out d."),
    _choice("dgamma", "times gamma", _ALL, "dgamma", "Your dgamma has gamma in it: it sums dz * y, not dy * y."),
    _dx("zeros counted", "mabn", "Your average of Psi divides by m before m batches have been seen."),
    _dx("one short", "mabn", "Your Psi is averaged over m - 1 batches, not m."),
    _choice("dgamma", "before corrections", "brn", "dgamma", mistake="brn-dgamma-before-corrections"),
    _choice("dgamma", "before corrections", "mabn", "dgamma", mistake="mabn-dgamma-before-r"),
    _choice("dgamma", "not normalised", _ALL, "dgamma", mistake="bn-dgamma-not-normalised"),
    _choice("dgamma", "mean", _ALL, "dgamma", mistake="bn-parameter-means"),
    _choice("dbeta", "mean", _ALL, "dbeta", mistake="bn-parameter-means"),
)

CHOICES: tuple[Choice, ...] = (*_AVERAGES, *_FORWARD, *_INFERENCE, *_BACKWARD)
"""Conventions first: a number that a convention explains is no mistake."""
