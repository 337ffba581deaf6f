"""EXPLAIN of statements that write rows or change the schema: what is encrypted and sent, and what
the server learns. Pure, like ``plan.explain``.

Costs are those of this client: encrypting, sealing, sending. What the engine does is storing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters.columns.schema import Column, Table
from amaters.fhe.keys import relinearization_shapes, stored_bytes
from amaters.fhe.parameters import Parameters
from amaters.plan.cost import Statistics, encryption_seconds, fresh_bytes
from amaters.plan.explain import VERSION, Document, operator, parameters_of, statistics_of
from amaters.plan.expressions import (
    CreateIndex,
    CreateTable,
    DropIndex,
    DropTable,
    InsertFrom,
    OnConflict,
    Transact,
    Update,
)
from amaters.plan.fitting import fitting_text

_SEAL_SECONDS = 10e-6  # encoding and sealing one row


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where new rows go: ``segments`` new ones, the other rows into the tail."""

    rows: int
    segments: int
    tail_rows: int


def explain_insert(
    table: Table,
    arrival: Arrival,
    conflict: OnConflict | None,
    parameters: Parameters,
    statistics: Statistics,
    *,
    stale: bool = False,
) -> Document:
    """INSERT, upsert and COPY of rows that are known."""
    children = []
    slices = _slices(table)
    ciphertexts = arrival.segments * slices
    sent = ciphertexts * fresh_bytes(parameters)
    seconds = ciphertexts * encryption_seconds(parameters) + arrival.rows * _SEAL_SECONDS
    if conflict is not None:
        children.append(operator("keys", "Lookup", _lookup_text(table, arrival, conflict), {}))
    if arrival.segments:
        detail = f"Encrypt {arrival.segments:,} segments, each {slices:,} ciphertexts, 64 canaries"
        cost = {"ciphertexts": ciphertexts, "bytes": sent, "seconds": round(seconds, 6)}
        children.append(operator("encrypt", "Encrypt", detail, cost))
    if arrival.tail_rows:
        detail = f"Seal {arrival.tail_rows:,} rows for the tail of {statistics.tail_rows:,} rows"
        if statistics.tail_rows + arrival.tail_rows > parameters.slots:
            detail += ", which is full: it is encrypted along, or they share a segment"
        children.append(operator("tail", "Seal", detail, {}))
    kind = "Insert" if conflict is None else "Upsert"
    detail = f"{kind} {arrival.rows:,} rows into {table.name}, in one commit"
    totals = {"seconds": round(seconds, 6), "ciphertexts": ciphertexts, "upload_bytes": sent}
    learns, hidden = insert_leakage(table, conflict)
    learns.append(f"that {arrival.rows:,} rows are written, when, and that they belong together")
    return {
        **_document(table, parameters, operator("insert", kind, detail, {}, children)),
        "kind": kind.lower(),
        "statistics": statistics_of(statistics, parameters, stale=stale),
        "estimated": totals,
        "server_learns": learns,
        "server_does_not_learn": hidden,
    }


def explain_hidden(
    document: Document, statement: Update, arrival: Arrival, parameters: Parameters
) -> Document:
    """UPDATE that hides which rows it changes; ``document`` is the SELECT's of all rows."""
    table = statement.table
    names = ", ".join(table.column(column_id).name for column_id, _ in statement.assignments)
    ciphertexts = arrival.segments * _slices(table)
    sent = ciphertexts * fresh_bytes(parameters)
    seconds = ciphertexts * encryption_seconds(parameters) + arrival.rows * _SEAL_SECONDS
    cost = {"ciphertexts": ciphertexts, "bytes": sent, "seconds": round(seconds, 6)}
    text = f"Encrypt and seal all {arrival.rows:,} rows of {table.name} again"
    encrypt = operator("encrypt", "Encrypt", text, cost, [document["plan"]])
    detail = f"Update {names} of {table.name}, hidden: all rows are replaced, in one commit"
    learns, hidden = insert_leakage(table, None)
    return {
        **document,
        "kind": "update",
        "plan": operator("change", "Update", detail, {}, [encrypt]),
        "estimated": {
            "seconds": round(seconds, 6),
            "ciphertexts": ciphertexts,
            "upload_bytes": sent,
        },
        "server_learns": [
            f"that {names} of table {table.name} changes in some rows or none",
            "that all rows are read and replaced, and when",
            *learns,
        ],
        "server_does_not_learn": [
            "which rows change, how many, and by how much",
            "the condition and its constants",
            *hidden,
        ],
    }


