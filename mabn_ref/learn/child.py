"""The process in which a student's file runs, and the frames in which it is asked and answers.

Started as a script: it imports NumPy and nothing of this project. It reads frames from standard input and answers
each on what was standard output: first the source, then calls of its functions. The process judges nothing. It holds
no solution, and its answers are judged elsewhere. It is not a sandbox: the obvious ways to import or open the
solutions are refused, but a determined student finds others.

A frame holds a description in JSON and the raw numbers of arrays. Nothing in it is executed or unpickled. Both sides
write and read frames with the functions here.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import json
import math
import os
import struct
import sys
from collections import namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any, BinaryIO

_ARRAY = ("<f4", "<f8", "<c8", "<c16", "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8")
_KEEP_OPEN = 64
_LONGEST_HEAD = 1 << 20
"""Bytes of a frame's description: what it holds in numbers is in arrays."""
_LONGEST_REQUEST = 1 << 26
"""Bytes of a frame to this process: what a function of the other side returns may be long."""
_LARGEST_INTEGER = 1 << 63
_LARGEST_ARRAY = 1 << 26
"""Elements of an array, had no axis length 0."""
_MOST_NAMED = 100
"""Named tuples in a value: each is a class that is made for it."""


class Unsendable(TypeError):
    """A value that is not an array, number, word, or tuple, list or dict of them."""


def encode(value: Any, functions: list[Callable[..., Any]] | None = None) -> tuple[Any, list[bytes]]:
    """Describe a value, its arrays apart; `functions` collects the callables in it, which without it are refused."""
    buffers: list[bytes] = []

    def described(value: Any, depth: int) -> Any:
        if type(value) is int and abs(value) >= _LARGEST_INTEGER:
            raise Unsendable("an integer that no array can hold")
        if value is None or type(value) in (bool, int, float, str):
            return {"value": value}
        if depth > 20:
            raise Unsendable("a value nested more than 20 deep")
        if hasattr(value, "dtype") and hasattr(value, "tobytes"):
            kind = value.dtype.newbyteorder("<").str
            if kind not in _ARRAY:
                raise Unsendable(f"an array of dtype {value.dtype}")
            buffers.append(value.astype(kind).tobytes())
            return {"array": [kind, list(value.shape), len(buffers) - 1]}
        if isinstance(value, tuple | list):
            items = [described(item, depth + 1) for item in value]
            if hasattr(value, "_fields"):
                return {"named": type(value).__name__, "fields": list(value._fields), "items": items}
            return {"tuple" if isinstance(value, tuple) else "list": items}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {key: described(item, depth + 1) for key, item in value.items()}}
        if callable(value) and functions is not None:
            functions.append(value)
            return {"function": len(functions) - 1}
        own = hasattr(value, "__dict__") or hasattr(value, "__dataclass_fields__")  # most likely the student's class
        raise Unsendable(f"a {type(value).__name__}{' (not a NamedTuple)' if own and not callable(value) else ''}")

    return described(value, 0), buffers


def arrays_in(value: Any, array_type: type) -> list[Any]:
    """All arrays in a value."""
    if isinstance(value, array_type):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [array for item in inner for array in arrays_in(item, array_type)]


def arrays_given(function: Any, args: Any, kwargs: Any, array_type: type) -> list[tuple[str, Any, bytes]]:
    """All arrays in the arguments of a call: the name of the parameter, "" where it is unknown, and the bytes."""
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    given = [(names[k] if k < len(names) else "", value) for k, value in enumerate(args)] + list(kwargs.items())
    return [(name, array, array.tobytes()) for name, value in given for array in arrays_in(value, array_type)]


def decode(
    tree: Any,
    buffers: list[bytes],
    numpy: ModuleType,
    named: Callable[[str, list[str]], Callable[..., Any]],
    function: Callable[[int], Any],
) -> Any:
    """Undo `encode`; `named` makes the class of a named tuple, `function` stands in for a callable.

    What comes out is as large as what went in: no number stands in two arrays.
    """
    unread, left = dict(enumerate(buffers)), _MOST_NAMED

    def inner(tree: Any) -> Any:
        nonlocal left
        kind, content = next(iter(tree.items()))
        if kind == "value":
            if content is not None and type(content) not in (bool, int, float, str):
                raise ValueError("a value in a form that encode does not use")
            if type(content) is int and abs(content) >= _LARGEST_INTEGER:
                raise ValueError("an integer that no array can hold")
            return content
        if kind == "array":
            dtype, shape, k = content
            if dtype not in _ARRAY:
                raise ValueError(f"dtype is {dtype!r}")
            if not all(type(n) is int and n >= 0 for n in shape) or math.prod(n or 1 for n in shape) > _LARGEST_ARRAY:
                raise ValueError("not a shape")
            array = numpy.frombuffer(unread.pop(k), dtype=dtype).reshape(shape)
            return array.copy() if shape else array.copy()[()]
        if kind == "named":
            left -= 1
            if left < 0:
                raise ValueError(f"more than {_MOST_NAMED} named tuples")
            return named(content, tree["fields"])(*map(inner, tree["items"]))
        if kind == "tuple":
            return tuple(map(inner, content))
        if kind == "list":
            return list(map(inner, content))
        if kind == "dict":
            return {key: inner(value) for key, value in content.items()}
        if kind == "function":
            return function(content)
        raise ValueError(f"unknown kind {kind!r}")

    return inner(tree)


