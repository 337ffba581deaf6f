"""Databases over the commit log: any backend opens any."""

from __future__ import annotations

from pathlib import Path

from commitlog_support import options

from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

KEYSET = b"s" * 16


def name(n: int) -> pb.KeyName:
    return pb.KeyName(keyset_id=KEYSET, key_id=bytes([n]) * 16, parameter_set="p", scheme="noop")


def append(database: DirectoryStorage, n: int) -> None:
    put = cb.KeysetPut(name=name(n), object=cb.ObjectRef(object_id=bytes([n]) * 16, size=n))
    database.append(cb.Command(request_id=bytes([n]) * 16, request_digest=b"d", keyset_put=put))


def holds(database: DirectoryStorage, count: int) -> None:
    assert database.state.applied == count
    for n in range(1, count + 1):
        ref = database.state.keyset(name(n))
        assert ref is not None and ref.size == n


def test_any_backend_opens_any_database(tmp_path: Path) -> None:
    """Written in turn by all backends, closed and abandoned in turn."""
    count = 0
    for run in range(6):
        database = open_directory(tmp_path / "db", options=options(BACKENDS[run % 3]))
        assert database.notice is None
        holds(database, count)
        for _ in range(2):
            count += 1
            append(database, count)
        if run % 2:
            database.close()
        else:
            database.abandon()
    database = open_directory(tmp_path / "db")
    holds(database, 12)
    database.close()
