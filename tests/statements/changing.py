"""Random changes of the tables of ``tables``, each as one text for AmateRS and one for DuckDB.

Rows come and go by key, by public and by encrypted conditions; columns are added, dropped, renamed,
and get or lose what may be asked of them; the generator of SELECTs goes on with the table as it
then is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .constants import named
from .generator import Generator
from .tables import INTEGERS, NUMBERS, ColumnCase, TableCase, anything, limits, new_column, quoted

COLUMNS_MAX = 28


@dataclass(frozen=True)
class Change:
    """One statement. ``duck`` is empty where DuckDB has nothing to do.

    ``done``: what the table is like once it was accepted. ``counts``: it reports changed rows.
    """

    kind: str
    sql: str
    duck: str
    parameters: list[Any]
    done: Callable[[], None]
    counts: bool = False


def nothing() -> None:
    """The table's columns stay as they are."""


@dataclass
class Changer:
    """Makes changes of one table after the other."""

    generator: Generator
    rng: random.Random
    indexes: dict[str, list[str]] = field(default_factory=dict)
    made: int = 0

    def change(self) -> Change:
        """The next change."""
        table = self.rng.choice(self.generator.tables)
        kinds: list[tuple[Callable[[TableCase], Change], int]] = [
            (self._insert, 4),
            (self._replace, 2),
            (self._update, 6),
            (self._update_by_key, 3),
            (self._delete, 3),
            (self._index, 1),
            (self._alter, 4),
        ]
        (chosen,) = self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])
        return chosen(table)

    # ---- rows --------------------------------------------------------------------------------

    def _row(self, table: TableCase, key: int | None = None) -> list[Any]:
        keys = table.data["k"]
        if key is None:
            key = self.rng.choice(keys) + self.rng.randint(1, 10**6) * 10**6
            keys.append(key)
        return [key, *(column.value(self.rng) for column in table.columns[1:])]

    def _values(self, table: TableCase, rows: list[list[Any]]) -> str:
        names = ", ".join(named(column) for column in table.columns)
        texts = (f"({', '.join(map(quoted, row))})" for row in rows)
        return f"{table.name} ({names}) VALUES {', '.join(texts)}"

    def _insert(self, table: TableCase) -> Change:
        rows = [self._row(table) for _ in range(self.rng.randint(1, 12))]
        text = f"INSERT INTO {self._values(table, rows)}"
        return Change("INSERT", text, text, [], nothing, counts=True)

    def _replace(self, table: TableCase) -> Change:
        """Rows by key, some of them there already."""
        if not table.columns[0].unique:
            return self._insert(table)
        keys = self.rng.sample(table.data["k"], 3)
        rows = [self._row(table, key) for key in keys] + [self._row(table)]
        values = self._values(table, rows)
        gone = f"DELETE FROM {table.name} WHERE k IN ({', '.join(map(str, keys))})"
        duck = f"{gone}; INSERT INTO {values}"
        return Change("REPLACE", f"INSERT OR REPLACE INTO {values}", duck, [], nothing)

    def _assignments(self, table: TableCase) -> str:
        chosen = self.rng.sample(table.columns[1:], self.rng.randint(1, 3))
        return ", ".join(f"{named(c)} = {self._value(table, c)}" for c in chosen)

    def _value(self, table: TableCase, column: ColumnCase) -> str:
        small = column.kind in INTEGERS and column.low is None and not column.categories
        if small and self.rng.random() < 0.3:
            return f"{named(column)} + {self.rng.choice([0, 1])}"
        return quoted(column.value(self.rng))

    def _update(self, table: TableCase) -> Change:
        where, parameters = self.generator.condition(table)
        text = f"UPDATE {table.name} SET {self._assignments(table)} WHERE {where}"
        return Change("UPDATE", text, text, parameters, nothing, counts=True)

    def _keys(self, table: TableCase) -> str:
        low = self.rng.choice(table.data["k"])
        if self.rng.random() < 0.5:
            return f"k BETWEEN {low} AND {low + self.rng.randint(0, 2000)}"
        keys = self.rng.sample(table.data["k"], self.rng.randint(1, 5))
        return f"k IN ({', '.join(map(str, keys))})" if len(keys) > 1 else f"k = {keys[0]}"

    def _update_by_key(self, table: TableCase) -> Change:
        text = f"UPDATE {table.name} SET {self._assignments(table)} WHERE {self._keys(table)}"
        return Change("UPDATE by key", text, text, [], nothing, counts=True)

    def _delete(self, table: TableCase) -> Change:
        """By key, or what a condition leaves of a run of keys, so that rows remain."""
        text = f"DELETE FROM {table.name} WHERE {self._keys(table)}"
        parameters: list[Any] = []
        if self.rng.random() < 0.6:
            where, parameters = self.generator.condition(table)
            low = self.rng.choice(table.data["k"])
            text = f"DELETE FROM {table.name} WHERE k BETWEEN {low} AND {low + 9000} AND ({where})"
        return Change("DELETE", text, text, parameters, nothing, counts=True)

    # ---- tables ------------------------------------------------------------------------------

    def _index(self, table: TableCase) -> Change:
        known = self.indexes.setdefault(table.name, [])
        if known and self.rng.random() < 0.5:
            name = known[0]
            return Change("DROP INDEX", f"DROP INDEX {name}", "", [], lambda: known.remove(name))
        public = [c for c in table.columns[1:] if not c.encrypted]
        if not public:
            return self._insert(table)
        self.made += 1
        name, column = f"i{self.made}", self.rng.choice(public)
        text = f"CREATE INDEX {name} ON {table.name} ({named(column)})"
        return Change("CREATE INDEX", text, "", [], lambda: known.append(name))

    def _alter(self, table: TableCase) -> Change:
        forms: list[Callable[[TableCase], Change | None]] = [
            self._add_column,
            self._drop_column,
            self._rename_column,
            self._add_query,
            self._drop_query,
            self._widen,
            self._add_value,
        ]
        self.rng.shuffle(forms)
        found = (made for form in forms if (made := form(table)) is not None)
        return next(found)

    def _altered(
        self, table: TableCase, action: str, done: Callable[[], None], *, duck: bool
    ) -> Change:
        text = f"ALTER TABLE {table.name} {action}"
        kind = "ALTER " + " ".join(w for w in action.split() if w.isupper() and len(w) > 2)
        return Change(kind, text, text if duck else "", [], done)

    def _add_column(self, table: TableCase) -> Change | None:
        if len(table.columns) >= COLUMNS_MAX:
            return None
        self.made += 1
        column = new_column(f"a{self.made}", self.rng)
        default = anything(column, self.rng)
        table_text = f"ALTER TABLE {table.name} ADD COLUMN "
        filled = f" DEFAULT {quoted(default)}" if self.rng.random() < 0.5 else ""
        return Change(
            "ALTER ADD COLUMN",
            f"{table_text}{column.ddl()}{filled}",
            f'{table_text}"{column.name}" {column.sql_type}{filled}',
            [],
            lambda: self._added(table, column),
        )

    @staticmethod
    def _added(table: TableCase, column: ColumnCase) -> None:
        table.columns.append(column)
        table.data[column.name] = [None]

    def _drop_column(self, table: TableCase) -> Change | None:
        droppable = [c for c in table.columns if c.encrypted and c.name.startswith(("a", "v"))]
        if len(table.columns) < COLUMNS_MAX - 4 or not droppable:
            return None
        column = self.rng.choice(droppable)
        return self._altered(
            table, f"DROP COLUMN {column.name}", lambda: table.columns.remove(column), duck=True
        )

    def _rename_column(self, table: TableCase) -> Change | None:
        column = self.rng.choice(table.columns[1:])
        self.made += 1
        old, new = column.name, f"{column.name[0].lower()}r{self.made}"

        def done() -> None:
            column.name = new
            table.data[new] = table.data.pop(old)

        return self._altered(table, f"RENAME COLUMN {named(column)} TO {new}", done, duck=True)

    def _add_query(self, table: TableCase) -> Change | None:
        possible = [
            (c, query)
            for c in table.columns
            if c.encrypted and not c.categories and c.kind != "TEXT"
            for query in ("eq", "range", *(("sum",) if c.kind in NUMBERS else ()))
            if query not in c.queries
        ]
        if not possible:
            return None
        column, query = self.rng.choice(possible)

        def done() -> None:
            column.queries = (*column.queries, query)

        action = f"ALTER COLUMN {named(column)} ADD QUERY {query}"
        return self._altered(table, action, done, duck=False)

    def _drop_query(self, table: TableCase) -> Change | None:
        possible = [c for c in table.columns if "sum" in c.queries and not c.categories]
        if not possible:
            return None
        column = self.rng.choice(possible)

        def done() -> None:
            column.queries = tuple(query for query in column.queries if query != "sum")

        action = f"ALTER COLUMN {named(column)} DROP QUERY sum"
        return self._altered(table, action, done, duck=False)

    def _widen(self, table: TableCase) -> Change | None:
        possible = [c for c in table.columns if c.encrypted and c.high is not None]
        possible = [c for c in possible if c.kind in INTEGERS and c.high < limits(c.kind)[1]]
        if not possible:
            return None
        column = self.rng.choice(possible)
        wider = min(limits(column.kind)[1], column.high + self.rng.randint(1, 400))

        def done() -> None:
            column.high = wider

        action = f"ALTER COLUMN {named(column)} SET MAX {wider}"
        return self._altered(table, action, done, duck=False)

    def _add_value(self, table: TableCase) -> Change | None:
        possible = [c for c in table.columns if c.encrypted and 0 < len(c.categories) < 6]
        possible = [c for c in possible if c.kind != "BOOLEAN"]
        if not possible:
            return None
        column = self.rng.choice(possible)
        value = anything(column, self.rng)
        if value in column.categories:
            return None

        def done() -> None:
            column.categories = (*column.categories, value)
            column.pool = [*column.pool, value]

        action = f"ALTER COLUMN {named(column)} ADD VALUE {quoted(value)}"
        return self._altered(table, action, done, duck=False)