def plain_named(name: str, fields: list[str], own: Any = None) -> Callable[..., Any]:
    """A named tuple of these fields, or a plain tuple where they cannot be names, or are too many to be meant.

    It is the class `own`, if that one has these fields.
    """
    if isinstance(own, type) and list(getattr(own, "_fields", ())) == fields:
        return own
    if len(fields) > 100 or sum(map(len, fields)) + len(name) > 10_000:
        return lambda *items: items
    try:
        made: Callable[..., Any] = namedtuple(name, fields)  # type: ignore[misc]
    except ValueError:
        return lambda *items: items
    return made


def frame(message: dict[str, Any], buffers: list[bytes]) -> list[bytes]:
    """The pieces of one frame: two lengths, the description with the arrays' lengths, the arrays."""
    head = json.dumps({**message, "lengths": [len(buffer) for buffer in buffers]}).encode()
    return [struct.pack("<QQ", len(head), sum(map(len, buffers))), head, *buffers]


def write_frame(stream: BinaryIO, message: dict[str, Any], buffers: list[bytes]) -> None:
    """Write one frame."""
    for piece in frame(message, buffers):
        stream.write(piece)
    stream.flush()


def read_frame(stream: BinaryIO, limit: int) -> tuple[dict[str, Any], list[bytes]]:
    """Read one frame.

    Raises
    ------
    EOFError
        If the stream ends.
    ValueError
        If the frame has more than `limit` bytes, or is not one.
    """
    head, rest = struct.unpack("<QQ", _exactly(stream, 16))
    if head + rest > limit:
        raise ValueError(f"{head + rest:,} bytes, expected at most {limit:,} (a number of float64 has 8)")
    if head > _LONGEST_HEAD:
        raise ValueError("expected the numbers in arrays and not in lists")
    message = json.loads(_exactly(stream, head))
    body, buffers, start = _exactly(stream, rest), [], 0
    lengths = message.get("lengths") if isinstance(message, dict) else None
    if not isinstance(lengths, list) or not all(type(n) is int and 0 <= n <= rest for n in lengths):
        raise ValueError("not a frame")
    for length in lengths:
        buffers.append(body[start : start + length])
        start += length
    return message, buffers


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _limit(megabytes: int, seconds: int) -> None:
    """Set what the operating system will enforce, where it can. Hard limits: nothing here can raise them again."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for name, most in (
        ("RLIMIT_AS", megabytes << 20),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", 1 << 20),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", _KEEP_OPEN),
    ):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # what this system does not have or do
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


class Unreadable(SyntaxError):
    """Python cannot read the student's file. A SyntaxError that the file raises itself is an error like others."""


