"""What goes wrong in weight centralisation."""

from mabn_ref.learn.exercise import KnownMistake

_W = "w - np.mean(w, axis=(0, 1, 2))"
_DW = "dw_c - np.mean(dw_c, axis=(0, 1, 2))"
_MEANS = "np.sum(w_c * mu[:, None], axis=(0, 1, 2))"

MISTAKES = (
    KnownMistake(
        name="per-input",
        edits={_W: "w - np.mean(w, axis=(0, 1, 3), keepdims=True)"},
        of="centralize-per-input",
    ),
    KnownMistake(name="per-kernel", edits={_W: "w - np.mean(w, axis=(0, 1))"}, of="centralize-per-kernel"),
    KnownMistake(
        name="output-first",
        edits={_W: "w - np.mean(w, axis=(1, 2, 3), keepdims=True)"},
        sentence="Your mean is over the axes 1, 2, 3, as where the output is the first axis; here it is the last.",
    ),
    KnownMistake(
        name="one-mean",
        edits={_W: "w - np.mean(w)"},
        sentence="Your weight is less the mean of all of it; every output filter has a mean of its own.",
    ),
    KnownMistake(
        name="standardised",
        edits={_W: "(w - np.mean(w, axis=(0, 1, 2))) / np.std(w, axis=(0, 1, 2))"},
        sentence="Your weight is divided by its standard deviation: weight standardisation. (18) divides by nothing.",
    ),
    KnownMistake(
        name="not-in-backward",
        edits={_DW: "dw_c.copy()"},
        of="centralize-not-in-backward",
    ),
    KnownMistake(
        name="backward-sum",
        edits={_DW: "dw_c - np.sum(dw_c, axis=(0, 1, 2))"},
        sentence="Your dw subtracts the sum of dw_c over the filter; 1/n of it is due, the mean.",
    ),
    KnownMistake(
        name="backward-plus",
        edits={_DW: "dw_c + np.mean(dw_c, axis=(0, 1, 2))"},
        sentence="Your dw adds the mean of dw_c; the mean was subtracted in forward, and so is its gradient.",
    ),
    KnownMistake(
        name="backward-per-kernel",
        edits={_DW: "dw_c - np.mean(dw_c, axis=(0, 1))"},
        sentence="Your dw is centred over (kh, kw) alone; forward's mean is over the input channels too.",
    ),
    KnownMistake(
        name="backward-one-mean",
        edits={_DW: "dw_c - np.mean(dw_c)"},
        sentence="Your dw is less the mean of all of dw_c; each filter's gradient has a mean of its own.",
    ),
    KnownMistake(
        name="means-averaged",
        edits={_MEANS: "np.mean(w_c * mu[:, None], axis=(0, 1, 2))"},
        sentence="Your output means are averaged over the filter; a convolution sums.",
    ),
    KnownMistake(
        name="means-of-one-position",
        edits={_MEANS: "np.mean(np.sum(w_c * mu[:, None], axis=2), axis=(0, 1))"},
        sentence="Your output means are averaged over the kernel's positions; a convolution sums over them, too.",
    ),
    KnownMistake(
        name="means-from-one-mean",
        edits={_MEANS: "np.sum(w_c * np.mean(mu), axis=(0, 1, 2))"},
        sentence="Your output means take one mean for all inputs, and so come out zero; each channel has its own.",
    ),
)
