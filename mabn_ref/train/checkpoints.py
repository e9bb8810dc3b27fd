"""Checkpoints: a run's `Progress` as one ``.npz`` file, from which it goes on bit for bit.

The arrays are ``params/03/w``, ``velocity/03/w``, ``states/04/chi2`` and so on, by layer number and name, and
``order``. ``meta`` is JSON: the format's version, the configuration, the generator's state, the position and the
history. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref import atomic
from mabn_ref.arrays import namespace
from mabn_ref.train.config import LATER_FIELDS, RunConfig
from mabn_ref.train.devices import to_device, to_host
from mabn_ref.train.loop import Epoch, Progress

_FORMAT = 1
_META = ("rng", "epoch", "step", "loss_sum", "wrong", "seconds", "history")


class CheckpointError(ValueError):
    """A file that is no checkpoint of this run; the message names the file and what differs."""


def save(path: Path, config: RunConfig, progress: Progress) -> None:
    """Write a checkpoint atomically: `path` holds the old one or the new one, whole, whatever interrupts this.

    Arrays of a device are copied to the host.
    """
    progress = to_host(progress)
    values = progress._asdict() | {"history": [list(line.figures().values()) for line in progress.history]}
    meta = {"format": _FORMAT, "config": config.as_dict()} | {name: values[name] for name in _META}
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in _arrays(progress)}
    assert not any(value.dtype.hasobject for value in arrays.values())
    arrays["meta"] = np.array(json.dumps(meta))
    atomic.write(path, lambda file: np.savez(file, **arrays))


def load(path: Path, config: RunConfig, like: Progress) -> Progress:
    """Read a checkpoint of the run `config`.

    `like` is its start, which says what names, shapes and dtypes to expect, and on which device.

    A `CheckpointError` says that the file is damaged, not a checkpoint, or of another configuration or version; an
    `OSError` that there is none, or that it cannot be read.
    """
    found = _read(path)
    meta = _meta(path, found)
    theirs = LATER_FIELDS | meta["config"]
    differing = [
        f"{name} is {theirs.get(name)!r} there and {value!r} here"
        for name, value in config.as_dict().items()
        if name not in theirs or theirs[name] != value
    ]
    if differing:
        raise CheckpointError(f"{path} is a checkpoint of another run: {'; '.join(differing)}")
    expected = dict(_arrays(to_host(like)))
    # Files of version 0.1 lack the counts with a default, which are only ever compared with those of caches to come.
    found = {
        f"states/{number:02d}/{name}": np.asarray(value)
        for number, state in enumerate(like.states)
        for name, value in getattr(state, "_field_defaults", {}).items()
    } | found
    if found.keys() != expected.keys():
        name = min(found.keys() ^ expected.keys())
        raise CheckpointError(f"{path} {'lacks' if name in expected else 'has an unknown'} array {name}")
    for name, value in expected.items():
        want, have = np.asarray(value), found[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            raise CheckpointError(
                f"{path}: {name} is {have.dtype} of shape {have.shape}, expected {want.dtype} of shape {want.shape}"
            )
    _check_position(path, meta, found["order"], config, len(like.order))
    history, xp = tuple(Epoch(*line) for line in meta["history"]), namespace(next(iter(like.params[0].values())))
    fields: dict[str, Any] = {name: meta[name] for name in _META} | {"history": history}
    return like._replace(
        params=to_device(_restore("params", like.params, found), xp),
        velocity=to_device(_restore("velocity", like.velocity, found), xp),
        states=to_device(_restore("states", like.states, found), xp),
        order=found["order"],
        **fields,
    )


def _arrays(progress: Progress) -> Iterator[tuple[str, Any]]:
    """Every array of `progress` and every number of its states, by name."""
    yield "order", progress.order
    for group in ("params", "velocity", "states"):
        for number, layer in enumerate(getattr(progress, group)):
            for name, value in _fields(layer).items():
                yield f"{group}/{number:02d}/{name}", value


def _fields(layer: Any) -> dict[str, Any]:
    """The named values of a layer: a dictionary's, a state's, or none."""
    if layer is None:
        return {}
    return dict(layer) if isinstance(layer, dict) else layer._asdict()


def _restore(group: str, like: list[Any], found: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
    """Layers of the types of `like` with the values that were found; numbers come back as numbers."""
    restored: list[Any] = []
    for number, layer in enumerate(like):
        values: dict[str, Any] = {}
        for name, value in _fields(layer).items():
            array = found[f"{group}/{number:02d}/{name}"]
            values[name] = array.item() if isinstance(value, int) else array
        if isinstance(layer, dict):
            restored.append(values)
        else:
            restored.append(None if layer is None else layer._replace(**values))
    return restored


def _read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Every array of the file."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise CheckpointError(f"{path} is no checkpoint: it is no .npz archive")
        file.seek(0)
        # A damaged archive raises a dozen different errors, by where the damage is; all of them mean the same.
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except Exception as error:
            raise CheckpointError(f"{path} is no checkpoint, or a damaged one: {error}") from error


def _meta(path: Path, found: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Take ``meta`` out of the arrays, refusing what no checkpoint of this version has."""
    try:
        meta: dict[str, Any] = json.loads(found.pop("meta").item())
        if meta["format"] == _FORMAT and isinstance(meta["config"], dict) and meta.keys() >= set(_META):
            return meta
        reason = f"its format is {meta['format']}, expected {_FORMAT}"
    except (KeyError, TypeError, ValueError, AttributeError):
        reason = "it has no description of a run"
    raise CheckpointError(f"{path} is no checkpoint of this version of mabn_ref: {reason}")


def _check_position(path: Path, meta: dict[str, Any], order: Any, config: RunConfig, images: int) -> None:
    """Refuse a position, an order or a state of the generator that no run of `config` ever has."""
    steps = images // config.gradient_batch
    try:
        np.random.PCG64().state = meta["rng"]
        history = [Epoch(*line) for line in meta["history"]]
        sound = (
            type(meta["epoch"]) is int
            and type(meta["step"]) is int
            and 0 <= meta["epoch"] <= config.epochs
            and 0 <= meta["step"] <= steps
            and [line.epoch for line in history] == list(range(1, meta["epoch"] + 1))
            and all(type(meta[name]) in (int, float) for name in ("loss_sum", "wrong", "seconds"))
            and np.array_equal(np.sort(order), np.arange(images))
        )
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise CheckpointError(
            f"{path} is a damaged checkpoint: its position, order or generator is none of such a run"
        )
