"""The scenarios with their right numbers as files, for languages that cannot call Python.

The numbers are computed with 50 digits and rounded once, so that they are the same on every machine, to the last bit.
So are the inputs, which have 11 significant bits and are exact in float32. The page "Test vectors" of the docs
describes the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref import __version__, storage
from mabn_ref.arrays import Array
from mabn_ref.check.observe import config_of
from mabn_ref.check.scenarios import CHANNELS, MODULES, Scenario, inputs, parameters, scenarios
from mabn_ref.gradcheck.exact import DIGITS, exact, to_float
from mabn_ref.norms import mabn_variants

FORMAT, VERSION = "mabn_ref vectors", 1
INDEX = "vectors.json"
SHIPPED = Path(__file__).with_name("small_vectors")
"""The small set, which comes with the package."""

BITS = 11
"""Significant bits of the inputs: few enough that the rounding of the drawing functions never shows."""

_SMALL = {
    "bn": {"start": 8, "several in a call": 3, "rank 4": 3, "|B| = 2": 6},
    "brn": {"start": 8, "ramps": 21, "several in a call": 3},
    "modified-bn": {"start": 8, "several in a call": 3},
    "mabn": {"start": 8, "small eps": 12, "several in a call": 3},
}
"""The scenarios of the small set, and how many of their steps."""
NORMS = tuple(_SMALL)
"""Normalisers with vectors: those that use batches."""


def full_set(norms: Sequence[str] = NORMS) -> list[tuple[str, Scenario]]:
    """Return the scenarios of `mabn_ref.check.check`, without those in float32, which have the same inputs."""
    return [
        (norm, _placed(scenario, (3,)))
        for norm in norms
        for scenario in scenarios(norm)
        if scenario.recorded and scenario.dtype == "float64"
    ]


def small_set(norms: Sequence[str] = NORMS) -> list[tuple[str, Scenario]]:
    """Return a few scenarios, shortened: a set that is small enough for a package.

    Examples
    --------
    >>> [name(norm, scenario) for norm, scenario in small_set(["modified-bn"])]
    ['modified-bn-start', 'modified-bn-several-in-a-call']
    """
    named = {norm: {scenario.name: scenario for scenario in scenarios(norm, short=True)} for norm in norms}
    return [
        (norm, replace(_placed(named[norm][wanted], (2,)), steps=steps))
        for norm in norms
        for wanted, steps in _SMALL[norm].items()
    ]


def _placed(scenario: Scenario, space: tuple[int, ...]) -> Scenario:
    """Give it axes between N and C: with only two values in a batch, dx would be nothing but rounding."""
    return replace(scenario, space=space) if scenario.space is None else scenario


def name(norm: str, scenario: Scenario) -> str:
    """Return the name of a scenario's file, without its ending."""
    return f"{norm}-" + re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")


def coarse(a: Array) -> Array:
    """Round to `BITS` significant bits.

    Examples
    --------
    >>> coarse(np.array([0.1, 1.4, -3000.4])).tolist()
    [0.0999755859375, 1.400390625, -3000.0]
    """
    fraction, power = np.frexp(a)
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, BITS)), power - BITS))


def contents(norm: str, scenario: Scenario) -> dict[str, Array]:
    """Return the arrays of a scenario's file, all float64: the inputs and the right results.

    Returns
    -------
    dict of str to array
        "gamma", "beta", (C,); "x", "dz", "z", "dx", (T, N, ..., C), of T calls; "dgamma", "dbeta", (T, C);
        "initial.NAME" and "state.NAME", (T, ...), a moving statistic before the first and after every call;
        "infer.x", "infer.z", the inference after the last.

    Examples
    --------
    >>> found = contents("bn", Scenario(name="", norm_batch=2, steps=3, space=()))
    >>> {name: found[name].shape for name in ("x", "dgamma", "state.mean", "infer.z")}
    {'x': (3, 2, 5), 'dgamma': (3, 5), 'state.mean': (3, 5), 'infer.z': (7, 5)}
    """
    if scenario.space is None:
        raise ValueError("space is None, expected the axes between N and C")
    module, config = MODULES[norm], config_of(norm, scenario)
    gamma, beta = map(coarse, parameters())
    state = module.init(CHANNELS, config, dtype=np.float64)
    state = type(state)(*(value if isinstance(value, int) else exact(value) for value in state))
    found: dict[str, Any] = {"gamma": gamma, "beta": beta}
    found |= {f"initial.{key}": to_float(value) for key, value in _recorded(state).items()}
    rows: dict[str, list[Array]] = {}
    for step, (x, dz) in enumerate(inputs(scenario, scenario.space), 1):
        x = coarse(x)
        if dz is None:
            found["infer.x"] = x
            found["infer.z"] = to_float(module.infer(exact(x), exact(gamma), exact(beta), state, config))
            break
        dz = coarse(dz)
        z, cache, state = module.forward(exact(x), exact(gamma), exact(beta), state, config)
        dx, dgamma, dbeta, state = module.backward(exact(dz), cache, state)
        row = {"x": x, "dz": dz, "z": z, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        for key, value in (row | {f"state.{key}": value for key, value in _recorded(state).items()}).items():
            rows.setdefault(key, []).append(to_float(value))
        if scenario.age and step == scenario.age_after:
            state = state._replace(iteration=scenario.age)
    return found | {key: np.stack(values) for key, values in rows.items()}


def _recorded(state: Any) -> dict[str, Any]:
    """The fields of a state that belong to the method; a count with a default is our bookkeeping."""
    return {key: value for key, value in state._asdict().items() if key not in state._field_defaults}


def describe(norm: str, scenario: Scenario, arrays: dict[str, Array], digest: str) -> dict[str, Any]:
    """Return what the index says of a file."""
    config = config_of(norm, scenario)
    if norm == "mabn":  # the files say what the paper leaves open, too
        config = mabn_variants.Config(**vars(config))
    told = {"after_call": scenario.age_after, "iteration": scenario.age} if scenario.age else None
    return {
        "file": f"{name(norm, scenario)}.npz",
        "sha256": digest,
        "norm": norm,
        "scenario": scenario.name,
        "config": asdict(config),
        "calls": scenario.steps,
        "norm_batches_per_call": scenario.groups,
        "set_iteration": told,
        "arrays": {key: list(value.shape) for key, value in arrays.items()},
    }


def packed(arrays: dict[str, Array]) -> bytes:
    """Return an .npz file, always of the same bytes: not compressed, its members of one date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(value, "<f8", order="C"), (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def write(folder: Path, chosen: Sequence[tuple[str, Scenario]]) -> Iterator[tuple[Path, int]]:
    """Write a file for every scenario, then the index, and yield each with its size in bytes.

    The folder is made if it is not there; `chosen` is what `small_set` or `full_set` returns. Files with the same
    names are replaced, each completely or not at all. The old index is removed first: it would be of other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    entries = []
    for norm, scenario in chosen:
        arrays = contents(norm, scenario)
        data = packed(arrays)
        entries.append(describe(norm, scenario, arrays, hashlib.sha256(data).hexdigest()))
        path = folder / entries[-1]["file"]
        storage.write(path, data)
        yield path, len(data)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"mabn_ref {__version__}",
        "arithmetic": f"{DIGITS} decimal digits, rounded once to float64; inputs of {BITS} significant bits",
        "files": entries,
    }
    text = json.dumps(index, indent=1, allow_nan=False) + "\n"
    storage.write(folder / INDEX, text.encode())
    yield folder / INDEX, len(text)
