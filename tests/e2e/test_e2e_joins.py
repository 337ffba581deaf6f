"""Joins beside DuckDB: vectors, lists of keys, rows, several tables; what is refused and hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from e2e_support import small
from joins_support import fill, sorted_rows

import amaters as am

ASKED = (  # on the fact, with vectors or lists of keys
    "SELECT count(*), sum(q) FROM f JOIN d ON f.k = d.id",
    "SELECT count(*), sum(q) FROM f INNER JOIN d ON d.id = f.k WHERE name = 'apple' AND q > 30",
    "SELECT count(*), sum(q), count(q) FROM f, d "
    "WHERE k = d.id AND (name = 'fig' OR q < 20) AND r = 'a'",
    "SELECT sum(price), count(price), count(flag), count(*) FROM f JOIN d ON f.k = d.id "
    "WHERE q BETWEEN 10 AND 60",
    "SELECT sum(price * q) FROM f JOIN d ON f.k = d.id WHERE q BETWEEN 10 AND 60",
    "SELECT name, count(*), sum(q) FROM f JOIN d ON f.k = d.id GROUP BY name",
    "SELECT d.name, g, r, count(*) c FROM f JOIN d ON f.k = d.id WHERE q > 10 "
    "GROUP BY d.name, g, r HAVING c > 2 AND d.name IS NOT NULL",
    "SELECT region, count(*), sum(q) FROM d JOIN f ON f.k = d.id JOIN n ON d.c = n.code "
    "WHERE price > 5 GROUP BY region",
    "SELECT f.id, name, price, region FROM f JOIN d ON f.k = d.id JOIN n ON d.c = n.code "
    "WHERE price > 100 AND q > 50",
    "SELECT count(*), sum(q) FROM f JOIN d ON f.k = d.id WHERE NOT (name = 'apple' OR q > 50)",
    "SELECT count(*), sum(q) FROM f JOIN d ON f.k = d.id WHERE name <> 'apple' OR g = 'x' OR flag",
    "SELECT sum(q) FROM f a JOIN d b ON a.k = b.id "
    "WHERE (b.c = 'F' AND a.q < 10 AND a.k = b.id) OR (b.c = 'G' AND a.q > 90)",
    "SELECT sum(q) FROM f a, d b WHERE (b.c = 'F' AND a.q < 10 AND a.k = b.id) "
    "OR (b.c = 'G' AND b.id = a.k AND a.q > 90) OR (a.k = b.id AND b.c = 'H')",
    "SELECT count(*), sum(q) FROM f JOIN d ON eg = d.id WHERE d.price > 10 OR d.flag",
    "SELECT count(*), sum(q) FROM f JOIN d ON eg = d.id WHERE d.name = 'nobody'",
    "SELECT count(*), sum(q) FROM f JOIN d ON eg = d.id JOIN n ON n.code = d.c "
    "WHERE NOT (region = 'EU' AND q > 20)",
    "SELECT f.id, d.name FROM f JOIN d ON f.eg = d.id WHERE q > 90",
    "SELECT d.name, count(*), sum(q) FROM f JOIN d ON f.eg = d.id GROUP BY d.name",
    "SELECT count(*), sum(q) FROM f JOIN few ON f.e = few.id JOIN d ON few.id = d.id",
    "SELECT count(*), sum(q) FROM f JOIN few ON f.e = few.id JOIN d ON f.e = d.id",
    "SELECT count(*), sum(q) FROM f JOIN d ON f.eg = d.id JOIN few ON f.eg = few.id",
    "SELECT count(*), sum(q) FROM f JOIN d ON f.e = d.id JOIN few ON f.e = few.id "
    "WHERE (w = 3 OR d.flag) AND NOT (w = 2 OR q > 50)",
    "SELECT count(*), sum(q) FROM f JOIN few ON f.eg = few.id JOIN d ON f.eg = d.id "
    "JOIN n ON n.code = d.c WHERE (w > 1 OR region IS NULL) AND q > 5",
    "SELECT sum(coalesce(price, q)), count(coalesce(nk, z)) FROM f JOIN d ON f.k = d.id "
    "WHERE q > 10",
    "SELECT d.name, coalesce(d.name, 'none'), coalesce(sum(price), sum(q), 7) FROM f "
    "JOIN d ON f.k = d.id WHERE q > 90 GROUP BY d.name HAVING coalesce(sum(price), 0) < 900",
    "SELECT sum(price), count(price), count(*), sum(price * q) FROM f JOIN d ON f.eg = d.id "
    "WHERE q > 20",
    "SELECT sum(price * (q - 1)) + count(flag) FROM f JOIN d ON f.eg = d.id WHERE d.flag OR q > 50",
    "SELECT r, d.name, sum(CASE WHEN flag THEN q ELSE price END), "
    "sum(q) FILTER (WHERE price > 50 AND g = 'x') FROM f JOIN d ON f.eg = d.id "
    "GROUP BY r, d.name HAVING count(*) > 5",
    "SELECT g, n.region, count(DISTINCT d.c), sum(q) FROM f JOIN d ON f.eg = d.id "
    "JOIN n ON n.code = d.c GROUP BY g, n.region",
    "SELECT sum(price) FROM f JOIN d ON f.eg = d.id WHERE name = 'nobody'",
    "SELECT r, avg(q), count(g) FROM f JOIN d ON f.k = d.id WHERE c LIKE 'F%' GROUP BY r",
    "SELECT d.name, sum(CASE WHEN price > 50 AND q > 20 THEN q ELSE 0 END), "
    "sum(CASE WHEN flag THEN 1 ELSE 0 END) FROM f JOIN d ON f.k = d.id GROUP BY d.name",
    "SELECT count(DISTINCT d.name), count(DISTINCT g) FROM f JOIN d ON f.k = d.id WHERE q > 5",
    "SELECT d.name, sum(q) FILTER (WHERE price > 10), sum(q * (price - 1)) + count(*) "
    "FROM f JOIN d ON f.k = d.id GROUP BY d.name HAVING sum(q) > sum(price)",
    "SELECT sum(w), sum(w * z), count(*) FROM f JOIN pairs p ON f.k = p.a AND f.r = p.b",
    "SELECT f.id, f.q, x.name, y.name FROM f, d x, d y WHERE f.k = x.id AND x.nk = y.id AND q > 80",
    "SELECT d.name, f.id FROM f JOIN d ON f.k = d.id WHERE q < 30 ORDER BY d.name, f.id LIMIT 7",
    "SELECT f.id, q FROM f JOIN d ON f.k = d.id WHERE name = 'fig' ORDER BY q DESC, f.id LIMIT 5",
    "SELECT c, f.id FROM f JOIN d ON f.k = d.id WHERE q < 30 ORDER BY c DESC, q, f.id LIMIT 9",
    "SELECT year(d.day) AS y, count(*), sum(q) FROM f JOIN d ON f.k = d.id WHERE q > 3 GROUP BY y",
    "SELECT extract(QUARTER FROM day) AS x, sum(q) FROM f JOIN d ON f.k = d.id "
    "WHERE month(day) > 2 AND extract(DAY FROM day) < 20 OR q = 7 GROUP BY x HAVING x > 1",
    "SELECT count(*), sum(q), count(d.id), sum(price) FROM f LEFT JOIN d ON f.k = d.id",
    "SELECT count(*), sum(q) FROM f LEFT JOIN d ON f.k = d.id WHERE d.id IS NULL AND q > 20",
    "SELECT d.name, count(*), sum(q) FROM f LEFT JOIN d ON f.k = d.id AND price > 20 AND flag "
    "GROUP BY d.name",
    "SELECT count(*), sum(q) FROM f LEFT JOIN d ON f.k = d.id JOIN n ON d.c = n.code WHERE q > 9",
    "SELECT region, count(*), sum(q) FROM f JOIN d ON f.k = d.id LEFT JOIN n ON d.c = n.code "
    "WHERE price > 5 OR region IS NULL GROUP BY region",
    "SELECT count(*), sum(q) FROM f LEFT JOIN d ON f.k = d.id WHERE f.r = d.c OR q < 50",
    "SELECT f.id, name FROM f LEFT OUTER JOIN d ON d.id = f.k AND d.c = 'F' WHERE q > 90",
    "SELECT id, name FROM f LEFT JOIN d USING (id) WHERE q > 95",
    "SELECT year(day) y, count(*) FROM f LEFT JOIN d ON f.k = d.id WHERE q > 3 GROUP BY y",
    "SELECT DISTINCT d.name FROM f JOIN d ON f.k = d.id WHERE q < 30",
    "SELECT count(*), sum(q) FROM f JOIN d ON k = d.id WHERE d.price IS NULL AND f.r IS NOT NULL",
    "SELECT count(*), sum(q) FROM f JOIN d ON k = d.id WHERE NULL",
    "SELECT * FROM f JOIN d USING (id)",
    "SELECT d.*, z FROM f JOIN d USING (id) WHERE f.id > 3",
    "SELECT id, name FROM f JOIN d USING (id) WHERE q > 10",
)
HERE = (  # nothing encrypted of the fact, or only small tables
    "SELECT count(*), sum(f.id) FROM f JOIN d ON f.k = d.id WHERE d.name = 'fig' AND r = 'a'",
    "SELECT d.id, region FROM d LEFT JOIN n ON d.c = n.code",
    "SELECT count(*), count(n.code) FROM d LEFT JOIN n ON d.c = n.code AND region = 'EU'",
    "SELECT n.region, count(*), sum(price) FROM d, n WHERE d.c = n.code GROUP BY 1",
    "SELECT d.id, region FROM d JOIN n ON d.c = n.code WHERE price > 5 OR flag",
)
ON_CIPHERTEXTS = (
    *(ASKED[index] for index in (1, 4, 6, 8, 13)),
    "SELECT d.name, count(*), sum(q * price) FROM f JOIN d ON f.eg = d.id GROUP BY d.name",
)
EXPENSIVE = "SELECT count(*), sum(q) FROM f JOIN d ON e = d.id WHERE d.c = 'F'"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """The same tables in both engines: segments, a tail, dead rows."""
    plain = duckdb.connect()
    with am.connect(":memory:", **small("noop")) as db:
        fill(db, plain, 2000, 50)
        yield db, plain


@pytest.mark.parametrize("question", [*ASKED, *HERE, EXPENSIVE])
def test_joins_equal_duckdb(question: str, pair: tuple[am.Database, Any]) -> None:
    """The same rows, in whatever order."""
    db, plain = pair
    assert sorted_rows(db.sql(question).rows()) == sorted_rows(plain.sql(question).fetchall())


def test_joins_on_ciphertexts() -> None:
    """The same on the real scheme."""
    plain = duckdb.connect()
    with am.connect(":memory:", **small("bgv")) as db:
        fill(db, plain, 500, 20)
        db.compact()
        for question in ON_CIPHERTEXTS:
            assert sorted_rows(db.sql(question).rows()) == sorted_rows(
                plain.sql(question).fetchall()
            )
            assert json.loads(db.explain(question, format="json"))["kind"] != "client"


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("SELECT count(*) FROM f RIGHT JOIN d ON f.k = d.id", "AM-2226"),
        ("SELECT count(*) FROM f FULL JOIN d ON f.k = d.id", "AM-2226"),
        ("SELECT count(*) FROM f LEFT JOIN d ON f.k = d.id AND f.r = 'a'", "AM-2226"),
        ("SELECT count(*) FROM d LEFT JOIN f ON f.k = d.id", "AM-2227"),
        ("SELECT count(q) FROM f LEFT JOIN d ON f.e = d.id", "AM-2144"),
        ("SELECT count(*) FROM f NATURAL JOIN d", "AM-2226"),
        ("SELECT count(*) FROM f CROSS JOIN d", "AM-2228"),
        ("SELECT count(*) FROM f, d WHERE f.k > d.id", "AM-2228"),
        ("SELECT count(*) FROM f JOIN pairs p ON f.k = p.a", "AM-2227"),
        ("SELECT count(*) FROM f JOIN f g ON f.k = g.k", "AM-2227"),
        ("SELECT id FROM f JOIN d ON f.k = d.id", "AM-2225"),
        ("SELECT f.x FROM f JOIN d ON f.k = d.id", "AM-2204"),
        ("SELECT f.id FROM f JOIN d ON f.k = x.id", "AM-2203"),
        ("SELECT f.id FROM f JOIN f ON f.k = f.id", "AM-2208"),
        ("SELECT count(*) FROM f JOIN d ON f.r = d.id", "AM-2208"),
        ("SELECT sum(q) FROM f JOIN pairs p ON f.z = p.a AND f.r = p.b", "AM-2144"),
        ("SELECT sum(q) FROM f JOIN d ON f.z = d.id", "AM-2144"),
        ("SELECT d.name, max(q) FROM f JOIN d ON f.eg = d.id GROUP BY d.name", "AM-2146"),
        ("SELECT sum(price) FROM f JOIN d ON f.e = d.id", "AM-2146"),
        ("SELECT count(*) FROM f JOIN d ON f.k = d.id WHERE price > q", "AM-2146"),
        ("SELECT sum(q) FROM f JOIN d ON f.k = d.id WHERE z = 3", "AM-2107"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    question: str, code: str, pair: tuple[am.Database, Any]
) -> None:
    """With the reason."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(question)
    assert refused.value.code == code


