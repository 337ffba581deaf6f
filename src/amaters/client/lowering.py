"""The Python API's questions as SQL text with parameters: one binder decides what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaters.base import errors
from amaters.client import expression as ex

Selected = str | ex.Column | ex.Aggregation
Sorting = str | ex.Column | ex.Ordering


@dataclass(frozen=True, slots=True)
class Question:
    """What ``filter``, ``agg``, ``group_by``, ``order_by`` and the others have built up."""

    table: str
    where: ex.Condition | None = None
    selected: tuple[Selected, ...] = ()
    groups: tuple[str, ...] = ()
    order: tuple[Sorting, ...] = ()
    count: int | None = None
    offset: int = 0
    distinct: bool = False


def to_sql(question: Question) -> tuple[str, list[Any]]:
    """The statement and its parameters."""
    writer = _Writer()
    items = [*question.groups, *question.selected]
    head = "SELECT DISTINCT " if question.distinct else "SELECT "
    text = head + (", ".join(_item(item) for item in items) or "*")
    text += f" FROM {quoted(question.table)}"
    if question.where is not None:
        text += f" WHERE {writer.condition(question.where)}"
    if question.groups:
        text += " GROUP BY " + ", ".join(quoted(name) for name in question.groups)
    if question.order:
        text += " ORDER BY " + ", ".join(_sort_key(key) for key in question.order)
    if question.count is not None:
        text += f" LIMIT {question.count}"
    if question.offset:
        text += f" OFFSET {question.offset}"
    return text, writer.parameters


def to_update(question: Question, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """UPDATE of the question's rows, and its parameters."""
    if not values:
        errors.fail("AM-5007", what="an update of nothing", fix="name a column and its new value")
    writer = _Writer(list(values.values()))
    assigned = ", ".join(f"{quoted(name)} = ?" for name in values)
    return f"UPDATE {quoted(question.table)} SET {assigned}{_where(question, writer)}", (
        writer.parameters
    )


def to_delete(question: Question) -> tuple[str, list[Any]]:
    """DELETE of the question's rows, and its parameters."""
    writer = _Writer()
    return f"DELETE FROM {quoted(question.table)}{_where(question, writer)}", writer.parameters


def _where(question: Question, writer: _Writer) -> str:
    if question != Question(question.table, question.where):
        errors.fail(
            "AM-5007",
            what="a change of a query with select, agg, group_by, order_by, limit or distinct",
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


def _item(item: Selected) -> str:
    if isinstance(item, ex.Aggregation):
        operand = " * ".join(quoted(name) for name in item.columns)
        function = item.function.removesuffix("_star")
        text = f"{function}({operand or '*'})"
        return text + _alias(item.label)
    if isinstance(item, ex.Column):
        return quoted(item.name) + _alias(item.label)
    return quoted(item)


def _alias(label: str | None) -> str:
    return f" AS {quoted(label)}" if label else ""


def _sort_key(key: Sorting) -> str:
    if isinstance(key, ex.Ordering):
        text = quoted(key.name) + (" DESC" if key.descending else "")
        return text + (" NULLS FIRST" if key.nulls_first else "")
    return quoted(key.name if isinstance(key, ex.Column) else key)


@dataclass(slots=True)
class _Writer:
    """Writes conditions and collects their constants, in order."""

    parameters: list[Any] = field(default_factory=list)

    def condition(self, node: ex.Condition | ex.Column) -> str:  # noqa: PLR0911 - one per kind
        match node:
            case ex.Column():
                return quoted(node.name)
            case ex.Combined():
                joined = f" {node.word.upper()} ".join(self.condition(part) for part in node.parts)
                return f"({joined})"
            case ex.Negated(part=ex.Nullness(name=name)):
                return f"({quoted(name)} IS NOT NULL)"
            case ex.Negated():
                return f"(NOT {self.condition(node.part)})"
            case ex.Comparison():
                return f"({quoted(node.name)} {node.op} {self._constant(node.value)})"
            case ex.Membership():
                return f"({quoted(node.name)} IN ({self._constants(node)}))"
            case ex.Range():
                low, high = self._constant(node.low), self._constant(node.high)
                return f"({quoted(node.name)} BETWEEN {low} AND {high})"
            case ex.Likeness():
                return f"({quoted(node.name)} LIKE {self._constant(node.pattern)})"
            case ex.Nullness():
                return f"({quoted(node.name)} IS NULL)"
        errors.fail(
            "AM-5007",
            what=f"{type(node).__name__} is not a condition",
            fix='compare a column with a constant: am.col("age") > 40',
        )

    def _constants(self, node: ex.Membership) -> str:
        if not node.values:
            errors.fail(
                "AM-5007",
                what=f"is_in of column {node.name} without values",
                fix="pass at least one value",
            )
        return ", ".join(self._constant(value) for value in node.values)

    def _constant(self, value: ex.Value | ex.Public) -> str:
        if isinstance(value, ex.Public):
            self.parameters.append(value.value)
            return "PUBLIC(?)"
        self.parameters.append(value)
        return "?"


def as_columns(names: Sequence[str | ex.Column]) -> tuple[str, ...]:
    """Names of columns given by name or as ``col(...)``."""
    return tuple(name.name if isinstance(name, ex.Column) else name for name in names)
