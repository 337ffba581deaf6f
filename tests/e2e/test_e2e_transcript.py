"""What crosses the door depends on public things only: two databases with different secrets and
different constants produce the same requests, and no secret appears in any byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from door_support import Opened, open_through_door
from transcript_support import compare, made_alike, timing

from amaters.base import errors
from amaters.client.keyset import SECRETS

ROWS = 1100
DDL = """CREATE TABLE pay (
  id BIGINT PRIMARY KEY, dept TEXT,
  age SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 100),
  pay BIGINT ENCRYPTED WITH (QUERIES = 'eq,range,sum'),
  born DATE NOT NULL ENCRYPTED WITH (QUERIES = 'range'),
  grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,excellent,C'),
  city TEXT ENCRYPTED WITH (QUERIES = 'eq'),
  notes TEXT ENCRYPTED
)"""


def low_rows() -> list[tuple[Any, ...]]:
    """Small values, no NULL, few different ones. (The size of a dictionary is public.)"""
    return [
        (5 * i, ("HR", "R&D")[i % 2], 0, -i, "1970-01-01", "A", "Nara" if i else "Kyo", "aaaa")
        for i in range(ROWS)
    ]


def high_rows() -> list[tuple[Any, ...]]:
    """Other values everywhere: large, NULL, mixed; texts of the same length."""
    return [
        (
            5 * i,
            ("HR", "R&D")[i % 2],
            None if i % 3 == 0 else 100 - i % 7,
            None if i % 5 == 0 else 2**63 - 1 - i,
            f"20{10 + i % 80}-12-31",
            None if i % 4 == 0 else ("excellent", "C")[i % 2],
            ("Oslo", "Ås", None)[i % 3],
            "zzzz",
        )
        for i in range(ROWS)
    ]


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, tuple[Opened, Opened]]]:
    """A pair of each scheme, made when first asked for."""
    made: dict[str, tuple[Opened, Opened]] = {}
    yield made
    for opened in (opened for pair in made.values() for opened in pair):
        opened.db.close()


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, pairs: dict[str, tuple[Opened, Opened]]
) -> tuple[Opened, Opened]:
    """Two databases of one public shape and different secrets, with the record of their making."""
    if request.param not in pairs:
        pairs[request.param] = made_alike(request.param, FILLED)
    return pairs[request.param]


def filled(rows: list[tuple[Any, ...]]) -> Callable[[Opened], None]:
    def fill(opened: Opened) -> None:
        opened.db.sql(DDL)
        opened.db.table("pay").insert([row for row in rows if row[0] < 5000])
        opened.db.table("pay").insert([row for row in rows if row[0] >= 5000])

    return fill


FILLED = filled(low_rows()), filled(high_rows())


both_schemes = pytest.mark.parametrize("pair", ["noop", "bgv"], indirect=True)


@both_schemes
def test_writing_shows_public_columns_only(pair: tuple[Opened, Opened]) -> None:
    """Same keys and public columns, other secrets (NULLs among them): every request of CREATE and
    INSERT is equal, but for the content of sealed and encrypted parts, which have equal sizes.
    """
    assert len(pair[0].door.of("upload")) >= 10
    compare(pair)


STATEMENTS = [
    ("SELECT count(*) FROM pay WHERE age = 7", "SELECT count(*) FROM pay WHERE age = 99"),
    ("SELECT count(*) FROM pay WHERE age = 7", "SELECT count(*) FROM pay WHERE age = 30000"),
    ("SELECT count(*) FROM pay WHERE age < 40", "SELECT count(*) FROM pay WHERE age < -5"),
    ("SELECT sum(age) FROM pay WHERE age <= 40", "SELECT sum(age) FROM pay WHERE age <= 30000"),
    ("SELECT sum(age) FROM pay WHERE age > 40", "SELECT sum(age) FROM pay WHERE age > 100"),
    ("SELECT sum(age) FROM pay WHERE age >= 1", "SELECT sum(age) FROM pay WHERE age >= 0"),
    ("SELECT avg(age) FROM pay WHERE age <> 4", "SELECT avg(age) FROM pay WHERE age <> 400"),
    (
        "SELECT count(*) FROM pay WHERE pay BETWEEN 10 AND 20",
        "SELECT count(*) FROM pay WHERE pay BETWEEN 9000000000000 AND -3",
    ),
    (
        "SELECT count(*) FROM pay WHERE age NOT BETWEEN 10 AND 20",
        "SELECT count(*) FROM pay WHERE age NOT BETWEEN 0 AND 100",
    ),
    (
        "SELECT count(*) FROM pay WHERE age IN (1, 2, 3)",
        "SELECT count(*) FROM pay WHERE age IN (5, 900, -1)",
    ),
    (
        "SELECT count(*) FROM pay WHERE age IN (1, 2, 3)",
        "SELECT count(*) FROM pay WHERE age IN (5, 5, 5)",
    ),
    (
        "SELECT count(*) FROM pay WHERE age NOT IN (1, 2, 3)",
        "SELECT count(*) FROM pay WHERE age NOT IN (100, 5, 100)",
    ),
    (
        "SELECT count(*) FROM pay WHERE born < DATE '1980-02-29'",
        "SELECT count(*) FROM pay WHERE born < DATE '2080-12-31'",
    ),
    (
        "SELECT grade, count(*) FROM pay WHERE city = 'Nara' GROUP BY grade",
        "SELECT grade, count(*) FROM pay WHERE city = 'Atlantis' GROUP BY grade",
    ),
    (
        "SELECT count(*) FROM pay WHERE grade = 'A' OR grade IN ('excellent', 'C')",
        "SELECT count(*) FROM pay WHERE grade = 'C' OR grade IN ('A', 'Q')",
    ),
    (
        "SELECT min(pay), max(born) FROM pay WHERE age < 40",
        "SELECT median(pay), quantile_disc(born, 0.9) FROM pay WHERE age < -5",
    ),
    (
        "SELECT grade, max(age) FROM pay WHERE pay > 10 GROUP BY grade",
        "SELECT grade, min(age) FROM pay WHERE pay > 9000000000000 GROUP BY grade",
    ),
    (
        "SELECT dept, median(age) FROM pay WHERE pay > 10 GROUP BY dept",
        "SELECT dept, quantile_cont(age, 0.1) FROM pay WHERE pay > 9000000000000 GROUP BY dept",
    ),
    (
        "SELECT id FROM pay WHERE age = 5 ORDER BY pay LIMIT 0",
        "SELECT id FROM pay WHERE age = 99 ORDER BY pay LIMIT 0",
    ),
    (
        "SELECT dept, sum(pay) FROM pay WHERE dept = 'HR' AND NOT (age < 5 OR pay = 9) "
        "GROUP BY dept",
        "SELECT dept, sum(pay) FROM pay WHERE dept = 'HR' AND NOT (age < 101 OR pay = -77) "
        "GROUP BY dept",
    ),
]


@pytest.mark.parametrize(
    ("pair", "statements"),
    [("noop", statements) for statements in STATEMENTS]
    + [("bgv", statements) for statements in STATEMENTS[2::5]],
    indirect=["pair"],
)
def test_questions_show_their_shape_only(
    statements: tuple[str, str], pair: tuple[Opened, Opened]
) -> None:
    """Other constants (outside of all bounds, always or never true, repeated) against other
    secrets: the engine sees equal plans, equal sizes, an equal order of calls, for every statement
    of which EXPLAIN says that it hides its constants.
    """
    for opened, sql in zip(pair, statements, strict=True):
        hidden = opened.db.explain(sql).split("does not learn")[1]
        assert "constant" in hidden
        opened.door.forget()
        opened.db.sql(sql)
    compare(pair)
    sizes = [
        [
            [len(reply.SerializeToString()) for reply in call.replies if not timing(reply)]
            for call in opened.door.calls
            if call.name in ("execute", "read_tail", "read_canaries")
        ]
        for opened in pair
    ]
    assert sizes[0] == sizes[1]


@both_schemes
def test_public_constants_do_differ(pair: tuple[Opened, Opened]) -> None:
    """The comparison can fail: PUBLIC() shows the constant, and EXPLAIN says so."""
    for opened, number in zip(pair, (7, 99), strict=True):
        sql = f"SELECT count(*) FROM pay WHERE age = PUBLIC({number})"
        learns = opened.db.explain(sql).split("does not learn")[0]
        assert "PUBLIC" in learns.split("the server learns")[1]
        opened.door.forget()
        opened.db.sql(sql)
    with pytest.raises(AssertionError, match="execute differs"):
        compare(pair)


@pytest.mark.parametrize("pair", ["bgv"], indirect=True)
def test_the_same_constants_are_never_encrypted_twice_the_same(pair: tuple[Opened, Opened]) -> None:
    """Asking again sends other bytes of the same size: the engine cannot see repetitions."""
    opened = pair[1]
    opened.door.forget()
    for _ in range(2):
        opened.db.sql("SELECT count(*) FROM pay WHERE age = 7")
    first, second = (b"".join(call.uploads) for call in opened.door.of("put_constants"))
    assert len(first) == len(second)
    assert first != second


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
def test_rotation_sends_public_material_only(scheme: str) -> None:
    """Two databases with other secrets send equal requests, but for sealed and encrypted bytes; no
    secret of the old or the new keyset is in any byte; no ciphertext is asked for.
    """
    alike = made_alike(scheme, FILLED)
    for opened in alike:
        done = opened.db.rotate_keys()
        assert (done.tables, done.segments) == (1, 1)
        names = opened.door.names()
        assert {"put_keyset", "rekey_segment", "switch_keys", "end_rotation"} <= set(names)
        assert not {"execute", "put_constants"} & set(names)
        sent = [call.sent for call in opened.door.calls]
        for keyset in opened.db._asynchronous._session.keychain:
            secrets = [getattr(keyset, name) for name in SECRETS]
            middle = keyset.secret_key[len(keyset.secret_key) // 2 :][:48]
            for secret in (*secrets, keyset.deep_key, middle):
                assert secret and not any(secret in data for data in sent)
    compare(alike)
    for opened in alike:
        opened.db.close()


CHANGES = [
    (
        "ALTER TABLE pay ADD COLUMN n INTEGER DEFAULT 5 ENCRYPTED WITH (QUERIES = 'range', "
        "MIN = 0, MAX = 100), ALTER COLUMN grade ADD VALUE 'D'",
        "ALTER TABLE pay ADD COLUMN n INTEGER DEFAULT 90 ENCRYPTED WITH (QUERIES = 'range', "
        "MIN = 20, MAX = 127), ALTER COLUMN grade ADD VALUE 'Z'",
    ),
    (
        "ALTER TABLE pay ALTER COLUMN n SET MAX 300, ALTER COLUMN n ADD QUERY eq",
        "ALTER TABLE pay ALTER COLUMN n SET MAX 450, ALTER COLUMN n ADD QUERY eq",
    ),
    ("DELETE FROM pay WHERE id < 300", "DELETE FROM pay WHERE id < 300"),
    ("ALTER TABLE pay DROP COLUMN notes", "ALTER TABLE pay DROP COLUMN notes"),
    ("VACUUM ERASE pay", "VACUUM ERASE pay"),
]


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
def test_altering_and_erasing_show_shapes_only(scheme: str) -> None:
    """Other values, bounds, categories and defaults of the same width: equal requests, but for
    sealed and encrypted bytes; nothing is asked that would show a mask.
    """
    alike = made_alike(scheme, FILLED)
    for statements in CHANGES:
        for opened, sql in zip(alike, statements, strict=True):
            opened.db.sql(sql)
    compare(alike)
    calls = alike[0].door.names()
    assert {"add_encodings", "forget_history"} <= set(calls)
    assert not {"execute", "put_constants"} & set(calls)
    for opened in alike:
        opened.db.close()


# ---- markers ------------------------------------------------------------------------------------

SECRET_TEXTS = [
    "SECRET-NOTE-MARKER", "SECRET-CITY-MARKER", "SECRET-GRADE-ONE", "SECRET-GRADE-TWO",
    "SECRET-CONSTANT", "SECRET-COMMENT", "SECRET-UNKNOWN-CITY",
]  # fmt: skip
SECRET_NUMBERS = [0x1122334455667788, 0x2233445566778899, 0x33445566778899AA, 0x445566778899AA]
VALUE, LOWEST, HIGHEST, CONSTANT = 0x2233445566778899, *SECRET_NUMBERS[:1], *SECRET_NUMBERS[2:]


def markers() -> list[bytes]:
    """Every secret in every form it could have on the way."""
    found = [text.encode() for text in SECRET_TEXTS]
    for number in (VALUE, LOWEST, HIGHEST, CONSTANT):
        found += [str(number).encode(), struct.pack("<q", number), struct.pack(">q", number)]
    return found


def test_no_secret_is_in_any_byte_outside(tmp_path: Path) -> None:
    """Values, bounds, categories, dictionary entries and constants of encrypted columns are in no
    message in either direction, in no file of the database, in no error message and no notice.
    """
    opened = open_through_door(tmp_path / "db", scheme=None, keyring=tmp_path / "keys")
    db = opened.db
    db.sql(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, town TEXT, "
        "notes TEXT ENCRYPTED, city TEXT ENCRYPTED WITH (QUERIES = 'eq'), "
        "grade TEXT ENCRYPTED WITH (QUERIES = 'group', "
        "VALUES = 'SECRET-GRADE-ONE,SECRET-GRADE-TWO'), "
        f"n BIGINT ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = {LOWEST}, MAX = {HIGHEST}))"
    )
    rows = [
        (i, "PUBLIC-TOWN", SECRET_TEXTS[0], SECRET_TEXTS[1], SECRET_TEXTS[2 + i % 2], VALUE)
        for i in range(0, 2000, 2)
    ]
    db.table("people").insert(rows)
    db.table("people").insert([(1, "PUBLIC-TOWN", *rows[0][2:])])
    assert db.sql(f"SELECT count(*) FROM people WHERE n <= {CONSTANT}").scalar() == 0
    sql = "SELECT id, notes, n FROM people WHERE city = ? OR n = ? -- SECRET-COMMENT\n"
    assert len(db.sql(sql, ["SECRET-CONSTANT", VALUE])) == 1001
    db.explain(sql, ["SECRET-CONSTANT", VALUE])
    told = [str(note) for note in opened.notices]
    bad = [
        ("INSERT INTO people VALUES (7, 'x', 'SECRET-NOTE-MARKER', 'a', 'SECRET-UNKNOWN-CITY', 1)"),
        (f"INSERT INTO people VALUES (7, 'x', 'SECRET-NOTE-MARKER', 'a', NULL, {CONSTANT})"),
        (f"INSERT INTO people VALUES (0, 'x', 'SECRET-NOTE-MARKER', 'a', NULL, {VALUE})"),
    ]
    for statement in bad:
        with pytest.raises(errors.AmatersError) as caught:
            db.sql(statement)
        told.append(str(caught.value) + repr(caught.value))
    for value in ("SECRET-CONSTANT", b"SECRET-CONSTANT", 1.5):
        with pytest.raises(errors.AmatersError) as caught:
            db.table("people").insert([(9, "x", "y", "z", None, value)])
        told.append(str(caught.value) + repr(caught.value))
    db.close()
    crossed = b"\0".join(call.sent for call in opened.door.calls)
    crossed += b"\0".join(
        reply.SerializeToString() for call in opened.door.calls for reply in call.replies
    )
    files = [file for file in (tmp_path / "db").rglob("*") if file.is_file()]
    stored = b"\0".join(file.read_bytes() for file in files)
    assert b"PUBLIC-TOWN" in crossed
    assert b"PUBLIC-TOWN" in stored
    for marker in markers():
        assert marker not in crossed
        assert marker not in stored
        assert marker not in "\0".join(told).encode()
