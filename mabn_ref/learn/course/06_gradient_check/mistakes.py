"""What goes wrong in a gradient check."""

from mabn_ref.learn.exercise import KnownMistake

_BEFORE = "before[i] -= h"
_DIFFERENCE = "np.sum(dz * (f(after) - f(before))) / (2 * h)"
_STEP = "h = 1e-5"
_ERROR = "return np.max(np.abs(found - right)) / np.max(np.abs(right))"
_DZ = "dz = np.random.default_rng(0).standard_normal(forward(x).shape)"
_COMPARED = "error = relative_error(backward(x, dz), right)"
_VERDICT = "return bool(error < 1e-4)"

MISTAKES = (
    KnownMistake(
        name="one-sided",
        edits={_BEFORE: "before[i] -= 0", _DIFFERENCE: "np.sum(dz * (f(after) - f(before))) / h"},
        sentence="Your differences are one-sided, so they are off by a term in h; take a step to both sides.",
    ),
    KnownMistake(
        name="step-too-small",
        edits={_STEP: "h = 1e-9"},
        sentence="Your step is so small that rounding, divided by it, takes half of the digits: 1e-5 is about right.",
    ),
    KnownMistake(
        name="step-too-large",
        edits={_STEP: "h = 3e-3"},
        sentence="Your step is so large that the curvature of f shows in the digits: 1e-5 is about right.",
    ),
    KnownMistake(
        name="divided-by-h",
        edits={_DIFFERENCE: "np.sum(dz * (f(after) - f(before))) / h"},
        sentence="Your gradient is twice too large: from x - h to x + h it is two steps.",
    ),
    KnownMistake(
        name="not-divided",
        edits={_DIFFERENCE: "np.sum(dz * (f(after) - f(before)))"},
        sentence="Your gradient is a difference: divide it by the way from one point to the other, 2 h.",
    ),
    KnownMistake(
        name="weights-left-out",
        edits={_DIFFERENCE: "np.sum(f(after) - f(before)) / (2 * h)"},
        sentence="Your gradient is that of the plain sum of f: multiply by dz before you sum.",
    ),
    KnownMistake(
        name="wrong-way-round",
        edits={_DIFFERENCE: "np.sum(dz * (f(before) - f(after))) / (2 * h)"},
        sentence="Your gradient has the wrong sign: the value before is subtracted from the value after.",
    ),
    KnownMistake(
        name="absolute-error",
        edits={_ERROR: "return np.max(np.abs(found - right))"},
        sentence="Your error is absolute: it says nothing unless you know how large the gradient is. Divide.",
    ),
    KnownMistake(
        name="mean-for-max",
        edits={_ERROR: "return np.mean(np.abs(found - right)) / np.max(np.abs(right))"},
        sentence="Your error is a mean, in which one wrong element among many hides: take the largest.",
    ),
    KnownMistake(
        name="sign-kept",
        edits={_ERROR: "return np.max(found - right) / np.max(np.abs(right))"},
        sentence="Your error is the largest signed difference: an element that is too small makes none. Take sizes.",
    ),
    KnownMistake(
        name="each-by-its-own",
        edits={_ERROR: "return np.max(np.abs((found - right) / right))"},
        sentence="Your error divides each difference by its own element: where that is tiny, rounding is huge.",
    ),
    KnownMistake(
        name="weights-of-ones",
        edits={_DZ: "dz = np.ones_like(forward(x))"},
        sentence="Your dz is the same for all values: batch normalisation's gradient is then zero, right or wrong.",
    ),
    KnownMistake(
        name="weights-of-z",
        edits={_DZ: "dz = forward(x)"},
        sentence="Your dz is z, as from a loss of z squared: what has no g, or is off by a factor, is hardly seen.",
    ),
    KnownMistake(
        name="absolute-tolerance",
        edits={_COMPARED: "error = np.max(np.abs(backward(x, dz) - right))"},
        sentence="Your check compares with an absolute tolerance: huge gradients never pass it, tiny ones always do.",
    ),
    KnownMistake(
        name="tolerance-too-wide",
        edits={_VERDICT: "return bool(error < 0.05)"},
        sentence="Your check accepts a gradient that is off by a hundredth: ask for more digits.",
    ),
    KnownMistake(
        name="nan-accepted",
        edits={_VERDICT: "return not error > 1e-4"},
        sentence="Your check accepts a gradient with nan in it: nan is not above a tolerance, nor is it below.",
    ),
    KnownMistake(
        name="upside-down",
        edits={_VERDICT: "return bool(error > 1e-4)"},
        sentence="Your check says True where the gradients differ.",
    ),
)
