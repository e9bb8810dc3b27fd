"""Files that are whole or not there at all, whatever interrupts the writing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["write"]


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write `path` through a temporary file beside it, which replaces it once it is on the disk.

    Its directory is made if need be; `fill` is called with the open binary file to write the content.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder, "a"), lambda file: file.write(b"whole"))
    ...     print(Path(folder, "a").read_bytes())
    b'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One fixed name: what a killed run leaves behind is overwritten by the next, so that nothing piles up.
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
