"""Rotation: a database moves to new keys. Ciphertexts are switched by the engine, which gets keys
that lead from the old secret to the new one; rows, canaries and schemas are sealed anew here.

Segment by segment what the database will be is made beside what it is; then a table changes over in
one commit, with its tail; at last the engine forgets the old keys. Readers and writers go on under
the keys that their table has. Stopped anywhere, the next call goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from amaters.base import errors
from amaters.client.compaction import fold_tail
from amaters.client.guard import opened_blocks
from amaters.client.keymaking import make_keyset
from amaters.client.keyset import Keyset
from amaters.client.rows import open_block, read_tail, snapshot
from amaters.client.segments import encode_columns, upload
from amaters.client.session import Session, send_evaluation_keys
from amaters.client.vacuum import Holder
from amaters.columns.batch import concatenate
from amaters.columns.canaries import seal_canaries
from amaters.columns.schema import Table
from amaters.columns.sealing import seal_rows
from amaters.fhe.scheme import ClientScheme
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import encode_pack
from amaters.wire.service import chunks_of

ATTEMPTS_MAX = 64  # of a table whose tail, segments or schema others change
TAIL_BYTES_MAX = 8 << 20  # that one command replaces; a longer tail becomes a segment first
SWITCHES_MAX, HOLD_SECONDS = 8, 2.0  # attempts to change a table over; how long writers wait
TAIL_CHANGED = "AM-3123"
# Somebody else was faster: a look at the table as it is now settles it.
BEHIND = frozenset({"AM-3022", "AM-3071", "AM-3073", "AM-3121", "AM-3123", "AM-5030"})


@dataclass(slots=True)
class Rotated:
    """What a rotation did in this call: ids of both keysets, tables that changed over, segments
    switched by the engine, rows sealed anew here.
    """

    old: bytes
    new: bytes
    tables: int = 0
    segments: int = 0
    rows: int = 0
    was_over: bool = False  # an earlier call had done all of it, and was interrupted at its end
    holders: list[Holder] = field(default_factory=list)  # of data under the old keyset


async def rotate(session: Session, *, rows_per_second: float | None = None) -> Rotated:
    """Move the database to a new keyset, or go on with that; at most so many rows per second.

    Cost: per segment and stored ciphertext two key switches on the engine; sealed rows go down and
    up once, ciphertexts neither way. Leaks: that it happens. Raises: AM-1125 when writers are
    faster again and again, AM-3120 when another rotation is going on, AM-3122.
    """
    session.require_open()
    old = await _old_keyset(session)
    target = (await session.hello()).rotating_to
    if target and all(known.key_id != target for known in session.keychain):
        session.use(session.keys.successor(old, target, session.url, "AM-1123"))
    keyring = session.keys.keyring
    if keyring is not None and old.replaces:
        is_end = keyring.is_replacing(old.key_id, session.url)
        if is_end or keyring.awaits_retirement(old.replaces):
            keyring.retire(old.replaces, session.url)
        if is_end:
            # A call from here was interrupted after its last step: this is its end. Had somebody
            # else replaced those keys, a new rotation would be what is asked for.
            keyring.end_replacing(old.key_id, session.url)
            return Rotated(old.replaces, old.key_id, was_over=True)
    new = session.keyset
    if new.key_id == old.key_id:
        new = await asyncio.to_thread(_replacement, session, old)
    if keyring is not None:
        keyring.begin_replacing(new.key_id, session.url)
    done = Rotated(old.key_id, new.key_id)
    await _Introduction(session, old, new).run()
    if session.keyset.key_id != new.key_id:
        session.use(new)
    work = _Rotation(session, old, new, done, rows_per_second)
    for _ in range(ATTEMPTS_MAX):
        while await work.round():
            pass
        if await _is_ended(session, new):
            break
    if keyring is not None:
        keyring.retire(old.key_id, session.url)
        keyring.end_replacing(new.key_id, session.url)
    return done


async def abandon(session: Session) -> bytes:
    """Give up a rotation of which no table has changed over yet; the id of the keyset that stays.
    What was made for it is thrown away; its keyset file stays, and the next rotation takes it.

    Raises: ConflictError AM-3121 when a table is under the new keyset by now: finish it instead.
    """
    session.require_open()
    hello = await session.hello()
    request = pb.EndRotationRequest(request_id=session.new_id(), keyset_id=hello.keyset_id)
    await session.service.end_rotation(request)
    if session.keys.keyring is not None and hello.rotating_to:
        session.keys.keyring.end_replacing(hello.rotating_to, session.url)
    session.keychain.drop(hello.rotating_to)
    session.forget_tables()
    return hello.keyset_id


async def _is_ended(session: Session, new: Keyset) -> bool:
    """Let the engine forget the old keys; False when a table is under them again."""
    request = pb.EndRotationRequest(request_id=session.new_id(), keyset_id=new.key_id)
    try:
        await session.service.end_rotation(request)
    except errors.ConflictError as lost:
        if lost.code not in BEHIND:
            raise
        return False
    return True


async def _old_keyset(session: Session) -> Keyset:
    """The keyset that the database has until the end; the catalogue is read by the way."""
    await session.tables()
    hello = await session.hello()
    for keyset in session.keychain:
        if keyset.key_id == hello.keyset_id:
            return keyset
    errors.fail("AM-5012", what="it belongs to another keyset than its tables")


def _replacement(session: Session, old: Keyset) -> Keyset:
    """A new keyset, durable in the keyring before it is used; one that an earlier attempt left."""
    keyring, outside = session.keys.keyring, session.outside
    if keyring is not None:
        known = keyring.replacement_of(old.key_id)
        if known is not None:
            return keyring.find(known, session.url)
    made = make_keyset(old.scheme, old.parameters, outside.clock, outside.rng)
    made = replace(made, replaces=old.key_id)
    if keyring is not None:
        path = keyring.save_like(made, old.key_id)
        outside.notice(f"made keyset {path}: copy it before the old one goes")
    return made


@dataclass(frozen=True, slots=True)
class _Introduction:
    """Sends the new keyset's public keys, and those that lead to it, where they are not yet."""

    session: Session
    old: Keyset
    new: Keyset

    async def run(self) -> None:
        """Raises: AM-3120."""
        from amaters.client.schemes import Schemes

        before, after = self.session.keychain.schemes_under(self.old.key_id), Schemes(self.new)
        for depth in ("default", "deep"):
            if depth == "deep" and not (before.has_deep and after.has_deep):
                continue
            source = await asyncio.to_thread(before.of_depth, depth)
            target = await asyncio.to_thread(after.of_depth, depth)
            used = await self.session.service.has_keyset(before.name_of(source))
            if used.present and source.parameters == target.parameters:
                name = after.name_of(target)
                name.from_key_id = source.key_id
                await self._lead(name, source, target)
                await send_evaluation_keys(
                    self.session.service, after, target, self.session.outside
                )

    async def _lead(self, name: pb.KeyName, source: ClientScheme, target: ClientScheme) -> None:
        present = await self.session.service.has_keyset(name)
        if present.present:
            return
        keys = await asyncio.to_thread(target.rekeying_keys, source)
        request = pb.PutKeysetRequest(request_id=self.session.new_id(), name=name, size=len(keys))
        await self.session.service.put_keyset(request, chunks_of(keys))


