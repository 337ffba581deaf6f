"""Objects on their way in: reserved ids, uploads, and what waits for a commit to name it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Iterable
from concurrent.futures import Executor

from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.engine.catalogue import invalid
from amaters.storage.objects import ObjectStore
from amaters.wire import commands_pb2 as cb
from amaters.wire.service import CHUNK_BYTES_MAX, Chunk

RESERVED_MAX = 1 << 16
OBJECT_BYTES_MAX = 4 << 30


class Uploads:
    """Ids live as long as the engine; what no commit named is swept when the database is opened."""

    def __init__(self, objects: ObjectStore, pool: Executor) -> None:
        self._objects = objects
        self._pool = pool
        self._lock = threading.Lock()
        self._reserved: set[bytes] = set()
        self._pending: dict[bytes, cb.ObjectRef] = {}

    def reserve(self, count: int) -> list[bytes]:
        """Fresh ids. Raises: AM-3005 when too many are outstanding."""
        with self._lock:
            if len(self._reserved) + count > RESERVED_MAX:
                invalid("too many reserved ids")
            ids = [new_id() for _ in range(count)]
            self._reserved.update(ids)
        return ids

    async def receive(
        self, object_id: bytes, size: int, chunks: AsyncIterable[Chunk]
    ) -> cb.ObjectRef:
        """Store an object of exactly ``size`` bytes.

        Raises: AM-3005, AM-3030, AM-3031, AM-4003.
        """
        if size > OBJECT_BYTES_MAX:
            invalid("an object beyond the size limit")
        with self._lock:
            if object_id not in self._reserved:
                fail("AM-3030", object_id=object_id.hex())
            self._reserved.discard(object_id)
        loop = asyncio.get_running_loop()
        writer = await loop.run_in_executor(self._pool, self._objects.create, object_id, size)
        received = 0
        try:
            async for chunk in chunks:
                received += len(chunk)
                if len(chunk) > CHUNK_BYTES_MAX or received > size:
                    fail("AM-3031", expected=size, received=received)
                await loop.run_in_executor(self._pool, writer.write, chunk)
            ref = await loop.run_in_executor(self._pool, writer.finish)
        except BaseException:
            writer.abort()
            with self._lock:
                self._reserved.add(object_id)
            raise
        return ref

    def keep(self, ref: cb.ObjectRef) -> None:
        """An uploaded object waits for its commit."""
        with self._lock:
            self._pending[ref.object_id] = ref

    def waiting(self, ids: Iterable[bytes]) -> list[cb.ObjectRef]:
        """References of uploaded objects. Raises: AM-3030 for one that is not there."""
        found = []
        with self._lock:
            for object_id in ids:
                ref = self._pending.get(object_id)
                if ref is None:
                    fail("AM-3030", object_id=object_id.hex())
                found.append(ref)
        return found

    def require(self, ids: Iterable[bytes]) -> None:
        """Raises: AM-3030 when a commit has named one of these objects or segments meanwhile."""
        with self._lock:
            for object_id in ids:
                if object_id not in self._pending and object_id not in self._reserved:
                    fail("AM-3030", object_id=object_id.hex())

    def is_reserved(self, segment_id: bytes) -> bool:
        """Whether an id was reserved and nothing was made of it yet."""
        with self._lock:
            return segment_id in self._reserved

    def unnamed(self) -> int:
        """How many uploaded objects no commit has named yet, or ever will."""
        with self._lock:
            return len(self._pending)

    def abandon(self, ids: Iterable[bytes]) -> list[bytes]:
        """Forget those of some objects that wait for a commit; they are to be deleted."""
        with self._lock:
            found = [object_id for object_id in ids if object_id in self._pending]
            for object_id in found:
                del self._pending[object_id]
        return found

    def committed(self, ids: Iterable[bytes]) -> None:
        """Forget what a commit named."""
        with self._lock:
            for object_id in ids:
                self._pending.pop(object_id, None)
                self._reserved.discard(object_id)
