"""A student's file runs apart: whatever it does ends in one clear line, and no solution is in reach."""

from __future__ import annotations

import os
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import mabn_ref
from mabn_ref.learn import process
from mabn_ref.learn.process import Limits, Student
from mabn_ref.learn.student_error import StudentError
from tests.learn.clock import Clock
from tests.signals import HUNG

LIMITS = Limits(seconds=HUNG, megabytes=400, printed=10_000, answer=1_000_000)
ENDLESS = LIMITS._replace(seconds=0.5)
posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of the operating system and signals are POSIX")
ACCEPTED = (
    "expected numbers and arrays, of at most double precision, alone or in tuples (NamedTuples too), lists or dicts"
)

HOSTILE = {
    "endless loop": (
        "def f(x):\n    HANG",
        f"f was stopped after {HUNG} s: is there a loop that never ends?",
    ),
    "endless loop at the top": (
        "while True: pass",
        "the file was stopped after 0.5 s: is there a loop that never ends?",
    ),
    "exit": ("import sys\ndef f(x): sys.exit(0)", "f ends the program (exit); return a result instead"),
    "exit at once": ("raise SystemExit", "the file ends the program (exit); return a result instead"),
    "exit without sys": ("def f(x): exit()", "f ends the program (exit); return a result instead"),
    "quit": ("def f(x): quit(1)", "f ends the program (exit); return a result instead"),
    "hard exit": ("import os\ndef f(x): os._exit(0)", "its process ended by itself (exit code 0)"),
    "error": ("def f(x): return x + y", "f raised NameError: name 'y' is not defined"),
    "error without words": ("def f(x): assert False", "f raised AssertionError"),
    "no Python": ("def f(x:\n    return x", "Python cannot read the file: '(' was never closed"),
    "a SyntaxError of one's own": ("raise SyntaxError('no')", "the file raised SyntaxError: no"),
    "no Python in a string": ("def f(x): return eval('(')", "f raised SyntaxError: '(' was never closed"),
    "nothing there": ("", "there is no function f in the file"),
    "not written": ("def f(x): raise NotImplementedError", "f is still to be written"),
    "a class of one's own": (
        "class Cache:\n    y = 1\ndef f(x): return x, Cache()",
        f"f returned a Cache (not a NamedTuple); {ACCEPTED}",
    ),
    "a dataclass with slots": (
        (
            "from dataclasses import dataclass\n@dataclass(slots=True)\nclass State:\n    y: int\n"
            "def f(x): return State(1)"
        ),
        f"f returned a State (not a NamedTuple); {ACCEPTED}",
    ),
    "no array": ("def f(x): return {1, 2}", f"f returned a set; {ACCEPTED}"),
    "objects": (
        "import numpy as np\ndef f(x): return np.array([f])",
        f"f returned an array of dtype object; {ACCEPTED}",
    ),
    "too much returned": (
        "import numpy as np\ndef f(x): return np.ones(10**6)",
        "it returned too much: 8,000,098 bytes, expected at most 1,000,000 ",
    ),
    "flood": ("def f(x):\n    while True: print('x' * 1000)", "the code printed more than 10,000 characters"),
    "project": (
        "import mabn_ref",
        "No module named 'mabn_ref': only NumPy and the standard library are available here",
    ),
    "endless recursion": ("def f(x): return f(x)", "f raised RecursionError: maximum recursion depth exceeded"),
    "more than double precision": (
        "import numpy as np\ndef f(x): return np.longdouble(x)",
        f"f returned an array of dtype {np.dtype(np.longdouble)}; {ACCEPTED}",
    ),
    "nested": (
        "def f(x):\n    for _ in range(50): x = (x,)\n    return x",
        f"f returned a value nested more than 20 deep; {ACCEPTED}",
    ),
    "error that cannot be shown": (
        "class E(Exception):\n    def __str__(self): raise ValueError\ndef f(x): raise E",
        "f raised E",
    ),
    "a closed line": ("import os\ndef f(x): os.closerange(3, 20)", "its process"),
    "a forged answer": (
        "import os\ndef f(x):\n  for k in range(3, 9):\n    try: os.write(k, b'ok' * 9)\n    except OSError: pass",
        "it returned too much",
    ),
}
CRASHES = {
    "memory bomb": (
        "import numpy as np\ndef f(x):\n    a = []\n    while True: a.append(np.empty(10**7))",
        "f needs more than 400 MB of memory",
    ),
    "crash": ("import ctypes\ndef f(x): ctypes.string_at(0)", "its process crashed (SIGSEGV)"),
    "killed": (
        "import os\ndef f(x): os.kill(os.getpid(), 9)",
        "its process was stopped (SIGKILL): too much time or memory",
    ),
    "children": (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
        "its process",
    ),
}


