"""What goes wrong in folding."""

from mabn_ref.learn.exercise import KnownMistake

_S = "gamma / np.sqrt(q + eps)"
_T = "beta - s * m"
_CENTRED = "w - np.mean(w, axis=(0, 1, 2))"
_K = "k = w_c * s"
_B = "b = t"

MISTAKES = (
    KnownMistake(
        name="as-stored",
        edits={_CENTRED: "w"},
        sentence="Your kernel is the stored weight times s: in training the convolution ran with the centred one.",
    ),
    KnownMistake(
        name="centred-per-kernel",
        edits={_CENTRED: "w - np.mean(w, axis=(0, 1), keepdims=True)"},
        of="centralize-per-kernel",
    ),
    KnownMistake(
        name="centred-per-input",
        edits={_CENTRED: "w - np.mean(w, axis=(0, 1, 3), keepdims=True)"},
        of="centralize-per-input",
    ),
    KnownMistake(
        name="centred-as-a-whole",
        edits={_CENTRED: "w - np.mean(w)"},
        sentence="Your kernel is centred by the mean of all filters together; each filter has its own.",
    ),
    KnownMistake(
        name="standardised",
        edits={_CENTRED: "(w - np.mean(w, axis=(0, 1, 2))) / np.std(w, axis=(0, 1, 2))"},
        sentence="Your kernel is divided by the spread of its filter; equation (18) subtracts the mean, no more.",
    ),
    KnownMistake(
        name="inputs-scaled",
        edits={_K: "k = w_c * s[:, None]"},
        sentence="Your s multiplies input channels; it belongs to the outputs, the last axis of w.",
    ),
    KnownMistake(
        name="not-scaled",
        edits={_K: "k = w_c"},
        sentence="Your kernel is the centred weight, but s has not gone into it.",
    ),
    KnownMistake(
        name="bias-scaled",
        edits={_B: "b = s * t"},
        sentence="Your bias is s * t; t is added last, after the factor.",
    ),
    KnownMistake(
        name="no-bias",
        edits={_B: "b = 0 * t"},
        sentence="Your bias is 0, and so the shift t is lost.",
    ),
    KnownMistake(name="no-eps", edits={_S: "gamma / np.sqrt(q)"}, of="bn-infer-no-eps"),
    KnownMistake(
        name="no-root",
        edits={_S: "gamma / (q + eps)"},
        sentence="Your s divides by q + eps; inference divides by its root.",
    ),
    KnownMistake(
        name="eps-outside",
        edits={_S: "gamma / (np.sqrt(q) + eps)"},
        sentence="Your s adds eps to the root; it belongs inside.",
    ),
    KnownMistake(
        name="mean-forgotten",
        edits={_T: "beta + 0 * m"},
        sentence="Your t is beta, right for MABN alone: batch normalisation still has its moving mean to subtract.",
    ),
    KnownMistake(
        name="mean-not-scaled",
        edits={_T: "beta - m"},
        sentence="Your t subtracts m itself; it is subtracted before the factor, so s multiplies it.",
    ),
    KnownMistake(
        name="mean-added",
        edits={_T: "beta + s * m"},
        sentence="Your t adds s * m; the mean is subtracted from x.",
    ),
)
