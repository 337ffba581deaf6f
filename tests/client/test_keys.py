"""Keysets and keyrings: what is written, with which rights, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amaters.base import errors
from amaters.base.rng import SystemRng
from amaters.client import keyset as keysets
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset, new_keyset


def some_keyset(key_id: bytes = b"k" * 16) -> Keyset:
    return new_keyset(
        key_id, "bgv", "bgv_n16384_q427_t65537", b"secret", created=1.0, rng=SystemRng()
    )


def test_a_saved_keyset_is_found_again(tmp_path: Path) -> None:
    """What was saved is what is found, and nobody else can read directory or file."""
    keyring = Keyring(tmp_path / "ring")
    keyset = some_keyset()
    path = keyring.save(keyset)
    assert keyring.find(keyset.key_id, "db") == keyset
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [header.key_id for _, header in keyring.headers()] == [keyset.key_id]


def test_an_existing_keyset_is_never_overwritten(tmp_path: Path) -> None:
    """Saving twice under one id would lose the first secret: it is refused."""
    keyring = Keyring(tmp_path)
    keyring.save(some_keyset())
    before = keyring.path(b"k" * 16).read_bytes()
    with pytest.raises(errors.ConflictError, match="AM-1107"):
        keyring.save(some_keyset())
    assert keyring.path(b"k" * 16).read_bytes() == before


def test_a_keyset_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Wrong rights are an error with the command that corrects them, not a warning."""
    keyring = Keyring(tmp_path)
    path = keyring.save(some_keyset())
    path.chmod(0o640)
    with pytest.raises(errors.DeniedError) as caught:
        keyring.find(b"k" * 16, "db")
    assert caught.value.code == "AM-1103"
    assert "chmod 600" in caught.value.fix


def test_a_missing_keyset_names_database_and_keyring(tmp_path: Path) -> None:
    """The most likely mistake: the wrong keyring."""
    with pytest.raises(errors.DeniedError) as caught:
        Keyring(tmp_path).find(b"k" * 16, "pay.amaters")
    assert caught.value.code == "AM-1101"
    assert "pay.amaters" in str(caught.value)


def test_a_passphrase_locks_the_secrets_and_only_them() -> None:
    """Locked text does not contain the secret; the right passphrase opens it, others do not."""
    keyset = some_keyset()
    text = keysets.to_text(keyset, "open sesame")
    assert keysets.to_text(keyset).count("secret_key") == 1
    assert "secret_key" not in text
    assert keysets.read_header(text, "f").locked
    assert keysets.from_text(text, "f", "open sesame") == keyset
    for wrong in (None, "open"):
        with pytest.raises(errors.DeniedError, match="AM-1104"):
            keysets.from_text(text, "f", wrong)


@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_changed_character_is_noticed(position: int, character: str) -> None:
    """Every single-character change of a keyset file is a Data error, never other keys."""
    text = keysets.to_text(some_keyset())
    index = position % (len(text) - 1)
    changed = text[:index] + character + text[index + 1 :]
    if changed != text:
        with pytest.raises(errors.DataError, match="AM-1102"):
            keysets.from_text(changed, "f")


def test_a_keyset_is_not_printed() -> None:
    """Logging a keyset shows its id and kind only."""
    keyset = some_keyset()
    assert repr(keyset.sealing_key) not in repr(keyset)
    assert "secret" not in repr(keyset)


def test_a_keyring_inside_the_database_is_refused(tmp_path: Path) -> None:
    """Whoever copies the database directory must not get the keys with it."""
    database = tmp_path / "db"
    for inside in (database, database / "keys"):
        with pytest.raises(errors.DeniedError, match="AM-1105"):
            Keyring(inside).refuse_inside(database)
    Keyring(tmp_path / "keys").refuse_inside(database)
