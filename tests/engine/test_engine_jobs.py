"""Plans run over pinned segments: totals, masks, groups, caches, cancellation, damage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import engine_support as support
import numpy as np
import pytest

from amaters.base.clock import SystemClock
from amaters.base.errors import AmatersError, ClosedError, ConflictError, DataError, InvalidError
from amaters.base.ids import new_id
from amaters.columns.constants import digits_scalars
from amaters.columns.schema import Table
from amaters.engine.jobs import EVENTS_MAX
from amaters.engine.service import Engine, open_engine
from amaters.fhe.serial import deserialize, serialize
from amaters.plan.circuit import CompiledPlan, compile_plan
from amaters.plan.expressions import Compare, Literal
from amaters.plan.spec import PlanSpec, RangeLeaf, Term
from amaters.storage.database import open_memory
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb
from amaters.wire.service import Service, chunks_of

T = support.PARAMETERS.plaintext_modulus
TOWN0 = Compare("=", 2, Literal("town0"))


def plan(
    table: Table, output: str, *, public: bool = False, groups: bool = False, sums: int = 1
) -> CompiledPlan:
    """WHERE age <= ? [AND town = 'town0'] [GROUP BY town], counting rows and adding pay."""
    terms = (Term("count"), *[Term("sum", (4,))] * sums) if output == "aggregate" else ()
    spec = PlanSpec(
        table_id=table.id,
        schema_version=table.version,
        parameter_set=table.parameter_set,
        scheme="noop",
        output=output,  # type: ignore[arg-type]
        public_filter=TOWN0 if public else None,
        filter=RangeLeaf(3, "le"),
        public_groups=(2,) if groups else (),
        terms=terms,
    )
    return compile_plan(spec, table.public(), support.PARAMETERS)


@dataclass
class Answer:
    """Decrypted events of one job."""

    groups: list[str | None] = field(default_factory=lambda: [None])
    counted: list[int] = field(default_factory=list)
    totals: dict[tuple[str | None, str], int] = field(default_factory=lambda: defaultdict(int))
    masks: dict[bytes, list[int]] = field(default_factory=dict)
    stats: pb.StatsEvent = field(default_factory=pb.StatsEvent)
    progress: list[tuple[int, int]] = field(default_factory=list)


def slots_of(data: bytes, factor: int) -> np.ndarray:
    ct = deserialize(data, support.PARAMETERS, scheme="noop", key_id=support.KEY_ID)
    return support.SCHEME.decrypt(ct) * pow(factor, -1, T) % T


def take(answer: Answer, compiled: CompiledPlan, event: pb.ExecuteEvent) -> None:
    kind = event.WhichOneof("event")
    if kind == "progress":
        answer.progress.append((event.progress.done, event.progress.total))
    elif kind == "groups":
        answer.counted = list(event.groups.rows)
        if event.groups.block:
            values, valid = blocks.decode_block(event.groups.block).columns[2]
            answer.groups = [v if ok else None for v, ok in zip(values, valid, strict=True)]
    elif kind == "accumulator":
        made = compiled.accumulators[event.accumulator.output]
        slots = slots_of(event.accumulator.ciphertext, made.factor)
        low = made.lo * made.segments_max
        total = int(((slots - low) % T + low).sum()) * made.weight
        term = compiled.spec.terms[made.term].kind
        answer.totals[answer.groups[event.accumulator.group], term] += total
    elif kind == "mask":
        assert compiled.mask is not None
        slots = slots_of(event.mask.ciphertext, compiled.mask.factor)
        for bit, segment_id in enumerate(event.mask.segment_ids):
            answer.masks[segment_id] = np.flatnonzero(slots >> bit & 1).tolist()
    else:
        answer.stats = event.stats


async def put_constants(service: Service, compiled: CompiledPlan, bound: int) -> bytes:
    scalars = digits_scalars(8, bound)
    blobs = [
        serialize(support.SCHEME.encrypt_scalars([value], [(0, 1)], level=level)[0])
        for value, level in zip(scalars, compiled.constant_levels, strict=True)
    ]
    constants_id = new_id()
    request = pb.PutConstantsRequest(
        constants_id=constants_id, name=support.KEY_NAME, sizes=[len(blob) for blob in blobs]
    )
    await service.put_constants(request, chunks_of(*blobs))
    return constants_id


async def ask(
    service: Service, table: Table, compiled: CompiledPlan, bound: int, handle: bytes = b""
) -> Answer:
    handle = handle or (await support.snapshot(service, table)).handle
    request = pb.ExecuteRequest(job_id=new_id(), handle=handle, plan=compiled.spec_bytes)
    request.constants_id = await put_constants(service, compiled, bound)
    answer = Answer()
    async for event in service.execute(request):
        take(answer, compiled, event)
    return answer


def matching(keys: Sequence[int], bound: int, *, public: bool = False) -> list[int]:
    """Keys that the plan selects, computed in the clear."""
    return [
        key
        for key in keys
        if key % 100 <= bound and not (public and (key % 5 == 0 or key % 3 != 0))
    ]


def pay(keys: Sequence[int]) -> int:
    return sum(key % 500 - 200 for key in keys if key % 7)


FIRST, SECOND = list(range(1000, 2000)), list(range(3000, 3300))


async def filled(service: Service) -> Table:
    """Two segments with one dead row each, and a tail that plans do not see."""
    table = await support.setup(service)
    await support.commit(service, table, segments=[FIRST, SECOND], tail=[1, 2])
    await support.commit(service, table, removed={1001: 1, 3005: 1}, version=2)
    return table


LIVE = [key for key in FIRST + SECOND if key not in (1001, 3005)]


async def check_answers(service: Service, table: Table) -> None:
    """Totals, grouped totals and masks equal what the clear rows say."""
    total = await ask(service, table, plan(table, "aggregate"), 40)
    assert total.counted == [len(LIVE)]
    assert dict(total.totals) == {
        (None, "count"): len(matching(LIVE, 40)),
        (None, "sum"): pay(matching(LIVE, 40)),
    }
    assert total.progress[-1][0] == total.progress[-1][1] == total.stats.key_switches
    grouped = await ask(service, table, plan(table, "aggregate", groups=True), 9)
    towns = {key: None if key % 5 == 0 else f"town{key % 3}" for key in LIVE}
    for town, rows in zip(grouped.groups, grouped.counted, strict=True):
        members = [key for key in LIVE if towns[key] == town]
        assert rows == len(members)
        assert grouped.totals[town, "count"] == len(matching(members, 9))
        assert grouped.totals[town, "sum"] == pay(matching(members, 9))
    assert grouped.groups == ["town0", "town1", "town2", None]
    manifest = await support.snapshot(service, table)
    masks = await ask(service, table, plan(table, "mask", public=True), 40)
    expected = [
        [segment.index(key) for key in matching(segment, 40, public=True) if key in LIVE]
        for segment in (FIRST, SECOND)
    ]
    assert [masks.masks[s.segment_id] for s in manifest.segments] == expected


def test_answers_in_memory() -> None:
    """See ``check_answers``; a second run reads nothing from storage."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=2)
        table = await filled(service)
        cold = await ask(service, table, plan(table, "aggregate"), 40)
        assert cold.stats.bytes_read > 0 and cold.stats.bytes_cached == 0
        hot = await ask(service, table, plan(table, "aggregate"), 40)
        assert hot.stats.bytes_read == 0 and hot.stats.bytes_cached > 0
        assert hot.totals == cold.totals and hot.stats.segments == 2
        await check_answers(service, table)
        await service.close()

    support.run(work)


