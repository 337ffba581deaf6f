"""EXPLAIN of ALTER TABLE and VACUUM: what is encrypted again, what it costs, and what the server
learns. Pure, like ``plan.explain``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaters.columns import altering as al
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.altercost import AlterCost, cost_text
from amaters.plan.cost import Statistics
from amaters.plan.explain import VERSION, Document, operator, parameters_of, statistics_of
from amaters.plan.explain_writes import values_hidden
from amaters.plan.expressions import AlterTable


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What VACUUM would write again of a table."""

    table: Table
    statistics: Statistics
    cost: AlterCost


@dataclass(frozen=True, slots=True)
class Change:
    """What ALTER TABLE makes of a table: with its targets, and what the segments cost that lack
    encodings, in all and by column.
    """

    table: Table
    changed: Table
    statistics: Statistics
    cost: AlterCost
    by_column: Mapping[int, AlterCost]


def explain_alter(
    statement: AlterTable, change: Change, parameters: Parameters, *, stale: bool = False
) -> Document:
    """ALTER TABLE."""
    table, cost, actions = change.table, change.cost, statement.actions
    children = [
        operator(f"action.{number}", type(action).__name__, _action_text(action), {})
        for number, action in enumerate(actions)
    ]
    for column_id, names in al.pending_of(change.changed).items():
        one = change.by_column.get(column_id, AlterCost())
        kinds = ", ".join(sorted({name.partition(".")[0] for name in names}))
        name = change.changed.column(column_id).name
        detail = f"Encrypt {kinds} of {name} for {one.segments:,} segments"
        children.append(operator(f"encrypt.{column_id}", "Encrypt", detail, _made(one)))
    how = "in one step" if not cost.ciphertexts else "segment by segment, online and resumable"
    detail = f"Alter table {table.name}, {how}"
    learns = [
        f"that table {table.name} is altered, and when",
        "names, types, capabilities and shapes of encodings, before and after",
    ]
    if any(isinstance(a, al.AddColumn) and a.declaration.encrypt is None for a in actions):
        learns.append("the DEFAULT of a column that is not encrypted")
    if cost.ciphertexts:
        learns.append("which segments this client encrypts, one after the other")
    if any(isinstance(a, al.SetNullable) and not a.nullable for a in actions):
        learns.append("whether some row holds NULL: then no change follows")
    if any(change.changed.column(c).dictionary is not None for c in change.by_column):
        learns.append("whether a dictionary of texts grows, and its padded size")
    hidden = [values_hidden(table)] if table.encrypted_columns else []
    if any(isinstance(action, al.Widen | al.AddValues) for action in actions):
        hidden.append("bounds and categories, but whether they need more digits or slices")
    return {
        **_document(table, parameters, operator("alter", "AlterTable", detail, {}, children)),
        "kind": "alter_table",
        "statistics": statistics_of(change.statistics, parameters, stale=stale),
        "estimated": _estimated(cost),
        "summary": _summary(cost),
        "server_learns": learns,
        "server_does_not_learn": hidden,
    }


def explain_vacuum(
    found: Sequence[Rewriting],
    parameters: Mapping[bytes, Parameters],
    *,
    erase: bool,
    stale: bool = False,
) -> Document:
    """VACUUM of at least one table; ``parameters`` by table id."""
    children = []
    for number, one in enumerate(found):
        cost = one.cost
        detail = (
            f"Write {cost.rows:,} rows of {cost.segments:,} segments of {one.table.name} again, "
            f"and a tail of {one.statistics.tail_rows:,} rows"
        )
        children.append(operator(f"table.{number}", "Rewrite", detail, _made(cost)))
    learns = ["which rows move together into new segments, and that the rest of the old was dead"]
    if erase:
        what = "Make the state anew, twice as a snapshot; delete log, snapshots and old objects"
        children.append(operator("forget", "ForgetHistory", what, {}))
        learns.append("that deleted rows are to be forgotten: an honest server does so")
    name = "Erase" if erase else "Compact"
    total = AlterCost(
        sum(one.cost.rows for one in found),
        sum(one.cost.segments for one in found),
        sum(one.cost.ciphertexts for one in found),
        sum(one.cost.upload_bytes for one in found),
        sum(one.cost.seconds for one in found),
    )
    table = found[0].table
    chosen = parameters[table.id]
    names = ", ".join(one.table.name for one in found)
    plan = operator("vacuum", name, f"{name} {names}, one commit per step", {}, children)
    encrypted = [one.table for one in found if one.table.encrypted_columns]
    return {
        **_document(table, chosen, plan),
        "kind": "vacuum",
        "statistics": statistics_of(found[0].statistics, chosen, stale=stale),
        "estimated": _estimated(total),
        "summary": _summary(total),
        "server_learns": learns,
        "server_does_not_learn": [values_hidden(one) for one in encrypted],
    }


def _document(table: Table, parameters: Parameters, plan: Document) -> Document:
    return {
        "version": VERSION,
        "table": table.name,
        "plan": plan,
        "parameters": parameters_of(table, parameters),
        "actual": None,
    }


def _made(cost: AlterCost) -> Document:
    """The costs of one operator; none when nothing is encrypted."""
    if not cost.ciphertexts:
        return {}
    return {
        "ciphertexts": cost.ciphertexts,
        "bytes": cost.upload_bytes,
        "seconds": round(cost.seconds, 6),
    }


def _estimated(cost: AlterCost) -> Document:
    return {
        "rows": cost.rows,
        "ciphertexts": cost.ciphertexts,
        "upload_bytes": cost.upload_bytes,
        "seconds": round(cost.seconds, 6),
    }


def _summary(cost: AlterCost) -> str:
    megabytes = cost.upload_bytes / 1e6
    sent = f", {cost.ciphertexts:,} ciphertexts, {megabytes:,.1f} MB up"
    return f"estimate     {cost_text(cost)}{sent if cost.ciphertexts else ''}"


def _action_text(action: al.Action) -> str:  # noqa: PLR0911 - one per kind
    """One action in words, without bounds, categories or defaults of encrypted columns."""
    match action:
        case al.AddColumn(name, declaration):
            kind = "public" if declaration.encrypt is None else "encrypted"
            return f"Add column {name} {declaration.type.sql_name}, {kind}"
        case al.DropColumn(column):
            return f"Drop column {column}; its values stay in stored rows until VACUUM ERASE"
        case al.RenameColumn(column, name):
            return f"Rename column {column} to {name}"
        case al.RenameTable(name):
            return f"Rename the table to {name}"
        case al.AddQueries(column, queries):
            return f"Let {column} be asked for {', '.join(queries)}"
        case al.DropQueries(column, queries):
            return f"Let {column} be asked for {', '.join(queries)} no more"
        case al.Widen(column):
            return f"Widen the bounds of {column}"
        case al.AddValues(column, values):
            return f"Add {len(values)} categories to {column}"
        case al.SetNullable(column, nullable):
            return f"Let {column} hold NULL" if nullable else f"Check that {column} holds no NULL"
