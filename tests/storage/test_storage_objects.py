"""Objects: written once, readable in parts, any damage is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.base.errors import DataError
from amaters.storage.files import Disk
from amaters.storage.objects import BLOCK_BYTES, FileObjects, MemoryObjects, ObjectStore
from amaters.wire import commands_pb2 as cb

ID = bytes(range(16))


def content(size: int) -> bytes:
    return bytes((i * 31 + i // 251) % 256 for i in range(size))


def put(store: ObjectStore, data: bytes, chunk: int = 1000) -> cb.ObjectRef:
    writer = store.create(ID, len(data))
    for start in range(0, len(data), chunk):
        writer.write(data[start : start + chunk])
    return writer.finish()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 200_000])
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_any_part_can_be_read(tmp_path: Path, size: int, kind: str) -> None:
    """Whole, prefix and ranges across block borders equal what was written."""
    store = MemoryObjects() if kind == "memory" else FileObjects(tmp_path, Disk())
    data = content(size)
    reader = store.open(put(store, data, 70_001))
    assert reader.size == size
    assert reader.read() == data
    for offset in (0, 1, BLOCK_BYTES - 2, BLOCK_BYTES, size - 3):
        if 0 <= offset <= size:
            length = min(5, size - offset)
            assert reader.read(offset, length) == data[offset : offset + length]
    assert reader.read_prefix(size // 2, 10) == data[: size // 2]
    with pytest.raises(DataError):
        reader.read(size, 1)


def test_ranges(tmp_path: Path) -> None:
    """Every range reads back."""
    data = content(3 * BLOCK_BYTES)
    store = FileObjects(tmp_path, Disk())
    reader = store.open(put(store, data))

    @given(st.integers(0, len(data)), st.integers(0, len(data)))
    @settings(max_examples=60, deadline=None)
    def check(a: int, b: int) -> None:
        low, high = min(a, b), max(a, b)
        assert reader.read(low, high - low) == data[low:high]

    check()


def test_every_damaged_byte_that_is_read_is_reported(tmp_path: Path) -> None:
    """Flips in content and checksums raise; flips elsewhere do not matter to the answer."""
    store = FileObjects(tmp_path, Disk())
    data = content(BLOCK_BYTES + 300)
    ref = put(store, data)
    path = tmp_path / ID.hex()
    whole = path.read_bytes()
    reported = 0
    for byte in [*range(0, 40), *range(BLOCK_BYTES, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        path.write_bytes(damaged)
        try:
            assert store.open(ref).read() == data
        except DataError as error:
            assert error.code == "AM-4001"
            reported += 1
    assert reported > 40
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError):
        store.open(ref).read()
    path.unlink()
    with pytest.raises(DataError, match="AM-4007"):
        store.open(ref).read()


def test_an_older_file_under_the_same_name_is_reported(tmp_path: Path) -> None:
    """A whole and consistent file with other content is not taken for the object."""
    store = FileObjects(tmp_path, Disk())
    ref = put(store, b"new content")
    (tmp_path / ID.hex()).unlink()
    put(store, b"old content")
    with pytest.raises(DataError, match="AM-4001"):
        store.open(ref).read()


def test_unfinished_uploads_leave_nothing(tmp_path: Path) -> None:
    """Aborted, wrong-sized and interrupted uploads are not objects."""
    store = FileObjects(tmp_path, Disk())
    store.create(ID, 10).abort()
    writer = store.create(ID, 10)
    writer.write(b"short")
    with pytest.raises(DataError, match="AM-3031"):
        writer.finish()
    store.create(ID, 5).write(b"lost")
    assert store.ids() == []
    assert list(tmp_path.iterdir()) == []
