"""Verifying finds every kind of damage, and nothing in a database that is whole."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from formats_support import unpacked
from s3 import Bucket
from test_backup import put_keyset
from test_rowstore import record, row, table

import amaters as am
from amaters.base.errors import AmatersError, DataError, make
from amaters.storage.backup import backup
from amaters.storage.backupset import open_target
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.database import open_memory
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.options import StorageOptions
from amaters.storage.remote import open_blobs
from amaters.storage.restore import restore
from amaters.storage.rowstore import RowStore
from amaters.storage.stats import storage_stats
from amaters.storage.verify import VerifyReport, verify
from amaters.wire import commands_pb2 as cb

ONCE = LogOptions(spare_segments=0)  # no file of the log has frames of an earlier life


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with segments, tails, snapshots and dead rows."""
    home = tmp_path_factory.mktemp("template")
    unpacked("directory-1", home)
    with am.connect(
        home / "db", keys=home / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
    ) as db:
        db.table("pay").insert([(100_000 + i, "HR", 9, i, "A", None) for i in range(500)])
        db.sql("CREATE TABLE plain (k BIGINT PRIMARY KEY, name TEXT)")
        db.table("plain").insert([(i, f"name {i}") for i in range(40)])
        db.sql("CREATE INDEX by_dept ON pay (dept)")
        db.sql("CREATE UNIQUE INDEX by_name ON plain (name)")
        db.sql("CREATE TABLE gone (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED)")
        db.table("gone").insert([(i, i) for i in range(500)])
        db.sql("DROP TABLE gone")
    storage = open_directory(home / "db", options=ONCE)
    storage.snapshot()
    put_keyset(storage, 1)
    storage.snapshot()
    storage.close()
    return home / "db"


@pytest.fixture
def storage(template: Path, tmp_path: Path) -> Iterator[DirectoryStorage]:
    shutil.copytree(template, tmp_path / "db")
    opened = open_directory(tmp_path / "db", options=ONCE)
    yield opened
    opened.close()


def whats(report: VerifyReport) -> str:
    return "\n".join(f"{finding.where}: {finding.what}" for finding in report.findings)


def test_a_whole_database_has_no_findings(storage: DirectoryStorage) -> None:
    """And everything was looked at."""
    report = verify(storage)
    assert report.findings == []
    counts = report.counts
    assert counts["tables"] == 3 and counts["segments"] == 2 and counts["snapshots"] == 2
    assert counts["indexes"] == 2 and counts["rows"] > 1100 and counts["state pages"] > 10
    assert counts["objects"] == len(list((storage.path / "objects").iterdir()))
    assert counts["object bytes"] > 400_000
    put_keyset(storage, 2)
    assert verify(storage).counts["log records"] >= 1


def test_a_database_in_memory_is_verified(storage: DirectoryStorage) -> None:
    """Without files there is the state to check."""
    memory = open_memory()
    assert verify(memory).ok
    memory.close()


