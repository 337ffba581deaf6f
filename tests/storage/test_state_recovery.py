"""A state that is lost or damaged is made again, or the error says so: never a wrong answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw
import pytest
from state_support import (
    TABLE,
    Rows,
    append,
    batch,
    contents,
    create,
    drop,
    found_rows,
    large,
    put,
    table_of,
)

from amaters.base.errors import AmatersError, DataError
from amaters.base.ids import new_id
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.files import Disk
from amaters.storage.marker import read_marker
from amaters.storage.sqlite import Connection, page_key
from amaters.storage.state import State

PAGE = 4096


def state_file(path: Path) -> Path:
    return path / "state" / "state.db"


def lose_state(path: Path) -> None:
    shutil.rmtree(path / "state")


def build(path: Path, snapshots: int) -> tuple[DirectoryStorage, Rows]:
    """A database with so many snapshots and commands after the last one, not closed."""
    storage = open_directory(path)
    append(storage, create())
    put(storage, 1, tail=[1, 2], segments=[range(100, 3000)])
    put(storage, 2, tail=[2, 100], removed={2: 1, 100: 1})
    for n in range(snapshots):
        storage.snapshot()
        put(storage, 3 + n, segments=[[10 + n]], tail=[20 + n])
    return storage, contents(storage)


def reopened(path: Path) -> tuple[str | None, Rows]:
    storage = open_directory(path)
    try:
        return storage.notice, contents(storage)
    finally:
        storage.abandon()


@pytest.mark.parametrize("snapshots", [0, 1, 3])
def test_a_lost_state_is_made_again(tmp_path: Path, snapshots: int) -> None:
    """From the log alone, from the only snapshot, from the newest of two after a cut of the log; it
    is as good as the old one: replies, groups, snapshots go on.
    """
    storage, rows = build(tmp_path / "db", snapshots)
    storage.abandon()
    lose_state(tmp_path / "db")
    notice, found = reopened(tmp_path / "db")
    assert found == rows and notice is not None
    assert ("snapshot" if snapshots else "the log") in notice
    storage = open_directory(tmp_path / "db")
    assert storage.notice is None, "it is made again once"
    command = batch(storage, 9, tail=[-1])
    reply = append(storage, command)
    storage.snapshot()
    storage.abandon()
    lose_state(tmp_path / "db")
    storage = open_directory(tmp_path / "db")
    assert storage.state.reply_of(command.request_id, b"d") == reply
    assert contents(storage) == {**rows, -1: 9}
    storage.close()


def test_a_replay_finds_the_objects_of_what_was_dropped_since(tmp_path: Path) -> None:
    """Objects of a dropped table stay until no replay can want them."""
    path = tmp_path / "db"
    storage, _ = build(path, 2)
    named = table_of(storage).object_ids()
    append(storage, drop())
    append(storage, create(b"n" * 16))
    assert storage.collect(set()) == 0
    storage.close()
    for _ in range(3):
        lose_state(path)
        storage = open_directory(path)
        assert storage.version(b"n" * 16) is not None and storage.version(TABLE) is None
        storage.collect(set())
        there = named & set(storage.objects.ids())
        append(storage, create(new_id()))
        storage.snapshot()
        storage.close()
    assert not there and not named & set(storage.objects.ids())


def damaged(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def test_one_bit_in_each_page_of_the_state(tmp_path: Path) -> None:
    """Noticed at open or by whoever reads the page, then made good by the next open."""
    storage, rows = build(tmp_path / "db", 2)
    storage.close()
    pages = state_file(tmp_path / "db").stat().st_size // PAGE
    rng = Random(3)
    noticed = at_open = 0
    for page in range(pages):
        trial = tmp_path / "trial"
        shutil.copytree(tmp_path / "db", trial)
        offset = page * PAGE + rng.randrange(16, PAGE)

        def flip(data: bytearray, offset: int = offset) -> None:
            data[offset] ^= 1 << rng.randrange(8)

        damaged(state_file(trial), flip)
        try:
            notice, found = reopened(trial)
            at_open += notice is not None
        except AmatersError as error:
            assert error.code == "AM-4011"
            noticed += 1
            notice, found = reopened(trial)
            assert notice is not None and "snapshot" in notice
        assert found == rows
        shutil.rmtree(trial)
    assert noticed + at_open > pages // 2 and at_open > 3 and noticed > 3


def test_damage_found_while_open_stops_writes_and_is_made_good(tmp_path: Path) -> None:
    """Whoever reads the page gets a typed error, later writes are refused, other reads go on."""
    path = tmp_path / "db"
    storage, rows = build(path, 1)
    storage.close()
    size = state_file(path).stat().st_size

    def wipe_keys(data: bytearray) -> None:
        for page in range(8, size // PAGE):
            data[page * PAGE + 100] ^= 1

    damaged(state_file(path), wipe_keys)
    storage = open_directory(path)
    if storage.notice is None:
        tid = table_of(storage).tid
        with pytest.raises(DataError, match="AM-4011"):
            storage.places(tid, list(rows))
        assert storage.failed is not None
        with pytest.raises(AmatersError, match="AM-4004"):
            put(storage, 9, tail=[-1])
        assert len(table_of(storage).segments) == 2
    storage.close()
    assert reopened(path)[1] == rows


@pytest.mark.parametrize("kind", ["empty", "short", "text", "foreign", "stale"])
def test_a_file_that_is_not_this_state(tmp_path: Path, kind: str) -> None:
    """Emptied, cut, overwritten, of another database, or older than a snapshot: made again."""
    path = tmp_path / "db"
    storage, _ = build(path, 0)
    storage.close()
    shutil.copy(state_file(path), tmp_path / "older")
    storage = open_directory(path)
    put(storage, 7, tail=[-1])
    storage.snapshot()
    put(storage, 8, tail=[-2])
    rows = contents(storage)
    storage.close()
    file = state_file(path)
    if kind == "foreign":
        other, _ = build(tmp_path / "other", 0)
        other.close()
        shutil.copy(state_file(tmp_path / "other"), file)
    elif kind == "stale":
        shutil.copy(tmp_path / "older", file)
    else:
        data = file.read_bytes()
        file.write_bytes({"empty": b"", "short": data[: len(data) // 2], "text": b"no"}[kind])
    notice, found = reopened(path)
    assert found == rows
    assert notice is not None or kind == "short"


def test_a_stale_log_of_sqlite_is_never_applied_to_a_new_state(tmp_path: Path) -> None:
    """A state that was marked as bad is made again without what lies beside it."""
    path = tmp_path / "db"
    storage, rows = build(path, 1)
    storage.abandon()
    (path / "state" / "BAD").touch()
    notice, found = reopened(path)
    assert found == rows and notice is not None and "marked" in notice
    assert not (path / "state" / "BAD").exists()


def snapshot_files(path: Path, suffix: str) -> list[Path]:
    return sorted((path / "snapshots").glob(f"*{suffix}"), key=lambda file: file.stat().st_mtime_ns)


def test_with_a_damaged_snapshot_the_older_one_serves(tmp_path: Path) -> None:
    """Manifest or pack of the newest, flipped or gone, with the state lost as well."""
    storage, rows = build(tmp_path / "db", 3)
    storage.abandon()

    def flip(data: bytearray) -> None:
        data[len(data) // 2] ^= 4

    def harm(file: Path, *, gone: bool) -> None:
        file.unlink() if gone else damaged(file, flip)

    for suffix in (".snapshot", ".pack"):
        for gone in (False, True):
            trial = tmp_path / "trial"
            shutil.copytree(tmp_path / "db", trial)
            newest = sorted((trial / "snapshots").glob("*.snapshot"))[-1]
            kept = open_directory(trial).snapshots
            packs = {file.name for file in kept.kept[0].files}
            packs -= {file.name for file in kept.kept[1].files}
            lose_state(trial)
            harm(newest if suffix == ".snapshot" else trial / "snapshots" / packs.pop(), gone=gone)
            shutil.copytree(trial, tmp_path / "held")
            (tmp_path / "held" / "LOCK").unlink()
            notice, found = reopened(tmp_path / "held")
            assert found == rows and notice is not None and "snapshot" in notice
            shutil.rmtree(trial)
            shutil.rmtree(tmp_path / "held")


def test_nothing_left_to_make_it_from_is_an_error(tmp_path: Path) -> None:
    """State and both snapshots gone after the log was cut: said, and nothing is swept."""
    path = tmp_path / "db"
    storage = open_directory(path)
    append(storage, create())
    for n in range(12):
        put(storage, 1, segments=[[n]])
        append(storage, large(n))
        storage.snapshot()
    storage.close()
    lose_state(path)
    shutil.rmtree(path / "snapshots")
    objects = sorted(file.name for file in (path / "objects").iterdir())
    with pytest.raises(DataError, match=r"AM-40(01|15)"):
        open_directory(path)
    assert sorted(file.name for file in (path / "objects").iterdir()) == objects


def test_a_log_that_ends_before_the_state_is_damage(tmp_path: Path) -> None:
    """What was applied must be in the log: a log put back from an older copy is noticed."""
    path = tmp_path / "db"
    storage, _ = build(path, 0)
    storage.abandon()
    shutil.copytree(path / "log", tmp_path / "log")
    storage = open_directory(path)
    put(storage, 9, tail=[-1])
    storage.close()
    shutil.rmtree(path / "log")
    shutil.copytree(tmp_path / "log", path / "log")
    with pytest.raises(DataError, match="AM-4001"):
        open_directory(path)


def test_commands_that_are_only_in_the_log_are_applied_at_open(tmp_path: Path) -> None:
    """A process that dies between log and state loses nothing that it acknowledged."""
    path = tmp_path / "db"
    storage, rows = build(path, 1)
    shutil.copytree(path / "state", tmp_path / "state")
    put(storage, 9, tail=[-1], segments=[[-2]])
    storage.abandon()
    shutil.rmtree(path / "state")
    shutil.copytree(tmp_path / "state", path / "state")
    notice, found = reopened(path)
    assert notice is None and found == {**rows, -1: 9, -2: 9}


def test_opening_writes_nothing_that_is_there_already(tmp_path: Path) -> None:
    """A state at the end of the log is not written to when it is opened."""
    path = tmp_path / "db"
    storage, rows = build(path, 0)
    storage.close()
    before = state_file(path).read_bytes()
    storage = open_directory(path)
    assert contents(storage) == rows
    assert (path / "state" / "state.db-wal").stat().st_size == 0
    storage.abandon()
    assert state_file(path).read_bytes() == before


class FullVfs(apsw.VFS):
    """Files of the state take no more bytes while ``full``."""

    full = False

    def __init__(self) -> None:
        self.name = f"full-{new_id().hex()}"
        super().__init__(self.name, "unix")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FullFile(self, name, flags)


class FullFile(apsw.VFSFile):
    def __init__(self, vfs: FullVfs, name: object, flags: list[int]) -> None:
        super().__init__("unix", name, flags)  # type: ignore[arg-type]
        self._vfs = vfs

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._vfs.full:
            raise apsw.FullError("no space left")
        super().xWrite(data, offset)


def test_a_full_disk_leaves_a_readable_database(tmp_path: Path) -> None:
    """Where the state finds no room the write is refused and reads go on; with room again, the next
    open goes on where it stopped.
    """
    path, vfs = tmp_path / "db", FullVfs()
    storage = open_directory(path, state_vfs=vfs.name)
    append(storage, create())
    put(storage, 1, tail=[1, 2], segments=[[3]])
    rows = contents(storage)
    vfs.full = True
    with pytest.raises(AmatersError, match="AM-4008"):
        put(storage, 2, tail=[5])
    with pytest.raises(AmatersError, match="AM-4004"):
        put(storage, 2, tail=[6])
    assert contents(storage) == rows and storage.failed is not None
    storage.close()
    vfs.full = False
    found = reopened(path)[1]
    assert found in (rows, {**rows, 5: 2})


def test_errors_of_sqlite_say_what_to_do(tmp_path: Path) -> None:
    """Each kind of failure has a code, and only a constraint leaves the connection usable."""
    key = page_key(b"i" * 16)
    with pytest.raises(AmatersError, match="AM-4013"):
        Connection(tmp_path / "no" / "such", key)
    db = Connection(tmp_path / "x.db", key)
    db.run("CREATE TABLE t (a UNIQUE)")
    db.run("INSERT INTO t VALUES (1)")
    with pytest.raises(AmatersError, match="AM-4012"):
        db.run("INSERT INTO t VALUES (1)")
    assert db.broken is None and db.all("SELECT a FROM t") == [(1,)]
    with pytest.raises(AmatersError, match="AM-4013"):
        db.one("SELECT nothing")
    assert db.broken is not None
    db.close()
    for change in ("key", "bytes"):
        with pytest.raises(DataError, match="AM-4011") as caught:
            if change == "bytes":
                (tmp_path / "x.db").write_bytes(b"x" * 8192)
            Connection(tmp_path / "x.db", page_key(b"j" * 16)).one("SELECT a FROM t")
        assert "snapshot" in str(caught.value)


def test_a_newer_state_is_not_touched(tmp_path: Path) -> None:
    """A program that is too old says so instead of making the state again."""
    path = tmp_path / "db"
    storage, _ = build(path, 0)
    storage.state.db.run("PRAGMA user_version = 99")
    storage.close()
    with pytest.raises(DataError, match="AM-4006"):
        open_directory(path)
    state = Connection(state_file(path), page_key(read_marker(path, Disk()).database_id))
    assert state.one("PRAGMA user_version") == (99,)
    state.close()


def test_a_state_can_grow_past_its_cache(tmp_path: Path) -> None:
    """A group larger than what fits a small cache is spilled, committed and read back."""
    database_id = new_id()
    state = State.create(tmp_path / "state.db", database_id)
    state.db.run("PRAGMA cache_size = 10")
    state.begin()
    state.db.run_many("INSERT INTO keys VALUES (1, ?, 1, 0)", ((n,) for n in range(50_000)))
    state.rollback()
    assert state.db.one("SELECT count(*) FROM keys") == (0,)
    state.begin()
    state.db.run_many("INSERT INTO keys VALUES (1, ?, 1, 0)", ((n,) for n in range(50_000)))
    state.commit(7, 100)
    assert state.db.checkpoint(whole=True)
    state.close()
    state = State.open(tmp_path / "state.db", database_id)
    assert (state.applied, state.logged) == (7, 100)
    assert state.db.one("SELECT count(*) FROM keys") == (50_000,)
    state.db.check()
    state.close()


def test_rows_of_commands_after_an_abandoned_group(tmp_path: Path) -> None:
    """A process that dies inside a group leaves nothing of it."""
    path = tmp_path / "db"
    storage, rows = build(path, 0)
    group = storage.group()
    opened = group.__enter__()
    command = batch(storage, 9, tail=[-1])
    opened.apply(command, found_rows(storage, command))
    shutil.copytree(path, tmp_path / "killed")
    assert not group.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    storage.close()
    assert reopened(tmp_path / "killed")[1] == rows == reopened(path)[1]


def harmed(path: Path, rng: Random) -> None:
    """One thing that can befall a state between two opens, if any."""
    what = rng.choice(["nothing", "lost", "flip", "log", "torn"])
    file = state_file(path)
    if what == "lost":
        lose_state(path)
    elif what == "log":
        wal = file.with_name("state.db-wal")
        wal.write_bytes(wal.read_bytes()[: rng.randrange(1 + wal.stat().st_size)])
    elif what == "torn":
        file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])
    elif what == "flip":

        def flip(data: bytearray) -> None:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)

        damaged(file, flip)


def changed(rng: Random, rows: Rows, version: int) -> tuple[dict[str, object], Rows]:
    """A batch as keywords of ``put``, and the rows after it."""
    keys: list[int | str] = list(rng.sample(range(60), rng.randrange(1, 20)))
    removed = {key: rows[key] for key in keys if key in rows}
    new = keys if rng.random() < 0.75 else []
    half = rng.choice([0, len(new) // 2, len(new)])
    segments = [new[half:]] if new[half:] else []
    after = {key: old for key, old in rows.items() if key not in removed}
    after.update(dict.fromkeys(new, version))
    return {"tail": new[:half], "segments": segments, "removed": removed}, after


def lives(path: Path, seed: int, opens: int) -> None:
    rng, version = Random(seed), 0
    rows: Rows = {}
    storage = open_directory(path)
    append(storage, create())
    for _ in range(opens):
        may_hold = [rows]
        try:
            for _ in range(rng.randrange(12)):
                version += 1
                parts, after = changed(rng, rows, version)
                may_hold = [rows, after]
                put(storage, version, **parts)
                may_hold, rows = [after], after
                if rng.random() < 0.2:
                    storage.snapshot()
                    storage.collect(set())
            storage.close() if rng.random() < 0.3 else storage.abandon()
        except AmatersError as error:  # a damaged page that nobody had read before
            assert error.code == "AM-4011"
            storage.abandon()
        harmed(path, rng)
        try:
            storage = open_directory(path)
            found = contents(storage)
        except AmatersError as error:
            assert error.code == "AM-4011"
            storage.abandon()
            storage = open_directory(path)
            found = contents(storage)
        assert found in may_hold
        rows = found
    storage.abandon()


@pytest.mark.parametrize("seed", range(4))
def test_random_lives(tmp_path: Path, seed: int) -> None:
    """Writes, snapshots, collections, closes and deaths, and a harmed state in between: all rows
    are always there, or the next open brings them.
    """
    lives(tmp_path / "db", seed, 12)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(4, 104))
def test_many_random_lives(tmp_path: Path, seed: int) -> None:
    """The same for a hundred databases."""
    lives(tmp_path / "db", seed, 40)
