"""Submissions in bubblewrap: nothing of the machine is in reach, and nothing is left when they are done."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mabn_ref
from mabn_ref.cli import main
from mabn_ref.learn import child, sandbox
from mabn_ref.learn.exercise import find
from mabn_ref.learn.grade import grade
from mabn_ref.learn.process import Limits, Student
from mabn_ref.learn.student_error import StudentError
from tests.learn.clock import Clock
from tests.signals import HUNG

LIMITS = Limits(seconds=HUNG, megabytes=400, printed=10_000, answer=1_000_000)
WORKS = (
    shutil.which("bwrap") is not None
    and not subprocess.run(
        ["bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true"], capture_output=True, check=False
    ).returncode
)
bubblewrap = pytest.mark.skipif(not WORKS, reason="bubblewrap is not installed, or may not make name spaces here")
MOMENTS = find("moments")


@functools.cache
def words(child_file: str) -> list[str]:
    """The words of a sandbox that shows this file, tried once."""
    return sandbox.command()


def sandboxed(codes: Sequence[str]) -> Student:
    """A file in the sandbox, with a function f0, f1 and so on of these lines each."""
    functions = (f"def f{k}():\n{textwrap.indent(code, '    ')}\n" for k, code in enumerate(codes))
    return Student("import os, sys, socket\n" + "".join(functions), "exercise.py", LIMITS, words(child.__file__))


def ask(code: str) -> object:
    """What a function of these lines returns in the sandbox."""
    with sandboxed([code]) as student:
        return student.f0()


OUT_OF_REACH = {
    "the solutions": f"return os.path.exists({str(Path(mabn_ref.__file__).parent / 'learn' / 'course')!r})",
    "the judge": f"return os.path.exists({str(Path(mabn_ref.__file__).parent / 'learn' / 'judge.py')!r})",
    "users": "return os.path.exists('/etc/passwd')",
    "the tests": f"return os.path.exists({__file__!r})",
    "other processes": "return [n for n in os.listdir('/proc') if n.isdigit() and int(n) > 9]",
    "the environment": "return [n for n in os.environ if n == 'HOME']",
    "being root": "return os.getuid() == 0",
    "other packages": "import importlib.util\nreturn importlib.util.find_spec('pytest') is not None",
    "the network": "s = socket.socket()\ns.settimeout(1)\nreturn s.connect_ex(('127.0.0.1', 22)) == 0",
    "an abstract socket": "s = socket.socket(socket.AF_UNIX)\nreturn s.connect_ex('\\0/tmp/.X11-unix/X0') == 0",
    "writing to the interpreter": "return os.access(os.__file__, os.W_OK)",
    "writing elsewhere": "return any(os.access(p, os.W_OK) for p in ('/', '/dev', '/usr', '/usr/lib'))",
    "a child": "try:\n    os.fork()\nexcept OSError:\n    return False\nreturn True",
    "a child in a name space of its own": (
        "import ctypes\nctypes.CDLL(None).unshare(0x30000000)\n"
        "try:\n    os.fork()\nexcept OSError:\n    return False\nreturn True"
    ),
    "the mounts": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.unshare(0x10020000)\nreturn libc.umount2(b'/usr', 2) == 0"
    ),
    "the judge's process": "return os.getppid() > 9",
    "the kernel's keys": (  # those of the login, and those that another file of the same user left
        "import ctypes\nn, add = {'x86_64': 248, 'aarch64': 217}.get(os.uname().machine), ctypes.CDLL(None).syscall\n"
        "return n is not None and any(add(n, b'user', b'mabn', b'x', 1, ring) != -1 for ring in (-1, -3, -4))"
    ),
    "files without end": (
        "try:\n    for n in range(1000):\n        open('/tmp/%d' % n, 'wb').write(bytes(900_000))\n"
        "except OSError:\n    return n > 30\nreturn True"
    ),
}


ACTS = {"a child", "a child in a name space of its own", "the mounts", "files without end"}
"""What changes its sandbox, and so has one of its own; the others only look around."""


@pytest.fixture(scope="module")
def looking() -> Iterator[Student]:
    """A file with a function for each of `OUT_OF_REACH`, in their order."""
    with sandboxed(list(OUT_OF_REACH.values())) as student:
        yield student


@bubblewrap
@pytest.mark.parametrize("name", [name for name in OUT_OF_REACH if name not in ACTS])
def test_out_of_reach(name: str, looking: Student) -> None:
    assert not getattr(looking, f"f{list(OUT_OF_REACH).index(name)}")()


@bubblewrap
@pytest.mark.parametrize("name", [name for name in OUT_OF_REACH if name in ACTS])
def test_out_of_reach_of_what_acts(name: str) -> None:
    assert not ask(OUT_OF_REACH[name])


@bubblewrap
def test_what_is_needed_is_there() -> None:
    assert ask("import decimal, ctypes, numpy\nopen('/tmp/x', 'w').write('x')\nreturn int(numpy.ones(3).sum())") == 3


@bubblewrap
def test_a_package_among_temporary_files_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "__file__", str(shutil.copy(child.__file__, tmp_path)))
    assert ask("return 3") == 3


PACKAGES = ("python3/dist-packages", "sdk/lib/python3.12/site-packages", "clone/mabn_ref")
"""Where solutions may lie below a folder of libraries; the last is what is asked for by name."""


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up folder of the system's libraries, which has a second name as /usr/lib has, and holds solutions."""
    folder, link = tmp_path / "usr" / "lib", tmp_path / "lib"
    for place in PACKAGES:
        (folder / place / "learn" / "course").mkdir(parents=True)
    (folder / "libexample.so").touch()
    link.symlink_to("usr/lib")
    monkeypatch.setattr(sandbox, "_SYSTEM", (*sandbox._SYSTEM, link, folder))
    monkeypatch.setattr(sandbox, "COURSE", folder / PACKAGES[-1] / "learn" / "course")
    return folder


