"""An engine that forges schemas, damages replies, or answers an insert with what cannot be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from door_support import open_through_door
from lying_support import DDL, ROWS, SELECTION, code_of

from amaters.base import errors
from amaters.columns.records import encode_public
from amaters.wire import service_pb2 as pb

# ---- schemas ------------------------------------------------------------------------------------


def forged(change: Callable[[Any], Any]) -> Callable[[Any, pb.ListTablesReply], Any]:
    """The public part of a schema changed, everything else left as it is."""

    def lie(_: Any, reply: pb.ListTablesReply) -> pb.ListTablesReply:
        from amaters.wire import schema_pb2

        for record in reply.tables:
            public = schema_pb2.PublicTable.FromString(record.public_bytes)
            change(public)
            record.public_bytes = public.SerializeToString()
        return reply

    return lie


def claims_public(table: Any) -> None:
    for column in table.columns:
        if column.name == "age":
            column.encrypted = False
            del column.encodings[:]
            del column.queries[:]


def claims_other_parameters(table: Any) -> None:
    table.parameter_set = "insecure_n4096"


def claims_noop(table: Any) -> None:
    table.scheme = "noop" if table.scheme != "noop" else "bgv"


def claims_version(table: Any) -> None:
    table.version += 1


def claims_name(table: Any) -> None:
    table.name = "wages"


@pytest.mark.parametrize(
    "change",
    [claims_public, claims_other_parameters, claims_noop, claims_version, claims_name],
    ids=lambda change: change.__name__,
)
def test_a_forged_schema_is_refused_and_nothing_sent(change: Any, tmp_path: Path) -> None:
    """A schema that says 'age is public', or names another scheme, is not made with this keyset:
    neither a question nor an insert sends anything after it.
    """
    opened = open_through_door(tmp_path / "db", keyring=tmp_path / "keys")
    opened.db.sql(DDL)
    opened.db.close()
    opened = open_through_door(tmp_path / "db", keyring=tmp_path / "keys")
    opened.door.forget()
    opened.door.lies["list_tables"] = forged(change)
    sql = "INSERT INTO pay VALUES (1, 'HR', 33, 'A', 'x')"
    for work in (
        lambda: opened.db.sql(SELECTION),
        lambda: opened.db.sql(sql),
        lambda: opened.db.table("pay").insert([(1, "HR", 33, "A", "x")]),
    ):
        opened.door.forget()
        with pytest.raises(errors.DeniedError) as caught:
            work()
        assert caught.value.code == "AM-2050"
        assert set(opened.door.names()) == {"list_tables"}
    opened.db.close()
    assert encode_public  # the honest encoding is what the lies start from


def test_an_older_schema_is_refused() -> None:
    """A record this client has seen replaced does not come back."""
    opened = open_through_door()
    opened.db.sql("CREATE TABLE t (k BIGINT PRIMARY KEY, c TEXT ENCRYPTED WITH (QUERIES = 'eq'))")
    old: list[Any] = []

    def keep(_: Any, reply: pb.ListTablesReply) -> pb.ListTablesReply:
        old.append(pb.ListTablesReply.FromString(reply.SerializeToString()))
        return reply

    opened.door.lies["list_tables"] = keep
    opened.db.tables()
    opened.db.table("t").insert([(1, "Nara")])
    opened.door.lies["list_tables"] = lambda _, reply: old[0]
    opened.door.forget()
    assert code_of(opened.db.tables) == "AM-2051"
    assert code_of(lambda: opened.db.table("t").insert([(2, "Kyoto")])) == "AM-2051"
    assert set(opened.door.names()) == {"list_tables"}
    opened.db.close()


# ---- anything at all ----------------------------------------------------------------------------

QUESTIONS = (
    SELECTION,
    "SELECT dept, grade, count(*), sum(age) FROM pay WHERE age < 90 GROUP BY dept, grade",
    "SELECT id, notes FROM pay WHERE dept = 'HR' LIMIT 5",
)


def flip(rng: random.Random, message: Any) -> Any:
    """A message of the same kind with some bytes changed, dropped or repeated."""
    while True:
        data = bytearray(message.SerializeToString())
        if not data:
            return message
        for _ in range(rng.randint(1, 3)):
            place = (
                rng.randrange(len(data))
                if rng.random() < 0.5
                else rng.randrange(min(len(data), 64))
            )
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 8)]
                case _:
                    data[place:place] = data[place : place + 4]
            if not data:
                return type(message)()
        try:
            return type(message).FromString(bytes(data))
        except Exception:  # noqa: BLE001  not a message at all: the transport refuses it
            continue


@pytest.mark.parametrize(
    "method", ["list_tables", "snapshot", "read_canaries", "read_tail", "execute", "fetch_rows"]
)
def test_damaged_replies_raise_typed_errors(method: str) -> None:
    """Replies with random bytes changed: the client answers or raises one of our errors, nothing
    else, whatever the engine sends.
    """
    rng = random.Random(method)
    opened = open_through_door()
    opened.db.sql(DDL)
    opened.db.table("pay").insert(ROWS[:1000])
    outcomes = set()

    def lie(_: Any, reply: Any) -> Any:
        if isinstance(reply, list):
            return [flip(rng, item) if rng.random() < 0.5 else item for item in reply]
        return flip(rng, reply)

    for turn in range(30):
        opened.door.honest()
        opened.door.lies[method] = lie
        try:
            if method == "list_tables":
                opened.db.tables()
            opened.db.sql(QUESTIONS[turn % len(QUESTIONS)])
            outcomes.add("answer")
        except errors.AmatersError as error:
            outcomes.add(error.kind)
    opened.door.honest()
    assert outcomes <= {"answer", "Data", "Denied", "Invalid", "Conflict"}
    assert outcomes - {"answer"}
    assert len(opened.db.sql(SELECTION)) == len([row for row in ROWS[:1000] if row[2] > 40])
    opened.db.close()


# ---- writing ------------------------------------------------------------------------------------


def too_few_ids(_: Any, reply: pb.ReserveReply) -> pb.ReserveReply:
    if reply.ids:
        del reply.ids[1:]
    return reply


def one_id_for_all(_: Any, reply: pb.ReserveReply) -> pb.ReserveReply:
    reply.ids[:] = [reply.ids[0]] * len(reply.ids) if reply.ids else []
    return reply


def keys_at_the_end(_: Any, reply: pb.ReserveReply) -> pb.ReserveReply:
    reply.first_key = 2**63 - 2
    return reply


def conflict(**fields: Any) -> Any:
    def lie(_: Any, reply: pb.CommitReply) -> pb.CommitReply:
        return pb.CommitReply(conflicts=[pb.KeyConflict(**fields)])

    return lie


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("reserve", too_few_ids),
        ("reserve", one_id_for_all),
        ("reserve", keys_at_the_end),
        ("commit", conflict(new_segment=5, new_row=0)),
        ("commit", conflict(new_segment=-7, new_row=0)),
        ("commit", conflict(new_segment=0, new_row=1 << 31)),
        ("commit", conflict(new_segment=-1, new_row=1 << 31)),
        ("commit", conflict(new_segment=0, new_row=3, version=2**64 - 1)),
    ],
)
def test_answers_to_an_insert_that_cannot_be(method: str, lie: Any) -> None:
    """Ids too few or shared, keys beyond BIGINT, conflicts with rows nobody sent: a Data error,
    and the honest engine behind the lie holds nothing of the batch.
    """
    opened = open_through_door()
    opened.db.sql("CREATE TABLE t (a SMALLINT ENCRYPTED WITH (QUERIES = 'eq'))")
    real = opened.door.engine.commit

    async def held(request: Any) -> Any:
        return await real(request) if method != "commit" else pb.CommitReply()

    opened.door.engine.commit = held
    opened.door.lies[method] = lie
    with pytest.raises(errors.DataError) as caught:
        opened.db.table("t").insert([(1,)] * 600)
    assert caught.value.code == "AM-5012"
    opened.door.honest()
    assert opened.db.sql("SELECT count(*) FROM t").scalar() == 0
    opened.db.close()
