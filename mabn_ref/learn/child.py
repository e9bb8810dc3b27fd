"""The process in which a student's file runs. Started as a script: it imports NumPy and nothing of this project.

It reads frames from standard input and answers each on what was standard output: first the source, then calls of its
functions. The process judges nothing. It holds no solution, and what it answers is looked at elsewhere. It is no
sandbox: the short ways to import or open the solutions are refused, and whoever is determined finds others.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, BinaryIO

if __name__ != "__main__":
    from mabn_ref.learn import wire
else:  # beside this file, where nothing is to be found later
    _HERE = __file__.rpartition(os.sep)[0]
    sys.path.insert(0, _HERE)
    import wire  # type: ignore[import-not-found, no-redef]

    sys.path.remove(_HERE)

__all__ = ["main"]

_KEEP_OPEN = 64


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
        if hasattr(resource, name):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            try:
                resource.setrlimit(kind, (most, most))
            except (OSError, ValueError):
                continue


def _failure(error: BaseException, filename: str) -> dict[str, Any]:
    """An error as data: what, and the lines of the student's file that it went through, outermost first."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            lines.append([trace.tb_lineno, trace.tb_frame.f_code.co_name])
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == filename:
        lines.append([error.lineno or 1, "<module>"])
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)[:2000]
    except BaseException:
        text = ""
    return {"error": type(error).__name__, "text": text, "trace": lines[:1] + lines[1:][-10:]}


def _fingerprint(numpy: ModuleType) -> dict[tuple[str, str], Any]:
    """What NumPy's public names stand for, to see whether a student's file replaces one."""
    modules = {"numpy": numpy, "numpy.linalg": numpy.linalg, "numpy.random": numpy.random}
    return {
        (name, key): value
        for name, module in modules.items()
        for key, value in list(vars(module).items())
        if not key.startswith("_")
    }


class _Serving:
    """One student's file and the stream on which it is asked."""

    def __init__(self, stream: BinaryIO, out: BinaryIO, numpy: ModuleType, limit: int) -> None:
        self.stream, self.out, self.numpy, self.limit = stream, out, numpy, limit
        self.module = ModuleType("exercise")
        self.array_type = numpy.ndarray
        self.before = _fingerprint(numpy)

    def load(self, source: str, filename: str) -> None:
        self.filename = filename
        sys.modules["exercise"] = self.module
        try:
            code = compile(source, filename, "exec", dont_inherit=True)
        except ValueError as error:  # null bytes, before Python 3.11.4
            raise SyntaxError(str(error)) from error
        exec(code, vars(self.module))

    def named(self, name: str, fields: list[str]) -> Callable[..., Any]:
        """The student's own class of that name, if it has these fields."""
        own = vars(self.module).get(name)
        if isinstance(own, type) and list(getattr(own, "_fields", ())) == fields:
            return own
        return wire.plain_named(name, fields)

    def remote(self, k: int) -> Callable[..., Any]:
        """A function of the other side."""

        def function(*args: Any, **kwargs: Any) -> Any:
            tree, buffers = wire.encode([list(args), kwargs], self.array_type)
            wire.write(self.out, {"call": k, "content": tree}, buffers)
            return self.decoded(*wire.read(self.stream, self.limit))

        return function

    def decoded(self, message: dict[str, Any], buffers: list[bytes]) -> Any:
        return wire.decode(message["content"], buffers, self.numpy, self.named, self.remote)

    def answer(self, message: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        function = vars(self.module).get(message["function"])
        if not callable(function):
            return {"missing": message["function"]}, []
        args, kwargs = self.decoded(message, buffers)
        given = [(a, a.tobytes()) for a in wire.arrays([args, kwargs], self.array_type)]
        try:
            result = function(*args, **kwargs)
            tree, sent = wire.encode(result, self.array_type)
        except wire.Unsendable as error:
            return {"unsendable": str(error)}, []
        changed = any(a.tobytes() != before for a, before in given)
        now = _fingerprint(self.numpy)
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
            raise PermissionError(f"{name} is not to be read from here")

    sys.addaudithook(refuse)


def main() -> None:
    """Serve until the stream ends. Arguments: where NumPy is, then the limits in MB, seconds and bytes."""
    project = str(__file__).rpartition(os.sep)[0].rpartition(os.sep)[0]
    numpy_folder, megabytes, seconds, limit = sys.argv[1], *map(int, sys.argv[2:5])
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
    serving = _Serving(stream, out, numpy, limit)
    wire.write(out, {"ready": True}, [])
    message, _ = wire.read(stream, limit)
    filename = str(message["filename"])
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
        wire.write(out, *reply)
        try:
            message, buffers = wire.read(stream, limit)
        except EOFError:
            os._exit(0)  # whatever threads are left
        try:
            reply = serving.answer(message, buffers)
        except BaseException as error:
            reply = (_failure(error, filename), [])


if __name__ == "__main__":
    main()
