"""A keyset: everything secret that belongs to one database, as one versioned, checksummed record.

It holds two secret keys, for tables of either depth; a keyset from before there were two has the
first only. The secrets may be locked (``client.keylock``) by a passphrase or by the operating
system's keyring; the rest stays readable, so that a keyring can be listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaters.base.rng import Rng, SystemRng
from amaters.client import keylock
from amaters.client.keylock import Lock, Opener, Passphrase, PassphraseLock
from amaters.client.keytext import KeyText, encode

FILE = KeyText("AMATERS-KEYSET 1", "AM-1102")
SYMMETRIC_KEY_BYTES = 32
SECRETS = ("secret_key", "sealing_key", "dictionary_key", "mac_key")
DEEP_SECRET = "deep_key"


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
    deep_key: bytes = b""  # the secret key of tables with DEPTH = 'deep'; empty in old keysets
    replaces: bytes = b""  # the keyset that it was made to replace, by rotation; empty: none

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
    protection: str  # keylock.kind_of
    replaces: bytes = b""

    @property
    def locked(self) -> bool:
        return self.protection != "none"


def new_keyset(
    key_id: bytes,
    scheme: str,
    parameters: str,
    secret_key: bytes,
    *,
    created: float,
    rng: Rng,
    deep_key: bytes = b"",
) -> Keyset:
    """A keyset around its secret keys with fresh symmetric keys."""
    sealing, dictionary, mac = (rng.bytes(SYMMETRIC_KEY_BYTES) for _ in range(3))
    symmetric = {"sealing_key": sealing, "dictionary_key": dictionary, "mac_key": mac}
    return Keyset(key_id, scheme, parameters, created, secret_key, **symmetric, deep_key=deep_key)


def to_text(keyset: Keyset, lock: str | Lock | None = None, rng: Rng | None = None) -> str:
    """The file's content; ``lock``: what will open it, a passphrase among others.

    Raises: UnavailableError AM-1120, AM-1121.
    """
    record: dict[str, Any] = {
        "key_id": keyset.key_id.hex(),
        "scheme": keyset.scheme,
        "parameters": keyset.parameters,
        "created": keyset.created,
    }
    if keyset.replaces:
        record["replaces"] = keyset.replaces.hex()
    names = (*SECRETS, DEEP_SECRET) if keyset.deep_key else SECRETS
    secrets = {name: encode(getattr(keyset, name)) for name in names}
    if lock is None:
        record["secrets"] = secrets
    else:
        closed = PassphraseLock(lock) if isinstance(lock, str) else lock
        record["locked"] = closed.close(secrets, keyset.key_id, rng or SystemRng())
    return FILE.write(record)


def read_header(text: str, path: str) -> KeysetHeader:
    """What the file says in clear. Raises: DataError AM-1102."""
    record = FILE.read(text, path)
    return KeysetHeader(
        bytes.fromhex(FILE.text(record, "key_id", path)),
        FILE.text(record, "scheme", path),
        FILE.text(record, "parameters", path),
        float(record.get("created", 0.0)),
        keylock.kind_of(record.get("locked")),
        bytes.fromhex(FILE.text(record, "replaces", path)) if "replaces" in record else b"",
    )


def from_text(text: str, path: str, passphrase: Passphrase | None = None) -> Keyset:
    """The keyset in a file. ``path`` only serves the messages.

    Raises: DataError AM-1102 when damaged, DeniedError AM-1104, AM-1122 when it is locked,
    UnavailableError AM-1120, AM-1121.
    """
    record = FILE.read(text, path)
    header = read_header(text, path)
    secrets = record.get("secrets")
    if header.locked:
        secrets = Opener(FILE, passphrase).open(record["locked"], header.key_id, path)
    if not isinstance(secrets, dict):
        FILE.damaged(path, "it holds no keys")
    names = (*SECRETS, DEEP_SECRET) if DEEP_SECRET in secrets else SECRETS
    keys = {name: FILE.binary(secrets, name, path) for name in names}
    return Keyset(
        header.key_id,
        header.scheme,
        header.parameters,
        header.created,
        **keys,
        replaces=header.replaces,
    )


def lock_of(text: str, path: str) -> object:
    """The record of a file's locked secrets, None when they are not. Raises: DataError AM-1102."""
    return FILE.read(text, path).get("locked")
