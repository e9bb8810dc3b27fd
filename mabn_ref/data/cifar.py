"""CIFAR-10 in its binary format: a label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row.

A file is any number of such records. Nothing is unpickled and nothing is extracted to disk.
Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
"""

from __future__ import annotations

import fnmatch
import gzip
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from mabn_ref import storage
from mabn_ref.data import causes
from mabn_ref.data.causes import KINDS, RECORD_BYTES
from mabn_ref.data.dataset import CLASSES, Dataset

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MEMBER_LIMIT = 10_000 * RECORD_BYTES
"""Bytes in a file of the official archive. A larger file is not one of these: refused before it is decompressed."""

_TRAIN_MEMBERS = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
_TEST_MEMBERS = ("cifar-10-batches-bin/test_batch.bin",)


def read_records(raw: bytes, name: str) -> Dataset:
    """Return the images and labels of one file's bytes, in the file's order; `name` is the file's, for messages.

    A size that is 0 or not a multiple of 3,073, and a label above 9, are a ValueError, which says what the file
    probably is: cut short, packed, of CIFAR-100 or of the Python version, for instance.

    Examples
    --------
    >>> dataset = read_records(bytes([7]) + bytes(3072), "one.bin")
    >>> dataset.images.shape, dataset.labels
    ((1, 32, 32, 3), array([7]))
    >>> read_records(bytes(3000), "cut.bin")
    Traceback (most recent call last):
    ValueError: cut.bin is 3000 bytes long, expected records of 3073 bytes, so a multiple of 3073 above 0: it is \
probably cut short; copy, download or write it again
    """
    if len(raw) == 0 or len(raw) % RECORD_BYTES != 0:
        raise ValueError(
            f"{name} is {len(raw)} bytes long, expected records of {RECORD_BYTES} bytes, "
            f"so a multiple of {RECORD_BYTES} above 0: it {causes.of_content(raw, name)}"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if np.any(labels >= CLASSES):
        at = int(np.argmax(labels >= CLASSES))
        cause = causes.of_labels(raw, name, int(labels.min()), int(labels.max()))
        raise ValueError(f"{name} has label {labels[at]} in record {at}, expected 0 to {CLASSES - 1}: it {cause}")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return Dataset(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)


def read_directory(path: str | os.PathLike[str]) -> tuple[Dataset, Dataset]:
    """Read the record files of a directory: ``data_batch_*.bin`` for training, ``test_batch*.bin`` for testing.

    The files of each kind are joined in the order of their names.

    Raises
    ------
    ValueError
        If there is no file of one kind, or `read_records` refuses one. The message names the file, and says what is
        probably wrong and what to do.
    OSError
        If the directory or a file cannot be read.

    Examples
    --------
    >>> read_directory("no-such-directory")
    Traceback (most recent call last):
    ValueError: no data_batch_*.bin and no test_batch*.bin in no-such-directory, expected CIFAR-10 binary record \
files: there is no such directory; check the path
    """
    directory = Path(path)
    try:
        paths = sorted(directory.iterdir()) if directory.is_dir() else []
        found = {kind: [path for path in paths if fnmatch.fnmatch(path.name, kind)] for kind in KINDS}
        missing = [kind for kind in KINDS if not found[kind]]
        if missing:
            raise ValueError(
                f"{' and '.join(f'no {kind}' for kind in missing)} in {directory}, expected CIFAR-10 binary record "
                f"files: {causes.of_directory(directory, missing)}"
            )
        for path in paths:
            left = path.with_suffix("") not in paths and any(fnmatch.fnmatch(path.stem, kind) for kind in KINDS)
            if left and (cause := causes.of_file(path)):
                raise ValueError(f"{path} {cause}")
        train, test = (_join([_read_file(file) for file in found[kind]]) for kind in KINDS)
    except OSError as error:
        said = f"{error.filename or directory} cannot be read ({error.strerror or error})"
        raise OSError(f"{said}: check its permissions, or copy it again") from error
    return train, test


def _read_file(path: Path) -> Dataset:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a directory or a special file, expected a file of records: copy it again")
    try:
        with storage.named(path):
            return read_records(path.read_bytes(), str(path))
    except MemoryError:
        size = path.stat().st_size
        raise ValueError(f"{path} is {size} bytes long, more than fits into memory: use fewer images") from None


class _Stream(gzip.GzipFile):
    """The bytes of an archive, with a limit: `tarfile` reads as many at once as a header says that a name has."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MEMBER_LIMIT:
            raise tarfile.ReadError(f"a part of {size} bytes, expected at most {MEMBER_LIMIT}")
        return super().read(size)


def read_archive(path: str | os.PathLike[str]) -> tuple[Dataset, Dataset]:
    """Read ``cifar-10-binary.tar.gz`` in memory: ``data_batch_1.bin`` to ``_5.bin``, and ``test_batch.bin``.

    Only the six record files are read; all other members are skipped.

    Raises
    ------
    ValueError
        If the file is missing, not a gzip-compressed tar archive, or damaged; if a record file is missing from it,
        there twice, a link, longer than `MEMBER_LIMIT`, or refused by `read_records`. The message names the file.
    """
    path = Path(path)
    if not path.is_file():
        hint = ": it is a directory, for `read_directory`" if path.is_dir() else ""
        raise ValueError(f"no file {path}, expected the archive cifar-10-binary.tar.gz{hint}")
    wanted = _TRAIN_MEMBERS + _TEST_MEMBERS
    parts: dict[str, Dataset] = {}
    foreign: str | None = None
    try:
        with _Stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                foreign = foreign or causes.of_name(member.name)
                if member.name in wanted:
                    name = f"{path}: {member.name}"
                    if member.name in parts:
                        raise ValueError(f"{name} is there twice, expected once")
                    parts[member.name] = read_records(_read_member(archive, member, name), name)
            # A tar archive ends before its stream does, and only the stream's end holds the checksum.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{path} cannot be read as a gzip-compressed tar archive: {error}") from error
    missing = [name for name in wanted if name not in parts]
    if missing:
        hint = f": it {foreign}" if foreign else ""
        raise ValueError(f"{path} lacks {', '.join(missing)}, expected the members of cifar-10-binary.tar.gz{hint}")
    return _join([parts[name] for name in _TRAIN_MEMBERS]), _join([parts[name] for name in _TEST_MEMBERS])


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes:
    if not member.isfile():
        raise ValueError(f"{name} is a link or a special file, expected a regular file")
    if member.size > MEMBER_LIMIT:
        raise ValueError(f"{name} is {member.size} bytes long, expected at most {MEMBER_LIMIT}")
    file = archive.extractfile(member)
    assert file is not None
    with file:
        return file.read()


def _join(parts: list[Dataset]) -> Dataset:
    images, labels = zip(*parts, strict=True)
    return Dataset(np.concatenate(images), np.concatenate(labels))
