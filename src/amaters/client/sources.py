"""COPY FROM: the rows of a file."""

from __future__ import annotations

from amaters.client.csvfile import read_csv
from amaters.client.parquetfile import read_parquet
from amaters.columns.batch import ColumnBatch
from amaters.plan.expressions import CopyFrom


def read_file(statement: CopyFrom) -> ColumnBatch:
    """The validated rows. Raises: InvalidError AM-5004, AM-5005, AM-20xx."""
    read = read_parquet if statement.format == "parquet" else read_csv
    return read(statement.table, statement.path, dict(statement.options))
