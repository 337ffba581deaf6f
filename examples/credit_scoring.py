"""Credit scoring: a bank's risk model on a server that must not learn incomes or debts.

10,000 applicants' figures are encrypted here. The score is a generated column: this client computes
it when a row is written and encrypts it, so the server can compare and rank scores that it cannot
read. Every answer is compared with the plaintext's, computed in plain Python.

    python examples/credit_scoring.py
"""

from __future__ import annotations

import random
from typing import Any

import amaters as am

APPLICANTS = 10_000
REGIONS = ("north", "south", "west")
LIMIT = 600


def applicants() -> list[dict[str, Any]]:
    """Made-up figures; money in euros."""
    draw = random.Random(7)
    return [
        {
            "id": number,
            "region": draw.choice(REGIONS),
            "income": draw.randint(12, 220) * 100,
            "debt": draw.randint(0, 400) * 100,
            "late": min(int(draw.expovariate(0.7)), 12),
            "years": draw.randint(0, 40),
        }
        for number in range(APPLICANTS)
    ]


def score(row: dict[str, Any]) -> int:
    """The model, as plain Python: the reference for what the database computes."""
    years, late = int(row["years"]), int(row["late"])
    return 400 + 12 * years - 60 * late


def check(question: str, answer: object, expected: object) -> None:
    """Print an answer; stop if the plaintext says otherwise."""
    assert answer == expected, f"{question}: {answer} is not {expected}"
    print(f"{question}\n    {answer}")


def main() -> None:
    rows = applicants()
    with am.connect(":memory:") as db:
        table = db.create_table(
            "applicants",
            {
                "id": am.Int64(primary_key=True),
                "region": am.Text(),
                "income": am.Int32(min=0, max=100_000, encrypt=["sum"]),
                "debt": am.Int32(min=0, max=100_000, encrypt=["range", "sum"]),
                "late": am.UInt8(max=12, encrypt=["range"]),
                "years": am.UInt8(max=50, encrypt=[]),
                "score": am.Int16(
                    min=-400,
                    max=1000,
                    encrypt=["range", "sum"],
                    generated=400 + 12 * am.col("years") - 60 * am.col("late"),
                ),
            },
        )
        table.insert(rows)

        good = table.filter(am.col("score") >= LIMIT)
        print(good.agg(am.count(), am.sum("debt")).explain(), "\n")
        accepted = [row for row in rows if score(row) >= LIMIT]
        check(
            f"Applicants with a score of {LIMIT} or more, and what they owe",
            good.agg(am.count(), am.sum("debt")).rows(),
            [(len(accepted), sum(row["debt"] for row in accepted))],
        )

        risky = [row for row in rows if row["late"] >= 3 and row["debt"] > 30_000]
        check(
            "Money out with those who were late three times and owe over 30,000, by region",
            db.sql(
                "SELECT region, sum(debt) FROM applicants WHERE late >= :late AND debt > :debt "
                "GROUP BY region ORDER BY region",
                {"late": 3, "debt": 30_000},
            ).rows(),
            [(r, sum(row["debt"] for row in risky if row["region"] == r)) for r in REGIONS],
        )

        scores = sorted(map(score, rows))
        check(
            "Worst and best score, and the median",
            table.agg(am.min("score"), am.max("score"), am.median("score")).rows(),
            [(scores[0], scores[-1], (scores[APPLICANTS // 2 - 1] + scores[APPLICANTS // 2]) / 2)],
        )

        share = am.sum("debt") / am.sum("income")
        wealthy = [row for row in rows if row["region"] == "west"]
        check(
            "Debt over income in the west",
            table.filter(am.col("region") == "west").agg(share.alias("ratio")).scalar(),
            sum(row["debt"] for row in wealthy) / sum(row["income"] for row in wealthy),
        )

        # A payment comes late: the score follows, and is encrypted anew.
        first = rows[42]
        before = table.get(42, ["score"])
        table.update({"late": first["late"] + 1}, am.col("id") == 42)
        after = table.get(42, ["score"])
        assert before is not None and after is not None
        check("A late payment costs points", before["score"] - after["score"], 60)


if __name__ == "__main__":
    main()
