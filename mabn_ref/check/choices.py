"""What may differ, one thing at a time: a field of a `Convention`, another value, and the words for it.

A choice that is in the catalogue of mistakes has its name, and its sentence from there. One that a framework or an
author made, or that a paper leaves open, is accepted; any other is a disagreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mabn_ref.mistakes import named

__all__ = ["CHOICES", "Choice", "choice"]

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


def choice(
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
    """Return a choice of one field; names apart by spaces, the words of a mistake from the catalogue."""
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
    choice("variance", "unbiased", _BN, _EARLY, mistake="bn-unbiased-variance"),
    choice("eps_at", "outside", _BN, _EARLY, mistake="bn-eps-outside"),
    choice("eps_at", "outside", _CHI, _EARLY, "Your forward divides by chi + eps; eps belongs inside the root."),
    choice("eps_at", "twice", _ALL, _EARLY, mistake="bn-eps-twice"),
    choice("eps_at", "none", _ALL, _EARLY, mistake="bn-no-eps"),
    choice(
        "eps_at",
        "after r",
        "brn",
        _RENORM,
        "Your eps is added to var / r^2, after r; it belongs into the sigma that r is made of.",
    ),
    choice("shared_by", "call", "bn", _EARLY, mistake="bn-whole-call"),
    choice("shared_by", "call", "brn modified-bn mabn", _EARLY, mistake="bn-whole-call"),
    choice("shared_by", "channels", _ALL, _EARLY, mistake="bn-channels-together"),
    choice("shared_by", "position", _ALL, _EARLY, mistake="bn-positions-apart"),
    choice("statistic", "variance", _CHI, _EARLY, mistake="modified-variance"),
    Choice(
        changes=(("centred", "yes"), ("statistic", "variance")),
        norms=("modified-bn", "mabn"),
        shows=tuple(_EARLY.split()),
        words="Your output has the batch's mean subtracted and is divided by sigma; (15) divides by chi alone.",
    ),
    choice("root", "no", _CHI, _EARLY, mistake="modified-no-root"),
    choice("short", 1, "mabn", _EARLY, mistake="mabn-window-one-short"),
    choice("partial", "zeros", "mabn", _EARLY, mistake="mabn-zeros-counted"),
    choice(
        "partial",
        "batch",
        "mabn",
        _EARLY,
        "Until the window is full each batch uses its own statistics, as in the authors' code.",
        accepted=True,
    ),
    choice("window_of", "root", "mabn", _EARLY, mistake="mabn-chi-averaged"),
    choice("r_of", "squares", "mabn brn", _RENORM, mistake="mabn-r-of-squares"),
    choice("r_of", "one", "mabn", _RENORM, mistake="mabn-no-renormalisation"),
    choice(
        "r_of",
        "one",
        "brn",
        _RENORM,
        "Your r is 1 and your d is 0 from the start: so far this is batch normalisation, no Batch Renormalization.",
    ),
    choice("r_of", "variance", "brn", _RENORM, mistake="brn-r-of-variance"),
    choice("r_of", "variance over square", "brn mabn", _RENORM, "Your r is the batch's square over sigma_hat^2."),
    choice("r_of", "without eps", "brn mabn", _RENORM, "Your r has no eps in it: it is a ratio of bare roots."),
    choice("r_of", "squares without eps", "brn mabn", _RENORM, "Your r is a ratio of squares, with no eps in it."),
    choice("r_of", "inverted", "brn mabn", _RENORM, "Your r is upside down: the batch's root belongs above."),
    choice("d_over", "negative", "brn", _RENORM, "Your d has the wrong sign: it is (mu_B - mu_hat) / sigma_hat."),
    choice("clip_sides", "r above", "brn", _RENORM, mistake="brn-clip-from-above-only"),
    choice("d_over", "batch", "brn", _RENORM, mistake="brn-d-over-batch-sigma"),
    choice("read", "after", "brn", _RENORM, mistake="brn-read-after-update"),
    choice("read", "after", "mabn", _RENORM, mistake="mabn-read-after-update"),
    choice("clip_sides", "above", "brn", _RENORM, mistake="brn-clip-from-above-only"),
    choice("clip_sides", "above", "mabn", _RENORM, "Your r is bounded from above alone; 1/clip is to bound it."),
    choice("bounds", "flipped", "brn", _RENORM, mistake="brn-warm-up-inverted"),
    choice("moving_eps", "twice", "brn", _RENORM, mistake="brn-eps-twice"),
    choice("moving_eps", "none", "brn", _RENORM, "Your moving sigma in r and d has no eps in it."),
    choice("moving_eps", "none", "mabn", _RENORM, "Your moving chi in r has no eps in it."),
)

_AVERAGES = (
    choice(
        "average_of", "root", "bn", _MOVING, "The moving average is of sigma, eps in it, as in Batch Renormalization."
    ),
    choice(
        "average_of",
        "root",
        _CHI,
        _MOVING + " z dx dgamma",
        "The moving average is of chi, not of chi^2; the paper leaves it open.",
        accepted=True,
    ),
    choice(
        "average_of",
        "root",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving average is of sigma, as Ioffe has it.",
        accepted=True,
    ),
    choice(
        "average_of",
        "square",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving average is of the variance, as in equation (12).",
        accepted=True,
    ),
    choice(
        "fed",
        "unbiased",
        _BN,
        _MOVING + " z dx dgamma",
        "running_var matches the unbiased variance: PyTorch's convention, n/(n-1) = {bessel:.4g} at n = {values}.",
        accepted=True,
    ),
    choice(
        "fed",
        "biased",
        _BN,
        _MOVING + " z dx dgamma",
        "running_var takes the biased variance, though training normalises by the unbiased one.",
    ),
    choice("fed", "unbiased", _CHI, _EARLY, "Your moving average is fed chi_B^2 times n / (n - 1)."),
    choice("fed", "over samples", _BN, _MOVING + " z dx dgamma", mistake="bn-running-var-over-samples"),
    choice("fed", "with eps", _BN, _MOVING + " z dx dgamma", mistake="bn-running-var-holds-eps"),
    choice(
        "decay",
        "cumulative",
        "bn brn",
        _MOVING + " z dx dgamma",
        "The moving statistics are averages of all batches so far, as with momentum=None in PyTorch.",
        accepted=True,
    ),
    choice("start", 0.0, _ALL, _MOVING + " z dx dgamma", mistake="bn-variance-starts-at-zero"),
    choice(
        "start",
        "root",
        "brn",
        _MOVING + " z dx dgamma",
        "The moving sigma starts at 1, as in Keras; Ioffe's average would start at sqrt(1 + eps).",
        accepted=True,
    ),
    choice(
        "start",
        "first",
        _ALL,
        _MOVING + " z dx dgamma",
        "The moving average starts at the first value.",
        accepted=True,
    ),
    choice(
        "average_of",
        "bare root",
        "brn mabn",
        _MOVING + " z dx dgamma",
        "The moving average is of the root without eps in it.",
        accepted=True,
    ),
    choice("start", "no root", "brn", _MOVING + " z dx dgamma", "The moving sigma starts at 0."),
    choice("start_mean", 1.0, _BN, _MOVING + " z dx dgamma", "The moving mean starts at 1; it starts at 0."),
    choice(
        "start_mean",
        "first",
        _BN,
        _MOVING + " z dx dgamma",
        "The moving mean starts at the first value.",
        accepted=True,
    ),
    choice(
        "fed_by",
        "window",
        "mabn",
        _EARLY,
        mistake="mabn-ema-of-window",
        as_convention="The exponential average is fed the window's mean, as in the authors' code.",
    ),
    choice(
        "fed_by", "batch", "mabn", _EARLY, "The exponential average is fed chi_B^2, as in the paper.", accepted=True
    ),
    choice(
        "fed_per",
        "call",
        "mabn",
        _EARLY,
        "The exponential average is updated once a call, as in the authors' ImageNet code.",
        accepted=True,
    ),
)

_INFERENCE = (
    choice("infer_by", "batch", _BN, INFERRED, mistake="bn-infer-batch-statistics"),
    choice("infer_by", "window", "mabn", INFERRED, mistake="mabn-infer-window"),
    choice("infer_eps", "inside", _ALL, INFERRED, "Inference has eps inside the root.", accepted=True),
    choice("infer_eps", "none", _ALL, INFERRED, mistake="bn-infer-no-eps"),
    choice("infer_eps", "twice", _ALL, INFERRED, "Your inference has eps in the root twice."),
    choice("infer_eps", "no root", _BN, INFERRED, "Your inference divides by the variance; take its root."),
    choice("infer_eps", "no root", _CHI, INFERRED, "Your inference divides by chi^2; take its root."),
)


def _dx(value: str, norms: str, words: str = "", mistake: str = "") -> Choice:
    return choice("dx", value, norms, "dx", words, mistake=mistake)


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
    choice("dgamma", "without d", "brn", "dgamma", "Your dgamma sums dz * r * y and leaves out d."),
    choice("dgamma", "times gamma", _ALL, "dgamma", "Your dgamma has gamma in it: it sums dz * y, not dy * y."),
    _dx("zeros counted", "mabn", "Your average of Psi divides by m before m batches have been seen."),
    _dx("one short", "mabn", "Your Psi is averaged over m - 1 batches, not m."),
    choice("dgamma", "before corrections", "brn", "dgamma", mistake="brn-dgamma-before-corrections"),
    choice("dgamma", "before corrections", "mabn", "dgamma", mistake="mabn-dgamma-before-r"),
    choice("dgamma", "not normalised", _ALL, "dgamma", mistake="bn-dgamma-not-normalised"),
    choice("dgamma", "mean", _ALL, "dgamma", mistake="bn-parameter-means"),
    choice("dbeta", "mean", _ALL, "dbeta", mistake="bn-parameter-means"),
)

CHOICES: tuple[Choice, ...] = (*_AVERAGES, *_FORWARD, *_INFERENCE, *_BACKWARD)
"""Conventions first: a number that a convention explains is no mistake."""
