"""What locks a keyset file: who opens it, what is refused; a change of lock loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import amaters as am
from amaters.base import errors, settings
from amaters.base.rng import SystemRng
from amaters.client import keylock
from amaters.client import keyset as keysets
from amaters.client.keylock import Argon2Cost, OsKeyringLock, PassphraseLock
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset, new_keyset

keyring = pytest.importorskip("keyring")
QUICK = Argon2Cost(memory_kib=64, passes=1, lanes=1)
KEY_ID = b"k" * 16


def some_keyset() -> Keyset:
    name = "bgv_n16384_q427_t65537"
    return new_keyset(KEY_ID, "bgv", name, b"secret", created=1.0, rng=SystemRng())


class Ring(keyring.backend.KeyringBackend):  # type: ignore[misc, name-defined]
    """An operating system's keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    made = Ring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture
def no_ring() -> Iterator[None]:
    from keyring.backends.fail import Keyring as Fail

    before = keyring.get_keyring()
    keyring.set_keyring(Fail())
    yield
    keyring.set_keyring(before)


def test_costs_are_in_the_file_and_obeyed() -> None:
    """A file says what opening it costs; one from before that has the first costs; impossible or
    absurd ones are damage and are not run.
    """
    keyset = some_keyset()
    text = keysets.to_text(keyset, PassphraseLock("right", QUICK))
    locked = json.loads(text.splitlines()[1])["locked"]
    assert (locked["kdf"], locked["memory_kib"], locked["passes"]) == ("argon2id", 64, 1)
    assert keysets.from_text(text, "f", "right") == keyset
    record = json.loads(keysets.to_text(keyset, "right").splitlines()[1])
    for name in ("kdf", "memory_kib", "passes", "lanes"):
        del record["locked"][name]
    assert keysets.from_text(keysets.FILE.write(record), "f", "right") == keyset
    for change in ({"memory_kib": 1 << 30}, {"lanes": 0}, {"passes": "3"}, {"kdf": "scrypt"}):
        changed = {**record, "locked": {**locked, **change}}
        with pytest.raises(errors.DataError, match="AM-1102"):
            keysets.from_text(keysets.FILE.write(changed), "f", "right")


def test_a_wrong_passphrase_is_an_error_and_nothing_else() -> None:
    """The message names the file; neither passphrase is in it."""
    text = keysets.to_text(some_keyset(), PassphraseLock("open sesame", QUICK))
    with pytest.raises(errors.DeniedError, match="AM-1104") as caught:
        keysets.from_text(text, "f", "open barley")
    assert "sesame" not in str(caught.value) and "barley" not in str(caught.value)


def test_a_function_is_asked_once_and_only_for_locked_keysets(tmp_path: Path) -> None:
    """A string locks what is made; a function does not."""
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return "right"

    open_path = Keyring(tmp_path / "open", ask).save(some_keyset())
    assert keysets.read_header(open_path.read_text(), "f").protection == "none"
    assert Keyring(tmp_path / "open", ask).find(KEY_ID, "db").key_id == KEY_ID and not asked
    path = Keyring(tmp_path / "shut", "right").save(some_keyset())
    assert keysets.read_header(path.read_text(), "f").protection == "passphrase"
    shut = Keyring(tmp_path / "shut", ask)
    assert shut.find(KEY_ID, "db") == shut.find(KEY_ID, "db") and asked == [1]


def test_the_keyring_of_the_operating_system(tmp_path: Path, ring: Ring) -> None:
    """It holds the wrapping key, never the secrets; without its entry the keyset stays shut."""
    keyset = some_keyset()
    path = Keyring(tmp_path).save(keyset, OsKeyringLock())
    assert Keyring(tmp_path).find(KEY_ID, "db") == keyset
    ((entry, held),) = ring.held.items()
    assert entry[0] == keylock.SERVICE and held not in path.read_text()
    assert keysets.read_header(path.read_text(), "f").protection == "os-keyring"
    for wrong in ("", "AAAA", "not base64!", keysets.encode(bytes(32))):
        ring.held[entry] = wrong
        with pytest.raises(errors.DeniedError, match="AM-1122"):
            Keyring(tmp_path).find(KEY_ID, "db")


