"""Odd command lines: exit 1 or 2, one line, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mabn_ref.cli import main

LONG, HUGE = "x" * 300, "9" * 25
INTEGERS = ("", " ", "x", "1.5", "-1", "nan", "0x10", "1e3", "--", "\u0662\u0662x", "None")
NUMBERS = ("", "x", "nan", "inf", "-inf", "1e999", "-0.1", "1,5", "True")
PLACES = ("", "file", "file/below", "a\0b")
EXERCISES = ("", "0", "99", "-1", "1.0", "moment", "1_", "..", "../01_moments", LONG, "\x1b[2J")
OPTIONS: dict[str, tuple[str, ...]] = {
    **{f"train {name}": INTEGERS for name in ("--epochs", "--width", "--train-size", "--norm-batch")},
    **{f"train {name}": NUMBERS for name in ("--lr", "--weight-decay", "--decay")},
    "train --norm": ("", "BN", "bn ", "bn,mabn", "mabn\n", "*", LONG),
    "train --data": ("", "cifar100", "embedded "),
    "train --data-dir": ("", "file", "empty", "nowhere", "a\nb"),
    "train --out": PLACES,
    "train --checkpoint": ("", "empty", "file", "file/below", "a\0b", ".", "..", "/", "empty/..", "pipe"),
    "train --from": ("", "empty", "file", "pipe", "loop"),
    "compare --rows": ("", "bn", "bn-3", "bn-2 bn-2x", "--"),
    "compare --seeds": INTEGERS,
    "compare --out": PLACES,
    "paper": ("", "table10", "all table1", "--seeds", "table1 --layer norm8", "theorem1 --seeds 0"),
    "paper table2 --dask": (
        "",
        "nowhere",
        "tcp://host",
        "host:x",
        "host:0",
        "host:65536",
        "foo://h:1",
        ":8786",
        "tcp://:1",
        LONG,
    ),
    "gradcheck": ("bn", "--draws 0", "--draws x", "--seed -1", "relu relux"),
    "mistakes": ("--draws 0", "--seeds -1", "x"),
    "vectors": ("", "file", "out --norms gn", "out --norms", "--small"),
    "fetch": ("", "CIFAR10", "cifar10 cifar10", "../cifar10"),
    "export": (
        "",
        "file",
        "file out",
        "file file",
        "nowhere net.onnx",
        "file net.onnx",
        "empty net.onnx",
        "pipe n.onnx",
    ),
    "check": ("", "nowhere:Layer", "os", "os:nothing", "os:", ":Layer", "file:Layer", "os:path --as zz", "a b"),
    "learn check": EXERCISES,
    "learn show": EXERCISES,
    "learn reset": EXERCISES[:3],
    "learn grade": ("", "file", "empty", "nowhere", "empty --jobs 0", "empty --hidden -1", "empty --only 99", "loop"),
    "learn export": ("", "out --for word", "file", "out --only x"),
    "learn lint": ("--course file", "--course empty", "--course nowhere", "x"),
    "learn": (
        "",
        "chekc",
        "grade",
        "check --dir nowhere",
        "hint --dir file",
        "start",
        "--version",
        "start loop",
        "status --dir loop",
    ),
}
ABSURD = (
    "train --width 1000000",
    f"train --width {HUGE}",
    f"train --epochs 1 --train-size {HUGE}",
    "train --norm mabn --mabn-window 100000000000",
    "train --norm gn --groups 3 --width 4",
    "train --norm gn --groups 0",
    "train --norm in --norm-batch 2",
    "train --norm-batch 31",
    "train --checkpoint-every 0 --checkpoint c.npz",
    "compare --train-size 1",
    "compare --jobs 0",
    "compare --mabn-window 0",
    "compare --mabn-window 1 x",
    "compare --augment --no-augment x",
    "train --device gpu",
    "train --checkpoint empty/curve.png --out empty",
    "train --checkpoint file --out new --width 4 --train-size 64 --test-size 20",
    "train --checkpoint new/results.jsonl --out empty/../new",
    "train --ws --wc",
    "train train",
    "-h train --zzz",
    "--zzz",
    "\x1b[2J",
    "compare" + " compare" * 200,
)


def lines() -> list[list[str]]:
    """Each as its words; what stands after an option is one word where that is what is odd about it."""
    found = [words.split() for words in ABSURD if not words.startswith("-h")]
    for start, values in OPTIONS.items():
        whole = "--" in start or start in ("learn check", "learn show", "learn reset")
        found += [[*start.split(), *([value] if whole else value.split(" ") if value else [])] for value in values]
    return found


def test_there_are_many() -> None:
    assert len({tuple(words) for words in lines()}) >= 150


@pytest.mark.skipif(os.name != "posix", reason="names that other systems do not allow")
@pytest.mark.parametrize("words", lines(), ids=lambda words: ascii(" ".join(words))[1:60])
def test_an_odd_command_line_is_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x = 1\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    assert main(words) in (1, 2)
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("mabn-ref")
    assert "\x1b" not in said.err
    assert said.out == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file", "loop", "pipe"]
