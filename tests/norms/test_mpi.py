"""Synchronised BN on real MPI ranks, which `mpirun` starts; and how such a job ends when a rank dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mabn_ref.norms.communicators import Alone
from mabn_ref.train import mpi
from tests.signals import HUNG

ROOT = Path(__file__).parents[2]
MISSING = [name for name, found in (("mpirun", shutil.which("mpirun")), ("mpi4py", find_spec("mpi4py"))) if not found]
needs_mpi = pytest.mark.skipif(
    bool(MISSING),
    reason=f'{" and ".join(MISSING)} not installed: apt-get install openmpi-bin, pip install "mabn_ref[mpi]"',
)
# Open MPI asks before it runs as root or more ranks than cores; MPICH knows none of these.
ALLOWED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


def mpirun(ranks: int, *command: str, timeout: float = HUNG) -> subprocess.CompletedProcess[str]:
    """Run a script of this project on so many ranks; a job that hangs is ended, and fails the test."""
    launcher = shutil.which("mpirun")
    assert launcher is not None
    environment = os.environ | ALLOWED | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [launcher, "-n", str(ranks), sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 4])
def test_the_union_on_real_ranks(ranks: int) -> None:
    """Forward, backward, state, 1e-12, even and uneven splits, ranks without samples.

    eq: sync-mean, sync-variance, sync-gradient-statistics, sync-graph
    """
    done = mpirun(ranks, "tests/norms/mpi_ranks.py", "equality")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:3] == ["ranks", str(ranks), "worst"], done.stdout
    assert float(words[3]) <= 1e-12


@needs_mpi
@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("dies", "rank 1 of 2 died: ZeroDivisionError: no more"),
        ("killed", "signal 9"),
        ("channels", "ranks differ in channels: this one has"),
    ],
)
def test_a_rank_that_dies_ends_the_job_with_a_message(task: str, message: str) -> None:
    done = mpirun(2, "tests/norms/mpi_ranks.py", task)
    assert done.returncode != 0
    if task == "killed":  # what is said is the launcher's
        assert "signal" in (done.stdout + done.stderr).lower()
    else:
        assert message in done.stderr


def test_without_mpirun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in mpi._LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    with mpi.world() as ranks:
        assert ranks == Alone()


@pytest.mark.parametrize("launcher", mpi._LAUNCHERS)
def test_mpirun_without_mpi4py_says_what_to_install(launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher, "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r'mpi4py is not installed: pip install "mabn_ref\[mpi\]"'), mpi.world():
        raise AssertionError("not reached")


class _World:
    """What mpi4py's communicator would be for one of the two processes of an mpirun."""

    rank, size = 1, 2

    def __init__(self) -> None:
        self.aborted: list[int] = []

    def Abort(self, code: int) -> None:
        self.aborted.append(code)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> _World:
    """Under an mpirun, as far as this process can tell."""
    ranks = _World()
    module = type(sys)("mpi4py.MPI")
    module.COMM_WORLD = ranks  # type: ignore[attr-defined]
    package = type(sys)("mpi4py")
    package.MPI = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", module)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    return ranks


def test_an_error_aborts_and_is_told(started: _World, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="gone"), mpi.world():
        raise ValueError("gone")
    assert started.aborted == [1]
    assert "rank 1 of 2 died: ValueError: gone" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "aborted"), [(0, []), (None, []), (3, [1])])
def test_leaving_with_a_code(started: _World, code: int | None, aborted: list[int]) -> None:
    with pytest.raises(SystemExit), mpi.world():
        raise SystemExit(code)
    assert started.aborted == aborted


def test_mpi4py_of_another_mpi(started: _World) -> None:
    started.size = 1
    with pytest.raises(RuntimeError, match="mpirun started 2 processes and mpi4py sees 1"), mpi.world():
        raise AssertionError("not reached")