def test_answers_behind_a_pipe_and_after_reopening(tmp_path: Path) -> None:
    """The same from an engine in another process, twice, on the same directory."""

    async def work() -> None:
        table: Table | None = None
        for _ in range(2):
            async with support.engine_process(tmp_path / "db", "--threads", "2") as (service, _):
                table = table or await filled(service)
                await check_answers(service, table)

    support.run(work)


def test_public_filters_select_rows_to_fetch() -> None:
    """``fetch_rows`` with a plan returns the live rows its public filter selects."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await filled(service)
        manifest = await support.snapshot(service, table)
        compiled = plan(table, "mask", public=True)
        fetch = pb.FetchRequest(handle=manifest.handle, plan=compiled.spec_bytes, sealed=True)
        found: support.Rows = {}
        async for block in service.fetch_rows(fetch):
            found.update(support.rows_in(block))
        assert sorted(found) == matching(LIVE, 100, public=True)
        await service.close()

    support.run(work)


def test_what_does_not_belong_is_refused() -> None:
    """Expired snapshots and constants, other circuits and other tables: each its own error."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await filled(service)
        compiled = plan(table, "aggregate")
        handle = (await support.snapshot(service, table)).handle
        constants = await put_constants(service, compiled, 3)

        async def refused(kind: type[AmatersError], code: str, **fields: bytes) -> None:
            request = pb.ExecuteRequest(
                job_id=new_id(), handle=handle, plan=compiled.spec_bytes, constants_id=constants
            )
            for name, value in fields.items():
                setattr(request, name, value)
            with pytest.raises(kind, match=code):
                async for _ in service.execute(request):
                    pass

        await refused(ConflictError, "AM-3040", handle=b"h" * 16)
        await refused(ConflictError, "AM-3050", constants_id=b"c" * 16)
        other = compiled.spec.with_digest(b"d" * 32).to_bytes()
        await refused(ConflictError, "AM-3051", plan=other)
        await refused(DataError, "AM-2101", plan=b"junk")
        await refused(InvalidError, "AM-3005", job_id=b"")
        stranger = plan(support.make_table(), "aggregate")
        await refused(InvalidError, "AM-3005", plan=stranger.spec_bytes)
        await refused(DataError, "AM-2102", constants_id=b"")
        await service.close()

    support.run(work)


