"""Group commit: what waits is made durable together, refused one by one, and seen all at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import engine_support as support
import pytest

from amaters.base.errors import AmatersError, ClosedError, UnavailableError, make
from amaters.base.ids import new_id
from amaters.engine.service import Engine
from amaters.storage.committer import Committer
from amaters.storage.database import MemoryStorage
from amaters.wire import service_pb2 as pb
from amaters.wire.service import chunks_of


class Gate(MemoryStorage):
    """A storage whose log can be held, and made to fail; it notes how many commands came."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.opened.set()
        self.reached = threading.Event()
        self.writes: list[int] = []
        self.error: AmatersError | None = None
        self._append = self._log.append_all
        self._log.append_all = self._held  # type: ignore[method-assign]

    def _held(self, payloads: Sequence[bytes]) -> int:
        self.reached.set()
        self.opened.wait()
        if self.error is not None:
            raise self.error
        self.writes.append(len(payloads))
        return self._append(payloads)

    def shut(self) -> None:
        """From now on a write waits in the log; ``reached`` says when it got there."""
        self.opened.clear()
        self.reached.clear()


@asynccontextmanager
async def gated() -> AsyncIterator[tuple[Engine, Gate]]:
    gate = Gate()
    service = Engine(gate, unsafe_scheme=True, threads=1)
    try:
        yield service, gate
    finally:
        gate.opened.set()
        await service.close()


async def reached(gate: Gate) -> None:
    await asyncio.to_thread(gate.reached.wait)


def test_commits_that_wait_share_one_write() -> None:
    """While the first is being written fifty more gather; they are one write."""

    async def work() -> None:
        async with gated() as (service, gate):
            table = await support.setup(service)
            requests = [await support.commit_request(service, table, tail=[k]) for k in range(51)]
            gate.writes.clear()
            gate.shut()
            first = asyncio.create_task(service.commit(requests[0]))
            await reached(gate)
            others = [asyncio.create_task(service.commit(r)) for r in requests[1:]]
            await asyncio.sleep(0)
            assert await support.read_all(service, table) == {}
            gate.opened.set()
            replies = await asyncio.gather(first, *others)
            assert sorted(reply.position for reply in replies) == list(
                range(replies[0].position, replies[0].position + 51)
            )
            assert gate.writes == [1, 50]
            assert sorted(await support.read_all(service, table)) == list(range(51))

    support.run(work)


def test_each_of_a_group_is_refused_by_itself() -> None:
    """Of two commits of one key in a group one wins; a repeat gets the first reply; a misfit and a
    full conflict harm nobody else.
    """

    async def work() -> None:
        async with gated() as (service, gate):
            table = await support.setup(service)
            ours = [await support.commit_request(service, table, tail=[k]) for k in (1, 2, 1, 3)]
            ours[3].row_version = 0
            blocker = await support.commit_request(service, table, tail=[100])
            gate.shut()
            first = asyncio.create_task(service.commit(blocker))
            await reached(gate)
            tasks = [asyncio.create_task(service.commit(r)) for r in (*ours, ours[0])]
            await asyncio.sleep(0)
            gate.opened.set()
            await first
            one, two, again, misfit, repeat = await asyncio.gather(*tasks, return_exceptions=True)
            assert one.position and two.position == one.position + 1 and repeat == one
            assert [c.new_row for c in again.conflicts] == [0]
            assert isinstance(misfit, AmatersError) and misfit.code == "AM-3005"
            assert gate.writes[-1] == 2
            assert sorted(await support.read_all(service, table)) == [1, 2, 100]

    support.run(work)


def test_nothing_of_a_group_that_failed_is_acknowledged() -> None:
    """All of it raises, nobody sees it, writes are refused from then on and reads go on."""

    async def work() -> None:
        async with gated() as (service, gate):
            table = await support.setup(service)
            await support.commit(service, table, tail=[1])
            requests = [await support.commit_request(service, table, tail=[k]) for k in (2, 3, 4)]
            gate.shut()
            tasks = [asyncio.create_task(service.commit(r)) for r in requests]
            await reached(gate)
            gate.error = make("AM-4003", {"file": "log", "what": "EIO"})
            gate.opened.set()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, AmatersError) and outcome.code in ("AM-4003", "AM-4004")
            gate.error = None
            with pytest.raises(ClosedError, match="AM-4004"):
                await support.commit(service, table, tail=[5])
            assert sorted(await support.read_all(service, table)) == [1]

    support.run(work)


