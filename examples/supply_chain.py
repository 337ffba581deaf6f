"""Supply chain: competitors' shipments on one platform, which learns neither prices nor delays.

10,000 shipments with encrypted quantities, prices and delays, joined with a table of suppliers. The
platform totals and groups ciphertexts; it sees which supplier a shipment names, because that column
is public here. Every answer is compared with the plaintext's, computed in plain Python.

    python examples/supply_chain.py
"""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import amaters as am

SHIPMENTS = 10_000
COUNTRIES = ("DE", "FR", "JP")


def suppliers() -> list[dict[str, Any]]:
    return [
        {"id": n, "name": f"Supplier {n:02}", "country": COUNTRIES[n % 3], "certified": n % 4 != 0}
        for n in range(30)
    ]


def shipments() -> list[dict[str, Any]]:
    """Made-up; a delay of NULL: not there yet."""
    draw = random.Random(11)
    return [
        {
            "id": number,
            "supplier": draw.randrange(30),
            "quantity": draw.randint(1, 500),
            "price": Decimal(draw.randint(100, 9_999)) / 100,
            "delay": None if draw.random() < 0.1 else min(int(draw.expovariate(0.3)), 60),
        }
        for number in range(SHIPMENTS)
    ]


def check(question: str, answer: object, expected: object) -> None:
    """Print an answer; stop if the plaintext says otherwise."""
    assert answer == expected, f"{question}: {answer} is not {expected}"
    print(f"{question}\n    {answer}")


def main() -> None:
    known, rows = suppliers(), shipments()
    country = {supplier["id"]: supplier["country"] for supplier in known}
    certified = {supplier["id"]: supplier["certified"] for supplier in known}
    with am.connect(":memory:") as db:
        db.create_table(
            "suppliers",
            {
                "id": am.Int32(primary_key=True),
                "name": am.Text(encrypt=[]),
                "country": am.Enum(COUNTRIES, encrypt=["group"]),
                "certified": am.Boolean(encrypt=["eq"]),
            },
        ).insert(known)
        table = db.create_table(
            "shipments",
            {
                "id": am.Int64(primary_key=True),
                "supplier": am.Int32(index=True),
                "quantity": am.Int16(min=0, max=1_000, encrypt=["range", "sum"]),
                "price": am.Decimal(6, 2, min=0, max=100, encrypt=["sum"]),
                "delay": am.UInt8(max=60, encrypt=["range", "sum"], nullable=True),
            },
        )
        table.insert(rows)

        late = "SELECT count(*), max(delay) FROM shipments WHERE delay > ?"
        print(db.explain(late, [7]), "\n")
        delays = [row["delay"] for row in rows if (row["delay"] or 0) > 7]
        check(
            "Shipments over a week late, and the worst of them",
            db.sql(late, [7]).rows(),
            [(len(delays), max(delays))],
        )

        spent: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            if certified[row["supplier"]]:
                spent[country[row["supplier"]]] += row["quantity"] * row["price"]
        check(
            "Money spent with certified suppliers, by their country",
            db.sql(
                "SELECT s.country, sum(t.quantity * t.price) FROM shipments t "
                "JOIN suppliers s ON t.supplier = s.id WHERE s.certified "
                "GROUP BY s.country ORDER BY s.country"
            ).rows(),
            sorted(spent.items()),
        )

        under_way = [row for row in rows if row["delay"] is None]
        check(
            "Pieces still under way, of large orders",
            table.filter(am.col("delay").is_null() & (am.col("quantity") > 400))
            .agg(am.sum("quantity"))
            .scalar(),
            sum(row["quantity"] for row in under_way if row["quantity"] > 400),
        )

        # A delivery arrives and the rest of the order is sent on, both or neither.
        first = under_way[0]
        with db.batch() as batch:
            batch.upsert("shipments", [{**first, "delay": 2}])
            batch.insert("shipments", [{**first, "id": SHIPMENTS, "quantity": 5}])
        check(
            "Shipments under way now",
            table.filter(am.col("delay").is_null()).agg(am.count()).scalar(),
            len(under_way),
        )


if __name__ == "__main__":
    main()
