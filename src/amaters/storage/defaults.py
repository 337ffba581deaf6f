"""Columns that are younger than some blocks: what their rows hold there."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from amaters.storage.rowtable import dtype_of
from amaters.wire import blocks
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb

Columns = dict[int, tuple[blocks.Values, blocks.Valid]]


def default_columns(schema: pb.SchemaRecord, wanted: Collection[int], rows: int) -> Columns:
    """Those of the ``wanted`` columns that the table has, as rows hold them that were written
    before there was such a column: its default, or NULL.
    """
    table = sb.PublicTable.FromString(schema.public_bytes)
    found: Columns = {}
    for column in table.columns if table.next_column else ():
        if column.id not in wanted or column.encrypted:
            continue
        dtype = dtype_of(column.type)
        kind = column.default.WhichOneof("value") if column.HasField("default") else None
        filler = "" if dtype.hasobject else 0
        value = getattr(column.default, kind) if kind else filler
        found[column.id] = (
            np.full(rows, value, dtype=dtype),
            np.full(rows, kind is not None, dtype=np.bool_),
        )
    return found
