"""A keyset: everything secret that belongs to one database, as one versioned, checksummed record.

With a passphrase the four secrets are wrapped by AES-256-GCM under an Argon2id key; the rest stays
readable, so that a keyring can be listed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from amaters.base import errors
from amaters.base.rng import Rng, SystemRng
from amaters.client.keytext import KeyText, encode

FILE = KeyText("AMATERS-KEYSET 1", "AM-1102")
SYMMETRIC_KEY_BYTES = 32
SECRETS = ("secret_key", "sealing_key", "dictionary_key", "mac_key")
# RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes.
ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES = 65536, 3, 4


@dataclass(frozen=True, slots=True, repr=False)
class Keyset:
    """The secrets of one database. ``repr`` shows the id only, so a log cannot leak them."""

    key_id: bytes
    scheme: str
    parameters: str
    created: float
    secret_key: bytes
    sealing_key: bytes
    dictionary_key: bytes
    mac_key: bytes

    def __repr__(self) -> str:
        return f"Keyset({self.key_id.hex()}, {self.scheme}, {self.parameters})"

    @property
    def name(self) -> str:
        """The first 16 hexadecimal digits of the id: the file's name in a keyring."""
        return self.key_id.hex()[:16]


@dataclass(frozen=True, slots=True)
class KeysetHeader:
    """What may be known of a keyset without opening it."""

    key_id: bytes
    scheme: str
    parameters: str
    created: float
    locked: bool


def new_keyset(
    key_id: bytes, scheme: str, parameters: str, secret_key: bytes, *, created: float, rng: Rng
) -> Keyset:
    """A keyset around ``secret_key`` with fresh symmetric keys."""
    sealing, dictionary, mac = (rng.bytes(SYMMETRIC_KEY_BYTES) for _ in range(3))
    return Keyset(key_id, scheme, parameters, created, secret_key, sealing, dictionary, mac)


def to_text(keyset: Keyset, passphrase: str | None = None, rng: Rng | None = None) -> str:
    """The file's content. Cost: with a passphrase one Argon2id run of 64 MiB, about 0.1 s."""
    record: dict[str, Any] = {
        "key_id": keyset.key_id.hex(),
        "scheme": keyset.scheme,
        "parameters": keyset.parameters,
        "created": keyset.created,
    }
    secrets = {name: encode(getattr(keyset, name)) for name in SECRETS}
    if passphrase is None:
        record["secrets"] = secrets
    else:
        draw = rng or SystemRng()
        salt, nonce = draw.bytes(16), draw.bytes(12)
        plain = json.dumps(secrets, sort_keys=True).encode()
        sealed = AESGCM(_stretch(passphrase, salt)).encrypt(nonce, plain, keyset.key_id)
        record["locked"] = {"salt": encode(salt), "nonce": encode(nonce), "box": encode(sealed)}
    return FILE.write(record)


def read_header(text: str, path: str) -> KeysetHeader:
    """What the file says in clear. Raises: DataError AM-1102."""
    record = FILE.read(text, path)
    return KeysetHeader(
        bytes.fromhex(FILE.text(record, "key_id", path)),
        FILE.text(record, "scheme", path),
        FILE.text(record, "parameters", path),
        float(record.get("created", 0.0)),
        "locked" in record,
    )


def from_text(text: str, path: str, passphrase: str | None = None) -> Keyset:
    """The keyset in a file. ``path`` only serves the messages.

    Raises: DataError AM-1102 when damaged, DeniedError AM-1104 when it is locked.
    """
    record = FILE.read(text, path)
    header = read_header(text, path)
    secrets = record.get("secrets")
    if header.locked:
        secrets = _unlock(record, header.key_id, path, passphrase)
    if not isinstance(secrets, dict):
        FILE.damaged(path, "it holds no keys")
    keys = {name: FILE.binary(secrets, name, path) for name in SECRETS}
    return Keyset(header.key_id, header.scheme, header.parameters, header.created, **keys)


def _unlock(record: dict[str, Any], key_id: bytes, path: str, passphrase: str | None) -> Any:
    if passphrase is None:
        errors.fail("AM-1104", path=path, what="it is protected by a passphrase")
    box = record["locked"]
    if not isinstance(box, dict):
        FILE.damaged(path, "it holds no keys")
    salt, nonce, sealed = (FILE.binary(box, name, path) for name in ("salt", "nonce", "box"))
    try:
        plain = AESGCM(_stretch(passphrase, salt)).decrypt(nonce, sealed, key_id)
    except InvalidTag:
        errors.fail("AM-1104", path=path, what="the passphrase is not the right one")
    return json.loads(plain)


def _stretch(passphrase: str, salt: bytes) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=SYMMETRIC_KEY_BYTES,
        iterations=ARGON2_PASSES,
        lanes=ARGON2_LANES,
        memory_cost=ARGON2_MEMORY_KIB,
    )
    return kdf.derive(passphrase.encode())
