"""What goes wrong in the forward pass of Batch Renormalization."""

from mabn_ref.learn.exercise import KnownMistake

_SIGMA = "np.sqrt(np.mean(centred**2, axis=axes) + eps)"
_R = "np.clip(sigma / state.sigma, 1 / r_max, r_max)"
_D = "np.clip((mu - state.mean) / state.sigma, -d_max, d_max)"
_Z = "gamma * (r * y + d) + beta"
_MEAN = "decay * state.mean + (1 - decay) * mu"
_MOVING = "decay * state.sigma + (1 - decay) * sigma"
_CACHE = "Cache(y, sigma, r, d, gamma)"

MISTAKES = (
    KnownMistake(
        name="r-of-variance",
        edits={_R: "np.clip((sigma**2 - eps) / state.sigma, 1 / r_max, r_max)"},
        of="brn-r-of-variance",
    ),
    KnownMistake(
        name="read-after-update",
        edits={
            _R: f"np.clip(sigma / ({_MOVING}), 1 / r_max, r_max)",
            _D: f"np.clip((mu - ({_MEAN})) / ({_MOVING}), -d_max, d_max)",
        },
        of="brn-read-after-update",
    ),
    KnownMistake(
        name="d-over-batch-sigma",
        edits={_D: "np.clip((mu - state.mean) / sigma, -d_max, d_max)"},
        of="brn-d-over-batch-sigma",
    ),
    KnownMistake(
        name="clip-from-above-only",
        edits={
            _R: "np.minimum(sigma / state.sigma, r_max)",
            _D: "np.minimum((mu - state.mean) / state.sigma, d_max)",
        },
        of="brn-clip-from-above-only",
    ),
    KnownMistake(
        name="eps-twice",
        edits={
            _R: "np.clip(sigma / np.sqrt(state.sigma**2 + eps), 1 / r_max, r_max)",
            _D: "np.clip((mu - state.mean) / np.sqrt(state.sigma**2 + eps), -d_max, d_max)",
        },
        of="brn-eps-twice",
    ),
    KnownMistake(
        name="not-clipped",
        edits={_R: "sigma / state.sigma", _D: "(mu - state.mean) / state.sigma"},
        sentence="Your r and d are not clipped: equation (14) keeps them within 1/r_max, r_max and -d_max, d_max.",
    ),
    KnownMistake(
        name="r-upside-down",
        edits={_R: "np.clip(state.sigma / sigma, 1 / r_max, r_max)"},
        sentence="Your r is upside down: it multiplies y, so that it is the batch's sigma over the moving one.",
    ),
    KnownMistake(
        name="d-other-sign",
        edits={_D: "np.clip((state.mean - mu) / state.sigma, -d_max, d_max)"},
        sentence="Your d has the other sign: it is mu less the moving mean.",
    ),
    KnownMistake(
        name="d-not-divided",
        edits={_D: "np.clip(mu - state.mean, -d_max, d_max)"},
        sentence="Your d is in units of x; equation (14) divides it by the moving sigma.",
    ),
    KnownMistake(
        name="d-multiplied-by-r",
        edits={_Z: "gamma * r * (y + d) + beta"},
        sentence="Your z multiplies d by r as well: equation (14) has r * y + d.",
    ),
    KnownMistake(
        name="d-after-gamma",
        edits={_Z: "gamma * r * y + d + beta"},
        sentence="Your z adds d after gamma: equation (14) corrects y first, and gamma multiplies r * y + d.",
    ),
    KnownMistake(
        name="no-corrections",
        edits={_Z: "gamma * y + beta"},
        sentence="Your z is that of batch normalisation: r and d are computed, but not used in it.",
    ),
    KnownMistake(
        name="no-eps",
        edits={_SIGMA: "np.sqrt(np.mean(centred**2, axis=axes))"},
        of="bn-no-eps",
    ),
    KnownMistake(
        name="weights-swapped",
        edits={
            _MEAN: "(1 - decay) * state.mean + decay * mu",
            _MOVING: "(1 - decay) * state.sigma + decay * sigma",
        },
        of="bn-weights-swapped",
    ),
    KnownMistake(
        name="variance-averaged",
        edits={_MOVING: "decay * state.sigma + (1 - decay) * sigma**2"},
        sentence="Your moving sigma is fed the batch's variance; feed it sigma, its root.",
    ),
    KnownMistake(
        name="cache-of-corrected",
        edits={_CACHE: "Cache(r * y + d, sigma, r, d, gamma)"},
        sentence="Your cache holds r * y + d as its y; backward needs the value from before r and d.",
    ),
    KnownMistake(
        name="cache-of-moving-sigma",
        edits={_CACHE: "Cache(y, state.sigma, r, d, gamma)"},
        sentence="Your cache holds the moving sigma; backward needs the batch's, by which y was divided.",
    ),
)
