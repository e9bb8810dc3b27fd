"""What goes wrong in the forward pass of batch normalisation."""

from mabn_ref.learn.exercise import KnownMistake

_VAR = "np.mean(centred**2, axis=axes)"
_SIGMA = "np.sqrt(var + eps)"
_Z = "gamma * y + beta"

MISTAKES = (
    KnownMistake(name="values-less-one", edits={_VAR: "np.var(x, axis=axes, ddof=1)"}, of="bn-unbiased-variance"),
    KnownMistake(name="no-eps", edits={_SIGMA: "np.sqrt(var)"}, of="bn-no-eps"),
    KnownMistake(name="eps-outside", edits={_SIGMA: "np.sqrt(var) + eps"}, of="bn-eps-outside"),
    KnownMistake(name="eps-twice", edits={_SIGMA: "np.sqrt(var + 2 * eps)"}, of="bn-eps-twice"),
    KnownMistake(
        name="samples-alone",
        edits={
            "axes = tuple(range(x.ndim - 1))": "axes = 0",
        },
        of="bn-positions-apart",
    ),
    KnownMistake(
        name="channels-too",
        edits={"axes = tuple(range(x.ndim - 1))": "axes = None"},
        of="bn-channels-together",
    ),
    KnownMistake(
        name="no-root",
        edits={_SIGMA: "var + eps"},
        sentence="Your forward divides by the variance; equation (1) divides by its root, sigma_B.",
    ),
    KnownMistake(
        name="not-centred",
        edits={"y = centred / sigma": "y = x / sigma"},
        sentence="Your y is x / sigma_B: subtract the mean from what you divide, too.",
    ),
    KnownMistake(
        name="beta-inside",
        edits={_Z: "gamma * (y + beta)"},
        sentence="Your gamma multiplies beta as well: equation (3) adds beta last.",
    ),
    KnownMistake(
        name="no-affine",
        edits={_Z: "y + 0 * beta"},
        sentence="Your z is y: equation (3) still has gamma and beta in it.",
    ),
    KnownMistake(name="no-beta", edits={_Z: "gamma * y"}, sentence="Your z lacks beta: equation (3) adds it."),
    KnownMistake(
        name="no-gamma", edits={_Z: "y + beta"}, sentence="Your z lacks gamma: equation (3) multiplies y by it."
    ),
    KnownMistake(
        name="cache-of-z",
        edits={"Cache(y, sigma, gamma)": "Cache(z, sigma, gamma)"},
        sentence="Your cache holds z as its y; backward needs the value from before gamma and beta.",
    ),
    KnownMistake(
        name="cache-of-variance",
        edits={"Cache(y, sigma, gamma)": "Cache(y, var, gamma)"},
        sentence="Your cache holds the variance as its sigma; backward divides by sqrt(var + eps).",
    ),
    KnownMistake(
        name="cache-without-eps",
        edits={"Cache(y, sigma, gamma)": "Cache(y, np.sqrt(var), gamma)"},
        sentence="Your cache holds sqrt(var) as its sigma, but forward divided by sqrt(var + eps).",
    ),
)
