"""Schema versions seen are remembered across processes, so that an older schema is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import amaters as am
from amaters.base.errors import DataError, DeniedError
from amaters.client.versions import SchemaVersions

TABLE, OTHER = bytes(range(16)), bytes(16)


def test_the_newest_version_survives(tmp_path: Path) -> None:
    """A second object reads what the first noted; an older version changes nothing."""
    path = tmp_path / "k.versions"
    first = SchemaVersions(path)
    first.note(TABLE, 3)
    first.note(TABLE, 2)
    assert SchemaVersions(path).known == {TABLE: 3}
    assert path.stat().st_mode & 0o077 == 0


def test_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Each keeps what the other wrote after it had read the file."""
    path = tmp_path / "k.versions"
    a, b = SchemaVersions(path), SchemaVersions(path)
    a.note(TABLE, 5)
    b.note(OTHER, 1)
    assert SchemaVersions(path).known == {TABLE: 5, OTHER: 1}


@pytest.mark.parametrize("text", ["zz 1\n", "00\n", "00 x\n", "\n"])
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    """Never taken for an empty one, which would forget everything silently."""
    path = tmp_path / "k.versions"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        SchemaVersions(path)
    assert caught.value.code == "AM-1109"


def test_a_database_put_back_to_an_older_schema_is_refused(tmp_path: Path) -> None:
    """The next process notices that a server shows the schema of yesterday."""
    url, keys = str(tmp_path / "t.am"), tmp_path / "keys"
    options = {"keys": keys, "unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with am.connect(url, **options) as db:
        table = db.create_table("t", {"name": am.Text(encrypt=["eq"])})
        table.insert([{"name": "a"}])
    shutil.copytree(url, tmp_path / "old")
    with am.connect(url, **options) as db:
        db.table("t").insert([{"name": "b"}])  # a new word in the sealed dictionary
    shutil.rmtree(url)
    shutil.copytree(tmp_path / "old", url)
    with am.connect(url, **options) as db, pytest.raises(DeniedError) as caught:
        db.sql("SELECT count(*) FROM t WHERE name = 'a'")
    assert caught.value.code == "AM-2051"
