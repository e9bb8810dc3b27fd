"""What keeps a submission apart: bubblewrap (``bwrap``), which gives its process a system with next to nothing in it.

Inside there are the Python interpreter, the system's libraries and NumPy, all read-only; an empty folder of some
megabytes; and no network, no other process, no other file. All of it is gone when the process that was started is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from mabn_ref.learn import child

_SCRATCH = 16 << 20
"""Bytes of the folder that a submission may write to."""
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache")
NOBODY = 65534
"""Whom a submission runs as where root grades."""
_TRIAL = (
    "import os, socket; print(len(os.listdir('/proc/self/fd')) > 0, os.path.exists('/etc/passwd'), os.getpid() < 9)"
)


class SandboxError(OSError):
    """There is no sandbox here; the message says what to install."""


def command() -> list[str]:
    """Return the words that come before those of a Python process, once they have been tried.

    Raises
    ------
    SandboxError
        If bubblewrap is not installed, or cannot do its work here.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError(
            "submissions run in bubblewrap, which is not installed (Debian and Ubuntu: apt install bubblewrap); "
            "--no-sandbox grades the files of students that you trust without it"
        )
    words = [bwrap, *_options()]
    trial = subprocess.run([*words, python(), "-I", "-S", "-c", _TRIAL], capture_output=True, text=True, check=False)
    if trial.stdout.split() != ["True", "False", "True"]:
        said = " ".join(trial.stderr.split())[:300] or f"it printed {trial.stdout!r}"
        raise SandboxError(f"bubblewrap (0.8 or later is needed) cannot start a process here: {said}")
    return words


def python() -> str:
    """The interpreter itself: a virtual environment's is a link to it."""
    return str(Path(sys.executable).resolve())


def _shown(place: Path) -> list[str]:
    """Show a file or a folder, if it is there; whoever runs in the sandbox may go through the folders above it."""
    above = [word for folder in reversed(place.parents[:-1]) for word in ("--perms", "0755", "--dir", str(folder))]
    return [*above, "--ro-bind", str(place), str(place)] if place.exists() else []


def _options() -> list[str]:
    prefix, package = Path(sys.base_prefix), Path(np.__file__).resolve().parent
    words = ["--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "exercise"]
    if os.getuid() == 0:  # root's processes are not counted: `child` becomes nobody before it runs the file
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--disable-userns"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(_SCRATCH), "--perms", "1777", "--tmpfs", "/tmp"]  # first: Python may lie in there
    for place in (*map(Path, _LIBRARIES), prefix):
        words += _shown(place)
    # Other packages, this one and its solutions among them, are not to be seen.
    for folder in {*prefix.glob("lib*/python3*"), *Path("/usr/lib").glob("python3*")}:
        for packages in ("site-packages", "dist-packages"):
            if (folder / packages).is_dir():
                words += ["--tmpfs", str(folder / packages)]
    for place in (package, package.with_name("numpy.libs"), Path(child.__file__).resolve()):
        words += _shown(place)
    words += ["--size", "65536", "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*words, "--chdir", "/tmp"]
