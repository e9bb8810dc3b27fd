"""What people do to this bug instead of mending it."""

from mabn_ref.learn.exercise import KnownMistake

_M = "np.float64(x.size // x.shape[-1])"
_FACTOR = "m / (m - 1)"
_Z = "/ np.sqrt(var + eps) + beta"

MISTAKES = (
    KnownMistake(
        name="as-given",
        edits={_M: "np.float64(x.shape[0])"},
        sentence="These are still the numbers of the file as it was given: the bug is in it.",
    ),
    KnownMistake(
        name="guarded",
        edits={_M: "np.float64(x.shape[0])", _FACTOR: "m / max(m - 1, 1)"},
        sentence="A single image no longer divides by 0, but m still counts the images: each has many positions.",
    ),
    KnownMistake(
        name="channels-counted",
        edits={_M: "np.float64(x.size)"},
        sentence="Your m counts the values of all channels together; the mean is over those of one.",
    ),
    KnownMistake(
        name="positions-alone",
        edits={_M: "np.float64(x.size // x.shape[-1] // x.shape[0])"},
        sentence="Your m counts the positions of one image; the samples count as well.",
    ),
    KnownMistake(
        name="no-correction",
        edits={_FACTOR: "1.0"},
        sentence="Your moving variance has no correction at all now; it is meant to have one, with the right M.",
    ),
    KnownMistake(
        name="upside-down",
        edits={_FACTOR: "(m - 1) / m"},
        sentence="Your correction makes the variance smaller: it is M / (M - 1), more than 1.",
    ),
    KnownMistake(
        name="corrected-twice",
        edits={_FACTOR: "(m / (m - 1)) ** 2"},
        sentence="Your moving variance is corrected twice.",
    ),
    KnownMistake(
        name="one-less-alone",
        edits={_FACTOR: "1 / (m - 1)"},
        sentence="Your variance, a mean already, is divided by M - 1 once more: multiply by M, too.",
    ),
    KnownMistake(
        name="normalised-by-it-too",
        edits={_Z: "/ np.sqrt(np.var(x, axis=axes, ddof=1) + eps) + beta"},
        sentence="Your z is divided by the corrected variance; the correction is for the moving one alone.",
    ),
)
