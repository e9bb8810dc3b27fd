"""Somebody's own files: what can be trained on is, and the rest is one line, before any run, in every command."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mabn_ref.cli import main
from mabn_ref.data import cifar
from mabn_ref.data.dataset import Dataset
from mabn_ref.data.images import balanced
from mabn_ref.train import datasets, sweeps

SMALL = ["--epochs", "1", "--width", "4"]
COMMANDS = (
    ["train", "--norm", "bn", "--norm-batch", "32"],
    ["compare", "--rows", "bn-32", "--seeds", "1", "--jobs", "1"],
    ["paper", "table2", "--seeds", "1", "--jobs", "1"],
)
PICKLES = "it is from a Python version of CIFAR; its pickles can run any program and are never loaded: use the"
EXPECTED = "expected CIFAR-10 binary record files"
WHOLE = "expected records of 3073 bytes, so a multiple of 3073 above 0"
AS_CIFAR_100 = "has the size of records with two labels, as in CIFAR-100; use the binary version of CIFAR-10"
RENAME = "has the size of a record file; name it data_batch_1.bin to train on it, test_batch.bin to test on it"


def records(count: int, length: int = 3073, classes: int = 10) -> np.ndarray:
    """Random records, with labels in turn in their first byte."""
    found = np.random.default_rng(0).integers(0, 256, (count, length), dtype=np.uint8)
    found[:, 0] = np.arange(count) % classes
    return found


def good(folder: Path, train: int = 70, test: int = 20, classes: int = 10) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data_batch_1.bin").write_bytes(records(train, classes=classes).tobytes())
    (folder / "test_batch.bin").write_bytes(records(test, classes=classes).tobytes())


def change(folder: Path, name: str, alter: Callable[[np.ndarray], object]) -> None:
    found = np.frombuffer((folder / name).read_bytes(), np.uint8).reshape(-1, 3073).copy()
    alter(found)
    (folder / name).write_bytes(found.tobytes())


def assign(where: object, value: object) -> Callable[[np.ndarray], object]:
    return lambda found: found.__setitem__(where, value)  # type: ignore[call-overload]


def written(name: str, raw: bytes) -> Callable[[Path], object]:
    """Make good files, but one of these bytes."""

    def make(folder: Path) -> None:
        good(folder)
        (folder / name).write_bytes(raw)

    return make


def alone(**files: bytes) -> Callable[[Path], object]:
    """Make a directory of these files alone; a double underscore in a name is a dot, a single slash a directory."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name, raw in files.items():
            path = folder / name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)

    return make


def altered(name: str, where: object, value: object) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        good(folder)
        change(folder, name, assign(where, value))

    return make


def without(name: str, **others: bytes) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        good(folder)
        (folder / name).unlink()
        for other, raw in others.items():
            (folder / other.replace("__", ".")).write_bytes(raw)

    return make


