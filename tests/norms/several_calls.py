"""Several calls of a normaliser: on drawn inputs, and beside its authors' code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref.mistakes.oracles import forward, recurrence
from mabn_ref.mistakes.random_inputs import calls
from tests.strategies import many

TRACES = Path(__file__).parent.parent / "traces"


def run(module: Any, config: Any, xs: Any, dzs: Any, gamma: Any, beta: Any, state: Any) -> tuple[list[Any], Any]:
    found = []
    for x, dz in zip(xs, dzs, strict=True):
        z, cache, state = module.forward(x, gamma, beta, state, config)
        *gradients, state = module.backward(dz, cache, state)
        found.append([z, *gradients])
    return [np.array(values) for values in zip(*found, strict=True)], state


def drawn(seed: int = 0, count: int = 6) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    xs, dzs = rng.standard_normal((2, count, 5, 3))
    return xs, dzs, np.array([1.5, -0.7, 0.6]), np.array([0.5, -1.0, 0.2])


def follow_the_authors(module: Any, part: str = "", **begun: Any) -> None:
    """Step by step, through a recorded sequence; `part` is what the names in the file begin with."""
    name = module.__name__.rpartition(".")[2]
    with np.load(TRACES / f"{name}.npz", allow_pickle=False) as file:
        t = {key.removeprefix(part): file[key] for key in file.files if key.rpartition("/")[0] == part.rstrip("/")}
    config = module.Config(**json.loads(str(t["config"])))
    state = module.init(3, config, dtype=float)._replace(**begun)
    found, state = run(module, config, t["x"], t["dz"], t["gamma"], t["beta"], state)
    ends = {key: t[key] for key in ("chi2", "psi", "v") if key in t}
    pairs = [*zip(found, (t[key] for key in ("z", "dx", "dgamma", "dbeta")), strict=True)]
    for ours, theirs in [*pairs, *((getattr(state, key), value) for key, value in ends.items())]:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())


def follow_the_recurrence(module: Any, settings: dict[str, Any]) -> None:
    """Several calls on random inputs, outputs and what they leave behind, against the plain definition."""
    name = module.__name__.rpartition(".")[2]
    for seed in range(many(5, 125)):
        inputs = calls(module, **settings)(np.random.default_rng(seed))
        for oracle in (forward, recurrence):
            verdict = oracle(name, module, inputs)
            assert verdict.error <= 1e-12, (seed, verdict)
