"""What people do to this bug instead of mending it."""

from mabn_ref.learn.exercise import KnownMistake

_INVERSE = "inverse = 1 / np.sqrt(var + eps)"

MISTAKES = (
    KnownMistake(
        name="as-given",
        edits={_INVERSE: "inverse = 1 / np.sqrt(var)"},
        sentence="These are still the numbers of the file as it was given: the bug is in it.",
    ),
    KnownMistake(
        name="eps-out-of-both",
        edits={_INVERSE: "inverse = 1 / np.sqrt(var)", "/ np.sqrt(var + eps) + beta": "/ np.sqrt(var) + beta"},
        sentence="Forward and backward agree now because eps is in neither: leave forward as it was.",
    ),
    KnownMistake(
        name="y-left",
        edits={"y = (x - mu) * inverse": "y = (x - mu) / np.sqrt(var)"},
        sentence="The factor in front of dx has eps now, but the y in backward is still divided by sqrt(var).",
    ),
    KnownMistake(
        name="factor-left",
        edits={"dx = inverse * (": "dx = 1 / np.sqrt(var) * ("},
        of="bn-backward-no-eps",
    ),
    KnownMistake(
        name="eps-outside",
        edits={_INVERSE: "inverse = 1 / (np.sqrt(var) + eps)"},
        sentence="Backward adds eps to the root; forward has it inside.",
    ),
    KnownMistake(
        name="eps-twice",
        edits={_INVERSE: "inverse = 1 / np.sqrt(var + 2 * eps)"},
        sentence="Backward has eps in the root twice.",
    ),
)
