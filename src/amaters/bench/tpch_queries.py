"""All 22 queries of TPC-H: which are answered, over tables declared as ``queries/layout.sql`` says.

Texts and parameters are those of the specification's validation (clause 2.4). Keys are public,
measures, dates and flags encrypted, texts that are only read are sealed. ``tools/tpch.py`` runs
them beside DuckDB and writes docs/tpch.md.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amaters.base.errors import fail

TABLES = (
    "region", "nation", "supplier", "part", "partsupp", "customer", "orders", "lineitem",
)  # fmt: skip
_FOLDER = Path(__file__).parent / "queries"
_RELATIVE = 1e-14  # averages: ours is rounded once, DuckDB's twice
Verdict = Literal["runs", "layout", "no"]


@dataclass(frozen=True, slots=True)
class Query:
    """One query. ``verdict``: runs; layout: runs because a column was declared for it; no: it is
    refused with ``code``. ``why``: what decides that, or how it is answered.
    """

    number: int
    verdict: Verdict
    why: str
    code: str = ""

    @property
    def text(self) -> str:
        """The statement."""
        return (_FOLDER / f"q{self.number:02}.sql").read_text(encoding="utf-8").strip().rstrip(";")


_CORRELATED = "a subquery that refers to the query around it"
QUERIES = (
    Query(1, "runs", "eight totals over two encrypted group columns"),
    Query(2, "no", _CORRELATED, "AM-2229"),
    Query(3, "no", "groups of a large table's rows, told apart by vectors: too many", "AM-2143"),
    Query(4, "no", "EXISTS", "AM-2205"),
    Query(5, "runs", "five dimensions become one vector; groups are vectors"),
    Query(6, "runs", "one total under three ranges"),
    Query(7, "no", "the year of an encrypted date of the large table", "AM-2205"),
    Query(8, "runs", "seven dimensions; the year of a dimension's date is a group"),
    Query(9, "runs", "one dimension on two keys; nations and years are groups"),
    Query(10, "no", "a group per customer, told apart by vectors: too many", "AM-2143"),
    Query(11, "runs", "a value from a subquery in HAVING"),
    Query(12, "layout", "dates are compared through generated columns, their differences"),
    Query(13, "no", "an outer join to many rows of the other table", "AM-2227"),
    Query(14, "runs", "LIKE over a dimension's text inside CASE"),
    Query(15, "runs", "totals per public key, answered first, then joined"),
    Query(16, "no", "LIKE '%...%' over a sealed text", "AM-2140"),
    Query(17, "no", _CORRELATED, "AM-2229"),
    Query(18, "no", "a group per order: more than the engine totals at once", "AM-3054"),
    Query(19, "runs", "conditions on both tables under OR: a vector per branch"),
    Query(20, "no", _CORRELATED, "AM-2229"),
    Query(21, "no", "EXISTS", "AM-2205"),
    Query(22, "no", "SUBSTRING, EXISTS", "AM-2205"),
)


def answered() -> list[Query]:
    """Those that are."""
    return [query for query in QUERIES if query.verdict != "no"]


def layout() -> list[str]:
    """The statements that declare the tables."""
    text = (_FOLDER / "layout.sql").read_text(encoding="utf-8")
    return [part.strip() for part in text.split(";") if part.strip()]


def generate(folder: Path, scale: float) -> None:
    """One Parquet file per table. Raises: AM-5008 without the generator."""
    command = shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}:/usr/local/bin")
    if command is None:
        fail("AM-5008", what="the TPC-H queries", package="tpchgen-cli")
    arguments = [command, "parquet", "-s", str(scale), f"--output-dir={folder}"]
    subprocess.run(arguments, check=True, capture_output=True)


def load(database: Any, folder: Path, orders_max: int | None = None) -> dict[str, int]:
    """Declare the tables and fill them; ``orders_max``: line items of the first orders only.

    Returns the number of rows of each.
    """
    import pyarrow.parquet as pq

    for statement in layout():
        database.sql(statement)
    rows = {}
    for name in TABLES:
        table = pq.read_table(folder / f"{name}.parquet")
        if name == "lineitem" and orders_max is not None:
            keys = table["l_orderkey"].to_pylist()  # in order
            table = table.slice(0, bisect_right(keys, orders_max))
        rows[name] = database.table(name).insert(table)
    return rows


def oracle(folder: Path, orders_max: int | None = None) -> Any:
    """A DuckDB connection with the same tables. Raises: AM-5008 without DuckDB."""
    try:
        import duckdb
    except ImportError:
        fail("AM-5008", what="the TPC-H queries", package="duckdb")
    connection = duckdb.connect()
    for name in TABLES:
        file = str(folder / f"{name}.parquet").replace("'", "''")
        only = f"WHERE l_orderkey <= {orders_max}" if orders_max and name == "lineitem" else ""
        connection.sql(f"CREATE VIEW {name} AS SELECT * FROM '{file}' {only}")
    return connection


def agree(ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]]) -> bool:
    """Whether two answers are equal row by row; doubles but for their last digit."""
    return len(ours) == len(theirs) and all(
        len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(ours, theirs, strict=True)
    )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_RELATIVE)
    return bool(a == b)


def table_lines() -> Iterator[str]:
    """The classification as a table of Markdown."""
    words = {"runs": "runs", "layout": "runs with a declared layout", "no": "not possible"}
    yield "| query | | how, or why not |"
    yield "|---|---|---|"
    for query in QUERIES:
        refused = f" ({query.code})" if query.code else ""
        yield f"| {query.number} | {words[query.verdict]} | {query.why}{refused} |"
