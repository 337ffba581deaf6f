"""The Python API's questions as SQL text with parameters: one binder decides what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaters.base import errors
from amaters.client import expression as ex

Selected = str | ex.Expression | ex.Labelled
Sorting = str | ex.Expression | ex.Ordering


@dataclass(frozen=True, slots=True)
class Question:
    """What ``filter``, ``agg``, ``group_by``, ``order_by`` and the others have built up."""

    table: str
    where: ex.Condition | None = None
    selected: tuple[Selected, ...] = ()
    groups: tuple[str, ...] = ()
    having: ex.Condition | None = None
    order: tuple[Sorting, ...] = ()
    count: int | None = None
    offset: int = 0
    distinct: bool = False
    fetch: str = "exact"


def to_sql(question: Question) -> tuple[str, list[Any]]:
    """The statement and its parameters, which are in the order of the text."""
    writer = _Writer()
    items = [*question.groups, *question.selected]
    text = "SELECT DISTINCT " if question.distinct else "SELECT "
    text += ", ".join(writer.item(item) for item in items) or "*"
    text += f" FROM {quoted(question.table)}"
    if question.where is not None:
        text += f" WHERE {writer.condition(question.where)}"
    if question.groups:
        text += " GROUP BY " + ", ".join(quoted(name) for name in question.groups)
    if question.having is not None:
        text += f" HAVING {writer.condition(question.having)}"
    if question.order:
        text += " ORDER BY " + ", ".join(writer.sort_key(key) for key in question.order)
    if question.count is not None:
        text += f" LIMIT {question.count}"
    if question.offset:
        text += f" OFFSET {question.offset}"
    if question.fetch != "exact":
        text += f" FETCH {question.fetch.upper()}"
    return text, writer.parameters


def to_update(question: Question, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """UPDATE of the question's rows, and its parameters."""
    if not values:
        errors.fail("AM-5007", what="an update of nothing", fix="name a column and its new value")
    writer = _Writer()
    assigned = [
        f"{quoted(name)} = {writer.operand(ex.as_operand(value), bare=True)}"
        for name, value in values.items()
    ]
    text = f"UPDATE {quoted(question.table)} SET {', '.join(assigned)}{_where(question, writer)}"
    return text, writer.parameters


def to_delete(question: Question) -> tuple[str, list[Any]]:
    """DELETE of the question's rows, and its parameters."""
    writer = _Writer()
    return f"DELETE FROM {quoted(question.table)}{_where(question, writer)}", writer.parameters


def _where(question: Question, writer: _Writer) -> str:
    if question != Question(question.table, question.where):
        errors.fail(
            "AM-5007",
            what="a change of a query with more than filter(...)",
            fix="change the rows of filter(...)",
        )
    return "" if question.where is None else f" WHERE {writer.condition(question.where)}"


def quoted(name: str) -> str:
    """A name as SQL's quoted identifier."""
    if not isinstance(name, str):
        errors.fail(
            "AM-5007",
            what=f"{type(name).__name__} where a column's name is needed",
            fix='pass a name such as "age" or am.col("age")',
        )
    return '"' + name.replace('"', '""') + '"'


@dataclass(slots=True)
class _Writer:
    """Writes clauses and collects their constants, in order."""

    parameters: list[Any] = field(default_factory=list)

    def item(self, item: Selected) -> str:
        """One column of the select list."""
        if isinstance(item, ex.Labelled):
            return f"{self.operand(item.expression, bare=True)} AS {quoted(item.label)}"
        return self.operand(ex.named(item), bare=True)

    def sort_key(self, key: Sorting) -> str:
        if not isinstance(key, ex.Ordering):
            return self.operand(ex.named(key), bare=True)
        text = self.operand(key.key, bare=True) + (" DESC" if key.descending else "")
        return text + (" NULLS FIRST" if key.nulls_first else "")

    def operand(self, node: ex.Operand, *, bare: bool = False) -> str:
        """A value; arithmetic in brackets unless ``bare``."""
        match node:
            case ex.Column():
                return quoted(node.name)
            case ex.Arithmetic():
                text = f"{self.operand(node.left)} {node.op} {self.operand(node.right)}"
                return text if bare else f"({text})"
            case ex.Aggregation():
                return self._aggregation(node)
            case ex.Choice():
                return self._choice(node)
            case ex.Public():
                self.parameters.append(node.value)
                return "PUBLIC(?)"
        self.parameters.append(node)
        return "?"

    def _aggregation(self, node: ex.Aggregation) -> str:
        inner = "*" if node.operand is None else self.operand(node.operand, bare=True)
        inner = f"DISTINCT {inner}" if node.is_distinct else inner
        if node.fraction is not None:
            self.parameters.append(node.fraction)
            inner += ", ?"
        text = f"{node.function}({inner})"
        if node.condition is None:
            return text
        return f"{text} FILTER (WHERE {self.condition(node.condition)})"

    def _choice(self, node: ex.Choice) -> str:
        parts = [
            f"WHEN {self.condition(condition)} THEN {self.operand(value)}"
            for condition, value in node.branches
        ]
        return f"CASE {' '.join(parts)} ELSE {self.operand(node.default)} END"

    def condition(self, node: ex.Condition) -> str:  # noqa: PLR0911 - one per kind
        match node:
            case ex.Combined():
                joined = f" {node.word.upper()} ".join(self.condition(part) for part in node.parts)
                return f"({joined})"
            case ex.Negated(part=ex.Nullness(operand=operand)):
                return f"({self.operand(operand)} IS NOT NULL)"
            case ex.Negated():
                return f"(NOT {self.condition(node.part)})"
            case ex.Comparison():
                return f"({self.operand(node.left)} {node.op} {self.operand(node.right)})"
            case ex.Membership():
                return f"({self.operand(node.operand)} IN ({self._constants(node)}))"
            case ex.Range():
                tested = self.operand(node.operand)
                return f"({tested} BETWEEN {self.operand(node.low)} AND {self.operand(node.high)})"
            case ex.Likeness():
                return f"({self.operand(node.operand)} LIKE {self.operand(node.pattern)})"
            case ex.Nullness():
                return f"({self.operand(node.operand)} IS NULL)"
        errors.fail(
            "AM-5007",
            what=f"{type(node).__name__} is not a condition",
            fix='compare a column with a constant: am.col("age") > 40',
        )

    def _constants(self, node: ex.Membership) -> str:
        if not node.values:
            errors.fail("AM-5007", what="is_in without values", fix="pass at least one value")
        return ", ".join(self.operand(value) for value in node.values)


def as_columns(names: Sequence[str | ex.Column]) -> tuple[str, ...]:
    """Names of columns given by name or as ``col(...)``."""
    return tuple(name.name if isinstance(name, ex.Column) else name for name in names)
