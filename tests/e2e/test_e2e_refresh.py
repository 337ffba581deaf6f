"""Filters too deep for one circuit: asked in parts, with canaries checked before anything depends
on a mask, and with requests that say nothing about what the masks say.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pytest
from e2e_support import Spy, open_on, small

import amaters as am
from amaters.base.errors import AmatersError
from amaters.client import refreshing
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.declare import build_table
from amaters.engine.service import Engine
from amaters.fhe.parameters import DEFAULT, INSECURE_N1024
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.explain import explain
from amaters.plan.expressions import (
    Aggregate,
    And,
    ColumnRef,
    Compare,
    In,
    Literal,
    Not,
    Or,
    OutputItem,
    Select,
    predicate_columns,
)
from amaters.plan.prepare import prepare
from amaters.plan.refresh import GAIN_MIN, plan_select, seconds
from amaters.plan.splitting import combine, pieces
from amaters.storage.database import open_memory
from amaters.wire import service_pb2 as pb

COLUMNS = {
    "k": am.Int64(primary_key=True),
    "p": am.Int16(nullable=True),
    **{name: am.UInt8(max=200, encrypt=["range", "eq", "sum"], nullable=True) for name in "abcd"},
    "g": am.Enum(["x", "y", "z"], encrypt=["group"], nullable=True),
}
NAMES = list(COLUMNS)
QUESTIONS = [
    "SELECT count(*) FROM t WHERE {where}",
    "SELECT count(*), sum(a), count(b), avg(c) FROM t WHERE {where}",
    "SELECT g, p, count(*), sum(d) FROM t WHERE {where} GROUP BY g, p ORDER BY g, p",
    "SELECT k, a, g FROM t WHERE {where} ORDER BY k",
    "SELECT k, b FROM t WHERE {where} ORDER BY b DESC NULLS LAST, k LIMIT 7",
    "SELECT sum(a) FILTER (WHERE {where}), count(*) FROM t WHERE b > 20",
]


def make_rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)

    def value() -> int | None:
        return draw.choice([None, *[draw.randrange(201) for _ in range(5)]])

    return [
        {
            "k": 7 * number,
            "p": draw.choice([None, 1, 2, 3]),
            **{name: value() for name in "abcd"},
            "g": draw.choice([None, "x", "y", "z"]),
        }
        for number in range(count)
    ]


def leaf(draw: random.Random) -> str:
    name, value = draw.choice("abcdabcdp"), draw.randrange(201)
    if name == "p":
        value = draw.randrange(4)
    return draw.choice(
        [
            f"{name} {draw.choice(['<', '<=', '>', '>=', '=', '<>'])} {value}",
            f"{name} BETWEEN {value} AND {value + draw.randrange(60)}",
            f"{name} IS {draw.choice(['', 'NOT '])}NULL",
            f"{name} IN ({value}, {value + 1}, NULL)",
            f"g {draw.choice(['=', '<>'])} '{draw.choice('xyz')}'",
            f"{name} = NULL",
            f"NOT ({name} < {value})",
        ]
    )


def tree(draw: random.Random, size: int, *, conjunction: bool) -> str:
    """A condition of about ``size`` leaves, of any shape, with NOT here and there."""
    if size == 1:
        return leaf(draw)
    cuts = draw.choice([2, 2, 3, 4])
    word = " AND " if conjunction else " OR "
    sizes = [max(1, size // cuts)] * cuts
    if draw.random() < 0.3:  # a long branch on one side
        sizes = [1, max(1, size - 1)]
    text = word.join(f"({tree(draw, part, conjunction=not conjunction)})" for part in sizes)
    return f"NOT ({text})" if draw.random() < 0.15 else text


def plain(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(v if v is None or isinstance(v, str) else float(v) for v in row) for row in rows]


class Pair:
    """The same rows in a database of ours and in DuckDB."""

    def __init__(self, db: am.Database, rows: list[dict[str, Any]], depth: str) -> None:
        self.db = db
        db.create_table("t", COLUMNS, depth=depth).insert(rows)
        db.table("t").filter(am.col("k") == 70).delete()
        self.duck = duckdb.connect()
        kinds = ", ".join(f"{n} {'TEXT' if n == 'g' else 'BIGINT'}" for n in NAMES)
        self.duck.execute(f"CREATE TABLE t ({kinds})")
        kept = [[row[name] for name in NAMES] for row in rows if row["k"] != 70]
        self.duck.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(NAMES))})", kept)

    def check(self, sql: str) -> am.Result:
        ours = self.db.sql(sql)
        assert plain(ours.rows()) == plain(self.duck.execute(sql).fetchall()), sql
        return ours


@pytest.fixture(scope="module", params=["default", "deep"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with am.connect(":memory:", **small("noop")) as db:
        yield Pair(db, make_rows(2300, 1), request.param)


@pytest.mark.parametrize(("size", "seed"), [(16, 1), (32, 3), (64, 5)])
def test_large_filters_equal_duckdb(pair: Pair, size: int, seed: int) -> None:
    """Trees of 16 to 64 leaves of any shape, with public conditions, constants and NULLs in them,
    under every kind of output, on tables of both depths.
    """
    draw = random.Random(seed)
    for number, question in enumerate(QUESTIONS if size < 64 else QUESTIONS[1::2]):
        where = tree(draw, size, conjunction=bool(number % 2))
        pair.check(question.format(where=where))


def chain(size: int, value: int | None = None) -> str:
    """Alternating ANDs and ORs nested ``size`` deep: a circuit takes a level for each."""
    text = "a < 100"
    for number in range(size):
        word = "AND" if number % 2 else "OR"
        bound = 200 - 3 * number if value is None else value
        text = f"({'abcd'[number % 4]} > {bound} {word} {text})"
    return text


def test_a_chain_beyond_any_depth_is_refreshed_on_deep_tables_too(pair: Pair) -> None:
    """Thirty nested conditions: more levels than even deep tables have."""
    for question in QUESTIONS[:4]:
        sql = question.format(where=chain(30))
        pair.check(sql)
        assert '"refresh"' in pair.db.explain(sql, format="json")


def test_joins_under_large_filters() -> None:
    """Vectors of a join are inputs of the parts, beside fresh masks in what runs after them."""
    draw = random.Random(3)
    facts = [
        {"k": 5 * number, "c": draw.randrange(30), "a": draw.choice([None, draw.randrange(200)])}
        for number in range(1950)
    ]
    towns = [
        {"id": number, "w": draw.randrange(200), "z": draw.choice("ns")} for number in range(25)
    ]
    where = "a < 100"
    for number in range(14):
        name, word = "aw"[number % 2], "AND" if number % 3 else "OR"
        where = f"({name} > {190 - 5 * number} {word} {where})"
    with am.connect(":memory:", **small("noop")) as db:
        secret = {"a": am.UInt8(max=200, encrypt=["range", "sum"], nullable=True)}
        db.create_table("f", {"k": am.Int64(primary_key=True), "c": am.Int32()} | secret)
        columns = {
            "id": am.Int32(primary_key=True),
            "w": am.UInt8(max=200, encrypt=["range", "sum"]),
            "z": am.Enum(["n", "s"], encrypt=["group"]),
        }
        db.create_table("c", columns).insert(towns)
        db.table("f").insert(facts)
        duck = duckdb.connect()
        duck.execute("CREATE TABLE f (k BIGINT, c INT, a INT)")
        duck.executemany("INSERT INTO f VALUES (?, ?, ?)", [[*row.values()] for row in facts])
        duck.execute("CREATE TABLE c (id INT, w INT, z TEXT)")
        duck.executemany("INSERT INTO c VALUES (?, ?, ?)", [[*row.values()] for row in towns])
        for items, rest in (
            ("z, count(*), sum(a), sum(w)", "GROUP BY z ORDER BY z"),
            ("count(*)", ""),
            ("k, w", "ORDER BY k"),
        ):
            sql = f"SELECT {items} FROM f JOIN c ON f.c = c.id WHERE {where} {rest}"
            assert plain(db.sql(sql).rows()) == plain(duck.execute(sql).fetchall())
            assert "Client refresh" in db.explain(sql)


def explained(db: am.Database, where: str, items: str = "count(*), sum(a)") -> str:
    return db.explain(f"SELECT {items} FROM t WHERE {where}")


def test_explain_shows_parts_rounds_and_what_is_learned(pair: Pair) -> None:
    text = explained(pair.db, chain(20))
    assert "Client refresh: masks of" in text
    assert "in 2 rounds whose size does not depend on data" in text
    assert "fresh masks sent back: this computation is too deep" in text
    assert "that fresh masks come back, one for every slot of every segment" in text
    assert "how the answers of the parts combine" in text
    counted = explained(pair.db, chain(20), "count(*)")
    assert " 0 fresh masks sent back" in counted and "in one round" in counted
    assert "a statement of this size" in explained(pair.db, chain(30))
    assert "Client refresh" not in explained(pair.db, "a < 3 AND b > 4")
    sql = f"SELECT sum(a) FROM t WHERE {chain(20)}"
    assert '"Node Type": "ClientRefresh"' in pair.db.explain(sql, format="pgjson")
    assert "Client refresh: masks of" in pair.db.explain(sql, format="mermaid")


class Recorder(Spy):
    """Shapes and sizes of all requests."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.seen: list[Any] = []

    async def put_constants(self, request: pb.PutConstantsRequest, chunks: Any) -> pb.Done:
        self.seen.append(("constants", tuple(request.sizes)))
        return await self.inner.put_constants(request, chunks)

    async def execute(self, request: pb.ExecuteRequest) -> Any:
        self.seen.append(("execute", len(request.plan), len(request.vector_segments)))
        stream = self.inner.execute(request)
        async for event in stream:
            yield self.changed("execute", event)
        await stream.aclose()


