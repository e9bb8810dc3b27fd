"""What a layer may do differently, one thing at a time: fields of a `Convention`, their other values, and a sentence.

A choice that is in the catalogue of mistakes takes its name and sentence from there. A choice that a framework or an
author has made, or that a paper leaves open, is accepted; any other is a disagreement. The choices that are numbers
are in `hyper_parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mabn_ref.mistakes import named

BN, CHI, ALL, ALONE = "bn brn", "modified-bn mabn", "bn brn modified-bn mabn", "gn ln in"
RMS = "rms frn"
EVERY = f"{ALL} {ALONE} {RMS}"
"""Names of normalisers, separated by spaces."""


@dataclass(frozen=True)
class Choice:
    """One deviation from a preset."""

    changes: tuple[tuple[str, Any], ...]  #: fields of a `Convention`, and the values that they get
    norms: tuple[str, ...]  #: the normalisers in which it makes a difference
    shows: tuple[str, ...]  #: the tensors in which it may show
    words: str
    mistake: str  #: its name in `mabn_ref.mistakes`, or ""
    accepted: bool  #: whether it is not a disagreement


def choice(
    shows: str, norms: str, changes: Mapping[str, Any] | str, said: str, accepted: bool = False, mistake: str = ""
) -> Choice:
    """Return a choice; names are separated by spaces, and `said` is a sentence or the name of a mistake.

    For another formula of a gradient, `changes` is only the name of the formula: the field has the gradient's name.
    To give a mistake of the catalogue a different sentence, pass its name as `mistake`.

    Examples
    --------
    >>> choice("dx", "bn brn", "no g", "bn-no-g").words
    'Your dx is what you get without the g_B term of equation (4): every x also moves the mean.'
    """
    changes = {shows: changes} if isinstance(changes, str) else changes
    if " " not in said:
        said, mistake = named(said).sentence, said
    return Choice(tuple(changes.items()), tuple(norms.split()), tuple(shows.split()), said, mistake, accepted)


def choices(shows: str, *rows: tuple[Any, ...]) -> tuple[Choice, ...]:
    """Return a choice for each row: the other arguments of `choice`."""
    return tuple(choice(shows, *row) for row in rows)


ACCEPTED = True
LATE = 10_000
"""An iteration beyond the end of every scenario that starts at 0, and before the start of all that start later."""


def _twice(c: Mapping[str, Any]) -> Any:
    return c["decay"] ** 2 if isinstance(c["decay"], float) else c["decay"]


def _root_of(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda c: math.sqrt(c[name]) if isinstance(c[name], float | int) else c[name]


_AVERAGES = choices(
    "state inferred",
    ("bn", {"average_of": "root"}, "The moving average tracks sigma, with eps in it, as in Batch Renormalization."),
    ("bn", {"mean_fed": "normalised"}, "Your moving mean {zero}."),
    (
        "bn",
        {"mean_fed": "outputs"},
        "Your moving mean is fed the mean of the output, which is beta, not the mean of x.",
    ),
) + choices(
    "state z dx dgamma inferred",
    (CHI, {"average_of": "root"}, "The moving average tracks chi, not chi^2; the paper leaves this open.", ACCEPTED),
    ("brn", {"average_of": "root"}, "The moving average tracks sigma, as in Ioffe's paper.", ACCEPTED),
    ("brn", {"average_of": "square"}, "The moving average tracks the variance, as in equation (12).", ACCEPTED),
    (
        BN,
        {"fed": "unbiased"},
        "running_var matches the unbiased variance: PyTorch's convention, n/(n-1) = {bessel:.4g} at n = {values}.",
        ACCEPTED,
    ),
    (
        "in",
        {"fed": "biased"},
        "The moving variance averages biased variances; PyTorch averages unbiased ones.",
        ACCEPTED,
    ),
    (BN, {"fed": "biased"}, "running_var takes the biased variance, though training normalises by the unbiased one."),
    (CHI, {"fed": "unbiased"}, "Your moving average is fed chi_B^2 times n / (n - 1)."),
    (
        "bn",
        {"fed": "normalised"},
        "Your moving variance is fed the variance of normalised values, about 1, not of x.",
    ),
    ("bn", {"fed": "outputs"}, "Your moving variance is fed the variance of the output, about gamma^2, not of x."),
    (BN, {"fed": "over samples"}, "bn-running-var-over-samples"),
    (
        "bn",
        {"fed": "unbiased twice"},
        "Your moving variance is multiplied by n / (n - 1) twice: the variance fed to it is already unbiased.",
    ),
    (BN, {"fed": "with eps"}, "bn-running-var-holds-eps"),
    (
        BN,
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
    (ALL, {"start": 0.0}, "bn-variance-starts-at-zero"),
    (
        "brn",
        {"start": "root"},
        "The moving sigma starts at 1, as in Keras; Ioffe's starts at sqrt(1 + eps).",
        ACCEPTED,
    ),
    (ALL, {"start": "first"}, "The moving average starts at the first value.", ACCEPTED),
    ("brn mabn", {"average_of": "bare root"}, "The moving average tracks the root, without eps in it.", ACCEPTED),
    ("bn", {"average_of": "bare root"}, "The moving average tracks the standard deviation, not the variance."),
    (f"{ALL} in", {"decay": _twice}, "The moving averages are updated twice in every step."),
    ("bn modified-bn in", {"decay": 1.0}, "The moving averages never move."),
    ("bn in", {"decay": 0.0}, "The moving statistics are those of the last batch: nothing is averaged."),
    ("bn", {"fed": "nothing"}, "Your moving variance never moves; the moving mean does."),
    (ALL, {"stops": LATE}, "The averages no longer move late in training: they have stopped by iteration {last}."),
    ("brn", {"start": "no root"}, "The moving sigma starts at 0."),
    (BN, {"start_mean": 1.0}, "The moving mean starts at 1; it should start at 0."),
    (BN, {"start_mean": "first"}, "The moving mean starts at the first value.", ACCEPTED),
    ("mabn", {"fed_by": "window"}, "mabn-ema-of-window"),
    ("mabn", {"fed_by": "batch"}, "The exponential average is fed chi_B^2, as in the paper.", ACCEPTED),
    (
        "mabn",
        {"fed_per": "call"},
        "The exponential average is updated once per call, as in the authors' ImageNet code.",
        ACCEPTED,
    ),
)

_EVERY_POSITION = "Each position has its own statistics"
_STATISTICS = choices(
    "z state dx dgamma inferred",
    ("ln", {"over": "position"}, f"{_EVERY_POSITION}, over channels alone, as in Transformers.", ACCEPTED),
    ("gn", {"over": "position"}, f"{_EVERY_POSITION}; all positions of a sample should share them, per group."),
    (ALONE, {"statistic": "mean square"}, "No mean is subtracted, and the mean square divides: RMS normalisation."),
    (ALONE, {"over": "batch"}, "gn-statistics-of-the-batch"),
    (RMS, {"statistic": "variance"}, "rms-mean-subtracted"),
    (RMS, {"over": "sample"}, "rms-mean-square-of-the-sample"),
    ("ln", {"over": "channel"}, "Each channel has its own statistics: this is instance normalisation."),
    ("gn", {"grouping": "every"}, "gn-channels-interleaved"),
    ("online", {"distance": "none"}, "online-no-distance"),
    ("online", {"distance": "new mean"}, "online-distance-from-new-mean"),
    ("bn brn gn ln in", {"variance": "unbiased"}, "bn-unbiased-variance"),
    ("bn brn gn ln in", {"eps_at": "outside"}, "bn-eps-outside"),
    (f"{CHI} {RMS}", {"eps_at": "outside"}, "Your forward divides by chi + eps; eps belongs inside the root."),
    (EVERY, {"eps_at": "twice"}, "bn-eps-twice"),
    ("bn brn gn ln in", {"eps_at": "none"}, "bn-no-eps"),
    (f"{CHI} {RMS}", {"eps_at": "none"}, "Your forward divides by chi and leaves out eps."),
    (
        f"bn modified-bn {ALONE}",
        {"eps_at": "largest"},
        "Your sigma is the root of the larger of the variance and eps; eps should be added to the variance.",
    ),
    ("bn", {"by": "before"}, "Training normalises by the moving statistics from before the batch, not by its own."),
    (
        "bn",
        {"by": "after"},
        "Training normalises by moving statistics that already include this batch, not by the batch's own.",
    ),
    (
        "bn",
        {"by": "after", "start": "first", "start_mean": "first"},
        "Training normalises by moving statistics that already include this batch, from the first batch on.",
    ),
    (
        "bn",
        {"by": "before", "decay": 1.0},
        "Training normalises by the moving statistics, which never move: a frozen layer.",
    ),
    (ALL, {"shared_by": "call"}, "bn-whole-call"),
    (ALL, {"shared_by": "channels"}, "bn-channels-together"),
    (ALL, {"shared_by": "position"}, "bn-positions-apart"),
    (
        "bn brn modified-bn",
        {"shared_by": "sample", "fed_per": "call"},
        "Each sample has its own statistics; take them over all samples of a batch.",
    ),
    (CHI, {"statistic": "variance"}, "modified-variance"),
    (
        CHI,
        {"centred": "yes", "statistic": "variance"},
        "Your output subtracts the batch's mean and divides by sigma; (15) only divides, by chi.",
    ),
    (CHI, {"root": "no"}, "modified-no-root"),
    ("mabn", {"short": 1}, "mabn-window-one-short"),
    (
        "mabn",
        {"window_holds": "earlier ones"},
        "Your average of chi^2 lacks this batch, which belongs in the window.",
    ),
    ("mabn", {"partial": "zeros"}, "mabn-zeros-counted"),
    (
        "mabn",
        {"partial": "batch"},
        "Until the window is full each batch uses its own statistics, as in the authors' code.",
        ACCEPTED,
    ),
    ("mabn", {"window_of": "root"}, "mabn-chi-averaged"),
)

_AFFINE = choices(
    "z dx dgamma dbeta inferred",
    ("rms", {"affine": "beta forgotten"}, "There is no beta, as in PyTorch, Keras and Flax.", ACCEPTED),
    *(
        (f"{ALL} {ALONE} {'frn' if what == 'beta forgotten' else RMS}", {"affine": what}, words)
        for what, words in (
            ("(y + beta) gamma", "Your output is (y + beta) * gamma; beta comes after gamma, z = gamma * y + beta."),
            ("|gamma|", "Your output uses |gamma| instead of gamma."),
            ("|gamma| + eps", "Your output uses |gamma| + eps instead of gamma."),
            ("gamma forgotten", "Your output leaves out gamma."),
            ("beta forgotten", "Your output leaves out beta."),
        )
    ),
    ("brn", {"affine": "before r"}, "You apply gamma and beta before r and d; z is gamma * (r * y + d) + beta."),
)

NO_CORRECTIONS = (
    "Your r is 1 and your d is 0 up to iteration {last}, the last one run: so far this is batch normalisation."
)
NO_AVERAGES = (
    "Both passes use the batch up to iteration {last}, the last one run: so far this is modified batch normalisation."
)
_OUTPUT = choices(
    "z dx dgamma",
    ("brn", {"d_over": "variance"}, "Your d is divided by the moving variance; take its root."),
    ("brn", {"d_max": lambda c: c["r_max"]}, "Your d is clipped by r_max; its own bound is d_max."),
    ("brn", {"r_max": lambda c: c["d_max"]}, "Your r is clipped by d_max; its own bound is r_max."),
    ("mabn", {"clip": _root_of("clip")}, "Your clip bounds r^2, not r: you take the root after clipping."),
    ("brn", {"r_max": _root_of("r_max")}, "Your r_max bounds r^2, not r: you take the root after clipping."),
    ("brn", {"eps_at": "after r"}, "You add eps to var / r^2, after r; it belongs in sigma, before r."),
    ("mabn brn", {"r_of": "squares"}, "mabn-r-of-squares"),
    ("mabn", {"r_of": "one"}, "mabn-no-renormalisation"),
    ("brn", {"r_of": "one"}, NO_CORRECTIONS),
    ("brn", {"r_of": "variance"}, "brn-r-of-variance"),
    ("brn mabn", {"r_of": "variance over square"}, "Your r is a ratio of squares, with eps only in the moving one."),
    ("brn mabn", {"r_of": "without eps"}, "Your r has no eps in it: it is a ratio of bare roots."),
    ("brn mabn", {"r_of": "squares without eps"}, "Your r is a ratio of squares, with no eps in it."),
    ("brn mabn", {"r_of": "inverted"}, "Your r is upside down: the batch's root belongs in the numerator."),
    ("brn", {"d_over": "negative"}, "Your d has the wrong sign: it is (mu_B - mu_hat) / sigma_hat."),
    ("brn", {"clip_sides": "r above"}, "brn-clip-from-above-only"),
    ("brn", {"d_over": "batch"}, "brn-d-over-batch-sigma"),
    ("brn", {"read": "after"}, "brn-read-after-update"),
    ("mabn", {"read": "after"}, "mabn-read-after-update"),
    ("brn", {"clip_sides": "above"}, "brn-clip-from-above-only"),
    ("mabn", {"clip_sides": "above"}, "Your r is bounded only from above; 1/clip should bound it from below."),
    ("brn", {"bounds": "flipped"}, "brn-warm-up-inverted"),
    ("brn", {"moving_eps": "twice"}, "brn-eps-twice"),
    ("brn", {"moving_eps": "none"}, "Your moving sigma in r and d has no eps in it."),
    ("mabn", {"moving_eps": "none"}, "Your moving chi in r has no eps in it."),
) + choices(
    "z dx dgamma inferred",
    ("online", {"used": "after"}, "online-statistics-after"),
    ("online", {"guard": "clamp"}, "The output is clipped to [-5, 5], without layer scaling.", ACCEPTED),
    ("online", {"guard": "scaling first"}, "Your layer scaling comes before gamma and beta; it should come last."),
    ("online", {"eps_at": "outside"}, "bn-eps-outside"),
    ("online", {"eps_at": "twice"}, "bn-eps-twice"),
    ("online", {"eps_at": "none"}, "bn-no-eps"),
)

_INFERENCE = choices(
    "inferred",
    (BN, {"infer_by": "batch"}, "bn-infer-batch-statistics"),
    ("mabn", {"infer_by": "window"}, "mabn-infer-window"),
    (
        "bn modified-bn",
        {"infer_by": "moved"},
        "Inference first updates the moving statistics with its own batch, then normalises by them.",
    ),
    (
        "bn",
        {"infer_by": "debiased"},
        "Inference divides the averages by the sum of their weights, right only for averages that start at 0.",
    ),
    (ALL, {"infer_eps": "inside"}, "Inference has eps inside the root.", ACCEPTED),
    (ALL, {"infer_eps": "none"}, "bn-infer-no-eps"),
    (ALL, {"infer_eps": "twice"}, "Your inference has eps in the root twice."),
    (
        "bn",
        {"infer_eps": "root again"},
        "Inference takes the root of the averaged standard deviation, as if it were a variance.",
    ),
    (BN, {"infer_eps": "no root"}, "Your inference divides by the variance; take its root."),
    (CHI, {"infer_eps": "no root"}, "Your inference divides by chi^2; take its root."),
    (ALONE, {"infer_by": "sample"}, "Inference is right; training is not.", ACCEPTED),
    (
        "in",
        {"infer_by": "moving"},
        "Inference uses moving statistics, as with track_running_stats=True in PyTorch; the paper uses none.",
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
        "Only the variances are mixed, without the term for the difference of the means.",
        ACCEPTED,
    ),
)

_OVER_SAMPLES = "In your {}, a sum over samples and positions is divided by N; it should be divided by N * H * W."

_INPUT_GRADIENT = choices(
    "dx",
    ("gn ln", "gamma last", "gn-gamma-after-the-means"),
    (ALONE, "statistics constant", "gn-no-statistics"),
    (BN, "no g", "bn-no-g"),
    (ALONE, "no g", "Your dx lacks g, the mean of dy over a sample's group: every x also moves the mean."),
    (BN, "no psi", "bn-no-psi"),
    (RMS, "statistics constant", "rms-no-statistics"),
    ("rms", "gamma last", "rms-gamma-after-the-mean"),
    (ALONE, "no psi", "Your dx lacks y * Psi: every x also moves the variance."),
    (
        f"{BN} {ALONE}",
        "psi twice",
        "Your dx has y * Psi twice: the factor 1/2, from the derivative of the root, is missing.",
    ),
    (
        f"{BN} {ALONE}",
        "psi halved",
        "Your dx has half of y * Psi: the factor 2, from the derivative of the square, is missing.",
    ),
    (f"{BN} modified-bn {ALONE} {RMS}", "psi added", "Your dx adds y * Psi; it must be subtracted."),
    (f"{BN} {ALONE}", "g added", "Your dx adds g, the mean of dy; it must be subtracted."),
    (BN, "no gamma, psi added", "Your dx lacks gamma, and it adds y * Psi, which must be subtracted."),
    (BN, "over samples", _OVER_SAMPLES.format("g and Psi")),
    (BN, "g over samples", _OVER_SAMPLES.format("g")),
    (BN, "psi over samples", _OVER_SAMPLES.format("Psi")),
    (BN, "times sigma", "Your dx is not divided by sigma."),
    (BN, "statistics constant", "bn-statistics-constant"),
    (f"bn brn {ALONE} {RMS}", "sums", "bn-sums-for-means"),
    (BN, "whole call", "bn-whole-call-backward"),
    (f"bn brn modified-bn {ALONE} {RMS}", "no gamma", "bn-gamma-forgotten"),
    (f"bn brn modified-bn {ALONE}", "over variance", "bn-variance-for-sigma"),
    (f"bn brn modified-bn {ALONE}", "over std", "bn-backward-no-eps"),
    (BN, "recomputed without eps", "bn-backward-recomputed-without-eps"),
    (
        "bn brn modified-bn",
        "formula (4)",
        "Your dx is formula (4) or (16); that is not the gradient of your forward pass.",
    ),
    (CHI, "no psi", "modified-no-psi"),
    (CHI, "keeps g", "modified-keeps-g"),
    ("brn", "r forgotten", "brn-r-forgotten-in-backward"),
    ("brn", "through r", "brn-r-differentiated"),
    ("brn", "through d", "brn-d-differentiated"),
    ("brn", "through r and d", "brn-r-and-d-differentiated"),
    ("mabn", "psi of this batch", "mabn-psi-of-this-batch"),
    ("mabn", "psi one late", "mabn-psi-window-one-late"),
    ("mabn", "psi exponential", "mabn-psi-exponential"),
    ("mabn", "psi without gamma", "mabn-psi-without-gamma"),
    (
        "mabn",
        "gamma after the average",
        (
            "You average Psi_B without gamma and multiply the average by the current gamma, which is right only "
            "while gamma stays the same: the Psi_B of an earlier batch contains the gamma of that batch."
        ),
    ),
    ("mabn", "r forgotten", "mabn-r-forgotten-in-backward"),
    ("mabn", "dx averaged", "mabn-dx-averaged"),
    ("mabn", "one call", "mabn-derivative-of-one-call"),
    ("mabn", "no warm-up", "mabn-warm-up-forward-only"),
    (
        "mabn",
        "through r",
        "Your dx is the derivative of this call alone, and it goes back through r, which is a constant.",
    ),
    (
        "mabn",
        "psi without r",
        "Your Psi_B is the mean of y * gamma * dz; the gradient that reaches y has r in it too.",
    ),
    ("mabn", "psi of r y", "Your Psi_B uses r * y; it must be the mean of y * dy, with y from before r."),
    (CHI, "sums", "bn-sums-for-means"),
    ("mabn", "no gamma", "bn-gamma-forgotten"),
    ("mabn", "over variance", "Your dx is divided by chi^2 where equation (20) divides by its root."),
    ("mabn", "renormalised y", "Your dx and Psi use r * y; they must use y from before r."),
    ("mabn", "psi exponential from the first", "mabn-psi-exponential"),
    ("mabn", "batch chi", "Your dx is divided by this batch's chi; equation (20) divides by the average."),
    ("mabn", "zeros counted", "Your average of Psi divides by m before m batches have been seen."),
    ("mabn", "one short", "Your Psi is averaged over m - 1 batches, not m."),
    ("online", "v of dy", "online-v-of-dy"),
    ("online", "u before control", "online-u-before-control"),
    ("online", "averaged", "online-control-averaged"),
    ("online", "v after", "online-control-of-this-sample"),
    ("online", "no control", "Your dx is dy / sigma: u and v are not subtracted."),
    (
        "powernorm",
        {"backward_by": "batch"},
        "dx is divided by the batch's own root mean square, as in the authors' code.",
        ACCEPTED,
    ),
) + choices("dx dgamma dbeta", ("online", {"dx": "scale held"}, "online-scale-held"))


_MEAN = "Your d{0} is a mean over {1}; every value used {0}, so it must be a sum."
_PARAMETER_GRADIENTS = choices(
    "dgamma",
    ("brn", "without d", "Your dgamma sums dz * r * y and leaves out d."),
    (f"{EVERY} online", "times gamma", "Your dgamma has gamma in it: it must sum dz * y, not dy * y."),
    ("brn", "before corrections", "brn-dgamma-before-corrections"),
    ("mabn", "before corrections", "mabn-dgamma-before-r"),
    (EVERY, "not normalised", "bn-dgamma-not-normalised"),
    (BN, "of x", "Your dgamma sums dz * x; it must sum dz * y, y being the normalised x."),
    (EVERY, "of dz", "Your dgamma sums dz alone, as dbeta does; it must sum dz * y, y being the normalised x."),
    (EVERY, "of z", "Your dgamma sums dz times the output z; it must sum dz * y, y being the normalised x."),
    (EVERY, "none", "Your dgamma is 0: no gradient reaches gamma, as when weight.data is read."),
    (f"{EVERY} online", "mean", _MEAN.format("gamma", "the values of a channel"), False, "bn-parameter-means"),
    (EVERY, "mean over samples", _MEAN.format("gamma", "the samples"), False, "bn-parameter-means"),
) + choices(
    "dbeta",
    (EVERY, "none", "Your dbeta is 0: no gradient reaches beta, as when bias.data is read."),
    (f"{EVERY} online", "mean", _MEAN.format("beta", "the values of a channel"), False, "bn-parameter-means"),
    (EVERY, "mean over samples", _MEAN.format("beta", "the samples"), False, "bn-parameter-means"),
)

CHOICES = _AVERAGES + _STATISTICS + _AFFINE + _OUTPUT + _INFERENCE + _INPUT_GRADIENT + _PARAMETER_GRADIENTS
"""Conventions come first: a number that a convention explains is not a mistake."""

AS_CONVENTION = {"mabn-ema-of-window": "The exponential average is fed the window's mean, as in the authors' code."}
"""What to say about a mistake that is part of somebody's convention."""
