"""Other losses that see nothing."""

from mabn_ref.learn.exercise import KnownMistake

_DZ = "dz = rng.standard_normal(x.shape)"

MISTAKES = (
    KnownMistake(
        name="ones",
        edits={_DZ: "dz = np.ones(x.shape)"},
        sentence="Your dz is still 1 everywhere: the loss is the sum of z, which no x can change, and so dx is zero.",
    ),
    KnownMistake(
        name="one-number-a-channel",
        edits={_DZ: "dz = rng.standard_normal(x.shape[-1]) * np.ones(x.shape)"},
        sentence="Your dz has one random number a channel: within the channel it is as constant as ones.",
    ),
    KnownMistake(
        name="sum-of-squares",
        edits={_DZ: "dz = forward(x)"},
        sentence="Your dz is z, as for half the sum of squares. That is the same for every x, but for eps.",
    ),
    KnownMistake(
        name="twice-the-output",
        edits={_DZ: "dz = 2 * forward(x)"},
        sentence="Your dz is 2 z, the gradient of the sum of squares, which is the same for every x but for eps.",
    ),
    KnownMistake(
        name="shifted-squares",
        edits={_DZ: "dz = forward(x) + 1"},
        sentence="Your dz is z + 1: a sum of two things that are both blind, ones and z, is blind as well.",
    ),
    KnownMistake(
        name="input-as-cotangent",
        edits={_DZ: "dz = x"},
        sentence="Your dz is x, which in each channel is a number plus a multiple of y: both are blind.",
    ),
)
