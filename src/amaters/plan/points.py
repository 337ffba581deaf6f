"""EXPLAIN of what is asked of rows by primary key: get and delete. Pure.

No circuit runs, so there is no cost to estimate; what matters is what the server learns.
"""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.cost import Statistics
from amaters.plan.explain import VERSION, Document, operator, parameters_of, statistics_of
from amaters.plan.explain_writes import values_hidden

OPERATIONS = ("get", "insert", "upsert", "delete")


def explain_point(
    table: Table,
    operation: str,
    count: int,
    statistics: Statistics,
    parameters: Parameters,
    *,
    stale: bool = False,
) -> Document:
    """The document of a get or delete of ``count`` rows. Raises: InvalidError AM-5007."""
    if operation not in ("get", "delete"):
        fix = f"the operations are {', '.join(OPERATIONS)}"
        fail("AM-5007", what=f"EXPLAIN of operation {operation!r}", fix=fix)
    rows = f"{count:,} row{'' if count == 1 else 's'}"
    lookup = operator("keys", "Lookup", f"Look up {count:,} keys of {table.name}", {})
    if operation == "get":
        plan = operator("output", "Get", f"Open {rows} of {table.name}", {}, [lookup])
    else:
        detail = f"Delete {rows} of {table.name}, in one commit"
        plan = operator("change", "Delete", detail, {}, [lookup])
    return {
        "version": VERSION,
        "kind": operation,
        "table": table.name,
        "plan": plan,
        "parameters": parameters_of(table, parameters),
        "statistics": statistics_of(statistics, parameters, stale=stale),
        "estimated": {"key_switches": 0, "levels": 0, "seconds": 0.0},
        "actual": None,
        "summary": _SUMMARIES[operation],
        "server_learns": _learns(table, operation, count),
        "server_does_not_learn": _hidden(table, operation),
    }


_SUMMARIES = {
    "get": "no encrypted computation: one round trip, rows are opened on this client",
    "delete": "no encrypted computation: one look at the keys, then one commit",
}


def _learns(table: Table, operation: str, count: int) -> list[str]:
    learns = [
        f"the {count:,} primary keys asked for" if count != 1 else "the primary key asked for"
    ]
    public = [column.name for column in table.public_columns if not column.primary_key]
    if operation == "delete":
        learns.append("which of them have a row, and that those go together")
    else:
        learns.append("which of them have a row")
        if public:
            learns.append(f"which of the public columns {', '.join(public)} are asked for")
        if table.encrypted_columns:
            learns.append("whether any encrypted column is asked for")
    return [*learns, "the time and size of the request"]


def _hidden(table: Table, operation: str) -> list[str]:
    if not table.encrypted_columns:
        return []
    hidden = [values_hidden(table)]
    if operation == "get":
        hidden.append("which of the encrypted columns are asked for")
    return hidden
