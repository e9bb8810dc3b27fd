"""What goes wrong in the backward pass of MABN."""

from mabn_ref.learn.exercise import KnownMistake

_DGAMMA = "np.sum(dz * (r * y), axis=axes)"
_DBETA = "np.sum(dz, axis=axes)"
_DY = "dz * (gamma * r)"
_BATCH = "np.mean(y * dy, axis=axes)"
_HELD = "np.concatenate([psi_window, psi_batch[None]])[-window:]"
_PSI = "np.mean(held, axis=0)"
_DX = "(dy - y * psi) / chi"

MISTAKES = (
    KnownMistake(name="psi-of-this-batch", edits={_PSI: "psi_batch"}, of="mabn-psi-of-this-batch"),
    KnownMistake(
        name="window-one-late",
        edits={_PSI: "np.mean(psi_window if len(psi_window) else held, axis=0)"},
        of="mabn-psi-window-one-late",
    ),
    KnownMistake(
        name="psi-without-gamma",
        edits={_BATCH: "np.mean(y * r * dz, axis=axes)"},
        of="mabn-psi-without-gamma",
    ),
    KnownMistake(
        name="psi-without-r",
        edits={_BATCH: "np.mean(y * gamma * dz, axis=axes)"},
        sentence="Your Psi_B is the mean of y * gamma * dz; the gradient that reaches y has r in it too.",
    ),
    KnownMistake(
        name="psi-with-r-twice",
        edits={_BATCH: "np.mean(r * y * dy, axis=axes)"},
        sentence="Your Psi_B has r in it twice: it is the mean of y * dy with the y from before r.",
    ),
    KnownMistake(name="r-forgotten", edits={_DY: "dz * gamma"}, of="mabn-r-forgotten-in-backward"),
    KnownMistake(
        name="gamma-forgotten",
        edits={_DY: "dz * r"},
        sentence="Your dx lacks gamma: the gradient that reaches y is gamma * r * dz.",
    ),
    KnownMistake(name="dgamma-before-r", edits={_DGAMMA: "np.sum(dz * y, axis=axes)"}, of="mabn-dgamma-before-r"),
    KnownMistake(
        name="one-call",
        edits={_PSI: "psi_batch / len(held)"},
        of="mabn-derivative-of-one-call",
    ),
    KnownMistake(
        name="no-psi",
        edits={_DX: "dy / chi"},
        sentence="Your dx is dy / chi; equation (20) has the averaged Psi in it.",
    ),
    KnownMistake(
        name="keeps-g",
        edits={_DX: "(dy - np.mean(dy, axis=axes) - y * psi) / chi"},
        sentence="Your dx still has a g_B term; no mean is subtracted in forward, so none comes back.",
    ),
    KnownMistake(
        name="zeros-counted",
        edits={_PSI: "np.sum(held, axis=0) / window"},
        sentence="Your average of Psi divides by m before m batches have been seen; divide by the number held.",
    ),
    KnownMistake(
        name="window-of-averages",
        edits={"return dx, dgamma, dbeta, held": "return dx, dgamma, dbeta, np.concatenate([held[:-1], psi[None]])"},
        sentence="Your window of Psi keeps the average; keep the batch's own value, or it is averaged twice.",
    ),
    KnownMistake(
        name="not-trimmed",
        edits={"[-window:]": "[:]"},
        sentence="Your window of Psi holds more than m values: put this batch's in, then keep the last m.",
    ),
    KnownMistake(
        name="newest-first",
        edits={_HELD: "np.concatenate([psi_batch[None], psi_window])[:window]"},
        sentence="Your window of Psi has its newest value first and drops from the end; the oldest comes first.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_DX: "dy - y * psi"},
        sentence="Your dx is not divided by chi, which equation (20) has in front.",
    ),
    KnownMistake(
        name="psi-is-sum",
        edits={_BATCH: "np.sum(y * dy, axis=axes)"},
        sentence="Your Psi_B is a sum over the batch; it is a mean.",
    ),
    KnownMistake(
        name="parameter-means",
        edits={_DGAMMA: "np.mean(dz * (r * y), axis=axes)", _DBETA: "np.mean(dz, axis=axes)"},
        of="bn-parameter-means",
    ),
)
