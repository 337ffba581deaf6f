"""EXPLAIN: the operators of a statement with their cost, what travels, and what the server learns.

``explain`` makes a document (a dictionary that JSON can hold, ``"version": 1``, stable keys, more
may be added); ``as_text`` draws it. Neither contacts a server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.plan.circuit import CompiledPlan, Step
from amaters.plan.cost import (
    Cost,
    Statistics,
    download_bytes,
    estimate,
    output_seconds,
    step_seconds,
)
from amaters.plan.explain_refresh import in_parts
from amaters.plan.explain_values import derived, values_of
from amaters.plan.expressions import (
    Aggregate,
    Arithmetic,
    Case,
    Coalesce,
    ColumnRef,
    Delete,
    Predicate,
    Scalar,
    Select,
    Update,
    aggregates_of,
    predicate_columns,
)
from amaters.plan.graph import OUTPUT
from amaters.plan.indexes import IndexUse, choose
from amaters.plan.leakage import leakage
from amaters.plan.logic import operators
from amaters.plan.prepare import Prepared
from amaters.plan.spec import (
    AndNode,
    EqualLeaf,
    MemberLeaf,
    Node,
    NullLeaf,
    OrNode,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
)
from amaters.plan.virtual import is_virtual

VERSION = 1
Document = dict[str, Any]
_FORMS = {
    "le": "{0} <= ?",
    "gt": "{0} > ?",
    "between": "{0} BETWEEN ? AND ?",
    "outside": "{0} NOT BETWEEN ? AND ?",
}


def explain(
    prepared: Prepared,
    table: Table,
    statistics: Statistics | None = None,
    *,
    parameters: Parameters | None = None,
    actual: Mapping[str, float] | None = None,
    stale: bool = False,
) -> Document:
    """The document for a prepared SELECT. ``actual``: measured totals (EXPLAIN ANALYZE).

    ``stale``: the statistics come from a cache that may be out of date.
    """
    parameters = parameters or get_parameters(table.parameter_set)
    statistics = statistics or Statistics()
    found = leakage(prepared, table)
    more: Document = {"considered": prepared.considered} if prepared.considered else {}
    if prepared.refresh is None:
        plan = _tree(prepared, table, parameters, statistics)
        estimated = _totals(prepared, table, parameters, statistics)
    else:
        plan, estimated, more["refresh"] = in_parts(prepared, table, parameters, statistics)
    document: Document = {
        "version": VERSION,
        "kind": prepared.kind,
        "table": table.name,
        "plan": plan,
        "parameters": parameters_of(table, parameters),
        "statistics": statistics_of(statistics, parameters, stale=stale),
        "estimated": estimated,
        "actual": dict(actual) if actual is not None else None,
        "server_learns": list(found.learns),
        "server_does_not_learn": list(found.does_not_learn),
        **more,
    }
    return document


def changing(document: Document, statement: Select | Update | Delete) -> Document:
    """``document``, of the rows an UPDATE or DELETE looks for, with what is done to them; of a
    SELECT as it is.
    """
    if isinstance(statement, Select):
        return document
    table, columns = statement.table, "rows"
    learns = ["which rows are deleted"]
    if isinstance(statement, Update):
        assigned = [table.column(column_id) for column_id, _ in statement.assignments]
        columns = ", ".join(column.name for column in assigned)
        public = [column.name for column in assigned if not column.encrypted]
        learns = ["which rows are replaced, and that their new versions belong together"]
        learns += [f"the new values of {', '.join(public)} (public)"] if public else []
    kind = type(statement).__name__
    detail = f"{kind} {columns} of {table.name}, in one commit"
    plan = operator("change", kind, detail, {}, [document["plan"]])
    learned = [*document["server_learns"], *learns]
    return {**document, "kind": kind.lower(), "plan": plan, "server_learns": learned}


# ---- document --------------------------------------------------------------------------------


def _tree(
    prepared: Prepared, table: Table, parameters: Parameters, statistics: Statistics
) -> Document:
    compiled = prepared.compiled
    public = (prepared.spec or prepared.fetch).public_filter
    scan = _scan(public, table, statistics)
    if public is not None:
        detail = f"Filter {_public_text(public, table)} (public)"
        scan = operator("public", "PublicFilter", detail, {}, [scan])
    if compiled is None:
        which = "all rows" if prepared.select.fetch == "all" else "rows"
        return operator(OUTPUT, "Fetch", f"Fetch {which} of {table.name}", {}, [scan])
    costs = _costs(compiled, parameters, statistics)
    child = scan
    if compiled.root is not None:
        child = _filter(compiled.root, "0", table, costs, scan)
    values = values_of(compiled, table, parameters, statistics)
    if prepared.kind == "rows":
        mask = operator(OUTPUT, "Mask", "Mask of matching rows", costs[OUTPUT], [child])
        mask["values"] = values
        which = "matching rows" if prepared.first is None else "the rows that come first"
        which += " among decoys" if prepared.select.fetch == "padded" else ""
        return operator("fetch", "Fetch", f"Fetch {which} of {table.name}", {}, [mask])
    children = [*_conditions(compiled, table, costs), child]
    detail = _aggregate_text(prepared, table)
    made = operator(OUTPUT, "Aggregate", detail, costs[OUTPUT], children)
    return made | {
        "totals": _terms(compiled, table, parameters, statistics) + derived(prepared, table),
        "values": values,
    }


def _conditions(plan: CompiledPlan, table: Table, costs: dict[str, Document]) -> list[Document]:
    """The conditions inside aggregates, beside the filter that they narrow."""
    found = []
    pairs = zip(plan.spec.conditions, plan.conditions, strict=True)
    for number, (condition, node) in enumerate(pairs, start=1):
        below = [] if node is None else [_filter(node, f"c{number}", table, costs, None)]
        detail = f"Condition {number} of totals"
        if condition.public is not None:
            detail += f": {_public_text(condition.public, table)} (public)"
        found.append(operator(f"condition {number}", "Condition", detail, {}, below))
    return found


def _terms(
    plan: CompiledPlan, table: Table, parameters: Parameters, statistics: Statistics
) -> list[Document]:
    """What is added up: per total its ciphertexts over all groups, products, bytes and seconds."""
    found = []
    for index, term in enumerate(plan.spec.terms):
        mine = tuple(a for a in plan.accumulators if a.term == index)
        own = replace(plan, accumulators=mine, packed=())
        product = " * ".join(table.column(column).name for column in term.columns)
        text = f"{term.kind}({product or '*'})"
        if term.required:
            names = ", ".join(table.column(column).name for column in term.required)
            text += f" where {names} NOT NULL"
        text += f" under condition {term.condition}" if term.condition else ""
        products = sum(a.right is not None for a in own.accumulators)
        seconds = output_seconds(own, parameters) * statistics.segments
        found.append(
            {
                "total": text,
                "ciphertexts": len(own.accumulators),
                "products": products * statistics.segments,
                "download_bytes": download_bytes(own, parameters, statistics.segments),
                "seconds": round(seconds, 6),
            }
        )
    return found


def _scan(public: Predicate | None, table: Table, statistics: Statistics) -> Document:
    """Segments, or those that an index leaves: how many is known only when it is asked."""
    estimated = {"segments": statistics.segments}
    uses = choose(public, table, statistics.ready_indexes)
    if uses is None:
        scan = operator("scan", "Scan", f"Scan {table.name}", estimated)
        building = choose(public, table) or ()
        scan["indexes"] = [_index(use, "building") for use in building]
    else:
        scan = operator("scan", "IndexScan", f"Index scan of {table.name}", estimated)
        scan["indexes"] = [_index(use, "ready") for use in uses]
    return scan


def _index(use: IndexUse, state: str) -> Document:
    return {"name": use.index.name, "conditions": list(use.conditions), "state": state}


def operator(
    path: str,
    name: str,
    detail: str,
    estimated: Document,
    children: Iterable[Document] = (),
) -> Document:
    return {
        "id": path,
        "operator": name,
        "detail": detail,
        "estimated": estimated,
        "children": list(children),
    }


def _filter(
    node: Node, path: str, table: Table, costs: dict[str, Document], scan: Document | None
) -> Document:
    children: list[Document] = []
    if isinstance(node, (AndNode, OrNode)):
        for index, child in enumerate(node.children):
            below = scan if index == len(node.children) - 1 else None
            children.append(_filter(child, f"{path}.{index}", table, costs, below))
    elif scan is not None:
        children.append(scan)
    name, detail = _node_text(node, table)
    return operator(path, name, detail, costs[path], children)


def _costs(
    plan: CompiledPlan, parameters: Parameters, statistics: Statistics
) -> dict[str, Document]:
    """Per operator: key switches, levels in and out, bytes read and seconds, over all segments."""
    segments = statistics.segments
    grouped: dict[str, list[Step]] = defaultdict(list)
    for step in plan.steps:
        grouped[step.owner].append(step)
    named = [("0", plan.root), *((f"c{n}", c) for n, c in enumerate(plan.conditions, start=1))]
    roots = [operators(node, path) for path, node in named if node is not None]
    paths = [OUTPUT, *(path for found in roots for path, _ in found)]
    found: dict[str, Document] = {}
    for path in paths:
        steps = [step for step in grouped[path] if not step.constant]
        seconds = sum(step_seconds(step, parameters) for step in steps)
        if path == OUTPUT:
            seconds += output_seconds(plan, parameters)
        reads = [step for step in steps if step.node.op == "input"]
        levels = [step.level + step.drops for step in steps]
        found[path] = {
            "key_switches": sum(step.node.op == "switch" for step in steps) * segments,
            "level_in": max(levels, default=plan.output_level),
            "level_out": min((step.level for step in steps), default=plan.output_level),
            "bytes_read": segments
            * sum(sum(parameters.residue_bytes(s.level)) * parameters.slots for s in reads),
            "seconds": round(seconds * segments, 6),
        }
    return found


def _totals(
    prepared: Prepared, table: Table, parameters: Parameters, statistics: Statistics
) -> Document:
    if prepared.compiled is None:
        return {"key_switches": 0, "levels": 0, "seconds": 0.0}
    cost: Cost = estimate(prepared.compiled, table.public(), parameters, statistics)
    return {
        "key_switches": cost.key_switches,
        "levels": prepared.compiled.level,
        "products": cost.products,
        "transforms": cost.transforms,
        "bytes_read": cost.bytes_read,
        "upload_bytes": cost.upload_bytes,
        "download_bytes": cost.download_bytes,
        "seconds": round(cost.seconds, 6),
        "cold_seconds": round(cost.cold_seconds, 6),
        "accumulators": len(prepared.compiled.accumulators),
        "rounds": 1,
        "packed_outputs": len(prepared.compiled.packed),
        "constants": len(prepared.constants),
        "digest": prepared.compiled.digest.hex(),
    }


def statistics_of(
    statistics: Statistics, parameters: Parameters, *, stale: bool = False
) -> Document:
    """The sizes a plan was made for; ``stale``: from a cache."""
    return {
        "segments": statistics.segments,
        "rows": statistics.rows,
        "tail_rows": statistics.tail_rows,
        "slots_per_segment": parameters.slots,
        "stale": stale,
        **({"rekeys": statistics.rekeys} if statistics.rekeys else {}),
    }


def parameters_of(table: Table, parameters: Parameters) -> Document:
    """The parameters under which a table is encrypted."""
    return {
        "name": parameters.name,
        "scheme": table.scheme,
        "slots": parameters.slots,
        "levels": parameters.max_level,
        "modulus_bits": round(parameters.modulus_bits, 1),
    }


# ---- words -----------------------------------------------------------------------------------


def _node_text(node: Node, table: Table) -> tuple[str, str]:  # noqa: PLR0911 - one per kind
    if isinstance(node, AndNode):
        return "And", "And"
    if isinstance(node, OrNode):
        return "Or", "Or"
    if isinstance(node, PublicNode):
        return "Public", f"{_public_text(node.predicate, table)} (public)"
    assert isinstance(node, (RangeLeaf, EqualLeaf, MemberLeaf, NullLeaf, PrefixLeaf))
    column = table.column(node.column_id).name
    if is_virtual(node.column_id):
        return "Vector", column
    if isinstance(node, NullLeaf):
        return "Null", f"{column} IS {'NOT ' if node.negated else ''}NULL"
    suffix = " (PUBLIC constants)" if node.codes is not None else ""
    if isinstance(node, RangeLeaf):
        return "Range", _FORMS[node.form].format(column) + suffix
    negation = "NOT " if node.negated else ""
    if isinstance(node, PrefixLeaf):
        return "Prefix", f"{column} {negation}LIKE ?{suffix}"
    if isinstance(node, MemberLeaf):
        return "Member", f"{column} {negation}IN categories{suffix}"
    if node.count > 1:
        return "Equal", f"{column} {negation}IN ({node.count} constants){suffix}"
    return "Equal", f"{column} {'<>' if node.negated else '='} ?{suffix}"


def _public_text(predicate: Predicate, table: Table) -> str:
    names = [table.column(column_id).name for column_id in sorted(predicate_columns(predicate))]
    return f"condition on {', '.join(names)}" if names else "constant condition"


def _aggregate_text(prepared: Prepared, table: Table) -> str:
    shown = [
        scalar_text(aggregate, table)
        for item in prepared.select.items
        for aggregate in aggregates_of(item.expression)
    ]
    groups = [table.column(column_id).name for column_id in prepared.select.group_by]
    by = f" by {', '.join(groups)}" if groups else ""
    return f"Aggregate {', '.join(dict.fromkeys(shown))}{by}".strip()


def scalar_text(scalar: Scalar, table: Table) -> str:
    """A scalar as SQL; constants are left out, they may be secret."""
    match scalar:
        case ColumnRef(column_id=column_id):
            return table.column(column_id).name
        case Arithmetic(op=op, left=left, right=right):
            return f"({scalar_text(left, table)} {op} {scalar_text(right, table)})"
        case Case(branches=branches, otherwise=otherwise):
            values = (scalar_text(value, table) for _, value in branches)
            whens = " ".join(f"WHEN ? THEN {value}" for value in values)
            return f"CASE {whens} ELSE {scalar_text(otherwise, table)} END"
        case Coalesce(values=several):
            return f"coalesce({', '.join(scalar_text(value, table) for value in several)})"
        case Aggregate(function=function, argument=argument, where=where):
            inner = "*" if argument is None else scalar_text(argument, table)
            if isinstance(argument, Arithmetic):
                inner = inner[1:-1]
            inner = f"DISTINCT {inner}" if scalar.distinct else inner
            text = f"{function.removesuffix('_star')}({inner})"
            return text if where is None else f"{text} FILTER ?"
    return "?"