def test_requests_do_not_depend_on_conditions(pair: tuple[am.Database, Any]) -> None:
    """Conditions on other tables travel as vectors of one size, whatever they select."""
    db, _ = pair
    text = "SELECT sum(q) FROM f JOIN d ON f.k = d.id WHERE name = '{0}' AND q > {1}"
    found = [db.sql(text.format(*v)) for v in (("apple", 3), ("nobody", 99), ("pear", 0))]
    assert len({result.stats.bytes_sent for result in found}) == 1
    text = "SELECT sum(q) FROM f JOIN d ON f.e = d.id WHERE name = '{0}'"
    found = [db.sql(text.format(v)) for v in ("apple", "nobody")]
    assert len({result.stats.bytes_sent for result in found}) == 1


def test_explain_names_tables_keys_and_vectors(pair: tuple[am.Database, Any]) -> None:
    """What is read, what for, and what the server learns."""
    db, _ = pair
    question = "SELECT sum(q) FROM f JOIN d ON f.k = d.id WHERE name = 'fig' OR q > 3"
    found = json.loads(db.explain(question, format="json"))
    (dimension,) = found["join"]["dimensions"]
    assert (found["join"]["fact"], found["join"]["vectors"]) == ("f", 2)
    assert (dimension["table"], dimension["on"]) == ("d", "f.k = id")
    assert "that table d was read whole, every row and column" in found["server_learns"]
    assert "that k of f was read for all rows" in found["server_learns"]
    assert "fig" not in json.dumps(found)
    assert "for a list of keys" in db.explain(EXPENSIVE)
    assert "Join and finish on this client" in db.explain(HERE[0])
    learned = db.sql(HERE[0]).learned
    assert "the conditions on the public columns r and the constants in them" in learned


def test_joins_too_deep_for_one_circuit(pair: tuple[am.Database, Any]) -> None:
    """Vectors of a join and masks that were refreshed go into one circuit."""
    db, plain = pair
    many = " AND ".join(f"(q <> {i} OR d.price < {3 * i} OR g = 'x')" for i in range(20))
    question = (
        f"SELECT d.name, count(*), sum(q) FROM f JOIN d ON f.k = d.id WHERE {many} GROUP BY 1"
    )
    assert "refresh" in db.explain(question).lower()
    assert sorted_rows(db.sql(question).rows()) == sorted_rows(plain.sql(question).fetchall())