class CancellingClock(SystemClock):
    """Cancels everything as soon as a job starts to count its time."""

    engine: Engine | None = None

    def cpu(self) -> float:
        if self.engine is not None:
            self.engine.cancel_jobs()
        return super().cpu()


def test_cancelling_a_job() -> None:
    """A cancelled job raises AM-3052, a closed stream ends its job; the engine stays fit."""

    async def work() -> None:
        clock = CancellingClock()
        service = Engine(open_memory(), unsafe_scheme=True, threads=1, clock=clock)
        table = await filled(service)
        compiled = plan(table, "aggregate")
        request = pb.ExecuteRequest(
            job_id=new_id(),
            handle=(await support.snapshot(service, table)).handle,
            plan=compiled.spec_bytes,
            constants_id=await put_constants(service, compiled, 3),
        )
        clock.engine = service
        with pytest.raises(ClosedError, match="AM-3052"):
            async for _ in service.execute(request):
                pass
        clock.engine = None
        stream = service.execute(request)
        async for _ in stream:
            await service.cancel(pb.CancelRequest(job_id=b"unknown"))
            break
        await stream.aclose()
        answer = await ask(service, table, compiled, 40)
        assert answer.totals[None, "count"] == len(matching(LIVE, 40))
        await service.close()

    support.run(work)


def test_closing_under_an_abandoned_job() -> None:
    """A job whose reader stopped reading does not hold up the engine's close."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await filled(service)
        compiled = plan(table, "aggregate", groups=True, sums=6)
        assert 4 * len(compiled.accumulators) > 2 * EVENTS_MAX
        request = pb.ExecuteRequest(
            job_id=new_id(),
            handle=(await support.snapshot(service, table)).handle,
            plan=compiled.spec_bytes,
            constants_id=await put_constants(service, compiled, 3),
        )
        stream = service.execute(request)
        assert (await anext(stream)).WhichOneof("event") == "groups"
        await service.close()
        with pytest.raises(ClosedError, match="AM-3004"):
            await support.snapshot(service, table)
        await stream.aclose()

    support.run(work)


def test_damaged_ciphertexts_are_reported(tmp_path: Path) -> None:
    """A flipped bit anywhere in a bundle is an error of the query, never a wrong answer."""

    async def work() -> None:
        service = open_engine(tmp_path / "db", unsafe_scheme=True, threads=1)
        table = await filled(service)
        right = await ask(service, table, plan(table, "aggregate"), 40)
        await service.close()
        reported = 0
        for path in sorted((tmp_path / "db" / "objects").iterdir()):
            whole = path.read_bytes()
            for byte in {40, len(whole) // 2, len(whole) - 200} & set(range(len(whole))):
                damaged = bytearray(whole)
                damaged[byte] ^= 0x10
                path.write_bytes(damaged)
                service = open_engine(tmp_path / "db", unsafe_scheme=True, threads=1)
                try:
                    answer = await ask(service, table, plan(table, "aggregate"), 40)
                    assert answer.totals == right.totals
                except DataError:
                    reported += 1
                await service.close()
            path.write_bytes(whole)
        assert reported >= 8

    support.run(work)
