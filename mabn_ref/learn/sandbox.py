"""The sandbox of a submission: bubblewrap (``bwrap``), which gives its process a system with almost nothing in it.

The process sees the Python interpreter, the system's libraries and NumPy, all read-only, and an empty folder of some
megabytes, but no network, no other process and no other file. All of it disappears when the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mabn_ref.learn import child
from mabn_ref.learn.exercise import COURSE

_SCRATCH = 16 << 20
"""Bytes of the folder that a submission may write to."""
_LIB = ("lib", "lib32", "lib64")
_SYSTEM = tuple(Path(root, lib) for root in ("/", "/usr") for lib in _LIB)
_LINKER = (Path("/etc/ld.so.cache"), Path("/etc/alternatives"))
"""Where the system's linker looks up libraries; Debian's NumPy finds its BLAS through the second."""
NOBODY = 65534
"""The user that a submission runs as if root grades."""
_KEY_CALLS = {"x86_64": (0xC000003E, 248, 249, 250), "aarch64": (0xC00000B7, 217, 218, 219)}
"""By kind of machine, its name in the kernel and the numbers of add_key, request_key and keyctl."""
_TRIAL = """
import json, os, sys
secret = set(map(tuple, json.load(sys.stdin)))
print(len(os.listdir("/proc/self/fd")) > 0, os.path.exists("/etc/passwd"), os.getpid() < 9)
for folder, inner, _ in os.walk("/"):
    if folder == "/":
        inner.remove("proc")
    for path in [os.path.join(folder, name) for name in inner]:
        state = os.lstat(path)
        if (state.st_dev, state.st_ino) in secret or path.endswith("/mabn_ref/learn/course"):
            print(path)
"""


class SandboxError(OSError):
    """There is no sandbox here; the message says what to install."""


def command(submissions: Path | None = None) -> list[str]:
    """Return the words to put before the command of a Python process, after trying them.

    The trial walks through all folders visible inside. Neither the course nor a folder of `submissions` may be among
    them, under any name.

    Raises
    ------
    SandboxError
        If bubblewrap is not installed or does not work here.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError(
            "submissions run in bubblewrap, which is not installed (Debian and Ubuntu: apt install bubblewrap); "
            "--no-sandbox grades the files of students that you trust without it"
        )
    given = [] if submissions is None else [submissions.resolve()]
    words = [bwrap, *_options(*given)]
    secret = [inner for folder in (COURSE, *given) for inner in (folder, *folder.iterdir())]
    with without_keys(words) as (closed, files):
        trial = subprocess.run(
            [*closed, python(), "-I", "-S", "-c", _TRIAL],
            input=json.dumps([(state.st_dev, state.st_ino) for state in map(Path.lstat, secret)]),
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            pass_fds=files,
        )
    works, *seen = trial.stdout.splitlines() or [""]
    if works != "True False True" or trial.returncode:
        said = " ".join(trial.stderr.split())[:300] or f"it printed {trial.stdout[:300]!r}"
        raise SandboxError(f"bubblewrap (0.8 or later is needed) cannot start a process here: {said}")
    if seen:
        raise SandboxError(
            f"submissions could read {seen[0]}, which lies among the libraries that Python needs: move it, or use "
            "another Python"
        )
    return words


@contextlib.contextmanager
def without_keys(words: Sequence[str]) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Add to the words of a sandbox what keeps the kernel's keys out of its reach; also give files to pass on.

    Keys outlive a process, and other processes of the same user or the same login can find them.
    """
    program = _refusing_keys() if words else b""
    if not program:
        yield list(words), ()
        return
    with tempfile.TemporaryFile() as file:
        file.write(program)
        file.seek(0)
        yield [*words, "--seccomp", str(file.fileno())], (file.fileno(),)


def _refusing_keys() -> bytes:
    """A filter for seccomp: calls of keys, and calls by the numbers of another machine, are not implemented.

    It is empty where the numbers are not known.
    """
    if os.uname().machine not in _KEY_CALLS or sys.maxsize < 2**32:
        return b""
    machine, *calls = _KEY_CALLS[os.uname().machine]
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    # each jump says how many instructions are passed over, if so and if not
    steps = [(load, 0, 0, 4), (equal, 0, len(calls) + 3, machine), (load, 0, 0, 0)]
    steps += [(at_least, len(calls) + 1, 0, 0x40000000)]  # another set of numbers for the same machine
    steps += [(equal, len(calls) - k, 0, call) for k, call in enumerate(calls)]
    steps += [(end, 0, 0, 0x7FFF0000), (end, 0, 0, 0x00050000 | errno.ENOSYS)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def python() -> str:
    """The interpreter itself: a virtual environment's is a link to it."""
    return str(Path(sys.executable).resolve())


def _shown(place: Path) -> list[str]:
    """Show a file or a folder, if it is there; whoever runs in the sandbox may go through the folders above it."""
    return [*_above(place), "--ro-bind", str(place), str(place)] if place.exists() else []


def _above(place: Path) -> list[str]:
    return [word for folder in reversed(place.parents[:-1]) for word in ("--perms", "0755", "--dir", str(folder))]


def _no_libraries(shown: Path) -> Iterator[Path]:
    """Folders to hide: those of packages and, outside the system's own, all but the standard library."""
    own = Path(os.__file__).parent.name  # python3.11, the standard library
    for place, inner, _ in os.walk(shown):
        for folder in [Path(place, name) for name in inner]:
            others = place == str(shown) and shown not in _SYSTEM and folder.name != own
            if not folder.is_symlink() and (others or folder.name in ("site-packages", "dist-packages")):
                inner.remove(folder.name)
                yield folder


def _options(*secret: Path) -> list[str]:
    """The options of bubblewrap; `secret` folders are hidden, as is the package with its solutions."""
    package = Path(np.__file__).resolve().parent
    words = ["--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "exercise"]
    if os.getuid() == 0:  # root's processes are not counted: `child` becomes nobody before it runs the file
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--disable-userns"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(_SCRATCH), "--perms", "1777", "--tmpfs", "/tmp"]  # first: Python may lie in there
    roots = [Path(root).resolve() for root in ("/usr/local", sys.base_prefix, sys.base_exec_prefix)]
    places = [place for place in (*_SYSTEM, *(root / lib for root in roots for lib in _LIB)) if place.is_dir()]
    libraries = list(dict.fromkeys(place.resolve() for place in places))
    for place in (*libraries, *_LINKER, Path(python())):
        words += _shown(place)
    for place in dict.fromkeys(places):  # a second view of a folder would show what is hidden in the first
        words += [*_above(place), "--symlink", str(place.resolve()), str(place)] if place.is_symlink() else []
    hidden = [folder for place in libraries for folder in _no_libraries(place)]
    hidden += [
        folder
        for folder in (COURSE.parents[1].resolve(), *secret)
        if any(place in folder.parents for place in libraries)
    ]
    for folder in dict.fromkeys(hidden):
        words += ["--tmpfs", str(folder)]
    for place in (package, package.with_name("numpy.libs"), Path(child.__file__).resolve()):
        words += _shown(place)
    words += ["--size", "65536", "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*words, "--chdir", "/tmp"]