def test_no_keyring_of_the_operating_system(tmp_path: Path, no_ring: None) -> None:
    """Says what to do instead; nothing was written."""
    with pytest.raises(errors.UnavailableError, match="AM-1121") as caught:
        Keyring(tmp_path / "ring").save(some_keyset(), OsKeyringLock())
    assert "passphrase" in caught.value.fix
    assert not list((tmp_path / "ring").iterdir())


def test_package_keyring_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(errors.UnavailableError, match="AM-1120") as caught:
        Keyring(tmp_path).save(some_keyset(), OsKeyringLock())
    assert "amaters[keyring]" in caught.value.fix


def test_a_change_of_lock_is_one_or_the_other(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before the new file is in place, the old one opens as before, also where the old
    or the new lock is the operating system's; afterwards the old key is forgotten.
    """
    keyset = some_keyset()
    Keyring(tmp_path).save(keyset, OsKeyringLock())
    (before,) = ring.held

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    for lock in (PassphraseLock("new", QUICK), OsKeyringLock(), None):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                Keyring(tmp_path).protect(KEY_ID, lock)
        assert Keyring(tmp_path).find(KEY_ID, "db") == keyset
    path = Keyring(tmp_path).protect(KEY_ID, PassphraseLock("new", QUICK))
    assert before not in ring.held and path.stat().st_mode & 0o777 == 0o600
    assert Keyring(tmp_path, "new").find(KEY_ID, "db") == keyset
    with pytest.raises(errors.DeniedError, match="AM-1104"):
        Keyring(tmp_path).protect(KEY_ID, None)
    Keyring(tmp_path, "new").protect(KEY_ID, None)
    assert Keyring(tmp_path).find(KEY_ID, "db") == keyset


def test_connect_opens_and_locks(tmp_path: Path) -> None:
    """A passphrase given to a new database locks its keyset; a function opens it later."""
    options: dict[str, Any] = {
        "keys": tmp_path / "keys",
        "unsafe_scheme": "noop",
        "unsafe_parameters": "insecure_n1024",
    }
    with am.connect(tmp_path / "db", passphrase="right", **options) as db:
        db.sql("CREATE TABLE t (a INTEGER)")
    with am.connect(tmp_path / "db", passphrase=lambda: "right", **options) as db:
        assert db.tables() == ["t"]
    for wrong in (None, "wrong", lambda: "wrong"):
        with pytest.raises(am.DeniedError, match="AM-1104"):
            am.connect(tmp_path / "db", passphrase=wrong, **options)


def test_the_passphrase_in_the_environment_is_no_setting() -> None:
    """`config show` lists settings with their values: a secret is not one."""
    found = settings.load({"AMATERS_PASSPHRASE": "right", "HOME": os.sep})
    assert "right" not in repr(found)
    assert settings.passphrase({"AMATERS_PASSPHRASE": "right"}) == "right"
    assert settings.passphrase({}) is None


def test_a_replacement_is_locked_like_what_it_replaces(tmp_path: Path, ring: Ring) -> None:
    """Whatever locks a keyset locks the one that rotation makes, also where a person is asked."""
    other = dataclasses.replace(some_keyset(), key_id=b"n" * 16, replaces=KEY_ID)
    for kind, lock in (
        ("none", None),
        ("passphrase", PassphraseLock("right", QUICK)),
        ("os-keyring", OsKeyringLock()),
    ):
        folder = Keyring(tmp_path / kind, lambda: "right")
        folder.save(some_keyset(), lock)
        path = folder.save_like(other, KEY_ID)
        header = keysets.read_header(path.read_text(), "f")
        assert (header.protection, header.replaces) == (kind, KEY_ID)
        assert folder.find(other.key_id, "db") == other
        assert folder.replacement_of(KEY_ID) == other.key_id
        assert folder.replacement_of(other.key_id) is None
        folder.retire(KEY_ID, "one")
        folder.retire(KEY_ID, "two")
        assert folder.retired_in(KEY_ID) == ["one", "two"]
        assert folder.is_retired(KEY_ID) and not folder.is_retired(other.key_id)
