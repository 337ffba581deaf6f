"""Small writes of many threads to one table, combined to one batch of one command.

A command costs about as much for one row as for a hundred: a block, statements, a published
version. So whatever waits when the writer's thread gets to it is written together. Each caller is
told about its own rows: when the batch of all is refused, each is tried alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from amaters.base.errors import AmatersError
from amaters.storage.committer import Committer
from amaters.storage.database import Group
from amaters.storage.rows import Key
from amaters.storage.rowtable import Row

SMALL_ROWS = 64  # a write of more gains nothing
_ROW_BYTES = 128  # about, for the committer's limit on a group

Changes = dict[Key, Row | None]


@dataclass(slots=True)
class _Small:
    changes: Changes
    done: Future[None] = field(default_factory=Future)
    error: AmatersError | None = None


class Combiner:
    """``apply`` makes one batch of some changes on the writer's thread, or raises without one."""

    def __init__(self, committer: Committer, apply: Callable[[Group, Changes], object]) -> None:
        self._committer, self._apply = committer, apply
        self._lock = threading.Lock()
        self._waiting: list[_Small] = []
        self._taken: list[_Small] = []  # what the present group holds

    def write(self, changes: Changes) -> bool:
        """Make changes durable; whether this caller, of all that were combined, is the first.

        Raises: what ``apply`` does for these changes, AM-4003, AM-4004, AM-4008, AM-4020.
        """
        small = _Small(changes)
        with self._lock:
            first = not self._waiting
            if first:
                self._committer.enqueue(self._write_all, self._settle, size=_ROW_BYTES * SMALL_ROWS)
            self._waiting.append(small)
        small.done.result()
        return first

    def _write_all(self, group: Group) -> None:
        with self._lock:
            self._taken, self._waiting = self._waiting, []
        changes: Changes = {}
        for small in self._taken:
            changes.update(small.changes)
        try:
            self._apply(group, changes)
        except AmatersError as error:
            if len(self._taken) == 1:
                self._taken[0].error = error
                return
            for small in self._taken:
                self._write_one(group, small)

    def _write_one(self, group: Group, small: _Small) -> None:
        try:
            self._apply(group, small.changes)
        except AmatersError as error:
            small.error = error

    def _settle(self, _: None, error: BaseException | None) -> None:
        with self._lock:
            if not self._taken:  # no group was begun
                self._taken, self._waiting = self._waiting, []
            together, self._taken = self._taken, []
        for small in together:
            failure = error or small.error
            if failure is None:
                small.done.set_result(None)
            else:
                small.done.set_exception(failure)
