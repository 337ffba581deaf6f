"""Databases on an S3 server as programs use them: killed, moved to another machine, taken over."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from remote_child import BATCH
from s3 import Bucket

import amaters as am
from amaters.storage.directory import open_directory
from amaters.storage.options import StorageOptions
from amaters.storage.rowstore import RowStore

CHILD = Path(__file__).with_name("remote_child.py")


def killed(directory: Path, url: str, first: int, lines: int) -> tuple[list[int], int]:
    """Write batches in another process and kill it after some lines of its output; what was
    acknowledged, and the last that was begun.
    """
    command = [sys.executable, str(CHILD), str(directory), url, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        seen += child.stdout.readlines()
    words = [line.split() for line in seen if line.endswith("\n")]
    done = [int(word[1]) for word in words if word[0] == "done"]
    return done, max((int(word[1]) for word in words), default=first)


def batches(directory: Path, url: str) -> Counter[int]:
    """Rows of each batch."""
    storage = open_directory(directory, options=StorageOptions(objects_url=url, log_on_store=True))
    if not storage.tables():
        storage.close()
        return Counter()
    store = RowStore(storage, storage.tables()[0].table_id)
    found = Counter(row[1] for row in store.range())
    store.close()
    storage.close()
    return found


def kill_often(bucket: Bucket, path: Path, kills: int) -> None:
    rng = random.Random(7)
    url, first = bucket.url(), 1
    known: set[int] = set()
    for number in range(kills):
        done, last = killed(path / "db", url, first, rng.randrange(1, 25))
        known |= set(done)
        if number % 2:
            shutil.rmtree(path / "db")
        found = batches(path / "db", url)
        assert set(found.values()) <= {BATCH}, "a batch is there in part"
        assert known <= set(found) <= known | {last}
        known = set(found)
        first = last + 1


def test_kill_9_loses_nothing(bucket: Bucket, tmp_path: Path) -> None:
    """A process that writes rows, segments and snapshots to the server is killed at random points;
    after each, with its directory and without: what was acknowledged is there, what was not is
    there whole or not at all.
    """
    kill_often(bucket, tmp_path, 3)


@pytest.mark.stress
def test_kill_9_often(bucket: Bucket, tmp_path: Path) -> None:
    """The same, 300 times."""
    kill_often(bucket, tmp_path, 300)


def test_connecting_to_a_store(bucket: Bucket, tmp_path: Path) -> None:
    """Encrypted rows, and keys, through the client: the directory is lost, and another one on
    another machine answers as before; without options it knows where its data is.
    """
    more = {
        "keys": tmp_path / "keys",
        "unsafe_scheme": "noop",
        "unsafe_parameters": "insecure_n1024",
    }
    place = {"objects_url": bucket.url(), "log_backend": "object"}
    with am.connect(tmp_path / "db", **more, **place) as db:
        db.sql(
            "CREATE TABLE t (k BIGINT PRIMARY KEY, v SMALLINT NOT NULL "
            "ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 50))"
        )
        db.table("t").insert([(n, n % 50) for n in range(1500)])
    shutil.rmtree(tmp_path / "db")
    question = "SELECT count(*), sum(v) FROM t WHERE v < 20"
    expected = [(600, sum(n % 50 for n in range(1500) if n % 50 < 20))]
    with am.connect(tmp_path / "other", **more, **place) as db:
        assert db.sql(question).rows() == expected
        db.table("t").insert([(5000, 1)])
    with am.connect(tmp_path / "other", **more) as db:
        assert db.sql(question).rows() == [(601, expected[0][1] + 1)]
    assert any((tmp_path / "other" / "cache").iterdir())


def test_the_pipe_host_opens_a_store(bucket: Bucket, tmp_path: Path) -> None:
    """Flags of the engine's own process name the store; a wrong one ends it with its exit code."""
    command = [sys.executable, "-m", "amaters.engine.pipe", str(tmp_path / "db")]
    flags = ["--log-backend", "object", "--objects-url"]
    for url, code in ((bucket.url(), 0), ("nowhere://x", 1)):
        done = subprocess.run([*command, *flags, url], input=b"", capture_output=True, check=False)
        assert done.returncode == code, done.stderr
    assert b"AM-4028" in done.stderr
    assert (tmp_path / "db" / "AMATERS").exists()
