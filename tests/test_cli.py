"""The command line: what it prints, where, and the code it exits with."""

from __future__ import annotations

import argparse
import builtins
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from mabn_ref.__main__ import main as program_main
from mabn_ref.cli import COMMANDS, checks, compare, learn, main, options, paper, teach, train
from mabn_ref.cli.parser import Parser
from mabn_ref.paper.study import STUDIES
from mabn_ref.train import progress, results, sweeps
from mabn_ref.train.config import DEFAULTS, RunConfig
from tests.signals import HUNG, program

SMALLEST = ["--epochs", "1", "--width", "4", "--train-size", "64", "--test-size", "20"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


def contents(out: Path, file: str = "results.jsonl") -> list[dict[str, Any]]:
    """What a file of results says, but for times, in the order of its configurations."""
    records = [json.loads(line) for line in (out / file).read_text().splitlines()]
    for record in records:
        record.pop("seconds")
        for line in record["epochs"]:
            line.pop("seconds")
    return sorted(records, key=lambda record: json.dumps(record["config"]))


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return launch([sys.executable, "-m", "mabn_ref", *arguments], cwd)


def launch(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # tests that were started in the background ignore Ctrl-C, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_compare_from_end_to_end_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", *SMALLEST, "--seeds", "2", "--mabn-window", "16", "64", "--out", "out"]
    process = start(*arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=HUNG)
    assert process.returncode == 0, err
    table = out[out.index("The paper's pairing") :].splitlines()
    assert [line[:22].strip() for line in table[:9]] == [
        "The paper's pairing",
        "BN 32",
        "BN 2",
        "BRN 2",
        "MABN 2 + WC",
        "MABN 2 + WC, m=64",
        "Controls",
        "BN 32 + WC",
        "BN 2 + WC",
    ]
    assert "±" not in out.partition("Differences")[0], "no interval of two seeds"
    assert "fewer than 3 seeds give no interval" in out
    assert max(map(len, out.splitlines())) <= 80
    sketched = out.partition("after the last:\n\n")[2].partition("\n\n")[0].splitlines()
    assert [line[2:19].strip() for line in sketched] == [
        row[2:19].strip() for row in table[:9] if row.startswith("  ")
    ]
    assert len([line for line in err.splitlines() if ": test error " in line]) == 14
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.png", "results.jsonl"]
    records = contents(tmp_path / "out")
    assert len(records) == 14
    for record in records:
        assert record["status"] == "done"
        assert record["seed"] == record["config"]["seed"]
        assert record["versions"].keys() == {"python", "numpy", "mabn_ref"}
        assert [line.keys() for line in record["epochs"]] == [{"epoch", "train_loss", "train_error", "test_error"}]

    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    second_out, second_err = capsys.readouterr()
    assert second_out == out
    assert (
        second_err.strip() == f"14 of 14 runs are in {Path('out') / 'results.jsonl'} already; --fresh runs them again"
    )
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_compare_without_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the terminal is ASCII, or a pipe has a code page."""
    arguments = ["compare", *SMALLEST, "--seeds", "3", "--rows", "bn-2", "--jobs", "1", "--out", str(tmp_path)]
    for encoding, interval, bar in (("ascii", "?", "#"), ("cp1252", "±", "#"), ("utf-8", "±", "█")):
        printed = io.BytesIO()
        with monkeypatch.context() as as_there:
            as_there.setattr(sys, "argv", ["mabn-ref", *arguments])
            as_there.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
            as_there.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
            assert program_main() == 0
            out = printed.getvalue().decode(encoding)
        assert re.search(rf"BN 2 +3 +[\d.]+ {re.escape(interval)} [\d.]+ ", out)
        assert bar * 20 in out


def test_fresh_starts_over_and_keeps_the_old_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", *SMALLEST, "--seeds", "1", "--rows", "bn-2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    old = (tmp_path / "results.jsonl").read_bytes()
    assert main([*arguments, "--fresh"]) == 0
    assert (tmp_path / "results.jsonl.old").read_bytes() == old
    assert len(contents(tmp_path)) == 1
    assert "already" not in capfd.readouterr().err


def test_no_start_with_fresh_loses_the_results_of_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at once, the second time with nothing recorded yet."""

    def interrupted(*_: Any) -> Any:
        results.prepare(tmp_path / "results.jsonl")
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps, "sweep", interrupted)
    for content in ('{"seed": 1}\n', "", '{"seed": 2}\n'):
        (tmp_path / "results.jsonl").write_text(content)
        assert main(["compare", *SMALLEST, "--seeds", "1", "--jobs", "1", "--fresh", "--out", str(tmp_path)]) == 130
        assert "; the same command without --fresh resumes with the runs that" in capsys.readouterr().err
    assert (tmp_path / "results.jsonl.old").read_text() == '{"seed": 1}\n'
    assert (tmp_path / "results.jsonl.old2").read_text() == '{"seed": 2}\n'
    assert not (tmp_path / "results.jsonl.old3").exists()


def test_runs_that_diverge_are_reported_and_the_others_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", *SMALLEST, "--seeds", "1", "--rows", "bn-32", "mabn-2", "--out", str(tmp_path)]
    assert main([*arguments, "--lr", "1e30"]) == 1
    captured = capfd.readouterr()
    assert captured.err.endswith("mabn-ref compare: error: every run diverged; there is no curve to draw\n")
    assert "after each epoch" not in captured.out
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]
    assert "BN 32, seed 0 diverged: step 2: layer norm1: x reaches" in captured.err
    assert "0 (1 diverged)" in captured.out
    assert {record["status"] for record in contents(tmp_path)} == {"diverged"}
    # They count as run; a run with another rate beside them does not.
    assert main(arguments) == 0
    assert len(contents(tmp_path)) == 4


