"""What a transaction has written to one table and not committed, and what it has read of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amaters.base import errors
from amaters.columns.batch import ColumnBatch, concatenate, empty
from amaters.columns.schema import Table
from amaters.columns.types import from_storage


@dataclass(slots=True)
class Overlay:
    """Rows by primary key as stored. ``read`` has the row version that was seen of each, 0 where
    there was no row; ``fakes`` that of a canary that lay there instead.

    ``blind``: written without looking whether there is a row. ``reserved``: keys of new rows of a
    table that has no key of its own. ``dropped``: canaries of segments that nothing is left of.
    """

    table: Table
    batches: list[ColumnBatch] = field(default_factory=list)
    places: dict[Any, tuple[int, int]] = field(default_factory=dict)
    gone: set[Any] = field(default_factory=set)
    blind: set[Any] = field(default_factory=set)
    read: dict[Any, int] = field(default_factory=dict)
    fakes: dict[Any, int] = field(default_factory=dict)
    reserved: set[Any] = field(default_factory=set)
    dropped: dict[Any, int] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.places or self.gone)

    def adapt(self, table: Table) -> None:
        """Go on with a newer version of the table. Raises: ConflictError AM-3021."""
        if table.id != self.table.id:
            errors.fail("AM-3021", table=self.table.name)
        if table.version != self.table.version:
            self.batches = [batch.adapted(table) for batch in self.batches]
            self.table = table

    def keys_of(self, rows: ColumnBatch) -> list[Any]:
        """The keys of rows, as stored."""
        found: list[Any] = rows.columns[self.table.primary_key.id].values.tolist()
        return found

    def note(self, versions: Mapping[Any, int], fakes: Mapping[Any, int] | None = None) -> None:
        """Remember what was seen. Raises: ConflictError AM-3060 when it is not what was seen
        before, AM-5010 when it is a row whose key was inserted here as a new one.
        """
        for key, version in versions.items():
            is_new = key in self.places and key not in self.read and key not in self.blind
            if is_new and version:
                shown = from_storage(self.table.primary_key.type, key)
                errors.fail("AM-5010", table=self.table.name, key=shown, row=1)
            if self.read.setdefault(key, version) != version:
                shown = from_storage(self.table.primary_key.type, key)
                errors.fail("AM-3060", key=shown, table=self.table.name)
        self.fakes.update(fakes or {})

    def exists(self, key: Any) -> bool | None:
        """Whether there is a row of this key here; None when nobody has looked."""
        if key in self.places:
            return True
        if key in self.gone:
            return False
        return None if key not in self.read else self.read[key] > 0

    def put(self, rows: ColumnBatch, *, blind: bool = False) -> None:
        """Write rows, over those of the same keys."""
        number = len(self.batches)
        order = [column.id for column in self.table.columns]
        self.batches.append(rows.select(order))
        for row, key in enumerate(self.keys_of(rows)):
            if blind and self.exists(key) is None:
                self.blind.add(key)
            self.places[key] = (number, row)
            self.gone.discard(key)

    def unchecked(self, keys: Iterable[Any]) -> list[Any]:
        """Those of rows that were inserted here as new ones, and nobody has looked whether they
        are. Without a look, deleting one again would delete a committed row of its key.
        """
        seen = self.read.keys() | self.blind | self.reserved
        return [key for key in keys if key in self.places and key not in seen]

    def remove(self, keys: Iterable[Any]) -> int:
        """Delete rows, none of them ``unchecked``; returns how many were here. Nobody knows of a
        key that was not read.
        """
        count = 0
        for key in keys:
            there = self.exists(key)
            if there is False:
                continue
            count += there is True
            self.places.pop(key, None)
            if key in self.reserved or (self.read.get(key) == 0):
                continue
            self.gone.add(key)
        return count

    def rows(self, keys: Collection[Any] | None = None) -> ColumnBatch:
        """The rows written, or those of them with these keys."""
        wanted = self.places if keys is None else [key for key in self.places if key in keys]
        by_batch: dict[int, list[int]] = {}
        for key in wanted:
            number, row = self.places[key]
            by_batch.setdefault(number, []).append(row)
        taken = [
            self.batches[number].take(np.array(rows, dtype=np.int64))
            for number, rows in by_batch.items()
        ]
        return concatenate(taken) if taken else empty(self.table.columns)

    def merged(self, found: ColumnBatch, keys: Collection[Any] | None = None) -> ColumnBatch:
        """Committed rows as this transaction sees them: all of ``keys``, or of the table."""
        order = [column.id for column in self.table.columns]
        old = found.select(order) if found.length else empty(self.table.columns)
        untouched = [key not in self.places and key not in self.gone for key in self.keys_of(old)]
        old = old.take(np.array(untouched, dtype=np.bool_))
        new = self.rows(keys)
        return concatenate([old.select(order), new.select(order)]) if new.length else old

    def to_insert(self) -> ColumnBatch:
        """All rows to be committed; without keys where those are only this transaction's."""
        rows = self.rows()
        if self.reserved and self.places.keys() <= self.reserved and not self.gone:
            key = self.table.primary_key.id
            return rows.select([column.id for column in self.table.columns if column.id != key])
        return rows

    def touched(self) -> list[Any]:
        """Keys of rows written or deleted, but of those that nobody else can know of."""
        return [key for key in (*self.places, *self.gone) if key not in self.reserved]

    def replaced(self) -> set[Any]:
        """Keys of written rows that may have an older version."""
        return {key for key in self.places if key in self.blind or self.read.get(key, 0) > 0}

    def checks(self) -> dict[Any, int]:
        """Rows that were read and stay as they are, and versions that they must still have."""
        touched = self.places.keys() | self.gone
        return {
            key: self.fakes.get(key, version)
            for key, version in self.read.items()
            if key not in touched
        }
