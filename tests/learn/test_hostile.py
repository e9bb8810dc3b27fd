"""Files that attack the grader, by kind: none has a point, honest neighbours keep theirs, and all end in time."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mabn_ref
from mabn_ref.learn import gradebook, judges, sandbox
from mabn_ref.learn.exercise import find
from mabn_ref.learn.grade import grade, package_digest
from mabn_ref.learn.process import Limits
from tests.learn.test_sandbox import bubblewrap
from tests.signals import HUNG

LIMITS = Limits(seconds=1.0, megabytes=300)
MOST_MEMORY = 300 << 20
"""Bytes that judging one kind may add to this process."""

MEANS = """
import ctypes, json, os, signal, socket, struct, subprocess, sys, threading, time
import numpy as np

def frame(message, body=b""):
    head = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("<QQ", len(head), len(body)) + head + body

def solved(text, x):
    space = {}
    exec(text, space)
    return space["moments"](x)

def serving():
    at = sys._getframe()
    while "serving" not in at.f_locals:
        at = at.f_back
    return at.f_locals["serving"]

def say(message, body=b""):
    out = serving().out
    out.write(frame(message, body))
    out.flush()

libc = ctypes.CDLL(None, use_errno=True)
right = {"content": {"tuple": [{"value": 0.0}, {"value": 1.0}]}, "changed": [], "replaced": [], "lengths": []}
"""
PACKAGE = str(Path(mabn_ref.__file__).parent)

# For each kind, names and the body of `moments(x)`; "12:" and all after it is a whole file for exercise 12.
KINDS: dict[str, dict[str, str]] = {
    "the judge's process": {
        "signals to the parent": "os.kill(os.getppid(), 9); os.kill(os.getppid(), 19)",
        "signals to all": "os.kill(-1, 9)",
        "signals to the group": "os.killpg(0, 19); os.killpg(0, 9)",
        "signals to every number": """
[os.kill(n, 9) for n in map(int, filter(str.isdigit, os.listdir('/proc'))) if n != os.getpid()]
""",
        "a descriptor taken": """
fd = libc.syscall(438, libc.syscall(434, os.getppid(), 0), 4, 0)
os.write(fd, frame(right))
""",
        "ptrace": "assert libc.ptrace(16, os.getppid(), 0, 0) == 0",
        "memory of the parent": "open(f'/proc/{os.getppid()}/mem', 'r+b').write(b'x')",
        "memory by a system call": """
assert libc.process_vm_writev(os.getppid(), 0, 0, 0, 0, 0) != 0
raise ValueError(libc.process_vm_readv(1, 0, 0, 0, 0, 0))
""",
        "descriptors of the parent": """
for n in os.listdir('/proc/1/fd'): open(f'/proc/1/fd/{n}', 'wb').write(frame(right))
""",
        "limits of the parent": """
import resource
resource.prlimit(os.getppid(), resource.RLIMIT_AS, (1, 1))
""",
        "priority of the parent": "os.setpriority(os.PRIO_PROCESS, os.getppid(), -20)",
    },
    "the judge on disk": {
        "replaced": """
open('/tmp/j', 'w').write('x')
os.replace('/tmp/j', PACKAGE + '/learn/judge.py')
""",
        "written": "open(PACKAGE + '/learn/judge.py', 'a').write('x')",
        "NumPy written": "open(np.__file__, 'a').write('x')",
        "the process's own script": "open(sys.modules['__main__'].__file__, 'a').write('x')",
        "the interpreter": "os.remove(os.path.realpath(os.__file__))",
        "mounted anew": """
libc.unshare(0x10020000)
assert libc.mount(b'none', b'/usr', b'tmpfs', 0, 0) == 0
""",
        "remounted": "assert libc.mount(b'none', b'/', None, 4096 | 32, None) == 0",
        "written everywhere": """
for place in [PACKAGE, '/usr', '/lib', '/etc', '/dev', '/dev/shm', '/proc', '/']:
    try: open(place + '/hostile', 'w')
    except OSError: pass
""",
        "a new root": """
os.chroot('/')
os.chdir('..')
open('/etc/hostile', 'w')
""",
        "becoming root": "os.setuid(0)",
        "a device": """
os.mknod('/tmp/d', 0o060666, os.makedev(8, 0))
open('/tmp/d', 'r+b').write(b'x')
""",
    },
    "what others wrote": {
        "the solution imported": """
