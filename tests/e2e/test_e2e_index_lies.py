"""What an engine may say about indexes, and what it gets for lying."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from door_support import Opened, open_through_door
from lying_support import code_of

import amaters as am
from amaters.columns.canaries import open_canaries
from amaters.columns.records import decode_public, encode_public
from amaters.wire import service_pb2 as pb

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "n": am.Int32(index="unique", nullable=True),
    "town": am.Text(index=True),
    "pay": am.Int32(min=0, max=9, encrypt=["sum"]),
}


@pytest.fixture
def opened() -> Iterator[Opened]:
    made = open_through_door()
    made.db.create_table("t", COLUMNS)
    rows = [{"id": 5 * i, "n": 7 * i, "town": f"t{i % 3}", "pay": 1} for i in range(1000)]
    made.db.table("t").insert(rows)
    yield made
    made.db.close()


def canary(opened: Opened) -> tuple[bytes, int, int]:
    """A segment with the slot and the value in column n of one of its canaries."""
    session = opened.db._asynchronous._session
    table = opened.db.table("t").schema()
    storage = opened.door.engine._storage
    (segment,) = storage.version(table.id).segments
    sealed = segment.manifest.segment.canaries
    block = open_canaries(session.keyset, table, segment.segment_id, sealed)
    return segment.segment_id, int(block.positions[0]), int(block.rows.columns[2].values[0])


def conflict(opened: Opened, **fields: object) -> None:
    """Let the engine refuse the next inserts by one conflict that it made up."""

    def lie(_: object, __: object) -> pb.CommitReply:
        return pb.CommitReply(conflicts=[pb.KeyConflict(**fields)])

    opened.door.lies["commit"] = lie


def insert(opened: Opened, n: int) -> None:
    opened.db.table("t").insert([{"id": 100_001, "n": n, "town": "x", "pay": 1}])


def test_a_conflict_with_another_value_is_no_way_to_find_canaries(opened: Opened) -> None:
    """An engine that claims a conflict with a slot gets the answer for a row, canary or not: the
    client gives way only where it sees itself that the values are equal.
    """
    segment_id, slot, value = canary(opened)
    fields = {"segment_id": segment_id, "slot": slot, "version": 1, "new_segment": -1}
    conflict(opened, **fields, index_number=1)
    opened.door.forget()
    assert code_of(lambda: insert(opened, value + 100_000)) == "AM-3092"
    assert not any(call.request.HasField("removed") for call in opened.door.of("commit"))
    conflict(opened, **{**fields, "slot": slot + 1}, index_number=1)
    assert code_of(lambda: insert(opened, value + 100_000)) == "AM-3092"


@pytest.mark.parametrize("number", [2, 77])
def test_only_unique_indexes_of_the_schema_refuse_rows(opened: Opened, number: int) -> None:
    """An index that is not unique, or that is not there, is a contradiction."""
    conflict(opened, new_segment=-1, version=1, index_number=number)
    assert code_of(lambda: insert(opened, 3)) == "AM-5012"


def test_an_engine_cannot_change_which_indexes_there_are(opened: Opened) -> None:
    """Definitions are under the schema's MAC."""

    def without(_: object, reply: pb.ListTablesReply) -> pb.ListTablesReply:
        changed = pb.ListTablesReply.FromString(reply.SerializeToString())
        for record in changed.tables:
            public = decode_public(record.public_bytes)
            object.__setattr__(public, "indexes", public.indexes[1:])
            record.public_bytes = encode_public(public)
        return changed

    opened.door.lies["list_tables"] = without
    assert code_of(opened.db.tables) == "AM-2050"


def test_a_canary_really_in_the_way_is_replaced(opened: Opened) -> None:
    """The honest case beside the lies: its value goes to the row, and the canary leaves."""
    _, _, value = canary(opened)
    insert(opened, value)
    text = f"SELECT count(*), sum(pay) FROM t WHERE n = {value}"
    assert opened.db.sql(text).rows() == [(1, 1)]
    assert any(call.request.HasField("removed") for call in opened.door.of("commit"))
