"""Trees to bound statements: names, constants, clauses, and what is refused with which code."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from sql_support import run, select, table, where

from amaters.base.errors import AmatersError, InvalidError
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    CopyFrom,
    CreateTable,
    DropTable,
    Explain,
    In,
    Insert,
    IsNull,
    Literal,
    Not,
    Or,
    OrderItem,
    Truth,
)

AGE, BORN, FULL_TIME, RATE = 3, 7, 8, 9


def test_declarations_of_create_table() -> None:
    """Types, NULL, bounds, categories and capabilities arrive as they were written."""
    made = table()
    age, salary, grade = made.column("age"), made.column("salary"), made.column("grade")
    assert (age.minimum, age.maximum, age.nullable) == (0, 120, True)
    assert sorted(salary.queries) == ["range", "sum"] and not salary.nullable
    assert grade.categories == ("A", "B", "C")
    assert made.column("notes").encrypted and not made.column("notes").queries
    assert made.column("rate").minimum == -150
    assert made.column("born").maximum == datetime.date(2030, 12, 31).toordinal() - 719163
    assert made.primary_key.name == "id" and not made.column("dept").encrypted


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("TINYINT", "TINYINT"), ("SMALLINT", "SMALLINT"), ("INTEGER", "INTEGER"),
        ("INT", "INTEGER"), ("BIGINT", "BIGINT"), ("UTINYINT", "UTINYINT"),
        ("USMALLINT", "USMALLINT"), ("UINTEGER", "UINTEGER"), ("UBIGINT", "UBIGINT"),
        ("DECIMAL(9,3)", "DECIMAL(9,3)"), ("NUMERIC(5)", "DECIMAL(5,0)"),
        ("DECIMAL", "DECIMAL(18,3)"), ("DATE", "DATE"), ("BOOLEAN", "BOOLEAN"), ("BOOL", "BOOLEAN"),
        ("TEXT", "TEXT"), ("VARCHAR(20)", "TEXT"), ("VARCHAR", "TEXT"),
    ],
)  # fmt: skip
def test_types(sql: str, name: str) -> None:
    """The names of types that DuckDB users write."""
    created = run(f"CREATE TABLE x (a {sql}, b INTEGER)")
    assert isinstance(created, CreateTable)
    assert created.table.column("a").type.sql_name == name
    assert created.table.primary_key.hidden


def test_primary_key_after_the_columns_and_if_not_exists() -> None:
    """The table-level spelling means the same."""
    created = run("CREATE TABLE IF NOT EXISTS x (a INTEGER, b DATE, PRIMARY KEY (b))")
    assert isinstance(created, CreateTable) and created.if_not_exists
    assert created.table.primary_key.name == "b" and not created.table.primary_key.nullable


def test_values_of_numbers_and_dates_are_read_as_their_type() -> None:
    """VALUES is one text with commas, or a list."""
    sql = "CREATE TABLE x (a {} ENCRYPTED WITH (QUERIES = 'group', VALUES = {}))"
    for type_, values, expected in [
        ("INTEGER", "'1, 2,-3'", (1, 2, -3)),
        ("INTEGER", "(1, 2, -3)", (1, 2, -3)),
        ("DECIMAL(4,1)", "'0.5,2'", (5, 20)),
        ("DATE", "('1970-01-02', DATE '1970-01-03')", (1, 2)),
        ("TEXT", "('a,b', 'c')", ("a,b", "c")),
    ]:
        created = run(sql.format(type_, values))
        assert isinstance(created, CreateTable)
        assert created.table.column("a").categories == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("age > 40", Compare(">", AGE, Literal(40))),
        ("40 < age", Compare(">", AGE, Literal(40))),
        ("40 >= age", Compare("<=", AGE, Literal(40))),
        ("pay.AGE <> 40", Compare("<>", AGE, Literal(40))),
        ("age != -1", Compare("<>", AGE, Literal(-1))),
        ("age = 40.5", Compare("=", AGE, Literal(Decimal("40.5")))),
        ("age = '41'", Compare("=", AGE, Literal(41))),
        ("age = PUBLIC(41)", Compare("=", AGE, Literal(41, public=True))),
        ("age = NULL", Compare("=", AGE, Literal(None))),
        ("rate = 0.06 - 0.01", Compare("=", RATE, Literal(Decimal("0.05")))),
        ("rate = 10 / 4", Compare("=", RATE, Literal(Decimal("2.5")))),
        ("age = 2 * (3 + 4) - 1", Compare("=", AGE, Literal(13))),
        ("age = CAST(7 AS SMALLINT)", Compare("=", AGE, Literal(7))),
        ("born < DATE '1995-01-01'", Compare("<", BORN, Literal(datetime.date(1995, 1, 1)))),
        ("born < '1995-1-1'", Compare("<", BORN, Literal(datetime.date(1995, 1, 1)))),
        (
            "born < DATE '1994-01-31' + INTERVAL '1' MONTH",
            Compare("<", BORN, Literal(datetime.datetime(1994, 2, 28))),
        ),
        (
            "born < DATE '1994-12-31' + INTERVAL 1 YEAR - INTERVAL '2 weeks'",
            Compare("<", BORN, Literal(datetime.datetime(1995, 12, 17))),
        ),
        ("born = DATE '9999-12-01' + 30", Compare("=", BORN, Literal(datetime.date.max))),
        ("\"full time\"", Compare("=", FULL_TIME, Literal(True))),
        ("\"Full Time\" = 'true'", Compare("=", FULL_TIME, Literal(True))),
        ("age BETWEEN 1 AND 2", Between(AGE, Literal(1), Literal(2))),
        ("age NOT BETWEEN 1 AND 2", Not(Between(AGE, Literal(1), Literal(2)))),
        ("5 BETWEEN 1 AND age", And((Truth(True), Compare(">=", AGE, Literal(5))))),
        ("age IN (1, NULL)", In(AGE, (Literal(1), Literal(None)))),
        ("age IN ()", Truth(False)),
        ("age IS NULL", IsNull(AGE)),
        ("age IS NOT NULL", Not(IsNull(AGE))),
        ("age IS NOT DISTINCT FROM NULL", IsNull(AGE)),
        (
            "\"Full Time\" IS NOT TRUE",
            Not(And((IsNull(FULL_TIME, negated=True), Compare("=", FULL_TIME, Literal(True))))),
        ),
        ("1 = 1", Truth(True)),
        ("NULL = 1", Truth(None)),
        ("'b' < 'a'", Truth(False)),
        ("TRUE", Truth(True)),
        (
            "age = 1 AND (age = 2 AND age = 3) OR age = 4",
            Or(
                (
                    And(tuple(Compare("=", AGE, Literal(n)) for n in (1, 2, 3))),
                    Compare("=", AGE, Literal(4)),
                )
            ),
        ),
    ],
)  # fmt: skip
def test_conditions(condition: str, expected: object) -> None:
    """Each form of condition and of constant, folded exactly."""
    assert where(condition) == expected


def test_long_chains_do_not_recurse() -> None:
    """A chain of 3,000 OR is flat, as programs write them."""
    bound = where(" OR ".join(f"age = {n}" for n in range(3000)))
    assert isinstance(bound, Or) and len(bound.children) == 3000


def test_parameters() -> None:
    """By position and by name, with the types that programs pass."""

    def expected(a: str, r: str) -> And:
        age, rate = Literal(5, origin=(a,)), Literal(Decimal("0.05"), origin=(r,))
        return And((Compare("=", AGE, age), Compare("<", RATE, rate)))

    assert where("age = ? AND rate < ?", [5, 0.05]) == expected("?0", "?1")
    named = {"a": 5, "r": Decimal("0.05")}
    assert where("age = :a AND rate < :r", named) == expected(":a", ":r")
    assert where("age = PUBLIC(?)", [None]) == Compare("=", AGE, Literal(None, public=True))
    assert select("SELECT id FROM pay LIMIT ? OFFSET ?", [3, 2]).offset == 2


@pytest.mark.parametrize(
    ("condition", "parameters"),
    [
        ("age = ?", []),
        ("age = ?", [1, 2]),
        ("age = ?", {"a": 1}),
        ("age = :a", [1]),
        ("age = :a", {"a": 1, "b": 2}),
        ("age = :a AND age = ?", [1]),
        ("age = ?", "x"),
        ("age = ?", [object()]),
        ("age = ?", [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)]),
        ("age = ?", [float("nan")]),
        ("age = ?", None),
    ],
)
def test_parameters_that_do_not_fit(condition: str, parameters: object) -> None:
    """Too few, too many, mixed, or of a type that has no SQL value."""
    with pytest.raises(InvalidError) as caught:
        where(condition, parameters)
    assert caught.value.code == "AM-2206"


def test_select_list_names_and_groups() -> None:
    """Columns get DuckDB's names; positions, aliases and hidden sort keys resolve."""
    bound = select(
        'SELECT p.grade g, COUNT(*), SUM(rate * salary), avg(Rate), COUNT(dept), 1 AS "one" '
        "FROM pay AS p GROUP BY 1 ORDER BY SUM(rate) DESC NULLS FIRST, g, count(*)"
    )
    names = [item.name for item in bound.items]
    expected = ["g", "count_star()", "sum((rate * salary))", "avg(Rate)", "count(dept)", "one"]
    assert names[:6] == expected and bound.hidden == 1
    assert bound.items[2].expression == Aggregate(
        "sum", Arithmetic("*", ColumnRef(9), ColumnRef(4))
    )
    assert bound.items[6].expression == Aggregate("sum", ColumnRef(9))
    assert bound.group_by == (5,)
    assert bound.order_by == (OrderItem(6, True, True), OrderItem(0), OrderItem(1))