def requests_of(rows: list[dict[str, Any]], wheres: list[str], spy: Recorder) -> list[Any]:
    async def run() -> list[Any]:
        db = await open_on(spy, "bgv")
        await (await db.create_table("t", COLUMNS)).insert(rows)
        found = []
        for where in wheres:
            spy.seen.clear()
            await db.sql(f"SELECT g, count(*), sum(a) FROM t WHERE {where} GROUP BY g")
            found.append(list(spy.seen))
        await db.close()
        return found

    return asyncio.run(run())


def test_requests_do_not_depend_on_data_or_constants() -> None:
    """Nobody matches, everybody matches, other data: the same calls with the same sizes."""
    wheres = [chain(13, value) for value in (200, -1, 50, None)]  # equal constants or not
    made = []
    for seed in (1, 2):
        spy = Recorder(Engine(open_memory(), unsafe_scheme=True))
        made += requests_of(make_rows(1000, seed), wheres, spy)
    assert all(found == made[0] for found in made)
    kinds = [entry[0] for entry in made[0]]
    assert kinds.count("execute") >= 3 and made[0][-1][2] == 1


class Liar(Recorder):
    """An engine whose masks of one job are all zero."""

    def __init__(self, inner: Any, job: int) -> None:
        super().__init__(inner)
        self.job = job
        self.jobs = 0
        self.recorded: Any = None

    async def execute(self, request: pb.ExecuteRequest) -> Any:
        number, self.jobs = self.jobs, self.jobs + 1
        async for event in super().execute(request):
            if event.WhichOneof("event") == "mask":
                if number == 0:
                    self.recorded = event.mask.ciphertext
                elif number == self.job and self.recorded is not None:
                    event.mask.ciphertext = self.recorded  # of another part
            yield event


