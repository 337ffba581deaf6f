"""The engine in another process that the operating system keeps away from the keyset."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from door_support import SMALL, Door

from amaters.base.clock import SystemClock
from amaters.base.progress import no_progress
from amaters.base.rng import SystemRng
from amaters.cli import demo_queries
from amaters.client.database import AsyncDatabase
from amaters.client.keymaking import choose, make_keyset
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset
from amaters.client.session import Keys, Outside, open_session
from amaters.wire.pipe import STREAM_LIMIT, connect_streams

NOBODY = 65534
CONFINED = Path(__file__).with_name("confined_engine.py")


@dataclass(frozen=True)
class Held:
    """A keyring of one keyset, read before the real one was put out of reach."""

    keyset: Keyset
    directory: str = "memory"

    def find(self, key_id: bytes, url: str) -> Keyset:
        assert key_id == self.keyset.key_id
        return self.keyset

    def versions_path(self, key_id: bytes) -> None:
        """What was seen is kept in memory."""


@contextmanager
def out_of_reach(keyring: Path) -> Iterator[None]:
    """The keyring belongs to another user than the engine; without root: to nobody at all."""
    paths = [keyring, *keyring.iterdir()]
    root = os.geteuid() == 0
    for path in reversed(paths):
        os.chown(path, NOBODY, NOBODY) if root else path.chmod(0)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o700 if path == keyring else 0o600)


async def _spawn(location: Path, report: Path, probes: list[Path]) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(CONFINED),
        str(report),
        *map(str, probes),
        "--",
        str(location),
        "--unsafe-scheme",
        "--threads",
        "2",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=STREAM_LIMIT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    )


@pytest.mark.parametrize(
    ("parameters", "persons"), [(SMALL, 2500), (None, 8400)], ids=["small", "default"]
)
def test_an_engine_that_cannot_read_the_keyset_answers_the_demo(
    parameters: str | None, persons: int, tmp_path: Path
) -> None:
    """The demo's statements, real scheme, small ring and the default one: the engine's process is
    refused by the operating system when it tries to read the keyset, and its answers still equal
    DuckDB's. What it stores on disk contains nothing of the keyset either.
    """
    keyring = tmp_path / "keyring"
    choice = choose(None, parameters)
    keyset = make_keyset("bgv", choice.parameters, SystemClock(), SystemRng())
    path = Keyring(keyring).save(keyset)
    report, database = tmp_path / "report", tmp_path / "db"
    columns = {name: values[:persons] for name, values in demo_queries.columns().items()}

    async def run() -> tuple[list[list[Any]], list[int]]:
        child = await _spawn(database, report, [path, keyring, CONFINED])
        door = Door(connect_streams(child.stdout, child.stdin))
        outside = Outside(SystemClock(), SystemRng(), lambda _: None, no_progress, 2)
        keys = Keys(Held(keyset), keyset.key_id)  # type: ignore[arg-type]
        session = await open_session(door, url="pipe", keys=keys, choice=choice, outside=outside)
        db = AsyncDatabase(session)
        await db.sql(demo_queries.DDL)
        assert await (await db.table("persons")).insert(columns) == persons
        rowids = [int(row[0]) for row in await db.sql("SELECT rowid FROM persons ORDER BY rowid")]
        answers = [(await db.sql(question.sql)).rows() for question in demo_queries.QUERIES]
        await db.close()
        assert await child.wait() == 0
        return answers, rowids

    with out_of_reach(keyring):
        answers, rowids = asyncio.run(run())
    attempts = report.read_text().splitlines()
    assert attempts[:2] == ["denied PermissionError"] * 2
    assert attempts[2] == f"read {CONFINED.stat().st_size}"
    plaintext = demo_queries.Plaintext(rowids)
    assert answers == [plaintext.rows(question.sql) for question in demo_queries.QUERIES]
    stored = b"".join(file.read_bytes() for file in database.rglob("*") if file.is_file())
    for secret in (keyset.secret_key, keyset.sealing_key, keyset.dictionary_key, keyset.mac_key):
        assert secret not in stored
        assert secret[:32] not in stored


def test_an_engine_in_another_process_rotates_keys(tmp_path: Path) -> None:
    """All of it crosses the pipe; the answers stay; no secret of either keyset is in a file of the
    engine, and at the end nothing names the old secret key.
    """
    database, keyring = tmp_path / "db", Keyring(tmp_path / "keyring")
    columns = {name: values[:2500] for name, values in demo_queries.columns().items()}
    questions = [question.sql for question in demo_queries.QUERIES[:4]]

    async def run() -> None:
        child = await _spawn(database, tmp_path / "report", [])
        outside = Outside(SystemClock(), SystemRng(), lambda _: None, no_progress, 2)
        pipe, choice = connect_streams(child.stdout, child.stdin), choose(None, SMALL)
        session = await open_session(
            pipe, url="pipe", keys=Keys(keyring), choice=choice, outside=outside
        )
        db = AsyncDatabase(session)
        await db.sql(demo_queries.DDL)
        await (await db.table("persons")).insert(columns)
        before = [(await db.sql(question)).rows() for question in questions]
        done = await db.rotate_keys()
        assert done.segments == 3
        assert [(await db.sql(question)).rows() for question in questions] == before
        await db.close()
        assert await child.wait() == 0

    asyncio.run(run())
    stored = [file.read_bytes() for file in (database / "objects").rglob("*") if file.is_file()]
    for _, header in keyring.headers():
        keyset = keyring.find(header.key_id, "test")
        for secret in (keyset.secret_key, keyset.deep_key, keyset.sealing_key, keyset.mac_key):
            assert not any(secret in data for data in stored)
        assert any(header.key_id in data for data in stored) is bool(header.replaces)