sys.path.insert(0, os.path.dirname(PACKAGE))
from mabn_ref.norms.batch_norm import forward
return 1
""",
        "the solution read": """
text = open(PACKAGE + '/learn/course/01_moments/solution.py').read()
return solved(text, x)
""",
        "the solution linked": """
os.symlink(PACKAGE, '/tmp/p')
text = open('/tmp/p/learn/course/01_moments/solution.py').read()
return solved(text, x)
""",
        "any solution": """
for top in os.walk('/'):
    if 'solution.py' in top[2] and 'moments' in top[0]:
        return solved(open(top[0] + '/solution.py').read(), x)
""",
        "the solution by a system call": """
fd = libc.open((PACKAGE + '/learn/course/01_moments/solution.py').encode(), 0)
return solved(os.read(fd, 9999), x)
""",
        "neighbours": """
for top in os.walk('/'):
    if 'exercise.py' in top[2]:
        return solved(open(top[0] + '/exercise.py').read(), x)
""",
        "another Python": "return subprocess.run(['python3', '-c', 'import mabn_ref'])",
        "the network": "socket.create_connection(('127.0.0.1', 22), 1)",
        "a name": "socket.getaddrinfo('example.org', 80)",
        "the judge's sockets": """
for line in open('/proc/net/unix').readlines()[1:]: socket.socket(1).connect(line.split()[-1])
""",
        "the memory of the frames": "return [f for f in sys._current_frames().values()]",
    },
    "memory": {
        "arrays": """
kept = []
while True: kept.append(np.ones(10**6))
""",
        "a folder in memory": "for n in range(10**4): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
        "shared memory": "for n in range(10**4): open(f'/dev/shm/{n}', 'wb').write(bytes(1 << 20))",
        "a file in memory": """
fd = os.memfd_create('m')
while True: os.write(fd, bytes(1 << 20))
""",
        "shared memory of System V": """
while True:
    n = libc.shmget(0, 1 << 24, 0o1777)
    assert n >= 0
    libc.shmat(n, None, 0)
""",
        "a limit raised": """
import resource
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
""",
        "pipes": """
kept = []
while True:
    kept.append(os.pipe())
    os.set_blocking(kept[-1][1], False)
    os.write(kept[-1][1], bytes(65536))
""",
        "one buffer in many arrays": """
say({'content': {'list': [{'array': ['<f8', [10**4], 0]}] * 20_000}, 'lengths': [80_000]}, bytes(80_000))
time.sleep(9)
""",
        "long axes without numbers": "return np.ones((0, 10**8)), np.ones((0, 10**8))",
        "named tuples": """
named = [{'named': f'N{n}', 'fields': ['a'], 'items': [{'value': 1}]} for n in range(15_000)]
say({'content': {'list': named}, 'lengths': []})
time.sleep(9)
""",
    },
    "processes": {
        "forks": "while True: os.fork()",
        "a fork that stays": """
if os.fork() == 0:
    os.setsid()
    time.sleep(99)
os._exit(0)
""",
        "threads": "while True: threading.Thread(target=time.sleep, args=(99,)).start()",
        "a thread that answers": """
threading.Thread(target=say, args=(right,)).start()
time.sleep(9)
""",
        "a program": "subprocess.run(['/bin/sleep', '99'])",
        "a clone": """
assert libc.syscall(56, 0x100 | 17, 0, 0, 0, 0) >= 0
time.sleep(9)
""",
        "in place of this one": "os.execv('/proc/self/exe', ['python', '-c', 'import time; time.sleep(99)'])",
        "ignored signals": """
[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 19)]
while True: pass
""",
        "stopped": "os.kill(os.getpid(), 19)",
        "exit 0": "os._exit(0)",
        "exit 137": "os._exit(137)",
        "exit 255": "os._exit(255)",
        "killed": "os.kill(os.getpid(), 9)",
        "a crash": "ctypes.string_at(0)",
        "exit at the end": """
import atexit
atexit.register(time.sleep, 99)
sys.exit(0)
""",
    },
    "the line": {
        "printed": "while True: print('x' * 10**5)",
        "printed as errors": "while True: os.write(2, b'\\x1b[2J' * 9999)",
        "answers without end": "while True: say(right)",
        "half a frame": """
serving().out.write(frame(right)[:20])
serving().out.flush()
time.sleep(9)
""",
        "byte by byte": """
