"""Checkpoints: a run's `Progress` in one ``.npz`` file, from which it resumes bit for bit.

The arrays are ``order`` and, by layer number and name, ``params/03/w``, ``velocity/03/w``, ``states/04/chi2`` and so
on; with several devices, states have the device's number too: ``states/04/0/chi2``. ``meta`` is JSON: the format's
version, the configuration, the digest of the images, the generator's state, the position and the history. Nothing is
pickled.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from mabn_ref import storage
from mabn_ref.arrays import namespace
from mabn_ref.nn import convert, network
from mabn_ref.train.config import RunConfig
from mabn_ref.train.devices import mapped, to_device, to_host
from mabn_ref.train.loop import Epoch, Progress, layers_of
from mabn_ref.train.results import of_record
from mabn_ref.train.tasks import BOXES, CLASSES, PIXELS

Array = np.ndarray[Any, Any]
_FORMAT = 1
_OVERHEAD = 1024  #: the most bytes that a member's headers take besides its array
_LONGEST_META = 16 * 2**20
_LEAST = 4  #: the most weights per byte of a file: one that somebody has compressed can still be read
_MOST = 1e100  #: the largest number in a description: sums of squares do not overflow
_FIGURES = len(Epoch._fields) - len(Epoch._field_defaults)  #: how many of an epoch's fields, the first, all runs have
_META = ("rng", "epoch", "step", "loss_sum", "wrong", "seconds", "history")


class CheckpointError(ValueError):
    """The file is not a checkpoint of this run; the message names the file and what differs."""


def save(path: Path, config: RunConfig, progress: Progress) -> None:
    """Write a checkpoint atomically: even after an interrupt, `path` holds the whole old or the whole new one.

    Arrays on a device are copied to the host.
    """
    meta = {"format": _FORMAT, "config": config.as_dict(), "images": progress.digest}
    meta |= {name: getattr(progress, name) for name in _META}
    arrays: dict[str, Any] = {"order": progress.order} | named(_layers(progress))
    assert not any(value.dtype.hasobject for value in arrays.values())
    arrays["meta"] = np.array(json.dumps(meta))
    storage.write(path, lambda file: np.savez(file, **arrays))


def load(path: Path, config: RunConfig, like: Progress) -> Progress:
    """Read a checkpoint of the run `config`.

    `like` is the run's start: it gives the expected names, shapes and dtypes, and the device.

    Raises `CheckpointError` if the file is damaged, is no checkpoint, or belongs to another configuration, version or
    other images, and `OSError` if there is no file or it cannot be read.
    """
    layers = _layers(like)
    expected = {"order": like.order} | named(layers)
    with _archive(path, expected) as members:
        meta = _meta(path, members)
        theirs = meta["config"]
        differing = [
            f"{name} is {theirs.get(name)!r} there and {value!r} here"
            for name, value in config.as_dict().items()
            if name not in theirs or theirs[name] != value
        ]
        if differing:
            raise CheckpointError(f"{path} is a checkpoint of another run: {'; '.join(differing)}")
        # Files older than digests have none, and neither has a run that resumes from one.
        digest = meta.get("images")
        if digest is not None and digest != like.digest:
            raise CheckpointError(
                f"{path} is a checkpoint of other images than {config.data_dir} holds now, digest {digest} there and "
                f"{like.digest} here: name another file, or put those images back"
            )
        found = {name: _array(path, name, stream, expected) for name, stream in members.items()}
    # Files of version 0.1 lack the counts that have defaults; they are only compared with counts of later caches.
    found = named({"states": [getattr(state, "_field_defaults", None) for state in like.states]}) | found
    if found.keys() != expected.keys():
        name = min(found.keys() ^ expected.keys())
        raise CheckpointError(f"{path} {'lacks' if name in expected else 'has an unknown'} array {name}")
    _check_counts(path, found)
    xp = namespace(next(iter(like.params[0].values())))
    position = _position(path, meta, found["order"], config, len(like.order))
    return like._replace(**to_device(_restored(layers, found), xp), order=found["order"], digest=digest, **position)


def load_network(path: Path) -> tuple[RunConfig, convert.Network]:
    """Return the configuration and the network of a checkpoint of any run, on images, pixels or boxes.

    A checkpoint does not record the task; the shapes of its parameters tell it. Errors are those of `load`; the run's
    position does not matter.
    """
    with _archive(path) as members:
        meta = _meta(path, members)
        config = RunConfig(**meta["config"])
        layers = _layers_like(path, config, members)
        params, states = network.init(layers, np.random.default_rng(0))
        like = {"params": params, "states": states}
        expected = named(like)
        found = expected | {name: _array(path, name, members[name], expected) for name in expected if name in members}
        if lacking := [name for name in expected.keys() - members.keys() if not name.endswith("iteration")]:
            raise CheckpointError(f"{path} lacks array {min(lacking)}")
    _check_counts(path, found)
    return config, convert.Network(layers, **_restored(like, found))


def _layers_like(path: Path, config: RunConfig, members: dict[str, IO[bytes]]) -> list[Any]:
    """Return the layers whose weights have the members' names and shapes; only headers are read to find out."""
    shapes = {}
    for name, stream in members.items():
        if name.startswith("params/") and name.endswith("/w"):
            shapes[name] = _header(name, stream)[1]
            stream.seek(0)
    for task in (PIXELS, BOXES, CLASSES):
        with contextlib.suppress(ValueError):  # raised if the configuration has fields of another task
            # the number of steps matters only to the schedule of Batch Renormalization
            layers = layers_of(config, 1, task)
            expected = {f"params/{n:02d}/w": shape for n, layer in enumerate(layers) if (shape := _weight(layer))}
            if expected == shapes:
                break
    else:
        name = min(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
        if name not in expected or name not in shapes:
            raise CheckpointError(f"{path} {'lacks' if name in expected else 'has an unknown'} array {name}")
        raise CheckpointError(f"{path}: {name} has shape {shapes[name]}, expected {expected[name]}")
    least = sum(map(math.prod, shapes.values())) // _LEAST
    if (size := path.stat().st_size) < least:
        raise CheckpointError(f"{path} has {size} bytes, expected at least {least} for weights of these shapes")
    return layers


def _weight(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer's weights; () if it has none."""
    match layer:
        case network.Conv(_, channels_in, channels_out, kernel):
            return (kernel, kernel, channels_in, channels_out)
        case network.Linear(_, features_in, features_out):
            return (features_in, features_out)
    return ()


def _check_counts(path: Path, found: dict[str, Array]) -> None:
    """Refuse impossible counts of iterations: negative ones, and more in backward than in forward."""
    for name in [name for name in found if name.endswith("iteration")]:
        value, forward = found[name], found[name.replace("backward_iteration", "iteration")]
        if value < 0 or value > max(forward, 0):
            raise CheckpointError(f"{path} is a damaged checkpoint: {name} is {value}")


def _layers(progress: Progress) -> dict[str, Any]:
    """Return what a run holds per layer."""
    return {name: getattr(progress, name) for name in ("params", "velocity", "states")}


def named(layers: dict[str, Any]) -> dict[str, Array]:
    """Return the arrays and numbers of layers, copied to the host, by their names in a checkpoint."""
    found: dict[str, Array] = {}

    def keep(place: str, value: Any) -> None:
        if value is not None:
            found[_name(place)] = np.asarray(value)

    mapped(to_host(layers), keep)
    return found


def _restored(like: dict[str, Any], found: dict[str, Array]) -> dict[str, Any]:
    """Return layers of the types of `like` with the values in `found`; numbers come back as numbers."""

    def value_at(place: str, value: Any) -> Any:
        if value is None:
            return None
        return found[_name(place)].item() if isinstance(value, int) else found[_name(place)]

    restored: dict[str, Any] = mapped(like, value_at)
    return restored


def _name(place: str) -> str:
    """Return the checkpoint's name for a place; it omits the field `each` of a state on several devices."""
    return place.removeprefix("/").replace("/each", "")


@contextlib.contextmanager
def _archive(path: Path, expected: dict[str, Array] | None = None) -> Iterator[dict[str, IO[bytes]]]:
    """Open the members of the file, by name, without reading them; any fault in them is a `CheckpointError`."""
    most = math.inf  # without `expected`, the file itself says what to expect
    if expected is not None:
        most = 16 * (sum(value.nbytes + _OVERHEAD for value in expected.values()) + _OVERHEAD) + _LONGEST_META
    if path.is_fifo():  # opening it would wait for a writer
        raise CheckpointError(f"{path} is not a checkpoint: it is a pipe")
    with path.open("rb") as file, contextlib.ExitStack() as opened:
        if file.read(4) != b"PK\x03\x04":
            raise CheckpointError(f"{path} is not a checkpoint: it is not an .npz archive")
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise CheckpointError(f"{path} is not a checkpoint of this run: {size} bytes, expected at most {most}")
        file.seek(0)
        # A damaged archive raises any of a dozen errors, depending on where the damage is; all mean the same.
        try:
            archive = opened.enter_context(zipfile.ZipFile(file))
            yield {
                member.filename.removesuffix(".npy"): opened.enter_context(archive.open(member))
                for member in archive.infolist()
            }
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{path} is not a checkpoint, or a damaged one: {error}") from error


def _array(path: Path, name: str, stream: IO[bytes], expected: dict[str, Array]) -> Array:
    """Return the array of one member; nothing is allocated unless its header says what is expected."""
    if name not in expected:
        raise CheckpointError(f"{path} has an unknown array {name}")
    dtype, shape, fortran = _header(name, stream)
    want = expected[name]
    if (dtype, shape) != (want.dtype, want.shape):
        raise CheckpointError(
            f"{path}: {name} is {dtype} of shape {shape}, expected {want.dtype} of shape {want.shape}"
        )
    return _values(name, stream, dtype, shape, fortran)


def _header(name: str, stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    if (version := np.lib.format.read_magic(stream)) != (1, 0):
        raise ValueError(f"{name} is of version {version} of the .npy format, expected (1, 0)")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    return dtype, shape, fortran


def _values(name: str, stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> Array:
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size + 1)  # one byte more, so that the end is reached and the checksum compared
    if len(data) != size:
        raise ValueError(f"{name} does not have the {size} bytes that its header says")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _meta(path: Path, members: dict[str, IO[bytes]]) -> dict[str, Any]:
    """Take ``meta`` out of the members and bring its `config` up to date; refuse what is not a description."""
    try:
        dtype, shape, fortran = _header("meta", stream := members.pop("meta"))
        if shape != () or dtype.kind != "U" or dtype.itemsize > _LONGEST_META:
            raise ValueError("meta is not a text")
        meta: dict[str, Any] = storage.as_json(_values("meta", stream, dtype, shape, fortran).item(), _MOST)
        if meta["format"] != _FORMAT:
            reason = f"its format is {meta['format']}, expected {_FORMAT}"
        elif isinstance(meta["config"], dict) and meta.keys() >= set(_META):
            return meta | {"config": of_record(meta["config"])}
        else:
            raise ValueError("meta is of something else")
    except (KeyError, TypeError, ValueError, AttributeError):
        reason = "it has no description of a run"
    raise CheckpointError(f"{path} is not a checkpoint of this version of mabn_ref: {reason}")


def _position(path: Path, meta: dict[str, Any], order: Any, config: RunConfig, images: int) -> dict[str, Any]:
    """Return the fields of `Progress` that are in ``meta``; refuse a position that no run of `config` reaches."""
    steps = images // config.gradient_batch
    try:
        np.random.PCG64().state = meta["rng"]
        history = tuple(Epoch(*line) for line in meta["history"])
        sound = (
            type(meta["epoch"]) is int
            and type(meta["step"]) is int
            and 0 <= meta["epoch"] <= config.epochs
            and 0 <= meta["step"] <= steps
            and [line.epoch for line in history] == list(range(1, meta["epoch"] + 1))
            and all(type(meta[name]) in (int, float) for name in ("loss_sum", "wrong", "seconds"))
            and all(type(value) in (int, float) for line in history for value in line if value is not None)
            and None not in [line[place] for line in history for place in range(_FIGURES)]
            and np.array_equal(np.sort(order), np.arange(images))
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        sound = False
    if not sound:
        raise CheckpointError(f"{path} is a damaged checkpoint: its position, order or random state fits no such run")
    return {name: meta[name] for name in _META} | {"history": history}
