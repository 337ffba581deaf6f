"""Copies of keysets: who can open them, what is refused, and what doctor says about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from amaters.base import errors
from amaters.base.rng import SystemRng
from amaters.cli import main as cli_main
from amaters.client import keyshare
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset, new_keyset


def some_keyset() -> Keyset:
    return new_keyset(b"k" * 16, "bgv", "bgv_n16384", b"secret", created=1.0, rng=SystemRng())


def test_an_export_opens_for_its_recipient_only(tmp_path: Path) -> None:
    """Sealed to a public key: its keyring gets the keyset, another gets Denied with both names, and
    nothing of the secrets is in the file.
    """
    ours, theirs = Keyring(tmp_path / "ours"), Keyring(tmp_path / "theirs")
    keyset = some_keyset()
    public_file = tmp_path / "me.pub"
    public_file.write_text(keyshare.identity_of(ours).public.to_text())
    text = keyshare.export_for(keyset, keyshare.read_public(public_file))
    assert keyshare.import_text(text, "copy", ours, None) == keyset
    assert "secret" not in text
    with pytest.raises(errors.DeniedError, match="AM-1111") as caught:
        keyshare.import_text(text, "copy", theirs, None)
    assert keyshare.identity_of(theirs).public.fingerprint in str(caught.value)


def test_two_exports_differ(tmp_path: Path) -> None:
    """Encapsulation is fresh each time."""
    public = keyshare.identity_of(Keyring(tmp_path)).public
    assert keyshare.export_for(some_keyset(), public) != keyshare.export_for(some_keyset(), public)


def test_an_identity_is_made_once_and_is_private(tmp_path: Path) -> None:
    """The file is the owner's alone, and stays what it is."""
    keyring = Keyring(tmp_path / "ring")
    first = keyshare.identity_of(keyring).public
    assert keyshare.identity_of(keyring).public == first
    path = keyring.directory / keyshare.IDENTITY_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyring.headers() == []


def test_damage_is_noticed(tmp_path: Path) -> None:
    """Every changed character of an export is an error, and so is a key that is none."""
    keyring = Keyring(tmp_path)
    public = keyshare.identity_of(keyring).public
    text = keyshare.export_for(some_keyset(), public)
    for place in range(0, len(text), 97):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(errors.AmatersError):
            keyshare.import_text(changed, "copy", keyring, None)
    short = keyshare.PublicIdentity(public.mlkem[:-1], public.x25519).to_text()
    (tmp_path / "short.pub").write_text(short)
    with pytest.raises(errors.DataError, match="AM-1110"):
        keyshare.read_public(tmp_path / "short.pub")


def amaters(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli_main.main(list(arguments))
    return int(str(stop.value.code or 0))


def test_colleagues_exchange_a_keyset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """identity, export --for, import: the keyset is in the other keyring; files are never
    overwritten.
    """
    ours, theirs = ("--keyring", str(tmp_path / "ours")), ("--keyring", str(tmp_path / "theirs"))
    assert amaters(*ours, "keys", "create") == 0
    key_id = capsys.readouterr().out.strip()
    public, copy = str(tmp_path / "their.pub"), str(tmp_path / "copy")
    assert amaters(*theirs, "keys", "identity", public) == 0
    told = capsys.readouterr().err
    assert amaters(*ours, "keys", "export", key_id, copy, "--for", public) == 0
    assert capsys.readouterr().err.split()[2].rstrip(":") in told
    assert amaters(*theirs, "keys", "import", copy) == 0
    assert capsys.readouterr().out.strip() == key_id
    assert amaters(*ours, "keys", "export", key_id, copy, "--for", public) == 1
    assert amaters(*theirs, "keys", "import", copy) == 1


def test_a_locked_copy_ends_the_warning_of_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a copy for the owner exists, doctor warns with the command; a copy opens by its
    passphrase only.
    """
    monkeypatch.setattr("amaters.cli.doctor._kernels", cli_finding)
    ring = ("--keyring", str(tmp_path / "ring"))
    assert amaters(*ring, "keys", "create") == 0
    key_id = capsys.readouterr().out.strip()
    assert amaters(*ring, "doctor") == 0
    assert f"warn keyring: {tmp_path / 'ring'}" in capsys.readouterr().out
    (tmp_path / "right").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("battery staple\n")
    copy = str(tmp_path / "copy")
    right = ("--export-passphrase-file", str(tmp_path / "right"))
    assert amaters(*ring, "keys", "export", key_id, copy, *right) == 0
    assert amaters(*ring, "doctor") == 0
    assert "ok   keyring" in capsys.readouterr().out
    other = ("--keyring", str(tmp_path / "other"))
    wrong = ("--export-passphrase-file", str(tmp_path / "wrong"))
    assert amaters(*other, "keys", "import", copy, *wrong) == 4
    assert amaters(*other, "keys", "import", copy, *right) == 0


def cli_finding() -> object:
    from amaters.cli.doctor import Finding

    return Finding("computation", "not part of this test", True)
