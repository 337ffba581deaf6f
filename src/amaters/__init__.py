"""AmateRS: a database that computes on data it cannot read.

    import amaters as am
    db = am.connect("pay.amaters")

Everything listed in ``__all__`` is the public interface; whatever else can be imported may change.
"""

from __future__ import annotations

from amaters.base.errors import (
    AmatersError,
    ClosedError,
    ConflictError,
    DataError,
    DeniedError,
    InternalError,
    InvalidError,
    UnavailableError,
    UsageError,
)
from amaters.base.progress import Progress
from amaters.base.version import VERSION
from amaters.client.database import AsyncDatabase, AsyncQuery, AsyncTable
from amaters.client.expression import avg, col, count, public, sum  # noqa: A004
from amaters.client.result import Result, Stats
from amaters.client.sync import Database, Query, Table
from amaters.columns.declare import (
    Boolean,
    Date,
    Decimal,
    Enum,
    Int8,
    Int16,
    Int32,
    Int64,
    Text,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
)
from amaters.embedded import connect, connect_async

__version__ = VERSION

__all__ = [
    "AmatersError",
    "AsyncDatabase",
    "AsyncQuery",
    "AsyncTable",
    "Boolean",
    "ClosedError",
    "ConflictError",
    "DataError",
    "Database",
    "Date",
    "Decimal",
    "DeniedError",
    "Enum",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "InternalError",
    "InvalidError",
    "Progress",
    "Query",
    "Result",
    "Stats",
    "Table",
    "Text",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "UnavailableError",
    "UsageError",
    "avg",
    "col",
    "connect",
    "connect_async",
    "count",
    "public",
    "sum",
]
