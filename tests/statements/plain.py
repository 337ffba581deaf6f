"""Statements answered from plaintext by our own binder, evaluator and finish: no engine at all."""

from __future__ import annotations

from typing import Any

from amaters.client.finish import finish_rows, finish_totals, totals_of
from amaters.client.orders import ordered_values
from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Table
from amaters.plan.evaluate import matches
from amaters.plan.expressions import CreateTable, Select
from amaters.sql.binder import NewTables, bind
from amaters.sql.parser import parse_one

from .tables import TableCase

NEW = NewTables("noop", lambda _: ("insecure", b"k" * 16))


class Plain:
    """Tables in memory, as the client's tail holds them."""

    def __init__(self, tables: list[TableCase]) -> None:
        self.tables: dict[str, Table] = {}
        self.batches: dict[str, ColumnBatch] = {}
        for case in tables:
            created = bind(parse_one(case.ddl()), {}, new=NEW)
            assert isinstance(created, CreateTable)
            self.tables[case.name] = created.table
            self.batches[case.name] = ColumnBatch.from_columns(created.table, case.data)

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The answer of one SELECT."""
        select = bind(parse_one(sql), self.tables, parameters, new=NEW)
        assert isinstance(select, Select)
        batch = self.batches[select.table.name]
        batch = batch.take(matches(select.where, batch, select.table))
        if select.is_aggregate:
            answer = finish_totals(select, totals_of(select, batch), ordered_values(select, batch))
        else:
            answer = finish_rows(select, batch)
        return list(zip(*answer.columns, strict=True))
