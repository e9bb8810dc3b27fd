"""What people do to this bug instead of mending it, and other corrections that are wrong."""

from mabn_ref.learn.exercise import KnownMistake

_R = "np.clip(np.sqrt(var) / std_hat, 1 / r_max, r_max)"
_D = "(mu - mean_hat) / std_hat"

MISTAKES = (
    KnownMistake(
        name="as-given",
        edits={_R: "np.clip(var / std_hat, 1 / r_max, r_max)"},
        sentence="These are still the numbers of the file as it was given: the bug is in it.",
    ),
    KnownMistake(
        name="ratio-of-variances",
        edits={_R: "np.clip(var / std_hat**2, 1 / r_max, r_max)"},
        sentence="Your r has no unit now, but it is a ratio of variances; equation (14) has that of their roots.",
    ),
    KnownMistake(
        name="upside-down",
        edits={_R: "np.clip(std_hat / np.sqrt(var), 1 / r_max, r_max)"},
        sentence="Your r is the moving sigma over the batch's; turn it over, so that r * y undoes sigma.",
    ),
    KnownMistake(
        name="deviation-over-variance",
        edits={_R: "np.clip(np.sqrt(var) / std_hat**2, 1 / r_max, r_max)"},
        sentence="Your r divides by the moving variance: it still has a unit, one over that of x.",
    ),
    KnownMistake(
        name="eps-in-one-alone",
        edits={_R: "np.clip(np.sqrt(var - eps) / std_hat, 1 / r_max, r_max)"},
        sentence="Your r has eps in the moving sigma alone; both have it.",
    ),
    KnownMistake(
        name="eps-twice",
        edits={_R: "np.clip(np.sqrt(var + eps) / std_hat, 1 / r_max, r_max)"},
        sentence="Your r adds eps to a variance that has it already.",
    ),
    KnownMistake(
        name="clip-from-above-only",
        edits={
            _R: "np.minimum(np.sqrt(var) / std_hat, r_max)",
            f"np.clip({_D}, -d_max, d_max)": f"np.minimum({_D}, d_max)",
        },
        of="brn-clip-from-above-only",
    ),
    KnownMistake(
        name="clip-gone",
        edits={_R: "np.sqrt(var) / std_hat + 0 * r_max"},
        sentence="Your r is the right ratio, but its bounds are gone.",
    ),
    KnownMistake(
        name="d-over-batch-sigma",
        edits={_D: "(mu - mean_hat) / np.sqrt(var)"},
        of="brn-d-over-batch-sigma",
    ),
    KnownMistake(
        name="d-over-variance",
        edits={_D: "(mu - mean_hat) / std_hat**2"},
        sentence="Your d is divided by the moving variance now; it was right with its root.",
    ),
)