def explain_insert_from(document: Document, statement: InsertFrom) -> Document:
    """INSERT ... SELECT: ``document`` is the SELECT's."""
    table, conflict = statement.table, statement.conflict
    kind = "Insert" if conflict is None else "Upsert"
    detail = f"{kind} its answer into {table.name}, in one commit"
    children = [document["plan"]]
    if conflict is not None:
        text = f"Look up the keys of the answer in {table.name}"
        children.append(operator("keys", "Lookup", text, {}))
    learns, hidden = insert_leakage(table, conflict)
    learns.append("how many rows the SELECT found, because as many are written")
    return {
        **document,
        "kind": kind.lower(),
        "plan": operator("insert", kind, detail, {}, children),
        "server_learns": list(dict.fromkeys([*document["server_learns"], *learns])),
        "server_does_not_learn": [
            sentence
            for sentence in dict.fromkeys([*document["server_does_not_learn"], *hidden])
            if sentence not in ("the result", "which rows match, and how many")
        ],
    }


def explain_create_table(statement: CreateTable, parameters: Parameters) -> Document:
    """CREATE TABLE: per column what it costs at rest, and what its declaration shows."""
    table = statement.table
    size = fresh_bytes(parameters)
    children = []
    for column in table.visible_columns:
        slices = sum(shape.slices for shape in column.encodings)
        cost = {"ciphertexts": slices, "bytes": slices * size, "seconds": 0.0} if slices else {}
        text = f"Column {column.name} {column.type.sql_name}, {_protection(column)}"
        children.append(operator(f"column {column.id}", "Column", text, cost))
    fits = fitting_text(table.public(), parameters)
    if fits:
        children.append(operator("fits", "Fits", f"Filters: {fits}", {}))
    if table.scheme == "bgv":
        keys = stored_bytes(parameters, relinearization_shapes(parameters)) / 1e6
        text = f"Evaluation keys: {keys:,.1f} MB, sent with the first table of these parameters"
        children.append(operator("keys", "Keys", text, {}))
    detail = f"Create table {table.name}; ciphertexts and bytes are per segment"
    encrypted = table.encrypted_columns
    learns = [f"the names and types of table {table.name} and its columns, and which may be NULL"]
    hidden = []
    if encrypted:
        learns.append(
            "which columns are encrypted, for which queries, and how wide their codes are"
        )
        hidden.append("MIN, MAX and VALUES of encrypted columns, and the texts in dictionaries")
    return {
        **_document(table, parameters, operator("create", "CreateTable", detail, {}, children)),
        "kind": "create_table",
        "server_learns": learns,
        "server_does_not_learn": hidden,
    }


def explain_drop_table(statement: DropTable, table: Table, parameters: Parameters) -> Document:
    """DROP TABLE."""
    plan = operator("drop", "DropTable", f"Drop table {statement.name} and all its rows", {})
    return {
        **_document(table, parameters, plan),
        "kind": "drop_table",
        "server_learns": [f"that table {table.name} is dropped, and when"],
        "server_does_not_learn": [],
    }


def explain_index(
    statement: CreateIndex | DropIndex,
    table: Table,
    parameters: Parameters,
    statistics: Statistics,
    *,
    stale: bool = False,
) -> Document:
    """CREATE INDEX and DROP INDEX."""
    learns = [f"that there is an index on table {table.name}, its name and its public columns"]
    if isinstance(statement, CreateIndex):
        names = ", ".join(table.column(c).name for c in statement.index.columns)
        kind = "unique index" if statement.index.unique else "index"
        detail = f"Create {kind} {statement.index.name} on {table.name} ({names}), built online"
        name, form = "CreateIndex", "create_index"
    else:
        detail, name, form = (
            f"Drop index {statement.name} of {table.name}",
            "DropIndex",
            "drop_index",
        )
    return {
        **_document(table, parameters, operator("index", name, detail, {})),
        "kind": form,
        "statistics": statistics_of(statistics, parameters, stale=stale),
        "server_learns": learns,
        "server_does_not_learn": [values_hidden(table)] if table.encrypted_columns else [],
    }


@dataclass(frozen=True, slots=True)
class Pending:
    """What a transaction would do to one table; ``checked``: rows that it has read."""

    table: Table
    written: int
    replaced: int
    deleted: int
    checked: int


