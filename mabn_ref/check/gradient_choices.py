"""What may differ in a backward pass, one thing at a time."""

from __future__ import annotations

from mabn_ref.check.choice import ALL, ALONE, BN, CHI, RMS, choices

__all__ = ["INPUT_GRADIENT", "PARAMETER_GRADIENTS"]

_OVER_SAMPLES = "Your {} is a sum over samples and positions, divided by the samples alone: N, where it is N * H * W."

INPUT_GRADIENT = choices(
    "dx",
    ("gn ln", {"dx": "gamma last"}, "gn-gamma-after-the-means"),
    (ALONE, {"dx": "statistics constant"}, "gn-no-statistics"),
    (BN, {"dx": "no g"}, "bn-no-g"),
    (ALONE, {"dx": "no g"}, "Your dx lacks g, the mean of dy over sample and group: every x also moves the mean."),
    (BN, {"dx": "no psi"}, "bn-no-psi"),
    (RMS, {"dx": "statistics constant"}, "rms-no-statistics"),
    ("rms", {"dx": "gamma last"}, "rms-gamma-after-the-mean"),
    (ALONE, {"dx": "no psi"}, "Your dx lacks y * Psi: every x also moves the variance."),
    (
        f"{BN} {ALONE}",
        {"dx": "psi twice"},
        "Your dx has y * Psi twice: the derivative of the root, 1/2, is missing from that of the variance.",
    ),
    (
        f"{BN} {ALONE}",
        {"dx": "psi halved"},
        "Your dx has half of y * Psi: the 2 of the square's derivative is missing.",
    ),
    (BN, {"dx": "over samples"}, _OVER_SAMPLES.format("g and Psi")),
    (BN, {"dx": "g over samples"}, _OVER_SAMPLES.format("g")),
    (BN, {"dx": "psi over samples"}, _OVER_SAMPLES.format("Psi")),
    (BN, {"dx": "times sigma"}, "Your dx is not divided by sigma."),
    (BN, {"dx": "statistics constant"}, "bn-statistics-constant"),
    (f"bn brn {ALONE} {RMS}", {"dx": "sums"}, "bn-sums-for-means"),
    (BN, {"dx": "whole call"}, "bn-whole-call-backward"),
    (f"bn brn modified-bn {ALONE} {RMS}", {"dx": "no gamma"}, "bn-gamma-forgotten"),
    (f"bn brn modified-bn {ALONE}", {"dx": "over variance"}, "bn-variance-for-sigma"),
    (f"bn brn modified-bn {ALONE}", {"dx": "over std"}, "bn-backward-no-eps"),
    (BN, {"dx": "recomputed without eps"}, "bn-backward-recomputed-without-eps"),
    ("bn brn modified-bn", {"dx": "formula (4)"}, "Your dx is formula (4) or (16), which is not of your forward."),
    (CHI, {"dx": "no psi"}, "modified-no-psi"),
    (CHI, {"dx": "keeps g"}, "modified-keeps-g"),
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
    (CHI, {"dx": "sums"}, "bn-sums-for-means"),
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
) + choices("dx dgamma dbeta", ("online", {"dx": "scale held"}, "online-scale-held"))

PARAMETER_GRADIENTS = choices(
    "dgamma",
    ("brn", {"dgamma": "without d"}, "Your dgamma sums dz * r * y and leaves out d."),
    (
        f"{ALL} {ALONE} {RMS} online",
        {"dgamma": "times gamma"},
        "Your dgamma has gamma in it: it sums dz * y, not dy * y.",
    ),
    ("brn", {"dgamma": "before corrections"}, "brn-dgamma-before-corrections"),
    ("mabn", {"dgamma": "before corrections"}, "mabn-dgamma-before-r"),
    (f"{ALL} {ALONE} {RMS}", {"dgamma": "not normalised"}, "bn-dgamma-not-normalised"),
    (
        f"{ALL} {ALONE} {RMS}",
        {"dgamma": "of z"},
        "Your dgamma sums dz times the output z; it sums dz * y, the normalised x.",
    ),
    (
        f"{ALL} {ALONE} {RMS}",
        {"dgamma": "none"},
        "Your dgamma is 0: no gradient reaches gamma, as where weight.data is read.",
    ),
    (f"{ALL} {ALONE} {RMS} online", {"dgamma": "mean"}, "bn-parameter-means"),
) + choices(
    "dbeta",
    (
        f"{ALL} {ALONE} {RMS}",
        {"dbeta": "none"},
        "Your dbeta is 0: no gradient reaches beta, as where bias.data is read.",
    ),
    (f"{ALL} {ALONE} {RMS} online", {"dbeta": "mean"}, "bn-parameter-means"),
)
