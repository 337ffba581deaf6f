"""Answers of subqueries as tables that only this client has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amaters.base.ids import new_id
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.convert import from_python
from amaters.columns.schema import ROWID, Column, LocalRows, Table
from amaters.columns.types import BIGINT, SqlType


def local_table(
    name: str,
    like: Table,
    columns: Sequence[tuple[str, SqlType]],
    unique: Sequence[frozenset[int]],
    values: Sequence[Sequence[object]] | None,
) -> Table:
    """The table of an answer; ``values``: its columns, None for one that is not known yet.

    ``like``: a table of the same database. ``unique``: sets of column numbers, from 1, in which no
    two rows agree. Raises: AM-2003 for a total beyond 64 bits.
    """
    made = [
        Column(number, label, type_, nullable=True)
        for number, (label, type_) in enumerate(columns, start=1)
    ]
    key = Column(len(made) + 1, ROWID, BIGINT, nullable=False, primary_key=True, hidden=True)
    length = len(values[0]) if values else 0
    found = {
        column.id: from_python(
            column.type, values[index] if values else [], f"{name}.{column.name}"
        )
        for index, column in enumerate(made)
    }
    found[key.id] = ColumnValues(np.arange(length, dtype=np.int64), np.ones(length, dtype=np.bool_))
    return Table(
        id=new_id(),
        name=name,
        version=1,
        columns=(*made, key),
        parameter_set=like.parameter_set,
        scheme=like.scheme,
        key_id=like.key_id,
        local=LocalRows(ColumnBatch(found, length), tuple(unique)),
    )
