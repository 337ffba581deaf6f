"""What keeps the secrets of a keyset file closed: a passphrase, or the operating system's keyring.

Either way they are wrapped by AES-256-GCM under a key that is not in the file: derived from the
passphrase by Argon2id, with a salt and costs that the file names, or 32 random bytes that the
keyring of the operating system holds (package ``keyring``). A wrong key is told from a right one
by the tag alone, and that is all anybody is told.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from amaters.base import errors
from amaters.base.rng import Rng
from amaters.client.keytext import KeyText, encode

# How a passphrase is got: at once, or from whoever is asked when a locked keyset is met.
Passphrase = str | Callable[[], str]
WRAPPING_KEY_BYTES = 32
SALT_BYTES, NONCE_BYTES = 16, 12
SERVICE = "amaters"  # what the operating system's keyring calls us


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What one guess costs: memory in KiB, passes over it, lanes (RFC 9106)."""

    memory_kib: int = 65536
    passes: int = 3
    lanes: int = 4

    @property
    def is_possible(self) -> bool:
        """Within what Argon2 allows and any file of ours may ask of this machine."""
        return (
            1 <= self.lanes <= 64
            and 8 * self.lanes <= self.memory_kib <= 1 << 22
            and (1 <= self.passes <= 64)
        )


# RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes; files from before costs were
# written have these.
COST = Argon2Cost()


@dataclass(frozen=True, slots=True, repr=False)
class PassphraseLock:
    """Secrets open with this passphrase. Cost: one Argon2id run, about 0.1 s and 64 MiB."""

    passphrase: str
    cost: Argon2Cost = COST

    def close(self, secrets: dict[str, str], key_id: bytes, rng: Rng) -> dict[str, Any]:
        """The record of the locked secrets."""
        salt = rng.bytes(SALT_BYTES)
        return {
            "kdf": "argon2id",
            "memory_kib": self.cost.memory_kib,
            "passes": self.cost.passes,
            "lanes": self.cost.lanes,
            "salt": encode(salt),
            **_wrap(_stretch(self.passphrase, salt, self.cost), secrets, key_id, rng),
        }


class OsKeyringLock:
    """Secrets open with a key that the operating system's keyring keeps for its user."""

    def close(self, secrets: dict[str, str], key_id: bytes, rng: Rng) -> dict[str, Any]:
        """The record of the locked secrets. Raises: UnavailableError AM-1120, AM-1121."""
        # A name of its own for every wrapping: the old file opens until the new one is in place.
        account = f"{key_id.hex()}.{rng.bytes(4).hex()}"
        key = rng.bytes(WRAPPING_KEY_BYTES)
        with _os_keyring() as ring:
            ring.set_password(SERVICE, account, encode(key))
        return {"os_keyring": account, **_wrap(key, secrets, key_id, rng)}


Lock = PassphraseLock | OsKeyringLock


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens the locked secrets in files of one ``kind``; ``ask`` gives the passphrase."""

    kind: KeyText
    ask: Passphrase | None = None

    def open(self, locked: object, key_id: bytes, path: str) -> dict[str, Any]:
        """The secrets in a record made by a lock.

        Raises: DeniedError AM-1104 (wrong or no passphrase), AM-1122 (the operating system has no
        key for it), UnavailableError AM-1120, AM-1121, DataError for a damaged record.
        """
        if not isinstance(locked, dict):
            self.kind.damaged(path, "it holds no keys")
        if "os_keyring" in locked:
            key = self._kept_key(locked, path)
        else:
            key = self._stretched(locked, path)
        nonce, box = (self.kind.binary(locked, name, path) for name in ("nonce", "box"))
        try:
            plain = AESGCM(key).decrypt(nonce, box, key_id)
        except (InvalidTag, ValueError):
            if "os_keyring" in locked:
                errors.fail("AM-1122", path=path, what="another key under its name")
            errors.fail("AM-1104", path=path, what="the passphrase is not the right one")
        found = json.loads(plain)
        if not isinstance(found, dict):
            self.kind.damaged(path, "it holds no keys")
        return found

    def _stretched(self, locked: dict[str, Any], path: str) -> bytes:
        salt = self.kind.binary(locked, "salt", path)
        names = ("memory_kib", "passes", "lanes")
        given = [locked.get(name, getattr(COST, name)) for name in names]
        if locked.get("kdf", "argon2id") != "argon2id" or not all(type(n) is int for n in given):
            self.kind.damaged(path, "its key derivation is not one of this version")
        cost = Argon2Cost(*given)
        if not cost.is_possible or len(salt) < 8:
            self.kind.damaged(path, "its key derivation has impossible costs")
        if self.ask is None:
            errors.fail("AM-1104", path=path, what="it is protected by a passphrase")
        return _stretch(self.ask if isinstance(self.ask, str) else self.ask(), salt, cost)

    def _kept_key(self, locked: dict[str, Any], path: str) -> bytes:
        account = self.kind.text(locked, "os_keyring", path)
        with _os_keyring() as ring:
            kept = ring.get_password(SERVICE, account)
        try:
            key = base64.b64decode(kept or "", validate=True)
        except ValueError:
            key = b""
        if len(key) != WRAPPING_KEY_BYTES:
            errors.fail("AM-1122", path=path, what=f"no key {SERVICE}/{account}")
        return key


def forget(locked: object) -> None:
    """The operating system's keyring need not keep the key of this record any longer; one that is
    gone, or cannot be reached now, is not worth an error.
    """
    if isinstance(locked, dict) and isinstance(locked.get("os_keyring"), str):
        try:
            with _os_keyring() as ring:
                if ring.get_password(SERVICE, locked["os_keyring"]) is not None:
                    ring.delete_password(SERVICE, locked["os_keyring"])
        except errors.UnavailableError:
            return


def kind_of(locked: object) -> str:
    """'none', 'passphrase' or 'os-keyring': how the secrets of a file are kept closed."""
    if locked is None:
        return "none"
    return "os-keyring" if isinstance(locked, dict) and "os_keyring" in locked else "passphrase"


@contextmanager
def _os_keyring() -> Iterator[Any]:
    """Package ``keyring``. Raises: UnavailableError AM-1120 (not installed), AM-1121 (no backend,
    or it refuses).
    """
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        errors.fail("AM-1120")
    try:
        yield keyring
    except KeyringError as error:
        lines = str(error).splitlines() or [type(error).__name__]
        errors.fail("AM-1121", what=lines[0][:200])


def _wrap(key: bytes, secrets: dict[str, str], key_id: bytes, rng: Rng) -> dict[str, str]:
    nonce = rng.bytes(NONCE_BYTES)
    plain = json.dumps(secrets, sort_keys=True).encode()
    return {"nonce": encode(nonce), "box": encode(AESGCM(key).encrypt(nonce, plain, key_id))}


def _stretch(passphrase: str, salt: bytes, cost: Argon2Cost) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=WRAPPING_KEY_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return kdf.derive(passphrase.encode())
