"""TPC-H queries 6 and 1 (``tpch_pricing``) over the generator's lineitem rows.

    SELECT sum(l_extendedprice * l_discount) FROM lineitem
    WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
      AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24

Types and values are those of the specification (clauses 1.4 and 4.2.3), every column is encrypted,
and so is every constant. Quantities are whole numbers that the specification stores as
DECIMAL(15,2): ``q6`` keeps the type and so compares 14 bits, ``q6_whole`` declares DECIMAL(2,0).
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench.questions import Question, measure_totals
from amaters.bench.record import Record
from amaters.bench.tpch_pricing import query_1
from amaters.bench.workbench import Workbench
from amaters.columns import declare
from amaters.columns.declare import Declaration
from amaters.columns.schema import Table
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    Literal,
    OutputItem,
    Select,
)

ROWS = 32768
ROWS_PER_SCALE = 6_000_000
_EPOCH = date(1970, 1, 1)
_SHIPPED = (date(1994, 1, 1), date(1995, 1, 1))
_DISCOUNTS = (Decimal("0.05"), Decimal("0.07"))
_QUANTITY = 24
Lineitem = dict[str, NDArray[Any]]


def tpch(bench: Workbench, rows: int | None) -> list[Record]:
    """Query 6, quantities as the specification types them and as whole numbers, and query 1."""
    data = lineitem(rows or ROWS)
    scales = (("q6", 2), ("q6_whole", 0))
    found = [_query_6(bench, data, name, scale) for name, scale in scales]
    return [*found, query_1(bench, data)]


def lineitem(rows: int) -> Lineitem:
    """The first ``rows`` rows, as hundredths, texts and days.

    Raises: AM-5008 without the generator.
    """
    command = shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}:/usr/local/bin")
    if command is None:
        fail("AM-5008", what="the tpch benchmark", package="tpchgen-cli")
    with tempfile.TemporaryDirectory() as folder:
        scale = max(0.001, 1.05 * rows / ROWS_PER_SCALE)
        arguments = [command, "csv", "-s", f"{scale:.4f}", "--tables=lineitem"]
        subprocess.run([*arguments, f"--output-dir={folder}"], check=True, capture_output=True)
        with (Path(folder) / "lineitem.csv").open(encoding="utf-8", newline="") as file:
            found = [row for row, _ in zip(csv.DictReader(file), range(rows), strict=False)]
    names = ("l_quantity", "l_extendedprice", "l_discount", "l_tax")
    columns = {name: np.array([_hundredths(row[name]) for row in found]) for name in names}
    days = [(date.fromisoformat(row["l_shipdate"]) - _EPOCH).days for row in found]
    flags = {
        name: np.array([row[name] for row in found], dtype=object)
        for name in ("l_returnflag", "l_linestatus")
    }
    return {**columns, **flags, "l_shipdate": np.array(days)}


def _hundredths(text: str) -> int:
    return int(Decimal(text).scaleb(2))


def _query_6(bench: Workbench, data: Lineitem, name: str, quantity_scale: int) -> Record:
    table = bench.table("lineitem", _declarations(quantity_scale))
    wanted = table.encrypted_columns
    stored_data = dict(data)
    if quantity_scale == 0:
        stored_data["l_quantity"] = data["l_quantity"] // 100
    stored = bench.store(table, {column.name: stored_data[column.name] for column in wanted})
    shipped, discount = data["l_shipdate"], data["l_discount"]
    first, end = ((day - _EPOCH).days for day in _SHIPPED)
    chosen = (shipped >= first) & (shipped < end) & (discount >= 5) & (discount <= 7)
    chosen &= data["l_quantity"] < 100 * _QUANTITY
    revenue = int((data["l_extendedprice"] * discount)[chosen].sum())
    question = Question(name, _select(table))
    return measure_totals(bench, stored, question, [revenue, int(chosen.sum())])


def _declarations(quantity_scale: int) -> dict[str, Declaration]:
    return {
        "l_quantity": declare.Decimal(
            15 if quantity_scale else 2, quantity_scale, encrypt=["range"], min=1, max=50
        ),
        "l_extendedprice": declare.Decimal(15, 2, encrypt=["sum"], min=900, max=105_000),
        "l_discount": declare.Decimal(15, 2, encrypt=["range", "sum"], min=0, max=Decimal("0.10")),
        "l_shipdate": declare.Date(encrypt=["range"], min=date(1992, 1, 1), max=date(1998, 12, 31)),
    }


def _select(table: Table) -> Select:
    price, discount = table.column("l_extendedprice").id, table.column("l_discount").id
    shipped, quantity = table.column("l_shipdate").id, table.column("l_quantity").id
    where = And(
        (
            Compare(">=", shipped, Literal(_SHIPPED[0])),
            Compare("<", shipped, Literal(_SHIPPED[1])),
            Between(discount, Literal(_DISCOUNTS[0]), Literal(_DISCOUNTS[1])),
            Compare("<", quantity, Literal(_QUANTITY)),
        )
    )
    revenue = Aggregate("sum", Arithmetic("*", ColumnRef(price), ColumnRef(discount)))
    return Select(table, where, (OutputItem("revenue", revenue),))
