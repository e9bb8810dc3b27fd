"""Writing files that survive a kill and a second writer, and reading files that somebody else may have made."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Add the name of `path` to an OSError that does not say which file it is about, as when the disk is full.

    Examples
    --------
    >>> with named(Path("results.jsonl")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'results.jsonl'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write `path` through a temporary file beside it, which replaces it once it is on the disk.

    Its directory is created if necessary. `content` is bytes, or a function that is called with the open binary file.
    If there are two writers at a time, the second one waits. An OSError names the file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder, "a"), b"whole")
    ...     print(Path(folder, "a").read_bytes())
    b'whole'
    """
    if path.is_dir():  # replacing it would fail with the name of the temporary file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # One fixed name: what a killed run leaves behind is overwritten by the next, so that nothing piles up.
    temporary = path.with_name(path.name + ".tmp")
    with named(path), _opened_alone(temporary) as file:
        try:
            file.write(content) if isinstance(content, bytes) else content(file)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":  # it gives an open file no new name
                file.close()
            temporary.replace(path)
        except BaseException:
            _removed(temporary, file)
            raise


def put_aside(path: Path) -> Path:
    """Rename a file to the first free name of ``NAME.old``, ``NAME.old2`` and so on, and return that.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for content in (b"first", b"second"):
    ...         write(Path(folder, "a"), content)
    ...         print(put_aside(Path(folder, "a")).name)
    a.old
    a.old2
    """
    names = (path.with_name(f"{path.name}.old{'' if number == 1 else number}") for number in count(1))
    kept = next(name for name in names if not os.path.lexists(name))
    return path.rename(kept)


def _opened_alone(path: Path, wait: Callable[[str], object] = lambda holder: None) -> IO[bytes]:
    """Open a file, new or existing, once nobody else holds it; before waiting, `wait` is called with its content."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait(file.read(1000).decode(errors="replace"))
                fcntl.flock(file, fcntl.LOCK_EX)
        # The process that held it may have renamed or removed it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.seek(0)
                file.truncate()
                return file
        file.close()


@contextlib.contextmanager
def lock(path: Path, wait: Callable[[str], object]) -> Iterator[None]:
    """Keep out other processes that ask for the same lock, the file `path`; create its directory if necessary.

    If another process holds it, `wait` is called with which one that is, and this waits. The system releases the lock
    when its holder ends, however it ends. Where the system has no such locks (Windows), nobody is kept out.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, lock(Path(folder, ".lock"), print):
    ...     print("mine")
    mine
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with named(path):
        file = _opened_alone(path, wait)
    with file:
        try:
            with named(path):  # without the buffer, which would be written again if this failed
                os.write(file.fileno(), f"process {os.getpid()} ({shlex.join(sys.argv)})".encode(errors="replace"))
            yield
        finally:
            _removed(path, file)


def _removed(path: Path, file: IO[bytes]) -> None:
    """Remove a file that is open; Windows removes none that is."""
    if sys.platform == "win32":
        file.close()
    path.unlink(missing_ok=True)


def as_json(text: str | bytes, most: float = sys.float_info.max) -> Any:
    """Return the value of a JSON text; anything wrong with the text is a ValueError.

    Numbers that JSON does not have (NaN, Infinity) are refused, and so are those beyond `most`, integers included.

    Examples
    --------
    >>> as_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: not JSON: nested too deeply
    """
    whole, other = partial(_limited, int, most), partial(_limited, float, most)
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=other, parse_int=whole)
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _limited(kind: type[int] | type[float], most: float, text: str) -> float:
    value = kind(text)
    if abs(value) > most:
        raise ValueError(f"{text[:20]} is beyond {most:g}")
    return value
