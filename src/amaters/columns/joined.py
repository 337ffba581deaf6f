"""A fact table seen through a join: its rows come with those of their partners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Column, PublicTable, Table


@dataclass(frozen=True)
class JoinedTable(Table):
    """``columns`` are the fact's, its partners' and virtual ones; what is stored is the fact's.

    ``extend`` adds the other columns to rows of the fact, which needs its columns ``keys``.
    ``virtual``: columns that the engine sees behind the fact's own.
    """

    fact: Table = field(kw_only=True)
    extend: Callable[[ColumnBatch], ColumnBatch] = field(kw_only=True, compare=False, repr=False)
    keys: frozenset[int] = field(kw_only=True)
    virtual: tuple[Column, ...] = field(kw_only=True)

    @property
    def stored(self) -> Table:
        return self.fact

    @property
    def always_needed(self) -> frozenset[int]:
        return self.keys

    @property
    def public_columns(self) -> tuple[Column, ...]:
        return self.fact.public_columns

    @property
    def encrypted_columns(self) -> tuple[Column, ...]:
        return self.fact.encrypted_columns

    def seen(self, rows: ColumnBatch) -> ColumnBatch:
        return self.extend(rows)

    def public(self) -> PublicTable:
        own = self.fact.public()
        more = tuple(column.public() for column in self.virtual)
        return replace(own, columns=own.columns + more)
