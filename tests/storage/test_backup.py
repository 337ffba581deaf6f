"""Backups: each restores to what the database was, or is refused before anything is replaced."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dying_disk import DyingDisk, Killed, tree
from formats_support import answers, expected, unpacked
from s3 import Bucket, Proxy

import amaters as am
from amaters.base.errors import AmatersError, ConflictError, DataError
from amaters.base.progress import Progress
from amaters.storage.backup import backup
from amaters.storage.backupset import (
    BackupInfo,
    DirectoryTarget,
    Target,
    list_backups,
    open_target,
    state_file,
)
from amaters.storage.database import open_memory
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.files import Disk
from amaters.storage.options import StorageOptions
from amaters.storage.restore import check_backup, restore
from amaters.storage.verify import verify
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

QUESTIONS = list(expected("directory-1"))
COUNT = "SELECT count(*), sum(id) FROM pay"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database of this format, with its keyring."""
    home = tmp_path_factory.mktemp("template")
    open_directory(unpacked("directory-1", home)).close()
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def target(home: Path) -> Target:
    return open_target(str(home / "backups"))


@pytest.fixture
def storage(home: Path) -> Iterator[DirectoryStorage]:
    opened = open_directory(home / "db")
    yield opened
    opened.close()


def connected(home: Path) -> am.Database:
    return am.connect(
        home / "db", keys=home / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
    )


def restored(target: Target, home: Path, name: str | None = None) -> Path:
    """Restores beside the database, with its keyring; returns the new home."""
    new = home / f"restored-{name}"
    restore(target, new / "db", name=name)
    shutil.copytree(home / "keys", new / "keys")
    return new


def put_keyset(storage: DirectoryStorage, n: int, size: int = 100) -> cb.ObjectRef:
    """A command that anybody may log, with an object of its own."""
    object_id = n.to_bytes(16, "big")
    writer = storage.objects.create(object_id, size)
    writer.write(bytes([n % 256]) * size)
    ref = writer.finish()
    name = pb.KeyName(keyset_id=b"s" * 16, key_id=object_id, parameter_set="p", scheme="noop")
    storage.append(cb.Command(keyset_put=cb.KeysetPut(name=name, object=ref)))
    return ref


# ---- full and incremental ------------------------------------------------------------------------


def test_every_backup_of_a_chain_restores_what_was_there_then(home: Path, target: Target) -> None:
    """A full backup and two increments; between them rows and a table come and another goes."""
    made: list[tuple[BackupInfo, list[tuple[object, ...]]]] = []
    for run in range(3):
        with connected(home) as db:
            first = 10_000 * (run + 1)
            db.table("pay").insert([(first + i, "HR", 9, i, "A", None) for i in range(20)])
            if run == 1:
                db.sql("DROP TABLE names")
                db.sql("CREATE TABLE more (k BIGINT PRIMARY KEY)")
                db.table("more").insert([(i,) for i in range(30)])
            then = db.sql(COUNT).rows()
        storage = open_directory(home / "db")
        parent = made[-1][0].name if made else None
        made.append((backup(storage, target, parent=parent), then))
        storage.close()
    assert [one.parent for one in list_backups(target)] == ["", made[0][0].name, made[1][0].name]
    for number, (info, then) in enumerate(made):
        new = restored(target, home, info.name)
        with connected(new) as db:
            assert db.sql(COUNT).rows() == then
            assert sorted(db.tables()) == (["names", "pay"] if number == 0 else ["more", "pay"])
            db.table("pay").insert([(1_000_000, "HR", 9, 1, "A", None)])
        storage = open_directory(new / "db")
        assert verify(storage).findings == []
        storage.close()


def test_an_increment_holds_only_what_is_new(storage: DirectoryStorage, target: Target) -> None:
    """Objects are written once, and of the state only the chunks that differ."""
    full = backup(storage, target)
    assert full.bytes_written == full.bytes_total
    same = backup(storage, target, parent=full.name)
    assert same.bytes_written == 0 and same.bytes_total == full.bytes_total
    put_keyset(storage, 1, size=300_000)
    more = backup(storage, target, parent=same.name)
    assert 300_000 <= more.bytes_written < 300_000 + full.bytes_total - 260_000
    files = [blob.name for blob in target.list("data/") if f"/{more.name}/objects/" in blob.name]
    assert len(files) == 1


