"""What people do to this bug instead of mending it."""

from mabn_ref.learn.exercise import KnownMistake

_TRAIN = "/ np.sqrt(var + eps) + beta"
_MOVING = "(1 - decay) * var"
_INFER = "np.sqrt(state.var + eps)"

MISTAKES = (
    KnownMistake(
        name="as-given",
        edits={_MOVING: "(1 - decay) * (var + eps)"},
        sentence="These are still the numbers of the file as it was given: the bug is in it.",
    ),
    KnownMistake(
        name="eps-out-of-infer",
        edits={_MOVING: "(1 - decay) * (var + eps)", _INFER: "np.sqrt(state.var)"},
        sentence="You took eps out of infer, but the moving variance still holds it: mend what is stored.",
    ),
    KnownMistake(
        name="infer-alone",
        edits={_INFER: "np.sqrt(state.var)"},
        of="bn-infer-no-eps",
    ),
    KnownMistake(
        name="eps-out-of-forward",
        edits={_TRAIN: "/ np.sqrt(var) + beta"},
        sentence="The moving variance is right now, but eps is gone from forward as well: z is divided by sqrt(v).",
    ),
    KnownMistake(
        name="eps-twice-in-forward",
        edits={_TRAIN: "/ np.sqrt(var + 2 * eps) + beta"},
        of="bn-eps-twice",
    ),
    KnownMistake(
        name="eps-subtracted-at-the-end",
        edits={_MOVING: "(1 - decay) * (var + eps) - eps"},
        sentence="You subtract eps from the average, but each batch adds only its share of it: that is too much.",
    ),
    KnownMistake(
        name="eps-outside",
        edits={_TRAIN: "/ (np.sqrt(var) + eps) + beta"},
        sentence="Forward now adds eps to the root; it was inside before, and is to stay there.",
    ),
    KnownMistake(
        name="sigma-averaged",
        edits={_MOVING: "(1 - decay) * np.sqrt(var)"},
        sentence="Your moving variance averages the standard deviation; infer takes the root once more.",
    ),
)
