"""What may differ, one thing at a time: fields of a `Convention`, other values, and the words for it.

A choice that is in the catalogue of mistakes has its name, and its sentence from there. One that a framework or an
author made, or that a paper leaves open, is accepted; any other is a disagreement. `hyper_parameters` has the choices
that are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mabn_ref.mistakes import named

__all__ = ["AS_CONVENTION", "CHOICES", "Choice", "choice"]


@dataclass(frozen=True)
class Choice:
    """One deviation from a preset."""

    changes: tuple[tuple[str, Any], ...]
    """Fields of a `Convention`, and the values that they get."""
    norms: tuple[str, ...]
    """The normalisers in which it makes a difference."""
    shows: tuple[str, ...]
    """The tensors in which it may show."""
    words: str
    mistake: str
    """Its name in `mabn_ref.mistakes`, or ""."""
    accepted: bool
    """Whether it is not a disagreement."""


def choice(shows: str, norms: str, changes: Mapping[str, Any], said: str, accepted: bool = False) -> Choice:
    """Return a choice; names are apart by spaces, and what is said is a sentence or the name of a mistake.

    Examples
    --------
    >>> choice("dx", "bn brn", {"dx": "no g"}, "bn-no-g").words
    'Your dx is what you get without the g_B term of equation (4): every x also moves the mean.'
    """
    mistake = "" if " " in said else said
    words = named(mistake).sentence if mistake else said
    return Choice(tuple(changes.items()), tuple(norms.split()), tuple(shows.split()), words, mistake, accepted)


def _choices(shows: str, *rows: tuple[Any, ...]) -> tuple[Choice, ...]:
    return tuple(choice(shows, *row) for row in rows)


ACCEPTED = True
LATE = 10_000
"""An iteration that no scenario comes to from the start, and all that start later are past."""
_OVER_SAMPLES = "Your {} is a sum over samples and positions, divided by the samples alone: N, where it is N * H * W."


def _twice(c: Mapping[str, Any]) -> Any:
    return c["decay"] ** 2 if isinstance(c["decay"], float) else c["decay"]


def _root_of(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda c: math.sqrt(c[name]) if isinstance(c[name], float | int) else c[name]


_BN, _CHI, _ALL, _ALONE = "bn brn", "modified-bn mabn", "bn brn modified-bn mabn", "gn ln in"
_RMS = "rms frn"

_AVERAGES = _choices(
    "state inferred",
    ("bn", {"average_of": "root"}, "The moving average is of sigma, eps in it, as in Batch Renormalization."),
) + _choices(
    "state z dx dgamma inferred",
    (_CHI, {"average_of": "root"}, "The moving average is of chi, not of chi^2; the paper leaves it open.", ACCEPTED),
    ("brn", {"average_of": "root"}, "The moving average is of sigma, as Ioffe has it.", ACCEPTED),
    ("brn", {"average_of": "square"}, "The moving average is of the variance, as in equation (12).", ACCEPTED),
    (
        _BN,
        {"fed": "unbiased"},
        "running_var matches the unbiased variance: PyTorch's convention, n/(n-1) = {bessel:.4g} at n = {values}.",
        ACCEPTED,
    ),
    (
        _BN,
        {"fed": "biased"},
        "running_var takes the biased variance, though training normalises by the unbiased one.",
    ),
    (_CHI, {"fed": "unbiased"}, "Your moving average is fed chi_B^2 times n / (n - 1)."),
    (_BN, {"fed": "over samples"}, "bn-running-var-over-samples"),
    (_BN, {"fed": "with eps"}, "bn-running-var-holds-eps"),
    (
        _BN,
        {"decay": "cumulative"},
        "The moving statistics are averages of all batches so far: momentum=None in PyTorch, decay=None here.",
        ACCEPTED,
    ),
    (
        "bn",
        {"start": "debiased"},
        "The moving averages start at 0 and are divided by the sum of their weights, as in Haiku.",
        ACCEPTED,
    ),
    (_ALL, {"start": 0.0}, "bn-variance-starts-at-zero"),
    (
        "brn",
        {"start": "root"},
        "The moving sigma starts at 1, as in Keras; Ioffe's average would start at sqrt(1 + eps).",
        ACCEPTED,
    ),
    (_ALL, {"start": "first"}, "The moving average starts at the first value.", ACCEPTED),
    ("brn mabn", {"average_of": "bare root"}, "The moving average is of the root without eps in it.", ACCEPTED),
    (
        "bn",
        {"average_of": "bare root", "infer_eps": "root again"},
        "The moving average is of the standard deviation, and inference takes its root as if it were a variance.",
    ),
    (_ALL, {"decay": _twice}, "The moving averages are updated twice in every step."),
    ("bn modified-bn", {"decay": 1.0}, "The moving averages never move."),
    (
        _ALL,
        {"stops": LATE},
        "The moving averages no longer move late in training: they have stopped by iteration {last}.",
    ),
    ("brn", {"start": "no root"}, "The moving sigma starts at 0."),
    (_BN, {"start_mean": 1.0}, "The moving mean starts at 1; it starts at 0."),
    (_BN, {"start_mean": "first"}, "The moving mean starts at the first value.", ACCEPTED),
    ("mabn", {"fed_by": "window"}, "mabn-ema-of-window"),
    ("mabn", {"fed_by": "batch"}, "The exponential average is fed chi_B^2, as in the paper.", ACCEPTED),
    (
        "mabn",
        {"fed_per": "call"},
        "The exponential average is updated once per call, as in the authors' ImageNet code.",
        ACCEPTED,
    ),
)

_EVERY_POSITION = "Every position has statistics of its own"
_STATISTICS = _choices(
    "z state dx dgamma inferred",
    (
        "ln",
        {"over": "position"},
        f"{_EVERY_POSITION}, over channels alone, as LayerNorm in Transformers.",
        ACCEPTED,
    ),
    (
        "gn",
        {"over": "position"},
        f"{_EVERY_POSITION}; those of a group of channels are over all positions of a sample.",
    ),
    (
        _ALONE,
        {"statistic": "mean square"},
        "No mean is subtracted, and the mean square is divided by: that is RMS normalisation.",
    ),
    (_ALONE, {"over": "batch"}, "gn-statistics-of-the-batch"),
    (_RMS, {"statistic": "variance"}, "rms-mean-subtracted"),
    (_RMS, {"over": "sample"}, "rms-mean-square-of-the-sample"),
    ("ln", {"over": "channel"}, "Every channel has statistics of its own: instance normalisation."),
    ("gn", {"grouping": "every"}, "gn-channels-interleaved"),
    ("online", {"distance": "none"}, "online-no-distance"),
    ("online", {"distance": "new mean"}, "online-distance-from-new-mean"),
    ("bn brn gn ln in", {"variance": "unbiased"}, "bn-unbiased-variance"),
    ("bn brn gn ln in", {"eps_at": "outside"}, "bn-eps-outside"),
    (f"{_CHI} {_RMS}", {"eps_at": "outside"}, "Your forward divides by chi + eps; eps belongs inside the root."),
    (f"{_ALL} {_ALONE} {_RMS}", {"eps_at": "twice"}, "bn-eps-twice"),
    (f"{_ALL} {_ALONE} {_RMS}", {"eps_at": "none"}, "bn-no-eps"),
    (
        f"bn modified-bn {_ALONE}",
        {"eps_at": "largest"},
        "Your sigma is the root of the larger of the variance and eps; eps is to be added to the variance.",
    ),
    (
        "bn",
        {"by": "before"},
        "Training normalises by the moving statistics from before the batch, not by the batch's.",
    ),
    (
        "bn",
        {"by": "after"},
        "Training normalises by the moving statistics, this batch in them, not by the batch's own.",
    ),
    (
        "bn",
        {"by": "after", "start": "first", "start_mean": "first"},
        "Training normalises by the moving statistics, this batch in them, from the first batch on.",
    ),
    (
        "bn",
        {"by": "before", "decay": 1.0},
        "Training normalises by the moving statistics, which never move: a frozen layer.",
    ),
    (_ALL, {"shared_by": "call"}, "bn-whole-call"),
    (_ALL, {"shared_by": "channels"}, "bn-channels-together"),
    (_ALL, {"shared_by": "position"}, "bn-positions-apart"),
    (_CHI, {"statistic": "variance"}, "modified-variance"),
    (
        _CHI,
        {"centred": "yes", "statistic": "variance"},
        "Your output has the batch's mean subtracted and is divided by sigma; (15) divides by chi alone.",
    ),
    (_CHI, {"root": "no"}, "modified-no-root"),
    ("mabn", {"short": 1}, "mabn-window-one-short"),
    ("mabn", {"partial": "zeros"}, "mabn-zeros-counted"),
    (
        "mabn",
        {"partial": "batch"},
        "Until the window is full each batch uses its own statistics, as in the authors' code.",
        ACCEPTED,
    ),
    ("mabn", {"window_of": "root"}, "mabn-chi-averaged"),
)

_AFFINE = _choices(
    "z dx dgamma dbeta inferred",
    ("rms", {"affine": "beta forgotten"}, "There is no beta, as in PyTorch, Keras and Flax.", ACCEPTED),
    *(
        (f"{_ALL} {_ALONE} {'frn' if what == 'beta forgotten' else _RMS}", {"affine": what}, words)
        for what, words in (
            ("(y + beta) gamma", "Your output is (y + beta) * gamma; beta comes after gamma, z = gamma * y + beta."),
            ("|gamma|", "Your output has |gamma| in the place of gamma."),
            ("|gamma| + eps", "Your output has |gamma| + eps in the place of gamma."),
            ("gamma forgotten", "gamma is not in your output."),
            ("beta forgotten", "beta is not in your output."),
        )
    ),
    (
        "brn",
        {"affine": "before r"},
        "Your gamma and beta come before r and d; the output is gamma * (r * y + d) + beta.",
    ),
)

_OUTPUT = _choices(
    "z dx dgamma",
    ("brn", {"d_over": "variance"}, "Your d is divided by the moving variance; take its root."),
    ("brn", {"d_max": lambda c: c["r_max"]}, "Your d is clipped by r_max; its own bound is d_max."),
    ("brn", {"r_max": lambda c: c["d_max"]}, "Your r is clipped by d_max; its own bound is r_max."),
    ("mabn", {"clip": _root_of("clip")}, "Your clip bounds r^2 and not r: the root is taken after it."),
    ("brn", {"r_max": _root_of("r_max")}, "Your r_max bounds r^2 and not r: the root is taken after it."),
    (
        "brn",
        {"eps_at": "after r"},
        "Your eps is added to var / r^2, after r; it belongs in the sigma that r is made of.",
    ),
    ("mabn brn", {"r_of": "squares"}, "mabn-r-of-squares"),
    ("mabn", {"r_of": "one"}, "mabn-no-renormalisation"),
    (
        "brn",
        {"r_of": "one"},
        (
            "Your r is 1 and your d is 0 up to iteration {last}, the last that was run: so far this is batch "
            "normalisation."
        ),
    ),
    ("brn", {"r_of": "variance"}, "brn-r-of-variance"),
    ("brn mabn", {"r_of": "variance over square"}, "Your r is the batch's square over sigma_hat^2."),
    ("brn mabn", {"r_of": "without eps"}, "Your r has no eps in it: it is a ratio of bare roots."),
    ("brn mabn", {"r_of": "squares without eps"}, "Your r is a ratio of squares, with no eps in it."),
    ("brn mabn", {"r_of": "inverted"}, "Your r is upside down: the batch's root belongs above."),
    ("brn", {"d_over": "negative"}, "Your d has the wrong sign: it is (mu_B - mu_hat) / sigma_hat."),
    ("brn", {"clip_sides": "r above"}, "brn-clip-from-above-only"),
    ("brn", {"d_over": "batch"}, "brn-d-over-batch-sigma"),
    ("brn", {"read": "after"}, "brn-read-after-update"),
    ("mabn", {"read": "after"}, "mabn-read-after-update"),
    ("brn", {"clip_sides": "above"}, "brn-clip-from-above-only"),
    ("mabn", {"clip_sides": "above"}, "Your r is bounded from above alone; 1/clip is to bound it."),
    ("brn", {"bounds": "flipped"}, "brn-warm-up-inverted"),
    ("brn", {"moving_eps": "twice"}, "brn-eps-twice"),
    ("brn", {"moving_eps": "none"}, "Your moving sigma in r and d has no eps in it."),
    ("mabn", {"moving_eps": "none"}, "Your moving chi in r has no eps in it."),
) + _choices(
    "z dx dgamma inferred",
    ("online", {"used": "after"}, "online-statistics-after"),
    ("online", {"guard": "clamp"}, "The output is clipped to [-5, 5], without layer scaling.", ACCEPTED),
    ("online", {"guard": "scaling first"}, "Your layer scaling comes before gamma and beta; it comes last."),
    ("online", {"eps_at": "outside"}, "bn-eps-outside"),
    ("online", {"eps_at": "twice"}, "bn-eps-twice"),
    ("online", {"eps_at": "none"}, "bn-no-eps"),
)

_INFERENCE = _choices(
    "inferred",
    (_BN, {"infer_by": "batch"}, "bn-infer-batch-statistics"),
    ("mabn", {"infer_by": "window"}, "mabn-infer-window"),
    (
        "bn",
        {"infer_by": "debiased"},
        "Inference divides the averages by the sum of their weights, which is due only to those that start at 0.",
    ),
    (_ALL, {"infer_eps": "inside"}, "Inference has eps inside the root.", ACCEPTED),
    (_ALL, {"infer_eps": "none"}, "bn-infer-no-eps"),
    (_ALL, {"infer_eps": "twice"}, "Your inference has eps in the root twice."),
    (_BN, {"infer_eps": "no root"}, "Your inference divides by the variance; take its root."),
    (_CHI, {"infer_eps": "no root"}, "Your inference divides by chi^2; take its root."),
    (_ALONE, {"infer_by": "sample"}, "Inference is right; training is not.", ACCEPTED),
    (
        "in",
        {"infer_by": "moving"},
        "Inference has moving statistics, as with track_running_stats=True in PyTorch; the paper's is as training.",
        ACCEPTED,
    ),
    ("online", {"infer_by": "unguarded"}, "Your inference leaves layer scaling out."),
    ("eval-norm", {"infer_by": "moving"}, "eval-averages-alone"),
    ("eval-norm", {"infer_by": "swapped"}, "eval-weights-swapped"),
    ("eval-norm", {"infer_by": "mean alone"}, "eval-mean-alone"),
    ("eval-norm", {"infer_by": "mixture of the call"}, "eval-whole-batch"),
    (
        "eval-norm",
        {"infer_by": "variances alone"},
        "The variances alone are mixed, without the term by which the means differ.",
        ACCEPTED,
    ),
)

_INPUT_GRADIENT = _choices(
    "dx",
    ("gn ln", {"dx": "gamma last"}, "gn-gamma-after-the-means"),
    (_ALONE, {"dx": "statistics constant"}, "gn-no-statistics"),
    (_BN, {"dx": "no g"}, "bn-no-g"),
    (_ALONE, {"dx": "no g"}, "Your dx lacks g, the mean of dy over sample and group: every x also moves the mean."),
    (_BN, {"dx": "no psi"}, "bn-no-psi"),
    (_RMS, {"dx": "statistics constant"}, "rms-no-statistics"),
    ("rms", {"dx": "gamma last"}, "rms-gamma-after-the-mean"),
    (_ALONE, {"dx": "no psi"}, "Your dx lacks y * Psi: every x also moves the variance."),
    (
        f"{_BN} {_ALONE}",
        {"dx": "psi twice"},
        "Your dx has y * Psi twice: the derivative of the root, 1/2, is missing from that of the variance.",
    ),
    (
        f"{_BN} {_ALONE}",
        {"dx": "psi halved"},
        "Your dx has half of y * Psi: the 2 of the square's derivative is missing.",
    ),
    (_BN, {"dx": "over samples"}, _OVER_SAMPLES.format("g and Psi")),
    (_BN, {"dx": "g over samples"}, _OVER_SAMPLES.format("g")),
    (_BN, {"dx": "psi over samples"}, _OVER_SAMPLES.format("Psi")),
    (_BN, {"dx": "times sigma"}, "Your dx is not divided by sigma."),
    (_BN, {"dx": "statistics constant"}, "bn-statistics-constant"),
    (f"bn brn {_ALONE} {_RMS}", {"dx": "sums"}, "bn-sums-for-means"),
    (_BN, {"dx": "whole call"}, "bn-whole-call-backward"),
    (f"bn brn modified-bn {_ALONE} {_RMS}", {"dx": "no gamma"}, "bn-gamma-forgotten"),
    (f"bn brn modified-bn {_ALONE}", {"dx": "over variance"}, "bn-variance-for-sigma"),
    (f"bn brn modified-bn {_ALONE}", {"dx": "over std"}, "bn-backward-no-eps"),
    (_BN, {"dx": "recomputed without eps"}, "bn-backward-recomputed-without-eps"),
    ("bn brn modified-bn", {"dx": "formula (4)"}, "Your dx is formula (4) or (16), which is not of your forward."),
    (_CHI, {"dx": "no psi"}, "modified-no-psi"),
    (_CHI, {"dx": "keeps g"}, "modified-keeps-g"),
    ("brn", {"dx": "r forgotten"}, "brn-r-forgotten-in-backward"),
    ("brn", {"dx": "through r"}, "brn-r-differentiated"),
    ("brn", {"dx": "through d"}, "brn-d-differentiated"),
    ("brn", {"dx": "through r and d"}, "brn-r-and-d-differentiated"),
    ("mabn", {"dx": "psi of this batch"}, "mabn-psi-of-this-batch"),
    ("mabn", {"dx": "psi one late"}, "mabn-psi-window-one-late"),
    ("mabn", {"dx": "psi exponential"}, "mabn-psi-exponential"),
    ("mabn", {"dx": "psi without gamma"}, "mabn-psi-without-gamma"),
    (
        "mabn",
        {"dx": "gamma after the average"},
        (
            "Your Psi_B is averaged without gamma, and the average is multiplied by today's gamma: right as long as "
            "gamma stays. The Psi_B of an earlier batch has the gamma of then."
        ),
    ),
    ("mabn", {"dx": "r forgotten"}, "mabn-r-forgotten-in-backward"),
    ("mabn", {"dx": "dx averaged"}, "mabn-dx-averaged"),
    ("mabn", {"dx": "one call"}, "mabn-derivative-of-one-call"),
    ("mabn", {"dx": "no warm-up"}, "mabn-warm-up-forward-only"),
    (
        "mabn",
        {"dx": "through r"},
        "Your dx is the derivative of this call alone and goes back through r, a constant.",
    ),
    ("mabn", {"dx": "psi without r"}, "Your Psi_B is the mean of y * gamma * dz; what reaches y has r in it too."),
    (
        "mabn",
        {"dx": "psi of r y"},
        "Your Psi_B is made with r * y; it is the mean of y * dy with the y from before r.",
    ),
    (_CHI, {"dx": "sums"}, "bn-sums-for-means"),
    ("mabn", {"dx": "no gamma"}, "bn-gamma-forgotten"),
    ("mabn", {"dx": "over variance"}, "Your dx is divided by chi^2 where equation (20) divides by its root."),
    ("mabn", {"dx": "renormalised y"}, "Your dx and Psi have r * y in them; it is the y from before r."),
    ("mabn", {"dx": "psi exponential from the first"}, "mabn-psi-exponential"),
    ("mabn", {"dx": "batch chi"}, "Your dx is divided by this batch's chi; equation (20) divides by the average."),
    ("mabn", {"dx": "zeros counted"}, "Your average of Psi divides by m before m batches have been seen."),
    ("mabn", {"dx": "one short"}, "Your Psi is averaged over m - 1 batches, not m."),
    ("online", {"dx": "v of dy"}, "online-v-of-dy"),
    ("online", {"dx": "u before control"}, "online-u-before-control"),
    ("online", {"dx": "averaged"}, "online-control-averaged"),
    ("online", {"dx": "v after"}, "online-control-of-this-sample"),
    ("online", {"dx": "no control"}, "Your dx is dy / sigma: nothing takes u and v off."),
) + _choices("dx dgamma dbeta", ("online", {"dx": "scale held"}, "online-scale-held"))

_PARAMETER_GRADIENTS = _choices(
    "dgamma",
    ("brn", {"dgamma": "without d"}, "Your dgamma sums dz * r * y and leaves out d."),
    (
        f"{_ALL} {_ALONE} {_RMS} online",
        {"dgamma": "times gamma"},
        "Your dgamma has gamma in it: it sums dz * y, not dy * y.",
    ),
    ("brn", {"dgamma": "before corrections"}, "brn-dgamma-before-corrections"),
    ("mabn", {"dgamma": "before corrections"}, "mabn-dgamma-before-r"),
    (f"{_ALL} {_ALONE} {_RMS}", {"dgamma": "not normalised"}, "bn-dgamma-not-normalised"),
    (
        f"{_ALL} {_ALONE} {_RMS}",
        {"dgamma": "of z"},
        "Your dgamma sums dz times the output z; it sums dz * y, the normalised x.",
    ),
    (
        f"{_ALL} {_ALONE} {_RMS}",
        {"dgamma": "none"},
        "Your dgamma is 0: no gradient reaches gamma, as where weight.data is read.",
    ),
    (f"{_ALL} {_ALONE} {_RMS} online", {"dgamma": "mean"}, "bn-parameter-means"),
) + _choices(
    "dbeta",
    (
        f"{_ALL} {_ALONE} {_RMS}",
        {"dbeta": "none"},
        "Your dbeta is 0: no gradient reaches beta, as where bias.data is read.",
    ),
    (f"{_ALL} {_ALONE} {_RMS} online", {"dbeta": "mean"}, "bn-parameter-means"),
)

CHOICES: tuple[Choice, ...] = (
    *_AVERAGES,
    *_STATISTICS,
    *_AFFINE,
    *_OUTPUT,
    *_INFERENCE,
    *_INPUT_GRADIENT,
    *_PARAMETER_GRADIENTS,
)
"""Conventions first: a number that a convention explains is no mistake."""

AS_CONVENTION = {"mabn-ema-of-window": "The exponential average is fed the window's mean, as in the authors' code."}
"""What to say of a mistake where it is part of somebody's convention."""
