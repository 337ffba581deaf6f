"""What EXPLAIN says of a join: which tables are read, which is asked, and with what vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaters.columns.joined import JoinedTable
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.circuit import CompiledPlan
from amaters.plan.expressions import Join, Predicate, Select, predicate_columns
from amaters.plan.joins import OPEN, is_of_fact, roots

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of the fact, then of each dimension, as they were when the statement was planned."""

    fact: int
    dimensions: tuple[int, ...]


def tables_read(join: Join) -> list[str]:
    """Sentences on the dimensions that are stored: they are read whole."""
    names = {d.table.name for d in join.dimensions if not d.table.is_local}
    return [f"that table {name} was read whole, every row and column" for name in sorted(names)]


def learned_of_vectors(table: JoinedTable, plan: CompiledPlan) -> list[str]:
    """What asking a fact with vectors shows besides."""
    keys = [table.column(column_id).name for column_id in sorted(table.keys)]
    found = []
    if keys:
        found.append(f"that {', '.join(keys)} of {table.fact.name} was read for all rows")
    count = len(plan.vectors_sent)
    if count:
        found.append(f"that {count} vectors of other tables' conditions and values are used")
    return found


def hidden_of_join(join: Join) -> list[str]:
    """What it does not show."""
    names = ", ".join(dimension.name for dimension in join.dimensions)
    return [
        f"the conditions on {names}, and which rows satisfy them",
        f"the values used of {names}",
    ]


def with_join(
    document: Document,
    join: Join,
    sizes: Sizes,
    plan: CompiledPlan | None,
    parameters: Parameters,
    *,
    by_key: bool = False,
) -> Document:
    """``document``, of the question the fact is asked, with the tables that are read before.

    ``by_key``: it is asked for totals by its key, which are joined here.
    """
    ways = roots(join)
    listed = []
    for dimension, rows in zip(join.dimensions, sizes.dimensions, strict=True):
        root = ways[dimension.offset]
        listed_keys = "a list of keys, and of totals by key" if by_key else "a list of keys"
        how = "vectors" if root == OPEN else listed_keys
        listed.append(
            {
                "table": dimension.table.name,
                "name": dimension.name,
                "rows": rows,
                "on": _on(join, dimension.left, dimension.right, dimension.table),
                "through": how if plan is not None else "this client",
                "is_local": dimension.table.is_local,
                "is_outer": dimension.is_outer,
            }
        )
    joined = {
        "fact": join.name,
        "dimensions": listed,
        "vectors": len(plan.vectors_sent) if plan is not None else 0,
        "vector_bytes_per_segment": _vector_bytes(plan, parameters) if plan is not None else 0,
    }
    return {**document, "join": joined, "plan": _below(document["plan"], listed)}


def _below(operator: Document, listed: Sequence[Document]) -> Document:
    """The tree with the tables read hanging under the scan of the fact."""
    if operator["operator"] in ("Scan", "IndexScan", "Read"):
        reads = [_read(item) for item in listed]
        return {**operator, "children": [*operator["children"], *reads]}
    children = list(operator["children"])
    children[-1] = _below(children[-1], listed)
    return {**operator, "children": children}


def _read(item: Document) -> Document:
    where = "an earlier answer" if item["is_local"] else "whole"
    name = item["table"] if item["table"] == item["name"] else f"{item['table']} {item['name']}"
    on = f"{'LEFT JOIN ' if item['is_outer'] else ''}ON {item['on']}"
    detail = f"Read {name} ({where}, {item['rows']:,} rows) for {item['through']}, {on}"
    return {"id": name, "operator": "Read", "detail": detail, "estimated": {}, "children": []}


def _on(join: Join, left: Sequence[int], right: Sequence[int], table: Table) -> str:
    pairs = zip(left, right, strict=True)
    return " AND ".join(f"{_name(join, a)} = {table.column(b).name}" for a, b in pairs)


def _name(join: Join, column_id: int) -> str:
    if is_of_fact(column_id):
        return f"{join.name}.{join.fact.column(column_id).name}"
    owner = next(d for d in join.dimensions if 0 < column_id - d.offset < 1 << 16)
    return f"{owner.name}.{owner.table.column(column_id - owner.offset).name}"


def _vector_bytes(plan: CompiledPlan, parameters: Parameters) -> int:
    return sum(
        sum(parameters.residue_bytes(item.level)) * parameters.slots for item in plan.vectors_sent
    )


def explain_here(
    select: Select,
    sizes: Sizes,
    public: Predicate | None,
    parameters: Parameters,
) -> Document:
    """The document of a join that the client makes alone."""
    join = select.join
    assert join is not None
    scan: Document = {
        "id": "scan",
        "operator": "Read",
        "detail": f"Read {join.name} ({sizes.fact:,} rows)",
        "estimated": {},
        "children": [],
    }
    plan = {
        "id": "out",
        "operator": "Join",
        "detail": "Join and finish on this client",
        "estimated": {},
        "children": [scan],
    }
    learns = [*tables_read(join)]
    if not join.fact.is_local:
        learns.append(f"that the columns needed of {join.fact.name} were read")
    if public is not None:
        names = ", ".join(join.fact.column(c).name for c in sorted(predicate_columns(public)))
        learns.append(f"the conditions on the public columns {names} and the constants in them")
    learns.append("the number of rows, the time and size of the requests")
    return {
        "version": 1,
        "kind": "client",
        "table": join.fact.name,
        "plan": plan,
        "parameters": {
            "name": parameters.name,
            "scheme": join.fact.scheme,
            "slots": parameters.slots,
            "levels": parameters.max_level,
            "modulus_bits": round(parameters.modulus_bits, 1),
        },
        "statistics": {
            "segments": 0,
            "rows": sizes.fact,
            "tail_rows": 0,
            "slots_per_segment": parameters.slots,
            "stale": False,
        },
        "estimated": {"key_switches": 0, "levels": 0, "seconds": 0.0},
        "actual": None,
        "server_learns": learns,
        "server_does_not_learn": [*hidden_of_join(join), "the result"],
    }
