"""Every kind of statement whose constants EXPLAIN calls hidden: two databases with different
secrets and different constants send the same, apart from sealed and encrypted bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from door_support import Opened
from transcript_support import compare, made_alike, timing

ROWS = 1300
DDL = (
    """CREATE TABLE items (
      id BIGINT PRIMARY KEY, part BIGINT, shop TEXT,
      name TEXT ENCRYPTED WITH (QUERIES = 'prefix(6)'),
      flag TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'),
      price DECIMAL(8,2) ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 1000),
      discount DECIMAL(3,2) ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 0.10),
      units SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 50),
      seen TIMESTAMP ENCRYPTED WITH (QUERIES = 'range'),
      net DECIMAL(12,4) GENERATED ALWAYS AS (price * (1 - discount)) STORED
        ENCRYPTED WITH (QUERIES = 'range,sum')
    )""",
    """CREATE TABLE parts (
      id BIGINT PRIMARY KEY, kind TEXT ENCRYPTED, weight SMALLINT ENCRYPTED
    )""",
)


def filled(secret: int) -> Callable[[Opened], None]:
    """Equal public columns and keys, values that depend on ``secret``; texts of equal length."""

    def row(i: int) -> tuple[Any, ...]:
        n = i * (7919 + secret)
        return (
            5 * i,
            i % 40,
            f"s{i % 3}",
            f"{'ABCD'[n % 4]}name-{n % 9}",
            None if n % 7 == 0 else "ABC"[n % 3],
            None if n % 13 == 0 else n % 1000,
            (n % 11) / 100,
            None if n % 17 == 0 else n % 51,
            f"20{20 + n % 9}-0{1 + n % 9}-11 0{n % 9}:00:00",
        )

    def fill(opened: Opened) -> None:
        for statement in DDL:
            opened.db.sql(statement)
        names = ["id", "part", "shop", "name", "flag", "price", "discount", "units", "seen"]
        rows = [dict(zip(names, row(i), strict=True)) for i in range(ROWS)]
        opened.db.table("items").insert(rows)
        parts = [
            (i, f"{'PROMO'[secret % 5]}kind{(i * secret) % 5}", i * secret % 90) for i in range(40)
        ]
        opened.db.table("parts").insert(parts)

    return fill


PAIRS = {
    "expressions": (
        "SELECT flag, sum(price * (1 - discount)), sum(units - 3) "
        "FROM items WHERE units < 9 GROUP BY flag",
        "SELECT flag, sum(price * (1 - discount)), sum(units - 3) "
        "FROM items WHERE units < 500 GROUP BY flag",
    ),
    "case": (
        "SELECT sum(CASE WHEN price > 10 THEN units ELSE 0 END) FROM items WHERE flag = 'A'",
        "SELECT sum(CASE WHEN price > 999.5 THEN units ELSE 0 END) FROM items WHERE flag = 'C'",
    ),
    "filter": (
        "SELECT shop, count(*) FILTER (WHERE units = 3) FROM items GROUP BY shop",
        "SELECT shop, count(*) FILTER (WHERE units = 99) FROM items GROUP BY shop",
    ),
    "having": (
        "SELECT flag, sum(price) FROM items WHERE units > 3 GROUP BY flag HAVING sum(price) > 5",
        "SELECT flag, sum(price) "
        "FROM items WHERE units > 44 GROUP BY flag HAVING sum(price) > 5000000",
    ),
    "distinct": (
        "SELECT count(DISTINCT flag) FROM items WHERE price < 5",
        "SELECT count(DISTINCT flag) FROM items WHERE price < 5000",
    ),
    "like": (
        "SELECT count(*) FROM items WHERE name LIKE 'A%'",
        "SELECT count(*) FROM items WHERE name LIKE 'Bname-%'",
    ),
    "like nothing": (
        "SELECT count(*) FROM items WHERE name LIKE 'Zz%' AND units = 5",
        "SELECT count(*) FROM items WHERE name LIKE '%' AND units = 50",
    ),
    "timestamps": (
        "SELECT count(*) FROM items WHERE seen >= TIMESTAMP '2021-05-05 10:00:00'",
        "SELECT count(*) FROM items WHERE seen >= DATE '1990-01-01'",
    ),
    "generated": (
        "SELECT sum(net) FROM items WHERE net > 100.25",
        "SELECT sum(net) FROM items WHERE net > 99999",
    ),
    "extremes": (
        "SELECT min(price), median(units) FROM items WHERE net < 5 AND flag = 'A'",
        "SELECT max(price), quantile_disc(units, 0.1) FROM items WHERE net < 500 AND flag = 'B'",
    ),
    "join": (
        "SELECT count(*), sum(i.price) FROM items i JOIN parts p ON i.part = p.id "
        "WHERE p.weight > 10 AND i.units < 9",
        "SELECT count(*), sum(i.price) FROM items i JOIN parts p ON i.part = p.id "
        "WHERE p.weight > 1000 AND i.units < 44",
    ),
    "join with OR": (
        "SELECT sum(i.price * (1 - i.discount)) FROM items i JOIN parts p ON i.part = p.id "
        "WHERE (p.kind LIKE 'P%' AND i.units < 9) OR (p.weight < 9 AND i.units > 40)",
        "SELECT sum(i.price * (1 - i.discount)) FROM items i JOIN parts p ON i.part = p.id "
        "WHERE (p.kind LIKE 'Rk%' AND i.units < 1) OR (p.weight < 800 AND i.units > 2)",
    ),
    "subquery": (
        "SELECT count(*) FROM items WHERE price > (SELECT max(price) FROM items WHERE units < 5)",
        "SELECT count(*) FROM items WHERE price > (SELECT min(price) FROM items WHERE units < 50)",
    ),
    "derived": (
        "SELECT max(t) "
        "FROM (SELECT shop, sum(units) AS t FROM items WHERE price < 5 GROUP BY shop) AS s",
        "SELECT max(t) "
        "FROM (SELECT shop, sum(units) AS t FROM items WHERE price < 800 GROUP BY shop) AS s",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, tuple[Opened, Opened]]]:
    """A pair of each scheme, made when first asked for."""
    made: dict[str, tuple[Opened, Opened]] = {}
    yield made
    for opened in (opened for pair in made.values() for opened in pair):
        opened.db.close()


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
@pytest.mark.parametrize("kind", PAIRS)
def test_requests_are_equal(
    kind: str, scheme: str, pairs: dict[str, tuple[Opened, Opened]]
) -> None:
    """What is asked, in which order and how large, and how large the answers are."""
    if scheme not in pairs:
        pairs[scheme] = made_alike(scheme, (filled(1), filled(2)))
        compare(pairs[scheme])
    answers = []
    for opened, sql in zip(pairs[scheme], PAIRS[kind], strict=True):
        hidden = opened.db.explain(sql).split("does not learn")[1]
        assert "constant" in hidden or "condition" in hidden
        opened.door.forget()
        answers.append(opened.db.sql(sql).rows())
    assert answers[0] != answers[1]
    compare(pairs[scheme])
    sizes = [
        [
            [len(reply.SerializeToString()) for reply in call.replies if not timing(reply)]
            for call in opened.door.calls
            if call.name in ("execute", "read_tail", "read_canaries", "fetch_rows")
        ]
        for opened in pairs[scheme]
    ]
    assert sizes[0] == sizes[1]