def moved(name: str, into: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        good(folder)
        (folder / into).mkdir(parents=True)
        (folder / name).rename(folder / into / name)

    return make


def packed(name: str, member: str = "cifar-10-batches-bin/data_batch_1.bin", mode: str = "w:gz") -> bytes:
    """A tar archive with a member."""
    buffer = io.BytesIO()
    with tarfile.open(name, mode, fileobj=buffer) as archive:
        info = tarfile.TarInfo(member)
        info.size = 3073
        archive.addfile(info, io.BytesIO(bytes(3073)))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data_batch_1.bin", bytes(3073))
    return buffer.getvalue()


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def python_version(protocol: int, *names: str) -> Callable[[Path], object]:
    raw = pickle.dumps({b"data": [1, 2, 3], b"labels": [0]}, protocol)
    return alone(**dict.fromkeys(names, raw))


def file_in_place_of_the_directory(raw: bytes) -> Callable[[Path], object]:
    return lambda folder: folder.write_bytes(raw)


def directory_in_place_of_a_file(folder: Path) -> None:
    good(folder)
    (folder / "data_batch_2.bin").mkdir()


def pipe_in_place_of_a_file(folder: Path) -> None:
    good(folder)
    os.mkfifo(folder / "data_batch_2.bin")


def few_of_a_class(folder: Path) -> None:
    good(folder, train=100, classes=2)
    change(folder, "data_batch_1.bin", assign((slice(20, None), 0), 0))


def identical(folder: Path) -> None:
    good(folder)
    change(folder, "data_batch_1.bin", lambda found: assign((slice(None), slice(1, None)), found[0, 1:])(found))


LABELS_FROM_1 = records(70)
LABELS_FROM_1[:, 0] += 1
TWELVE_FROM_1 = records(70, classes=12)
TWELVE_FROM_1[:, 0] += 1
COARSE_AND_FINE = records(3073, 3074)
COARSE_AND_FINE[:, 1] = np.arange(3073) % 100
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MAT = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(1000)

WRONG: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    # where it is
    "no directory": (lambda folder: None, [], "files: there is no such directory; check the path"),
    "empty": (lambda folder: folder.mkdir(), [], "in own, EXPECTED: it is empty; name"),
    "hidden files": (alone(__DS_Store=bytes(6148)), [], "it is empty; name the directory that holds them"),
    "parent": (
        lambda folder: good(folder / "cifar-10-batches-bin"),
        [],
        "no data_batch_*.bin and no test_batch*.bin in own, EXPECTED: they are in own/cifar-10-batches-bin; name",
    ),
    "grandparent": (lambda folder: good(folder / "a" / "b"), [], "they are in own/a/b; name that directory"),
    "one kind in another": (
        moved("test_batch.bin", "test"),
        [],
        "no test_batch*.bin in own, EXPECTED: there is own/test/test_batch.bin; put the files of both kinds into",
    ),
    "a record file": (
        lambda folder: folder.write_bytes(bytes(3073)),
        [],
        "in own, EXPECTED: it is a file; name the directory that holds them",
    ),
    "a file": (file_in_place_of_the_directory(b"notes"), [], "it is a file; name the directory that holds them"),
    "an archive": (file_in_place_of_the_directory(packed("a")), [], "it is packed (gzip); unpack it and name"),
    "a matrix": (file_in_place_of_the_directory(MAT), [], "it is a MATLAB file, as in the MATLAB version"),
    # what is there in place of record files
    "no test": (
        without("test_batch.bin"),
        [],
        "no test_batch*.bin in own, EXPECTED: it holds data_batch_1.bin; copy or write the others too",
    ),
    "no training": (without("data_batch_1.bin"), [], "no data_batch_*.bin in own, EXPECTED: it holds"),
    "test renamed": (without("test_batch.bin", test__bin=records(9).tobytes()), [], f"test.bin {RENAME}"),
    "picture beside": (without("test_batch.bin", a__png=PNG), [], "it holds a.png, data_batch_1.bin; copy or write"),
    "upper case": (
        alone(DATA_BATCH_1__BIN=records(9).tobytes(), TEST_BATCH__BIN=records(9).tobytes()),
        [],
        f"DATA_BATCH_1.BIN {RENAME}",
    ),
    "gzip": (
        alone(data_batch_1__bin__gz=gzip.compress(bytes(3073)), test_batch__bin__gz=gzip.compress(bytes(3073))),
        [],
        "data_batch_1.bin.gz is packed (gzip); unpack it and name the directory that then holds data_batch_*.bin",
    ),
    "one of five packed": (
        written("data_batch_5.bin.gz", gzip.compress(bytes(3073))),
        [],
        "own/data_batch_5.bin.gz is packed (gzip); unpack it and name the directory",
    ),
    "archive inside": (alone(readme=b"x", tar__gz=packed("a")), [], "tar.gz is packed (gzip); unpack it"),
    "tar": (alone(a__tar=packed("a", mode="w:")), [], "a.tar is packed (tar); unpack it and name"),
    "bzip2": (alone(a__tbz=packed("a", mode="w:bz2")), [], "a.tbz is packed (bzip2); unpack it and name"),
    "xz": (alone(a__txz=packed("a", mode="w:xz")), [], "a.txz is packed (xz); unpack it and name"),
    "zip": (alone(a__zip=zipped()), [], "a.zip is packed (zip); unpack it and name the directory"),
    "python archive": (
        alone(**{"cifar-10-python__tar__gz": packed("a")}),
        [],
        "python.tar.gz is from a Python version",
    ),
    "CIFAR-100 archive": (
        alone(**{"cifar-100-binary__tar__gz": packed("a")}),
        [],
        "cifar-100-binary.tar.gz is from CIFAR-100, which has 100 classes; use the binary version of CIFAR-10",
    ),
    "CIFAR-100": (
        alone(
            train__bin=records(5, 3074).tobytes(), test__bin=records(5, 3074).tobytes(), fine_label_names__txt=b"x"
        ),
        [],
        f"test.bin {AS_CIFAR_100}",
    ),
    "CIFAR-100 inside": (
        alone(**{"cifar-100-binary/train__bin": records(5, 3074).tobytes()}),
        [],
        f"cifar-100-binary/train.bin {AS_CIFAR_100}",
    ),
    "python, 10": (python_version(2, "data_batch_1", "test_batch", "batches__meta"), [], PICKLES[2:]),
    "python, 100": (python_version(2, "train", "test", "meta"), [], PICKLES[2:]),
    "python, protocol 0": (python_version(0, "data_batch_1", "test_batch"), [], PICKLES[2:]),
    "python, protocol 1": (python_version(1, "data_batch_1", "test_batch"), [], PICKLES[2:]),
    "python, protocol 5": (python_version(5, "data_batch_1", "test_batch"), [], PICKLES[2:]),
    "matlab": (alone(data_batch_1__mat=MAT, test_batch__mat=MAT), [], "data_batch_1.mat is a MATLAB file, as in the"),
    "images": (
        alone(**{"cat/1__png": PNG, "dog/1__png": PNG}),
        [],
        "cat/1.png is an image file (PNG); write the images as records (see",
    ),
    "images in parts": (
        alone(**{"train/cat/1__jpg": b"\xff\xd8\xff\xe0" + bytes(99)}),
        [],
        "train/cat/1.jpg is an image file (JPEG); write the images as records",
    ),
    "arrays": (alone(x__npy=saved(records(3))), [], "x.npy is a NumPy file; write the images as records"),
    "zipped arrays": (alone(x__npz=zipped()), [], "x.npz is a NumPy file; write the images as records"),
    "other files": (
        alone(a__csv=b"1,2", b__csv=b"1,2", c__csv=b"1,2", d__csv=b"1,2", e__csv=b""),
        [],
        "it holds a.csv, b.csv, c.csv and 2 more; name the directory that holds them",
    ),
    "an empty file": (alone(readme=b""), [], "it holds readme; name the directory that holds them"),
    # what is in a record file
    "0 bytes": (
        written("test_batch.bin", b""),
        [],
        "own/test_batch.bin is 0 bytes long, WHOLE: it is empty; copy, download or write it again",
    ),
    "cut short": (
        written("data_batch_1.bin", records(70).tobytes()[:-1]),
        [],
        "own/data_batch_1.bin is 215109 bytes long, WHOLE: it is probably cut short; copy, download or write it",
    ),
    "CIFAR-100 renamed": (
        written("data_batch_2.bin", records(70, 3074).tobytes()),
        [],
        f"above 0: it {AS_CIFAR_100}",
    ),
    "3,073 of CIFAR-100": (
        written("data_batch_1.bin", COARSE_AND_FINE.tobytes()),
        [],
        f"own/data_batch_1.bin has label 206 in record 1, expected 0 to 9: it {AS_CIFAR_100}",
    ),
    "no labels": (
        written("test_batch.bin", records(70, 3072).tobytes()),
        [],
        "has the size of records without a label",
    ),
    "larger": (
        written("test_batch.bin", records(70, 1 + 3 * 64 * 64).tobytes()),
        [],
        "own/test_batch.bin is 860230 bytes long, WHOLE: it holds images of another size or layout; write the images",
    ),
    "labels of four bytes": (
        written(
            "test_batch.bin", np.pad(records(70), ((0, 0), (0, 3)))[:, [0, -3, -2, -1, *range(1, 3073)]].tobytes()
        ),
        [],
        "own/test_batch.bin is 215320 bytes long, WHOLE: it holds images of another size or layout; write the images",
    ),
    "STL-10": (
        alone(**{"train_X__bin": bytes(3 * 96 * 96), "train_y__bin": b"\1"}),
        [],
        "train_X.bin has the size of records without a label, or of larger images, as in STL-10; write the images as",
    ),
    "MNIST": (
        alone(**{"train-images-idx3-ubyte": b"\0\0\x08\x03" + bytes(800)}),
        [],
        "train-images-idx3-ubyte is an IDX file, as in MNIST; write the images as records",
    ),
    "Tiny ImageNet": (
        alone(**{"tiny-imagenet-200/train/n01443537/images/0__JPEG": b"\xff\xd8\xff\xe0" + bytes(99)}),
        [],
        "tiny-imagenet-200/train/n01443537/images/0.JPEG is an image file (JPEG); write the images as records",
    ),
    "grey": (written("test_batch.bin", records(70, 1025).tobytes()), [], "has the size of grey-scale records; write"),
    "alpha": (
        written("test_batch.bin", records(70, 4097).tobytes()),
        [],
        "with a fourth channel, such as alpha; leave",
    ),
    "pickle renamed": (written("data_batch_1.bin", pickle.dumps([1] * 99)), [], PICKLES),
    "pickle of that length": (
        written("data_batch_1.bin", pickle.dumps([1] * 99).ljust(3073)),
        [],
        f"own/data_batch_1.bin has label 128 in record 0, expected 0 to 9: {PICKLES}",
    ),
    "gzip renamed": (written("data_batch_1.bin", gzip.compress(b"x")), [], "it is packed (gzip); unpack it and name"),
    "saved by NumPy": (
        written("data_batch_1.bin", saved(records(70))),
        [],
        "it is a NumPy file; write the images as",
    ),
    "a web page": (
        written("data_batch_1.bin", b"<!DOCTYPE html>"),
        [],
        "it is text, from '<!DOCTYPE html>' on; copy,",
    ),
    "labels from 1": (
        written("data_batch_1.bin", LABELS_FROM_1.tobytes()),
        [],
        "data_batch_1.bin has label 10 in record 9, expected 0 to 9: it counts its labels from 1; count them from 0",
    ),
    "many classes from 1": (
        written("data_batch_1.bin", TWELVE_FROM_1.tobytes()),
        [],
        "has label 10 in record 9, expected 0 to 9: it has more than ten classes, or holds no records",
    ),
    "many classes": (
        written("data_batch_1.bin", records(70, classes=12).tobytes()),
        [],
        "own/data_batch_1.bin has label 10 in record 10, expected 0 to 9: it has more than ten classes, or holds no",
    ),
    "directory": (
        directory_in_place_of_a_file,
        [],
        "own/data_batch_2.bin is a directory or a special file, expected",
    ),
    # images that cannot be learned from
    "few": (
        lambda folder: good(folder, train=20),
        [],
        "own/data_batch_*.bin holds 20 training images, expected at least one gradient batch of 32: add images",
    ),
    "fewer than asked": (
        good,
        ["--train-size", "100"],
        "argument --train-size: 100, but own/data_batch_*.bin holds 70 images: a",
    ),
    "fewer to test": (
        good,
        ["--test-size", "30"],
        "argument --test-size: 30, but own/test_batch*.bin holds 20 images: ask for",
    ),
    "few of a class": (
        few_of_a_class,
        ["--train-size", "64"],
        "own/data_batch_*.bin is too small for train_size: size is 64, which needs 32 images of class 1, but the",
    ),
    "one class": (
        altered("data_batch_1.bin", (slice(None), 0), 3),
        [],
        "own/data_batch_*.bin holds training images of label 3 only, expected at least two classes: add another, or",
    ),
    "one image": (identical, [], "own/data_batch_*.bin holds 70 training images that are all the same, expected"),
    "black": (
        altered("data_batch_1.bin", (slice(None), slice(1, None)), 0),
        [],
        "own/data_batch_*.bin holds 70 training images that are all the same, expected different ones: check how",
    ),
    "class in the test alone": (
        altered("data_batch_1.bin", (slice(7, None, 10), 0), 3),
        [],
        "own/test_batch*.bin holds test images of label 7, which no training image in own/data_batch_*.bin has: add",
    ),
}
if hasattr(os, "mkfifo"):
    WRONG["a pipe"] = (lambda folder: os.mkfifo(folder), [], "it is a file; name the directory that holds them")
    WRONG["pipe"] = (pipe_in_place_of_a_file, [], "own/data_batch_2.bin is a directory or a special file, expected")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_one_line_before_any_run(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, options, message = WRONG[case]
    make(Path("own"))
    before = sorted(tmp_path.rglob("*"))
    for command in COMMANDS:
        assert main([*command, "--data-dir", "own", *SMALL, *options, "--out", "out"]) == 2
        captured = capsys.readouterr()
        wanted = message.replace("EXPECTED", EXPECTED).replace("WHOLE", WHOLE).replace("/", os.sep)
        assert wanted in captured.err
        assert captured.err.startswith(f"mabn-ref {command[0]}: error: ")
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "argument --data-dir: '', expected a directory with a printable name"),
        ("a\nb", r"argument --data-dir: 'a\nb', expected a directory with a printable name"),
        (
            "a\udcff",
            r"argument --data-dir: 'a\udcff', expected a directory with a printable name",
        ),  # bytes that are no UTF-8
        ("~/images", "~ stands for no directory here; write the path out"),
        ("https://example.org/a.gz", "that is an address; download the files and name the directory that holds them"),
    ],
)
def test_what_is_no_directory_here_is_one_line(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good(Path())  # which an empty name would train on
    for command in COMMANDS:
        assert main([*command, "--data-dir", name, *SMALL, "--out", "out"]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_file_that_memory_cannot_hold_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good(tmp_path)

    def read(path: Path) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", read)
    assert main([*COMMANDS[0], "--data-dir", str(tmp_path), *SMALL]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'data_batch_1.bin'} is 215110 bytes long, more than fits into memory: use fewer" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("refused", ["own", "own/data_batch_1.bin"])
def test_what_may_not_be_read_is_one_line(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good(Path("own"))
    refused = refused.replace("/", os.sep)
    listed, read = Path.iterdir, Path.read_bytes

    def refuse(path: object) -> None:
        if str(path) == refused:  # what the system says to those who are not root
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path) or listed(path))
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path) or read(path))
    for command in COMMANDS:
        assert main([*command, "--data-dir", "own", *SMALL, "--out", "out"]) == 1
        said = f"{refused} cannot be read (Permission denied): check its permissions, or copy it again\n"
        assert capsys.readouterr().err == f"mabn-ref {command[0]}: error: {said}"
    assert not Path("out").exists()