for b in frame(right, bytes(10**5)):
    os.write(serving().out.fileno(), bytes([b]))
    time.sleep(0.01)
""",
        "descriptors closed": "os.closerange(0, 64)",
        "descriptors closed, and on": """
os.closerange(0, 64)
time.sleep(9)
""",
        "the input drained": "while True: os.read(serving().stream.fileno(), 1)",
        "no frame": """
serving().out.write(b'\\x00' * 99)
serving().out.flush()
time.sleep(9)
""",
        "a length of 2**63": """
serving().out.write(struct.pack('<QQ', 1 << 63, 1 << 63))
serving().out.flush()
time.sleep(9)
""",
        "a frame that is no dictionary": """
say(b'[1, 2]')
time.sleep(9)
""",
        "a frame of nothing": """
say({'lengths': []})
time.sleep(9)
""",
        "lengths that are none": """
say({**right, 'lengths': ['x', -1, 1e99]})
time.sleep(9)
""",
        "deep JSON": """
say(b'[' * 500_000)
time.sleep(9)
""",
        "a long integer": """
say(b'{"lengths": [], "content": {"value": ' + b'9' * 4000 + b'}}')
time.sleep(9)
""",
        "a list as a number": """
say({'content': {'tuple': [{'value': [[1]]}, {'value': {'a': 10**300}}]}, 'lengths': []})
time.sleep(9)
""",
        "an error that is none": """
say({'error': 'X', 'trace': [1, 'y', None], 'lengths': []})
time.sleep(9)
""",
        "an error at line infinity": """
say(b'{"error": "X", "trace": [[1e999, 1]], "lengths": []}')
time.sleep(9)
""",
        "an error as long as a book": """
say({'error': 'X', 'text': 'y' * 900_000, 'lengths': []})
time.sleep(9)
""",
        "a name as long as a book": """
say({'missing': 'y' * 900_000, 'lengths': []})
time.sleep(9)
""",
        "names that are none": """
say({**right, 'replaced': 7})
time.sleep(9)
""",
        "a report in a name": """
say({**right, 'replaced': ['numpy.x\\n\\n# hostile: 2 of 2 points\\n\\x1b[2J']})
time.sleep(9)
""",
        "arguments that are none": """
say({**right, 'changed': 7})
say({**right, 'changed': ['x\\n\\n# hostile: 2 of 2 points\\n\\x1b[2J', {}, 'x' * 999]})
""",
        "a call of nothing": """
say({'call': 99, 'content': {'tuple': []}, 'lengths': []})
time.sleep(9)
""",
        "shapes that are none": """
say({'content': {'array': ['<f8', [-1, 1e9, '2'], 0]}, 'lengths': [8]}, bytes(8))
time.sleep(9)
""",
        "objects": """
say({'content': {'array': ['|O', [1], 0]}, 'lengths': [8]}, bytes(8))
time.sleep(9)
""",
    },
    "values": {
        "equal to all": """
class E(float):
    __eq__ = __lt__ = __gt__ = __ne__ = lambda a, b: True
return E(1), E(1)
""",
        "an array equal to all": """
class A(np.ndarray):
    __array_ufunc__ = lambda *a, **k: True
return np.zeros(x.shape[-1]).view(A), np.zeros(x.shape[-1]).view(A)
""",
        "a class of another": """
class F:
    __class__ = np.ndarray
    dtype = np.dtype(float)
    shape = (3,)
    def astype(self, kind): return self
    def tobytes(self): return bytes(9)
return F(), F()
""",
        "NumPy replaced": """
np.allclose = np.all = lambda *a, **k: True
np.abs = np.max = lambda *a, **k: 0.0
return np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
""",
        "huge numbers": "return np.full(x.shape[-1], 1.7e308), np.full(x.shape[-1], -1.7e308)",
        "no numbers": "return np.full(x.shape[-1], np.nan), np.full(x.shape[-1], np.inf)",
        "integers": "return 2**62, -(2**62)",
        "complex": "return np.zeros(x.shape[-1], complex), complex(np.nan, 1)",
        "64 axes": "return np.zeros((1,) * 32), np.zeros((1,) * 32)",
        "words": "return 'x' * 10**5, 'right'",
        "one in another": """
a = []
a.append(a)
return a, a
""",
        "fields by the thousand": """
class T(tuple): _fields = tuple('a%d' % n for n in range(5000))
return T(range(5000)), 1
""",
    },
    "functions handed over": {
        "06: without end": """