@posix
def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Sent to the workers too, as a terminal does: while the command waits for its runs, and as one is recorded."""
    arguments = "compare --rows bn-2 mabn-2 --seeds 2 --jobs 2 --epochs 4 --width 4 --train-size 160 --test-size 20"
    assert main([*arguments.split(), "--jobs", "1", "--out", str(tmp_path / "whole")]) == 0
    # A run of 4 epochs of 5 steps reports 24 times: at the 30th report one of the four may have ended, not more.
    for call, count in (("mabn_ref.train.progress:Bar.report", 30), ("mabn_ref.train.results:append", 1)):
        process = launch(program(call, count, "SIGINT", *arguments.split(), "--out", "cut"), tmp_path)
        _, err = process.communicate(timeout=HUNG)
        assert "Traceback" not in err
        assert process.returncode == 130
        assert err.splitlines()[-1].startswith(
            "mabn-ref compare: interrupted; the same command resumes with the runs"
        )
    assert 1 <= len(contents(tmp_path / "cut")) <= 3
    assert main([*arguments.split(), "--jobs", "1", "--out", str(tmp_path / "cut")]) == 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@posix
def test_ctrl_c_in_train_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = (
        "train --epochs 200 --width 4 --train-size 320 --test-size 20 --checkpoint run.npz --checkpoint-every 5"
    )
    process = launch(program("mabn_ref.nn.network:backward", 8, "SIGINT", *arguments.split()), tmp_path)
    _, err = process.communicate(timeout=HUNG)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "mabn-ref train: interrupted; the same command resumes from run.npz"
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert "params/00/w" in archive.files
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


@posix
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers through /proc")
def test_a_worker_that_dies_loses_its_run_alone(tmp_path: Path) -> None:
    arguments = "compare --rows bn-2 mabn-2 --seeds 2 --jobs 2 --epochs 12 --width 4 --train-size 160 --test-size 20"
    process = start(*arguments.split(), "--out", "out", cwd=tmp_path)
    while True:
        children = [
            int(pid)
            for pid in Path(f"/proc/{process.pid}/task").glob("*/children")
            for pid in pid.read_text().split()
        ]
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(workers) == 2:
            break
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=HUNG)
    assert process.returncode == 1
    assert err.count("failed: WorkerDied: its worker process was killed by SIGKILL") == 1
    assert err.splitlines()[-1] == "mabn-ref compare: error: runs that failed: 1; the same command runs them again"
    assert len(contents(tmp_path / "out")) == 3
    assert "MABN 2 + WC" in out


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        ([OSError("disk full"), OSError("disk full")], "2; the same command runs them again"),
        ([ValueError("x is 0"), OSError("disk full")], "2; the same command runs them again"),
        ([ValueError("x is 0"), KeyError("y")], "2; the same command would fail again: x is 0"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "paper table2"])
def test_what_must_fail_again_is_not_advised(
    command: str,
    errors: list[Exception],
    advice: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeps, "sweep", lambda configs, *_: zip(configs[: len(errors)], errors, strict=True))
    assert main([*command.split(), *SMALLEST, "--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"mabn-ref {command.split()[0]}: error: runs that failed: {advice}"


def test_train_prints_its_epochs_and_writes_its_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", *SMALLEST, "--norm", "bn", "--norm-batch", "32", "--epochs", "2", "--out", str(tmp_path)]
    assert main([*arguments, "--checkpoint", str(tmp_path / "run.npz")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("BN 32: test error ")
    files = (tmp_path / name for name in ("results.jsonl", "curve.png", "run.npz"))
    first, _, written = captured.out.partition("\n")
    assert first.endswith(" % after 2 epochs")
    assert written.split() == ["Written:", *", ".join(map(str, files)).split()]
    assert [line[:9] for line in captured.err.splitlines() if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len(contents(tmp_path)) == 1


def test_a_finished_run_says_so_and_is_recorded_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, results = tmp_path / "run.npz", tmp_path / "results.jsonl"
    arguments = ["train", *SMALLEST, "--norm", "bn", "--checkpoint", str(checkpoint), "--out", str(tmp_path)]

    def said(*more: str) -> list[str]:
        assert main([*arguments, *more]) == 0
        return capsys.readouterr().out.replace("\n  ", " ").splitlines()

    first, _ = said()
    again = [first, f"The run in {checkpoint} was finished already.", f"Written: {tmp_path / 'curve.png'}"]
    kept, before = results.read_text(), checkpoint.read_bytes()
    assert said() == again
    assert results.read_text() == kept
    # neither is it recorded again by another version
    other = json.dumps(json.loads(kept) | {"versions": {"numpy": "1.0"}}) + "\n"
    results.write_text(other)
    assert said() == again
    assert results.read_text() == other
    # what was not asked for before is in a record of its own
    assert said("--re-estimate")[-1] == f"Written: {results}, {tmp_path / 'curve.png'}"
    assert len(contents(tmp_path)) == 2
    assert checkpoint.read_bytes() == before


def test_runs_that_diverge_at_once_are_not_taken_for_one() -> None:
    first, second = RunConfig(), RunConfig(seed=1)
    old = {"status": "diverged", "config": first.as_dict(), "seconds": 0.0, "epochs": [], "versions": {}}
    assert train._of_one_training(old, old | {"versions": {"numpy": "1.0"}}, first)
    assert not train._of_one_training(old, old | {"config": second.as_dict()}, second)


@pytest.mark.parametrize(("said", "key"), [("", "population_error"), ("--augment", "augmented_error")])
def test_train_tests_again_with_statistics_of_all_images(
    said: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", *SMALLEST, "--norm", "bn", *said.split(), "--re-estimate", "--out", str(tmp_path)]
    assert main(arguments) == 0
    (record,) = contents(tmp_path)
    assert f"with statistics of all training images: test error {record[key]:.2f} %\n" in capsys.readouterr().out


@pytest.mark.parametrize("norm", ["gn", "rms", "frozen-bn", "dyt"])
def test_nothing_is_estimated_again_where_there_are_no_moving_statistics(
    norm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SMALLEST, "--norm", norm, "--re-estimate"]) == 2
    assert f"argument --re-estimate: {norm} has no moving statistics" in capsys.readouterr().err


def test_weights_can_be_standardised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--epochs 1 --width 4 --train-size 64 --test-size 20"
    assert main(f"train --norm mabn --ws {sizes} --out {tmp_path}".split()) == 0
    config = contents(tmp_path)[0]["config"]
    assert (config["standardized"], config["centralized"]) == (True, False)
    assert main(f"train --norm bn --ws --wc {sizes}".split()) == 2
    assert "argument --ws: not allowed with argument --wc" in capsys.readouterr().err
    assert main(f"compare --rows bn-32 bn-2-ws --seeds 1 --jobs 1 {sizes} --out {tmp_path / 'compare'}".split()) == 0
    out = capsys.readouterr().out
    assert "BN 2 + WS" in out
    assert "WC: weight centralisation. WS: weight standardisation." in " ".join(out.split())


def test_what_is_said_of_a_study_holds_though_it_is_usual_for_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--lr 0.06` is what generated images have if nothing is said, and scenes have not."""
    contexts: dict[str, Any] = {}
    monkeypatch.setattr(paper, "_run_studies", lambda _, found, *rest: contexts.update(found) or 0)
    for name in ("table8", "table3", "long"):
        said = DEFAULTS["embedded"] | {"weight_decay": RunConfig.weight_decay}
        if name != "long":
            del said["augment"]  # which scenes never are
        words = "--lr {lr} --epochs {epochs} --width {width} --train-size {train_size} --test-size {test_size}"
        words += " --weight-decay {weight_decay}" + (" --no-augment" if name == "long" else "")
        assert main(f"paper {name} {words.format(**said)} --out {tmp_path}".split()) == 0
        settings = contexts[name].settings
        assert {field: settings[field] for field in said} == said
        assert main(f"paper {name} --out {tmp_path}".split()) == 0
        assert contexts[name].settings != settings
        assert contexts[name].settings.keys() == settings.keys()