@bubblewrap
def test_packages_among_the_systems_libraries_are_hidden_under_every_name(libraries: Path) -> None:
    (libraries / "class" / "ada").mkdir(parents=True)
    words = [*sandbox.command(libraries / "class"), sandbox.python(), "-I", "-S", "-c"]
    program = f"import glob; print(*glob.glob('**', root_dir={str(libraries.parents[1] / 'lib')!r}, recursive=True))"
    said = subprocess.run([*words, program], capture_output=True, text=True, check=True).stdout.split()
    assert "libexample.so" in said
    assert {*PACKAGES, "class"} < set(said), "the folders are there"
    assert not [path for path in said if path.endswith(("learn", "ada"))], "and they are empty"


@bubblewrap
def test_a_sandbox_that_shows_what_is_secret_is_refused(libraries: Path) -> None:
    with pytest.raises(sandbox.SandboxError, match=rf"^submissions could read {libraries}, which lies among the lib"):
        sandbox.command(libraries.parent)  # as if the libraries were a student's
    (libraries / "copy" / "mabn_ref" / "learn" / "course").mkdir(parents=True)
    with pytest.raises(sandbox.SandboxError, match=r"copy/mabn_ref/learn/course, .*: move it, or use another"):
        sandbox.command()


@bubblewrap
def test_of_the_systems_python_only_interpreter_and_libraries_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "base_exec_prefix", "/usr")
    words = sandbox._options()
    shown = {words[k + 1] for k, word in enumerate(words) if word == "--ro-bind"}
    assert not shown & {"/usr", "/usr/bin", "/usr/local", "/usr/share", "/usr/src"}


