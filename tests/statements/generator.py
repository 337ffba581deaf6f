"""Random statements over the tables of ``tables``, led to where coverage is thinnest.

Each statement is one text for AmateRS and one for DuckDB. They differ only in how averages and
products are written, so that DuckDB gives them exactly: an average as its sum and count.
"""

from __future__ import annotations

import datetime
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .constants import Case, Cell, constant_of, named, needed
from .tables import INTEGERS, NUMBERS, TYPES, ColumnCase, TableCase, quoted

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
LEAVES = (*COMPARISONS, "BETWEEN", "IN", "IS NULL")
CONNECTORS = ("AND", "OR", "NOT")
AGGREGATES = ("COUNT", "SUM", "AVG")
CLAUSES = ("GROUP BY", "ORDER BY", "LIMIT", "selection")
OPERATORS = (*LEAVES, *CONNECTORS, *AGGREGATES, *CLAUSES)


def applicable(operator: str, kind: str) -> bool:
    """Whether an operator means something for a type at all."""
    return operator not in ("SUM", "AVG") or kind in NUMBERS


ALL_CELLS = tuple(
    (operator, kind, nullable)
    for operator in OPERATORS
    for kind in TYPES
    for nullable in (False, True)
    if applicable(operator, kind)
)


@dataclass
class Generator:
    """Makes statements with up to ``leaves_max`` conditions, ``secret_leaves_max`` of them over
    encrypted columns.

    ``orders``: the share of extremes and quantiles among aggregates. ``seen`` counts operators by
    type and nullability of the columns they touch, ``secret`` the same over encrypted columns.
    """

    tables: list[TableCase]
    rng: random.Random
    leaves_max: int = 9
    secret_leaves_max: int = 3
    orders: float = 0.0
    seen: Counter[Cell] = field(default_factory=Counter)
    secret: Counter[Cell] = field(default_factory=Counter)

    def case(self) -> Case:
        """The next statement."""
        return _Statement(self, self.rng.choice(self.tables)).build()

    def condition(self, table: TableCase) -> tuple[str, list[Any]]:
        """A condition over a few columns, and its parameters."""
        return _Statement(self, table).condition()

    def impossible(self) -> str:
        """A statement that asks an encrypted column for what it was not declared for."""
        table = self.rng.choice(self.tables)
        uses = [("range", "COUNT(*)", "{} > {}"), ("eq", "COUNT(*)", "{} IN ({})")]
        uses += [("sum", "SUM({})", "TRUE"), ("group", "{}, COUNT(*)", "TRUE GROUP BY {}")]
        missing = [
            (use, column)
            for column in table.columns
            for use in uses
            if not column.can(use[0]) and (use[0] != "sum" or column.kind in NUMBERS)
        ]
        (_, item, where), column = self.rng.choice(missing)
        name, constant = named(column), quoted(column.pool[0])
        text = where.format(name, constant)
        return f"SELECT {item.format(name)} FROM {table.name} WHERE {text}"

    def thinnest(
        self, choices: list[tuple[str, ColumnCase]], samples: int = 24
    ) -> tuple[str, ColumnCase]:
        """Of some random choices the one whose cell has been seen least."""
        drawn = [self.rng.choice(choices) for _ in range(samples)]
        return min(drawn, key=lambda pair: self._coverage(*pair))

    def _coverage(self, operator: str, column: ColumnCase) -> float:
        """How often a cell was met; an encrypted column counts where those are behind."""
        cell = (operator, *column.cell)
        return (
            min(self.seen[cell], 2.5 * self.secret[cell]) if column.encrypted else self.seen[cell]
        )


