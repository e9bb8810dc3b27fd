"""What goes wrong in the backward pass of batch normalisation."""

from mabn_ref.learn.exercise import KnownMistake

_DX = "(dy - g - y * psi) / sigma"

MISTAKES = (
    KnownMistake(name="no-g", edits={_DX: "(dy - y * psi) / sigma"}, of="bn-no-g"),
    KnownMistake(name="no-psi", edits={_DX: "(dy - g) / sigma"}, of="bn-no-psi"),
    KnownMistake(name="statistics-constant", edits={_DX: "dy / sigma"}, of="bn-statistics-constant"),
    KnownMistake(
        name="sums-for-means",
        edits={
            "np.mean(dy, axis=axes)": "np.sum(dy, axis=axes)",
            "np.mean(y * dy, axis=axes)": "np.sum(y * dy, axis=axes)",
        },
        of="bn-sums-for-means",
    ),
    KnownMistake(name="gamma-forgotten", edits={"dy = dz * gamma": "dy = dz * 1.0"}, of="bn-gamma-forgotten"),
    KnownMistake(name="variance-for-sigma", edits={_DX: "(dy - g - y * psi) / sigma**2"}, of="bn-variance-for-sigma"),
    KnownMistake(
        name="not-divided",
        edits={_DX: "dy - g - y * psi"},
        sentence="Your dx is not divided by sigma_B, which equation (4) has in front.",
    ),
    KnownMistake(
        name="divided-in-part",
        edits={_DX: "dy / sigma - g - y * psi"},
        sentence="Your dx divides dy alone by sigma_B: in equation (4) it divides all three terms.",
    ),
    KnownMistake(
        name="plus-psi",
        edits={_DX: "(dy - g + y * psi) / sigma"},
        sentence="Your dx adds y * Psi_B, which equation (4) subtracts.",
    ),
    KnownMistake(
        name="psi-without-y",
        edits={_DX: "(dy - g - psi) / sigma"},
        sentence="Your dx subtracts Psi_B itself; equation (4) subtracts y * Psi_B, so that each sample has its own.",
    ),
    KnownMistake(
        name="psi-of-dz",
        edits={"psi = np.mean(y * dy, axis=axes)": "psi = np.mean(y * dz, axis=axes)"},
        sentence="Your Psi_B is the mean of y * dz; equation (5) has dy = gamma * dz in it.",
    ),
    KnownMistake(
        name="means-over-samples-alone",
        edits={
            "np.mean(dy, axis=axes)": "np.mean(dy, axis=0)",
            "np.mean(y * dy, axis=axes)": "np.mean(y * dy, axis=0)",
        },
        sentence="Your g_B and Psi_B are means over the samples alone: all positions of an image count as values.",
    ),
    KnownMistake(
        name="dgamma-not-normalised",
        edits={"np.sum(dz * y, axis=axes)": "np.sum(dz * y * sigma, axis=axes)"},
        of="bn-dgamma-not-normalised",
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
        name="parameters-from-dy",
        edits={
            "np.sum(dz * y, axis=axes)": "np.sum(dz * gamma * y, axis=axes)",
            "np.sum(dz, axis=axes)": "np.sum(dz * gamma, axis=axes)",
        },
        sentence="Your dgamma and dbeta sum dy; gamma comes before y here, so they sum dz.",
    ),
)
