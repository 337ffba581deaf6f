"""Health care: a research registry on a server that must not learn who is ill.

A hospital keeps 10,000 patients' records with an outside provider. Age, blood pressure, body mass
and diagnosis are encrypted in this process; the provider answers questions on ciphertexts.
Every answer is computed a second time from the plaintext, in plain Python, and compared.

    python examples/health_care.py

The engine runs in this process, as in every embedded database, but sees what a provider would see.
"""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import amaters as am

PATIENTS = 10_000
WARDS = ("cardiology", "oncology", "surgery")
DIAGNOSES = ("none", "diabetes", "hypertension", "both")


def patients() -> list[dict[str, Any]]:
    """Made-up records; some have no blood pressure taken."""
    draw = random.Random(2026)
    found = []
    for number in range(PATIENTS):
        age = draw.randint(18, 95)
        pressure = round(draw.gauss(100 + age / 2, 15))
        found.append(
            {
                "id": 3 * number,
                "ward": draw.choice(WARDS),
                "age": age,
                "systolic": None if draw.random() < 0.05 else min(max(pressure, 70), 240),
                "bmi": Decimal(draw.randint(160, 450)) / 10,
                "smoker": draw.random() < 0.2,
                "diagnosis": draw.choices(DIAGNOSES, (70, 12, 14, 4))[0],
                "notes": "see chart",
            }
        )
    return found


def check(question: str, answer: object, expected: object) -> None:
    """Print an answer; stop if the plaintext says otherwise."""
    assert answer == expected, f"{question}: {answer} is not {expected}"
    print(f"{question}\n    {answer}")


def main() -> None:
    rows = patients()
    with am.connect(":memory:") as db:
        registry = db.create_table(
            "patients",
            {
                "id": am.Int64(primary_key=True),
                "ward": am.Text(),  # public: who runs the server may know how many lie where
                "age": am.UInt8(max=120, encrypt=["range"]),
                "systolic": am.UInt8(max=240, encrypt=["range", "sum"], nullable=True),
                "bmi": am.Decimal(4, 1, min=10, max=99, encrypt=["range", "sum"]),
                "smoker": am.Boolean(encrypt=["eq"]),
                "diagnosis": am.Enum(DIAGNOSES, encrypt=["group"]),
                "notes": am.Text(encrypt=[]),
            },
        )
        registry.insert(rows)

        elderly = registry.filter((am.col("age") >= 65) & (am.col("systolic") >= 140))
        print(elderly.agg(am.count()).explain(), "\n")
        check(
            "Elderly patients with high blood pressure",
            elderly.agg(am.count()).scalar(),
            sum(row["age"] >= 65 and (row["systolic"] or 0) >= 140 for row in rows),
        )

        smokers = [row for row in rows if row["smoker"]]
        check(
            "Average body mass of smokers",
            registry.filter(am.col("smoker")).agg(am.avg("bmi")).scalar(),
            float(Fraction(sum(row["bmi"] for row in smokers)) / len(smokers)),
        )

        counted = Counter(row["diagnosis"] for row in rows if row["age"] < 40)
        check(
            "Diagnoses of those under 40",
            db.sql(
                "SELECT diagnosis, count(*) FROM patients WHERE age < ? GROUP BY diagnosis "
                "ORDER BY diagnosis",
                [40],
            ).rows(),
            sorted(counted.items()),
        )

        in_ward = {ward: [row for row in rows if row["ward"] == ward] for ward in WARDS}
        check(
            "Mean pressure by ward, of those measured",
            registry.group_by("ward").agg(am.avg("systolic")).order_by("ward").rows(),
            [(ward, mean([row["systolic"] for row in in_ward[ward]])) for ward in sorted(WARDS)],
        )

        # One patient withdraws consent: the row goes, and no later answer counts it.
        gone = rows.pop(17)
        assert registry.delete([gone["id"]]) == 1
        check("Patients left", registry.agg(am.count()).scalar(), len(rows))


def mean(values: list[int | None]) -> float:
    """SQL's AVG: NULLs do not count."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


if __name__ == "__main__":
    main()