@dataclass(slots=True)
class _Rotation:
    """All tables that are still under the old keyset, one after the other."""

    session: Session
    old: Keyset
    new: Keyset
    done: Rotated
    rows_per_second: float | None
    began: float = 0.0
    attempts: dict[bytes, int] = field(default_factory=dict)

    async def round(self) -> bool:
        """Change one table over, or come nearer to it; False when none is left."""
        if not self.began:
            self.began = self.session.outside.clock.monotonic()
        self.session.forget_tables()
        tables = await self.session.tables()
        owners = {name: self.session.keyset_of(table) for name, table in tables.items()}
        left = sorted(name for name in tables if owners[name].key_id == self.old.key_id)
        if not left:
            return False
        table = tables[left[0]]
        # A deep table may be the first of its depth since the rotation began.
        await _Introduction(self.session, self.old, self.new).run()
        try:
            is_over = await self._table(table)
        except errors.ConflictError as lost:
            if lost.code not in BEHIND:
                raise
            is_over = False
        self.done.tables += is_over
        tried = self.attempts[table.id] = self.attempts.get(table.id, 0) + 1
        if not is_over and tried >= ATTEMPTS_MAX:
            errors.fail("AM-1125", table=table.name, attempts=tried)
        return True

    async def _table(self, table: Table) -> bool:
        """Whether the table has changed over."""
        moved = replace(table, version=table.version + 1, key_id=await self._key_of(table))
        async with snapshot(self.session, table) as pinned:
            segments = list(pinned.segments)
            for number, segment in enumerate(segments):
                self.session.report(f"rotating {table.name}", number, len(segments), "segments")
                if segment.rekeyed_to != moved.key_id:
                    await self._segment(table, moved, pinned, segment)
            self.session.report(f"rotating {table.name}", len(segments), len(segments), "segments")
            is_long = pinned.tail_bytes > TAIL_BYTES_MAX
        if is_long:
            await fold_tail(self.session, table)
            return False
        return await self._switch(table, moved)

    async def _key_of(self, table: Table) -> bytes:
        """The new secret key for a table's depth."""
        schemes = self.session.keychain.schemes_under(self.new.key_id)
        deep = table.parameter_set != self.old.parameters
        scheme = await asyncio.to_thread(schemes.of_depth, "deep" if deep else "default")
        return scheme.key_id

    # ---- segments ----------------------------------------------------------------------------

    async def _segment(
        self, table: Table, moved: Table, pinned: pb.SnapshotReply, segment: pb.SegmentInfo
    ) -> None:
        """Seal a segment's rows anew and let the engine switch its ciphertexts."""
        session = self.session
        request = pb.RekeySegmentRequest(
            request_id=session.new_id(),
            table_id=table.id,
            schema_version=table.version,
            segment_id=segment.segment_id,
            key_id=moved.key_id,
        )
        asked = pb.CanaryRequest(handle=pinned.handle, segment_ids=[segment.segment_id])
        reply = await session.service.read_canaries(asked)
        if [item.segment_id for item in reply.segments] != [segment.segment_id]:
            errors.fail("AM-5012", what="canaries are missing for some segments")
        (item,) = reply.segments
        self._canaries(table, item, request)
        alive = np.ones(segment.rows, dtype=np.bool_)
        if item.live:
            bits = np.unpackbits(np.frombuffer(item.live, dtype=np.uint8), bitorder="little")
            alive = bits[: segment.rows].astype(np.bool_)
        if table.encrypted_columns:
            pack = await self._sealed(table, pinned.handle, segment, alive)
            ids = (await session.service.reserve(pb.ReserveRequest(objects=1))).ids
            if len(ids) != 1:
                errors.fail("AM-5012", what="it reserved other ids than were asked for")
            request.sealed_object = ids[0]
            await upload(session, ids[0], pack)
        await session.service.rekey_segment(request)
        self.done.segments += 1
        self.done.rows += int(alive.sum())
        await self._rest()

    def _canaries(
        self, table: Table, item: pb.SegmentCanaries, request: pb.RekeySegmentRequest
    ) -> None:
        rng = self.session.outside.rng
        for segment_id, block in opened_blocks(self.session, table, item):
            sealed = seal_canaries(self.new, table, segment_id, block, rng=rng)
            if item.parts:
                request.part_canaries.append(sealed)
            else:
                request.canaries = sealed

    async def _sealed(
        self, table: Table, handle: bytes, segment: pb.SegmentInfo, alive: np.ndarray
    ) -> bytes:
        """The pack of a segment's live rows under the new keyset; dead slots are empty."""
        wanted = np.flatnonzero(alive).tolist()
        boxes: list[bytes] = [b""] * segment.rows
        if wanted:
            request = pb.FetchRequest(
                handle=handle,
                slots=[pb.SlotList(segment_id=segment.segment_id, slots=wanted)],
                column_ids=[table.primary_key.id],
                sealed=True,
            )
            got: list[int] = []
            async for block in self.session.service.fetch_rows(request):
                slots, sealed = await asyncio.to_thread(self._reseal, table, block)
                got.extend(slots)
                for slot, box in zip(slots, sealed, strict=True):
                    boxes[slot] = box
            if sorted(got) != wanted:
                errors.fail("AM-5012", what="it returned other rows than were asked for")
        return await asyncio.to_thread(encode_pack, boxes)

    def _reseal(self, table: Table, block: pb.RowBlock) -> tuple[list[int], list[bytes]]:
        """Slots and rows of a block, opened under the old keyset and sealed under the new."""
        needed = {column.id for column in table.encrypted_columns}
        opened = open_block(self.session, table, block, needed)
        sealed = seal_rows(
            self.new,
            table,
            opened.rows,
            row_version=opened.versions,
            rng=self.session.outside.rng,
        )
        return opened.slots.tolist(), sealed

    async def _rest(self) -> None:
        if self.rows_per_second:
            due = self.done.rows / self.rows_per_second
            spent = self.session.outside.clock.monotonic() - self.began
            await asyncio.sleep(max(due - spent, 0.0))

    # ---- the change of a table ---------------------------------------------------------------

    async def _switch(self, table: Table, moved: Table) -> bool:
        """Change the table over; False when rows were in the way again and again. Writers that were
        faster once wait for a moment the next time.
        """
        for attempt in range(SWITCHES_MAX):
            if attempt:  # the engine lets them go on as soon as the table has changed over
                hold = pb.HoldWritesRequest(table_id=table.id, seconds=HOLD_SECONDS)
                await self.session.service.hold_writes(hold)
            try:
                if await self._try_switch(table, moved):
                    return True
            except errors.ConflictError as lost:
                if lost.code != TAIL_CHANGED:
                    raise
        return False

    async def _try_switch(self, table: Table, moved: Table) -> bool:
        """Schema, segments and tail, in one commit; False when rows were in the way."""
        request = pb.SwitchKeysRequest(
            request_id=self.session.new_id(),
            expected_version=table.version,
            schema=self.session.sealed(moved),
        )
        async with snapshot(self.session, table) as pinned:
            blocks = await read_tail(self.session, table, pinned.handle)
        if blocks:
            rows = concatenate([block.rows for block in blocks])
            versions = [int(v) for block in blocks for v in block.versions]
            now = int(self.session.outside.clock.now() * 1e6)
            row_version = max(now, 1 + max(versions))
            request.tail.CopyFrom(
                pb.CommitRequest(
                    table_id=table.id, schema_version=table.version, row_version=row_version
                )
            )
            sealed: Iterable[bytes] = ()
            if table.encrypted_columns:
                sealed = seal_rows(
                    self.new, table, rows, row_version=row_version, rng=self.session.outside.rng
                )
            request.tail.tail.rows = rows.length
            request.tail.tail.public_block = encode_columns(table.public_columns, rows)
            request.tail.tail.sealed_pack = encode_pack(list(sealed)) if sealed else b""
            request.tail.removed.keys = encode_columns([table.primary_key], rows)
            request.tail.removed.versions.extend(versions)
        reply = await self.session.service.switch_keys(request)
        if reply.conflicts:
            return False
        self.session.note_version(moved)
        self.done.rows += len(request.tail.removed.versions)
        return True
