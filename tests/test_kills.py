"""Commands killed at random moments, and several on one directory: nothing is lost, nothing is there twice.

``MABN_KILLS=20 pytest tests/test_kills.py`` kills each of three commands as often, and starts two and four commands
on one directory as many times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.signals import HUNG

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX"),
    pytest.mark.skipif("MABN_KILLS" not in os.environ, reason="takes minutes: set MABN_KILLS to a number"),
]

KILLS = int(os.environ.get("MABN_KILLS", "1"))
TINY = ["--epochs", "1", "--width", "4", "--train-size", "64", "--test-size", "20"]
RUNS = [*TINY, "--seeds", "2", "--jobs", "1"]
COMMANDS = {
    "train": ["train", *TINY, "--epochs", "2", "--checkpoint-every", "1"],
    "compare": ["compare", "--rows", "bn-2", "mabn-2", *RUNS],
    "paper": ["paper", "table4", *RUNS],
}


def started(name: str, folder: Path) -> subprocess.Popen[bytes]:
    words = [*COMMANDS[name], "--out", str(folder)]
    words += ["--checkpoint", str(folder / "run.npz")] if name == "train" else []
    return subprocess.Popen(
        [sys.executable, "-m", "mabn_ref", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=HUNG)
    assert process.returncode == 0, said.decode()[-2000:]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if "second" not in key and key != "worker"}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def records(folder: Path) -> Counter[str]:
    """How often each run stands in the results, with its numbers."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return Counter(json.dumps(without_times(json.loads(line)), sort_keys=True) for line in lines)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, Counter[str]]]:
    """Seconds and records of each command, not disturbed."""
    found = {}
    for name in COMMANDS:
        folder = tmp_path_factory.mktemp(name)
        start = time.monotonic()
        finished(started(name, folder))
        found[name] = time.monotonic() - start, records(folder)
        assert set(found[name][1].values()) == {1}
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random(name: str, alone: dict[str, tuple[float, Counter[str]]], tmp_path: Path) -> None:
    """As many kills that land; each time the command is started again, and twice in a row now and then."""
    draw, (seconds, whole), landed, tries = random.Random(KILLS), alone[name], 0, 0
    while landed < KILLS:
        folder = tmp_path / str(tries)
        for _ in range(draw.choice((1, 1, 2))):
            process = started(name, folder)
            time.sleep(draw.uniform(0.2, 1.0) * seconds)
            if process.poll() is None:
                landed += 1
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        finished(started(name, folder))
        assert records(folder) == whole, folder
        tries += 1
    print(f"{name}: {landed} kills that landed in {tries} runs")


@pytest.mark.parametrize("many", [2, 4])
@pytest.mark.parametrize("name", ["compare", "train"])
def test_many_on_one_directory(
    name: str, many: int, alone: dict[str, tuple[float, Counter[str]]], tmp_path: Path
) -> None:
    for number in range(KILLS):
        processes = [started(name, tmp_path / str(number)) for _ in range(many)]
        for process in processes:
            finished(process)
        assert records(tmp_path / str(number)) == alone[name][1], number