def test_a_part_that_lies_is_noticed_and_the_engine_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The masks of part 2 are those of part 1. The client raises, after it has asked for the same
    things as ever; what it uploaded encrypts zeros, so nothing depends on the lie.
    """
    where = chain(13)
    honest = Recorder(Engine(open_memory(), unsafe_scheme=True))
    expected = requests_of(make_rows(1000, 1), [where], honest)[0]
    sent: list[int] = []
    original = refreshing.execute

    async def spied(*arguments: Any) -> Any:
        if len(arguments) > 4:
            masks = [mask for found in arguments[4].values() for mask in found.values()]
            sent.extend(int(mask.sum()) for mask in masks)
        return await original(*arguments)

    monkeypatch.setattr(refreshing, "execute", spied)
    liar = Liar(Engine(open_memory(), unsafe_scheme=True), 1)
    with pytest.raises(AmatersError) as caught:
        requests_of(make_rows(1000, 1), [where], liar)
    assert caught.value.code == "AM-5001"
    assert liar.seen == expected
    assert sent and not any(sent)


def test_what_no_parts_help_is_refused_with_what_a_deep_table_could() -> None:
    """A single condition that is too deep, by a chain of primes that is cut short."""
    names = {"a": am.Int64(encrypt=["range"])}
    parameters = replace(INSECURE_N1024, data_primes=INSECURE_N1024.data_primes[:5])
    table = build_table("t", names, parameter_set=parameters.name, scheme="noop", key_id=b"k" * 16)
    count = (OutputItem("n", Aggregate("count_star")),)
    select = Select(table, And((Compare("<", 1, Literal(7)), Compare(">", 1, Literal(3)))), count)
    with pytest.raises(am.InvalidError) as caught:
        plan_select(select, table, Statistics(), parameters)
    assert caught.value.code == "AM-2301"
    assert "5 in insecure_bgv_n1024_q427_t65537 (20 with DEPTH = 'deep', where it fits)" in (
        caught.value.message
    )
    assert "DEPTH = 'deep'" in caught.value.fix


def test_constants_beyond_what_the_engine_takes_are_refused() -> None:
    """Two lists of 250 values over 64-bit columns at true parameters: their constants are sent in
    two parts, and one list with more than the limit is refused (AM-2312).
    """
    columns = {name: am.Int64(encrypt=["eq"]) for name in "ab"}
    table = build_table("t", columns, parameter_set=DEFAULT.name, scheme="bgv", key_id=b"k" * 16)
    count = (OutputItem("n", Aggregate("count_star")),)

    def asked(values: int) -> Select:
        lists = [In(c, tuple(Literal(9 * n) for n in range(values))) for c in (1, 2)]
        return Select(table, And(tuple(lists)), count)

    made = plan_select(asked(16), table, Statistics())
    assert made.refresh is not None and "of encrypted constants" in made.refresh.reason
    assert len(made.refresh.parts) == 2
    with pytest.raises(am.InvalidError) as caught:
        plan_select(asked(40), table, Statistics())
    assert caught.value.code == "AM-2312"
    assert "PUBLIC" in caught.value.fix


def test_a_plan_that_fits_is_refreshed_only_where_that_halves_its_time() -> None:
    """By cost at true parameters: eight wide conditions over many segments run in parts, two as
    they are; EXPLAIN names the other way. In small tables nobody gains.
    """
    from amaters.columns.declare import build_table
    from amaters.fhe.parameters import DEFAULT
    from amaters.plan.cost import Statistics
    from amaters.plan.expressions import (
        Aggregate,
        Compare,
        Literal,
        Or,
        OutputItem,
        Select,
    )

    columns = {f"c{n}": am.Int32(encrypt=["range", "sum"], nullable=True) for n in range(8)}
    table = build_table("t", columns, parameter_set=DEFAULT.name, scheme="bgv", key_id=b"k" * 16)
    total = (OutputItem("s", Aggregate("sum", ColumnRef(1))),)

    def chosen(count: int, segments: int) -> Any:
        where = Or(tuple(Compare("<", n + 1, Literal(50 + n)) for n in range(count)))
        select = Select(table, where, total)
        known = Statistics(segments, segments * 16_000)
        return plan_select(select, table, known), prepare(select, table, known), known

    made, direct, known = chosen(8, 4)
    assert made.refresh is not None and "in one circuit it would take" in made.refresh.reason
    times = [seconds(plan, table, DEFAULT, known) for plan in (made, direct)]
    assert times[0] * GAIN_MIN <= times[1]
    two, _, known = chosen(2, 4)
    assert two.refresh is None and "client refresh in" in two.considered
    assert "not half of the time" in explain(two, table, known)["considered"]
    assert chosen(8, 0)[0].refresh is None


class Truths:
    """What ``pieces`` asks: p and q are public, the rest is encrypted and never constant."""

    def is_public(self, column_id: int) -> bool:
        return column_id < 2

    def constant(self, leaf: Any) -> bool | None:
        return None


@pytest.mark.parametrize("seed", range(40))
def test_parts_combine_to_the_condition_itself(seed: int) -> None:
    """In three-valued logic, for every split size: evaluated in plaintext over random truths."""
    draw = random.Random(seed)
    columns = {name: am.Int16(nullable=True) for name in "pqabc"}
    table = build_table("t", columns, parameter_set="x", scheme="noop", key_id=b"k" * 16)
    ids = [column.id for column in table.columns if column.name in columns]
    base = min(ids)
    values = {
        c: ColumnValues(
            np.array([draw.randrange(2) for _ in range(243)], dtype=np.int16),
            np.array([draw.random() < 0.7 for _ in range(243)]),
        )
        for c in ids
    }
    rows = ColumnBatch(values, 243)

    def made(depth: int) -> Any:
        if depth == 0 or draw.random() < 0.2:
            return Compare("=", draw.choice(ids), Literal(1))
        if draw.random() < 0.25:
            return Not(made(depth - 1))
        kind = draw.choice([And, Or])
        return kind(tuple(made(depth - 1) for _ in range(draw.choice([2, 3]))))

    where = And((made(4), Or((made(3), Compare("=", base + 2, Literal(1))))))
    known = Truths()
    known.is_public = lambda column_id: column_id < base + 2  # type: ignore[method-assign]
    whole = matches(where, rows, table)
    for size in (1, 3):
        parts, combination = pieces(where, known, size)
        got = combine(combination, [matches(part, rows, table) for part in parts])
        for child in _public_conjuncts(where, known):
            got = got & matches(child, rows, table)
        assert (got == whole).all()


def _all_public(predicate: Any, known: Truths) -> bool:
    return all(known.is_public(column) for column in predicate_columns(predicate))


def _public_conjuncts(predicate: Any, known: Truths) -> list[Any]:
    """Public parts of the outermost conjunction, however it is nested or negated."""

    def found(node: Any, negated: bool) -> list[Any]:
        if _all_public(node, known):
            return [Not(node) if negated else node]
        if isinstance(node, Not):
            return found(node.child, not negated)
        if isinstance(node, (And, Or)) and isinstance(node, And) != negated:
            return [part for child in node.children for part in found(child, negated)]
        return []

    return found(predicate, False)