def test_every_flipped_bit_in_an_object_is_found(storage: DirectoryStorage) -> None:
    """All over its content and its checksums, with the database in use."""
    for number, path in enumerate(sorted((storage.path / "objects").iterdir())):
        whole = path.read_bytes()
        if len(whole) == 16:
            continue
        for at in {16, len(whole) - 1, len(whole) // 2, 16 + 7919 * number % (len(whole) - 16)}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            assert path.name in whats(verify(storage)), (path.name, at)
        path.unlink()
        assert path.name in whats(verify(storage))
        path.write_bytes(whole)
    assert verify(storage).ok


@pytest.mark.parametrize("pattern", ["snapshots/*.pack", "snapshots/*.snapshot", "log/*.segment"])
def test_damaged_logs_and_snapshots_are_found(storage: DirectoryStorage, pattern: str) -> None:
    """Bits flipped in what was written: headers, bodies, checksums."""
    for n in range(10, 16):
        put_keyset(storage, n)
    reported = 0
    for path in storage.path.glob(pattern):
        whole = path.read_bytes()
        used = [at for at, byte in enumerate(whole) if byte]
        for at in used[:: max(1, len(used) // 25)]:
            damaged = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
            path.write_bytes(damaged)
            reported += not verify(storage).ok
        path.write_bytes(whole)
    assert reported > 20
    assert verify(storage).ok


BREAKS: list[tuple[str, str]] = [
    ("DELETE FROM keys WHERE place > 0 AND slot = 3", "keys"),
    ("DELETE FROM keys WHERE place < 0", "keys for"),
    ("UPDATE keys SET slot = slot + 1 WHERE key = (SELECT max(key) FROM keys)", "lead elsewhere"),
    ("INSERT INTO keys SELECT tid, 77777777, place, slot FROM keys LIMIT 1", "keys for"),
    ("UPDATE liveness SET live = live - 1 WHERE place > 0", "rows are alive"),
    ("UPDATE liveness SET bits = x'ff' WHERE place > 0", "another length"),
    ("DELETE FROM liveness", "liveness"),
    ("UPDATE tables SET tail_rows = tail_rows + 1", "its tail has"),
    ("UPDATE tables SET top_key = 5", "above 5"),
    ("UPDATE segments SET rows = rows - 1", "its manifest says"),
    ("UPDATE tails SET public = x'00'", "not a block"),
    ("UPDATE tails SET tid = 99", "belong to no table"),
    ("DELETE FROM tables WHERE name = 'plain'", "belong to no table"),
    ("DELETE FROM segments", "liveness"),
    ("UPDATE indexes SET is_unique = 1", "index by_dept is unique, and "),
    ("DELETE FROM index_runs", "index by_dept is ready, and does not know it"),
    ("DELETE FROM index_tail WHERE number = 1", "is ready, and does not know it"),
    ("UPDATE index_runs SET place = 999 WHERE place = 1", "places that are gone"),
    ("UPDATE index_runs SET stamp = x'00'", "not the one written"),
    (
        "UPDATE index_runs SET (run, stamp, low, high, rows) = (SELECT run, stamp, low, high, rows "
        "FROM index_runs ORDER BY place DESC LIMIT 1)",
        "index by_dept",
    ),
    ("UPDATE index_tail SET entry = x'0261' WHERE slot = 1", "other values than its block"),
    ("UPDATE index_tail SET slot = slot + 1000 WHERE slot = 1", "other values than its block"),
]


@pytest.mark.parametrize(("statement", "what"), BREAKS)
def test_a_state_that_contradicts_itself_is_found(
    storage: DirectoryStorage, statement: str, what: str
) -> None:
    """Each relation of the state is changed behind its back."""
    storage.state.db.run(statement)
    assert what in whats(verify(storage))


def test_a_damaged_page_of_the_state_is_found(template: Path, tmp_path: Path) -> None:
    """A bit flipped in any page of the state's file: opening notices it and makes the state again,
    or verifying finds it and the next open does.
    """
    whole = (template / "state" / "state.db").read_bytes()
    found = 0
    for at in range(5000, len(whole), len(whole) // 12):
        path = tmp_path / f"at{at}"
        shutil.copytree(template, path)
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        (path / "state" / "state.db").write_bytes(damaged)
        opened = open_directory(path)
        if opened.notice is None:
            assert not verify(opened).ok
            found += 1
        opened.abandon()
        again = open_directory(path)
        assert verify(again).ok
        again.close()
    assert found > 3


def test_garbage_that_a_rebuild_wants_must_be_there(storage: DirectoryStorage) -> None:
    """Objects of a dropped table stay until two snapshots are past it; one that is lost before is
    found, and files that nothing names are counted.
    """
    (table,) = [found for found in storage.tables() if found.schema.name == "pay"]
    storage.append(cb.Command(table_drop=cb.TableDrop(table_id=table.table_id)))
    report = verify(storage)
    assert report.ok and report.counts["garbage objects"] == len(table.object_ids())
    victim = storage.path / "objects" / min(table.object_ids()).hex()
    victim.rename(victim.with_name("f" * 32))
    report = verify(storage)
    assert "a rebuild lacks it" in whats(report)
    assert report.counts["unreferenced objects"] == 1


def test_a_database_in_use_is_verified_without_false_alarms(storage: DirectoryStorage) -> None:
    """While one thread writes and takes snapshots, ten reports have no findings."""
    stop = threading.Event()

    def write() -> None:
        n = 1000
        while not stop.is_set():
            n += 1
            put_keyset(storage, n)
            if n % 50 == 0:
                try:
                    storage.snapshot()
                except DataError:
                    raise
                except AmatersError:
                    continue  # the state was being read

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            assert whats(verify(storage)) == ""
    finally:
        stop.set()
        writer.join()


def test_a_database_that_takes_no_writes_is_verified(storage: DirectoryStorage) -> None:
    """After a full disk, for example: reads go on, and so does this."""
    storage.failed = make("AM-4008", {"file": "log", "what": "No space left on device"})
    report = verify(storage)
    assert whats(report) == "" and report.counts["rows"] > 1000
    storage.failed = None


def test_figures_add_up(storage: DirectoryStorage) -> None:
    """Rows, bytes by encoding and files agree with what the state and the directory hold."""
    found = storage_stats(storage)
    tables = {table.name: table for table in found.tables}
    assert sorted(tables) == ["names", "pay", "plain"]
    assert sum(table.rows for table in found.tables) == verify(storage).counts["rows"]
    assert tables["plain"].tail_rows == 40 and tables["plain"].segments == 0
    encodings = {(one.column, one.encoding) for one in tables["pay"].encodings}
    assert ("salary", "digits") in encodings and ("grade", "onehot") in encodings
    assert all(one.segments == 2 and one.bytes > 0 for one in tables["pay"].encodings)
    files = list((storage.path / "objects").iterdir())
    assert found.object_files == len(files)
    named = sum(table.bytes - table.tail_bytes for table in found.tables) + found.keyset_bytes
    assert named <= found.object_bytes == sum(path.stat().st_size for path in files)
    (index,) = tables["plain"].indexes
    assert index.unique and index.state == "ready" and index.entries == 40 and index.bytes > 300
    assert found.snapshots == 2 and found.log_files >= 1 and found.state_bytes > 0
    assert found.as_dict()["tables"][1]["bytes_per_row"] > 100


def test_a_database_on_an_object_store_is_verified_there(bucket: Bucket, tmp_path: Path) -> None:
    """Objects, log and snapshots are read from the store, past the cache: what is lost or damaged
    there is found although this machine still has a copy; and the database is backed up from it.
    """
    options = StorageOptions(objects_url=bucket.url(), log_on_store=True)
    storage = open_directory(tmp_path / "db", options=options)
    store = RowStore.create(storage, record(table()))
    store.put([row(n) for n in range(700)])
    store.close()
    storage.snapshot()
    put_keyset(storage, 1)
    report = verify(storage)
    assert whats(report) == ""
    assert report.counts["rows"] == 700 and report.counts["snapshots"] == 1
    assert report.counts["log records"] >= 1
    info = backup(storage, open_target(str(tmp_path / "backups")))
    restore(open_target(str(tmp_path / "backups")), tmp_path / "local")
    copy = open_directory(tmp_path / "local")
    assert copy.position == info.position == storage.position and copy.place is None
    assert whats(verify(copy)) == ""
    copy.close()
    blobs = open_blobs(bucket.url())
    for prefix in ("objects/", "snapshots/", "log/"):
        names = [info.name for info in blobs.list(prefix)]
        victim = names[-1]
        whole = blobs.get(victim)
        assert whole is not None
        blobs.put(victim, whole[:-1] + bytes([whole[-1] ^ 1]))
        assert not verify(storage).ok, victim
        blobs.put(victim, whole)
    assert whats(verify(storage)) == ""
    storage.close()