def said(source: str, limits: Limits = LIMITS) -> str:
    with pytest.raises(StudentError) as caught, Student(source, "exercise.py", limits) as student:
        student.f(np.ones(3))
    return str(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends is stopped by the limit of its functions, and not by the one that Python may take to start."""
    monkeypatch.setattr(process, "_STARTING", 2 * HUNG)
    source, message = HOSTILE[name]
    started = time.monotonic()
    limits = ENDLESS if name == "endless loop at the top" else LIMITS
    assert said(source.replace("HANG", clock.hang), limits).startswith(message)
    assert time.monotonic() - started < HUNG


@posix
@pytest.mark.parametrize("name", CRASHES)
def test_crashes(name: str) -> None:
    source, message = CRASHES[name]
    if name == "children" and os.getuid() != 0:  # the limit on processes does not bind root
        message = "f raised BlockingIOError"
    assert said(source).startswith(message)


@posix
def test_copies_of_the_process_say_nothing() -> None:
    source = (
        "import os\ndef f(x):\n    try:\n        os.fork()\n    except BlockingIOError:\n        pass\n    return x"
    )
    with Student(source, "exercise.py", LIMITS) as student:
        assert [student.f(k) for k in range(5)] == list(range(5))
    assert student.printed == ""


def test_the_students_own_lines_are_named() -> None:
    source = "import numpy as np\n\ndef g(x):\n    return np.ones(3) + np.ones(4)\n\ndef f(x):\n    return g(x)\n"
    with pytest.raises(StudentError) as caught, Student(source, "exercise.py", LIMITS) as student:
        student.f(1.0)
    assert caught.value.trace == [(7, "f"), (4, "g")]


def test_values_there_and_back() -> None:
    source = (
        "from typing import NamedTuple\nimport numpy as np\nclass Pair(NamedTuple):\n    a: object\n    b: object\n"
        "    def swapped(self): return Pair(self.b, self.a)\n"
        "def f(pair, *rest, **named): return pair.swapped(), rest, named\n"
    )
    given = namedtuple("Pair", "a b")(np.float32([[1, 2]]), True)
    with Student(source, "exercise.py", LIMITS) as student:
        pair, rest, named = student.f(given, None, 1, 2.5, "word", [np.zeros((0, 2))], k={"x": np.array(3)})
    assert pair._fields == ("a", "b")
    assert pair.a is True
    assert pair.b.dtype == np.float32
    np.testing.assert_array_equal(pair.b, given.a)
    assert rest[:4] == (None, 1, 2.5, "word")
    assert rest[4][0].shape == (0, 2)
    assert named == {"k": {"x": 3}}


def test_functions_are_called_here() -> None:
    asked = []

    def square(x: float) -> float:
        asked.append(x)
        return x * x

    with Student("def f(g): return [g(k) for k in range(3)]", "exercise.py", LIMITS) as student:
        assert student.f(square) == [0, 1, 4]
    assert asked == [0, 1, 2]


def test_what_is_printed_is_kept() -> None:
    with Student("print('top')\ndef f(x): print('called')", "exercise.py", LIMITS) as student:
        student.f(1)
    assert student.printed == "top\ncalled\n"


def test_changed_arguments_and_replaced_numpy_are_noticed() -> None:
    source = "import numpy as np\nnp.sum = None\ndef f(x):\n    x += 1\n    return x\ndef g(x): return x"
    with Student(source, "exercise.py", LIMITS) as student:
        student.f(np.ones(3))
        assert student.changed == {("f", "x")}
        student.g(np.ones(3))
    assert student.changed == {("f", "x")}
    assert student.replaced == {"numpy.sum"}


def test_what_is_replaced_in_a_module_that_numpy_imports_late_is_noticed() -> None:
    source = "import numpy as np\nnp.random.default_rng = None\ndef f(x): return x"
    with Student(source, "exercise.py", LIMITS) as student:
        student.f(1)
    assert student.replaced == {"numpy.random.default_rng"}


def test_arrays_inside_a_cache_are_not_to_be_changed_either() -> None:
    with Student("def f(cache):\n    cache[0][:] = 0\n    return 1", "exercise.py", LIMITS) as student:
        student.f((np.ones(3), 2.0))
    assert student.changed == {("f", "cache")}


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("def f(a, *rest): rest[0][:] = 0", {""}),
        ("def f(a, b):\n    a[:] = b[:] = 0", {"a", "b"}),
        ("class F:\n    def __call__(self, a, b): b[:] = 0\nf = F()", {""}),
    ],
)
def test_a_changed_argument_is_named_where_it_has_a_name(function: str, named: set[str]) -> None:
    with Student(function, "exercise.py", LIMITS) as student:
        student.f(np.ones(3), np.ones(3))
    assert student.changed == {("f", name) for name in named}


@pytest.mark.parametrize(
    ("trick", "kind"),
    [
        ("sys.path.append(folder); import mabn_ref.norms.batch_norm", "ModuleNotFoundError"),
        ("open(folder + '/mabn_ref/learn/course/01_moments/solution.py').read()", "PermissionError"),
        ("os.symlink(folder + '/mabn_ref', 'here'); open('here/norms/mabn.py')", "PermissionError"),
        ("sys.meta_path.clear(); sys.path.append(folder); __import__('mabn_ref')", "ModuleNotFoundError"),
    ],
)
def test_the_short_ways_to_the_solutions_are_closed(trick: str, kind: str) -> None:
    folder = str(Path(mabn_ref.__file__).parents[1])
    source = (
        f"import os, sys\nfolder = {folder!r}\ndef f():\n"
        f"    try:\n        {trick}\n    except Exception as error:\n        return type(error).__name__\n"
    )
    with Student(source, "exercise.py", LIMITS) as student:
        assert student.f() == kind


def test_nothing_of_this_process_is_within_reach() -> None:
    source = (
        "import os, sys\n"
        "def f():\n    here = [p for p in sys.path if 'site-packages' in p or 'mabn' in p]\n"
        "    return here, [m for m in sys.modules if m.startswith('mabn')], sorted(os.environ), os.listdir('.')\n"
    )
    with Student(source, "exercise.py", LIMITS) as student:
        path, modules, environment, files = student.f()
    assert (path, modules, files) == ([], [], [])
    assert "HOME" not in environment


def test_a_second_process_sees_none_of_the_calls_of_the_first() -> None:
    source = "seen = []\nprint('read')\ndef f(x):\n    seen.append(int(x[0]))\n    x += 1\n    return seen\n"
    with Student(source, "exercise.py", LIMITS) as student:
        assert student.f(np.zeros(1)) == [0]
        assert student.changed == {("f", "x")}
        student.changed.clear()
        assert student._apart().f(np.ones(1)) == [1]
        assert student.changed == {("f", "x")}
        assert student.f(np.full(1, 2)) == [0, 2]
        assert student._apart().f(np.full(1, 3)) == [1, 3]
    assert student.printed == "read\nread\n"


def test_two_processes_of_a_file_have_the_time_of_one_and_end_together() -> None:
    source = "import os, time\ndef f(seconds): time.sleep(seconds)\ndef g(): os._exit(0)\n"
    with Student(source, "exercise.py", LIMITS) as student:
        second = student._apart()
        left = student._time.left
        second.f(0.01)
        student.f(0.01)
        assert student._time is second._time
        assert student._time.left <= left - 0.02
        assert not student.ended
        with pytest.raises(StudentError):
            second.g()
        assert student.ended
        assert not student.out_of_time