def test_a_link_to_nothing_is_one_line(tmp_path: Path) -> None:
    good(tmp_path)
    try:
        (tmp_path / "data_batch_2.bin").symlink_to("nowhere")
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(OSError, match=r"data_batch_2\.bin cannot be read \(No such file or directory\): check"):
        cifar.read_directory(tmp_path)


def trained(command: list[str], folder: Path, *options: str) -> list[dict[str, object]]:
    out = folder.parent / f"out-{command[0]}"
    assert main([*command, "--data-dir", str(folder), *SMALL, *options, "--out", str(out)]) == 0
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_colour_that_is_always_the_same_trains_and_plays_no_part(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, red = tmp_path / "own", (slice(None), slice(1, 1025))
    good(folder)
    found = []
    # nor does another value of it, or one that differs in the test images, change a number
    for value, in_the_test in ((7, 7), (200, 3)):
        change(folder, "data_batch_1.bin", assign(red, value))
        change(folder, "test_batch.bin", assign(red, in_the_test))
        found = trained(COMMANDS[0], folder)
        note = f"note: red is {value} in all training images; training leaves it out\n"
        assert note in capfd.readouterr().err
    assert [record["status"] for record in found] == ["done", "done"]
    first, second = (record["epochs"][0] for record in found)  # type: ignore[index]
    assert first | {"seconds": 0} == second | {"seconds": 0}


def test_compare_with_a_colour_that_is_always_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own"
    good(folder)
    change(folder, "data_batch_1.bin", assign((slice(None), slice(2049, None)), 255))
    assert [record["status"] for record in trained(COMMANDS[1], folder)] == ["done"]
    assert capfd.readouterr().err.count("note: blue is 255 in all training images; training leaves it out\n") == 1


def test_a_colour_that_hardly_ever_differs_trains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own"
    good(folder)
    change(folder, "data_batch_1.bin", assign((slice(None), slice(1, 1025)), 7))
    change(folder, "data_batch_1.bin", assign((0, 1), 8))
    assert trained(COMMANDS[0], folder)[0]["status"] == "done"
    assert "note" not in capfd.readouterr().err


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    """As in a notebook, which writes them, tries, and writes them again."""
    config = datasets.RunConfig(data="directory", data_dir=str(tmp_path), train_size=None, test_size=None)
    good(tmp_path)
    before = datasets.load(config)
    assert datasets.load(config) is before
    change(tmp_path, "data_batch_1.bin", assign((slice(None), 0), records(70, classes=10)[::-1, 0]))
    assert datasets.load(config).train.labels.tolist() == before.train.labels[::-1].tolist()
    (tmp_path / "data_batch_2.bin").write_bytes(records(40).tobytes())
    assert len(datasets.load(config).train.labels) == 110


def other_images(folder: Path) -> None:
    """As many, of the same labels."""
    change(folder, "data_batch_1.bin", lambda found: found[:, 1:].sort(axis=0))


@pytest.mark.parametrize(("command", "runs"), [(COMMANDS[1], 1), (COMMANDS[2], 13)])
def test_runs_on_other_images_of_the_same_name_are_done_again(
    command: list[str], runs: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    good(folder)
    first = trained(command, folder)
    kept = (folder / "data_batch_1.bin").read_bytes()
    other_images(folder)
    capfd.readouterr()
    second = trained(command, folder)
    path = tmp_path / f"out-{command[0]}" / "results.jsonl"
    assert capfd.readouterr().err.splitlines()[0] == (
        f"{runs} of {runs} runs in {path} are of other images than {folder} holds now: they are run again, and the "
        "old records stay in the file"
    )
    assert second[:runs] == first
    assert len(second) == 2 * runs
    assert len({record["images"] for record in second}) == 2
    # either are known now, and so are those of a version that did not write which images they are of
    for raw in (kept, (folder / "data_batch_1.bin").read_bytes()):
        (folder / "data_batch_1.bin").write_bytes(raw)
        assert trained(command, folder) == second
    older = [{name: value for name, value in record.items() if name != "images"} for record in first]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in older))
    assert trained(command, folder) == older
    assert "other images" not in capfd.readouterr().err


