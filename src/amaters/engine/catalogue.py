"""The tables and keysets of a database, decoded once per change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NoReturn

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES
from amaters.columns.records import decode_public
from amaters.columns.schema import PublicTable
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.storage.database import Storage
from amaters.storage.versions import TableVersion
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
        return not {row.sid for row in version.segments} <= {row.sid for row in now.segments}

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
        """The entry that ``record`` replaces. Raises: AM-3005, AM-3021, AM-3022, AM-2052."""
        entry = self.find(record.table_id, expected_version)
        table = check_record(record)
        if record.version <= expected_version:
            invalid("a schema update that does not raise the version")
        old = entry.table
        if dataclasses.replace(table, version=old.version, indexes=old.indexes) != old:
            invalid("a schema update that changes the public part")
        self._check_index_names(table)
        return entry

    def _check_index_names(self, table: PublicTable) -> None:
        """An index's name is its own in the whole database. Raises: AM-2350."""
        others = [entry.table for entry in self.entries() if entry.table.id != table.id]
        taken = {index.name.lower() for other in others for index in other.indexes}
        for index in table.indexes:
            if index.name.lower() in taken:
                fail("AM-2350", index=index.name)


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