def test_the_newest_backup_is_restored_by_default(home: Path, target: Target) -> None:
    """With its answers, those of the older format's fixture included."""
    storage = open_directory(home / "db")
    backup(storage, target)
    storage.close()
    new = restored(target, home)
    assert answers(new, QUESTIONS) == expected("directory-1")


def test_backups_are_made_while_writers_go_on(storage: DirectoryStorage, target: Target) -> None:
    """A backup is the state of one position: all acknowledged before it began is there, whatever
    was written meanwhile, also while objects were being copied.
    """
    for n in range(1, 40):
        put_keyset(storage, n)
    before = storage.position
    stop = threading.Event()
    count = 100

    def write() -> None:
        nonlocal count
        while not stop.is_set():
            put_keyset(storage, count)
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    infos = [backup(storage, target) for _ in range(3)]
    stop.set()
    writer.join()
    assert infos[0].position >= before
    assert storage.position > infos[-1].position
    for info in infos:
        path = Path(target.url).parent / info.name
        restore(target, path, name=info.name)
        copy = open_directory(path)
        assert copy.position == info.position
        report = verify(copy)
        assert report.findings == []
        written = info.position - before + 40 if info.position > before else 40
        assert report.counts["keysets"] == written
        copy.close()


def test_objects_that_leave_meanwhile_are_kept(storage: DirectoryStorage, target: Target) -> None:
    """A table is dropped and collected while the backup copies its objects."""
    (table,) = [found for found in storage.tables() if found.schema.name == "pay"]
    dropped = False

    def progress(_: Progress) -> None:
        nonlocal dropped
        if not dropped:
            dropped = True
            drop = cb.TableDrop(table_id=table.table_id)
            storage.append(cb.Command(table_drop=drop))
            assert storage.collect(set()) == 0

    info = backup(storage, target, progress=progress)
    assert dropped
    restore(target, Path(target.url).parent / "new", name=info.name)
    storage.snapshot()


# ---- what is refused -----------------------------------------------------------------------------


