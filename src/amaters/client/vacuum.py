"""VACUUM and VACUUM ERASE: rows that were deleted leave every file the engine can let go of.

Segments with dead slots are written again without them, and so are those that may still have a
dropped column, and the tail. Each step is one commit. Then the engine forgets its history, and
says what holds the old rows all the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from amaters.base import errors
from amaters.client.batches import commit_rows
from amaters.client.compaction import (
    SLACK_STEPS,
    Compacted,
    Load,
    Step,
    compact,
    load_of,
    rewrite,
)
from amaters.client.guard import read_guards
from amaters.client.leases import exchange_lease
from amaters.client.result import Result
from amaters.client.rows import joined, read_tail, snapshot
from amaters.client.session import Session
from amaters.columns.canaries import CANARIES
from amaters.columns.schema import Table
from amaters.plan.expressions import Vacuum
from amaters.wire import service_pb2 as pb

CHANGED = "AM-3060"
ATTEMPTS_MAX = 32
NAMES = ("still_held_by", "name", "position", "until")


@dataclass(frozen=True, slots=True)
class Holder:
    """What still holds rows that were deleted. ``kind``: reader, uploads, backup, dictionary,
    segment; ``until``: when it lets go, in words.
    """

    kind: str
    name: str
    position: int
    until: str


@dataclass(slots=True)
class Erased:
    """What VACUUM ERASE did, and what it could not do."""

    done: Compacted = field(default_factory=Compacted)
    holders: list[Holder] = field(default_factory=list)


def choose(loads: Sequence[Load], old: Collection[bytes], tail_rows: int, full: int) -> Step | None:
    """The next segments to be written again, None when none has to be. Pure.

    As many of them as fit into one, the emptiest first, and the tail if it fits as well.
    """
    due = [load for load in loads if load.dead or load.segment_id in old]
    chosen: list[bytes] = []
    rows = 0
    for load in sorted(due, key=lambda load: (load.real, load.segment_id)):
        if not chosen or rows + load.real <= full:
            chosen.append(load.segment_id)
            rows += load.real
    if not chosen:
        return None
    return Step(tuple(chosen), tail_rows if rows + tail_rows <= full else 0)


async def erase(session: Session, tables: Sequence[Table], backups: Sequence[str] = ()) -> Erased:
    """Erase what was deleted in some tables before this began. Repeat it if it is interrupted.

    Cost: as inserting the rows of all segments that have dead ones; the engine writes its state
    thrice. Leaks: as compaction. Raises: as compaction; AM-3061, AM-4013.
    """
    session.require_open()
    found = Erased()
    for table in tables:
        left = await _rewrite_segments(session, table, found.done)
        await _rewrite_tail(session, table, found.done)
        what = "deleted meanwhile: repeat VACUUM ERASE"
        found.holders.extend(Holder("segment", table.name, 0, what) for _ in range(left))
    reply = await _forget(session, backups)
    found.holders.extend(_holder(item) for item in reply.holders)
    for table in tables:
        for column in table.columns:
            if column.dictionary is not None:
                name = f"{table.name}.{column.name}"
                what = "the table is dropped: its texts are sealed in the schema"
                found.holders.append(Holder("dictionary", name, reply.position, what))
    return found


async def forget(session: Session, backups: Sequence[str] = ()) -> list[Holder]:
    """Let the engine forget what has left the database; what holds it all the same, among it the
    backups in these places.
    """
    return [_holder(item) for item in (await _forget(session, backups)).holders]


async def _forget(session: Session, backups: Sequence[str]) -> pb.ForgetHistoryReply:
    session.report("forgetting history", 0, 1, "databases")
    reply = await session.service.forget_history(pb.ForgetHistoryRequest(backups=backups))
    session.report("forgetting history", 1, 1, "databases")
    return reply


async def _rewrite_segments(session: Session, table: Table, done: Compacted) -> int:
    """Write segments again until none has dead slots; how many have, because others delete rows
    faster.
    """
    full = session.parameters_of(table).slots - CANARIES
    steps = -1
    total = 0
    while True:
        async with snapshot(session, table) as pinned:
            guards = await read_guards(session, table, pinned)
            loads = [load_of(segment_id, guard) for segment_id, guard in guards.items()]
            old = {
                segment.segment_id
                for segment in pinned.segments
                if segment.schema_version < table.dropped_version
            }
            if steps < 0:
                steps = len(loads) + SLACK_STEPS
                total = sum(load.real for load in loads if load.dead or load.segment_id in old)
            plan = choose(loads, old, pinned.tail_rows, full)
            if plan is None:
                return 0
            if not steps:
                return sum(1 for load in loads if load.dead)
            steps -= 1
            lease = await exchange_lease(session, table) if plan.tail_rows else None
            if lease is None:
                plan = Step(plan.segments, 0)
            done.add(await rewrite(session, table, plan, lease, (pinned.handle, guards)))
        session.report("erasing", min(done.rows, total), total, "rows")


async def _rewrite_tail(session: Session, table: Table, done: Compacted) -> None:
    """Seal the rows of the tail again: blocks of which rows were deleted leave as a whole."""
    for _ in range(ATTEMPTS_MAX):
        async with snapshot(session, table) as pinned:
            if not pinned.tail_rows:
                return
            blocks = await read_tail(session, table, pinned.handle)
        rows = joined(table, blocks)
        keys = rows.columns[table.primary_key.id].values.tolist()
        versions = [int(version) for block in blocks for version in block.versions]
        try:
            await commit_rows(session, table, rows, dict(zip(keys, versions, strict=True)))
        except errors.ConflictError as lost:
            if lost.code != CHANGED:
                raise
            continue
        done.tail_rows += rows.length
        return
    errors.fail("AM-3061", attempts=ATTEMPTS_MAX)


def _holder(item: pb.HistoryHolder) -> Holder:
    if item.kind == "reader":
        until = f"its client lets go, or {item.seconds:.0f} s after its last sign of life"
    elif item.kind == "uploads":
        until = "the database is opened again: no commit has named them"
    else:
        made = datetime.datetime.fromtimestamp(item.created, tz=datetime.UTC)
        until = f"it is deleted; made {made:%Y-%m-%d %H:%M} UTC"
    return Holder(item.kind, item.name, item.position, until)


async def vacuum(session: Session, statement: Vacuum) -> Result:
    """VACUUM as a statement: for ERASE a row for everything that still holds deleted rows."""
    known = await session.tables()
    wanted = [known[name] for name in statement.names or sorted(known)]
    if not statement.erase:
        done = Compacted()
        for table in wanted:
            done.add(await compact(session, table))
        return Result(message=_told("compacted", done), stats=session.stats())
    erased = await erase(session, wanted, statement.backups)
    rows = [(one.kind, one.name, one.position, one.until) for one in erased.holders]
    columns = tuple(zip(*rows, strict=True)) or ((),) * len(NAMES)
    return Result(
        names=NAMES,
        types=("VARCHAR", "VARCHAR", "BIGINT", "VARCHAR"),
        columns=columns,
        message=_told("erased", erased.done),
        stats=session.stats(),
    )


def _told(verb: str, done: Compacted) -> str:
    return (
        f"{verb}: {done.rows:,} rows of {done.segments_read:,} segments written again to "
        f"{done.segments_written:,}, and {done.tail_rows:,} rows of the tail"
    )
