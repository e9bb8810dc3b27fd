"""What goes wrong in the forward pass of MABN."""

from mabn_ref.learn.exercise import KnownMistake

_BATCH = "np.mean(x**2, axis=tuple(range(x.ndim - 1)))"
_HELD = "np.concatenate([state.chi2_window, chi2_batch[None]])[-window:]"
_CHI = "np.sqrt(np.mean(held, axis=0) + eps)"
_HAT = "np.sqrt(state.chi2 + eps)"
_R = "np.clip(chi / chi_hat, 1 / clip, clip)"
_Z = "gamma * (r * y) + beta"
_EMA = "decay * state.chi2 + (1 - decay) * chi2_batch"
_CACHE = "Cache(y, chi, r, gamma)"

MISTAKES = (
    KnownMistake(
        name="window-one-short",
        edits={_CHI: "np.sqrt(np.mean(held[-max(window - 1, 1):], axis=0) + eps)"},
        of="mabn-window-one-short",
    ),
    KnownMistake(
        name="window-one-late",
        edits={
            _CHI: "np.sqrt(np.mean(state.chi2_window if len(state.chi2_window) else held, axis=0) + eps)",
        },
        sentence="Your average of chi^2 is that of the batches before this one; this one belongs to the window.",
    ),
    KnownMistake(
        name="zeros-counted",
        edits={_CHI: "np.sqrt(np.sum(held, axis=0) / window + eps)"},
        of="mabn-zeros-counted",
    ),
    KnownMistake(
        name="chi-averaged",
        edits={_CHI: "np.sqrt(np.mean(np.sqrt(held), axis=0) ** 2 + eps)"},
        of="mabn-chi-averaged",
    ),
    KnownMistake(
        name="batch-statistics",
        edits={_CHI: "np.sqrt(chi2_batch + eps)"},
        sentence="Your chi is that of this batch alone; equation (19) has the average over the window.",
    ),
    KnownMistake(
        name="not-trimmed",
        edits={"[-window:]": "[:]"},
        sentence="Your window holds more than m values: put this batch's in, then keep the last m.",
    ),
    KnownMistake(
        name="chi-no-eps",
        edits={_CHI: "np.sqrt(np.mean(held, axis=0))"},
        sentence="Your chi is the root of the averaged chi^2 without eps.",
    ),
    KnownMistake(
        name="chi-hat-no-eps",
        edits={_HAT: "np.sqrt(state.chi2)"},
        sentence="Your r divides by the root of the exponential average without eps; chi has eps in its root.",
    ),
    KnownMistake(
        name="eps-outside",
        edits={_CHI: "np.sqrt(np.mean(held, axis=0)) + eps", _HAT: "np.sqrt(state.chi2) + eps"},
        sentence="Your chi and its exponential average have eps added to the root; it belongs inside.",
    ),
    KnownMistake(
        name="variance",
        edits={_BATCH: "np.var(x, axis=tuple(range(x.ndim - 1)))"},
        of="modified-variance",
    ),
    KnownMistake(
        name="r-of-squares", edits={_R: "np.clip((chi / chi_hat) ** 2, 1 / clip, clip)"}, of="mabn-r-of-squares"
    ),
    KnownMistake(
        name="r-upside-down",
        edits={_R: "np.clip(chi_hat / chi, 1 / clip, clip)"},
        sentence="Your r is upside down: it multiplies x / chi, so that it is chi over its exponential average.",
    ),
    KnownMistake(
        name="r-from-above-only",
        edits={_R: "np.minimum(chi / chi_hat, clip)"},
        sentence="Your r is bounded from above alone; it is to stay above 1 / clip, too.",
    ),
    KnownMistake(
        name="r-not-clipped",
        edits={_R: "chi / chi_hat"},
        sentence="Your r is not clipped: equation (19) keeps it between 1 / clip and clip.",
    ),
    KnownMistake(name="no-renormalisation", edits={_Z: "gamma * y + beta"}, of="mabn-no-renormalisation"),
    KnownMistake(name="read-after-update", edits={_HAT: f"np.sqrt({_EMA} + eps)"}, of="mabn-read-after-update"),
    KnownMistake(
        name="ema-of-window",
        edits={_EMA: "decay * state.chi2 + (1 - decay) * np.mean(held, axis=0)"},
        of="mabn-ema-of-window",
    ),
    KnownMistake(
        name="weights-swapped",
        edits={_EMA: "(1 - decay) * state.chi2 + decay * chi2_batch"},
        of="mabn-weights-swapped",
    ),
    KnownMistake(
        name="newest-first",
        edits={_HELD: "np.concatenate([chi2_batch[None], state.chi2_window])[:window]"},
        sentence="Your window has its newest value first and drops from the end; the oldest comes and goes first.",
    ),
    KnownMistake(
        name="window-of-averages",
        edits={"State(chi2, held)": "State(chi2, np.concatenate([held[:-1], np.mean(held, axis=0)[None]]))"},
        sentence="Your window keeps the average it has just made; keep the batch's own, or it is averaged twice.",
    ),
    KnownMistake(
        name="cache-after-r",
        edits={_CACHE: "Cache(r * y, chi, r, gamma)"},
        sentence="Your cache holds r * y as its y; backward needs the value from before r.",
    ),
)
