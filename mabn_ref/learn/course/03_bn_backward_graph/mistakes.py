"""What goes wrong on the way back through the graph."""

from mabn_ref.learn.exercise import KnownMistake

_DSIGMA = "-np.sum(dy * centred, axis=axes) / sigma**2"
_DMU = "dmu = -np.sum(dcentred, axis=axes)"
_SQUARES = "return 2 * centred * dvar / values"
_CENTRING = "return dcentred + dmu / values"
_JOIN = "centring_backward(direct + through_var)"

MISTAKES = (
    KnownMistake(
        name="gamma-forgotten",
        edits={"return dz * gamma, dgamma": "return dz * 1.0, dgamma"},
        sentence="Your dy is dz itself: y was multiplied by gamma, so its gradient is, too.",
    ),
    KnownMistake(
        name="parameter-means",
        edits={
            "np.sum(dz * y, axis=axes)": "np.mean(dz * y, axis=axes)",
            "np.sum(dz, axis=axes)": "np.mean(dz, axis=axes)",
        },
        of="bn-parameter-means",
    ),
    KnownMistake(
        name="dgamma-without-y",
        edits={"np.sum(dz * y, axis=axes)": "np.sum(dz * gamma, axis=axes)"},
        sentence="Your dgamma has gamma in it: the derivative of gamma * y for gamma is y.",
    ),
    KnownMistake(
        name="direct-times-sigma",
        edits={"return dy / sigma, dsigma": "return dy * sigma, dsigma"},
        sentence="Your division_backward multiplies by sigma: the derivative of centred / sigma is 1 / sigma.",
    ),
    KnownMistake(
        name="dsigma-not-summed",
        edits={_DSIGMA: "-(dy * centred) / sigma**2"},
        sentence="Your dsigma is not summed: one sigma serves all values of its channel.",
    ),
    KnownMistake(
        name="dsigma-mean",
        edits={_DSIGMA: "-np.mean(dy * centred, axis=axes) / sigma**2"},
        sentence="Your dsigma is a mean over the channel: what a quantity was used for adds up, so it is a sum.",
    ),
    KnownMistake(
        name="dsigma-sign",
        edits={_DSIGMA: "np.sum(dy * centred, axis=axes) / sigma**2"},
        sentence="Your dsigma has the wrong sign: y falls in size where sigma grows.",
    ),
    KnownMistake(
        name="dsigma-not-squared",
        edits={_DSIGMA: "-np.sum(dy * centred, axis=axes) / sigma"},
        sentence="Your dsigma divides by sigma once: the derivative of 1 / sigma has sigma squared below.",
    ),
    KnownMistake(
        name="root-without-two",
        edits={"return dsigma / (2 * sigma)": "return dsigma / sigma"},
        sentence="Your dvar lacks a half: the derivative of a root is one over twice the root.",
    ),
    KnownMistake(
        name="root-of-root",
        edits={"return dsigma / (2 * sigma)": "return dsigma / (2 * np.sqrt(sigma))"},
        sentence="Your dvar takes the root of sigma: sigma is the root already.",
    ),
    KnownMistake(
        name="root-upside-down",
        edits={"return dsigma / (2 * sigma)": "return dsigma * 2 * sigma"},
        sentence="Your dvar is the derivative of a square: sigma is the root of the variance, not its square.",
    ),
    KnownMistake(
        name="squares-without-two",
        edits={_SQUARES: "return centred * dvar / values"},
        sentence="Your squares_backward lacks the 2 that the derivative of a square has.",
    ),
    KnownMistake(
        name="squares-without-values",
        edits={_SQUARES: "return 2 * centred * dvar"},
        sentence="Your squares_backward does not divide by M: the variance is the mean of the squares, no sum.",
    ),
    KnownMistake(
        name="squares-by-samples",
        edits={"values = centred[..., 0].size": "values = len(centred)"},
        sentence="Your squares_backward divides by the number of samples: M counts all positions of an image.",
    ),
    KnownMistake(
        name="centring-skipped",
        edits={_CENTRING: "return dcentred + 0.0"},
        sentence="Your centring_backward returns dcentred: the mean that is subtracted depends on every x.",
    ),
    KnownMistake(
        name="centring-sign",
        edits={_DMU: "dmu = np.sum(dcentred, axis=axes)"},
        sentence="Your centring_backward adds the mean of dcentred: the mean of x was subtracted, so this is, too.",
    ),
    KnownMistake(
        name="centring-sum",
        edits={_CENTRING: "return dcentred + dmu"},
        sentence="Your centring_backward takes off the sum of dcentred: each x has the part 1/M in the mean.",
    ),
    KnownMistake(
        name="centring-samples-alone",
        edits={_DMU: "dmu = -np.sum(dcentred, axis=0)", "values = dcentred[..., 0].size": "values = len(dcentred)"},
        sentence="Your centring_backward takes means over the samples alone: mu is a mean over all positions, too.",
    ),
    KnownMistake(
        name="only-direct",
        edits={_JOIN: "centring_backward(direct)"},
        sentence="Your backward drops what comes through the variance: centred was used in y and in the variance.",
    ),
    KnownMistake(
        name="only-through-var",
        edits={_JOIN: "centring_backward(through_var)"},
        sentence="Your backward drops the direct way: what comes through the variance is added to it.",
    ),
    KnownMistake(
        name="not-through-centring",
        edits={_JOIN: "direct + through_var"},
        sentence="Your backward stops at centred: there is still the step from centred to x.",
    ),
)
