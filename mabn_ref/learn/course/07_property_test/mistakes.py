"""What goes wrong in tests of properties."""

from mabn_ref.learn.exercise import KnownMistake

_TOTAL = "total = np.sum(dx, axis=axes)"
_SHIFT = "return bool(np.all(np.abs(total) <= 1e-9 * size))"
_TERMS = "terms = (x - np.mean(x, axis=axes)) * backward(x, dz)"
_ALONG = "along = np.sum(terms, axis=axes)"
_STRETCH = "return bool(np.all(np.abs(along) <= 1e-9 * sizes))"
_REST = "rest = 2 * backward(2 * x, dz) - dx"
_SCALES = "return bool(np.all(np.abs(rest) <= 1e-9 * np.max(np.abs(dx))))"
_DRAWN = "x, dz = np.random.default_rng(0).standard_normal((2, 6, 4, 3))"
_ALL = "return no_shift(backward, x, dz) and no_stretch(backward, x, dz) and scales(backward, x, dz)"

MISTAKES = (
    KnownMistake(
        name="shift-absolute",
        edits={_SHIFT: "return bool(np.all(np.abs(total) <= 1e-8))"},
        sentence="Your no_shift asks for less than a fixed number, as np.allclose does: compare with sizes.",
    ),
    KnownMistake(
        name="shift-exact",
        edits={_SHIFT: "return bool(np.all(total == 0))"},
        sentence="Your no_shift asks for exactly zero, which rounding does not give.",
    ),
    KnownMistake(
        name="shift-sign-kept",
        edits={_SHIFT: "return bool(np.all(total <= 1e-9 * size))"},
        sentence="Your no_shift lets every negative sum pass: take absolute values.",
    ),
    KnownMistake(
        name="shift-channels-together",
        edits={_TOTAL: "total = np.sum(dx)"},
        sentence="Your no_shift sums over the channels, too, where one can hide what is wrong in another.",
    ),
    KnownMistake(
        name="shift-samples-alone",
        edits={_TOTAL: "total = np.sum(dx, axis=0)"},
        sentence="Your no_shift sums over the samples alone; it is the sum over all positions that vanishes.",
    ),
    KnownMistake(
        name="shift-any",
        edits={_SHIFT: "return bool(np.any(np.abs(total) <= 1e-9 * size))"},
        sentence="Your no_shift is content with one channel in which the sum vanishes; ask for all.",
    ),
    KnownMistake(
        name="shift-nan",
        edits={_SHIFT: "return not np.any(np.abs(total) > 1e-9 * size)"},
        sentence="Your no_shift lets nan pass, which is not above any number: ask whether all are below.",
    ),
    KnownMistake(
        name="stretch-absolute",
        edits={_STRETCH: "return bool(np.all(np.abs(along) <= 1e-8))"},
        sentence="Your no_stretch asks for less than a fixed number: compare with the size of what is summed.",
    ),
    KnownMistake(
        name="stretch-sign-kept",
        edits={_STRETCH: "return bool(np.all(along <= 1e-9 * sizes))"},
        sentence="Your no_stretch lets every negative sum pass: take absolute values.",
    ),
    KnownMistake(
        name="stretch-not-centred",
        edits={_TERMS: "terms = x * backward(x, dz)"},
        sentence="Your no_stretch multiplies by x: a stretch moves each value by its distance from the mean.",
    ),
    KnownMistake(
        name="stretch-channels-together",
        edits={_ALONG: "along = np.sum(terms)"},
        sentence="Your no_stretch sums over the channels, too, where one can hide what is wrong in another.",
    ),
    KnownMistake(
        name="stretch-any",
        edits={_STRETCH: "return bool(np.any(np.abs(along) <= 1e-9 * sizes))"},
        sentence="Your no_stretch is content with one channel in which the sum vanishes; ask for all.",
    ),
    KnownMistake(
        name="stretch-nan",
        edits={_STRETCH: "return not np.any(np.abs(along) > 1e-9 * sizes)"},
        sentence="Your no_stretch lets nan pass, which is not above any number: ask whether all are below.",
    ),
    KnownMistake(
        name="scales-without-factor",
        edits={_REST: "rest = backward(2 * x, dz) - dx"},
        sentence="Your scales asks for the same dx at 2 x: it is y that is the same; dx is half as large.",
    ),
    KnownMistake(
        name="scales-wrong-way",
        edits={_REST: "rest = backward(2 * x, dz) - 2 * dx"},
        sentence="Your scales asks for twice the dx at 2 x: a step in 2 x does half of what it does in x.",
    ),
    KnownMistake(
        name="scales-nan",
        edits={_SCALES: "return not np.any(np.abs(rest) > 1e-9 * np.max(np.abs(dx)))"},
        sentence="Your scales lets nan pass, which is not above any number: ask whether all are below.",
    ),
    KnownMistake(
        name="dz-of-ones",
        edits={_DRAWN: "x = np.random.default_rng(0).standard_normal((6, 4, 3))\n    dz = np.ones(x.shape)"},
        sentence="Your test takes the same dz for all values: the gradient is zero then, and every property holds.",
    ),
    KnownMistake(
        name="dz-of-x",
        edits={_DRAWN: "x = np.random.default_rng(0).standard_normal((6, 4, 3))\n    dz = x"},
        sentence="Your test takes x for dz, which lies in the very direction that Psi takes out.",
    ),
    KnownMistake(
        name="two-values",
        edits={_DRAWN: "x, dz = np.random.default_rng(0).standard_normal((2, 2, 3))"},
        sentence="Your test has two values a channel: two numbers less a shift and a stretch leave nothing.",
    ),
    KnownMistake(
        name="no-positions",
        edits={_DRAWN: "x, dz = np.random.default_rng(0).standard_normal((2, 6, 3))"},
        sentence="Your test draws samples without positions, so that what goes wrong in images is not seen.",
    ),
    KnownMistake(
        name="stretch-left-out",
        edits={_ALL: "return no_shift(backward, x, dz) and scales(backward, x, dz)"},
        sentence="Your test does not ask for no_stretch.",
    ),
    KnownMistake(
        name="shift-left-out",
        edits={_ALL: "return no_stretch(backward, x, dz) and scales(backward, x, dz)"},
        sentence="Your test does not ask for no_shift.",
    ),
    KnownMistake(
        name="scales-left-out",
        edits={_ALL: "return no_shift(backward, x, dz) and no_stretch(backward, x, dz)"},
        sentence="Your test does not ask for scales.",
    ),
    KnownMistake(
        name="one-is-enough",
        edits={_ALL: "return no_shift(backward, x, dz) or no_stretch(backward, x, dz) or scales(backward, x, dz)"},
        sentence="Your test is content with one property that holds: join them by and.",
    ),
)