def test_sort_keys_outside_the_list() -> None:
    """A column that is not selected sorts as well; an alias wins over a column of its name."""
    bound = select("SELECT age AS rate FROM pay ORDER BY rate, salary DESC")
    assert bound.order_by == (OrderItem(0), OrderItem(ColumnRef(4), True))


def test_star_hides_the_row_id() -> None:
    """SELECT * returns declared columns only."""
    assert len(select("SELECT * FROM pay").items) == 9
    assert len(select("SELECT pay.*, id FROM pay").items) == 10


def test_other_statements() -> None:
    """INSERT, COPY, DROP and EXPLAIN."""
    insert = run("INSERT INTO pay (id, salary, born) VALUES (1, 2 + 3, '2001-02-03'), (2, 0, NULL)")
    assert isinstance(insert, Insert) and insert.batch.length == 2
    assert insert.batch.columns[4].values.tolist() == [5, 0]
    copy = run("COPY pay (id, age) FROM 'f.csv' (HEADER, DELIM '|', NULLSTR 'NA')")
    assert isinstance(copy, CopyFrom)
    expected = {"columns": ("id", "age"), "header": True, "delimiter": "|", "null": "NA"}
    assert dict(copy.options) == expected
    assert run("DROP TABLE IF EXISTS Pay") == DropTable("Pay", if_exists=True)
    explain = run("EXPLAIN (FORMAT json) SELECT id FROM pay")
    assert isinstance(explain, Explain) and explain.format == "json"