06:
def numerical_gradient(f, x, dz):
    while True: f(x)
def relative_error(a, b): return 5.0
def check(f, b, x):
    while True: b(x, f(x))
""",
        "06: long": """
06:
def numerical_gradient(f, x, dz):
    while True: f(np.ones((20_000, 4)))
def relative_error(a, b): return 5.0
def check(f, b, x): return b(np.ones((20_000, 1)), np.ones((1, 20_000)))
""",
        "07: outer": """
07:
def no_shift(b, x, dz): return b(np.ones((60_000, 1)), np.ones((1, 60_000)))
no_stretch = scales = no_shift
def test(b): return b(np.ones((60_000, 1)), np.ones((1, 60_000)))
""",
        "07: nothing": """
07:
def no_shift(b, x, dz): return b(np.ones((0, 10**8)), None)
no_stretch = scales = no_shift
def test(b): return b(None, None)
""",
        "09: as many as there are": """
09:
def statistics(x, u): return 1, 1
def noise(s, size, trials):
    while True: s(10**5)
def exponent(a, b): return s
def law(s, sizes, trials): return s(4e8)
""",
        "09: no number": """
09:
def statistics(x, u): return 1, 1
def noise(s, size, trials): return s('x' * 900_000)
def exponent(a, b): return 7
def law(s, sizes, trials): return s(np.ones(9))
""",
        "18: absurd": """
18:
def future_mean(v, m): return v
def one_call(*a): return 1
def all_calls(x, u, c, mean): return mean(np.ones((7, 0, 10**8)))
def mabn(x, u, c, mean):
    while True: mean(np.ones((7, 10_000)))
""",
        "20: wide": """
20:
def train(g, p, s, batches, lr, m):
    p = {'w': np.ones((6, 9000)), 'gamma': np.ones(9000), 'beta': np.ones(9000), 'v': np.ones((9000, 1))}
    return g(p, s, np.zeros(400_000, 'u1'))
def compare(run, rows, base, seeds, t):
    for n in range(10**9): run(rows[0], n)
""",
        "20: strange": """
20:
def train(g, p, s, batches, lr, m): return g(p, s, np.zeros(10**5, 'u1'))
def compare(run, rows, base, seeds, t): return run('x', 1e999)
""",
        "26: kept": """
26:
def gradient_test(f, b, x, seed):
    while True: b(np.ones((60_000, 1)), np.ones(1))
""",
        "26: deep": """
26:
def gradient_test(f, b, x, seed): return f([[[[x]]]]) + b({'a': f}, f)
""",
    },
}

NAMES = (
    *("=1+1", "+1", "-1", "@x", "a;=1+1", "a\n=1+1", "a\tb", "a\\nb", "\x1b[2Jx", "Zoë", "Zoe\u0308", "名前" * 30),
    *(
        "x" * 250,
        "x" * 249 + "y",
        "a  b",
        "a b",
        "a`b",
        "a'b",
        "a\u202eb",
        "\uff1d1+1",
        "\udcff",
        "\udcfe",
        "%s{0}",
        "-rf",
    ),
)
"""Names of students' folders."""


def _source(name: str, body: str) -> tuple[str, str]:
    """The exercise and the file of an entry."""
    means = f"PACKAGE = {PACKAGE!r}\n{MEANS}"
    if name[2:3] == ":":
        return find(name[:2]).name, f"{means}\n{body.strip()[3:]}\n"
    return "01_moments", f"{means}\ndef moments(x):\n" + textwrap.indent(body, "    ") + "\n"


def _running() -> list[str]:
    """Programs that are children of this process."""
    found = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.splitlines() if "bwrap" in line]


@pytest.fixture(scope="module")
def sandboxed() -> list[str]:
    return sandbox.command()


