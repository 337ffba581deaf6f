"""An engine that lies about what a join is made of: caught before any row is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from door_support import Opened, open_through_door
from lying_support import code_of

from amaters.base import errors
from amaters.engine.ciphertexts import Constants
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block, encode_block

DDL = (
    """CREATE TABLE f (id BIGINT PRIMARY KEY, k INTEGER NOT NULL,
      q INTEGER NOT NULL ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 99))""",
    "CREATE TABLE d (id BIGINT PRIMARY KEY, name TEXT NOT NULL ENCRYPTED)",
)
ROWS = [(3 * i, i % 20, i * 7 % 100) for i in range(1000)]
OTHERS = [(i, ("ash", "oak")[i % 2]) for i in range(20)]
QUESTION = "SELECT f.id, name FROM f JOIN d ON f.k = d.id WHERE name = 'oak' AND q > 40"
KEY = 2


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A fact and a dimension behind a door that records."""
    opened = open_through_door(scheme="noop")
    for ddl in DDL:
        opened.db.sql(ddl)
    opened.db.table("f").insert(ROWS)
    opened.db.table("d").insert(OTHERS)
    opened.door.calls.clear()
    yield opened
    opened.db.close()


def test_an_honest_engine_is_believed(opened: Opened) -> None:
    """The answer, and the order of requests: keys, vectors, masks, and only then rows."""
    found = sorted(opened.db.sql(QUESTION).rows())
    assert found == sorted((i, "oak") for i, k, q in ROWS if k % 2 and q > 40)
    names = opened.door.names()
    fetches = [at for at, name in enumerate(names) if name == "fetch_rows"]
    assert names[fetches[-2] : fetches[-1] + 1] == [
        "fetch_rows", "put_constants", "execute", "fetch_rows",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        "SELECT sum(q) FROM f JOIN d ON f.k = d.id WHERE name = 'oak'",
        "SELECT count(*) FROM f JOIN d ON f.k = d.id WHERE q > f.id",
    ],
)
def test_what_the_fact_cannot_answer_is_refused_before_anything_is_read(
    question: str, opened: Opened
) -> None:
    """Only sizes were asked for."""
    assert code_of(lambda: opened.db.sql(question)) in ("AM-2107", "AM-2124")
    assert set(opened.door.names()) <= {"snapshot", "release"}


def test_other_keys_are_noticed(opened: Opened) -> None:
    """Vectors made from wrong keys give masks that canaries contradict: no row is fetched."""

    def lie(request: pb.FetchRequest, replies: list[Any]) -> list[Any]:
        if list(request.column_ids) != [KEY]:
            return replies
        for reply in replies:
            block = decode_block(reply.public_block)
            columns = dict(block.columns)
            values, valid = columns[KEY]
            columns[KEY] = (np.asarray((values + 1) % 20), valid)
            reply.public_block = encode_block(columns)
        return replies

    opened.door.lies["fetch_rows"] = lie
    before = len(opened.door.of("fetch_rows"))
    assert code_of(lambda: opened.db.sql(QUESTION)) == "AM-5001"
    assert opened.door.names()[-2:] == ["execute", "release"]
    assert len(opened.door.of("fetch_rows")) == before + 2  # the dimension and the keys


@pytest.mark.parametrize("what", ["slot", "beyond"])
def test_slots_that_cannot_be_are_noticed(what: str, opened: Opened) -> None:
    """One slot twice, or one that no ciphertext has."""

    def lie(request: pb.FetchRequest, replies: list[Any]) -> list[Any]:
        if list(request.column_ids) == [KEY]:
            replies[0].slots[0] = replies[0].slots[1] if what == "slot" else 1 << 20
        return replies

    opened.door.lies["fetch_rows"] = lie
    assert code_of(lambda: opened.db.sql(QUESTION)) == "AM-5012"
    assert "put_constants" not in opened.door.names()


def test_a_dimension_whose_keys_repeat_is_noticed(opened: Opened) -> None:
    """A primary key cannot: AM-5012, before anything is asked of the fact."""

    def lie(_: pb.FetchRequest, replies: list[Any]) -> list[Any]:
        return [*replies, *replies]

    def tails(_: Any, replies: list[Any]) -> list[Any]:
        return [*replies, *replies]

    opened.door.lies = {"fetch_rows": lie, "read_tail": tails}
    assert code_of(lambda: opened.db.sql(QUESTION)) == "AM-5012"
    assert "execute" not in opened.door.names()


def test_vectors_must_fit_the_plan(opened: Opened) -> None:
    """The engine refuses vectors for other segments than it reads, or fewer than it needs."""
    engine = opened.door.engine
    opened.db.sql(QUESTION)
    (call,) = opened.door.of("execute")
    kept = engine._jobs._constants
    assert isinstance(kept, Constants)
    for segments in ([], [b"x" * 16], [*call.request.vector_segments] * 2):
        changed = pb.ExecuteRequest.FromString(call.request.SerializeToString())
        del changed.vector_segments[:]
        changed.vector_segments.extend(segments)

        def altered(request: Any, new: pb.ExecuteRequest = changed) -> None:
            del request.vector_segments[:]
            request.vector_segments.extend(new.vector_segments)

        inner = engine.execute

        def execute(request: Any, inner: Any = inner, altered: Any = altered) -> Any:
            altered(request)
            return inner(request)

        engine.execute = execute  # type: ignore[method-assign]
        try:
            with pytest.raises(errors.AmatersError) as refused:
                opened.db.sql(QUESTION)
        finally:
            engine.execute = inner  # type: ignore[method-assign]
        assert refused.value.code == "AM-3005"