def _failure(error: BaseException, filename: str) -> dict[str, Any]:
    """An error as data: what, and the lines of the student's file that it went through, outermost first."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            lines.append([trace.tb_lineno, trace.tb_frame.f_code.co_name])
        trace = trace.tb_next
    if isinstance(error, Unreadable) and error.filename == filename:
        lines.append([error.lineno or 1, "<module>"])
    try:
        text = str(error.msg if isinstance(error, Unreadable) else error)[:2000]
    except BaseException:
        text = ""
    return {"error": type(error).__name__, "text": text, "trace": lines[:1] + lines[1:][-10:]}


def _fingerprint(modules: list[ModuleType]) -> dict[tuple[str, str], Any]:
    """What the public names of NumPy's modules stand for, to see whether a student's file replaces one."""
    return {
        (module.__name__, key): value
        for module in modules
        for key, value in list(vars(module).items())
        if not key.startswith("_")
    }


class _Serving:
    """One student's file and the stream on which it is asked."""

    def __init__(self, stream: BinaryIO, out: BinaryIO, numpy: ModuleType) -> None:
        self.stream, self.out, self.numpy = stream, out, numpy
        self.module = ModuleType("exercise")

    def load(self, source: str, filename: str) -> None:
        self.filename = filename
        self.watched = [self.numpy, self.numpy.linalg]
        if "random" in source:  # it takes a while to import, and who does not name it replaces nothing in it
            self.watched.append(importlib.import_module("numpy.random"))
        self.before = _fingerprint(self.watched)
        sys.modules["exercise"] = self.module
        try:
            code = compile(source, filename, "exec", dont_inherit=True)
        except ValueError as error:  # null bytes, before Python 3.11.4
            raise Unreadable(str(error)) from error
        except SyntaxError as error:
            raise Unreadable(error.msg, (filename, error.lineno, error.offset, error.text)) from error
        exec(code, vars(self.module))

    def named(self, name: str, fields: list[str]) -> Callable[..., Any]:
        """The student's own class of that name, if it has these fields."""
        return plain_named(name, fields, vars(self.module).get(name))

    def remote(self, k: int) -> Callable[..., Any]:
        """A function of the other side."""

        def function(*args: Any, **kwargs: Any) -> Any:
            tree, buffers = encode([list(args), kwargs])
            lines: list[list[Any]] = []
            at = sys._getframe().f_back
            while at is not None:
                if at.f_code.co_filename == self.filename:
                    lines.insert(0, [at.f_lineno, at.f_code.co_name])
                at = at.f_back
            write_frame(self.out, {"call": k, "content": tree, "trace": lines[:1] + lines[1:][-10:]}, buffers)
            return self.decoded(*read_frame(self.stream, _LONGEST_REQUEST))

        return function

    def decoded(self, message: dict[str, Any], buffers: list[bytes]) -> Any:
        return decode(message["content"], buffers, self.numpy, self.named, self.remote)

    def answer(self, message: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        function = vars(self.module).get(message["function"])
        if not callable(function):
            return {"missing": message["function"]}, []
        args, kwargs = self.decoded(message, buffers)
        given = arrays_given(function, args, kwargs, self.numpy.ndarray)
        try:
            result = function(*args, **kwargs)
            tree, sent = encode(result)
        except Unsendable as error:
            return {"unsendable": str(error)}, []
        changed = sorted({name for name, array, before in given if array.tobytes() != before})
        now = _fingerprint(self.watched)
        replaced = [".".join(key) for key, value in self.before.items() if now.get(key) is not value]
        return {"content": tree, "changed": changed, "replaced": replaced[:3]}, sent


def _hide(folder: str) -> None:
    """Refuse to import or to open what lies in a folder, for as long as the process lives."""
    name, realpath = os.path.basename(folder), os.path.realpath  # noqa: PTH119  a module less to import
    inside = realpath(folder) + os.sep

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event == "import" and str(args[0]).partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}")
        if event == "open" and isinstance(args[0], str | bytes) and realpath(os.fsdecode(args[0])).startswith(inside):
            raise PermissionError(f"{name} must not be read from here")

    sys.addaudithook(refuse)


def main() -> None:
    """Serve until the stream ends.

    Arguments: where NumPy is, the limits in MB and seconds, and, where this is root, whom to become.
    """
    project = str(__file__).rpartition(os.sep)[0].rpartition(os.sep)[0]
    numpy_folder, megabytes, seconds, *somebody = sys.argv[1], *map(int, sys.argv[2:])
    stream = os.fdopen(os.dup(0), "rb")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the student prints goes where errors go, the answers do not
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), encoding="utf-8", errors="replace", write_through=True)
    sys.argv = ["exercise"]
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # site, which would make them, is not imported
    own = os.getpid()
    sys.path.insert(0, numpy_folder)
    import numpy

    sys.path.remove(numpy_folder)  # what lies beside NumPy, this project included, cannot be imported
    serving = _Serving(stream, out, numpy)
    write_frame(out, {"ready": True}, [])
    message, _ = read_frame(stream, _LONGEST_REQUEST)
    filename = str(message["filename"])
    for user in somebody:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    _limit(megabytes, seconds)
    _hide(project)
    try:
        serving.load(str(message["source"]), filename)
        reply: tuple[dict[str, Any], list[bytes]] = ({"loaded": True}, [])
    except BaseException as error:
        reply = (_failure(error, filename), [])
    while True:
        if os.getpid() != own:
            os._exit(0)  # a copy that the student's code made answers nothing
        write_frame(out, *reply)
        try:
            message, buffers = read_frame(stream, _LONGEST_REQUEST)
        except EOFError:
            os._exit(0)  # whatever threads are left
        try:
            reply = serving.answer(message, buffers)
        except BaseException as error:
            reply = (_failure(error, filename), [])


if __name__ == "__main__":
    main()
