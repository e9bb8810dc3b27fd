"""The CIFAR-10 reader: round trips, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.data import cifar
from mabn_ref.data.dataset import Dataset

MEMBERS = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)] + ["cifar-10-batches-bin/test_batch.bin"]


def random_dataset(size: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(rng.integers(0, 256, (size, 32, 32, 3), np.uint8), rng.integers(0, 10, size))


def to_records(dataset: Dataset) -> bytes:
    """Write records pixel by pixel as the format's page describes them, without the reader's array operations."""
    out = bytearray()
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        out.append(int(label))
        for channel in range(3):
            for row in range(32):
                out += bytes(image[row, :, channel].tolist())
    return bytes(out)


def write_archive(path: Path, files: dict[str, bytes], extra: list[tarfile.TarInfo] | None = None) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member in extra or []:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


@pytest.fixture
def files() -> dict[str, bytes]:
    return {name: to_records(random_dataset(2 + i, i)) for i, name in enumerate(MEMBERS)}


def assert_equal(left: Dataset, right: Dataset) -> None:
    np.testing.assert_array_equal(left.images, right.images)
    np.testing.assert_array_equal(left.labels, right.labels)
    assert left.images.dtype == np.uint8
    assert left.labels.dtype == np.int64


@given(size=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_records_round_trip(size: int, seed: int) -> None:
    dataset = random_dataset(size, seed)
    assert_equal(cifar.read_records(to_records(dataset), "file.bin"), dataset)


def test_images_are_contiguous_and_writable() -> None:
    dataset = cifar.read_records(to_records(random_dataset(3, 0)), "file.bin")
    assert dataset.images.flags.c_contiguous
    dataset.images[0, 0, 0, 0] = 1


@given(size=st.integers(0, 10_000).filter(lambda size: size == 0 or size % 3073 != 0))
def test_truncated_or_oversized_file_is_named(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^some\.bin is {size} bytes long, expected .*3073"):
        cifar.read_records(bytes(size), "some.bin")


@given(label=st.integers(10, 255), at=st.integers(0, 4))
def test_label_above_nine_is_named(label: int, at: int) -> None:
    raw = bytearray(to_records(random_dataset(5, 1)))
    raw[at * 3073] = label
    with pytest.raises(ValueError, match=rf"^some\.bin has label {label} in record {at}, expected 0 to 9: "):
        cifar.read_records(bytes(raw), "some.bin")


def test_directory_takes_any_files_of_either_kind(tmp_path: Path) -> None:
    parts = [random_dataset(2 + i, i) for i in range(4)]
    names = ["data_batch_1.bin", "data_batch_7.bin", "test_batch.bin", "test_batch_5k_jpeg.bin"]
    for name, part in zip(names, parts, strict=True):
        (tmp_path / name).write_bytes(to_records(part))
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    train, test = cifar.read_directory(tmp_path)
    assert_equal(train, Dataset(*(np.concatenate(pair) for pair in zip(*parts[:2], strict=True))))
    assert_equal(test, Dataset(*(np.concatenate(pair) for pair in zip(*parts[2:], strict=True))))


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ([], r"^no data_batch_\*\.bin and no test_batch\*\.bin in .*here, expected CIFAR-10"),
        (["data_batch_1.bin"], r"^no test_batch\*\.bin in .*here, expected CIFAR-10"),
        (["test_batch.bin"], r"^no data_batch_\*\.bin in .*here, expected CIFAR-10"),
    ],
)
def test_directory_names_what_it_looked_for(tmp_path: Path, present: list[str], message: str) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    for name in present:
        (directory / name).write_bytes(to_records(random_dataset(1, 0)))
    with pytest.raises(ValueError, match=message):
        cifar.read_directory(directory)


def test_directory_names_the_bad_file(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(to_records(random_dataset(1, 0)))
    (tmp_path / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(ValueError, match=r"test_batch\.bin is 3072 bytes long"):
        cifar.read_directory(tmp_path)


def test_archive_round_trip_writes_nothing(tmp_path: Path, files: dict[str, bytes]) -> None:
    shuffled = {name: files[name] for name in reversed(MEMBERS)}
    shuffled["cifar-10-batches-bin/readme.html"] = b"<html>"
    shuffled["../outside.bin"] = bytes(3073)
    train, test = cifar.read_archive(write_archive(tmp_path / "a.tar.gz", shuffled))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
    parts = [random_dataset(2 + i, i) for i in range(5)]
    assert_equal(train, Dataset(*(np.concatenate(pair) for pair in zip(*parts, strict=True))))
    assert_equal(test, random_dataset(7, 5))


def test_archive_equals_directory(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, raw in files.items():
        (tmp_path / Path(name).name).write_bytes(raw)
    archive = write_archive(tmp_path / "a.tar.gz", files)
    for one, other in zip(cifar.read_archive(archive), cifar.read_directory(tmp_path), strict=True):
        assert_equal(one, other)


def test_archive_names_missing_members(tmp_path: Path, files: dict[str, bytes]) -> None:
    del files[MEMBERS[2]], files[MEMBERS[5]]
    with pytest.raises(ValueError, match=r"a\.tar\.gz lacks .*/data_batch_3\.bin, .*/test_batch\.bin, expected"):
        cifar.read_archive(write_archive(tmp_path / "a.tar.gz", files))


def test_archive_names_a_bad_member(tmp_path: Path, files: dict[str, bytes]) -> None:
    files[MEMBERS[1]] = files[MEMBERS[1]][:-1]
    with pytest.raises(ValueError, match=r"a\.tar\.gz: .*data_batch_2\.bin is 9218 bytes long"):
        cifar.read_archive(write_archive(tmp_path / "a.tar.gz", files))


def test_archive_refuses_an_oversized_member(tmp_path: Path, files: dict[str, bytes]) -> None:
    member = tarfile.TarInfo(MEMBERS[0])
    member.size = 10_001 * 3073
    path = write_archive(tmp_path / "a.tar.gz", files, extra=[member])
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is 30733073 bytes long, expected at most 30730000"):
        cifar.read_archive(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_archive_refuses_links_and_special_files(tmp_path: Path, files: dict[str, bytes], kind: bytes) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(files[MEMBERS[0]])
    member = tarfile.TarInfo(MEMBERS[0])
    member.type, member.linkname = kind, str(secret)
    del files[MEMBERS[0]]
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is a link or a special file, expected a regular file"):
        cifar.read_archive(write_archive(tmp_path / "a.tar.gz", files, extra=[member]))


@pytest.mark.parametrize("size", [2**63, 3 * 2**30, cifar.MEMBER_LIMIT + 1, -(2**40)])
@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
)
def test_archive_refuses_a_name_that_would_fill_the_memory(tmp_path: Path, size: int, kind: bytes) -> None:
    """Nothing of that size is read: not 3 GB, nor, where the size is negative, all that is left."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, size
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10**7)))
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"a\.tar\.gz cannot be read as a gzip-compressed tar archive: a part of"
        ):
            cifar.read_archive(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_archive_refuses_a_member_there_twice(tmp_path: Path, files: dict[str, bytes]) -> None:
    member = tarfile.TarInfo(MEMBERS[0])
    member.size = 3073
    raw = write_archive(tmp_path / "a.tar.gz", files)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as twice:
        for name, content in [(MEMBERS[0], bytes(3073)), *files.items()]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            twice.addfile(member, io.BytesIO(content))
    cifar.read_archive(raw)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is there twice, expected once"):
        cifar.read_archive(tmp_path / "b.tar.gz")


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", gzip.compress(b"no tar inside" * 100)], ids=["empty", "text", "gzip"]
)
def test_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"foreign\.tar\.gz cannot be read as a gzip-compressed tar archive"):
        cifar.read_archive(path)


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no file .*none\.tar\.gz, expected the archive"):
        cifar.read_archive(tmp_path / "none.tar.gz")


def test_damaged_archive_is_named_or_reads_as_before(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Cut anywhere, or with any byte changed: never another image, and no error but ValueError."""
    # Half of the files compress well, half not at all: damage meets both kinds of deflate block.
    files = {name: bytes([i]) * 3073 * 4 if i % 2 else raw for i, (name, raw) in enumerate(files.items())}
    path = write_archive(tmp_path / "bad.tar.gz", files)
    good, before = path.read_bytes(), cifar.read_archive(path)
    rng = np.random.default_rng(0)
    messages = []
    for at in rng.integers(0, len(good), 150):
        changed = bytearray(good)
        changed[at] ^= int(rng.integers(1, 256))
        for raw in (good[:at], bytes(changed)):
            path.write_bytes(raw)
            try:
                after = cifar.read_archive(path)
            except ValueError as error:
                messages.append(str(error))
            else:
                for one, other in zip(before, after, strict=True):
                    assert_equal(one, other)
    assert len(messages) > 290
    assert all("bad.tar.gz" in message for message in messages)
