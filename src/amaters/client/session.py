"""A connection with its keyset: handshake, catalogue, and what reading and writing share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from amaters.base import errors
from amaters.base.clock import Clock
from amaters.base.ids import new_id
from amaters.base.progress import Progress, ProgressCallback
from amaters.base.rng import Rng
from amaters.base.version import VERSION
from amaters.client.keychain import Keychain
from amaters.client.keymaking import Choice, make_keyset
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset
from amaters.client.meter import Meter, metered
from amaters.client.remembered import Remembered, Seen
from amaters.client.result import Stats
from amaters.client.schemes import Schemes
from amaters.client.versions import SchemaVersions
from amaters.columns.records import SchemaRecord, decode_public, open_schema, seal_schema
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.fhe.scheme import ClientScheme
from amaters.plan.cost import Statistics
from amaters.wire import service_pb2 as pb
from amaters.wire.service import PROTOCOL, Service, chunks_of

SUCCESSORS_MAX = 64  # rotations that a session may have slept through
NoticeCallback = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything a session takes from the world, so that tests can hold it still."""

    clock: Clock
    rng: Rng
    notice: NoticeCallback
    progress: ProgressCallback
    threads: int
    timeout_seconds: float | None = None


@dataclass(slots=True)
class _Shared:
    """What every measured view of a session has in common."""

    keys: Keys
    url: str
    versions: SchemaVersions
    closed: bool = False
    catalogue: dict[str, Table] | None = None
    opened: dict[bytes, tuple[pb.SchemaRecord, Table]] = field(default_factory=dict)
    sizes: dict[tuple[bytes, int], Statistics] = field(default_factory=dict)
    seen: dict[bytes, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """One open database. ``service`` is metered: all that passes it is counted on ``meter``."""

    service: Service
    meter: Meter
    keychain: Keychain
    outside: Outside
    began: float
    _shared: _Shared
    is_local: bool = False

    @property
    def keyset(self) -> Keyset:
        """That of new tables."""
        return self.keychain.keyset

    @property
    def schemes(self) -> Schemes:
        """Those of new tables."""
        return self.keychain.schemes

    @property
    def keys(self) -> Keys:
        """Where keysets come from."""
        return self._shared.keys

    @property
    def url(self) -> str:
        """What messages call the database."""
        return self._shared.url

    def measured(self, progress: ProgressCallback | None = None) -> Session:
        """This session with a meter and a stopwatch of its own, for one statement; ``progress`` is
        told of that statement's progress instead of the connection's callback.
        """
        meter = Meter()
        outside = self.outside
        if progress is not None:
            outside = replace(outside, progress=progress)
        service, began = metered(self.service, meter), outside.clock.monotonic()
        return replace(self, service=service, meter=meter, outside=outside, began=began)

    def locally(self) -> Session:
        """This session cut off from the server: only what was seen before is known."""
        remembered = cast("Service", Remembered(self._shared.seen))
        return replace(self, service=remembered, meter=Meter(), is_local=True)

    def note_snapshot(self, table: Table, reply: pb.SnapshotReply) -> None:
        """Remember how large a table is: for estimates, and for ``locally``."""
        if self.is_local:
            return
        kept = pb.SnapshotReply()
        kept.CopyFrom(reply)
        self._shared.seen[table.id] = Seen(kept, self.outside.clock.monotonic())

    def sizes_age_seconds(self, table: Table) -> float | None:
        """How long ago a table's sizes were seen; None if never."""
        seen = self._shared.seen.get(table.id)
        return None if seen is None else self.outside.clock.monotonic() - seen.at_seconds

    def stats(self, **more: Any) -> Stats:
        """What was measured since ``measured``; ``more`` is what only the caller knows."""
        return Stats(
            wall_seconds=self.outside.clock.monotonic() - self.began,
            bytes_sent=self.meter.sent,
            bytes_received=self.meter.received,
            **more,
        )

    def parameters_of(self, table: Table) -> Parameters:
        """The parameter set of a table's ciphertexts: tables of two depths have different ones."""
        return get_parameters(table.parameter_set)

    def scheme_of(self, table: Table) -> ClientScheme:
        """What encrypts and decrypts for a table. Raises: DeniedError AM-2311."""
        return self.keychain.scheme_of(table)

    def keyset_of(self, table: Table) -> Keyset:
        """What seals and opens a table's rows. Raises: DeniedError AM-2311."""
        return self.keychain.keyset_of(table)

    def key_name_of(self, table: Table) -> pb.KeyName:
        """How the engine knows the evaluation keys of a table."""
        return self.keychain.key_name_of(table)

    def report(self, what: str, done: int, total: int, unit: str) -> None:
        """Tell the progress callback."""
        self.outside.progress(Progress(what, done, total, unit))

    def require_open(self) -> None:
        """Raises: ClosedError AM-5002."""
        if self._shared.closed:
            errors.fail("AM-5002")

    async def tables(self) -> dict[str, Table]:
        """Every table by name, each schema authenticated.

        Raises: DeniedError when a schema was not made by this keyset or is older than one that was
        seen with this keyring; nothing is sent after that.
        """
        self.require_open()
        reply = await self.service.list_tables(pb.ListTablesRequest())
        try:
            found = [self._open(record) for record in reply.tables]
        except errors.DeniedError as refused:
            strange = any(self._is_under_others(record) for record in reply.tables)
            if refused.code != "AM-2050" or not strange or not await self._adopt_keysets():
                raise
            found = [self._open(record) for record in reply.tables]
        for dropped in self._shared.opened.keys() - {table.id for table in found}:
            del self._shared.opened[dropped]
        self._shared.catalogue = {table.name: table for table in found}
        return self._shared.catalogue

    async def known_tables(self) -> dict[str, Table]:
        """What ``tables`` returned last, so that a statement can be refused with nothing sent.

        A schema that moved on meanwhile is a conflict (AM-3022) of the first request that names
        it; whoever meets one calls ``forget_tables`` and looks again.
        """
        self.require_open()
        known = self._shared.catalogue
        return await self.tables() if known is None else known

    def forget_tables(self) -> None:
        """Let the next ``known_tables`` ask the engine."""
        self._shared.catalogue = None

    def note_sizes(self, table: Table, sizes: Statistics) -> None:
        """Remember what a table looked like, for EXPLAIN."""
        self._shared.sizes[(table.id, table.version)] = sizes

    def known_sizes(self, table: Table) -> Statistics | None:
        """What ``note_sizes`` was last told of a table since this client last wrote anything."""
        return self._shared.sizes.get((table.id, table.version))

    def forget_sizes(self) -> None:
        """To be called after a write."""
        self._shared.sizes.clear()

    async def table(self, name: str) -> Table:
        """One table by name. Raises: InvalidError AM-5009."""
        return find_table(await self.tables(), name)

    async def create_table(self, table: Table) -> None:
        """Create a table whose schema this keyset has sealed.

        Cost: the first table of a depth sends its evaluation keys: 155 MB and some seconds for
        DEPTH = 'deep'; those of other tables are there already.
        """
        self.require_open()
        scheme = await asyncio.to_thread(self.scheme_of, table)
        await send_evaluation_keys(self.service, self.schemes, scheme, self.outside)
        request = pb.CreateTableRequest(request_id=self.new_id(), schema=self.sealed(table))
        await self.service.create_table(request)
        self._shared.versions.note(table.id, table.version)
        await self.tables()

    async def update_table(self, table: Table, *, position: int | None = None) -> None:
        """Replace the schema of version ``table.version - 1``. ``position``: only if nothing has
        changed the table after this read version. Raises: ConflictError AM-3022, AM-3101, AM-3102.
        """
        request = pb.UpdateSchemaRequest(
            request_id=self.new_id(),
            expected_version=table.version - 1,
            schema=self.sealed(table),
            position=position or 0,
            has_position=position is not None,
        )
        await self.service.update_schema(request)
        self._shared.versions.note(table.id, table.version)
        self._remember(table)

    async def drop_table(self, table: Table) -> None:
        """Drop a table and everything in it."""
        self.require_open()
        request = pb.DropTableRequest(request_id=self.new_id(), table_id=table.id)
        self.forget_tables()
        await self.service.drop_table(request)
        self.forget_tables()

    def rows_seen(self, table_id: bytes) -> int | None:
        """How many rows a table had in segments when its sizes were seen; None if never."""
        seen = self._shared.seen.get(table_id)
        return None if seen is None else sum(s.live for s in seen.reply.segments)

    def _remember(self, table: Table) -> None:
        known = self._shared.catalogue
        if known is not None:
            others = {name: other for name, other in known.items() if other.id != table.id}
            self._shared.catalogue = {**others, table.name: table}

    def new_id(self) -> bytes:
        return new_id(self.outside.rng)

    async def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        if not self._shared.closed:
            self._shared.closed = True
            await self.service.close()

    def sealed(self, table: Table) -> pb.SchemaRecord:
        """A table's schema as the engine keeps it, under the keyset of the table."""
        record = seal_schema(table, self.keyset_of(table), rng=self.outside.rng)
        return pb.SchemaRecord(
            table_id=table.id,
            name=table.name,
            version=table.version,
            public_bytes=record.public_bytes,
            sealed_bytes=record.sealed_bytes,
            mac=record.mac,
        )

    def _open(self, record: pb.SchemaRecord) -> Table:
        """The table of a record; one with the same bytes was authenticated before."""
        shared = self._shared
        newest = shared.versions.known.get(record.table_id, 0)
        known, table = shared.opened.get(record.table_id, (None, None))
        if table is None or known != record or table.version < newest:
            table = self._authenticated(record)
            shared.opened[record.table_id] = (record, table)
        return table

    def _authenticated(self, record: pb.SchemaRecord) -> Table:
        parts = SchemaRecord(record.version, record.public_bytes, record.sealed_bytes, record.mac)
        first, *others = self.keychain
        for keyset in (first, *others):
            try:
                table = open_schema(parts, keyset, seen=self._shared.versions.known)
            except errors.DeniedError as refused:
                if refused.code == "AM-2050" and keyset.key_id != (first, *others)[-1].key_id:
                    continue
                raise
            if self.keyset_of(table).key_id == keyset.key_id:
                self._shared.versions.note(table.id, table.version)
                return table
        errors.fail("AM-2050", table=record.name)

    def note_version(self, table: Table) -> None:
        """A table has this version by now."""
        self._shared.versions.note(table.id, table.version)
        self.forget_tables()

    def use(self, keyset: Keyset) -> None:
        """A keyset that replaces the one in use: new tables are under it from here on."""
        shared = self._shared
        versions = shared.keys.versions(keyset.key_id)
        versions.include(shared.versions)
        shared.versions = versions
        self.keychain.add(keyset)

    async def hello(self) -> pb.HelloReply:
        """Who is there, and under which keysets."""
        return await self.service.hello(_hello(unsafe=False))

    def _is_under_others(self, record: pb.SchemaRecord) -> bool:
        """Whether a record claims keys that are not here: then a look for them is worth it."""
        try:
            key_id = decode_public(record.public_bytes).key_id
        except errors.DataError:
            return False
        return self.keychain.owner_of(key_id) is None

    async def _adopt_keysets(self) -> bool:
        """Take over the keyset that somebody else rotates the database to, or has; whether there
        was one. Raises: DeniedError AM-1101, AM-1123, AM-1124.
        """
        reply = await self.hello()
        before = self.keyset
        for key_id, code in ((reply.keyset_id, "AM-1101"), (reply.rotating_to, "AM-1123")):
            if key_id and all(known.key_id != key_id for known in self.keychain):
                found = self.keys.successor(self.keyset, key_id, self.url, code)
                self.use(found)
        return self.keyset.key_id != before.key_id


def find_table(tables: dict[str, Table], name: str) -> Table:
    """The table of this name, letter case apart."""
    for known, table in tables.items():
        if known.lower() == name.lower():
            return table
    errors.fail("AM-5009", table=name, tables=", ".join(sorted(tables)) or "none")


async def open_session(
    service: Service, *, url: str, keys: Keys, choice: Choice, outside: Outside
) -> Session:
    """Shake hands and agree on the keyset; a new database gets one, saved before it is used.

    Raises: DeniedError AM-1101 for a foreign keyset, AM-1106 when the database is of another kind
    than the caller allowed.
    """
    reply = await service.hello(_hello(unsafe=choice.unsafe))
    if choice.unsafe and not reply.unsafe_scheme:
        _refuse(url, choice.scheme, choice.parameters, "start the engine with the unsafe flag too")
    if reply.keyset_id:
        keyset = keys.find(reply.keyset_id, url)
    else:
        keyset = await _new_keyset(url, keys, choice, outside)
    _require_allowed(url, keyset, choice)
    if choice.unsafe:
        outside.notice(f"UNSAFE: {url} uses {keyset.scheme}/{keyset.parameters}: no protection")
    keychain = Keychain(keyset)
    scheme = await asyncio.to_thread(keychain.schemes.of_depth, "default")
    await send_evaluation_keys(service, keychain.schemes, scheme, outside)
    meter = Meter()
    began = outside.clock.monotonic()
    shared = _Shared(keys, url, keys.versions(keyset.key_id))
    session = Session(metered(service, meter), meter, keychain, outside, began, shared)
    if reply.rotating_to:
        short, has = reply.rotating_to.hex()[:16], keys.has(reply.rotating_to)
        outside.notice(f"{url} is being rotated to keyset {short}: `amaters keys rotate` goes on")
        if has:
            session.use(keys.successor(keyset, reply.rotating_to, url, "AM-1123"))
    return session


def _hello(*, unsafe: bool) -> pb.HelloRequest:
    return pb.HelloRequest(protocol=PROTOCOL, version=VERSION, unsafe_scheme=unsafe)


async def send_evaluation_keys(
    service: Service, schemes: Schemes, scheme: ClientScheme, outside: Outside
) -> None:
    """Make and send evaluation keys, if the engine does not have them."""
    name = schemes.name_of(scheme)
    present = await service.has_keyset(name)
    if present.present:
        return
    outside.progress(Progress("making evaluation keys", 0, 0, "keys"))
    evaluation = await asyncio.to_thread(scheme.evaluation_keys)
    request = pb.PutKeysetRequest(request_id=new_id(outside.rng), name=name, size=len(evaluation))
    await service.put_keyset(request, chunks_of(evaluation))
    outside.progress(Progress("making evaluation keys", 1, 1, "keys"))


@dataclass(slots=True)
class Keys:
    """Where this connection's keyset comes from; without a keyring it lives in memory only."""

    keyring: Keyring | None
    required: bytes | None = None

    def find(self, key_id: bytes, url: str) -> Keyset:
        """The keyset the database asks for. Raises: DeniedError AM-1101."""
        if self.keyring is None or self.required not in (None, key_id):
            where = "this connection" if self.keyring is None else self.keyring.directory
            errors.fail("AM-1101", database=url, key_id=key_id.hex()[:16], keyring=where)
        return self.keyring.find(key_id, url)

    def successor(self, keyset: Keyset, key_id: bytes, url: str, code: str) -> Keyset:
        """The keyset that was made to replace ``keyset``. Its id is looked up, not believed.

        Raises: DeniedError ``code`` when it is not here, AM-1124 when it was made for another.
        """
        if self.keyring is None or not self.has(key_id):
            where = "this connection" if self.keyring is None else self.keyring.directory
            errors.fail(code, database=url, key_id=key_id.hex()[:16], keyring=where)
        found = self.keyring.find(key_id, url)
        before, looked_at = found.replaces, 1
        while before != keyset.key_id:  # it may be the successor of a successor
            if not before or not self.has(before) or looked_at > SUCCESSORS_MAX:
                errors.fail("AM-1124", key_id=found.name, old=keyset.name)
            before = self.keyring.header_of(self.keyring.path(before)).replaces
            looked_at += 1
        return found

    def has(self, key_id: bytes) -> bool:
        """Whether a keyset is where keysets come from."""
        return self.keyring is not None and self.keyring.path(key_id).is_file()

    def versions(self, key_id: bytes) -> SchemaVersions:
        """The schema versions that clients with this keyring have seen."""
        return SchemaVersions(self.keyring.versions_path(key_id) if self.keyring else None)


async def _new_keyset(url: str, keys: Keys, choice: Choice, outside: Outside) -> Keyset:
    if keys.required is not None and keys.keyring is not None:
        return keys.keyring.find(keys.required, url)
    keyset = await asyncio.to_thread(
        make_keyset, choice.scheme, choice.parameters, outside.clock, outside.rng
    )
    if keys.keyring is not None:
        path = keys.keyring.save(keyset)
        outside.notice(f"made keyset {path} for {url}: copy it, a lost keyset is lost data")
    return keyset


def _require_allowed(url: str, keyset: Keyset, choice: Choice) -> None:
    """The keyset decides, and only a caller who asked for something unsafe may get it."""
    if (keyset.scheme, keyset.parameters) == (choice.scheme, choice.parameter_set.name):
        return
    actual = Choice(keyset.scheme, keyset.parameters)
    if keyset.scheme == choice.scheme and not actual.unsafe and not choice.unsafe:
        return
    if actual.unsafe:
        fix = "pass the unsafe_ argument the database was made with, if it is a test database"
    else:
        fix = "leave the unsafe_ argument out: this database is encrypted"
    _refuse(url, keyset.scheme, keyset.parameters, fix)


def _refuse(url: str, scheme: str, parameters: str, fix: str) -> None:
    errors.fail("AM-1106", database=url, scheme=scheme, parameters=parameters, fix=fix)
