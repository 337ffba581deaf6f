"""One database: commit log, state and objects joined.

A command is durable in the log before its effects are published; what nothing names is swept at
open. Writing is for one thread at a time, which ``group`` sees to; versions and keys are read by
any thread and wait for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import new_id
from amaters.storage.apply import apply
from amaters.storage.log import Log, MemoryLog
from amaters.storage.objects import MemoryObjects, ObjectStore
from amaters.storage.rows import BatchRows, CommandRows, Key, read_rows
from amaters.storage.state import State
from amaters.storage.versions import TableVersion
from amaters.wire import commands_pb2 as cb


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot that was taken: where in the log, and what it cost."""

    position: int
    bytes_written: int
    bytes_total: int


class Group:
    """Commands that become durable together. Made by ``Storage.group``."""

    def __init__(self, state: State, position: int) -> None:
        self._state = state
        self.position = position  # of the last command applied
        self.payloads: list[bytes] = []

    def apply(self, command: cb.Command, rows: CommandRows | None = None) -> bytes:
        """Apply a checked command and return its serialised reply, which is to be sent once the
        group has ended without an error. After an error this command has no effect; others stay.
        """
        payload = command.SerializeToString()
        reply = apply(self._state, self.position + 1, command, rows)
        self.position += 1
        self.payloads.append(payload)
        return reply


class Storage:
    """A database; ``DirectoryStorage`` and ``MemoryStorage`` are the ones there are.

    ``state`` is for the thread inside ``group``; ``position`` is the last command whose effects
    are published. ``failed``: why writes are refused; reads go on.
    """

    def __init__(self, database_id: bytes, log: Log, objects: ObjectStore, state: State) -> None:
        self.database_id = database_id
        self.objects = objects
        self.state = state
        self.notice: str | None = None
        self.failed: AmatersError | None = None
        self._log = log
        self._writing = threading.RLock()
        self._tables: dict[bytes, TableVersion] = {}
        self.position = 0

    # ---- writing -----------------------------------------------------------------------------

    @contextmanager
    def group(self) -> Iterator[Group]:
        """A group of commands: applied one by one, durable in one write, then published at once.

        Raises: AM-4003, AM-4008 (nothing of the group is acknowledged), afterwards AM-4004.
        """
        with self._writing:
            self._check_writable()
            self.state.begin()
            try:
                group = Group(self.state, self.position)
                yield group
                self._keep(group)
            except BaseException:
                self.state.rollback()
                raise
            self._publish(group.position)

    def _keep(self, group: Group) -> None:
        try:
            if group.payloads:
                self._log.append_all(group.payloads)
            self.state.commit()
        except AmatersError as error:
            self.failed = error
            raise

    def append(self, command: cb.Command, rows: CommandRows | None = None) -> bytes:
        """A group of one command; its reply."""
        with self.group() as group:
            reply = group.apply(command, rows)
        return reply

    def _check_writable(self) -> None:
        if self.failed is not None:
            self._refuse()

    def _refuse(self) -> NoReturn:
        fail("AM-4004", path="the database")

    def _publish(self, position: int) -> None:
        tables = {version.tid: version for version in self._tables.values()}
        for tid in self.state.changed:
            version = self.state.version(tid, position)
            tables.pop(tid, None)
            if version is not None:
                tables[tid] = version
        self._tables = {tables[tid].table_id: tables[tid] for tid in sorted(tables)}
        self.position = position

    # ---- reading, on any thread --------------------------------------------------------------

    def version(self, table_id: bytes) -> TableVersion | None:
        """A table as last published; None when there is none of this id."""
        return self._tables.get(table_id)

    def tables(self) -> tuple[TableVersion, ...]:
        """All tables, of one position."""
        return tuple(self._tables.values())

    def places(self, tid: int, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
        """Place and slot of those of ``keys`` that have a live row, as last committed."""
        with self._writing:
            return self.state.places(tid, keys)

    def read_rows(self, batch: cb.Batch) -> BatchRows:
        """The keys of a batch, from its blocks. Raises: AM-3032, AM-3033."""
        return read_rows(batch, batch.key_column, lambda ref: self.objects.open(ref).read())

    # ---- upkeep ------------------------------------------------------------------------------

    def snapshot(self) -> SnapshotInfo:
        """Write the state down and cut the log."""
        return SnapshotInfo(self.position, 0, 0)

    def collect(self, pinned: set[bytes]) -> int:
        """Delete objects that left the state, are not ``pinned`` and are not needed for a rebuild;
        how many went.
        """
        return 0

    def delete_objects(self, ids: Iterable[bytes]) -> None:
        """Delete objects that no manifest and no pin names."""
        for object_id in ids:
            self.objects.delete(object_id)

    def close(self) -> None:
        """Let go of everything. Nothing is lost without it."""
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything as a dying process does: nothing more is written."""
        self._log.close()
        self.state.close()


class MemoryStorage(Storage):
    """A database that ends with its process."""

    def __init__(self) -> None:
        super().__init__(new_id(), MemoryLog(), MemoryObjects(), State())


def open_memory() -> MemoryStorage:
    """A database that ends with its process."""
    return MemoryStorage()
