"""What goes and comes back in ALTER TABLE: no ciphertext is read under another schema than it was
written for.
"""

from __future__ import annotations

import contextlib

import pytest

import amaters as am

OPTIONS = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
ROWS = [(i, i % 100, "abcdefgh"[i % 8]) for i in range(1500)]
EXPECTED = {
    "SELECT count(*) FROM p WHERE s <= 50": sum(row[1] <= 50 for row in ROWS),
    "SELECT count(*) FROM p WHERE s = 7": 15,
    "SELECT sum(s) FROM p": sum(row[1] for row in ROWS),
    "SELECT count(*) FROM p WHERE d = 'a'": 188,
}
CHANGES = {
    "range in one statement": [
        "ALTER TABLE p ALTER COLUMN s DROP QUERY range, ALTER COLUMN s SET MIN -20, "
        "ALTER COLUMN s ADD QUERY range"
    ],
    "sum in one statement": [
        "ALTER TABLE p ALTER COLUMN s DROP QUERY sum, ALTER COLUMN s SET MAX 100000, "
        "ALTER COLUMN s ADD QUERY sum"
    ],
    "dictionary": ["ALTER TABLE p ALTER COLUMN d DROP QUERY eq, ALTER COLUMN d ADD QUERY eq"],
    "one after the other": [
        "ALTER TABLE p ALTER COLUMN s DROP QUERY range, sum",
        "ALTER TABLE p ALTER COLUMN s SET MIN -20",
        "ALTER TABLE p ALTER COLUMN s ADD QUERY range, sum",
    ],
}


def opened(nullable: bool) -> am.Database:
    database = am.connect(":memory:", progress=lambda _: None, threads=1, **OPTIONS)
    word = "" if nullable else "NOT NULL"
    database.sql(
        f"CREATE TABLE p (id BIGINT PRIMARY KEY, s INTEGER {word} "
        "ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 100), "
        f"d TEXT {word} ENCRYPTED WITH (QUERIES = 'eq'))"
    )
    database.table("p").insert(ROWS)
    return database


def answers(database: am.Database) -> dict[str, object]:
    return {question: database.sql(question).scalar() for question in EXPECTED}


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_back_is_encrypted_anew(change: str, nullable: bool) -> None:
    """Answers are the same after a capability has gone and come back under wider bounds."""
    with opened(nullable) as database:
        for statement in CHANGES[change]:
            database.sql(statement)
        assert answers(database) == EXPECTED


class Stopped(Exception):  # noqa: N818 - not an error
    """Ends a rotation in the middle."""


def test_a_rotation_goes_on_with_what_is_there_then() -> None:
    """Segments that were moved to the new key before their encodings were replaced are moved
    again: what waits there was made for another schema.
    """

    def stop(event: am.Progress) -> None:
        if event.what.startswith("rotating") and event.done:
            raise Stopped

    with opened(nullable=False) as database:
        with contextlib.suppress(Stopped):
            database.rotate_keys(progress=stop)
        for statement in CHANGES["one after the other"]:
            database.sql(statement)
        assert answers(database) == EXPECTED
        assert database.rotate_keys().tables == 1
        assert answers(database) == EXPECTED
