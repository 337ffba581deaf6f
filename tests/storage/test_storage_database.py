"""Databases over the commit log: any backend opens any, and the first format is taken over."""

from __future__ import annotations

import shutil
from pathlib import Path

from commitlog_support import options
from first_format import write

from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.files import Disk
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
    """Written in turn by all backends, with and without a checkpoint in between."""
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


def test_the_first_format_is_taken_over(tmp_path: Path) -> None:
    """A database whose log is of format 1 opens with all its commands and goes on in segments; so
    it does when it was killed between the new log and the end of the old.
    """
    path = tmp_path / "db"
    database = open_directory(path)
    for n in range(1, 6):
        append(database, n)
    database.abandon()
    log = SegmentLog(path / "log", Disk(), database.database_id)
    payloads = [record.payload for record in log.replay(0)]
    log.close()
    shutil.rmtree(path / "log")
    write(path / "log", 1, payloads[:3], database.database_id)
    write(path / "log", 4, payloads[3:], database.database_id)
    shutil.copytree(path / "log", tmp_path / "old")
    for _ in range(2):
        database = open_directory(path)
        holds(database, 5)
        assert not list((path / "log").glob("*.log"))
        database.abandon()
        shutil.copytree(tmp_path / "old", path / "log", dirs_exist_ok=True)
    database = open_directory(path)
    append(database, 6)
    database.abandon()
    database = open_directory(path)
    holds(database, 6)
    database.close()