def test_a_damaged_database_is_not_backed_up(home: Path, target: Target) -> None:
    """A flipped bit in an object ends the backup, and nothing is listed or left."""
    victim = max((home / "db" / "objects").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    victim.write_bytes(data)
    storage = open_directory(home / "db")
    with pytest.raises(DataError) as caught:
        backup(storage, target)
    storage.close()
    assert caught.value.code == "AM-4001"
    assert list_backups(target) == [] and list(target.list("data/")) == []


def test_parents_must_fit(storage: DirectoryStorage, target: Target, tmp_path: Path) -> None:
    """A parent that is not there, or is of another database, is refused by name; so is a database
    in memory.
    """
    with pytest.raises(AmatersError) as caught:
        backup(storage, target, parent="nobody")
    assert caught.value.code == "AM-4042"
    other = open_directory(tmp_path / "other")
    info = backup(other, target)
    other.close()
    with pytest.raises(AmatersError) as caught:
        backup(storage, target, parent=info.name)
    assert caught.value.code == "AM-4044"
    memory = open_memory()
    with pytest.raises(AmatersError) as caught:
        backup(memory, target)
    assert caught.value.code == "AM-4047"
    memory.close()


def test_only_databases_are_replaced(
    storage: DirectoryStorage, target: Target, tmp_path: Path
) -> None:
    """A directory with anything in it is refused; with ``replace`` one that is no database, or is
    open, is refused as well and left as it was.
    """
    backup(storage, target)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis").write_bytes(b"x")
    with pytest.raises(ConflictError) as caught:
        restore(target, foreign)
    assert caught.value.code == "AM-4043"
    with pytest.raises(DataError) as damaged:
        restore(target, foreign, replace=True)
    assert damaged.value.code == "AM-4005"
    assert tree(foreign) == {"thesis": b"x"}
    with pytest.raises(ConflictError) as caught:
        restore(target, storage.path, replace=True)
    assert caught.value.code == "AM-4002"


def test_a_chain_with_a_missing_or_exchanged_ancestor_is_refused(
    storage: DirectoryStorage, target: Target, tmp_path: Path
) -> None:
    """Each increment names its ancestors and their checksums."""
    first = backup(storage, target)
    put_keyset(storage, 1)
    second = backup(storage, target, parent=first.name)
    put_keyset(storage, 2)
    third = backup(storage, target, parent=second.name)
    root = Path(target.url)
    manifest = root / "manifests" / second.name
    kept = manifest.read_bytes()
    manifest.unlink()
    with pytest.raises(DataError, match="missing"):
        restore(target, tmp_path / "new", name=third.name)
    manifest.write_bytes((root / "manifests" / first.name).read_bytes())
    with pytest.raises(DataError, match="copy"):
        restore(target, tmp_path / "new", name=third.name)
    manifest.write_bytes(kept)
    restore(target, tmp_path / "new", name=third.name)


def test_every_damaged_byte_of_a_backup_is_noticed(
    storage: DirectoryStorage, target: Target, tmp_path: Path
) -> None:
    """Bits flipped over all files of a chain, and files cut short or lost: the restore ends with a
    typed error, and there is nothing in its place.
    """
    first = backup(storage, target)
    put_keyset(storage, 1)
    info = backup(storage, target, parent=first.name)
    files = [path for path in Path(target.url).rglob("*") if path.is_file()]
    assert len(files) > 8
    for number, path in enumerate(files):
        whole = path.read_bytes()
        if not whole:
            continue
        places = {0, len(whole) // 2, len(whole) - 1, 7919 * number % len(whole)}
        damaged = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in places]
        for content in (*damaged, whole[:-1], None):
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            try:
                check_backup(target, info.name)
            except (DataError, AmatersError) as error:
                assert error.code in ("AM-4041", "AM-4042")
            else:
                assert path.match(f"data/{first.name}/state"), path
                check_backup(target, info.name)
            path.write_bytes(whole)
    whole = (Path(target.url) / state_file(first.name)).read_bytes()
    (Path(target.url) / state_file(first.name)).write_bytes(bytes(len(whole)))
    with pytest.raises(DataError) as caught:
        restore(target, tmp_path / "new", name=first.name)
    assert caught.value.code == "AM-4041"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".new", "new"))]


# ---- death and full disks ------------------------------------------------------------------------


def test_a_backup_that_dies_does_not_exist(storage: DirectoryStorage, home: Path) -> None:
    """Killed at any operation of the target: what is listed is whole, and the next one works."""
    whole = 0
    for at in range(1, 200, 2):
        place = home / f"backups{at}"
        disk = DyingDisk(at, after=at % 4 == 1)
        with suppress(Killed):
            backup(storage, DirectoryTarget(place, disk))
        found = list_backups(open_target(str(place)))
        for info in found:
            check_backup(open_target(str(place)), info.name)
        whole += len(found)
        if disk.count < at:
            break
    assert whole > 0
    assert disk.count > 40


