"""What goes wrong with moving averages."""

from mabn_ref.learn.exercise import KnownMistake

_FIRST = "first = max(t - m + 1, 0)"
_MEAN = "averages[t] = np.mean(values[first : t + 1], axis=0)"
_LOOP = "average = decay * average + (1 - decay) * value"
_EQUAL = "return (m - 1) / (m + 1)"

MISTAKES = (
    KnownMistake(
        name="window-too-long",
        edits={_FIRST: "first = max(t - m, 0)"},
        sentence="Your window holds m + 1 values.",
    ),
    KnownMistake(
        name="window-too-short",
        edits={_FIRST: "first = max(t - m + 2, 0) if m > 1 else t"},
        sentence="Your window holds m - 1 values.",
    ),
    KnownMistake(
        name="without-this-one",
        edits={_MEAN: "averages[t] = np.mean(values[max(t - m, 0) : t], axis=0) if t else values[0]"},
        sentence="Your window ends before this iteration; its value is the last of the m.",
    ),
    KnownMistake(
        name="all-so-far",
        edits={_FIRST: "first = 0"},
        sentence="Your simple average is over all values so far: it never forgets. Drop what is m iterations old.",
    ),
    KnownMistake(
        name="first-divided-by-m",
        edits={_MEAN: "averages[t] = np.sum(values[first : t + 1], axis=0) / m"},
        sentence="Your first averages divide by m before m values are there, as if zeros had come before.",
    ),
    KnownMistake(
        name="sum-for-mean",
        edits={_MEAN: "averages[t] = np.sum(values[first : t + 1], axis=0)"},
        sentence="Your simple average is a sum: divide by the number of values in the window.",
    ),
    KnownMistake(
        name="first-not-averaged",
        edits={_MEAN: "averages[t] = np.mean(values[first : t + 1], axis=0) if t + 1 >= m else values[t]"},
        sentence="Your first averages are the values themselves; take the mean of those that are there.",
    ),
    KnownMistake(
        name="blocks",
        edits={_FIRST: "first = t - t % m"},
        sentence="Your window starts anew every m iterations; it is to move on by one each time.",
    ),
    KnownMistake(
        name="channels-together",
        edits={_MEAN: "averages[t] = np.mean(values[first : t + 1])"},
        sentence="Your simple average takes the channels together; each has its own.",
    ),
    KnownMistake(
        name="weights-swapped",
        edits={_LOOP: "average = (1 - decay) * average + decay * value"},
        sentence="Your exponential average gives the weight decay to the new value; it is that of the old average.",
    ),
    KnownMistake(
        name="old-kept-whole",
        edits={_LOOP: "average = average + (1 - decay) * value"},
        sentence="Your exponential average keeps all of the old one; it is multiplied by decay.",
    ),
    KnownMistake(
        name="before-the-value",
        edits={_LOOP + "\n        averages[t] = average": "averages[t] = average\n        " + _LOOP},
        sentence="Your exponential averages are those from before each value; return those from after it.",
    ),
    KnownMistake(
        name="start-ignored",
        edits={"average = start": "average = 0 * start"},
        sentence="Your exponential average starts at zero; it starts at start.",
    ),
    KnownMistake(
        name="starts-at-first-value",
        edits={"average = start": "average = values[0]"},
        sentence="Your exponential average starts at the first value; it starts at start.",
    ),
    KnownMistake(
        name="start-weights-zero",
        edits={"averages[t] = average\n": "averages[t] = average / (1 - decay ** (t + 1))\n"},
        sentence="Your exponential average is divided by 1 - decay^t, as Adam does for a start at zero: leave it.",
    ),
    KnownMistake(
        name="equal-age",
        edits={_EQUAL: "return 1 - 1 / m"},
        sentence="Your decay gives a new value the weight 1 / m: that leaves 1 / (2 m - 1) of the variance.",
    ),
    KnownMistake(
        name="equal-upside-down",
        edits={_EQUAL: "return (m + 1) / (m - 1) if m > 1 else 1.0"},
        sentence="Your decay is above 1: solve (1 - a) / (1 + a) = 1 / m for a.",
    ),
)
