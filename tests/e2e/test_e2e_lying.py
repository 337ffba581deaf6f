"""An engine that lies: caught on the client, before anything that depends on the lie is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from door_support import Door, Opened, open_through_door
from lying_support import AGE, DDL, GRADE, ROWS, SELECTION, code_of

from amaters.base import errors
from amaters.fhe.serial import serialize
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block, decode_pack, encode_block, encode_pack

BEFORE_FETCH = [
    "snapshot", "read_canaries", "read_tail", "put_constants", "execute", "release",
]  # fmt: skip


@pytest.fixture(scope="module", params=["noop", None], ids=["noop", "bgv"])
def shared(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Two segments and a tail, on both schemes; tests only change what the door says."""
    opened = open_through_door(scheme=request.param)
    opened.db.sql(DDL)
    opened.db.table("pay").insert(ROWS)
    yield opened
    opened.db.close()


@pytest.fixture
def opened(shared: Opened) -> Iterator[Opened]:
    """The shared database behind an honest door with an empty record."""
    shared.door.honest()
    yield shared
    shared.door.honest()


def expected() -> list[tuple[Any, ...]]:
    return [(row[0], row[2], row[4]) for row in ROWS if row[2] > 40]


class Forger:
    """Makes the ciphertexts a hostile engine can make: from everything it stores."""

    def __init__(self, door: Door, request: pb.ExecuteRequest) -> None:
        engine = door.engine
        self.snapshot = engine._snapshots.find(request.handle)
        (self.evaluator,) = engine._jobs._evaluators._made.values()
        entry = self.snapshot.entry
        from amaters.plan.spec import PlanSpec

        spec = PlanSpec.from_bytes(request.plan)
        self.factor = engine._jobs.circuit(spec, request.plan, entry).mask.factor
        self.load = engine._jobs._slices.load

    def stored(self, column_id: int, kind: str, index: int) -> list[Any]:
        """One stored slice of every segment."""
        from amaters.engine.ciphertexts import Usage

        return [
            self.load(
                self.evaluator, self.snapshot.entry, segment, (column_id, kind, [index], 3), Usage()
            )[0]
            for segment in self.snapshot.segments
        ]

    def mask(self, slices: list[Any]) -> list[pb.ExecuteEvent]:
        """The slices where the answer's masks belong, dressed like them."""
        modulus = self.evaluator.parameters.plaintext_modulus
        weights = [self.factor * (1 << bit) % modulus for bit in range(len(slices))]
        terms = [
            (w - modulus * (w > modulus // 2), s) for w, s in zip(weights, slices, strict=True)
        ]
        packed = self.evaluator.linear(terms)
        while packed.level > 1:
            packed = self.evaluator.switch(packed)
        small = self.evaluator.shrink(self.evaluator.relinearize(packed))
        ids = [segment.segment_id for segment in self.snapshot.segments]
        mask = pb.MaskEvent(segment_ids=ids, ciphertext=serialize(small))
        return [pb.ExecuteEvent(mask=mask)]


def stored_indicator(door: Door) -> Callable[[Any, Any], Any]:
    def lie(request: Any, _: Any) -> Any:
        forger = Forger(door, request)
        return forger.mask(forger.stored(AGE, "digits", 0))

    return lie


def stored_category(door: Door) -> Callable[[Any, Any], Any]:
    def lie(request: Any, _: Any) -> Any:
        forger = Forger(door, request)
        return forger.mask(forger.stored(GRADE, "onehot", 1))

    return lie


def everything(door: Door) -> Callable[[Any, Any], Any]:
    def lie(request: Any, _: Any) -> Any:
        forger = Forger(door, request)
        evaluator = forger.evaluator
        ones = []
        for ct in forger.stored(AGE, "digits", 0):
            ones.append(evaluator.offset(evaluator.sub(ct, ct), 1))
        return forger.mask(ones)

    return lie


def nothing(_: Door) -> Callable[[Any, Any], Any]:
    return lambda _, replies: [r for r in replies if r.WhichOneof("event") != "mask"]


def exchanged(_: Door) -> Callable[[Any, Any], Any]:
    def lie(_: Any, replies: list[Any]) -> Any:
        for reply in replies:
            if reply.WhichOneof("event") == "mask":
                first, second = reply.mask.segment_ids
                reply.mask.segment_ids[:] = [second, first]
        return replies

    return lie


def another_statement(door: Door) -> Callable[[Any, Any], Any]:
    """The (honest) mask of an earlier statement of the same shape."""
    (earlier,) = door.of("execute")
    door.forget()
    kept = [r for r in earlier.replies if r.WhichOneof("event") == "mask"]
    return lambda _, replies: kept


LIES = (stored_indicator, stored_category, everything, nothing, exchanged, another_statement)


def test_the_door_is_honest_when_told_nothing(opened: Opened) -> None:
    """The record of an honest selection: what the tests below compare with."""
    assert sorted(opened.db.sql(SELECTION).rows()) == expected()
    assert opened.door.names() == [*BEFORE_FETCH[:-1], "fetch_rows", "release"]


@pytest.mark.parametrize("make", LIES, ids=lambda lie: lie.__name__)
def test_a_false_mask_is_caught_before_any_fetch(make: Any, opened: Opened) -> None:
    """Stored slices, all ones, no mask, exchanged masks or another statement's mask: the canaries
    disagree, a Data error is raised and no row is ever asked for.
    """
    if make is another_statement:
        opened.db.sql(SELECTION.replace("40", "70"))
    door = opened.door
    door.lies["execute"] = make(door)
    door.forget()
    with pytest.raises(errors.DataError) as caught:
        opened.db.sql(SELECTION)
    assert caught.value.code == "AM-5001"
    assert caught.value.fix
    assert door.names() == BEFORE_FETCH
    door.honest()
    assert sorted(opened.db.sql(SELECTION).rows()) == expected()


def test_canaries_cannot_be_called_dead(opened: Opened) -> None:
    """An engine that calls rows dead, and the canaries with them, must return zero for all of
    them: a stored slice is still caught, and so is a bitmap that is too short.
    """
    door = opened.door
    alive = bytes(1024 // 8)

    def dead(_: Any, reply: pb.CanaryReply) -> pb.CanaryReply:
        for segment in reply.segments:
            segment.live = alive
        return reply

    door.lies = {"execute": stored_indicator(door), "read_canaries": dead}
    assert code_of(lambda: opened.db.sql(SELECTION)) == "AM-5001"
    assert "fetch_rows" not in door.names()
    door.honest()
    alive = b"\1"
    door.lies = {"read_canaries": dead}
    assert code_of(lambda: opened.db.sql(SELECTION)) == "AM-5012"
    assert "fetch_rows" not in door.names()


def test_masks_of_unknown_segments_are_refused(opened: Opened) -> None:
    """A mask for a segment that the snapshot does not have is no reason to fetch from it."""

    def lie(_: Any, replies: list[Any]) -> Any:
        masks = [r for r in replies if r.WhichOneof("event") == "mask"]
        more = pb.ExecuteEvent.FromString(masks[0].SerializeToString())
        more.mask.segment_ids[0] = b"?" * 16
        return [*replies, more]

    opened.door.lies["execute"] = lie
    assert code_of(lambda: opened.db.sql(SELECTION)) == "AM-5012"
    assert "fetch_rows" not in opened.door.names()


def test_canaries_that_were_moved_do_not_open(opened: Opened) -> None:
    """Canary blocks are bound to their segment: exchanging or omitting them is noticed."""

    def exchange(_: Any, reply: pb.CanaryReply) -> pb.CanaryReply:
        first, second = reply.segments
        first.canaries, second.canaries = second.canaries, first.canaries
        return reply

    def omit(_: Any, reply: pb.CanaryReply) -> pb.CanaryReply:
        del reply.segments[1:]
        return reply

    for lie, code in ((exchange, "AM-2054"), (omit, "AM-5012")):
        opened.door.honest()
        opened.door.lies["read_canaries"] = lie
        assert code_of(lambda: opened.db.sql(SELECTION)) == code
        assert opened.door.names() == ["snapshot", "read_canaries", "release"]


def without_last(_: Any, replies: list[Any]) -> Any:
    return replies[:-1]


def with_other_slots(_: Any, replies: list[Any]) -> Any:
    slots = replies[0].slots
    slots[0] = next(slot for slot in range(1024) if slot not in slots)
    return replies


def twice(_: Any, replies: list[Any]) -> Any:
    return [replies[0], *replies]


def sealed_rows_exchanged(_: Any, replies: list[Any]) -> Any:
    boxes = [bytes(box) for box in decode_pack(replies[0].sealed_pack)]
    replies[0].sealed_pack = encode_pack([boxes[1], boxes[0], *boxes[2:]])
    return replies


def keys_exchanged(_: Any, replies: list[Any]) -> Any:
    columns = decode_block(replies[0].public_block).columns
    values = columns[1][0].copy()
    values[:2] = values[1::-1]
    replies[0].public_block = encode_block({1: (values, None)})
    return replies


def one_row_everywhere(_: Any, replies: list[Any]) -> Any:
    block = replies[0]
    columns = decode_block(block.public_block).columns
    boxes = [bytes(box) for box in decode_pack(block.sealed_pack)]
    block.sealed_pack = encode_pack([boxes[0]] * len(boxes))
    block.public_block = encode_block(
        {key: (np.repeat(values[:1], len(boxes)), None) for key, (values, _) in columns.items()}
    )
    return replies


def older_version(_: Any, replies: list[Any]) -> Any:
    replies[0].versions[:] = [version - 1 for version in replies[0].versions]
    return replies


ROW_LIES = {
    without_last: "AM-5012", with_other_slots: "AM-5012", twice: "AM-5012",
    sealed_rows_exchanged: "AM-2053", keys_exchanged: "AM-2053", one_row_everywhere: "AM-5012",
    older_version: "AM-2053",
}  # fmt: skip


@pytest.mark.parametrize("lie", ROW_LIES, ids=lambda lie: lie.__name__)
def test_other_rows_than_asked_are_refused(lie: Any, opened: Opened) -> None:
    """Missing, other, repeated, exchanged or older rows raise a Data error; no answer is made."""
    opened.door.lies["fetch_rows"] = lie
    with pytest.raises(errors.DataError) as caught:
        opened.db.sql(SELECTION)
    assert caught.value.code == ROW_LIES[lie]
    assert opened.door.names() == [*BEFORE_FETCH[:-1], "fetch_rows", "release"]


def test_sealed_tail_rows_cannot_be_exchanged(opened: Opened) -> None:
    """The tail is bound to keys and versions like every row."""
    opened.door.lies["read_tail"] = sealed_rows_exchanged
    assert code_of(lambda: opened.db.sql("SELECT count(*) FROM pay WHERE age > 1")) == "AM-2053"
    assert "execute" not in opened.door.names()


def tampered(_: Any, replies: list[Any]) -> Any:
    """The first result of several does not decrypt."""
    for reply in replies:
        kind = reply.WhichOneof("event")
        if kind in ("accumulator", "mask"):
            data = bytearray(getattr(reply, kind).ciphertext)
            data[60] ^= 0xFF
            getattr(reply, kind).ciphertext = bytes(data)
            return replies
    raise AssertionError("there is no result to tamper with")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*), sum(age) FROM pay WHERE age > 40",
        "SELECT dept, sum(age), count(*), count(dept) FROM pay GROUP BY dept",
        "SELECT grade, sum(age), count(*) FROM pay GROUP BY grade",
    ],
)
def test_a_failed_decryption_is_not_told_to_the_engine(sql: str, opened: Opened) -> None:
    """After a result that does not decrypt, the engine sees exactly the calls that it sees after
    one that does: same methods, same sizes, every stream read to its end; the next statement too.
    """
    opened.db.sql(sql)
    honest = trace(opened.door)
    opened.door.honest()
    opened.door.lies["execute"] = tampered
    with pytest.raises(errors.AmatersError) as caught:
        opened.db.sql(sql)
    assert caught.value.code in ("AM-1204", "AM-1208", "AM-1210", "AM-1212")
    assert trace(opened.door) == honest
    sent = b"".join(call.sent for call in opened.door.calls)
    assert caught.value.code.encode() not in sent
    opened.door.honest()
    opened.db.sql(sql)
    assert trace(opened.door) == honest


def test_a_failed_mask_looks_like_one_without_rows(opened: Opened) -> None:
    """A tampered mask ends like a selection that found nothing."""
    opened.db.sql("SELECT id FROM pay WHERE age > 119 AND age < 119")
    nothing_found = opened.door.names()
    opened.door.honest()
    opened.door.lies["execute"] = tampered
    code_of(lambda: opened.db.sql("SELECT id FROM pay WHERE age > 119 AND age < 119"))
    assert opened.door.names() == nothing_found
    assert all(call.finished for call in opened.door.calls)


def trace(door: Door) -> list[tuple[str, int, bool]]:
    return [(call.name, len(call.sent), call.finished) for call in door.calls]
