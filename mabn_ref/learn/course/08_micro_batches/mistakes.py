"""What goes wrong with several normalisation batches."""

from mabn_ref.learn.exercise import KnownMistake

_SPLIT = "return x.reshape(len(x) // norm_batch, -1, x.shape[-1])"
_CENTRED = "centred = values - np.mean(values, axis=1, keepdims=True)"
_SIGMA = "sigma = np.sqrt(np.mean(centred**2, axis=1) + eps)"
_G = "g = np.mean(u, axis=1, keepdims=True)"
_PSI = "psi = np.mean(y * u, axis=1, keepdims=True)"
_DGAMMA = "dgamma = np.sum(dz.reshape(y.shape) * y, axis=(0, 1))"
_DBETA = "dbeta = np.sum(dz.reshape(y.shape), axis=(0, 1))"
_DX = "dx = (u - g - y * psi) / sigma[:, None]"

MISTAKES = (
    KnownMistake(
        name="interleaved",
        edits={
            _SPLIT: "rows = x.reshape(norm_batch, len(x) // norm_batch, -1, x.shape[-1]).swapaxes(0, 1)\n"
            "    return rows.reshape(len(rows), -1, x.shape[-1])",
            "return z.reshape(x.shape), Cache": "z = z.reshape(len(z), norm_batch, -1, x.shape[-1]).swapaxes(0, 1)\n"
            "    return z.reshape(x.shape), Cache",
        },
        sentence="Your normalisation batches take every G-th sample; it is neighbouring samples that make one.",
    ),
    KnownMistake(
        name="sizes-swapped",
        edits={_SPLIT: "return x.reshape(norm_batch, -1, x.shape[-1])"},
        sentence="Your split makes norm_batch rows: norm_batch is the number of samples in a row, not that of rows.",
    ),
    KnownMistake(
        name="whole-call",
        edits={
            _CENTRED: "centred = values - np.mean(values, axis=(0, 1))",
            _SIGMA: "sigma = np.sqrt(np.mean(centred**2, axis=(0, 1)) + eps) * np.ones((len(values), 1))",
        },
        of="bn-whole-call",
    ),
    KnownMistake(
        name="whole-call-mean",
        edits={_CENTRED: "centred = values - np.mean(values, axis=(0, 1))"},
        sentence="Your mean is taken over the whole call: each normalisation batch has its own, as it has its sigma.",
    ),
    KnownMistake(
        name="values-less-one",
        edits={_SIGMA: "sigma = np.sqrt(np.sum(centred**2, axis=1) / (values.shape[1] - 1) + eps)"},
        of="bn-unbiased-variance",
    ),
    KnownMistake(name="no-eps", edits={_SIGMA: "sigma = np.sqrt(np.mean(centred**2, axis=1))"}, of="bn-no-eps"),
    KnownMistake(
        name="whole-call-backward",
        edits={
            _G: "g = np.mean(u, axis=(0, 1), keepdims=True)",
            _PSI: "psi = np.mean(y * u, axis=(0, 1), keepdims=True)",
        },
        of="bn-whole-call-backward",
    ),
    KnownMistake(
        name="psi-of-the-whole-call",
        edits={_PSI: "psi = np.mean(y * u, axis=(0, 1), keepdims=True)"},
        sentence="Your Psi_B is a mean over the whole call; each normalisation batch has its own, as it has its g_B.",
    ),
    KnownMistake(
        name="g-of-the-whole-call",
        edits={_G: "g = np.mean(u, axis=(0, 1), keepdims=True)"},
        sentence="Your g_B is a mean over the whole call; each normalisation batch has its own, as it has its Psi_B.",
    ),
    KnownMistake(name="no-g", edits={_DX: "dx = (u - y * psi) / sigma[:, None]"}, of="bn-no-g"),
    KnownMistake(name="no-psi", edits={_DX: "dx = (u - g) / sigma[:, None]"}, of="bn-no-psi"),
    KnownMistake(name="gamma-forgotten", edits={"u = gamma * dz": "u = 1.0 * dz"}, of="bn-gamma-forgotten"),
    KnownMistake(
        name="parameters-apart",
        edits={_DGAMMA: _DGAMMA.replace("(0, 1)", "1"), _DBETA: _DBETA.replace("(0, 1)", "1")},
        sentence="Your dgamma and dbeta are one for each normalisation batch; these share the parameters, so sum.",
    ),
    KnownMistake(
        name="parameters-averaged",
        edits={
            _DGAMMA: f"{_DGAMMA} / len(y)",
            _DBETA: f"{_DBETA} / len(y)",
        },
        sentence="Your dgamma and dbeta are means over the normalisation batches: what they were used for adds up.",
    ),
    KnownMistake(
        name="last-batch-alone",
        edits={
            _DGAMMA: "dgamma = np.sum((dz.reshape(y.shape) * y)[-1], axis=0)",
            _DBETA: "dbeta = np.sum(dz.reshape(y.shape)[-1], axis=0)",
        },
        sentence="Your dgamma and dbeta are those of the last normalisation batch alone; those of all add up.",
    ),
)