def test_the_options_of_train_reach_the_run(tmp_path: Path) -> None:
    arguments = (
        "train --norm mabn --norm-batch 4 --no-wc --decay 0.9 --mabn-window 5 --no-augment --lr 0.02 "
        f"--weight-decay 0.1 --seed 7 --epochs 1 --width 5 --train-size 64 --test-size 20 --out {tmp_path}"
    )
    assert main(arguments.split()) == 0
    config = contents(tmp_path)[0]["config"]
    expected = {
        "norm": "mabn",
        "norm_batch": 4,
        "centralized": False,
        "decay": 0.9,
        "window": 5,
        "augment": False,
        "lr": 0.02,
        "weight_decay": 0.1,
        "seed": 7,
        "epochs": 1,
        "width": 5,
        "train_size": 64,
        "test_size": 20,
    }
    assert {name: config[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("source", "said", "augment"),
    [
        ("embedded", "", False),
        ("embedded", "--augment", True),
        ("cifar10", "", True),
        ("cifar10", "--no-augment", False),
    ],
)
def test_images_are_augmented_unless_they_are_generated(source: str, said: str, augment: bool) -> None:
    parser = argparse.ArgumentParser()
    options.add_run_options(parser)
    assert options.settings(parser.parse_args(["--data", source, *said.split()]))["augment"] is augment


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_of_paper_is_as_wide_as_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["paper", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert columns - 15 < max(map(len, lines)) < columns
    assert [line.split()[0] for line in lines[lines.index("studies:") + 1 :] if line[2:3].strip()] == list(STUDIES)


@pytest.mark.parametrize("columns", [40, 80])
def test_help_breaks_no_name_at_its_hyphen(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied from it must run: "--train-" and "size 64" on two lines do not."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in HELP:
        assert main(arguments) == 0
        broken = [line for line in capsys.readouterr().out.splitlines() if line.endswith("-")]
        assert broken == [], arguments


def test_the_help_of_paper_names_the_studies_with_defaults_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    paper.add(parser.add_subparsers())
    usual, own = DEFAULTS["embedded"], []
    for name, study in STUDIES.items():
        found = paper._context(parser.parse_args(["paper", name]), study).settings
        own += [name] * any(found.get(field, value) != value for field, value in usual.items())
    assert main(["paper", "--help"]) == 0
    assert "for most studies: long, table3 and table5 to table8_devices have" in " ".join(
        capsys.readouterr().out.split()
    )
    assert own == ["long", "table3", "table5", "table6", "table7", "table8", "table8_devices"]


@pytest.mark.parametrize("described", ["training", "12/12 runs"])
def test_the_bar_fits_80_columns(described: str) -> None:
    """With a bar that can be seen to grow."""
    numbers = {"n": 4608, "total": 4800, "elapsed": 1200.0, "rate": 3424.64, "postfix": "loss 1.639, error 75.2 %"}
    line = tqdm.format_meter(**numbers, ncols=79, prefix=described, bar_format=progress._FORMAT, unit=" images")
    assert line.endswith("error 75.2 %")
    assert 5 <= len(line.split("|")[1]) <= 20


def test_a_directory_of_record_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("data_batch_1.bin", 70), ("test_batch.bin", 10)):
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(count) % 10
        (tmp_path / name).write_bytes(records.tobytes())
    arguments = ["train", "--data-dir", str(tmp_path), "--epochs", "1", "--width", "4", "--out", str(tmp_path)]
    assert main(arguments) == 0
    config = contents(tmp_path)[0]["config"]
    assert (config["data"], config["train_size"], config["test_size"]) == ("directory", None, None)
    assert main([*arguments, "--train-size", "100"]) == 2
    said = f"{tmp_path / 'data_batch_*.bin'} holds 70 images: ask for at most 70, or add images\n"
    assert capsys.readouterr().err.endswith(f"error: argument --train-size: 100, but {said}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("comprae", "mabn-ref: error: unknown command 'comprae': did you mean 'compare'?"),
        (
            "compare --rows bn32",
            "mabn-ref compare: error: argument --rows: unknown row 'bn32': did you mean 'bn-32'?",
        ),
        (
            "train --norm mban",
            "argument --norm: unknown norm 'mban': did you mean 'mabn'? (bn, brn, modified-bn, mabn, gn",
        ),
        ("train --norm zzz", "argument --norm: unknown norm 'zzz': expected one of bn, brn, modified-bn, mabn"),
        ("train --norm batch_norm", "argument --norm: unknown norm 'batch_norm': did you mean 'bn'?"),
        ("train --norm Group-Norm", "argument --norm: unknown norm 'Group-Norm': did you mean 'gn'?"),
        ("gradcheck bn", "argument NAME: unknown name 'bn': did you mean 'batch_norm'?"),
        ("train --data cifar", "argument --data: unknown data set 'cifar': did you mean 'cifar10'?"),
        (
            "fetch cifar-10",
            "mabn-ref fetch: error: argument NAME: unknown data set 'cifar-10': did you mean 'cifar10'?",
        ),
        ("compare --epoch 3", "mabn-ref compare: error: unknown argument '--epoch'; did you mean --epochs?"),
        ("train --zzz", "mabn-ref train: error: unknown argument '--zzz'; mabn-ref train --help lists the options"),
        ("train --epochs 0", "argument --epochs: 0, expected an integer of at least 1"),
        ("train --epochs 1.5", "argument --epochs: '1.5', expected an integer of at least 1"),
        ("train --lr nan", "argument --lr: nan, expected a number of at least 0"),
        ("train --lr -1", "argument --lr: -1, expected a number of at least 0"),
        ("train --lr inf", "argument --lr: inf, expected a finite number"),
        ("train --decay inf", "argument --decay: inf, expected a finite number"),
        ("train --decay 1", "mabn-ref train: error: argument --decay: 1.0, expected a number in [0, 1)"),
        ("train --decay 1.5", "argument --decay: 1.5, expected a number in [0, 1)"),
        ("train --decay 1", "argument --decay: 1.0, expected a number in [0, 1)"),
        (
            "train --norm gn --decay 0.5",
            "error: argument --decay: 0.5 with --norm gn, expected none: only bn, brn, modified-bn, mabn,",
        ),
        ("train --norm bn --groups 2", "argument --groups: 2 with --norm bn, expected none: only gn can use it"),
        (
            "train --norm bn --mabn-window 4",
            "argument --mabn-window: 4 with --norm bn, expected none: only mabn, un can use it",
        ),
        (
            "train --devices 3",
            "argument --devices: 3, expected a divisor of 16, the normalisation batches of 2 in a gradient batch",
        ),
        (
            "compare --devices 3",
            "argument --devices: 3, expected a divisor of 16, the normalisation batches of 2 in a gradient batch",
        ),
        ("train --wc --ws", "mabn-ref train: error: argument --ws: not allowed with argument --wc"),
        (
            "train --norm-batch 3",
            "train: error: argument --norm-batch: 3, expected a divisor of 32, the images of a gradient batch",
        ),
        (
            "train --train-size 8",
            "mabn-ref train: error: argument --train-size: 8, expected an integer of at least 32",
        ),
        ("compare --seeds 0", "argument --seeds: 0, expected an integer of at least 1"),
        ("compare --data embedded --data-dir x", "argument --data-dir: not allowed with argument --data"),
        ("train --data-dir nowhere", "no data_batch_*.bin and no test_batch*.bin in nowhere"),
        ("", "mabn-ref: error: the following arguments are required: COMMAND; see mabn-ref --help\n"),
        ("learn", "required: ACTION; see mabn-ref learn --help\n"),
        ("check torch.nn:BatchNorm2d", "required: --as; see mabn-ref check --help\n"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_wrong_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.npz").write_bytes(b"not a checkpoint")
    assert main(["train", *SMALLEST, "--checkpoint", str(tmp_path / "run.npz")]) == 2
    assert f"mabn-ref train: error: {tmp_path / 'run.npz'} is not a checkpoint" in capsys.readouterr().err
    (tmp_path / "results.jsonl").write_text("damaged\n{}\n")
    for command in ("train", "compare"):
        assert main([command, *SMALLEST, "--out", str(tmp_path)]) == 2
        assert "results.jsonl, line 1, is not a record of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", ["export nowhere.npz net.onnx", "train --from nowhere.npz", "learn check --dir nowhere"]
)
def test_a_file_that_is_not_there_is_no_failure_of_the_command(
    arguments: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`learn check` exits with 1 where an exercise has not passed; a script has to tell that from a wrong path."""
    if arguments.startswith("export"):
        pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    """As `mabn-ref learn status | head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "mabn_ref", "learn", "work"]
    try:
        done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("module", ["matplotlib", "tqdm", "threadpoolctl"])
def test_a_missing_extra_is_named_before_anything_is_run(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    importing = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(f"No module named {name!r}")
        return importing(name, *rest)

    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without)
    for command in ("train", "compare"):
        assert main([command, *SMALLEST, "--out", str(tmp_path / "out")]) == 1
        assert capsys.readouterr().err == (
            f'mabn-ref {command}: error: {module} is not installed: pip install "mabn_ref[run]"\n'
        )
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["train", *SMALLEST, "--out", str(tmp_path / "file" / "out")]) == 1
    assert capsys.readouterr().err.startswith("mabn-ref train: error: ")
    for command in ("train", "compare", "paper table2", "vectors"):
        words = [tmp_path / "file"] if command == "vectors" else [*SMALLEST, "--out", tmp_path / "file"]
        assert main([*command.split(), *map(str, words)]) == 1
        said = f"error: {tmp_path / 'file'} is a file, expected a directory or the name of a new one\n"
        assert capsys.readouterr().err.endswith(said)


NAMES = [name for names in COMMANDS.values() for name in names]
HELP = [*([name, "--help"] for name in NAMES), *(["learn", action, "--help"] for action in learn.ACTIONS)]


@pytest.mark.parametrize("arguments", [["--help"], *HELP, ["--version"]], ids=" ".join)
def test_help_goes_to_standard_output(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(("usage: mabn-ref", "mabn-ref 0."))


@pytest.mark.parametrize(
    ("words", "folder", "norms"),
    [
        ("--norms mabn out", "out", ["mabn"]),
        ("--norms bn mabn out --small", "out", ["bn", "mabn"]),
        ("out --norms bn mabn", "out", ["bn", "mabn"]),
        ("--small out --norms bn", "out", ["bn"]),
        ("--norms bn -- out", "out", ["bn"]),
        ("bn --norms mabn", "bn", ["mabn"]),
    ],
)
def test_a_folder_after_an_option_with_many_values(
    words: str, folder: str, norms: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here of vectors; --only and --csv of `learn grade` and `learn export` are of the same kind."""
    given: list[Any] = []
    monkeypatch.setattr("mabn_ref.check.vectors.full_set", lambda names: names)
    monkeypatch.setattr("mabn_ref.check.vectors.small_set", lambda names: names)
    monkeypatch.setattr("mabn_ref.check.vectors.write", lambda *arguments: given.append(arguments) or [])
    assert main(["vectors", *words.split()]) == 0
    assert given == [(Path(folder), norms)]


@pytest.mark.parametrize(
    ("words", "folder", "only", "csv"),
    [
        ("grade --only 1 bn_forward work", "work", ["01_moments", "02_bn_forward"], None),
        ("grade --csv work", "work", (), "grades.csv"),
        ("grade --csv out.csv work", "work", (), "out.csv"),
        ("grade work --csv", "work", (), "grades.csv"),
        ("export --only 1 2 work", "work", ["01_moments", "02_bn_forward"], None),
    ],
)
def test_a_folder_after_the_options_of_the_course(
    words: str, folder: str, only: Any, csv: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    for act in ("_grade", "_export"):
        monkeypatch.setattr(teach, act, lambda args: given.append(args) or 0)
    assert main(["learn", *words.split()]) == 0
    (args,) = given
    assert (args.folder, args.only) == (Path(folder), only)
    assert getattr(args, "csv", None) == (csv and Path(csv))


def test_every_command_is_known_by_its_file() -> None:
    found = {}
    for module in (compare, paper, train, checks, learn):
        commands = argparse.ArgumentParser().add_subparsers()
        module.add(commands)
        found[module.__name__.rpartition(".")[2]] = tuple(commands.choices)
    assert found == COMMANDS


def test_a_command_imports_its_own_file_alone() -> None:
    code = (
        "import sys\nfrom mabn_ref.cli import main\nmain(sys.argv[1:])\n"
        "print(*sorted(name for name in sys.modules if name.startswith('mabn_ref.cli.')), file=sys.stderr)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, "learn", "--help"], capture_output=True, text=True, check=True
    ).stderr
    assert {f"mabn_ref.cli.{name}" for name in COMMANDS} & {*said.split()} == {"mabn_ref.cli.learn"}


def test_the_help_names_the_graders_that_notebooks_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "export", "--help"]) == 0
    assert "one of plain, nbgrader, otter; default plain" in " ".join(capsys.readouterr().out.split())


def test_no_folder_is_still_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vectors", "--norms", "bn", "mabn"]) == 2
    assert capsys.readouterr().err.endswith("are required: DIR; see mabn-ref vectors --help\n")
    assert main(["vectors", "--norms", "mban", "out"]) == 2
    assert "unknown norm 'mban': did you mean 'mabn'?" in capsys.readouterr().err


def test_no_command_has_words_after_an_option_that_takes_any(capsys: pytest.CaptureFixture[str]) -> None:
    """Every required argument of every command may come last, after any of its options that takes several values."""
    parser = Parser()
    commands = parser.add_subparsers()
    for module in (compare, paper, train, checks, learn):
        module.add(commands)
    found = 0
    for command in [*commands.choices.values(), *actions_of(commands.choices["learn"]).values()]:
        needed = [action for action in command._actions if action.required and not action.option_strings]
        for option in [action for action in command._actions if action.nargs in ("+", "?") and action.option_strings]:
            for action in needed:
                value = {"norms": ["bn"], "only": ["1"], "csv": []}[option.dest]
                words = [option.option_strings[0], *value, "last"]
                assert getattr(command.parse_args(words), action.dest) == Path("last")
                found += 1
    assert found == 4


def actions_of(command: argparse.ArgumentParser) -> dict[str, Any]:
    """The parsers of a command's actions."""
    (action,) = (action for action in command._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def test_help_says_what_holds_of_every_normaliser(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "(default 2; 1 for gn, ln, in, online, rms, frn, frozen-bn, dyt, derf)" in said
    assert "(default: the greatest common divisor of 8 and the width)" in said
    assert "training images, divided among the classes as evenly as possible" in said


def test_one_draw_is_not_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "relu", "--draws", "1", "--jobs", "1"]) == 0
    assert "; 1 draw of each" in capsys.readouterr().out
