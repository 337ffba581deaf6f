"""Builds indexes in the background, a slice at a time between other writes.

A build that a crash cut off goes on when the database is opened again. Whoever waits for one is
told how far it is, and how it ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from amaters.base.errors import fail
from amaters.storage.committer import Committer
from amaters.storage.database import Storage
from amaters.storage.index_build import find_index, next_slice, require_unique
from amaters.storage.index_reader import BUILDING, REGISTERED_FROM
from amaters.wire import service_pb2 as pb

TOLD_SECONDS = 0.1

Name = tuple[bytes, int]  # table id and number


@dataclass(slots=True)
class _Build:
    """One build on its way: how many places are done, and how many wait."""

    done: int = 0
    left: int = 0


class Indexer:
    """One thread for all builds of a database. ``close`` it before the committer."""

    def __init__(self, storage: Storage, committer: Committer) -> None:
        self._storage = storage
        self._committer = committer
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="amaters-indexer")
        self._lock = threading.Lock()
        self._builds: dict[Name, tuple[_Build, Future[None]]] = {}
        self._stopping = threading.Event()

    def wake(self) -> None:
        """Start building what is not ready. For any thread; returns at once."""
        for version in self._storage.tables():
            for index in version.indexes:
                if index.state == BUILDING and index.number < REGISTERED_FROM:
                    self._start((version.table_id, index.number))

    async def follow(self, table_id: bytes, number: int) -> AsyncIterator[pb.BuildIndexEvent]:
        """How far the build of an index is, until it is ready.

        Raises: AM-3090 (it is not unique), AM-3091 (there is none), AM-3004 (the engine closes).
        """
        index = find_index(self._storage, table_id, number)
        require_unique(self._storage, table_id, index)
        if index.is_ready:
            yield pb.BuildIndexEvent()
            return
        build, future = self._start((table_id, number))
        waiter = asyncio.wrap_future(future)
        while not waiter.done():
            await asyncio.wait({waiter}, timeout=TOLD_SECONDS)
            yield pb.BuildIndexEvent(done=build.done, total=build.done + build.left)
        waiter.result()

    def _start(self, name: Name) -> tuple[_Build, Future[None]]:
        with self._lock:
            running = self._builds.get(name)
            if running is None:
                if self._stopping.is_set():
                    fail("AM-3004")
                build = _Build()
                running = self._builds[name] = build, self._pool.submit(self._run, name, build)
        return running

    def _run(self, name: Name, build: _Build) -> None:
        try:
            self._build(name, build)
        finally:
            with self._lock:
                del self._builds[name]

    def _build(self, name: Name, build: _Build) -> None:
        while not (index := find_index(self._storage, *name)).is_ready:
            require_unique(self._storage, name[0], index)
            if self._stopping.is_set():
                fail("AM-3004")
            step = next_slice(self._storage, *name)
            apply = partial(step.apply, self._storage)
            if not self._committer.submit(apply, size=step.command.ByteSize()).result():
                continue  # a segment has left: the next slice is of those that are there
            build.done += len(step.command.index_build.places)
            build.left = step.left

    def close(self) -> None:
        """Stop after the slice on its way; the rest is built when the database is open again."""
        self._stopping.set()
        self._pool.shutdown(wait=True)
