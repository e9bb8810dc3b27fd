"""The rows of a comparison: the paper's pairing of normalisers with weight centralisation, and the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mabn_ref.train.config import RunConfig

__all__ = ["DECAY", "DEFAULT_ROWS", "ROWS", "is_control", "plan", "recipe"]

ROWS: dict[str, dict[str, Any]] = {
    "bn-32": {"norm": "bn", "norm_batch": 32},
    "bn-2": {"norm": "bn", "norm_batch": 2},
    "brn-2": {"norm": "brn", "norm_batch": 2},
    "modified-bn-2": {"norm": "modified-bn", "norm_batch": 2},
    "mabn-2": {"norm": "mabn", "norm_batch": 2},
    "bn-32-wc": {"norm": "bn", "norm_batch": 32, "centralized": True},
    "bn-2-wc": {"norm": "bn", "norm_batch": 2, "centralized": True},
    "brn-2-wc": {"norm": "brn", "norm_batch": 2, "centralized": True},
    "gn": {"norm": "gn", "norm_batch": 1},
    "ln": {"norm": "ln", "norm_batch": 1},
    "in": {"norm": "in", "norm_batch": 1},
    "eval-norm-2": {"norm": "eval-norm", "norm_batch": 2},
    "eval-norm-2-est": {"norm": "eval-norm", "norm_batch": 2, "estimated": True},
    "online": {"norm": "online", "norm_batch": 1},
    "sync-bn-32": {"norm": "sync-bn", "norm_batch": 32},
    "bn-32-ws": {"norm": "bn", "norm_batch": 32, "standardized": True},
    "bn-2-ws": {"norm": "bn", "norm_batch": 2, "standardized": True},
}
"""What each row sets; `recipe` fills in the rest."""

DEFAULT_ROWS = ("bn-32", "bn-2", "brn-2", "mabn-2", "bn-32-wc", "bn-2-wc")

_CENTRALIZED = {"bn": False, "brn": False, "modified-bn": True, "mabn": True, "sync-bn": False}
DECAY = {
    "bn": 0.98,
    "brn": 0.99,
    "modified-bn": 0.98,
    "mabn": 0.98,
    "sync-bn": 0.98,
    "online": 0.999,
    "eval-norm": 0.98,
}
"""Weight of the old value in the moving averages of each normaliser.

BN takes MABN's. The paper's 0.9 averages over some ten normalisation batches, few samples at |B| = 2, and the noise
of that would be no fault of small batches. It changes nothing in BN's training, and little in its test error
(``mabn-ref paper equation6``); in BRN, which trains with the averages, it costs several points
(``mabn-ref paper search``).
"""


def recipe(norm: str, **settings: Any) -> RunConfig:
    """Return a run of `norm` with the paper's pairing and this project's decay, unless `settings` say otherwise.

    Examples
    --------
    >>> recipe("brn", epochs=5).decay, recipe("mabn").centralized
    (0.99, True)
    """
    modified = settings.get("form") == "modified"
    paired: dict[str, Any] = {"centralized": _CENTRALIZED.get(norm, modified), "decay": DECAY.get(norm, 0.98)}
    return RunConfig(norm=norm, **paired | settings)


def is_control(config: RunConfig) -> bool:
    """Tell whether the weights are not treated as the paper pairs it with the normaliser."""
    paired = config.form == "modified" if config.norm == "moving" else _CENTRALIZED.get(config.norm, False)
    return config.centralized != paired or config.standardized


def plan(names: Sequence[str], seeds: Sequence[int], windows: Sequence[int] = (), **settings: Any) -> list[RunConfig]:
    """Return the runs of a comparison, one seed after the other, so that an early end leaves whole pairs.

    Parameters
    ----------
    names : sequence of str
        Keys of `ROWS`.
    seeds : sequence of int
        Each row runs with each of them.
    windows : sequence of int
        Windows m of further MABN rows; one gradient batch is the row "mabn-2" itself.
    **settings
        Fields of `RunConfig` that all rows share.

    Returns
    -------
    list of RunConfig
        No two alike.

    Examples
    --------
    >>> [(run.norm, run.window, run.seed) for run in plan(["bn-2", "mabn-2"], seeds=[0], windows=[16, 64])]
    [('bn', None, 0), ('mabn', None, 0), ('mabn', 64, 0)]
    """
    rows = [ROWS[name] for name in names] + [{**ROWS["mabn-2"], "window": window} for window in windows]
    runs: dict[RunConfig, None] = {}
    for seed in seeds:
        for row in rows:
            config = recipe(**row, **settings, seed=seed)
            if config.window == config.micro_batches:
                config = recipe(**{**row, "window": None}, **settings, seed=seed)
            runs[config] = None
    return list(runs)
