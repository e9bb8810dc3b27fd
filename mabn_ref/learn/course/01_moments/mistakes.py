"""What goes wrong in `moments`."""

from mabn_ref.learn.exercise import KnownMistake

_VAR = "np.mean(centred**2, axis=axes)"

MISTAKES = (
    KnownMistake(
        name="values-less-one",
        edits={_VAR: "np.var(x, axis=axes, ddof=1)"},
        of="bn-unbiased-variance",
    ),
    KnownMistake(
        name="samples-alone",
        edits={"tuple(range(x.ndim - 1))": "0"},
        of="bn-positions-apart",
    ),
    KnownMistake(
        name="channels-too",
        edits={"tuple(range(x.ndim - 1))": "None"},
        sentence="You average over the channels too: every channel has a mean and a variance of its own.",
    ),
    KnownMistake(
        name="one-value-a-sample",
        edits={
            "np.mean(x, axis=axes)": "np.mean(x, axis=tuple(range(1, x.ndim)))",
            "centred = x - mu": "centred = x - mu.reshape(-1, *[1] * (x.ndim - 1))",
            _VAR: "np.mean(centred**2, axis=tuple(range(1, x.ndim)))",
        },
        sentence="You take one mean for each sample, as layer normalisation does; it is one for each channel.",
    ),
    KnownMistake(
        name="not-centred",
        edits={_VAR: "np.mean(x**2, axis=axes)"},
        sentence="Your var is the mean of the squares: subtract the mean before you square.",
    ),
    KnownMistake(
        name="deviation-for-variance",
        edits={_VAR: "np.std(x, axis=axes)"},
        sentence="Your var is the standard deviation; the variance is its square.",
    ),
    KnownMistake(
        name="sum-for-mean",
        edits={_VAR: "np.sum(centred**2, axis=axes)"},
        sentence="Your var is the sum of the squared distances; divide by the number of values.",
    ),
    KnownMistake(
        name="absolute-distance",
        edits={_VAR: "np.mean(abs(centred), axis=axes)"},
        sentence="Your var is the mean absolute distance from the mean; square the distances.",
    ),
)
