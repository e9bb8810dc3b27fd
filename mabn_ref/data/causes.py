"""Why a file or a directory does not hold the records that were expected, and what to do: the ends of messages."""

from __future__ import annotations

import fnmatch
import itertools
import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from mabn_ref.data.dataset import CLASSES

RECORD_BYTES = 1 + 3 * 32 * 32

KINDS = ("data_batch_*.bin", "test_batch*.bin")  #: names of the files for training and for testing

_HEAD = 512  # bytes that tell what a file is
_LOOKED_AT = 500  # files in a directory
_BINARY = "use the binary version of CIFAR-10 (cifar-10-binary.tar.gz)"
_WRITE = 'write the images as records (see "Train on your own images" in the documentation)'
_UNPACK = "unpack it and name the directory that then holds data_batch_*.bin"
_AGAIN = "copy, download or write it again"

_PYTHON = f"is from a Python version of CIFAR; its pickles can run any program and are never loaded: {_BINARY}"
_MATLAB = f"is a MATLAB file, as in the MATLAB version of CIFAR-10; {_BINARY}, or {_WRITE}"
_CIFAR_100 = f"is from CIFAR-100, which has 100 classes; {_BINARY}, or {_WRITE}, of at most ten classes"

_PICKLED = (b"(dp", b"}q", *(bytes([0x80, protocol]) for protocol in range(2, 6)))
_FORMATS = {
    b"\x1f\x8b": "packed (gzip)",
    b"PK": "packed (zip)",
    b"BZh": "packed (bzip2)",
    b"\xfd7zXZ": "packed (xz)",
    b"7z\xbc\xaf": "packed (7z)",
    b"Rar!": "packed (rar)",
    b"\x28\xb5\x2f\xfd": "packed (zstd)",
    b"\x89PNG": "an image file (PNG)",
    b"\xff\xd8\xff": "an image file (JPEG)",
    b"GIF8": "an image file (GIF)",
    b"BM": "an image file (BMP)",
    b"RIFF": "an image file (WebP)",
    b"II*\0": "an image file (TIFF)",
    b"MM\0*": "an image file (TIFF)",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"\0\0\x08\x01": "an IDX file, as in MNIST",
    b"\0\0\x08\x03": "an IDX file, as in MNIST",
}
_TWO_LABELS = 3074
_OTHER_RECORDS = {
    _TWO_LABELS: f"has the size of records with two labels, as in CIFAR-100; {_BINARY}, or {_WRITE}, with one label",
    3072: f"has the size of records without a label, or of larger images, as in STL-10; {_WRITE}",
    1025: "has the size of grey-scale records; write each image three times, as red, green and blue",
    4097: "has the size of records with a fourth channel, such as alpha; leave that channel out",
}


def of_name(name: str) -> str | None:
    """Tell from its name which other version of CIFAR a file or an archive's member belongs to, if any."""
    name = name.lower()
    if "cifar" not in name:
        return None
    if "python" in name or "batches-py" in name:
        return _PYTHON
    if "matlab" in name or "batches-mat" in name:
        return _MATLAB
    return _CIFAR_100 if "cifar-100" in name or "cifar100" in name else None


def of_content(raw: bytes, name: str) -> str:
    """Tell what the bytes of a file probably are, given that they are not a whole number of records.

    Examples
    --------
    >>> of_content(bytes(3074), "data_batch_1.bin").partition(",")[0]
    'has the size of records with two labels'
    >>> of_content(b"<!DOCTYPE html>", "data_batch_1.bin")
    "is text, from '<!DOCTYPE html>' on; copy, download or write it again"
    >>> of_content(bytes([7, *[200] * 12288]), "64x64.bin").partition(";")[0]
    'holds images of another size or layout'
    """
    if not raw:
        return f"is empty; {_AGAIN}"
    known = _of_start(raw[:_HEAD], name) or _of_size(len(raw))
    if known is None and all(byte in string.printable.encode() for byte in raw[:_HEAD]):
        known = f"is text, from {raw[:20].decode()!r} on; {_AGAIN}"
    if known is None and max(raw[::RECORD_BYTES]) >= CLASSES:  # in a file that is cut short these would be labels
        known = f"holds images of another size or layout; {_WRITE}"
    return known or f"is probably cut short; {_AGAIN}"