def explain_transaction(
    statement: Transact, pending: Sequence[Pending], parameters: Callable[[Table], Parameters]
) -> Document:
    """BEGIN, COMMIT and ROLLBACK. Only COMMIT of something sends anything."""
    is_commit = statement.action == "commit"
    pending = [part for part in pending if part.written or part.deleted or part.checked]
    sends = is_commit and any(part.written or part.deleted for part in pending)
    children, learns, hidden = [], [], []
    for part in pending if sends else ():
        name = part.table.name
        text = (
            f"{name}: {part.written:,} rows written, {part.replaced:,} of them over existing ones, "
            f"{part.deleted:,} deleted, {part.checked:,} others must be unchanged"
        )
        children.append(operator(f"part {name}", "Part", text, {}))
        more, unseen = insert_leakage(part.table, None)
        learns += [f"{name}: {sentence}" for sentence in more if part.written]
        if part.replaced or part.deleted:
            learns.append(f"{name}: which rows are replaced or deleted")
        if part.checked:
            learns.append(f"{name}: which other rows were read before")
        hidden += [f"{name}: {sentence}" for sentence in unseen]
    if sends:
        learns.append("that all of this belongs together, and when")
    words = {"begin": "Begin", "commit": "Commit", "rollback": "Rollback"}[statement.action]
    detail = f"{words}: {'one commit of all parts' if sends else 'nothing is sent'}"
    plan = operator(statement.action, words, detail, {}, children)
    document: Document = {
        "version": VERSION,
        "kind": statement.action,
        "table": ", ".join(part.table.name for part in pending),
        "plan": plan,
        "parameters": None,
        "statistics": None,
        "estimated": {"seconds": 0.0},
        "actual": None,
        "server_learns": learns or ["nothing"],
        "server_does_not_learn": hidden,
    }
    if pending:
        table = pending[0].table
        document["parameters"] = parameters_of(table, parameters(table))
    return document


def insert_leakage(table: Table, conflict: OnConflict | None) -> tuple[list[str], list[str]]:
    """What the server learns of rows that are written, and what not."""
    key = table.primary_key
    shown = [column.name for column in table.public_columns if column.id != key.id]
    learns = [f"the primary keys ({'row ids' if key.hidden else key.name})"]
    if shown:
        learns.append(f"the values of the public columns {', '.join(shown)}")
    if any(column.encrypted and column.type.is_text for column in table.columns):
        learns.append("the padded length of each sealed row")
    if any(column.dictionary is not None for column in table.columns):
        learns.append("whether a dictionary of texts grows, and its padded size")
    if conflict is not None:
        learns.append("which of these keys existed")
        if conflict.assignments:
            learns.append("which rows are replaced, and that their new versions belong together")
        if conflict.where is not None:
            learns.append("for which existing rows the condition held, because only they change")
    return learns, [values_hidden(table)] if table.encrypted_columns else []


def values_hidden(table: Table) -> str:
    """The sentence about values of encrypted columns."""
    names = ", ".join(column.name for column in table.encrypted_columns)
    return f"any value of the encrypted columns {names}"


def _document(table: Table, parameters: Parameters, plan: Document) -> Document:
    """What all documents have; to be completed."""
    return {
        "version": VERSION,
        "kind": "",
        "table": table.name,
        "plan": plan,
        "parameters": parameters_of(table, parameters),
        "statistics": statistics_of(Statistics(segments=0, masked=False), parameters),
        "estimated": {"seconds": 0.0, "ciphertexts": 0, "upload_bytes": 0},
        "actual": None,
        "server_learns": [],
        "server_does_not_learn": [],
    }


def _lookup_text(table: Table, arrival: Arrival, conflict: OnConflict) -> str:
    found = "which exist" if not conflict.assignments else "the rows they replace"
    if conflict.assignments and not conflict.replaces(table):
        found = "read the rows they update"
    return f"Look up {arrival.rows:,} keys of {table.name}: {found}"


def _slices(table: Table) -> int:
    """Ciphertexts of one segment."""
    columns: Sequence[Column] = table.encrypted_columns
    return sum(shape.slices for column in columns for shape in column.encodings)


def _protection(column: Column) -> str:
    if not column.encrypted:
        return "primary key, public" if column.primary_key else "public"
    if not column.queries:
        return "sealed"
    width = f", {column.width} bits" if column.queries & {"eq", "range"} else ""
    return f"encrypted for {', '.join(sorted(column.queries))}{width}"
