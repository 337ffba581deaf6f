"""The answer of a SELECT of rows, handed out while it arrives instead of collected first.

A part is what one segment or block held, and the tail comes last, as in a collected answer. All
masks are decrypted and all canaries checked before the first row is fetched. What needs all rows at
once (ORDER BY, DISTINCT, aggregates, LIMIT, joins) is collected and given as one part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from amaters.base import errors
from amaters.client.finish import finish_rows
from amaters.client.guard import SegmentGuard, check_masks, real_slots
from amaters.client.reader import Selection
from amaters.client.refreshing import run
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Select
from amaters.plan.leakage import leakage
from amaters.plan.prepare import Prepared
from amaters.wire import service_pb2 as pb

PARTS_AHEAD = 2  # decrypted parts that wait for a slow reader
Sink = Callable[[Result], Awaitable[None]]


def is_streamed(statement: object) -> bool:
    """Whether a statement's rows can be given one part after the other."""
    if not isinstance(statement, Select) or statement.is_aggregate:
        return False
    return statement == Select(statement.table, statement.where, statement.items)


async def parts(session: Session, statement: Select) -> AsyncGenerator[Result, None]:
    """The parts of an answer, at least one, which may have no rows.

    Memory: some segments' rows, and all primary keys. Leaks, Raises: as the SELECT.
    """
    queue: asyncio.Queue[Result | None] = asyncio.Queue(PARTS_AHEAD)

    async def produce() -> None:
        try:
            await _Streaming(session, statement, queue.put).produce()
        finally:
            await queue.put(None)

    task = asyncio.create_task(produce())
    try:
        while (part := await queue.get()) is not None:
            yield part
        await task
    finally:
        task.cancel()
        while not queue.empty():
            queue.get_nowait()
        with suppress(asyncio.CancelledError, errors.AmatersError):
            await task


class _Streaming(Selection):
    """A selection whose rows go to ``sink``."""

    def __init__(self, session: Session, statement: Select, sink: Sink) -> None:
        super().__init__(session, statement)
        self._sink = sink
        self._keys: set[Any] = set()

    async def produce(self) -> None:
        await self._look(self._parts)

    async def _parts(
        self,
        prepared: Prepared,
        pinned: pb.SnapshotReply,
        guards: Mapping[bytes, SegmentGuard],
        tail: ColumnBatch,
    ) -> None:
        if prepared.kind == "public":
            request = pb.FetchRequest(handle=pinned.handle, plan=prepared.fetch.to_bytes())
            async for block in self._blocks(request, self.needed):
                if block.segment_id not in guards:
                    errors.fail("AM-5012", what="it returned rows of a segment nobody asked for")
                real = real_slots(guards[block.segment_id], block.slots)
                rows = block.rows.select(sorted(self.needed)).take(real)
                found = matches(self.statement.where, rows, self.table)
                await self._send(prepared, rows.take(found))
        elif pinned.segments:
            self.received = await run(self.session, self.table, prepared, pinned.handle, guards)
            self.received.require_intact()
            check_masks(guards, self.received.masks, self.statement.where, self.table)
            for segment_id, mask in self.received.masks.items():
                rows = await self._fetched(pinned.handle, guards, {segment_id: mask})
                if rows.length:
                    await self._send(prepared, rows)
        await self._send(prepared, tail.select(sorted(self.needed)))

    async def _send(self, prepared: Prepared, rows: ColumnBatch) -> None:
        """Give a part away. Raises: DataError AM-5012 for a key that another part had."""
        keys = rows.columns[self.table.primary_key.id].values.tolist()
        if not self._keys.isdisjoint(keys):
            errors.fail("AM-5012", what="it returned one row for several slots")
        self._keys.update(keys)
        answer = await asyncio.to_thread(finish_rows, self.statement, rows)
        part = Result(
            names=answer.names,
            types=answer.types,
            columns=answer.columns,
            learned=leakage(prepared, self.table).learns,
            stats=self.session.stats(),
        )
        await self._sink(part)