REFUSED = {
    "AM-2203": ["SELECT a FROM pya", "INSERT INTO x VALUES (1)", "COPY x FROM 'f'"],
    "AM-2204": ["SELECT agee FROM pay", "SELECT x.age FROM pay", "SELECT pay.age FROM pay p"],
    "AM-2205": [
        "SELECT 1", "SELECT stddev(age) FROM pay",
        "SELECT dept FROM pay GROUP BY dept HAVING stddev(age) > 1",
        "WITH x AS (SELECT 1) SELECT age FROM pay", "SELECT age FROM main.pay",
        "SELECT age FROM pay WHERE dept ILIKE 'x%'", "SELECT age FROM pay WHERE age IN (SELECT 1)",
        "SELECT age FROM pay WHERE EXISTS (SELECT 1)", "SELECT sum(age) OVER () FROM pay",
        "SELECT age FROM pay GROUP BY ALL",
        "SELECT age FROM pay LIMIT 5%", "SELECT age FROM pay USING SAMPLE 5",
        "SELECT age FROM pay FOR UPDATE", "SELECT * EXCLUDE (age) FROM pay",
        "SELECT DISTINCT ON (age) age FROM pay", "SELECT age FROM read_csv('x')",
        "SELECT age FROM pay QUALIFY TRUE",
        "SELECT age FROM pay WHERE age = abs(-1)",
        "SELECT age FROM pay WHERE age = CAST(1.5 AS INT)",
        "SELECT age FROM pay WHERE age BETWEEN SYMMETRIC 2 AND 1",
        "INSERT INTO pay SELECT 1", "INSERT OR ABORT INTO pay (id) VALUES (1)",
        "INSERT INTO pay (id) VALUES (1) RETURNING id",
        "INSERT INTO pay (id) VALUES (1) ON CONFLICT ON CONSTRAINT pk DO NOTHING",
        "CREATE TABLE x AS SELECT 1", "CREATE TEMP TABLE x (a INT)",
        "CREATE OR REPLACE TABLE x (a INT)", "CREATE TABLE x (a DOUBLE)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE x (a INT UNIQUE)", "CREATE TABLE x (a INT CHECK (a > 1))",
        "CREATE TABLE x (a INT CHECK (a > 1))", "CREATE TABLE x (a INT REFERENCES pay (id))",
        "CREATE TABLE x (a INT ENCRYPTED WITH (COLOUR = 'red'))",
        "CREATE TABLE x (a INT) WITH (SPEED = 1)",
        "CREATE TABLE x (a INT, b INT, PRIMARY KEY (a, b))", "CREATE TABLE x (a)",
        "DROP VIEW pay", "DROP TABLE pay, x", "DROP TABLE pay CASCADE",
        "COPY pay TO 'f.csv'", "COPY pay FROM 'f.csv' (FORMAT json)",
        "COPY pay FROM 'f.csv' (FORCE_NULL (a))",
    ],
    "AM-2207": [
        "SELECT age FROM pay HAVING age > 1", "SELECT 1 FROM pay HAVING age > 1",
        "SELECT age AS a, count(*) FROM pay GROUP BY dept HAVING a > 1",
        "SELECT age, count(*) FROM pay", "SELECT * FROM pay GROUP BY grade",
        "SELECT count(*) FROM pay ORDER BY age",
    ],
    "AM-2031": ["CREATE INDEX i ON pay (age)"],
    "AM-2208": [
        "SELECT age FROM pay WHERE age = 'x'", "SELECT age FROM pay WHERE age = TRUE",
        "SELECT age FROM pay WHERE dept = 5", "SELECT age FROM pay WHERE born = 5",
        "SELECT age FROM pay WHERE born = '2020-13-01'", "SELECT age FROM pay WHERE age",
        "SELECT age FROM pay WHERE 5", "SELECT age FROM pay WHERE 1 = 'x'",
        "SELECT age FROM pay WHERE age = '1.5'", "SELECT age FROM pay WHERE rate = 1 / 3",
        "SELECT age FROM pay WHERE age = -'x'", "SELECT age FROM pay WHERE age = 1 + 'x'",
        "SELECT age FROM pay WHERE born < DATE '9999-12-31' + 1",
        "SELECT age FROM pay WHERE born < INTERVAL '1' DAY",
        "SELECT sum(dept) FROM pay", "SELECT avg(born) FROM pay", "SELECT age FROM pay LIMIT -1",
        "SELECT age FROM pay LIMIT 'x'", "SELECT age FROM pay ORDER BY 2",
        "SELECT age FROM pay GROUP BY 2", "SELECT count(*) FROM pay GROUP BY 1",
        "SELECT DISTINCT age FROM pay ORDER BY salary", "SELECT age FROM pay ORDER BY sum(rate)",
        "SELECT age FROM pay WHERE age = PUBLIC(1, 2)", "CREATE TABLE x (a INT, a INT)",
        "CREATE TABLE x (a INT) WITH (DEPTH = 'abyss')", "CREATE TABLE x (a INT, PRIMARY KEY (b))",
        "COPY pay FROM 'f.csv' (DELIMITER '||')", "COPY pay FROM 'f.csv' (HEADER 'maybe')",
    ],
    "AM-2001": ["INSERT INTO pay (id, x) VALUES (1, 2)"],
    "AM-2002": ["INSERT INTO pay (id, salary) VALUES ('x', 1)"],
    "AM-2003": ["INSERT INTO pay (id, salary) VALUES (1, 1000001)"],
    "AM-2004": ["INSERT INTO pay (id) VALUES (1)"],
    "AM-2007": ["INSERT INTO pay (id, salary) VALUES (1)"],
    "AM-2022": ["CREATE TABLE x (a INT PRIMARY KEY ENCRYPTED)"],
    "AM-2025": ["CREATE TABLE x (a INT ENCRYPTED WITH (QUERIES = 'group'))"],
    "AM-2027": ["CREATE TABLE x (a INT ENCRYPTED WITH (MIN = 'x'))"],
    "AM-2028": ["CREATE TABLE x (a INT ENCRYPTED WITH (QUERIES = 'all'))"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in REFUSED.items() for text in texts]
)
def test_refusals(code: str, text: str) -> None:
    """What is not answered is refused with its code, a message and a fix: nothing is ignored."""
    with pytest.raises(AmatersError) as caught:
        run(text)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.kind == "Invalid" and caught.value.fix


def test_refusals_say_where_and_what_was_meant() -> None:
    """Position of the token and the nearest name."""
    with pytest.raises(InvalidError) as caught:
        run("SELECT id,\n  salray FROM pay")
    assert "line 2, column 3" in str(caught.value) and "did you mean salary?" in str(caught.value)
    with pytest.raises(InvalidError) as caught:
        run("SELECT id FROM pai")
    assert "did you mean Pay?" in str(caught.value)


def test_messages_contain_no_values() -> None:
    """A refused constant of an encrypted column is not repeated."""
    for text in (
        "SELECT id FROM pay WHERE age = 'tops3cret'",
        "INSERT INTO pay VALUES ('tops3cret')",
    ):
        with pytest.raises(InvalidError) as caught:
            run(text)
        assert "tops3cret" not in str(caught.value)
