"""What the server learns from one statement and what it does not, as sentences. Pure.

The list follows from the plan alone, so that EXPLAIN can print it without contacting the server.
Source: ARCHITECTURE section 2, FHE section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaters.columns.joined import JoinedTable
from amaters.columns.schema import Table
from amaters.plan.dimensions import DIMENSION_STEP
from amaters.plan.explain_joins import hidden_of_join, learned_of_vectors, tables_read
from amaters.plan.expressions import (
    ColumnRef,
    Predicate,
    Select,
    predicate_columns,
    scalar_columns,
)
from amaters.plan.fetching import DECOYS_MIN
from amaters.plan.orders import public_values
from amaters.plan.prepare import Prepared
from amaters.plan.refresh import Refresh
from amaters.plan.spec import (
    EqualLeaf,
    MemberLeaf,
    PlanSpec,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
    all_leaves,
)

_CONSTANT_LEAVES = (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)


@dataclass(frozen=True, slots=True)
class Leakage:
    """Two lists of short sentences."""

    learns: tuple[str, ...]
    does_not_learn: tuple[str, ...]


def leakage(prepared: Prepared, table: Table) -> Leakage:
    """What running ``prepared`` shows to the server."""
    learns = [f"the table {table.name} and the columns {_names(prepared, table)}"]
    hidden: list[str] = []
    spec = prepared.spec
    if prepared.refresh is not None:
        _refresh(prepared.refresh, prepared, learns, hidden)
    elif spec is not None and spec.filter is not None:
        learns.append("which operators the filter applies to which columns, and their order")
    _public_values(prepared, table, learns)
    constants = _hidden_constants(prepared, table)
    if constants:
        hidden.append(f"the constants compared with {', '.join(constants)}")
    found = all_leaves(spec) if spec is not None else []
    if any(isinstance(leaf, PrefixLeaf) and leaf.codes is None for leaf in found):
        hidden.append("how long the prefix is that LIKE looks for")
    hidden.append(_values_sentence(table))
    if prepared.kind == "aggregate":
        _aggregate(prepared, table, learns, hidden)
    elif prepared.kind == "rows" and prepared.first is not None:
        _first(prepared, table, learns, hidden)
        hidden.append("the contents of the sealed rows it returns")
    elif prepared.select.fetch == "all":
        learns.append("that all rows are fetched")
        hidden.append("the condition, its constants, and which rows match or how many")
    elif prepared.kind == "rows" and prepared.select.fetch == "padded":
        learns.append(
            "which rows are fetched: those that matched among decoys, in each segment as many as "
            f"the next power of two, at least {DECOYS_MIN}"
        )
        hidden.append("which of the rows fetched matched, and how many but for that power of two")
        hidden.append("the contents of the sealed rows it returns")
    elif prepared.kind == "rows":
        learns.append("which rows are fetched afterwards, and so which matched")
        hidden.append("the contents of the sealed rows it returns")
    else:
        learns.append("which rows are fetched")
    if isinstance(table, JoinedTable) and prepared.select.join is not None:
        learns += tables_read(prepared.select.join)
        learns += learned_of_vectors(table, prepared.compiled) if prepared.compiled else []
        hidden += hidden_of_join(prepared.select.join)
    learns.append("the number of rows per segment, the time and size of the request")
    return Leakage(tuple(learns), tuple(sentence for sentence in hidden if sentence))


def _refresh(refresh: Refresh, prepared: Prepared, learns: list[str], hidden: list[str]) -> None:
    """What a filter in parts shows; nothing that is sent depends on what masks say."""
    count = len(refresh.parts)
    operators = "which operators each applies to which columns, and their order"
    learns.append(f"the {count} parts of the filter: {operators}")
    if count > 1:
        hidden.append("how the answers of the parts combine")
    if prepared.compiled is not None:
        learns.append("that fresh masks come back, one for every slot of every segment")
        hidden.append("what the masks say")


def _aggregate(prepared: Prepared, table: Table, learns: list[str], hidden: list[str]) -> None:
    spec = prepared.spec
    assert spec is not None
    if spec.filter is not None:
        hidden.append("which rows match, and how many")
    _totals(spec, table, learns)
    if any(condition.filter is not None for condition in spec.conditions):
        hidden.append("which rows the conditions inside aggregates select, and how many")
    for column_id in spec.encrypted_groups:
        column = table.column(column_id)
        count = len(column.categories)
        learns.append(f"that groups are formed over {column.name} ({count} categories)")
        hidden.append(f"which row belongs to which {column.name}")
    _read_whole(public_values(prepared.select), table, learns)
    if spec.selection:
        _masked(spec.values, table, learns)
        hidden.append("which of MIN, MAX, median and quantiles is asked for, and of which fraction")
    for column_id in spec.public_groups:
        name = table.column(column_id).name
        learns.append(f"the groups of {name}, which is public")
    hidden.append("the result")


def _totals(spec: PlanSpec, table: Table, learns: list[str]) -> None:
    """The shape of what is added up, beyond the names of the columns."""
    products = [term for term in spec.terms if term.kind == "sum" and len(term.columns) > 1]
    if products:
        names = (" * ".join(table.column(c).name for c in term.columns) for term in products)
        learns.append(f"which products are totalled: {', '.join(dict.fromkeys(names))}")
    if spec.conditions:
        count = len(spec.conditions)
        learns.append(
            f"the {count} conditions inside aggregates: which operators they apply to which columns"
            if count > 1
            else "the condition inside aggregates: which operators it applies to which columns"
        )


def _first(prepared: Prepared, table: Table, learns: list[str], hidden: list[str]) -> None:
    first = prepared.first
    assert first is not None
    _masked(first.values, table, learns)
    _read_whole(first.public, table, learns)
    ties = "" if first.whole else ", with all that tie with the last of them"
    learns.append(
        "which rows are fetched afterwards, and so which come first: as many as LIMIT and OFFSET "
        f"say, less those of the tail{ties}, and the canaries among them"
    )
    hidden.append("the order of the rows that are fetched")
    if prepared.compiled is not None and prepared.compiled.root is not None:
        hidden.append("which other rows match, and how many")


def _read_whole(column_ids: Sequence[int], table: Table, learns: list[str]) -> None:
    """Public columns that are read whether a row matches or not."""
    read = [table.column(c) for c in column_ids if c < DIMENSION_STEP]
    if read:
        names = ", ".join(column.name for column in read)
        learns.append(f"that {names} of all rows which pass the public conditions is read")


def _masked(column_ids: Sequence[int], table: Table, learns: list[str]) -> None:
    """Values that are returned for all rows alike."""
    if column_ids:
        names = ", ".join(table.column(column_id).name for column_id in column_ids)
        learns.append(
            f"that values of {names} are returned for every row alike, in one round of fixed size"
        )


def _public_values(prepared: Prepared, table: Table, learns: list[str]) -> None:
    """Predicates with values that travel in clear."""
    seen: dict[str, None] = {}
    spec = prepared.spec or prepared.fetch
    embedded = [leaf.predicate for leaf in all_leaves(spec) if isinstance(leaf, PublicNode)]
    embedded += [item.public for item in spec.conditions if item.public is not None]
    given: list[Predicate] = [spec.public_filter] if spec.public_filter is not None else []
    for predicate in [*given, *embedded]:
        for column_id in sorted(predicate_columns(predicate)):
            seen[table.column(column_id).name] = None
    if seen:
        learns.append(
            f"the conditions on the public columns {', '.join(seen)} and the constants in them"
        )
    for leaf in all_leaves(spec):
        if isinstance(leaf, _CONSTANT_LEAVES) and leaf.codes is not None:
            name = table.column(leaf.column_id).name
            learns.append(f"the constants compared with {name}, marked PUBLIC")
        if isinstance(leaf, EqualLeaf) and leaf.count > 1:
            name = table.column(leaf.column_id).name
            learns.append(f"the length of the IN list for {name} ({leaf.count})")


def _hidden_constants(prepared: Prepared, table: Table) -> list[str]:
    spec = prepared.spec
    names: dict[str, None] = {}
    for leaf in all_leaves(spec) if spec is not None else ():
        if isinstance(leaf, _CONSTANT_LEAVES) and leaf.codes is None:
            names[table.column(leaf.column_id).name] = None
    return list(names)


def _values_sentence(table: Table) -> str:
    names = [column.name for column in table.encrypted_columns]
    return f"any value of the encrypted columns {', '.join(names)}" if names else ""


def touched_columns(select: Select) -> list[int]:
    """Ids of all columns a statement reads, in order of id."""
    found = set(predicate_columns(select.where)) | set(select.group_by)
    for item in select.items:
        found |= scalar_columns(item.expression)
    keys = (order.key for order in select.order_by)
    found.update(key.column_id for key in keys if isinstance(key, ColumnRef))
    return sorted(found)


def _names(prepared: Prepared, table: Table) -> str:
    stored = {column.id for column in table.stored.columns}
    ids = [column_id for column_id in touched_columns(prepared.select) if column_id in stored]
    return ", ".join(table.column(column_id).name for column_id in ids) or "(none)"
