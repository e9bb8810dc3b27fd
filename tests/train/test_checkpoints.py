"""Checkpoints: a run goes on from one bit for bit, and a file that is none of its own is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import random
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mabn_ref import storage
from mabn_ref.train import checkpoints, loop
from mabn_ref.train.config import LATER_FIELDS, RunConfig, recipe
from mabn_ref.train.loop import Progress, Setup
from mabn_ref.train.runs import run_one
from tests.signals import HUNG, program

TINY: dict[str, Any] = {"width": 4, "epochs": 2, "train_size": 110, "test_size": 30, "warmup": 2}
MABN = TINY | {"renorm_after": 2}


def as_bytes(progress: Progress) -> list[bytes]:
    """Every part but times, in order, arrays as their bytes with dtype and shape."""
    parts: list[bytes] = []
    states = [one for state in progress.states for one in getattr(state, "each", [state])]
    for layer in (*progress.params, *progress.velocity, *states):
        values = layer.items() if isinstance(layer, dict) else layer._asdict().items() if layer is not None else ()
        for name, value in values:
            array = np.asarray(value)
            parts.append(f"{name} {type(value).__name__} {array.dtype} {array.shape}".encode() + array.tobytes())
    history = [line._replace(seconds=0.0) for line in progress.history]
    rest = (dict(progress.rng), progress.order.tolist(), progress.epoch, progress.step, progress.loss_sum, history)
    return [*parts, repr((*rest, progress.wrong)).encode()]


def start(config: RunConfig) -> tuple[Setup, Progress]:
    setup = loop.prepare(config)
    return setup, loop.begin(setup)


@pytest.mark.parametrize("norm", ["bn", "brn", "modified-bn", "mabn", "mabn on 4 devices in resnet8"])
def test_a_run_goes_on_from_every_position_bit_for_bit(tmp_path: Path, norm: str) -> None:
    name, _, rest = norm.partition(" on ")
    tiny = MABN if name == "mabn" else TINY
    config = recipe(name, **tiny, **({"devices": 4, "network": "resnet8"} if rest else {}))
    setup, begin = start(config)
    positions = [begin, *loop.run(setup, begin)]
    assert len(positions) == 9
    path = tmp_path / "run.npz"
    for position in positions:
        checkpoints.save(path, config, position)
        loaded = checkpoints.load(path, config, begin)
        assert as_bytes(loaded) == as_bytes(position)
        assert [type(state) for state in loaded.states] == [type(state) for state in begin.states]
        *_, end = [loaded, *loop.run(setup, loaded)]
        assert as_bytes(end) == as_bytes(positions[-1])


@pytest.mark.parametrize(
    ("norm", "later"),
    [("mabn", ["/backward_iteration"]), ("moving", ["/backward_iteration"])]
    + [(norm, ["/iteration"]) for norm in ("bn", "modified-bn", "eval-norm")]
    + [("online", ["/iteration", "/backward_iteration"])],
)
def test_a_checkpoint_of_version_0_1_is_read(tmp_path: Path, norm: str, later: list[str]) -> None:
    """Its states lack a count; the run ends with the same bits, but for a count that started there."""
    settings: dict[str, Any] = {
        "moving": {"form": "modified", "forward_average": "sma", "backward_average": "sma"},
        "online": {"norm_batch": 1},
    }
    config = recipe(norm, **(MABN if norm == "mabn" else TINY) | settings.get(norm, {}))
    setup, begin = start(config)
    _, _, position, *_, end = loop.run(setup, begin)
    path = tmp_path / "run.npz"
    checkpoints.save(path, config, position)
    with np.load(path) as archive:
        kept = {name: value for name, value in archive.items() if not name.endswith(tuple(later))}
        assert len(kept) == len(archive.files) - 7 * len(later)
    np.savez(path, **kept)
    *_, ours = loop.run(setup, checkpoints.load(path, config, begin))
    if "/iteration" in later:
        none = dict.fromkeys((name[1:] for name in later), 0)
        ours, end = (
            progress._replace(states=[state and state._replace(**none) for state in progress.states])
            for progress in (ours, end)
        )
    assert as_bytes(ours) == as_bytes(end)


def test_run_one_goes_on_and_keeps_its_checkpoint_up_to_date(tmp_path: Path) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "sub" / "run.npz"

    class Stop(Exception):
        pass

    def stop(report: Any) -> None:
        if report.images == 160:
            raise Stop

    with pytest.raises(Stop):
        run_one(config, report=stop, checkpoint=path, checkpoint_every=2)
    setup, begin = start(config)
    kept = checkpoints.load(path, config, begin)
    assert (kept.epoch, kept.step) == (1, 2)  # 3 steps an epoch, saved after each second one and at the epoch's end
    resumed, straight = run_one(config, checkpoint=path), run_one(config)
    for line in resumed["epochs"] + straight["epochs"]:
        del line["seconds"]
    assert resumed | {"seconds": 0} == straight | {"seconds": 0}
    *_, end = loop.run(setup, begin)
    assert as_bytes(checkpoints.load(path, config, begin)) == as_bytes(end)
    again = run_one(config, checkpoint=path)
    assert [line["test_error"] for line in again["epochs"]] == [line["test_error"] for line in straight["epochs"]]


@pytest.mark.parametrize("known", [True, False])
def test_a_checkpoint_of_other_images_is_refused_and_one_that_cannot_tell_is_not(tmp_path: Path, known: bool) -> None:
    """What goes on from one of version 0.1, which has no digest, cannot tell either."""
    config = recipe("bn", data="directory", data_dir="own", **TINY)
    setup, begin = start(recipe("bn", **TINY))
    path, digest = tmp_path / "run.npz", "3f" if known else None
    checkpoints.save(path, config, begin._replace(digest=digest))
    for now in ("3f", "a0"):
        if known and now == "a0":
            said = rf"^{path} is a checkpoint of other images than own holds now, digest 3f there and a0 here: name"
            with pytest.raises(checkpoints.CheckpointError, match=said):
                checkpoints.load(path, config, begin._replace(digest=now))
        else:
            loaded = checkpoints.load(path, config, begin._replace(digest=now))
            assert next(loop.run(setup, loaded)).digest == digest


KILLS = [
    ("mabn_ref.nn.network:backward", 5, False),  # in the middle of a step
    ("zipfile:ZipFile.open", 250, True),  # in the middle of the archive; one is read first, at a start that goes on
    ("os:fsync", 2, True),  # the new file is on the disk, and the old one in its place
    ("pathlib:Path.replace", 3, False),  # the new one is in its place
]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    config = recipe("mabn", **MABN | {"epochs": 3, "train_size": 320})
    path, beside = tmp_path / "run.npz", tmp_path / "run.npz.tmp"
    code = (  # not the command line, which has no options for the recipe's finer points
        "from mabn_ref.train.config import RunConfig\n"
        "from mabn_ref.train.runs import run_one\n"
        f"run_one(RunConfig(**{config.as_dict()!r}), checkpoint=rest[0], checkpoint_every=1)"
    )

    def run(call: str, count: int) -> int:
        command = program(call, count, "SIGKILL", str(path), code=code)
        return subprocess.run(command, start_new_session=True, timeout=HUNG, check=False).returncode

    positions: list[Progress] = []
    for call, count, writing in KILLS:
        assert run(call, count) == -signal.SIGKILL, call
        assert beside.exists() == writing, call
        positions.append(checkpoints.load(path, config, start(config)[1]))
    steps = [10 * position.epoch + position.step for position in positions]
    assert sorted(set(steps)) == steps
    assert run("mabn_ref.nn.network:backward", 10**6) == 0
    setup, begin = start(config)
    *_, end = loop.run(setup, begin)
    assert as_bytes(checkpoints.load(path, config, begin)) == as_bytes(end)
    assert list(tmp_path.iterdir()) == [path]


def test_another_runs_checkpoint_is_refused_by_what_differs(tmp_path: Path) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "run.npz"
    _, begin = start(config)
    checkpoints.save(path, config, begin)
    before = path.read_bytes()
    other = dataclasses.replace(config, lr=0.05, seed=3)
    with pytest.raises(
        ValueError,
        match=r"run\.npz is a checkpoint of another run: lr is 0.03 there and 0.05 here; seed is 0 there and 3",
    ):
        run_one(other, checkpoint=path)
    assert path.read_bytes() == before


def test_a_checkpoint_made_before_a_field_was_there_goes_on_and_one_without_another_is_refused(
    tmp_path: Path,
) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "run.npz"
    _, begin = start(config)
    checkpoints.save(path, config, begin)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays["meta"].item())

    def without(*names: str) -> None:
        kept = {name: value for name, value in meta["config"].items() if name not in names}
        np.savez(path, **arrays | {"meta": np.array(json.dumps(meta | {"config": kept}))})

    without(*LATER_FIELDS)
    assert as_bytes(checkpoints.load(path, config, begin)) == as_bytes(begin)
    without("lr")
    with pytest.raises(checkpoints.CheckpointError, match=r"of another run: lr is None there and 0\.03 here"):
        checkpoints.load(path, config, begin)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "run.npz"
    _, begin = start(config)
    checkpoints.save(path, config, begin)
    whole = path.read_bytes()
    rng = random.Random(1)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(20)]
    for _ in range(40):
        at = rng.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = checkpoints.load(path, config, begin)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        else:  # a bit that carries nothing, such as a time stamp
            assert as_bytes(loaded) == as_bytes(begin)
        assert path.read_bytes() == content
    assert refused >= 45


class Trap:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("the checkpoint was unpickled",))


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a checkpoint"),
        (b"weights", "not a checkpoint"),
        (npy(np.zeros(3)), "not a checkpoint"),
        (pickle.dumps(Trap()), "not a checkpoint"),
        (npz(meta=np.array([Trap()], dtype=object)), "not a checkpoint"),
        (npz(w=np.zeros(3)), "no description of a run"),
        (npz(meta=np.zeros(3)), "no description of a run"),
        (npz(meta=np.array("[]")), "no description of a run"),
        (npz(meta=np.array('{"format": 1, "config": {}}')), "not a checkpoint of this version"),
        (npz(meta=np.array('{"format": 99, "config": {}}')), "format is 99, expected 1"),
    ],
)
def test_a_foreign_file_is_refused_without_running_it(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"foreign\.npz.*{reason}"):
        run_one(recipe("bn", **TINY), checkpoint=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays: arrays.pop("states/01/iteration"), "lacks array states/01/iteration"),
        (lambda arrays: arrays.update({"params/99/w": np.zeros(1)}), "has an unknown array params/99/w"),
        (
            lambda arrays: arrays.update({"params/00/w": np.zeros((3, 3, 3, 5), np.float32)}),
            r"params/00/w is float32 of",
        ),
        (lambda arrays: arrays.update({"params/00/w": np.zeros((3, 3, 3, 4))}), r"params/00/w is float64 of"),
        (lambda arrays: arrays.update({"states/01/iteration": np.array(-5)}), "states/01/iteration is -5"),
        (lambda arrays: arrays.update({"states/01/backward_iteration": np.array(3)}), "backward_iteration is 3"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, change: Any, reason: str) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "run.npz"
    _, begin = start(config)
    checkpoints.save(path, config, begin)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=reason):
        checkpoints.load(path, config, begin)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda meta: meta["config"].update(width=2500),
            r"params/00/w has shape \(3, 3, 3, 4\), expected \(3, 3, 3, 25",
        ),
        (lambda meta: meta["config"].update(network="resnet8"), "params/.*/w"),
        (lambda meta: meta.update(config=[]), "it has no description of a run"),
        (lambda meta: meta.update(seconds=10**400), "it has no description of a run"),
    ],
)
def test_a_forged_description_builds_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, reason: str
) -> None:
    config, path = recipe("mabn", **MABN), tmp_path / "run.npz"
    checkpoints.save(path, config, start(config)[1])
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    change(meta := json.loads(arrays["meta"].item()))
    np.savez(path, **arrays | {"meta": np.array(json.dumps(meta))})
    monkeypatch.setattr("mabn_ref.nn.network.init", lambda *_: pytest.fail("a network was built"))
    with pytest.raises(checkpoints.CheckpointError, match=rf"run\.npz.*{reason}"):
        checkpoints.load_network(path)


def test_a_header_without_its_data_builds_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, path = recipe("bn", **TINY | {"width": 32}), tmp_path / "run.npz"
    checkpoints.save(path, wide, start(wide)[1])
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name) if name == "meta.npy" else whole.read(name)[:128])
    monkeypatch.setattr("mabn_ref.nn.network.init", lambda *_: pytest.fail("a network was built"))
    with pytest.raises(checkpoints.CheckpointError, match=r"cut\.npz has \d+ bytes, expected at least"):
        checkpoints.load_network(tmp_path / "cut.npz")


def test_the_format_is_as_described(tmp_path: Path) -> None:
    config = recipe("mabn", **MABN)
    path = tmp_path / "run.npz"
    setup, begin = start(config)
    checkpoints.save(path, config, next(loop.run(setup, begin)))
    with np.load(path, allow_pickle=False) as archive:
        names = set(archive.files)
        meta = json.loads(archive["meta"].item())
    assert {"params/00/w", "velocity/00/w", "params/01/gamma", "states/01/chi2", "states/01/psi_window"} <= names
    assert meta["format"] == 1
    assert meta["config"] == config.as_dict()
    assert (meta["epoch"], meta["step"]) == (0, 1)
    assert meta["rng"]["bit_generator"] == "PCG64"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: Any) -> None:
        file.write(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"rng": {}},
        {"rng": None},
        {"step": -5},
        {"step": 1.0},
        {"step": 3},  # of two
        {"epoch": 99},
        {"epoch": "x"},
        {"history": [[1]]},
        {"history": 3},
        {"loss_sum": None},
        {"epoch": 1, "history": [[1] + [None] * 8]},
    ],
)
def test_a_position_that_no_run_has_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    config = RunConfig(width=4, epochs=1, train_size=64, test_size=10)
    start = loop.begin(loop.prepare(config))
    file = tmp_path / "run.npz"
    checkpoints.save(file, config, start)
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["meta"] = np.array(json.dumps(json.loads(arrays["meta"].item()) | change))
    np.savez(file, **arrays)
    with pytest.raises(checkpoints.CheckpointError, match="is a damaged checkpoint"):
        checkpoints.load(file, config, start)


def test_an_order_that_is_no_permutation_is_refused(tmp_path: Path) -> None:
    config = RunConfig(width=4, epochs=1, train_size=64, test_size=10)
    start = loop.begin(loop.prepare(config))
    checkpoints.save(tmp_path / "run.npz", config, start._replace(order=np.full(64, 3)))
    with pytest.raises(checkpoints.CheckpointError, match="is a damaged checkpoint"):
        checkpoints.load(tmp_path / "run.npz", config, start)


def test_a_text_file_is_no_checkpoint(tmp_path: Path) -> None:
    config = RunConfig(width=4, epochs=1, train_size=64, test_size=10)
    (tmp_path / "run.npz").write_text("hello")
    with pytest.raises(checkpoints.CheckpointError, match=r"run\.npz is not a checkpoint: it is not an \.npz"):
        checkpoints.load(tmp_path / "run.npz", config, loop.begin(loop.prepare(config)))
