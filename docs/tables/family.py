"""The whole family in two tables: what the code can say is asked of it, and the rest is here, by hand."""

import dataclasses

import numpy as np

from mabn_ref import gradcheck
from mabn_ref.norms import NORMS, sync_batch_norm

# what shares a statistic; forward divides by; backward subtracts dy; statistics of a set, forward and backward; users
BY_HAND = {
    "bn": ("column", "its own σ, mean off", "g + y Ψ", "2 + 2", "convolutional networks"),
    "brn": ("column", "the same, then r and d", "g + y Ψ, r and d constant", "2 + 2", "reinforcement learning"),
    "modified-bn": ("column", "its own χ", "y Ψ", "1 + 1", "a step on the way to MABN"),
    "mabn": ("columns of m batches", "the root mean χ², then r", "y times the mean Ψ", "1 + 1", "research"),
    "gn": ("group of columns in a sample", "its own σ, mean off", "g + y Ψ", "2 + 2", "detection, diffusion"),
    "ln": ("sample, or row", "its own σ, mean off", "g + y Ψ", "2 + 2", "Transformers"),
    "in": ("column in a sample", "its own σ, mean off", "g + y Ψ", "2 + 2", "style transfer"),
    "moving": (
        "columns of batches",
        "averages to choose from",
        "averages to choose from",
        "2 + 2",
        "the paper's Table 4",
    ),
    "sync-bn": ("column over ranks", "its own σ, mean off", "g + y Ψ", "2 + 2", "training on many devices"),
    "online": ("columns of samples", "the average before", "u and v, running sums", "2 + 2", "research"),
    "eval-norm": ("column", "its own σ, mean off", "g + y Ψ", "2 + 2", "research"),
    "frozen-bn": ("nothing", "a constant σ, mean off", "nothing", "0 + 0", "fine-tuned detectors"),
    "rms": ("row", "its own χ", "y Ψ", "1 + 1", "language models"),
    "frn": ("column in a sample", "its own χ", "y Ψ", "1 + 1", "Bayesian neural networks"),
    "powernorm": ("columns of batches", "the root average χ² before", "y times a share of v", "1 + 1", "research"),
    "un": ("columns of m batches", "the geometric mean χ", "y times an average of mean Ψ", "1 + 1", "research"),
}
COUNTERS = {"iteration", "backward_iteration"}


def module_and_config(name):
    """A normaliser, with settings under which two batches reach what makes it what it is."""
    norm = NORMS[name]
    settings = {**norm.settings, **norm.example}
    if name == "moving":
        settings |= {"forward": "sma", "backward": "sma", "window": 3}
    shares = any(field.name == "norm_batch" for field in dataclasses.fields(norm.module.Config))
    if shares and norm.module is not sync_batch_norm:
        settings |= {"norm_batch": 4}
    return norm.module, norm.module.Config(**settings)


def is_derivative(name):
    """Whether the third call's backward pass is the derivative of that call."""
    module, config = module_and_config(name)
    rng, one, zero = np.random.default_rng(0), np.ones(4), np.zeros(4)
    state = module.init(4, config, dtype=float)
    for _ in range(2):
        x, dz = 2 * rng.standard_normal((2, 4, 3, 4))
        _, cache, state = module.forward(x, one, zero, state, config)
        *_, state = module.backward(dz, cache, state)
    _, _, after = module.forward(x, one, zero, state, config)

    def forward(x, gamma, beta):
        return module.forward(x, gamma, beta, state, config)[:2]

    def backward(dz, cache):
        return module.backward(dz, cache, after)[:3]

    return gradcheck.check(forward, backward, (2 * rng.standard_normal((4, 3, 4)), one, zero)).verdict == "ok"


def is_affine(name):
    """Whether inference is one map per channel, as it is used."""
    module, config = module_and_config(name)
    try:
        module.affine(np.ones(4), np.zeros(4), module.init(4, config, dtype=float), config)
    except (AttributeError, ValueError):
        return False
    return True


def state_of(name):
    """What outlives a call."""
    names = [f"``{field}``" for field in NORMS[name].module.State._fields if field not in COUNTERS]
    return ", ".join(names) or "nothing"


def table(header, rows):
    print(".. list-table::\n   :header-rows: 1\n")
    for row in [header, *rows]:
        print("   * - " + "\n     - ".join(row))
    print()


if BY_HAND.keys() != NORMS.keys():
    raise ValueError(f"docs/tables/family.py has no line, or one too many, for {BY_HAND.keys() ^ NORMS.keys()}")
titles = {name: f"`{norm.title} <{norm.module.__name__}>`" for name, norm in NORMS.items()}
titles = {name: f":mod:{title}" for name, title in titles.items()}
table(
    ("normaliser", "what shares a statistic", "forward divides by", "backward subtracts"),
    [(titles[name], *by_hand[:3]) for name, by_hand in BY_HAND.items()],
)
yes = {True: "yes", False: "no"}
table(
    ("normaliser", "state", "affine at inference", "backward is forward's derivative", "statistics", "used today in"),
    [
        (titles[n], state_of(n), yes[is_affine(n)], yes[is_derivative(n)], *by_hand[3:])
        for n, by_hand in BY_HAND.items()
    ],
)
