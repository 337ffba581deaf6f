"""Directory databases: reopened elsewhere, damaged, locked, and never without their keyset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_support import COLUMNS, FULL, people, small

import amaters as am
from amaters.base import errors

ROWS = people(FULL + 30)
QUESTIONS = (
    "SELECT count(*), sum(salary), sum(bonus) FROM people WHERE age BETWEEN 20 AND 70",
    "SELECT grade, count(*) FROM people GROUP BY grade ORDER BY grade",
    "SELECT id, age, notes FROM people WHERE salary > 900000 AND city = 'Kyoto' ORDER BY id",
)
CHILD = """
import sys, json, amaters as am
where, keys, *questions = sys.argv[1:]
with am.connect(where, keys=keys, unsafe_parameters="insecure_n1024") as db:
    print(json.dumps([[list(map(str, row)) for row in db.sql(q)] for q in questions]))
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A real-scheme database with one segment and a tail, closed."""
    with am.connect(tmp_path / "db", keys=tmp_path / "keys", **small("bgv")) as db:
        db.create_table("people", COLUMNS).insert(ROWS)
    return tmp_path


def reopen(home: Path, keys: str = "keys") -> am.Database:
    return am.connect(home / "db", keys=home / keys, **small("bgv"))


def test_another_process_gives_the_same_answers(made: Path) -> None:
    """What one process inserted, another one finds, with nothing but directory and keyring."""
    with reopen(made) as db:
        here = [[list(map(str, row)) for row in db.sql(q)] for q in QUESTIONS]
    command = [sys.executable, "-c", CHILD, str(made / "db"), str(made / "keys"), *QUESTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == here
    found = [row for row in ROWS if 20 <= row["age"] <= 70]
    assert here[0][0][0] == str(len(found))


def test_the_keyset_is_outside_and_for_its_owner_only(made: Path) -> None:
    """Rights 0600 in 0700; no byte sequence of the keyset's secrets is in the database."""
    (keyset,) = (made / "keys").glob("*.keyset")
    assert keyset.stat().st_mode & 0o777 == 0o600
    assert keyset.parent.stat().st_mode & 0o777 == 0o700
    secrets = json.loads(keyset.read_text().splitlines()[1])["secrets"].values()
    stored = b"".join(path.read_bytes() for path in (made / "db").rglob("*") if path.is_file())
    assert b"Kyoto" not in stored
    assert not [secret for secret in secrets if secret.encode() in stored]


def test_a_foreign_keyset_is_refused(made: Path) -> None:
    """Another keyring, even a full one, does not open the database; nothing is made or changed."""
    with am.connect(made / "other", keys=made / "keys2", **small("bgv")):
        pass
    (foreign,) = (made / "keys2").glob("*.keyset")
    for keys in ("keys2", f"keys2/{foreign.name}", "nothing"):
        with pytest.raises(errors.DeniedError) as caught:
            reopen(made, keys)
        assert caught.value.code == "AM-1101"
        assert "keyring" in caught.value.fix
    assert not (made / "nothing").exists()
    with reopen(made) as db:
        assert db.sql("SELECT count(*) FROM people").scalar() == len(ROWS)


def test_keys_inside_the_database_are_refused(tmp_path: Path) -> None:
    """Nothing is created by the refused call."""
    with pytest.raises(errors.DeniedError, match="AM-1105"):
        am.connect(tmp_path / "db", keys=tmp_path / "db" / "keys", **small("bgv"))
    assert not (tmp_path / "db").exists()


def test_a_second_process_gets_conflict_with_the_first_ones_pid(made: Path) -> None:
    """One process may open a directory."""
    command = [sys.executable, "-c", CHILD, str(made / "db"), str(made / "keys")]
    with reopen(made):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "AM-4002" in done.stderr
    assert str(os.getpid()) in done.stderr


def test_any_damaged_file_is_a_typed_error_and_never_a_wrong_answer(made: Path) -> None:
    """One flipped bit in the middle of each file in turn: a Data error, or the right answers."""
    with reopen(made) as db:
        right = [db.sql(q).rows() for q in QUESTIONS]
    files = [p for p in (made / "db").rglob("*") if p.is_file() and p.stat().st_size > 0]
    noticed = 0
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
        try:
            with reopen(made) as db:
                assert [db.sql(q).rows() for q in QUESTIONS] == right, path
        except am.AmatersError as error:
            assert error.kind in ("Data", "Denied"), path
            assert error.fix
            noticed += 1
        path.write_bytes(whole)
    assert noticed >= 5
    with reopen(made) as db:
        assert [db.sql(q).rows() for q in QUESTIONS] == right


def test_a_passphrase_guards_the_keyring(tmp_path: Path) -> None:
    """Without it, or with a wrong one, the database stays shut."""
    arguments = {"keys": tmp_path / "keys", **small("bgv")}
    am.connect(tmp_path / "db", passphrase="correct horse", **arguments).close()
    for wrong in (None, "battery staple"):
        with pytest.raises(errors.DeniedError, match="AM-1104"):
            am.connect(tmp_path / "db", passphrase=wrong, **arguments)
    am.connect(tmp_path / "db", passphrase="correct horse", **arguments).close()
