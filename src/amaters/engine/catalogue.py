"""The tables and keysets of a database, decoded once per change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES
from amaters.columns.records import decode_public
from amaters.columns.schema import PublicTable
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.storage.database import Storage
from amaters.storage.versions import SegmentRow, TableVersion
from amaters.wire import service_pb2 as pb

NAME_MAX = 128


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One table: its row in the state and what its public schema says."""

    tid: int
    record: pb.SchemaRecord
    table: PublicTable
    parameters: Parameters

    @property
    def key_name(self) -> pb.KeyName:
        """The evaluation keys this table needs (without the keyset's id)."""
        table = self.table
        return pb.KeyName(
            key_id=table.key_id, parameter_set=table.parameter_set, scheme=table.scheme
        )


class Catalogue:
    """All tables as last published; a schema is decoded once. For any thread."""

    def __init__(self, storage: Storage, *, unsafe_scheme: bool) -> None:
        self._storage = storage
        self._unsafe = unsafe_scheme
        self._decoded: dict[bytes, TableEntry] = {}

    def entry(self, version: TableVersion) -> TableEntry:
        """What the schema of a published version says."""
        known = self._decoded.get(version.table_id)
        if known is not None and known.tid == version.tid and known.record == version.schema:
            return known
        table = decode_public(version.schema.public_bytes)
        entry = TableEntry(version.tid, version.schema, table, get_parameters(table.parameter_set))
        self._decoded[version.table_id] = entry
        return entry

    def entries(self) -> list[TableEntry]:
        versions = self._storage.tables()
        ids = {version.table_id for version in versions}
        for dropped in self._decoded.keys() - ids:
            self._decoded.pop(dropped, None)
        return [self.entry(version) for version in versions]

    def find(self, table_id: bytes, schema_version: int | None = None) -> TableEntry:
        """The table of this id, at the schema version the caller assumes.

        Raises: AM-3011 (its scheme encrypts nothing and that is not allowed), AM-3021, AM-3022.
        """
        return self.version(table_id, schema_version)[0]

    def version(
        self, table_id: bytes, schema_version: int | None = None
    ) -> tuple[TableEntry, TableVersion]:
        """The same with its rows. Raises: AM-3011, AM-3021, AM-3022."""
        version = self._storage.version(table_id)
        if version is None:
            fail("AM-3021")
        entry = self.entry(version)
        if entry.table.scheme == "noop" and not self._unsafe:
            fail("AM-3011")
        if schema_version is not None and entry.record.version != schema_version:
            name, theirs = entry.record.name, entry.record.version
            fail("AM-3022", table=name, theirs=theirs, ours=schema_version)
        return entry, version

    def is_outdated(self, version: TableVersion) -> bool:
        """Whether the table no longer has all the objects it had then."""
        now = self._storage.version(version.table_id)
        if now is None or now.tid != version.tid:
            return True
        if now is version:
            return False
        there = {row.sid: row.manifest for row in now.segments}
        return any(there.get(row.sid) is not row.manifest for row in version.segments)

    def require_unchanged(self, table_id: bytes, position: int) -> None:
        """Raises: AM-3102 if something changed a table after a read version."""
        _, version = self.version(table_id)
        if version.position > position:
            fail("AM-3102", table=version.schema.name)

    def new_entry(self, record: pb.SchemaRecord) -> TableEntry:
        """What a record says of a table, before it is the table's. Raises: AM-3005, AM-2052."""
        table = check_record(record)
        return TableEntry(0, record, table, get_parameters(table.parameter_set))

    def check_new(self, record: pb.SchemaRecord) -> TableEntry:
        """The entry a new table would get. Raises: AM-3005, AM-3020, AM-2052."""
        table = check_record(record)
        for entry in self.entries():
            same_id = entry.record.table_id == record.table_id
            if same_id or entry.record.name.lower() == record.name.lower():
                fail("AM-3020", table=record.name)
        self._check_index_names(table)
        return TableEntry(0, record, table, get_parameters(table.parameter_set))

    def check_update(self, expected_version: int, record: pb.SchemaRecord) -> TableEntry:
        """The entry that ``record`` replaces. Raises: AM-3005, AM-3020, AM-3021, AM-3022,
        AM-3101, AM-2052.
        """
        entry, version = self.version(record.table_id, expected_version)
        table = check_record(record)
        if record.version <= expected_version:
            invalid("a schema update that does not raise the version")
        _check_change(entry.table, table, has_rows=bool(version.segments or version.tail))
        names = {other.record.name.lower(): other.tid for other in self.entries()}
        if names.get(record.name.lower(), entry.tid) != entry.tid:
            fail("AM-3020", table=record.name)
        lacking = sum(lacks_encodings(segment, table) for segment in version.segments)
        if lacking:
            fail("AM-3101", table=record.name, count=lacking)
        self._check_index_names(table)
        return entry

    def _check_index_names(self, table: PublicTable) -> None:
        """An index's name is its own in the whole database. Raises: AM-2350."""
        others = [entry.table for entry in self.entries() if entry.table.id != table.id]
        taken = {index.name.lower() for other in others for index in other.indexes}
        for index in table.indexes:
            if index.name.lower() in taken:
                fail("AM-2350", index=index.name)


