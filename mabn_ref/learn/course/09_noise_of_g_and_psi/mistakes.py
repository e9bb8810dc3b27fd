"""What goes wrong when the noise of g and Psi is measured."""

from mabn_ref.learn.exercise import KnownMistake

_SIGMA = "sigma = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))"
_Y = "y = centred / sigma"
_PSI = "psi = np.mean(y * u, axis=1)"
_DRAWN = "x, u = sample(trials * size)"
_STD = "return np.std(g), np.std(psi)"
_CENTRED = "log_sizes = np.log(sizes) - np.mean(np.log(sizes))"
_SLOPE = "return np.sum(log_sizes * np.log(noises)) / np.sum(log_sizes**2)"
_LAW = "return exponent(sizes, of_g), exponent(sizes, of_psi)"

MISTAKES = (
    KnownMistake(
        name="sums-for-means",
        edits={"g = np.mean(u, axis=1)": "g = np.sum(u, axis=1)", _PSI: "psi = np.sum(y * u, axis=1)"},
        of="bn-sums-for-means",
    ),
    KnownMistake(
        name="psi-of-x",
        edits={_PSI: "psi = np.mean(x * u, axis=1)"},
        sentence="Your Psi is the mean of x * u: normalise x first.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_Y: "y = centred / 1.0"},
        sentence="Your y is centred, but not divided by sigma.",
    ),
    KnownMistake(
        name="variance-for-sigma",
        edits={_Y: "y = centred / sigma**2"},
        sentence="Your y is divided by the variance; divide by its root.",
    ),
    KnownMistake(
        name="values-less-one",
        edits={_SIGMA: "sigma = np.sqrt(np.sum(centred**2, axis=1, keepdims=True) / (x.shape[1] - 1))"},
        of="bn-unbiased-variance",
    ),
    KnownMistake(
        name="moments-of-all",
        edits={
            "centred = x - np.mean(x, axis=1, keepdims=True)": "centred = x - np.mean(x)",
            _SIGMA: "sigma = np.sqrt(np.mean(centred**2))",
        },
        sentence="Your y is normalised by the moments of all batches together; each batch has its own.",
    ),
    KnownMistake(
        name="psi-not-with-u",
        edits={_PSI: "psi = np.mean(y, axis=1) * np.mean(u, axis=1)"},
        sentence="Your Psi is a product of two means; it is the mean of the products.",
    ),
    KnownMistake(
        name="over-batches",
        edits={"g = np.mean(u, axis=1)": "g = np.mean(u, axis=0)", _PSI: "psi = np.mean(y * u, axis=0)"},
        sentence="Your g and Psi are means over the batches; a batch is a row, so take them over axis 1.",
    ),
    KnownMistake(
        name="variance-for-deviation",
        edits={_STD: "return np.var(g), np.var(psi)"},
        sentence="Your noise is the variance over the batches; the standard deviation is its root.",
    ),
    KnownMistake(
        name="error-of-the-mean",
        edits={_STD: "return np.std(g) / np.sqrt(trials), np.std(psi) / np.sqrt(trials)"},
        sentence="Your noise is divided by the root of trials: that is the error of the mean of all batches.",
    ),
    KnownMistake(
        name="mean-for-deviation",
        edits={_STD: "return np.mean(g), np.mean(psi)"},
        sentence="Your noise is the mean over the batches; what is wanted is how much they vary about it.",
    ),
    KnownMistake(
        name="one-batch",
        edits={_DRAWN: "x, u = (np.tile(a, trials) for a in sample(size))"},
        sentence="Your noise is zero but for rounding: you draw one batch and look at it again and again.",
    ),
    KnownMistake(
        name="without-logarithms",
        edits={
            _CENTRED: "log_sizes = sizes - np.mean(sizes)",
            _SLOPE: "return np.sum(log_sizes * noises) / np.sum(log_sizes**2)",
        },
        sentence="Your exponent is the slope of the noise itself; the straight line is through the logarithms.",
    ),
    KnownMistake(
        name="sizes-without-logarithm",
        edits={_CENTRED: "log_sizes = sizes - np.mean(sizes)"},
        sentence="Your exponent takes the logarithm of the noise alone; take that of the sizes, too.",
    ),
    KnownMistake(
        name="through-the-origin",
        edits={_CENTRED: "log_sizes = np.log(sizes)"},
        sentence="Your line goes through the origin, as if c were 1; let it have an offset.",
    ),
    KnownMistake(
        name="axes-swapped",
        edits={
            _CENTRED: "log_sizes = np.log(noises) - np.mean(np.log(noises))",
            _SLOPE: "return np.sum(log_sizes * np.log(sizes)) / np.sum(log_sizes**2)",
        },
        sentence="Your exponent is that of the size as a power of the noise; it is the other way round.",
    ),
    KnownMistake(
        name="ends-alone",
        edits={_SLOPE: "return np.log(noises[-1] / noises[0]) / np.log(sizes[-1] / sizes[0])"},
        sentence="Your exponent looks at the first and the last size alone; least squares use all.",
    ),
)