class _Statement:
    def __init__(self, generator: Generator, table: TableCase) -> None:
        self.generator = generator
        self.rng = generator.rng
        self.table = table
        self.cells: Counter[Cell] = Counter()
        self.parameters: list[Any] = []
        self.with_parameters = self.rng.random() < 0.3
        self.secret_cells: Counter[Cell] = Counter()
        self.selected: list[ColumnCase] = []
        self.secret_leaves = generator.secret_leaves_max

    def build(self) -> Case:
        kind = self.rng.choices(["rows", "totals", "groups"], [3, 3, 5])[0]
        make: Callable[[], tuple[list[str], list[str], set[int], list[ColumnCase]]]
        make = {"rows": self._rows, "totals": self._totals, "groups": self._groups}[kind]
        ours, theirs, averages, groups = make()
        where = self._where()
        having = "" if kind == "rows" else self._having(groups)
        tail, ordered = self._tail(kind, groups)
        group = f" GROUP BY {', '.join(map(named, groups))}" if groups else ""
        source = f" FROM {self.table.name}{where}{group}{having}{tail}"
        self.generator.seen.update(self.cells)
        self.generator.secret.update(self.secret_cells)
        return Case(
            sql=f"SELECT {', '.join(ours)}{source}",
            duck=f"SELECT {', '.join(theirs)}{source}",
            parameters=self.parameters,
            table=self.table,
            cells=self.cells,
            averages=averages,
            ordered=ordered,
        )

    def touch(self, operator: str, *columns: ColumnCase) -> None:
        """Count an operator for the columns it is applied to."""
        for column in columns:
            self.cells[(operator, *column.cell)] += 1
            self.secret_cells[(operator, *column.cell)] += column.encrypted

    # ---- select lists ----------------------------------------------------------------------

    def _rows(self) -> tuple[list[str], list[str], set[int], list[ColumnCase]]:
        if self.rng.random() < 0.2:
            self.touch("selection", *self.table.columns)
            return ["*"], ["*"], set(), []
        columns = self.rng.sample(self.table.columns, self.rng.randint(1, 5))
        wanted = [("selection", column) for column in self.table.columns]
        columns[0] = self.generator.thinnest(wanted)[1]
        if self.rng.random() < 0.7:
            columns.append(self.table.unique)
        self.touch("selection", *columns)
        self.selected = columns
        names = [named(column) for column in columns]
        if self.rng.random() < 0.1:
            names.append("42 AS answer")
        ours, theirs = list(names), list(names)
        if self.rng.random() < 0.2:
            made = self._row_value()
            ours.append(made[0])
            theirs.append(made[1])
        return ours, theirs, set(), []

    def _row_value(self) -> tuple[str, str]:
        """Arithmetic or a CASE over one row."""
        found = [c for c in self.table.columns if c.kind in INTEGERS]
        if self.rng.random() < 0.5 or not found:
            columns = self.rng.choices(found, k=2) if found else [self.table.unique] * 2
            self.touch("selection", *columns)
            form = self.rng.choice(["{0} + 2 * {1}", "{0} * {1} - 1", "-{0}", "{0} - {1}"])
            ours = form.format(*map(named, columns))
            return ours, form.format(*(f"CAST({named(c)} AS HUGEINT)" for c in columns))
        parameters, self.with_parameters = self.with_parameters, False
        column, condition = self.rng.choice(found), ""
        public = [c for c in self.table.columns if not c.encrypted]
        condition = self._condition(self.rng.choice(LEAVES), self.rng.choice(public))
        self.with_parameters = parameters
        self.touch("selection", column)
        form = "CASE WHEN {0} THEN {1} END"
        return (form.format(condition, named(column)),) * 2

    def _totals(self) -> tuple[list[str], list[str], set[int], list[ColumnCase]]:
        ours, theirs, averages = self._aggregates(self.rng.randint(1, 4))
        return ours, theirs, averages, []

    def _groups(self) -> tuple[list[str], list[str], set[int], list[ColumnCase]]:
        candidates = [
            ("GROUP BY", c) for c in self.table.columns if c.categories and c.can("group")
        ]
        groups = [self.generator.thinnest(candidates)[1]]
        if self.rng.random() < 0.5:
            other = self.generator.thinnest(candidates)[1]
            if other is not groups[0] and not (other.encrypted and groups[0].encrypted):
                groups.append(other)
        self.touch("GROUP BY", *groups)
        ours, theirs, averages = self._aggregates(self.rng.randint(1, 3))
        names = [named(column) for column in groups]
        shifted = {index + len(names) for index in averages}
        return names + ours, names + theirs, shifted, groups

    def _aggregates(self, count: int) -> tuple[list[str], list[str], set[int]]:
        ours: list[str] = []
        theirs: list[str] = []
        averages: set[int] = set()
        for index in range(count):
            mine, duck = self._aggregate()
            if mine.startswith("AVG"):
                averages.add(index)
            ours.append(mine)
            theirs.append(duck)
        return ours, theirs, averages

    def _aggregate(self) -> tuple[str, str]:
        orders = self.generator.orders
        if orders and self.rng.random() < orders:
            return self._ordered()
        if self.rng.random() < 0.15:
            return "COUNT(*)", "COUNT(*)"
        if self.rng.random() < 0.06:
            return self._product()
        if self.rng.random() < 0.12:
            return self._expression()
        choices = [
            (function, column)
            for column in self.table.columns
            for function in AGGREGATES
            if function == "COUNT" or (column.kind in NUMBERS and column.can("sum"))
        ]
        function, column = self.generator.thinnest(choices)
        self.touch(function, column)
        name = named(column)
        if function != "AVG":
            return f"{function}({name})", f"{function}({name})"
        duck = f"{{'s': SUM({name}), 'n': COUNT({name}), 'a': AVG({name})}}"
        return f"AVG({name})", duck

    def _product(self) -> tuple[str, str]:
        """SUM(a * b) of narrow columns: few limbs, and DuckDB does not overflow."""
        narrow = ("TINYINT", "UTINYINT", "SMALLINT", "USMALLINT")
        found = [c for c in self.table.columns if c.kind in narrow and c.can("sum")]
        if not found:
            return "COUNT(*)", "COUNT(*)"
        left, right = self.rng.choice(found), self.rng.choice(found)
        self.touch("SUM", left, right)
        a, b = named(left), named(right)
        return f"SUM({a} * {b})", f"SUM(CAST({a} AS HUGEINT) * {b})"

    def _ordered(self) -> tuple[str, str]:
        """An extreme or a quantile, in one of the ways they are written."""
        found = [c for c in self.table.columns if c.can("range") or c.can("group")]
        column = self.rng.choice(found)
        name, fraction = named(column), self.rng.choice(["0", "0.1", "0.5", "0.75", "1"])
        forms = ["MIN({0})", "MAX({0})", "QUANTILE_DISC({0}, {1})", "MEDIAN({0})"]
        if column.kind not in ("TEXT", "BOOLEAN"):
            forms += [
                "QUANTILE_CONT({0}, {1})",
                "PERCENTILE_CONT({1}) WITHIN GROUP (ORDER BY {0} DESC)",
            ]
        text = self.rng.choice(forms).format(name, fraction)
        return text, text

    def _expression(self) -> tuple[str, str]:
        """An aggregate that is more than a function of a column, or arithmetic around some."""
        parameters, self.with_parameters = self.with_parameters, False
        made = self.rng.choice(
            [self._polynomial, self._conditional, self._filtered, self._distinct, self._around]
        )()
        self.with_parameters = parameters
        return made

    def _narrow(self) -> list[ColumnCase]:
        narrow = ("TINYINT", "UTINYINT", "SMALLINT", "USMALLINT")
        return [c for c in self.table.columns if c.kind in narrow and c.can("sum")]

    def _value(self) -> tuple[str, str]:
        """A sum of products of narrow columns; HUGEINT keeps DuckDB from overflowing."""
        ours, theirs = [], []
        for _ in range(self.rng.randint(1, 3)):
            columns = self.rng.choices(self._narrow(), k=self.rng.randint(1, 2))
            self.touch("SUM", *columns)
            factor = self.rng.choice(["", "", "3 * ", "-1 * ", "1000 * "])
            ours.append(factor + " * ".join(map(named, columns)))
            theirs.append(factor + " * ".join(f"CAST({named(c)} AS HUGEINT)" for c in columns))
        sign = self.rng.choice([" + ", " - "])
        return sign.join(ours), sign.join(theirs)

    def _polynomial(self) -> tuple[str, str]:
        ours, theirs = self._value() if self._narrow() else ("1", "1")
        function = self.rng.choice(["SUM", "SUM", "COUNT"])
        return f"{function}({ours})", f"{function}({theirs})"

    def _conditional(self) -> tuple[str, str]:
        """SUM or COUNT of a CASE of one or two branches, with or without ELSE."""
        count = self.rng.randint(1, 2) if self.secret_leaves > 1 else 1
        function = self.rng.choice(["SUM", "SUM", "COUNT"])
        texts = ["", ""]
        for _ in range(count):
            condition = self._leaf()[0]
            values = self._value() if self._narrow() else ("1", "1")
            for side in (0, 1):
                texts[side] += f" WHEN {condition} THEN {values[side]}"
        if self.rng.random() < 0.6:
            otherwise = self.rng.choice(["0", "NULL", "7"])
            texts = [f"{text} ELSE {otherwise}" for text in texts]
        return f"{function}(CASE{texts[0]} END)", f"{function}(CASE{texts[1]} END)"

    def _filtered(self) -> tuple[str, str]:
        condition = self._tree(self.rng.randint(1, 2))[0] if self.secret_leaves > 1 else "TRUE"
        ours, theirs = self._polynomial()
        clause = f" FILTER (WHERE {condition})"
        return ours + clause, theirs + clause

    def _distinct(self) -> tuple[str, str]:
        """Of a group column or a public one of few values."""
        found = [c for c in self.table.columns if c.categories and c.can("group")]
        column = self.generator.thinnest([("COUNT", c) for c in found])[1]
        self.touch("COUNT", column)
        return (f"COUNT(DISTINCT {named(column)})",) * 2

    def _around(self) -> tuple[str, str]:
        """Arithmetic of totals; divisions of numbers that doubles hold exactly."""
        found = self._narrow()
        if not found:
            return ("COUNT(*) * 2 - 1",) * 2
        column = self.rng.choice(found)
        self.touch("SUM", column)
        name = named(column)
        form = self.rng.choice([
            "SUM({0}) / COUNT(*)", "2 * SUM({0}) + COUNT({0})", "-SUM({0})", "SUM({0}) // 7",
            "CASE WHEN SUM({0}) > 10 THEN SUM({0}) ELSE COUNT(*) END",
        ])  # fmt: skip
        return (form.format(name),) * 2

    # ---- WHERE -------------------------------------------------------------------------------

    def _where(self) -> str:
        most = self.generator.leaves_max
        leaves = self.rng.choices([0, 1, 2, *range(3, most + 1)], [1, 3, 3, *[5] * (most - 2)])[0]
        if leaves == 0:
            return ""
        text, _ = self._tree(leaves)
        return f" WHERE {text}"

    def condition(self) -> tuple[str, list[Any]]:
        """A condition alone."""
        text, _ = self._tree(self.rng.randint(1, 3))
        return text, self.parameters

    def _tree(self, leaves: int) -> tuple[str, list[ColumnCase]]:
        if leaves == 1:
            text, columns = self._leaf()
        else:
            left = self.rng.randint(1, leaves - 1)
            parts = [self._tree(left), self._tree(leaves - left)]
            columns = [column for _, found in parts for column in found]
            connector = self.rng.choice(["AND", "OR"])
            self.touch(connector, *columns)
            text = f"({parts[0][0]} {connector} {parts[1][0]})"
        if self.rng.random() < 0.25:
            self.touch("NOT", *columns)
            text = f"NOT ({text})" if self.rng.random() < 0.5 else f"(NOT {text})"
        return text, columns

    def _leaf(self) -> tuple[str, list[ColumnCase]]:
        choices = [
            (operator, column)
            for column in self.table.columns
            for operator in LEAVES
            if column.can(needed(operator)) and not (column.encrypted and self.secret_leaves <= 0)
        ]
        if self.rng.random() < 0.04:
            public = [c for c in self.table.columns if not c.encrypted and c.kind in INTEGERS]
            if public:
                columns = self.rng.choices(public, k=2)
                sign = self.rng.choice(COMPARISONS)
                self.touch(sign, *columns)
                return f" {sign} ".join(map(named, columns)), columns
        operator, column = self.generator.thinnest(choices)
        self.secret_leaves -= column.encrypted
        self.touch(operator, column)
        text = self._condition(operator, column)
        if self.rng.random() < 0.12:
            text = self._paired(text, column)
        return text, [column]

    def _paired(self, text: str, column: ColumnCase) -> str:
        """Two conditions on one column, which the planner may make one range of."""
        possible = [operator for operator in LEAVES if column.can(needed(operator))]
        operator, connector = self.rng.choice(possible), self.rng.choice(["AND", "AND", "OR"])
        self.touch(operator, column)
        self.touch(connector, column)
        return f"({text} {connector} {self._condition(operator, column)})"

    def _condition(self, operator: str, column: ColumnCase) -> str:
        name, rng = named(column), self.rng
        match operator:
            case "IS NULL":
                return f"{name} IS {rng.choice(['', 'NOT '])}NULL"
            case "BETWEEN":
                word = rng.choice(["BETWEEN", "BETWEEN", "NOT BETWEEN"])
                return f"{name} {word} {self._constant(column)} AND {self._constant(column)}"
            case "IN":
                values = [self._constant(column) for _ in range(rng.randint(1, 4))]
                return f"{name} {rng.choice(['IN', 'IN', 'NOT IN'])} ({', '.join(values)})"
        if column.kind == "BOOLEAN" and operator == "=" and rng.random() < 0.3:
            return rng.choice([name, f"{name} IS TRUE", f"{name} IS NOT FALSE"])
        constant = self._constant(column)
        if rng.random() < 0.2 and not constant.startswith("?"):
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(operator, operator)
            return f"{constant} {mirrored} {name}"
        return f"{name} {operator} {constant}"

    def _constant(self, column: ColumnCase) -> str:
        value = constant_of(column, self.table, self.rng)
        if value is None:
            return "NULL"
        if self.with_parameters and self.rng.random() < 0.7:
            self.parameters.append(value)
            return "?"
        text = quoted(value)
        if isinstance(value, datetime.date) and self.rng.random() < 0.3:
            text = f"'{value}'"
        if self.rng.random() < 0.1:
            return f"PUBLIC({text})"
        return text

    # ---- HAVING ------------------------------------------------------------------------------

    def _having(self, groups: list[ColumnCase]) -> str:
        if self.rng.random() < 0.8:
            return ""
        parts = [self._group_condition(groups) for _ in range(self.rng.randint(1, 3))]
        return f" HAVING {self.rng.choice([' AND ', ' OR ', ' OR ']).join(parts)}"

    def _group_condition(self, groups: list[ColumnCase]) -> str:
        """A condition on an aggregate or a group column, whose truth varies over the groups."""
        rng, count = self.rng, len(self.table.data[self.table.unique.name])
        summed = [c for c in self.table.columns if c.kind in INTEGERS and c.can("sum")]
        if groups and rng.random() < 0.3:
            column = rng.choice(groups)
            operators = [operator for operator in LEAVES if applicable(operator, column.kind)]
            text = self._condition(rng.choice(operators), column)
        elif summed and rng.random() < 0.5:
            column = rng.choice(summed)
            bound = rng.choice([0, 1, sum(v for v in self.table.data[column.name] if v) // 3])
            function = rng.choice(["SUM", "SUM", "AVG", "COUNT"])
            form = rng.choice(["{} > {}", "{} <= {}", "{} BETWEEN -5 AND {}", "{} IS NULL"])
            text = form.format(f"{function}({named(column)})", bound)
        else:
            form = rng.choice(
                [
                    "COUNT(*) > {}",
                    "{} >= COUNT(*)",
                    "COUNT(*) NOT IN (0, {})",
                    "COUNT(*) * 2 - 1 > {}",
                ]
            )
            text = form.format(rng.choice([1, count // 10, count // 4]))
        return f"NOT ({text})" if rng.random() < 0.2 else f"({text})"

    # ---- ORDER BY and LIMIT ------------------------------------------------------------------

    def _tail(self, kind: str, groups: list[ColumnCase]) -> tuple[str, bool]:
        if kind == "totals" or self.rng.random() < 0.4:
            return "", False
        unique = groups if kind == "groups" else [self.table.unique]
        keys: list[str] = []
        sorted_by: list[ColumnCase] = []
        candidates = groups or self.table.columns
        for _ in range(self.rng.randint(0, 3)):
            wanted = [("ORDER BY", column) for column in candidates]
            column = self.generator.thinnest(wanted)[1]
            sorted_by.append(column)
            keys.append(named(column) + self._direction())
        if kind == "groups" and self.rng.random() < 0.3:
            keys.insert(0, "COUNT(*)" + self._direction())
        for column in unique:
            sorted_by.append(column)
            keys.append(named(column) + self._direction())
        self.touch("ORDER BY", *sorted_by)
        limit = ""
        if self.rng.random() < 0.8:
            limit = f" LIMIT {self.rng.choice([0, 1, 3, 10, 100])}"
            if self.rng.random() < 0.4:
                limit += f" OFFSET {self.rng.choice([0, 1, 5])}"
            self.touch("LIMIT", *{c.name: c for c in sorted_by + self.selected}.values())
        return f" ORDER BY {', '.join(keys)}{limit}", True

    def _direction(self) -> str:
        return self.rng.choice(["", " ASC", " DESC", " DESC"]) + self.rng.choice(
            ["", "", " NULLS FIRST", " NULLS LAST"]
        )
