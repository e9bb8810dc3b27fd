"""Files with two writers, a full disk, and content that somebody else made."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mabn_ref import storage
from mabn_ref.cli import main
from mabn_ref.train import checkpoints, loop, results
from mabn_ref.train.config import RunConfig, recipe
from tests.signals import HUNG

TINY = {"width": 4, "epochs": 1, "train_size": 64, "test_size": 10}
SIZES = ["--epochs", "1", "--width", "4", "--train-size", "64", "--test-size", "20"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
ROOT = Path(__file__).parents[1]


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@posix
def test_whoever_comes_second_waits_and_is_told_for_whom(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom mabn_ref import storage\n"
        "with storage.lock(Path(sys.argv[1]), print):\n    print('mine', flush=True)\n    sys.stdin.readline()"
    )
    path = tmp_path / "new" / ".lock"
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        threading.Timer(0.3, first.kill).start()  # killed, it holds nothing any more
        with storage.lock(path, said.append):
            assert first.wait(HUNG) != 0
    assert len(said) == 1
    assert f"process {first.pid}" in said[0]
    assert not path.exists(), "nothing is left behind"


@posix
def test_many_writers_of_one_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom mabn_ref import storage\n"
        "for n in range(60):\n    storage.write(Path(sys.argv[1]), lambda f: f.write(sys.argv[2].encode() * 5000))"
    )
    path = tmp_path / "file"
    writers = [python(code, str(path), letter) for letter in "abcd"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            seen.add(content[:1])
            assert content == content[:1] * 5000
    said = [writer.communicate(timeout=HUNG) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, said
    assert len(seen) > 1
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


@posix
def test_two_writers_under_the_lock_lose_no_record_to_a_reader(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom mabn_ref import storage\nfrom mabn_ref.train import results\n"
        "path = Path(sys.argv[1])\n"
        "for n in range(100):\n"
        "    with storage.lock(path.with_name('.lock'), lambda holder: None):\n"
        "        results.prepare(path)\n        results.append(path, {'seed': n, 'text': 'x' * 3000})\n"
    )
    path = tmp_path / "results.jsonl"
    writers = [python(code, str(path)) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        results.read(path)
        time.sleep(0.001)
    said = [writer.communicate(timeout=HUNG) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    assert sorted(record["seed"] for record in results.read(path)) == sorted([*range(100)] * 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*results\.jsonl"):
        results.append(path, {"seed": 0})

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left.*picture\.png"):
        storage.write(tmp_path / "picture.png", full)
    assert [left.name for left in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_folder_in_the_place_of_a_file_is_named_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"table\.csv'$"):
        storage.write(tmp_path / "table.csv", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_what_is_open_is_closed_before_it_is_removed_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses otherwise; here nothing does."""
    opened, removed = [], []
    opened_alone, unlink = storage._opened_alone, Path.unlink

    def noted(*arguments: object) -> object:
        opened.append(opened_alone(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    def closed_first(path: Path, *, missing_ok: bool = False) -> None:
        removed.append((path.name, opened[-1].closed))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(storage, "_opened_alone", noted)
    monkeypatch.setattr(Path, "unlink", closed_first)
    monkeypatch.setattr(sys, "platform", "win32")
    with storage.lock(tmp_path / "lock", print):
        pass
    with pytest.raises(ZeroDivisionError):
        storage.write(tmp_path / "a", lambda file: 1 // 0)
    assert removed == [("lock", True), ("a.tmp", True)]
    assert not list(tmp_path.iterdir())


def test_a_lock_on_a_full_disk_is_named_and_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"No space left.*\.lock"), storage.lock(tmp_path / ".lock", print):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("size", [1, 10**6])
def test_a_full_standard_output_is_named(
    size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the last of it is flushed, and while the command prints."""
    monkeypatch.setattr("mabn_ref.cli.train._fetch", lambda args: print("x" * size))
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["fetch", "cifar10"]) == 1
    assert capsys.readouterr().err == "mabn-ref: error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": NaN}', "-Infinity", "[1e999]", "", "\ud800", '{"a"', "1" * 5000]
)
def test_whatever_is_wrong_with_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        storage.as_json(text)


EPOCH = {"epoch": 1, "train_loss": 1.0, "train_error": 1.0, "test_error": 1.0, "seconds": 1.0}


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"epochs": {}},
        {"epochs": [3]},
        {"epochs": [{"test_error": "3"}]},
        {"epochs": [{}]},
        {"epochs": []},
        {"config": {"epochs": 2}},
        *({"epochs": [EPOCH | {"test_error": error}]} for error in (10**400, 1e308, -1e308, -5, True)),
        {"epochs": [EPOCH | {"train_loss": 10**400}]},
        {"seconds": 10**400},
        {"status": "diverged", "message": ...},
        *({name: ...} for name in ("status", "versions", "machine", "seconds", "epochs")),
        {"seconds": "1"},
        {"versions": 3},
        {"status": None},
        {"seed": None},
    ],
)
def test_a_record_that_readers_would_stumble_on_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    record = {"status": "done", "message": None, "seed": 0, "config": {}, "versions": {}, "machine": {}, "seconds": 1}
    record |= {"epochs": [EPOCH]}
    changed = {name: value for name, value in (record | change).items() if value is not ...}
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps(changed) + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2, is not a record of a run"):
        results.read(path)


def test_no_line_and_no_file_of_records_is_read_beyond_what_one_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}\n' + " " * 65 * 2**20 + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2, is longer than 67108864 bytes"):
        results.read(path)
    with path.open("wb") as file:
        file.truncate(2**40)  # a file with a hole, which takes no space
    with pytest.raises(ValueError, match=r"results\.jsonl has 1099511627776 bytes, expected"):
        results.read(path)


def kept(config: RunConfig) -> loop.Progress:
    return loop.begin(loop.prepare(config))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory off the system")
def test_a_checkpoint_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    config = recipe("bn", norm_batch=2, **TINY)
    like = kept(config)
    path = tmp_path / "run.npz"
    checkpoints.save(path, config, like)
    with np.load(path) as archive:
        arrays = dict(archive)
    bomb = "params/00/w"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if name != bomb:
                    np.lib.format.write_array(member, value)
                    continue
                header = {"descr": "<f4", "fortran_order": False, "shape": (75 * 2**20,)}
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(300):
                    member.write(bytes(2**20))
    assert path.stat().st_size < 2**23
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mabn_ref.train import checkpoints, loop\nfrom mabn_ref.train.config import RunConfig\n"
        f"config = RunConfig(**{config.as_dict()!r})\n"
        "try:\n    checkpoints.load(Path(sys.argv[1]), config, loop.begin(loop.prepare(config)))\n"
        "except checkpoints.CheckpointError as error:\n    print(error)\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    with python(code, str(path)) as process:
        out, err = process.communicate(timeout=HUNG)
    said, peak = out.splitlines()
    assert f"{bomb} is float32 of shape (78643200,), expected float32 of shape" in said, err
    assert int(peak) < 250_000, "kB"


def test_random_damage_to_a_checkpoint_is_one_kind_of_error(tmp_path: Path) -> None:
    config = recipe("mabn", norm_batch=2, **TINY)
    like = kept(config)
    path = tmp_path / "run.npz"
    checkpoints.save(path, config, like)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    accepted = 0
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3 == 0:
            del damaged[rng.integers(len(damaged)) :]
        for place in rng.integers(len(damaged), size=rng.integers(1, 20)) if damaged else ():
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(checkpoints.CheckpointError):
            checkpoints.load(path, config, like)
            accepted += 1
    assert accepted < 25


@pytest.mark.parametrize(
    ("history", "rng"),
    [([[1, 2, 3, 4, "x"]], None), ([3], None), ([[1] * 10], None), ([], {"state": 3}), ([], 10**400)],
)
def test_a_description_that_no_run_has_is_refused(tmp_path: Path, history: object, rng: object) -> None:
    config = recipe("bn", norm_batch=2, **TINY)
    like = kept(config)
    path = tmp_path / "run.npz"
    checkpoints.save(path, config, like)
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays["meta"].item())
    meta["history"], meta["epoch"] = history, len(history)  # type: ignore[arg-type]
    meta["rng"] = meta["rng"] if rng is None else rng
    arrays["meta"] = np.array(json.dumps(meta) if rng != 10**400 else json.dumps(meta | {"rng": {"state": 1}}))
    np.savez(path, **arrays)
    with pytest.raises(checkpoints.CheckpointError, match=r"run\.npz is a damaged checkpoint"):
        checkpoints.load(path, config, like)


@posix
def test_two_commands_on_one_directory_do_every_run_once(tmp_path: Path) -> None:
    command = [
        "-m",
        "mabn_ref",
        "compare",
        "--epochs",
        "1",
        "--width",
        "4",
        "--train-size",
        "64",
        "--test-size",
        "20",
    ]
    command += ["--seeds", "1", "--rows", "bn-32", "bn-2", "--jobs", "1", "--out", str(tmp_path)]
    both = [
        subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=HUNG) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(results.read(tmp_path / "results.jsonl")) == 2
    assert sum("2 of 2 runs are in" in err for _, err in said) == 1
    assert sorted(left.name for left in tmp_path.iterdir()) == ["curves.png", "results.jsonl"]


@posix
def test_a_run_that_is_recorded_is_not_recorded_again_after_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mabn_ref", "train", *SIZES, "--out", str(tmp_path)]
    command += ["--checkpoint", str(tmp_path / "run.npz")]
    for _ in range(2):  # the second goes on from the end, as after a kill between the record and the picture
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=HUNG)
    assert len(results.read(tmp_path / "results.jsonl")) == 1


def in_shell(words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shell = f"{sys.executable} -m mabn_ref {words}"
    env = os.environ | environment
    return subprocess.run(
        ["sh", "-c", shell], cwd=ROOT, env=env, capture_output=True, text=True, timeout=HUNG, check=False
    )


@posix
def test_an_ascii_output_is_not_an_error() -> None:
    result = in_shell("gradcheck --help", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")


@posix
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("train {sizes} --out {out}", 0),
        ("compare {sizes} --jobs 1 --seeds 1 --rows bn-2 --out {out}", 0),
        ("vectors --small {out}", 0),
        ("gradcheck bias --draws 1 --jobs 1", 0),
        ("train --norm unknown --out {out}", 2),
        ("train --help", 0),
    ],
)
def test_a_command_works_with_closed_outputs(words: str, code: int, tmp_path: Path) -> None:
    """Either, and all; what is open has what is printed there anyway, and files what is written to them."""
    written, said = [], {}
    for closed in ("", ">&-", "2>&-", "<&- >&- 2>&-"):
        out = tmp_path / str(len(said))
        result = in_shell(f"{words.format(sizes=' '.join(SIZES), out=out)} {closed}", PYTHONWARNINGS="error")
        assert result.returncode == code, (closed, result)
        said[closed] = [
            re.sub(r"[\d.]+ s\b", "", text.replace(str(out), "OUT")).split()
            for text in (result.stdout, result.stderr)
        ]
        written.append(sorted(path.name for path in out.rglob("*")))
    assert written == written[:1] * 4
    stdout, stderr = said[""]
    assert [said[closed] for closed in said] == [[stdout, stderr], [[], stderr], [stdout, []], [[], []]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", ["--version", "--help", "train --help", "learn --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_cannot_be_written_is_an_error(words: str, unbuffered: str) -> None:
    result = in_shell(f"{words} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    said = "mabn-ref: error: standard output: No space left on device\n"
    assert (result.returncode, result.stderr) == (1, said)
