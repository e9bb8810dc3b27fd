"""What goes wrong with moving statistics and inference."""

from mabn_ref.learn.exercise import KnownMistake

_START = "State(mean=np.zeros(channels), var=np.ones(channels))"
_MEAN = "mean = decay * state.mean + (1 - decay) * mu"
_VAR = "return State(mean, decay * state.var + (1 - decay) * var)"
_OF_BATCH = "var = np.mean((x - mu) ** 2, axis=axes)"
_Y = "y = (x - state.mean) / np.sqrt(state.var + eps)"

MISTAKES = (
    KnownMistake(
        name="variance-starts-at-zero",
        edits={_START: "State(mean=np.zeros(channels), var=np.zeros(channels))"},
        of="bn-variance-starts-at-zero",
    ),
    KnownMistake(
        name="mean-starts-at-one",
        edits={_START: "State(mean=np.ones(channels), var=np.ones(channels))"},
        sentence="Your moving mean starts at 1; it starts at 0, and the variance at 1.",
    ),
    KnownMistake(
        name="weights-swapped",
        edits={
            _MEAN: "mean = (1 - decay) * state.mean + decay * mu",
            _VAR: "return State(mean, (1 - decay) * state.var + decay * var)",
        },
        of="bn-weights-swapped",
    ),
    KnownMistake(
        name="not-averaged",
        edits={_MEAN: "mean = mu", _VAR: "return State(mean, var)"},
        sentence="Your update returns the statistics of the batch itself; keep the part decay of the old ones.",
    ),
    KnownMistake(
        name="old-not-weighted",
        edits={
            _MEAN: "mean = state.mean + (1 - decay) * mu",
            _VAR: "return State(mean, state.var + (1 - decay) * var)",
        },
        sentence="Your update keeps all of the old value and adds to it; the old value is multiplied by decay.",
    ),
    KnownMistake(
        name="values-less-one",
        edits={_OF_BATCH: "var = np.var(x, axis=axes, ddof=1)"},
        sentence="Your moving variance averages variances divided by M - 1; here it is divided by M, as in training.",
    ),
    KnownMistake(
        name="running-var-over-samples",
        edits={_OF_BATCH: "var = np.var(x, axis=axes) * len(x) / (len(x) - 1)"},
        of="bn-running-var-over-samples",
    ),
    KnownMistake(
        name="deviations-averaged",
        edits={_VAR: "return State(mean, (decay * np.sqrt(state.var) + (1 - decay) * np.sqrt(var)) ** 2)"},
        sentence="Your update averages standard deviations; equation (12) averages variances.",
    ),
    KnownMistake(
        name="deviation-held",
        edits={_VAR: "return State(mean, decay * state.var + (1 - decay) * np.sqrt(var))"},
        sentence="Your update takes the standard deviation of the batch into the moving variance; take the variance.",
    ),
    KnownMistake(
        name="about-the-moving-mean",
        edits={_OF_BATCH: "var = np.mean((x - state.mean) ** 2, axis=axes)"},
        sentence="Your variance of the batch is taken about the moving mean; take it about the mean of the batch.",
    ),
    KnownMistake(
        name="samples-alone",
        edits={"axes = tuple(range(x.ndim - 1))": "axes = 0"},
        of="bn-positions-apart",
    ),
    KnownMistake(
        name="infer-batch-statistics",
        edits={_Y: "axes = tuple(range(x.ndim - 1))\n    y = (x - x.mean(axes)) / np.sqrt(x.var(axes) + eps)"},
        of="bn-infer-batch-statistics",
    ),
    KnownMistake(
        name="infer-no-eps",
        edits={_Y: "y = (x - state.mean) / np.sqrt(state.var)"},
        of="bn-infer-no-eps",
    ),
    KnownMistake(
        name="infer-eps-outside",
        edits={_Y: "y = (x - state.mean) / (np.sqrt(state.var) + eps)"},
        sentence="Your inference adds eps to the root; it belongs inside, as in training.",
    ),
    KnownMistake(
        name="infer-no-root",
        edits={_Y: "y = (x - state.mean) / (state.var + eps)"},
        sentence="Your inference divides by the variance; divide by its root.",
    ),
    KnownMistake(
        name="infer-not-centred",
        edits={_Y: "y = x / np.sqrt(state.var + eps)"},
        sentence="Your inference does not subtract the moving mean.",
    ),
    KnownMistake(
        name="infer-no-affine",
        edits={"return gamma * y + beta": "return y"},
        sentence="Your inference returns y: gamma and beta are still to come.",
    ),
)
