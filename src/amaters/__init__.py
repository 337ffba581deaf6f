"""AmateRS: a database that computes on data it cannot read.

    import amaters as am
    db = am.connect("pay.amaters")

Everything listed in ``__all__`` is the public interface; whatever else can be imported may change.
Names are loaded on first use: a server process imports this package and must not load client code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from amaters.base.version import VERSION

if TYPE_CHECKING:
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
    from amaters.client.batches import AsyncBatch
    from amaters.client.database import AsyncDatabase
    from amaters.client.expression import (
        Condition,
        Expression,
        avg,
        col,
        count,
        max,  # noqa: A004
        median,
        min,  # noqa: A004
        public,
        quantile,
        sum,  # noqa: A004
        when,
    )
    from amaters.client.planview import Plan
    from amaters.client.result import Result, Stats
    from amaters.client.sync import Batch, Database, Query, Table, Transaction
    from amaters.client.table import AsyncQuery, AsyncTable
    from amaters.client.transactions import AsyncTransaction
    from amaters.columns.declare import (
        Blob,
        Boolean,
        Date,
        Decimal,
        Enum,
        Int8,
        Int16,
        Int32,
        Int64,
        Text,
        Timestamp,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
    )
    from amaters.embedded import connect, connect_async

__version__ = VERSION

_HOMES = {
    "amaters.base.errors": (
        "AmatersError ClosedError ConflictError DataError DeniedError InternalError InvalidError "
        "UnavailableError UsageError"
    ),
    "amaters.base.progress": "Progress",
    "amaters.client.batches": "AsyncBatch",
    "amaters.client.database": "AsyncDatabase",
    "amaters.client.expression": (
        "Condition Expression avg col count max median min public quantile sum when"
    ),
    "amaters.client.planview": "Plan",
    "amaters.client.result": "Result Stats",
    "amaters.client.sync": "Batch Database Query Table Transaction",
    "amaters.client.transactions": "AsyncTransaction",
    "amaters.client.table": "AsyncQuery AsyncTable",
    "amaters.columns.declare": (
        "Blob Boolean Date Decimal Enum Int8 Int16 Int32 Int64 Text Timestamp UInt8 UInt16 UInt32 "
        "UInt64"
    ),
    "amaters.embedded": "connect connect_async",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AmatersError",
    "AsyncBatch",
    "AsyncDatabase",
    "AsyncQuery",
    "AsyncTable",
    "AsyncTransaction",
    "Batch",
    "Blob",
    "Boolean",
    "ClosedError",
    "Condition",
    "ConflictError",
    "DataError",
    "Database",
    "Date",
    "Decimal",
    "DeniedError",
    "Enum",
    "Expression",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "InternalError",
    "InvalidError",
    "Plan",
    "Progress",
    "Query",
    "Result",
    "Stats",
    "Table",
    "Text",
    "Timestamp",
    "Transaction",
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
    "max",
    "median",
    "min",
    "public",
    "quantile",
    "sum",
    "when",
]


def __getattr__(name: str) -> Any:
    """The public name, loaded from where it lives."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'amaters' has no attribute {name!r}")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
