"""What may differ in a backward pass, one thing at a time."""

from __future__ import annotations

from mabn_ref.check.choice import ALONE, BN, CHI, EVERY, RMS, choices

__all__ = ["INPUT_GRADIENT", "PARAMETER_GRADIENTS"]

_OVER_SAMPLES = "Your {} is a sum over samples and positions, divided by the samples alone: N, where it is N * H * W."

INPUT_GRADIENT = choices(
    "dx",
    ("gn ln", "gamma last", "gn-gamma-after-the-means"),
    (ALONE, "statistics constant", "gn-no-statistics"),
    (BN, "no g", "bn-no-g"),
    (ALONE, "no g", "Your dx lacks g, the mean of dy over sample and group: every x also moves the mean."),
    (BN, "no psi", "bn-no-psi"),
    (RMS, "statistics constant", "rms-no-statistics"),
    ("rms", "gamma last", "rms-gamma-after-the-mean"),
    (ALONE, "no psi", "Your dx lacks y * Psi: every x also moves the variance."),
    (
        f"{BN} {ALONE}",
        "psi twice",
        "Your dx has y * Psi twice: the derivative of the root, 1/2, is missing from that of the variance.",
    ),
    (f"{BN} {ALONE}", "psi halved", "Your dx has half of y * Psi: the 2 of the square's derivative is missing."),
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
    ("bn brn modified-bn", "formula (4)", "Your dx is formula (4) or (16), which is not of your forward."),
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
            "Your Psi_B is averaged without gamma, and the average is multiplied by today's gamma: right as long as "
            "gamma stays. The Psi_B of an earlier batch has the gamma of then."
        ),
    ),
    ("mabn", "r forgotten", "mabn-r-forgotten-in-backward"),
    ("mabn", "dx averaged", "mabn-dx-averaged"),
    ("mabn", "one call", "mabn-derivative-of-one-call"),
    ("mabn", "no warm-up", "mabn-warm-up-forward-only"),
    ("mabn", "through r", "Your dx is the derivative of this call alone and goes back through r, a constant."),
    ("mabn", "psi without r", "Your Psi_B is the mean of y * gamma * dz; what reaches y has r in it too."),
    ("mabn", "psi of r y", "Your Psi_B is made with r * y; it is the mean of y * dy with the y from before r."),
    (CHI, "sums", "bn-sums-for-means"),
    ("mabn", "no gamma", "bn-gamma-forgotten"),
    ("mabn", "over variance", "Your dx is divided by chi^2 where equation (20) divides by its root."),
    ("mabn", "renormalised y", "Your dx and Psi have r * y in them; it is the y from before r."),
    ("mabn", "psi exponential from the first", "mabn-psi-exponential"),
    ("mabn", "batch chi", "Your dx is divided by this batch's chi; equation (20) divides by the average."),
    ("mabn", "zeros counted", "Your average of Psi divides by m before m batches have been seen."),
    ("mabn", "one short", "Your Psi is averaged over m - 1 batches, not m."),
    ("online", "v of dy", "online-v-of-dy"),
    ("online", "u before control", "online-u-before-control"),
    ("online", "averaged", "online-control-averaged"),
    ("online", "v after", "online-control-of-this-sample"),
    ("online", "no control", "Your dx is dy / sigma: nothing takes u and v off."),
) + choices("dx dgamma dbeta", ("online", {"dx": "scale held"}, "online-scale-held"))

PARAMETER_GRADIENTS = choices(
    "dgamma",
    ("brn", "without d", "Your dgamma sums dz * r * y and leaves out d."),
    (f"{EVERY} online", "times gamma", "Your dgamma has gamma in it: it sums dz * y, not dy * y."),
    ("brn", "before corrections", "brn-dgamma-before-corrections"),
    ("mabn", "before corrections", "mabn-dgamma-before-r"),
    (EVERY, "not normalised", "bn-dgamma-not-normalised"),
    (EVERY, "of z", "Your dgamma sums dz times the output z; it sums dz * y, the normalised x."),
    (EVERY, "none", "Your dgamma is 0: no gradient reaches gamma, as where weight.data is read."),
    (f"{EVERY} online", "mean", "bn-parameter-means"),
) + choices(
    "dbeta",
    (EVERY, "none", "Your dbeta is 0: no gradient reaches beta, as where bias.data is read."),
    (f"{EVERY} online", "mean", "bn-parameter-means"),
)
