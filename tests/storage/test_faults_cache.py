"""A cache on a disk that fails: slower, never in the way."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from faults.failing import KINDS, FailingDisk, Faults
from object_support import memory_blobs

from amaters.storage.cache import DiskCache
from amaters.storage.remote_objects import RemoteObjects

SIZE = 30_000
ALWAYS = 1 << 30


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("kinds", [*[(kind,) for kind in KINDS], KINDS])
def test_objects_are_read_past_a_failing_cache(
    tmp_path: Path, kinds: tuple[str, ...], code: int
) -> None:
    """From any call on the disk of the cache refuses: all reads are right, and deletions happen."""
    for first in range(12):
        faults = Faults()
        cache = DiskCache(tmp_path / f"{first}", FailingDisk(faults), 3 * SIZE)
        store = RemoteObjects(memory_blobs(), cache)
        contents = {bytes([n]) * 16: bytes([n]) * SIZE for n in range(6)}
        refs = []
        for object_id, data in contents.items():
            writer = store.create(object_id, SIZE)
            writer.write(data)
            refs.append(writer.finish())
        faults.arm(*kinds, first=first, times=ALWAYS, code=code)
        for ref in (*refs, *refs[::-1], *refs):
            assert store.open(ref).read() == contents[ref.object_id]
        store.delete(refs[0].object_id)
        faults.disarm()
        assert cache.bytes <= 3 * SIZE
        assert store.open(refs[1]).read() == contents[refs[1].object_id]
