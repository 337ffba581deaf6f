"""The demo's table and questions: data for ``cli.demo``, and for tests that ask the same."""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any

PERSONS = 20_190
AVERAGE = re.compile(r"avg\((\w+)\)")

DDL = """CREATE TABLE persons (
  visits  SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 100),
  chronic DECIMAL(8,6) NOT NULL ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 60),
  idp     BOOLEAN NOT NULL ENCRYPTED WITH (QUERIES = 'group'),
  lncoins DECIMAL(7,6) NOT NULL ENCRYPTED WITH (QUERIES = 'group',
            VALUES = '0,3.258096,3.931826,4.564348,4.61512'),
  health  TEXT NOT NULL ENCRYPTED WITH (QUERIES = 'group', VALUES = 'excellent,good,fair,poor'),
  physlm  DECIMAL(8,7) NOT NULL ENCRYPTED,
  lpi     DECIMAL(7,6) NOT NULL,
  fmde    DECIMAL(7,6) NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Demo:
    """One question of the demo."""

    title: str
    sql: str


QUERIES = (
    Demo(
        "How many persons have more than 13 chronic diseases, and how often do they see a doctor?",
        "SELECT count(*), avg(visits), sum(visits) FROM persons WHERE chronic > 13",
    ),
    Demo(
        "Visits by self-rated health (the groups are encrypted too)",
        "SELECT health, count(*), avg(visits), avg(chronic) FROM persons "
        "GROUP BY health ORDER BY health",
    ),
    Demo(
        "Persons in fair or poor health with many visits",
        "SELECT count(*), avg(chronic) FROM persons "
        "WHERE health IN ('fair', 'poor') AND visits BETWEEN 10 AND 30",
    ),
    Demo(
        "How many had exactly 0, 5, 10 or 77 visits?",
        "SELECT count(*) FROM persons WHERE visits IN (0, 5, 10, 77)",
    ),
    Demo(
        "Visits by insurance plan: two encrypted group columns",
        "SELECT idp, lncoins, count(*), sum(visits) FROM persons "
        "GROUP BY idp, lncoins ORDER BY idp, lncoins",
    ),
    Demo(
        "An encrypted and a public condition together",
        "SELECT count(*), sum(visits), avg(chronic) FROM persons "
        "WHERE chronic < 5.5 AND lpi >= 6.5",
    ),
    Demo(
        "OR, NOT and a range over encrypted columns",
        "SELECT count(*), sum(chronic) FROM persons "
        "WHERE NOT (visits < 20 OR chronic BETWEEN 5 AND 25) OR visits = 77",
    ),
    Demo(
        "A constant the engine may see: PUBLIC() is faster",
        "SELECT count(*), avg(visits) FROM persons WHERE chronic <= PUBLIC(6.9)",
    ),
    Demo(
        "The rows themselves: who has more than 30 visits and 30 chronic diseases?",
        "SELECT rowid, visits, chronic, health, physlm FROM persons "
        "WHERE visits > 30 AND chronic > 30 ORDER BY visits DESC, rowid",
    ),
)


def csv_text() -> str:
    """The data set as it was published (see the README beside it)."""
    packed = files("amaters").joinpath("demo_data", "randhie.csv.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def columns() -> dict[str, list[Any]]:
    """The rows of ``persons``, by column."""
    rows = list(csv.DictReader(io.StringIO(csv_text())))
    return {
        "visits": [int(row["mdvis"]) for row in rows],
        "chronic": [Decimal(row["disea"]) for row in rows],
        "idp": [row["idp"] == "1" for row in rows],
        "lncoins": [Decimal(row["lncoins"]) for row in rows],
        "health": [_health(row) for row in rows],
        "physlm": [Decimal(row["physlm"]) for row in rows],
        "lpi": [Decimal(row["lpi"]) for row in rows],
        "fmde": [Decimal(row["fmde"]) for row in rows],
    }


def _health(row: dict[str, str]) -> str:
    named = (("hlthg", "good"), ("hlthf", "fair"), ("hlthp", "poor"))
    return next((name for key, name in named if row[key] == "1"), "excellent")


PLAINTEXT = """CREATE TABLE persons AS SELECT ids.rowid AS rowid,
  CAST(mdvis AS SMALLINT) AS visits, CAST(disea AS DECIMAL(8,6)) AS chronic,
  idp = '1' AS idp, CAST(lncoins AS DECIMAL(7,6)) AS lncoins,
  CASE WHEN hlthg = '1' THEN 'good' WHEN hlthf = '1' THEN 'fair' WHEN hlthp = '1' THEN 'poor'
    ELSE 'excellent' END AS health,
  CAST(physlm AS DECIMAL(8,7)) AS physlm, CAST(lpi AS DECIMAL(7,6)) AS lpi,
  CAST(fmde AS DECIMAL(7,6)) AS fmde
FROM (SELECT row_number() OVER () AS line, * FROM read_csv('{path}', all_varchar = true))
JOIN ids USING (line)"""


class Plaintext:
    """DuckDB over the same CSV file, read by DuckDB itself: nothing of ours takes part."""

    def __init__(self, rowids: list[int]) -> None:
        import duckdb
        import pyarrow as pa

        self._connection = duckdb.connect()
        lines = list(range(1, len(rowids) + 1))
        self._connection.register("ids", pa.table({"line": lines, "rowid": rowids}))
        path = str(files("amaters").joinpath("demo_data", "randhie.csv.gz"))
        self._connection.execute(PLAINTEXT.format(path=path.replace("'", "''")))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer, exact; PUBLIC() means nothing to it.

        DuckDB rounds twice in AVG of a DECIMAL, so it is asked for sum and count, and the quotient
        is rounded once, here.
        """
        asked = AVERAGE.sub(r"{'sum': sum(\1), 'count': count(\1)}", sql.replace("PUBLIC", ""))
        found = self._connection.execute(asked).fetchall()
        return [tuple(_quotient(value) for value in row) for row in found]


def _quotient(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return float(Fraction(value["sum"]) / value["count"]) if value["count"] else None
