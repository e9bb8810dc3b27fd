"""What goes wrong with averages and their transposes."""

from mabn_ref.learn.exercise import KnownMistake

_PADDED = "np.concatenate([values, np.zeros(window - 1)])"
_MEAN = "np.sum(padded[t : t + window]) / window"
_ONE = "(u - y * psi[:, None] / window) / chi[:, None]"
_FELT = "ahead(psi / chi**2)"
_REMEMBERED = "behind(psi) / chi**2"

MISTAKES = (
    KnownMistake(
        name="looks-back",
        edits={_PADDED: "np.concatenate([np.zeros(window - 1), values])"},
        sentence="Your future_mean looks back: that is the moving average itself, and its transpose looks ahead.",
    ),
    KnownMistake(
        name="without-this-one",
        edits={_MEAN: "np.sum(np.append(padded, 0)[t + 1 : t + 1 + window]) / window"},
        sentence="Your future_mean begins with the next value; this one belongs to it.",
    ),
    KnownMistake(
        name="divided-by-those-there-are",
        edits={_MEAN: "np.sum(padded[t : t + window]) / min(window, len(values) - t)"},
        sentence="Your future_mean divides by the values that are left at the end; the transpose has 1/m there, too.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_MEAN: "np.sum(padded[t : t + window])"},
        sentence="Your future_mean is a sum; divide by m.",
    ),
    KnownMistake(
        name="whole-psi",
        edits={_ONE: "(u - y * psi[:, None]) / chi[:, None]"},
        sentence="Your one_call has all of Psi in it; this batch is one part in m of chi, so Psi / m is due.",
    ),
    KnownMistake(
        name="no-psi",
        edits={_ONE: "u / chi[:, None]"},
        sentence="Your one_call takes chi for a constant; this batch is one part in m of it.",
    ),
    KnownMistake(
        name="one-call-psi-is-sum",
        edits={"psi = np.mean(y * u, axis=1)": "psi = np.sum(y * u, axis=1)"},
        sentence="Your one_call has a sum for Psi; it is a mean over the batch.",
    ),
    KnownMistake(
        name="todays-chi",
        edits={_FELT: "ahead(psi) / chi**2"},
        sentence="Your all_calls divides by today's chi^2; each future iteration brings its own, inside the mean.",
    ),
    KnownMistake(
        name="chi-once",
        edits={_FELT: "ahead(psi / chi)"},
        sentence="Your all_calls has Psi / chi inside the mean; beside x it is Psi / chi^2.",
    ),
    KnownMistake(
        name="y-for-x",
        edits={"u / chi[:, None] - x * felt[:, None]": "u / chi[:, None] - x / chi[:, None] * felt[:, None]"},
        sentence="Your all_calls has y where x stands; every chi, today's too, is inside the mean.",
    ),
    KnownMistake(
        name="all-calls-of-one",
        edits={_FELT: "psi / chi**2"},
        sentence="Your all_calls has the Psi of its own iteration only; x is felt in the next m - 1 as well.",
    ),
    KnownMistake(
        name="chi-of-the-past",
        edits={_REMEMBERED: "behind(psi / chi**2)"},
        sentence="Your mabn averages Psi / chi^2; equation (20) averages Psi and divides by today's chi.",
    ),
    KnownMistake(
        name="mabn-of-this-batch",
        edits={_REMEMBERED: "psi / chi**2"},
        of="mabn-psi-of-this-batch",
    ),
    KnownMistake(
        name="mabn-not-divided",
        edits={_REMEMBERED: "behind(psi)"},
        sentence="Your mabn subtracts x times the mean of Psi; it is y / chi times it, which is x / chi^2.",
    ),
)
