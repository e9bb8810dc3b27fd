"""Start a student's process within its limits, and end it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mabn_ref.learn import child

__all__ = ["Limits", "kill", "start"]


class Limits(NamedTuple):
    """What one student's file may use while one exercise is checked."""

    seconds: float = 5.0
    """Time that its functions may take, all calls together."""
    megabytes: int = 512
    """Memory."""
    printed: int = 100_000
    """Characters on standard output and standard error."""
    answer: int = 64_000_000
    """Bytes of one result."""


def start(limits: Limits, folder: str) -> subprocess.Popen[bytes]:
    """Start Python on `child`, in `folder` and in a session of its own."""
    numpy_folder = Path(np.__file__).resolve().parents[1]
    seconds = math.ceil(2 * limits.seconds + 10)  # a backstop, should this process not get to stop it
    numbers = [str(n) for n in (limits.megabytes, seconds, limits.answer)]
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        # no site-packages, no environment, nothing written beside the sources
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", child.__file__, str(numpy_folder), *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=kept | one,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started and that is still in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
