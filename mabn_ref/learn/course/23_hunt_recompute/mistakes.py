"""What people do to this bug instead of mending it."""

from mabn_ref.learn.exercise import KnownMistake

_FORWARD = "z, _, after = normalise(x, gamma, beta, state, settings)"
_RETURN = "return z, after, Kept(x, gamma, beta, state, settings)"
_AGAIN = "_, cache, _ = normalise(*kept)"

MISTAKES = (
    KnownMistake(
        name="as-given",
        edits={_RETURN: "return z, after, Kept(x, gamma, beta, after, settings)"},
        sentence="These are still the numbers of the file as it was given: the bug is in it.",
    ),
    KnownMistake(
        name="state-stands-still",
        edits={_RETURN: "return z, state, Kept(x, gamma, beta, state, settings)"},
        sentence="Both passes read the same state now, because it never changes: forward has to return the new one.",
    ),
    KnownMistake(
        name="updated-twice",
        edits={
            _RETURN: "return z, normalise(x, gamma, beta, after, settings)[2], Kept(x, gamma, beta, state, settings)"
        },
        sentence="Your moving statistics take every batch in twice; computing again must leave them alone.",
    ),
    KnownMistake(
        name="forward-reads-the-new",
        edits={
            _FORWARD: "_, _, after = normalise(x, gamma, beta, state, settings)\n"
            "    z = normalise(x, gamma, beta, after, settings)[0]",
            _RETURN: "return z, after, Kept(x, gamma, beta, after, settings)",
        },
        sentence="Both passes read the updated state now; r and d are made of the one from before the batch.",
    ),
    KnownMistake(
        name="intermediate-values-kept",
        edits={
            _FORWARD: "z, cache, after = normalise(x, gamma, beta, state, settings)",
            _RETURN: "return z, after, Kept(x, gamma, beta, cache, settings)",
            _AGAIN: "cache = kept.state",
        },
        sentence="Your gradients are right, but y is kept: to spare that memory was the point of computing again.",
    ),
    KnownMistake(
        name="corrections-dropped",
        edits={_AGAIN: "y, sigma, r, d, gamma = normalise(*kept)[1]\n    cache = (y, sigma, 1, 0, gamma)"},
        sentence="Your backward takes r for 1 and d for 0: it is that of batch normalisation.",
    ),
)