def of_labels(raw: bytes, name: str, low: int, high: int) -> str:
    """Tell what the bytes of a file probably are, given that read as records they have labels `low` to `high` > 9."""
    known = _of_start(raw[:_HEAD], name)
    if known is None and len(raw) % _TWO_LABELS == 0:
        known = _OTHER_RECORDS[_TWO_LABELS]
    if known is None and (low, high) == (1, 10):
        known = "counts its labels from 1; count them from 0"
    return known or f"has more than ten classes, or holds no records; {_WRITE}, of at most ten classes"


def of_file(path: Path) -> str | None:
    """Tell from a file's first bytes what it is, if they are known and can be read."""
    if not path.is_file():  # a pipe would wait for a writer
        return None
    try:
        with path.open("rb") as file:
            return _of_start(file.read(_HEAD), path.name)
    except OSError:
        return None


def of_directory(directory: Path, missing: Sequence[str]) -> str:
    """Tell where the files of the `missing` kinds are, or what is there in their place, and what to do.

    `missing` are the `KINDS` that the directory lacks. Its subdirectories are searched, two levels deep for these and
    four for what is there instead. An OSError says that the directory cannot be read.
    """
    if not directory.exists():
        if re.match("[a-z]{2,}:/", str(directory)):  # a drive has one letter
            return "that is an address; download the files and name the directory that holds them"
        if directory.parts[:1] == ("~",):
            return "~ stands for no directory here; write the path out"
        return "there is no such directory; check the path"
    if not directory.is_dir():
        said = None if any(fnmatch.fnmatch(directory.name, kind) for kind in KINDS) else of_file(directory)
        return f"it {said}" if said else "it is a file; name the directory that holds them"
    below = [path for depth in ("*", "*/*") for kind in missing for path in sorted(directory.glob(f"{depth}/{kind}"))]
    for path in below:
        if all(any(path.parent.glob(kind)) for kind in KINDS):
            return f"they are in {path.parent}; name that directory"
    if below:
        return f"there is {below[0]}; put the files of both kinds into one directory"
    for path in itertools.islice(_files(directory), _LOOKED_AT):
        # Where files of one kind are there, a picture beside them is no reason for the others' absence.
        if len(missing) == len(KINDS) or missing[0][:4] in path.name.lower():
            said = of_file(path) or _of_renamed(path)
            if said is not None:
                return f"{path.relative_to(directory)} {said}"
    there = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    if not there:
        return "it is empty; name the directory that holds them"
    wanted = "name the directory that holds them" if len(missing) == len(KINDS) else "copy or write the others too"
    more = f" and {len(there) - 3} more" if len(there) > 3 else ""
    return f"it holds {', '.join(there[:3])}{more}; {wanted}"


def _of_start(head: bytes, name: str) -> str | None:
    if name.lower().endswith(".npz"):
        return f"is a NumPy file; {_WRITE}"
    known = next((known for start, known in _FORMATS.items() if head.startswith(start)), "")
    if head[257:262] == b"ustar":
        known = "packed (tar)"
    if known.startswith("packed"):
        return of_name(Path(name).name) or f"is {known}; {_UNPACK}"
    if head.startswith(_PICKLED):
        return _PYTHON
    if head.startswith(b"MATLAB"):
        return _MATLAB
    return f"is {known}; {_WRITE}" if known else None


def _of_size(size: int) -> str | None:
    return next((said for other, said in _OTHER_RECORDS.items() if size % other == 0), None)


def _of_renamed(path: Path) -> str | None:
    """What the size of a file tells, if its ending fits. Others fit by chance: a .DS_Store has twice 3,074 bytes."""
    size = path.stat().st_size
    if size == 0 or path.suffix.lower() not in ("", ".bin", ".dat", ".raw"):
        return None
    if size % RECORD_BYTES == 0:
        return "has the size of a record file; name it data_batch_1.bin to train on it, test_batch.bin to test on it"
    return _of_size(size)


def _files(directory: Path, deeper: int = 4) -> Iterator[Path]:
    """The files of a directory, then those of its directories, except hidden ones and those that cannot be listed."""
    try:
        entries = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:
        return
    yield from (path for path in entries if path.is_file())
    if deeper:
        for path in entries:
            if path.is_dir():
                yield from _files(path, deeper - 1)
