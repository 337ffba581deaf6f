"""Opening: the state's file as it was left, brought up to the end of the log, or made again.

Nothing trusts a file because it is there. The state's pages have MACs; a state that is lost,
damaged, marked as bad by the process that noticed, or older than a snapshot is made again from the
newest snapshot that can be read, else from the next, else from an empty state, and the log after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from amaters.base.errors import AmatersError, fail
from amaters.storage.apply import apply, decode_command, rows_of
from amaters.storage.commitlog.segments import Record
from amaters.storage.database import debt
from amaters.storage.files import Disk
from amaters.storage.log import Log
from amaters.storage.rows import CommandRows, ReadObject
from amaters.storage.snapshots import Snapshots
from amaters.storage.state import State
from amaters.wire import commands_pb2 as cb
from amaters.wire import state_pb2 as sb

STATE_FILE = "state.db"
BAD = "BAD"
WAL_PAGES = 8192  # of SQLite's log, before they are moved into the file
_REPLAY_BYTES = 48 << 20  # of log in one transaction of a replay: what comes and goes in it is free
_UNUSABLE = frozenset({"AM-4011", "AM-4014"})


class ReplayedLog(Log, Protocol):
    """A log that is read to its end before it is appended to."""

    notice: str | None

    def replay(self, applied: int) -> Iterator[Record]:
        """Records after ``applied``, all of them and once. Raises: AM-4001."""


@dataclass(frozen=True)
class Recovery:
    """What opening works with. ``directory``: of the state's files."""

    directory: Path
    disk: Disk
    database_id: bytes
    vfs: str | None
    snapshots: Snapshots
    open_log: Callable[[], ReplayedLog]
    read_object: ReadObject

    @property
    def path(self) -> Path:
        return self.directory / STATE_FILE

    def run(self) -> tuple[State, ReplayedLog, str | None]:
        """The state at the end of the log, the log, and what a person should be told.

        Raises: AM-4001, AM-4006, AM-4007, AM-4015, AM-4003, AM-4008.
        """
        try:
            return *self._attempt(self._left), None
        except AmatersError as error:
            if error.code not in _UNUSABLE:
                raise
            reason = error
        mark_bad(self.directory, self.disk)
        for manifest in (*self.snapshots.kept, None):
            try:
                state, log = self._attempt(partial(self._made_again, manifest))
            except AmatersError as error:
                if manifest is None or error.code not in {*_UNUSABLE, "AM-4001", "AM-4007"}:
                    raise
                continue
            origin = f"the snapshot of position {manifest.position}" if manifest else "the log"
            return state, log, f"the state was made again from {origin}: {reason.message}"
        fail("AM-4015", what=reason.message)

    def _attempt(self, open_state: Callable[[], State]) -> tuple[State, ReplayedLog]:
        state = open_state()
        try:
            log = self.open_log()
            try:
                replay(state, log.replay(state.applied), self._rows)
            except BaseException:
                log.close()
                raise
        except BaseException:
            state.close()
            raise
        return state, log

    def _rows(self, command: cb.Command) -> CommandRows | None:
        return rows_of(command, self.read_object)

    def _left(self) -> State:
        """The state as its file has it."""
        if (self.directory / BAD).exists():
            fail("AM-4011", file=STATE_FILE, what="it was marked as damaged")
        state = State.open(self.path, self.database_id, self.vfs)
        newest = self.snapshots.newest
        try:
            if newest is not None and state.applied < newest.position:
                fail("AM-4011", file=STATE_FILE, what="it is older than a snapshot of it")
        except BaseException:
            state.close()
            raise
        return state

    def _made_again(self, manifest: sb.SnapshotManifest | None) -> State:
        """The state of a snapshot, in a new file; without one an empty state."""
        for suffix in ("", "-wal", "-shm"):
            self.disk.remove(self.directory / f"{STATE_FILE}{suffix}")
        self.disk.sync_directory(self.directory)
        if manifest is None:
            state = State.create(self.path, self.database_id, self.vfs)
        else:
            self._install(manifest)
            state = State.open(self.path, self.database_id, self.vfs)
        try:
            if manifest is not None and state.applied != manifest.position:
                fail("AM-4014", file=STATE_FILE, what="its position is not its snapshot's")
            self.disk.sync_directory(self.directory)
            self.disk.remove(self.directory / BAD)
            self.disk.sync_directory(self.directory)
        except BaseException:
            state.close()
            raise
        return state

    def _install(self, manifest: sb.SnapshotManifest) -> None:
        fd = self.disk.create(self.path)
        try:
            for chunk in self.snapshots.chunks(manifest):
                self.disk.write(fd, chunk, self.path)
            self.disk.sync(fd, self.path)
        finally:
            self.disk.close(fd)


def mark_bad(directory: Path, disk: Disk) -> None:
    """Whoever opens next makes the state again, however it looks. Raises: AM-4003, AM-4008."""
    disk.make_directory(directory)
    if not (directory / BAD).exists():
        disk.close(disk.create(directory / BAD))
        disk.sync_directory(directory)


def replay(
    state: State,
    records: Iterator[Record],
    find_rows: Callable[[cb.Command], CommandRows | None],
) -> None:
    """Apply records, many in one transaction; without any nothing is written.

    Raises: what ``apply`` and ``find_rows`` raise.
    """
    waiting = position = 0
    try:
        for record in records:
            if not state.db.in_transaction:
                state.begin()
            command = decode_command(record.payload)
            rows = find_rows(command)
            apply(state, record.position, command, rows)
            position = record.position
            waiting += debt(record.payload, rows)
            if waiting > _REPLAY_BYTES:
                state.commit(position, waiting)
                waiting = 0
                if state.db.wal_pages > WAL_PAGES:
                    state.db.checkpoint(whole=False)
        if state.db.in_transaction:
            state.commit(position, waiting)
    except BaseException:
        state.rollback()
        raise
