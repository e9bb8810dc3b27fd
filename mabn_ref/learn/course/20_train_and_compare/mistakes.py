"""What goes wrong in training and in comparing."""

from mabn_ref.learn.exercise import KnownMistake

_CALL = "loss, grads, state = gradients(params, state, batch)"
_VELOCITY = "momentum * velocity[name] + grads[name]"
_PARAMS = "params[name] - lr * velocity[name]"
_D = "run(row, seed) - run(base, seed)"
_HALF = "t * np.std(d, ddof=1) / np.sqrt(len(seeds))"

MISTAKES = (
    KnownMistake(
        name="state-left-behind",
        edits={_CALL: "loss, grads, _ = gradients(params, state, batch)"},
        sentence="Every batch of yours starts from the first state: hand on the one that gradients returns.",
    ),
    KnownMistake(
        name="gradients-at-the-start",
        edits={
            "losses = []": "losses, first = [], params",
            _CALL: "loss, grads, state = gradients(first, state, batch)",
        },
        sentence="Your gradients are all taken at the first parameters; take them where the last step has led.",
    ),
    KnownMistake(
        name="velocity-averaged",
        edits={_VELOCITY: "momentum * velocity[name] + (1 - momentum) * grads[name]"},
        of="sgd-velocity-averaged",
    ),
    KnownMistake(
        name="no-velocity",
        edits={_VELOCITY: "0 * velocity[name] + grads[name]"},
        sentence="Your steps go along the last gradient alone: the velocity forgets all earlier ones.",
    ),
    KnownMistake(
        name="velocity-never-fades",
        edits={_VELOCITY: "velocity[name] + grads[name]"},
        sentence="Your velocity is the sum of all gradients: momentum multiplies the old velocity.",
    ),
    KnownMistake(
        name="momentum-on-both",
        edits={_VELOCITY: "momentum * (velocity[name] + grads[name])"},
        sentence="Your momentum multiplies the new gradient as well; it is the weight of the old velocity alone.",
    ),
    KnownMistake(
        name="uphill",
        edits={_PARAMS: "params[name] + lr * velocity[name]"},
        sentence="Your parameters go along the gradient, and the loss goes up: subtract the step.",
    ),
    KnownMistake(
        name="velocity-one-late",
        edits={
            f"velocity = {{name: {_VELOCITY} for name in params}}": "old, velocity = velocity, "
            "{name: momentum * velocity[name] + grads[name] for name in params}",
            _PARAMS: "params[name] - lr * old[name]",
        },
        sentence="Your step goes along the velocity from before this gradient: take the gradient in first.",
    ),
    KnownMistake(
        name="loss-after-the-step",
        edits={"losses.append(loss)": "losses.append(gradients(params, state, batch)[0])"},
        sentence="Your losses are from after each step; keep what gradients returned before it.",
    ),
    KnownMistake(
        name="base-of-one-seed",
        edits={_D: "run(row, seed) - run(base, seeds[0])"},
        sentence="You compare every seed with the base's run of the first one; each seed has its own pair.",
    ),
    KnownMistake(
        name="other-way-round",
        edits={_D: "run(base, seed) - run(row, seed)"},
        sentence="Your differences are base less row: a row with more errors is to come out positive.",
    ),
    KnownMistake(
        name="relative",
        edits={_D: "run(row, seed) / run(base, seed) - 1"},
        sentence="Your differences are relative to the base; take row less base as it is.",
    ),
    KnownMistake(
        name="not-paired",
        edits={
            _HALF: "t * np.sqrt((np.var([run(row, i) for i in seeds], ddof=1)"
            " + np.var([run(base, i) for i in seeds], ddof=1)) / len(seeds))"
        },
        sentence="Your interval adds the variances of the two rows; take that of the differences, seed by seed.",
    ),
    KnownMistake(
        name="spread-over-n",
        edits={_HALF: "t * np.std(d) / np.sqrt(len(seeds))"},
        sentence="Your s divides by n, np.std's default; with few seeds n - 1 matters: ddof=1.",
    ),
    KnownMistake(
        name="spread-of-one-run",
        edits={_HALF: "t * np.std(d, ddof=1)"},
        sentence="Your interval is that of a single run; the mean of n runs varies less, by the root of n.",
    ),
    KnownMistake(
        name="no-quantile",
        edits={_HALF: "np.std(d, ddof=1) / np.sqrt(len(seeds))"},
        sentence="Your interval lacks t: it is one standard error wide, and too often misses.",
    ),
    KnownMistake(
        name="whole-width",
        edits={_HALF: "2 * t * np.std(d, ddof=1) / np.sqrt(len(seeds))"},
        sentence="Your interval is the whole width; half of it is asked for.",
    ),
)