def test_readers_never_wait_for_a_writer() -> None:
    """With a write held in the log: snapshots, rows, keys, sizes, tables and reserved keys."""

    async def work() -> None:
        async with gated() as (service, gate):
            table = await support.setup(service)
            await support.commit(service, table, tail=[1, 2], segments=[[10, 11]])
            request = await support.commit_request(service, table, tail=[3])
            gate.shut()
            writing = asyncio.create_task(service.commit(request))
            await reached(gate)
            assert sorted(await support.read_all(service, table)) == [1, 2, 10, 11]
            stats = await service.table_stats(pb.TableStatsRequest(table_id=table.id))
            assert (stats.tail_rows, stats.rows) == (2, 2)
            assert len((await service.list_tables(pb.ListTablesRequest())).tables) == 1
            assert (await service.has_keyset(support.KEY_NAME)).present
            reserve = pb.ReserveRequest(table_id=table.id, keys=5)
            assert (await service.reserve(reserve)).first_key == 12
            assert not writing.done()
            gate.opened.set()
            await writing
            assert sorted(await support.read_all(service, table)) == [1, 2, 3, 10, 11]

    support.run(work)


def test_a_schema_change_waits_for_no_group_and_starts_the_next() -> None:
    """Commits before and after it are checked against the schema they meet."""

    async def work() -> None:
        async with gated() as (service, gate):
            table = await support.setup(service)
            requests = [await support.commit_request(service, table, tail=[k]) for k in range(4)]
            gate.shut()
            tasks = [asyncio.create_task(service.commit(requests[0]))]
            await reached(gate)
            drop = pb.DropTableRequest(request_id=new_id(), table_id=table.id)
            tasks.append(asyncio.create_task(service.commit(requests[1])))
            tasks.append(asyncio.create_task(service.drop_table(drop)))
            tasks.append(asyncio.create_task(service.commit(requests[2])))
            await asyncio.sleep(0)
            gate.opened.set()
            *done, late = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(reply.position for reply in done)
            assert isinstance(late, AmatersError) and late.code == "AM-3021"
            assert gate.writes[-3:] == [1, 1, 1]

    support.run(work)


def test_more_work_than_may_wait_is_refused_at_once() -> None:
    """A bound on what waits, and a close that finishes it."""
    gate = Gate()
    committer = Committer(gate, waiting_max=3)
    held = threading.Event()
    started = threading.Event()

    def wait(_: object) -> int:
        started.set()
        held.wait()
        return 0

    futures = [committer.submit(wait)]
    started.wait()
    futures += [committer.submit(lambda _, n=n: n) for n in (1, 2, 3)]
    with pytest.raises(UnavailableError, match="AM-4020"):
        committer.submit(lambda _: 4)
    held.set()
    committer.close()
    assert [future.result() for future in futures] == [0, 1, 2, 3]
    with pytest.raises(ClosedError, match="AM-4004"):
        committer.submit(lambda _: 5)
    gate.close()


def test_work_that_raises_anything_is_told_so_and_nobody_else() -> None:
    """A mistake in one piece of work is its caller's alone."""
    gate = Gate()
    committer = Committer(gate)

    def mistake(_: object) -> int:
        raise ZeroDivisionError

    wrong, right = committer.submit(mistake), committer.submit(lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        wrong.result()
    assert right.result() == 1
    committer.close()
    gate.close()


@pytest.mark.parametrize(("rotates", "code"), [(False, "AM-3010"), (True, "AM-3120")])
def test_of_two_keysets_that_come_at_once_one_claims_the_database(rotates: bool, code: str) -> None:
    """The other is refused, although both were sent before either was there; so is a second
    rotation.
    """

    async def work() -> None:
        async with gated() as (service, gate):
            names = []
            for keyset_id in (b"a" * 16, b"b" * 16):
                name = pb.KeyName()
                name.CopyFrom(support.KEY_NAME)
                name.keyset_id = keyset_id
                if rotates:
                    name.from_key_id, name.key_id = name.key_id, keyset_id
                names.append(name)
            if rotates:
                first = pb.PutKeysetRequest(request_id=new_id(), name=support.KEY_NAME)
                await service.put_keyset(first, chunks_of())
            gate.shut()
            puts = [pb.PutKeysetRequest(request_id=new_id(), name=name) for name in names]
            tasks = [asyncio.create_task(service.put_keyset(put, chunks_of())) for put in puts]
            await reached(gate)
            gate.opened.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            refused = [o.code for o in outcomes if isinstance(o, AmatersError)]
            assert refused == [code]

    support.run(work)
