"""MIN, MAX, medians and quantiles of encrypted and public columns are DuckDB's, in one round."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from lying_support import swapped_values
from orders_support import COLUMNS, CONDITIONS, Both, make_both

from amaters.base import errors

SEED = 1998
VALUES = [name for name in COLUMNS if name not in ("id", "n")]
BETWEEN = [name for name in VALUES if COLUMNS[name] not in ("TEXT", "BOOLEAN")]
FRACTIONS = ["0", "1", "0.5", "0.1", "0.25", "0.999", "0.3333", "7e-1"]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    made = make_both("noop", 2600, SEED)
    yield made
    made.opened.db.close()


def aggregate(draw: random.Random) -> str:
    name, fraction = draw.choice(VALUES), draw.choice(FRACTIONS)
    forms = [f"min({name})", f"max({name})", f"median({name})", f"quantile({name}, {fraction})"]
    direction = draw.choice(["", " DESC"])
    forms.append(f"percentile_disc({fraction}) WITHIN GROUP (ORDER BY {name}{direction})")
    other = draw.choice(BETWEEN)
    forms.append(f"quantile_cont({other}, {fraction})")
    forms.append(f"percentile_cont({fraction}) WITHIN GROUP (ORDER BY {other}{direction})")
    forms.append(f"max({draw.choice('as')} - {draw.choice('ap')})")
    if draw.random() < 0.1:
        return draw.choice(["count(*)", "sum(a)", "count(b)", "avg(s)"])
    chosen = draw.choice(forms)
    return chosen + draw.choice(["", "", "", " FILTER (WHERE s > 50)", " FILTER (WHERE n = 'bee')"])


def question(draw: random.Random) -> str:
    items = ", ".join(aggregate(draw) for _ in range(draw.randint(1, 4)))
    group = draw.choice(["", "", "p", "g", "f", "g, p"])
    where = draw.choice(CONDITIONS)
    if not group:
        return f"SELECT {items} FROM t {where}"
    having = draw.choice(["", "", f"HAVING {aggregate(draw)} IS NOT NULL", "HAVING min(s) < 3"])
    return f"SELECT {group}, {items} FROM t {where} GROUP BY {group} {having}"


def test_random_statements_equal_duckdb(both: Both) -> None:
    """All types, with conditions, groups of both kinds, other aggregates, a tail, deleted rows."""
    draw = random.Random(SEED)
    for _ in range(35):
        both.check(question(draw), ordered=False)


def test_real_scheme_equals_duckdb() -> None:
    made = make_both(None, 1200, SEED)
    draw = random.Random(SEED + 1)
    for _ in range(8):
        made.check(question(draw), ordered=False)
    made.opened.db.close()


NAMED = [
    "SELECT min(w) AS first, max(w) FROM t HAVING min(w) > DATE '1900-01-01'",
    "SELECT g, max(b) FROM t WHERE s < 70 GROUP BY g ORDER BY max(b) DESC, g",
    "SELECT p, median(a) AS middle FROM t GROUP BY p ORDER BY middle, p LIMIT 3",
    "SELECT max(s) - min(s) AS span FROM t WHERE s > 40",
    "SELECT count(DISTINCT g), min(d) FROM t WHERE s > 40",
    "SELECT min(g), max(g), median(g) FROM t WHERE s > 40",
    "SELECT min(p), max(p) FROM t",
    "SELECT min(id), max(p) FILTER (WHERE s = 3 AND s = 4) FROM t WHERE s > 99",
    "SELECT quantile_disc(u.s, 0.5) FROM t AS u",
    "SELECT max(DISTINCT s) FROM t",
    "SELECT min(p), sum(a) FROM t",
    "SELECT p, max(id), sum(s) FROM t WHERE p > 3 GROUP BY p ORDER BY p",
    "SELECT max(p), sum(a), min(id) FROM t WHERE p < 5 AND s IS NOT NULL",
    "SELECT min(CASE WHEN s > 50 THEN a ELSE 0 END) FROM t WHERE p > 3",
]


@pytest.mark.parametrize("sql", NAMED)
def test_forms(both: Both, sql: str) -> None:
    both.check(sql)
    names = [item[0] for item in both.duck.execute(sql).description]
    result = both.opened.db.sql(sql)
    assert list(result.names) == names
    assert result.arrow().num_rows == len(result)


def test_one_round_for_all_of_them(both: Both) -> None:
    """Three order statistics of one column cost what one does; nothing is fetched."""
    sizes = []
    for items in ("min(d)", "min(d), median(d), max(d)"):
        both.opened.door.forget()
        both.opened.db.sql(f"SELECT {items} FROM t WHERE s > 40")
        door = both.opened.door
        assert len(door.of("execute")) == 1
        assert door.of("fetch_rows") == []
        masks = [r for r in door.of("execute")[0].replies if r.WhichOneof("event") == "mask"]
        sizes.append([len(reply.SerializeToString()) for reply in masks])
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 1 + 3 + 3 + 1  # mask, 16 and 14 bits of each segment, NULL or not


def test_groups_that_are_public_are_read_whole(both: Both) -> None:
    """Public columns of all rows are read whether they match or not, so reading shows nothing."""
    requests = []
    for constant in (0, 99):
        both.opened.door.forget()
        both.opened.db.sql(f"SELECT p, max(d) FROM t WHERE s > {constant} GROUP BY p")
        (call,) = both.opened.door.of("fetch_rows")
        requests.append((call.request.plan, call.request.slots, call.request.sealed))
    assert requests[0] == requests[1]
    assert not requests[0][2]


def test_what_was_not_declared_is_refused(both: Both) -> None:
    both.opened.door.forget()
    for sql in ("SELECT min(n) FROM t", "SELECT median(n) FROM t WHERE s > 3"):
        with pytest.raises(errors.InvalidError) as caught:
            both.opened.db.sql(sql)
        assert caught.value.code == "AM-2107"
        assert "ADD QUERY group" in caught.value.fix
    for sql, code in [
        ("SELECT quantile_cont(g, 0.5) FROM t", "AM-2208"),
        ("SELECT quantile_cont(a, 1.5) FROM t", "AM-2208"),
        ("SELECT quantile_cont(a, s) FROM t", "AM-2205"),
        ("SELECT min(a, b) FROM t", "AM-2205"),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a, b) FROM t", "AM-2205"),
    ]:
        with pytest.raises(errors.InvalidError) as caught:
            both.opened.db.sql(sql)
        assert caught.value.code == code, sql
        assert caught.value.fix
    assert both.opened.door.names() == []


def test_a_lie_about_values_is_noticed(both: Both) -> None:
    """Two parts of a column exchanged: canaries hold other values."""

    both.opened.door.honest()
    both.opened.door.lies["execute"] = swapped_values
    with pytest.raises(errors.DataError) as caught:
        both.opened.db.sql("SELECT max(d) FROM t WHERE s >= 0")
    assert caught.value.code == "AM-5001"
    both.opened.door.honest()


def test_explain_says_what_is_learned(both: Both) -> None:
    text = both.opened.db.explain("SELECT min(d), count(*) FROM t WHERE s > 5")
    learns, hidden = text.split("does not learn")
    assert "min(d)" in learns
    assert "values of d are returned for every row alike, in one round of fixed size" in learns
    assert "which rows match, and how many" in hidden
    assert "the result" in hidden


def test_totals_of_the_same_rows_are_made_here(both: Both) -> None:
    """What follows from the values is not computed a second time, whatever groups there are."""
    sql = "SELECT g, min(a), avg(a), sum(a), count(*) FROM t WHERE s > 40 GROUP BY g ORDER BY g"
    both.opened.door.forget()
    result = both.opened.db.sql(sql)
    (call,) = both.opened.door.of("execute")
    assert all(reply.WhichOneof("event") != "accumulator" for reply in call.replies)
    both.check(sql.replace("avg(a), ", ""))
    assert [row[2] == row[3] / both_count for row, both_count in _counts(both, result)] == [
        True
    ] * 4
    assert "from the values, computed by the client" in both.opened.db.explain(sql)


def _counts(both: Both, result: Any) -> list[tuple[Any, int]]:
    """Each group with how many of its values are not NULL, by DuckDB."""
    sql = "SELECT count(a) FROM t WHERE s > 40 GROUP BY g ORDER BY g"
    counts = [row[0] for row in both.duck.execute(sql).fetchall()]
    return list(zip(result.rows(), counts, strict=True))
