"""ORDER BY ... LIMIT over encrypted columns: DuckDB's rows, and only those rows are fetched."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from lying_support import swapped_values
from orders_support import COLUMNS, CONDITIONS, Both, make_both

from amaters.base import errors

SEED = 1996
KEYS = [name for name in COLUMNS if name != "id"]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """More rows than are ever fetched whole."""
    made = make_both("noop", 4900, SEED)
    yield made
    made.opened.db.close()


def question(draw: random.Random) -> str:
    keys = draw.sample(KEYS, draw.randint(1, 3))
    order = ", ".join(
        key + draw.choice(["", " DESC"]) + draw.choice(["", " NULLS FIRST", " NULLS LAST"])
        for key in keys
    )
    limit, offset = draw.choice([0, 1, 3, 10, 200, 5000]), draw.choice([0, 0, 5])
    return (
        f"SELECT id, {draw.choice(KEYS)} AS other FROM t {draw.choice(CONDITIONS)} "
        f"ORDER BY {order}, id{draw.choice(['', ' DESC'])} LIMIT {limit} OFFSET {offset}"
    )


def test_random_statements_equal_duckdb(both: Both) -> None:
    """All types, NULLs first and last, ties, several keys, conditions, deleted rows, a tail."""
    draw = random.Random(SEED)
    for _ in range(40):
        both.check(question(draw))


def test_real_scheme_equals_duckdb() -> None:
    made = make_both(None, 1200, SEED)
    draw = random.Random(SEED + 1)
    for _ in range(8):
        made.check(question(draw))
    made.opened.db.close()


def fetched(both: Both, sql: str) -> int:
    """How many slots a statement fetches."""
    both.opened.door.forget()
    both.opened.db.sql(sql)
    requests = [call.request for call in both.opened.door.of("fetch_rows")]
    return sum(len(item.slots) for request in requests for item in request.slots)


def test_only_the_first_rows_are_fetched(both: Both) -> None:
    """Ten rows and the canaries among them, where thousands match; ties only if keys follow."""
    assert fetched(both, "SELECT * FROM t WHERE s >= 0 ORDER BY d LIMIT 10") < 40
    assert fetched(both, "SELECT * FROM t ORDER BY b DESC LIMIT 10") < 40
    assert fetched(both, "SELECT * FROM t WHERE s >= 0 ORDER BY s LIMIT 10") < 40
    tied = fetched(both, "SELECT * FROM t WHERE s >= 0 ORDER BY s, n LIMIT 10")
    assert 40 <= tied < 150
    assert fetched(both, "SELECT * FROM t WHERE s >= 0 LIMIT 7") < 40
    assert fetched(both, "SELECT * FROM t WHERE s >= 0 ORDER BY d LIMIT 0") == 0
    assert fetched(both, "SELECT id FROM t WHERE s >= 0 ORDER BY d") > 4000


def test_explain_says_what_is_learned(both: Both) -> None:
    text = both.opened.db.explain("SELECT id FROM t WHERE s > 5 ORDER BY d LIMIT 3")
    learns, hidden = text.split("does not learn")
    assert "Fetch the rows that come first" in learns
    assert "values: d in 3 parts" in learns
    assert "returned for every row alike, in one round of fixed size" in learns
    assert "which other rows match" in hidden
    assert "matched" not in learns.split("the server learns")[1]
    deep = both.opened.db.explain("SELECT id FROM t WHERE s > 5 ORDER BY d")
    assert "which rows are fetched afterwards, and so which matched" in deep


def test_small_tables_are_fetched_whole_when_that_shows_nothing() -> None:
    """Without an encrypted condition the rows that come first would be new to the engine."""
    made = make_both("noop", 1100, SEED)
    assert fetched(made, "SELECT id FROM t ORDER BY d LIMIT 3") == 0
    assert made.opened.door.of("execute") == []
    made.opened.db.close()


def test_swapped_values_are_noticed(both: Both) -> None:
    """An engine that returns the values of other rows contradicts canaries; nothing is fetched."""

    both.opened.door.honest()
    both.opened.door.lies["execute"] = swapped_values
    with pytest.raises(errors.DataError) as caught:
        both.opened.db.sql("SELECT id FROM t WHERE s >= 0 ORDER BY d LIMIT 3")
    assert caught.value.code == "AM-5001"
    assert both.opened.door.of("fetch_rows") == []
    both.opened.door.honest()


@pytest.mark.parametrize("pairs", [8, 20])
def test_a_deep_filter_is_asked_in_parts_rather_than_shown(both: Both, pairs: int) -> None:
    """Where values do not fit one circuit, although the mask may, fewer rows are fetched still."""
    where = " AND ".join(f"(s <> {i} OR a > {1000 * i})" for i in range(pairs))
    sql = f"SELECT id, a FROM t WHERE {where} ORDER BY a DESC, id LIMIT 4"
    text = both.opened.db.explain(sql)
    assert "parts of the filter" in text
    assert "Fetch the rows that come first" in text
    both.check(sql)
    assert fetched(both, sql) < 40
