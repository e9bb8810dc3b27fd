"""What goes wrong in modified batch normalisation."""

from mabn_ref.learn.exercise import KnownMistake

_CHI2 = "np.mean(x**2, axis=axes)"
_CHI = "np.sqrt(chi2 + eps)"
_DX = "(dy - y * psi) / chi"
_PSI = "np.mean(y * dy, axis=axes)"

MISTAKES = (
    KnownMistake(name="variance", edits={_CHI2: "np.var(x, axis=axes)"}, of="modified-variance"),
    KnownMistake(
        name="variance-and-centred",
        edits={_CHI2: "np.var(x, axis=axes)", "y = x / chi": "y = (x - np.mean(x, axis=axes)) / chi"},
        sentence="Your forward is still batch normalisation; equation (15) takes no mean away, in chi_B or in y.",
    ),
    KnownMistake(
        name="centred",
        edits={"y = x / chi": "y = (x - np.mean(x, axis=axes)) / chi"},
        sentence="Your y is centred; equation (15) divides x itself by chi_B.",
    ),
    KnownMistake(name="no-root", edits={_CHI: "chi2 + eps"}, of="modified-no-root"),
    KnownMistake(
        name="no-eps",
        edits={_CHI: "np.sqrt(chi2)"},
        sentence="Your forward divides by the root of chi_B^2 and leaves out eps.",
    ),
    KnownMistake(
        name="eps-outside",
        edits={_CHI: "np.sqrt(chi2) + eps"},
        sentence="Your chi is sqrt(chi_B^2) + eps; eps belongs inside the root.",
    ),
    KnownMistake(
        name="cache-of-square",
        edits={"Cache(y, chi, gamma)": "Cache(y, chi2, gamma)"},
        sentence="Your cache holds the mean square as its chi; backward divides by the root that forward divided by.",
    ),
    KnownMistake(
        name="cache-of-z",
        edits={"Cache(y, chi, gamma)": "Cache(z, chi, gamma)"},
        sentence="Your cache holds z as its y; backward needs the value from before gamma and beta.",
    ),
    KnownMistake(name="no-psi", edits={_DX: "dy / chi"}, of="modified-no-psi"),
    KnownMistake(
        name="keeps-g",
        edits={_DX: "(dy - np.mean(dy, axis=axes) - y * psi) / chi"},
        of="modified-keeps-g",
    ),
    KnownMistake(
        name="g-for-psi",
        edits={_DX: "(dy - np.mean(dy, axis=axes)) / chi"},
        sentence="Your dx dropped the wrong term: Psi_B stays in equation (16), and g_B goes.",
    ),
    KnownMistake(
        name="gamma-forgotten",
        edits={"dy = gamma * dz": "dy = dz * 1.0"},
        sentence="Your dx lacks gamma: equation (16) starts from dy = gamma * dz, not from dz.",
    ),
    KnownMistake(
        name="psi-is-sum",
        edits={_PSI: "np.sum(y * dy, axis=axes)"},
        sentence="Your Psi_B is a sum over the batch; it is a mean.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_DX: "dy - y * psi"},
        sentence="Your dx is not divided by chi_B, which equation (16) has in front.",
    ),
    KnownMistake(
        name="parameter-means",
        edits={
            "np.sum(dz * y, axis=axes)": "np.mean(dz * y, axis=axes)",
            "np.sum(dz, axis=axes)": "np.mean(dz, axis=axes)",
        },
        of="bn-parameter-means",
    ),
)