@bubblewrap
@pytest.mark.parametrize("kind", KINDS)
def test_hostile(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: list[str]) -> None:
    for number, (name, body) in enumerate(KINDS[kind].items()):
        exercise, source = _source(name, body)
        place = tmp_path / f"{number:02}" / exercise / "exercise.py"
        place.parent.mkdir(parents=True)
        place.write_text(source)
    moments = find("moments")
    for name in ("0 first", "9 last"):
        place = tmp_path / name / moments.name / "exercise.py"
        place.parent.mkdir(parents=True)
        place.write_text(moments.solution)
    monkeypatch.setattr(judges, "check_source", functools.partial(judges.check_source, limits=LIMITS))
    exercises = [find(e) for e in sorted({_source(*entry)[0] for entry in KINDS[kind].items()} | {moments.name})]
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    digest, before = package_digest(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        grades = grade(tmp_path, exercises, (0,), pool, sandbox=sandboxed)
    assert time.monotonic() - started < HUNG + 10 * LIMITS.seconds * len(KINDS[kind])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
    assert package_digest() == digest
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert not _running()
    honest = {g.student: g.points for g in grades if g.exercise == moments.name and g.student[1] == " "}
    assert honest == {"0 first": 2, "9 last": 2}
    names = list(KINDS[kind])
    hostile = {names[int(g.student)]: g for g in grades if g.student[1] != " " and g.said != "not handed in"}
    assert {name: g.said for name, g in hostile.items() if g.points} == {}
    assert {name: g.said for name, g in hostile.items() if "could not be checked" in g.said} == {}
    text = gradebook.student_report(list(hostile.values()))
    assert len(text) < 200_000
    assert "\x1b" not in text
    assert "\n# hostile" not in text


@pytest.mark.skipif(os.name != "posix", reason="names that other systems do not allow")
def test_names(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / "in" / name).mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        grades = grade(tmp_path / "in", [find("moments")], (0,), pool)
    rows = gradebook.as_csv(grades).splitlines()
    assert len(set(rows)) == len(rows) == len(NAMES) + 1
    assert all(row.isprintable() and not row.startswith(('"=', '"+', '"-', '"@', '"\uff1d')) for row in rows)
    assert not gradebook.write_reports(tmp_path / "out", grades)
    assert len(list((tmp_path / "out").iterdir())) == len(NAMES)


LINES = """
import ctypes, json, os, struct

def moments(x):
    libc = ctypes.CDLL(None)
    pickle = b"cos\\nmkdir\\n(V@MARK@\\ntR."
    forged = {"task": "", "points": 2, "of": 2, "said": "", "sentences": [], "lacks": "", "again": False}
    forged |= {"errors": [], "lengths": []}
    forged["parts"] = [["mu", True, "", False], ["var", True, "", False]]
    head = json.dumps(forged).encode()
    judge = libc.syscall(434, os.getppid(), 0)
    taken = [fd for fd in (libc.syscall(438, judge, n, 0) for n in range(20)) if fd >= 0]
    os.mkdir(f"@MARK@-{len(taken)}-{os.getpid()}")
    for fd in taken:
        for said in (struct.pack("!i", len(pickle)) + pickle, struct.pack("<QQ", len(head), 0) + head)[::@ORDER@]:
            try:
                os.write(fd, said)
            except OSError:
                pass
    os.kill(os.getpid(), 9)
"""
"""Writes a pickle and a grade into every file that the judge has open."""


@pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")
def test_without_a_sandbox_what_is_written_on_a_judge_s_line_is_no_grade(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    moments = find("moments")
    hostile = [LINES.replace("@MARK@", str(mark)).replace("@ORDER@", order) for order in ("1", "-1")]
    for name, source in zip("abcd", (moments.solution, *hostile, moments.solution), strict=True):
        place = tmp_path / "in" / name / moments.name / "exercise.py"
        place.parent.mkdir(parents=True)
        place.write_text(source)
    with judges.Judges(1) as pool:
        grades = grade(tmp_path / "in", [moments], (0,), pool.threads, one=pool.grade_one)
    assert {given.student: given.points for given in grades} == {"a": 2, "b": 0, "c": 0, "d": 2}
    assert not mark.exists(), "a pickle was loaded"
    taken = {path.name.split("-")[1] for path in tmp_path.glob("mark-*")}
    assert taken, "nothing was tried"
    assert os.getuid() == 0 or taken == {"0"}, "another process of its user can take a judge's files"


def test_an_answer_to_another_question_is_no_grade() -> None:
    parts = [["mu", True, "", False], ["var", True, "", False]]
    given = {"parts": parts, "said": "", "sentences": [], "lacks": "", "errors": [], "again": False}
    assert judges._grade_in({**given, "task": "7"}, "7", "ada", "01_moments").points == 2
    for answer in (given, {**given, "task": "8"}, {**given, "task": "7", "parts": 2 * parts[:1]}):
        with pytest.raises(ValueError, match="its judge answered"):
            judges._grade_in(answer, "7", "ada", "01_moments")
