"""What goes wrong in the backward pass of Batch Renormalization."""

from mabn_ref.learn.exercise import KnownMistake

_DX = "(dy - g - y * psi) / sigma"
_DY = "gamma * r * dz"
_PSI = "np.mean(y * dy, axis=axes)"
_G = "np.mean(dy, axis=axes)"
_DGAMMA = "np.sum(dz * (r * y + d), axis=axes)"
_DBETA = "np.sum(dz, axis=axes)"

MISTAKES = (
    KnownMistake(name="r-differentiated", edits={_DX: "(dy - g) / sigma"}, of="brn-r-differentiated"),
    KnownMistake(name="d-differentiated", edits={_DX: "(dy - y * psi) / sigma"}, of="brn-d-differentiated"),
    KnownMistake(name="both-differentiated", edits={_DX: "dy / sigma"}, of="brn-r-and-d-differentiated"),
    KnownMistake(name="r-forgotten", edits={_DY: "gamma * dz"}, of="brn-r-forgotten-in-backward"),
    KnownMistake(
        name="gamma-forgotten",
        edits={_DY: "r * dz"},
        sentence="Your dx lacks gamma: in backward dy = gamma * r * dz.",
    ),
    KnownMistake(
        name="dgamma-before-corrections",
        edits={_DGAMMA: "np.sum(dz * y, axis=axes)"},
        of="brn-dgamma-before-corrections",
    ),
    KnownMistake(
        name="dgamma-without-d",
        edits={_DGAMMA: "np.sum(dz * r * y, axis=axes)"},
        sentence="Your dgamma lacks d: gamma multiplies r * y + d, the shift too.",
    ),
    KnownMistake(
        name="statistics-without-r",
        edits={_G: "np.mean(gamma * dz, axis=axes)", _PSI: "np.mean(y * gamma * dz, axis=axes)"},
        sentence="Your g_B and Psi_B are means of gamma * dz; they are those of dy, which has r in it.",
    ),
    KnownMistake(
        name="psi-of-corrected",
        edits={_PSI: "np.mean((r * y + d) * dy, axis=axes)"},
        sentence="Your Psi_B has r * y + d in it; it is the mean of y * dy, with the y from before r and d.",
    ),
    KnownMistake(
        name="corrected-for-y",
        edits={_PSI: "np.mean((r * y + d) * dy, axis=axes)", _DX: "(dy - g - (r * y + d) * psi) / sigma"},
        sentence="Your dx takes r * y + d for y, in Psi_B and beside it; y is the value from before r and d.",
    ),
    KnownMistake(
        name="moving-sigma",
        edits={_DX: "(dy - g - y * psi) / (sigma / r)"},
        sentence="Your dx is divided by the moving sigma; y was divided by the batch's, and r is in dy already.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_DX: "dy - g - y * psi"},
        sentence="Your dx is not divided by the batch's sigma.",
    ),
    KnownMistake(
        name="sums-for-means",
        edits={_G: "np.sum(dy, axis=axes)", _PSI: "np.sum(y * dy, axis=axes)"},
        of="bn-sums-for-means",
    ),
    KnownMistake(
        name="parameters-from-dy",
        edits={
            _DGAMMA: "np.sum(gamma * r * dz * (r * y + d), axis=axes)",
            _DBETA: "np.sum(gamma * r * dz, axis=axes)",
        },
        sentence="Your dgamma and dbeta sum dy; gamma and beta come after r and d, so they sum dz.",
    ),
    KnownMistake(
        name="parameter-means",
        edits={_DGAMMA: "np.mean(dz * (r * y + d), axis=axes)", _DBETA: "np.mean(dz, axis=axes)"},
        of="bn-parameter-means",
    ),
)
