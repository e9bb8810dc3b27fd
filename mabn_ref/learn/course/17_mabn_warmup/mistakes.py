"""What goes wrong around a warm-up."""

from mabn_ref.learn.exercise import KnownMistake

_WARM = "warm = t < config.warmup"
_USED = "chi2_batch if warm else np.mean(chi2_held, axis=0)"
_R = "np.ones_like(chi) if warm else np.clip(chi / chi_hat, 1 / config.clip, config.clip)"
_HELD = "np.concatenate([state.chi2_window, chi2_batch[None]])[-config.window :]"
_EMA = "config.decay * state.chi2 + (1 - config.decay) * chi2_batch"
_STATE = "State(chi2, chi2_held, state.psi_window, t)"
_PSI = "psi_batch if t < config.warmup else np.mean(psi_held, axis=0)"
_REPLACE = "state._replace(psi_window=psi_held)"

MISTAKES = (
    KnownMistake(name="forward-only", edits={_PSI: "np.mean(psi_held, axis=0)"}, of="mabn-warm-up-forward-only"),
    KnownMistake(
        name="backward-only",
        edits={_USED: "np.mean(chi2_held, axis=0)"},
        sentence="Your forward averages chi^2 during warm-up, while your backward uses each batch's own Psi.",
    ),
    KnownMistake(
        name="no-warm-up",
        edits={_WARM: "warm = False", _PSI: "np.mean(psi_held, axis=0)"},
        sentence="Your layer has no warm-up: while t < warmup, chi and Psi are the batch's own and r is 1.",
    ),
    KnownMistake(
        name="always-warm",
        edits={_WARM: "warm = True", _PSI: "psi_batch"},
        sentence="Your layer never leaves the warm-up: from t = warmup on, chi^2 and Psi are averages.",
    ),
    KnownMistake(
        name="r-in-warm-up",
        edits={_R: "np.clip(chi / chi_hat, 1 / config.clip, config.clip)"},
        sentence="Your r is on during warm-up; it is 1 there, since the exponential average is worth little yet.",
    ),
    KnownMistake(
        name="forward-too-long",
        edits={_WARM: "warm = t <= config.warmup"},
        sentence="Your forward is in warm-up one batch too long: at t = warmup it is over.",
    ),
    KnownMistake(
        name="backward-too-long",
        edits={_PSI: "psi_batch if t <= config.warmup else np.mean(psi_held, axis=0)"},
        sentence="Your backward is in warm-up one batch too long: at t = warmup it is over.",
    ),
    KnownMistake(
        name="counted-from-zero",
        edits={
            "t = state.iteration + 1": "t = state.iteration",
            _STATE: "State(chi2, chi2_held, state.psi_window, t + 1)",
        },
        sentence="Your forward counts batches from 0; the first is number 1, and so this one state.iteration + 1.",
    ),
    KnownMistake(
        name="not-counted",
        edits={_STATE: "State(chi2, chi2_held, state.psi_window, state.iteration)"},
        sentence="Your forward does not count: state.iteration is to be one more afterwards, or warm-up never ends.",
    ),
    KnownMistake(
        name="counted-twice",
        edits={_REPLACE: "state._replace(psi_window=psi_held, iteration=state.iteration + 1)"},
        sentence="Your backward counts the batch once more; forward has counted it.",
    ),
    KnownMistake(
        name="phase-from-state",
        edits={_PSI: "psi_batch if state.iteration < config.warmup else np.mean(psi_held, axis=0)"},
        sentence="Your backward reads the phase from the state, which may be ahead by now; the cache knows its own.",
    ),
    KnownMistake(
        name="chi-window-waits",
        edits={_HELD: f"{_HELD} if t >= config.warmup else state.chi2_window"},
        sentence="Your window of chi^2 waits for the end of warm-up; it fills from the first batch on.",
    ),
    KnownMistake(
        name="psi-window-waits",
        edits={_REPLACE: "state._replace(psi_window=state.psi_window if t < config.warmup else psi_held)"},
        sentence="Your window of Psi waits for the end of warm-up; it fills from the first batch on.",
    ),
    KnownMistake(
        name="ema-waits",
        edits={_EMA: f"state.chi2 if warm else {_EMA}"},
        sentence="Your exponential average waits for the end of warm-up; it is fed from the first batch on.",
    ),
)