def test_the_table_is_of_the_images_that_are_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whichever were trained on last."""
    folder = tmp_path / "own"
    found = {}
    for name, alter in (("first", good), ("second", other_images)):
        alter(folder)
        *_, record = trained(COMMANDS[1], folder)
        found[name] = (folder / "data_batch_1.bin").read_bytes(), record
    lines = []
    for error, (_, record) in zip((11.0, 22.0), found.values(), strict=True):
        record["epochs"][-1]["test_error"] = error  # type: ignore[index]
        lines.append(f"{json.dumps(record)}\n")
    (tmp_path / "out-compare" / "results.jsonl").write_text("".join(lines))
    for error, (raw, _) in zip(("11.00", "22.00"), found.values(), strict=True):
        (folder / "data_batch_1.bin").write_bytes(raw)
        capfd.readouterr()
        trained(COMMANDS[1], folder)
        assert f" {error} (1 run) " in capfd.readouterr().out


def test_images_that_change_while_a_command_runs_are_a_run_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A table has runs on the same images alone; the same command then does all of them again."""
    folder, load = tmp_path / "own", datasets.load
    good(folder)
    monkeypatch.setattr(sweeps, "executor", lambda *_: ThreadPoolExecutor(1))

    def changing(config: datasets.RunConfig) -> datasets.Images:
        if config.seed == 1:
            other_images(folder)
        return load(config)

    monkeypatch.setattr(datasets, "load", changing)
    command = ["compare", "--rows", "bn-32", "--seeds", "2", "--jobs", "1", "--data-dir", str(folder), *SMALL]
    assert main([*command, "--out", str(tmp_path)]) == 1
    said = capfd.readouterr()
    why = f"{folder} held other images than when this command began"
    assert f"BN 32, seed 1 failed: RuntimeError: {why}" in said.err
    assert said.err.endswith("error: runs that failed: 1; the same command runs them again\n")
    assert re.search(r"BN 32 +1 ", said.out)
    monkeypatch.undo()
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert f"1 of 2 runs in {tmp_path / 'results.jsonl'} are of other images" in capfd.readouterr().err


