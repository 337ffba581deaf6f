"""Several threads and interrupts: snapshots stay consistent and the database stays usable."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from door_support import SMALL, Opened, open_through_door

import amaters as am

DDL = """CREATE TABLE t (
  k BIGINT PRIMARY KEY, batch INTEGER,
  v SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 200),
  city TEXT ENCRYPTED WITH (QUERIES = 'eq')
)"""
SIZES = (10, 400, 600, 1000, 30, 500)
READERS = 2


def batch(number: int, size: int) -> list[tuple[Any, ...]]:
    """Rows of one insert: v adds up to 100 per pair, so a torn batch shows in the sum."""
    return [
        (10_000 * number + 3 * i, number, 50 + (1, -1)[i % 2] * (i // 2 % 50), f"city{number}")
        for i in range(size)
    ]


def together(work: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own; raise what any of them raised."""
    failed: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  raised again below
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("scheme", ["noop", None], ids=["noop", "bgv"])
def test_readers_see_whole_batches_while_somebody_inserts(scheme: str | None) -> None:
    """Two threads ask encrypted and public questions of one database while a third inserts tails
    and segments: every answer belongs to a state between two inserts.
    """
    written = threading.Event()
    prefixes = [sum(SIZES[:count]) for count in range(len(SIZES) + 1)]
    seen: list[int] = []
    with am.connect(":memory:", unsafe_scheme=scheme, unsafe_parameters=SMALL) as db:
        db.sql(DDL)

        def write() -> None:
            try:
                for number, size in enumerate(SIZES):
                    db.table("t").insert(batch(number, size))
            finally:
                written.set()

        def read() -> None:
            last = 0
            while True:
                final = written.is_set()
                ((count, total),) = db.sql("SELECT count(*), sum(v) FROM t WHERE v <= 200").rows()
                assert count in prefixes
                assert total == (50 * count or None)
                assert count >= last
                last = count
                seen.append(count)
                groups = db.sql(
                    "SELECT batch, count(*) FROM t GROUP BY batch ORDER BY batch"
                ).rows()
                assert groups == list(enumerate(SIZES))[: len(groups)]
                assert len(groups) >= prefixes.index(count)
                rows = db.sql("SELECT batch FROM t WHERE city = 'city3'").rows()
                assert rows in ([], [(3,)] * SIZES[3])
                if final:
                    assert (count, len(rows)) == (sum(SIZES), SIZES[3])
                    return

        together([write, *[read] * READERS])
    assert seen[-1] == prefixes[-1]


def test_an_answer_is_of_the_snapshot_it_began_with() -> None:
    """Rows that arrive while a statement computes are not in its answer, and are in the next."""
    opened = open_through_door()
    opened.db.sql(DDL)
    table = opened.db.table("t")
    table.insert(batch(0, 600))
    inserted = threading.Event()

    def late(_: Any, replies: list[Any]) -> list[Any]:
        opened.door.lies.clear()
        other = threading.Thread(target=lambda: (table.insert(batch(1, 700)), inserted.set()))
        waiting.append(other)
        other.start()
        return replies

    waiting: list[threading.Thread] = []
    opened.door.lies["execute"] = late
    assert opened.db.sql("SELECT count(*), sum(v) FROM t WHERE v >= 0").rows() == [(600, 30000)]
    waiting[0].join()
    assert inserted.is_set()
    assert opened.db.sql("SELECT count(*), sum(v) FROM t WHERE v >= 0").rows() == [(1300, 65000)]
    opened.db.close()


class Stuck:
    """An engine one of whose calls never ends by itself; it interrupts the main thread once."""

    def __init__(self, opened: Opened, name: str) -> None:
        self._inner = opened.door.engine
        self._name = name
        self.cancelled = False

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._inner, name)
        return self._stream if name == "execute" else self._single

    async def _single(self, *_: Any) -> Any:
        async for _ in self._stream():
            return None

    async def _stream(self, *_: Any) -> AsyncIterator[Any]:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
            yield None
        finally:
            self.cancelled = True


@pytest.mark.parametrize("name", ["execute", "put_constants", "snapshot", "upload", "commit"])
def test_an_interrupt_leaves_the_database_usable(name: str) -> None:
    """Ctrl-C while the engine computes, or while rows are on their way: KeyboardInterrupt, the
    call is cancelled, and the same database answers and accepts the same rows afterwards.
    """
    opened = open_through_door()
    db = opened.db
    db.sql(DDL)
    db.table("t").insert(batch(0, 600))
    honest = opened.door.engine
    stuck = opened.door.engine = Stuck(opened, name)
    writing = name in ("upload", "commit")
    with pytest.raises(KeyboardInterrupt):
        if writing:
            db.table("t").insert(batch(1, 600))
        else:
            db.sql("SELECT count(*) FROM t WHERE v < 60")
    assert stuck.cancelled
    opened.door.engine = honest
    assert db.sql("SELECT count(*) FROM t").scalar() == 600
    assert db.sql("SELECT count(*), sum(v) FROM t WHERE v >= 0").rows() == [(600, 30000)]
    db.table("t").insert(batch(1, 600))
    assert db.sql("SELECT sum(v) FROM t WHERE city = 'city1'").scalar() == 30000
    assert len(opened.door.engine._snapshots._held) == 0
    db.close()