def lacks_encodings(segment: SegmentRow, table: PublicTable) -> bool:
    """Whether a segment lacks an encoding that plans may read."""
    there = {(item.column_id, item.encoding) for item in segment.manifest.segment.encodings}
    return any(
        (column.id, shape.name) not in there
        for column in table.encrypted_columns
        for shape in column.encodings
    )


def makes_same_segments(one: PublicTable, other: PublicTable) -> bool:
    """Whether new segments have the same encodings, under the same key, by both schemas."""
    first, second = (
        (table.key_id, [(column.id, column.written) for column in table.encrypted_columns])
        for table in (one, other)
    )
    return first == second


def _check_change(old: PublicTable, new: PublicTable, *, has_rows: bool) -> None:
    """What an update may not touch: identity, keys, and what rows that are there are read by.

    Raises: AM-3005.
    """
    same = ("id", "key_id", "parameter_set", "scheme")
    if any(getattr(old, name) != getattr(new, name) for name in same):
        invalid("a schema update that changes the keys or the table's identity")
    known = {column.id: column for column in old.columns}
    first_new = max(old.next_column, 1 + max(known))
    if new.next_column < old.next_column or new.dropped_version < old.dropped_version:
        invalid("a schema update that gives a column's id again")
    for column in new.columns:
        before = known.get(column.id)
        if before is None:
            if column.id < first_new:
                invalid("a schema update that gives a column's id again")
            if has_rows and not (column.nullable or column.encrypted) and column.default is None:
                invalid("a NOT NULL column without a default for the rows that are there")
            continue
        fixed = ("type", "encrypted", "primary_key", "hidden", "default")
        if any(getattr(before, name) != getattr(column, name) for name in fixed):
            invalid("a schema update that changes what a column is")
    if has_rows and bool(old.encrypted_columns) < bool(new.encrypted_columns):
        invalid("the first encrypted column of a table with rows")


def check_record(record: pb.SchemaRecord) -> PublicTable:
    """The public part of a record, which must agree with the rest. Raises: AM-3005, AM-2052."""
    table = decode_public(record.public_bytes)
    said = (record.table_id, record.name, record.version)
    if said != (table.id, table.name, table.version):
        invalid("a schema record that contradicts its public part")
    if len(record.table_id) != ID_BYTES or not 0 < len(record.name) <= NAME_MAX:
        invalid("a schema record without id or name")
    return table


def invalid(what: str) -> NoReturn:
    """Raise AM-3005."""
    fail("AM-3005", what=what)