class FullDisk(Disk):
    """Has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: object, path: Path) -> None:
        self.room -= len(memoryview(data))  # type: ignore[arg-type]
        if self.room < 0:
            raise AmatersError("AM-4008", file=path.name, what="No space left on device")
        super().write(fd, data, path)  # type: ignore[arg-type]


def test_a_full_target_leaves_the_database_as_it_was(storage: DirectoryStorage, home: Path) -> None:
    """The error says so, what was written goes, and the database goes on."""
    place = DirectoryTarget(home / "backups", FullDisk(200_000))
    with pytest.raises(AmatersError) as caught:
        backup(storage, place)
    assert caught.value.code == "AM-4008"
    assert list_backups(place) == [] and list(place.list("data/")) == []
    put_keyset(storage, 1)
    assert verify(storage).findings == []


@pytest.mark.parametrize("after", [False, True])
def test_a_replaced_database_is_the_old_or_the_new_one(home: Path, after: bool) -> None:
    """A restore over a database is killed at operations over its whole way: it opens as the old
    one or as the restored one, whole.
    """
    storage = open_directory(home / "db")
    target = open_target(str(home / "backups"))
    info = backup(storage, target)
    for n in range(1, 4):
        put_keyset(storage, n)
    position = storage.position
    storage.close()
    ends = []
    for at in range(3 + after, 400, 23):
        path = home / f"at{at}"
        shutil.copytree(home / "db", path)
        disk = DyingDisk(at, after=after)
        with suppress(Killed):
            restore(target, path, replace=True, disk=disk)
        copy = open_directory(path)
        ends.append(copy.position)
        assert verify(copy).findings == []
        copy.close()
        shutil.rmtree(path)
        if disk.count < at:
            break
    assert set(ends) == {position, info.position}
    assert ends == sorted(ends, reverse=True)


@pytest.mark.parametrize("scheme", ["file", "s3"])
def test_backups_on_object_stores(
    storage: DirectoryStorage, tmp_path: Path, scheme: str, request: pytest.FixtureRequest
) -> None:
    """A full backup and an increment go to a store and come back."""
    if scheme == "s3":
        target = open_target(request.getfixturevalue("bucket").url("backups"))
    else:
        target = open_target(f"file://{tmp_path}/store")
    first = backup(storage, target)
    put_keyset(storage, 1, size=200_000)
    second = backup(storage, target, parent=first.name)
    assert [one.name for one in list_backups(target)] == [first.name, second.name]
    restore(target, tmp_path / "new")
    copy = open_directory(tmp_path / "new")
    assert copy.position == storage.position
    assert verify(copy).findings == []
    copy.close()
    target.delete([state_file(first.name)])
    with pytest.raises(DataError) as caught:
        restore(target, tmp_path / "again")
    assert caught.value.code == "AM-4041"


def test_a_store_that_fails_now_and_then(
    storage: DirectoryStorage, bucket: Bucket, proxy: Proxy, tmp_path: Path
) -> None:
    """Requests that are refused, answered too late or lost are sent again: the backup is whole. One
    that ends half-way with a typed error is not listed, and what it wrote is removed.
    """
    target = open_target(bucket.url("backups", port=proxy.port))
    for kind in ("refuse", "late", "lost"):
        proxy.fail("PUT", "/data/", kind)
        proxy.fail("PUT", "/manifests/", kind)
        proxy.fail("GET", "/data/", kind)
    info = backup(storage, target)
    check_backup(target, info.name)
    restore(target, tmp_path / "new")
    plain = open_target(bucket.url("backups"))
    before = [blob.name for blob in plain.list("data/")]

    def failing(_: Progress) -> None:
        raise AmatersError("AM-4031", what="the rights were taken away")

    with pytest.raises(AmatersError) as caught:
        backup(storage, target, progress=failing)
    assert caught.value.code == "AM-4031"
    assert [one.name for one in list_backups(plain)] == [info.name]
    assert [blob.name for blob in plain.list("data/")] == before


@pytest.mark.parametrize("log_on_store", [False, True])
def test_a_database_is_restored_onto_an_object_store(
    storage: DirectoryStorage, target: Target, bucket: Bucket, tmp_path: Path, log_on_store: bool
) -> None:
    """Objects alone, or log and snapshots as well: then the directory may be lost. A store that
    holds something is refused.
    """
    put_keyset(storage, 1)
    backup(storage, target)
    options = StorageOptions(objects_url=bucket.url("there"), log_on_store=log_on_store)
    restore(target, tmp_path / "new", options=options)
    for n in range(2, 6):
        copy = open_directory(tmp_path / "new")
        assert copy.place is not None and not (copy.path / "objects").exists()
        assert copy.position == storage.position + n - 2
        put_keyset(copy, n)
        assert verify(copy).findings == []
        copy.abandon()
        if log_on_store:
            shutil.rmtree(tmp_path / "new")
            open_directory(tmp_path / "new", options=options).close()
    with pytest.raises(ConflictError) as caught:
        restore(target, tmp_path / "other", options=options)
    assert caught.value.code == "AM-4043" and not (tmp_path / "other").exists()