def test_a_checkpoint_of_other_images_of_the_same_name_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, checkpoint = tmp_path / "own", tmp_path / "run.npz"
    good(folder)
    options = ["--checkpoint", str(checkpoint)]
    (record,) = trained(COMMANDS[0], folder, *options)
    kept = checkpoint.read_bytes()
    other_images(folder)
    assert main([*COMMANDS[0], "--data-dir", str(folder), *SMALL, *options]) == 2
    said = (
        f"{checkpoint} is a checkpoint of other images than {folder} holds now, digest {record['images']} there and"
    )
    assert f"mabn-ref train: error: {said} " in capfd.readouterr().err
    assert checkpoint.read_bytes() == kept


def test_what_lies_beside_the_records_is_left_alone(tmp_path: Path) -> None:
    good(tmp_path)
    before = cifar.read_directory(tmp_path)
    (tmp_path / "test_batch.bin.gz").write_bytes(gzip.compress(bytes(3073)))  # whose unpacked file is there
    (tmp_path / "data_batch_2.bin.off").write_bytes(records(5).tobytes())
    (tmp_path / "batches.meta").write_bytes(pickle.dumps([]))
    (tmp_path / "a.png").write_bytes(PNG)
    for one, other in zip(before, cifar.read_directory(tmp_path), strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_two_classes_train_as_two(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    good(folder, train=200, test=30, classes=2)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        change(folder, name, lambda found: assign((slice(None), 0), 3 + 4 * found[:, 0])(found))
    (record,) = trained(COMMANDS[0], folder, "--train-size", "64", "--test-size", "20")
    images = datasets.load(datasets.RunConfig(**record["config"]))  # type: ignore[arg-type]
    for part, each in ((images.train, 32), (images.test, 10)):
        assert np.bincount(part.labels, minlength=10).tolist() == [0, 0, 0, each, 0, 0, 0, each, 0, 0]


def test_a_class_may_be_missing_from_the_test_images(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    good(folder)
    change(folder, "test_batch.bin", assign((slice(7, None, 10), 0), 3))
    (record,) = trained(COMMANDS[0], folder, "--train-size", "64", "--test-size", "18")
    assert record["status"] == "done"


@pytest.mark.parametrize("name", ["a$x_{$b", "my images", "图像"])
def test_any_name_of_a_directory_is_drawn(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    good(folder)
    trained(COMMANDS[0], folder)
    assert (tmp_path / "out-train" / "curve.png").exists()


def test_archives_of_other_versions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    for member, said in (
        ("cifar-10-batches-py/data_batch_1", "it is from a Python version of CIFAR"),
        ("cifar-10-batches-mat/data_batch_1.mat", "it is a MATLAB file"),
        ("cifar-100-binary/train.bin", "it is from CIFAR-100, which has 100 classes"),
    ):
        path.write_bytes(packed("a", member))
        with pytest.raises(ValueError, match=rf"a\.tar\.gz lacks .*, expected the members .*: {said}"):
            cifar.read_archive(path)
    with pytest.raises(ValueError, match=r"expected the archive .*: it is a directory, for `read_directory`$"):
        cifar.read_archive(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((4, 32, 32, 3)), np.zeros(4, int), TypeError, "images is an array of float64, expected uint8"),
        (np.zeros((4, 3, 32, 32), np.uint8), np.zeros(4, int), ValueError, "channels last"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4), TypeError, "labels is an array of float64, expected an a"),
        (
            np.zeros((4, 32, 32, 3), np.uint8),
            [0, 1, 2, 3],
            TypeError,
            "labels is list, expected an array of integers",
        ),
        (
            np.zeros((4, 32, 32, 3), np.uint8),
            np.zeros(3, int),
            ValueError,
            r"labels has shape \(3,\) beside 4 images",
        ),
        (
            np.zeros((0, 32, 32, 3), np.uint8),
            np.zeros(0, int),
            ValueError,
            r"labels has shape \(0,\) beside 0 images",
        ),
        (
            np.zeros((4, 32, 32, 3), np.uint8),
            np.array([0, 1, -1, 2]),
            ValueError,
            "labels has -1 at 2, expected 0 to 9",
        ),
        (
            np.zeros((4, 32, 32, 3), np.uint8),
            np.array([0, 1, 2, 10]),
            ValueError,
            "labels has 10 at 3, expected 0 to 9",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_named(
    images: np.ndarray, labels: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        balanced(Dataset(images, labels), 2, 0)
