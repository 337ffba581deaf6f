"""COPY FROM a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaters.base import errors
from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Table


def read_parquet(table: Table, path: str, options: Mapping[str, Any]) -> ColumnBatch:
    """The validated rows of a file, its columns matched by name; with ``columns`` only those.

    Memory: the whole file, decoded. Raises: InvalidError AM-5004, AM-20xx naming row and column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            listed = options.get("columns")
            known = {name.lower(): name for name in file.schema_arrow.names}
            wanted = None if listed is None else [known.get(n.lower(), n) for n in listed]
            missing = [name for name in wanted or () if name not in known.values()]
            if missing:
                errors.fail("AM-5004", path=path, what=f"it has no column {missing[0]}")
            found = file.read(columns=wanted)
    except FileNotFoundError:
        errors.fail("AM-5004", path=path, what="there is no such file")
    except (OSError, pa.ArrowException) as error:
        errors.fail("AM-5004", path=path, what=f"it is no Parquet file: {error}")
    return ColumnBatch.from_arrow(table, found)
