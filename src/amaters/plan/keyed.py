"""Totals and groups of a dimension that is found by an encrypted key of the fact.

Nobody can follow such a key row by row. But the fact can be grouped by it, where it was declared
for ``group``; the client then knows, for every key, the totals of the fact's rows and the one row
of the dimension that belongs to them, and multiplies and adds the rest here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    ColumnRef,
    IsNull,
    OutputItem,
    Predicate,
    Scalar,
    Select,
    scalar_columns,
)
from amaters.plan.joins import OPEN, is_of_fact, roots
from amaters.plan.recipes import ADDITIVE, Recipe, recipe
from amaters.plan.spec import Term


@dataclass(frozen=True, slots=True)
class Keyed:
    """``select``: asks the fact for partial totals by key and by its own group columns ``groups``,
    which come first among its outputs; ``partials``: the output that a term's part is in.
    """

    select: Select
    groups: tuple[int, ...]
    partials: Mapping[Term, int]


def keyed(select: Select) -> Keyed | None:
    """The question by key; None where the statement needs none, or it would not help."""
    join = select.join
    assert join is not None
    ways = set(roots(join).values())
    if len(ways) != 1 or OPEN in ways or not select.is_aggregate:
        return None
    (root,) = ways
    arguments = [a.argument for a in select.aggregates if a.argument is not None]
    used = set(select.fine_groups).union(*(scalar_columns(argument) for argument in arguments))
    if all(is_of_fact(column_id) for column_id in used):
        return None
    additive = all(aggregate.function in ADDITIVE for aggregate in select.aggregates)
    if not additive or join.fact.column(root).encoding("onehot") is None:
        return None
    groups = tuple(dict.fromkeys((*filter(is_of_fact, select.fine_groups), root)))
    items = [OutputItem(f"key {index + 1}", ColumnRef(c)) for index, c in enumerate(groups)]
    made = recipe(select)
    partials: dict[Term, int] = {}
    known: dict[Aggregate, int] = {}
    for term in made.terms:
        aggregate = _partial(term, made, select)
        if aggregate not in known:
            known[aggregate] = len(items)
            items.append(OutputItem(f"total {len(known)}", aggregate))
        partials[term] = known[aggregate]
    asked = Select(select.table, select.where, tuple(items), groups, join=join)
    return Keyed(asked, groups, partials)


def _partial(term: Term, made: Recipe, select: Select) -> Aggregate:
    """A term without the dimension's columns, which are constant for one key."""
    own = tuple(c for c in term.columns if is_of_fact(c))
    needed = {c for c in (*own, *term.required) if is_of_fact(c)}
    needed = {c for c in needed if select.table.column(c).nullable}
    parts: list[Predicate] = [IsNull(column_id, negated=True) for column_id in sorted(needed)]
    if term.condition:
        parts.insert(0, made.conditions[term.condition - 1])
    where = None if not parts else parts[0] if len(parts) == 1 else And(tuple(parts))
    if term.kind == "count" or not own:
        return Aggregate("count_star", None, where)
    argument: Scalar = ColumnRef(own[0])
    for column_id in own[1:]:
        argument = Arithmetic("*", argument, ColumnRef(column_id))
    return Aggregate("sum", argument, where)
