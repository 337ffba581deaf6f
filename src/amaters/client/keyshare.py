"""Copies of keysets for a safe place or for a colleague.

An export is locked by a passphrase (a keyset file like those in a keyring), or sealed to a public
key: HPKE (RFC 9180, base mode) with the hybrid of ML-KEM-768 and X25519, HKDF-SHA256 and
AES-256-GCM, so that a copy that is kept today does not open for a quantum computer later. Whoever
holds a keyset can read everything: compare the fingerprint of a public key before sealing to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from amaters.base import errors
from amaters.client import keyset as keysets
from amaters.client.keyring import Keyring
from amaters.client.keyset import Keyset
from amaters.client.keytext import KeyText, encode, read_text, sync_directory, write_new

_DAMAGED = "AM-1110"
IDENTITY = KeyText("AMATERS-IDENTITY 1", _DAMAGED)
PUBLIC = KeyText("AMATERS-PUBLIC 1", _DAMAGED)
EXPORT = KeyText("AMATERS-EXPORT 1", _DAMAGED)
IDENTITY_NAME, EXPORTED_SUFFIX = "identity.key", ".exported"
_SUITE = (hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_INFO = b"amaters keyset export 1"


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """Whom a copy can be sealed to: raw ML-KEM-768 (1,184 bytes) and X25519 (32 bytes) keys."""

    mlkem: bytes
    x25519: bytes

    @property
    def fingerprint(self) -> str:
        """What two people compare: 20 hexadecimal digits of BLAKE3 over both keys, in fives."""
        digits = blake3(self.mlkem + self.x25519).hexdigest()[:20]
        return "-".join(digits[i : i + 5] for i in range(0, 20, 5))

    def to_text(self) -> str:
        """The content of a ``.pub`` file."""
        return PUBLIC.write({"mlkem768": encode(self.mlkem), "x25519": encode(self.x25519)})

    def key(self) -> hpke.MLKEM768X25519PublicKey:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.mlkem),
            X25519PublicKey.from_public_bytes(self.x25519),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """The private half: an ML-KEM-768 seed (64 bytes) and an X25519 key (32 bytes)."""

    mlkem: MLKEM768PrivateKey
    x25519: X25519PrivateKey

    @property
    def public(self) -> PublicIdentity:
        return PublicIdentity(
            self.mlkem.public_key().public_bytes_raw(), self.x25519.public_key().public_bytes_raw()
        )

    def open(self, box: bytes, info: bytes) -> bytes:
        """Raises: InvalidTag."""
        key = hpke.MLKEM768X25519PrivateKey(self.mlkem, self.x25519)
        return hpke.Suite(*_SUITE).decrypt(box, key, info)


def identity_of(keyring: Keyring) -> Identity:
    """This keyring's identity, made and saved if it has none. Raises: DataError AM-1110."""
    path = keyring.directory / IDENTITY_NAME
    if not path.exists():
        made = Identity(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
        record = {
            "mlkem768": encode(made.mlkem.private_bytes_raw()),
            "x25519": encode(made.x25519.private_bytes_raw()),
        }
        keyring.make_directory()
        write_new(path, IDENTITY.write(record), lambda: errors.fail("AM-1107", path=path))
    record = IDENTITY.read(read_text(path, IDENTITY), str(path))
    try:
        return Identity(
            MLKEM768PrivateKey.from_seed_bytes(IDENTITY.binary(record, "mlkem768", str(path))),
            X25519PrivateKey.from_private_bytes(IDENTITY.binary(record, "x25519", str(path))),
        )
    except ValueError:
        IDENTITY.damaged(str(path), "it holds no identity")


def read_public(path: Path) -> PublicIdentity:
    """The identity in a ``.pub`` file. Raises: DataError AM-1110."""
    record = PUBLIC.read(read_text(path, PUBLIC), str(path))
    found = PublicIdentity(
        PUBLIC.binary(record, "mlkem768", str(path)), PUBLIC.binary(record, "x25519", str(path))
    )
    try:
        found.key()
    except ValueError:
        PUBLIC.damaged(str(path), "it holds no public key")
    return found


def export_locked(keyset: Keyset, passphrase: str) -> str:
    """A copy that a passphrase opens. Raises: UsageError AM-1001 for an empty one."""
    if not passphrase:
        errors.fail("AM-1001", what="an export with an empty passphrase", fix="choose a long one")
    return keysets.to_text(keyset, passphrase)


def export_for(keyset: Keyset, recipient: PublicIdentity) -> str:
    """A copy that only ``recipient`` opens."""
    plain = keysets.to_text(keyset).encode()
    box = hpke.Suite(*_SUITE).encrypt(plain, recipient.key(), _INFO + keyset.key_id)
    return EXPORT.write(
        {"key_id": keyset.key_id.hex(), "for": recipient.fingerprint, "box": encode(box)}
    )


def import_text(text: str, path: str, keyring: Keyring, passphrase: str | None) -> Keyset:
    """The keyset in an export of either kind; not saved yet.

    Raises: DataError AM-1102, AM-1110; DeniedError AM-1104, AM-1111 (sealed to somebody else).
    """
    if not text.startswith(EXPORT.header + "\n"):
        return keysets.from_text(text, path, passphrase)
    record = EXPORT.read(text, path)
    key_id = _key_id(record, path)
    identity = identity_of(keyring)
    try:
        plain = identity.open(EXPORT.binary(record, "box", path), _INFO + key_id)
    except InvalidTag:
        recipient = EXPORT.text(record, "for", path)
        errors.fail("AM-1111", path=path, recipient=recipient, ours=identity.public.fingerprint)
    keyset = keysets.from_text(plain.decode(), path)
    if keyset.key_id != key_id:
        EXPORT.damaged(path, "it holds another keyset than it says")
    return keyset


def _key_id(record: dict[str, Any], path: str) -> bytes:
    try:
        return bytes.fromhex(EXPORT.text(record, "key_id", path))
    except ValueError:
        EXPORT.damaged(path, "field key_id is not hexadecimal")


def note_export(keyring: Keyring, key_id: bytes) -> None:
    """Remember that a copy was made, so that ``doctor`` stops warning."""
    keyring.path(key_id).with_suffix(EXPORTED_SUFFIX).touch(mode=0o600)
    sync_directory(keyring.directory)


def has_export(keyring: Keyring, key_id: bytes) -> bool:
    """Whether a copy was made from this keyring, or the keyset came from one."""
    return keyring.path(key_id).with_suffix(EXPORTED_SUFFIX).exists()