def running() -> set[str]:
    """Sandboxes that are children of this process."""
    listed = ["ps", "--ppid", str(os.getpid()), "-o", "pid,args"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.splitlines()
    return {line for line in lines if "bwrap" in line}


@bubblewrap
def test_nothing_is_left_running() -> None:
    before = running()
    mark = f"unlikely_{os.getpid()}"
    source = (
        f"import os, time\ndef f():\n    os.setsid()\n    os.symlink('x', '/tmp/{mark}')\n    time.sleep({HUNG})\n"
    )
    student = Student(source, "exercise.py", LIMITS._replace(seconds=1), words(child.__file__))
    assert running() > before
    with student, pytest.raises(StudentError, match="was stopped"):
        student.f()
    deadline = time.monotonic() + HUNG
    while running() - before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@bubblewrap
def test_solutions_pass_and_signals_are_told_as_without(tmp_path: Path) -> None:
    sources = {
        "good": MOMENTS.solution,
        "killed": "import os\ndef moments(x): os.kill(os.getpid(), 9)",
        "crash": "import ctypes\ndef moments(x): ctypes.string_at(0)",
    }
    for name, source in sources.items():
        place = tmp_path / name / MOMENTS.name / "exercise.py"
        place.parent.mkdir(parents=True)
        place.write_text(source)
    with ThreadPoolExecutor(2) as pool:
        found = {g.student: g for g in grade(tmp_path, [MOMENTS], (0, 5), pool, sandbox=words(child.__file__))}
    assert found["good"].points == 2, found["good"]
    assert found["killed"].said == "its process was stopped (SIGKILL): too much time or memory"
    assert found["crash"].said == "its process crashed (SIGSEGV)"


def test_without_a_sandbox_nothing_is_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada").mkdir()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["learn", "grade", str(tmp_path), "--only", "1"]) == 1
    said = capsys.readouterr().err
    assert "apt install bubblewrap" in said
    assert "--no-sandbox" in said
    assert main(["learn", "grade", str(tmp_path), "--only", "1", "--no-sandbox"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a program of POSIX")
def test_a_sandbox_that_does_not_start_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false = tmp_path / "bwrap"
    false.write_text("#!/bin/sh\necho no user name spaces here >&2\nexit 1\n")
    false.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(sandbox.SandboxError, match="cannot start a process here: no user name spaces here"):
        sandbox.command()


UNBOUNDED = {
    "answers that nobody asked for": """
import json, os, struct
def f(x):
    h = json.dumps({"call": 0, "lengths": []}).encode()
    for n in range(3, 20):
        try:
            while True:
                os.write(n, struct.pack("<QQ", len(h), 0) + h)
        except OSError:
            pass
""",
    "a line that is not read": "def f(x): HANG\n",
    "calls without end": "def f(x, g):\n    while True: g(1.0)\n",
    "a tuple of thousands of fields": (
        "class T(tuple): _fields = tuple('a%d' % n for n in range(5000))\ndef f(x): return T(range(5000))\n"
    ),
    "a long list": "def f(x): return [0] * 300_000\n",
    "a long integer": "def f(x): return 10**400\n",
}


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that can be waited for")
@pytest.mark.parametrize("name", UNBOUNDED)
def test_the_judge_is_neither_stopped_nor_filled(name: str, clock: Clock) -> None:
    asked = itertools.count(1)

    def called(value: float) -> float:
        """Time is up once calls have come for long."""
        if next(asked) == 1000:
            clock.jump()
        return value

    limits = Limits(seconds=HUNG)
    started = time.monotonic()
    with Student(UNBOUNDED[name].replace("HANG", clock.hang), "exercise.py", limits) as student:
        if name == "a tuple of thousands of fields":
            assert len(student.f(1)) == 5000
            return
        with pytest.raises(StudentError):
            student.f(*([np.ones(3), called] if "calls" in name else [np.ones(10**6)]))
        if name == "a line that is not read":  # and is full: nothing waits for it either
            with pytest.raises(StudentError):
                student.f(np.ones(10**6))
    assert time.monotonic() - started < HUNG
