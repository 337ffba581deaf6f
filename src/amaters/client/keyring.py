"""Where keysets live: a directory of the user (0700) with one file per keyset (0600).

A keyset is found by the id the database states. The id is looked up, not believed: everything that
is trusted later (schema, scheme, parameters) is authenticated by the keys that are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from amaters.base import errors
from amaters.client import keyset as keysets
from amaters.client.keylock import Lock, OsKeyringLock, Passphrase, PassphraseLock, forget
from amaters.client.keyset import Keyset, KeysetHeader
from amaters.client.keytext import read_text, replace_text, write_new

SUFFIX = ".keyset"
VERSIONS_SUFFIX = ".versions"
RETIRED_SUFFIX = ".retired"
REPLACING_SUFFIX = ".replacing"
DIRECTORY_MODE = 0o700


class Keyring:
    """The keysets under one directory; it is created when the first keyset is saved.

    ``passphrase``: opens locked keysets. A string also locks those that are made; a function is
    called when a locked one is met, once, and locks none.
    """

    def __init__(self, directory: Path, passphrase: Passphrase | None = None) -> None:
        self.directory = directory
        self._passphrase = passphrase
        self._asked: str | None = None

    def path(self, key_id: bytes) -> Path:
        return self.directory / (key_id.hex()[:16] + SUFFIX)

    def versions_path(self, key_id: bytes) -> Path:
        """The file beside a keyset that ``client.versions`` keeps."""
        return self.path(key_id).with_suffix(VERSIONS_SUFFIX)

    def save(self, keyset: Keyset, lock: Lock | None = None) -> Path:
        """Write a new keyset durably before it is used; ``lock``: instead of the passphrase.

        Raises: ConflictError AM-1107, UnavailableError AM-1120, AM-1121.
        """
        self.make_directory()
        path = self.path(keyset.key_id)
        given = self._passphrase if isinstance(self._passphrase, str) else None
        text = keysets.to_text(keyset, lock or given)
        write_new(path, text, lambda: errors.fail("AM-1107", path=path))
        return path

    def save_like(self, keyset: Keyset, key_id: bytes) -> Path:
        """Write a new keyset, locked as the one with this id is. Raises: as ``save``."""
        header = self.header_of(self.path(key_id))
        if header.protection == "os-keyring":
            return self.save(keyset, OsKeyringLock())
        if header.protection == "passphrase":
            given = self._passphrase if isinstance(self._passphrase, str) else self._ask()
            return self.save(keyset, PassphraseLock(given))
        return self.save(keyset)

    def replacement_of(self, key_id: bytes) -> bytes | None:
        """The id of the keyset here that was made to replace another one, None if there is none."""
        return next((h.key_id for _, h in self.headers() if h.replaces == key_id), None)

    def retire(self, key_id: bytes, database: str) -> None:
        """Remember that a keyset was replaced in a database: of that only older backups need it.
        It stays until the user deletes it.
        """
        path = self.path(key_id).with_suffix(RETIRED_SUFFIX)
        _write_lines(path, {*self.retired_in(key_id), database})

    def retired_in(self, key_id: bytes) -> list[str]:
        """The databases in which a rotation has replaced a keyset."""
        return _lines(self.path(key_id).with_suffix(RETIRED_SUFFIX))

    def begin_replacing(self, key_id: bytes, database: str) -> None:
        """Remember that a rotation to this keyset is going on from here, durably before it is."""
        path = self.path(key_id).with_suffix(REPLACING_SUFFIX)
        _write_lines(path, {*_lines(path), database})

    def end_replacing(self, key_id: bytes, database: str) -> None:
        """It is over, or was given up."""
        path = self.path(key_id).with_suffix(REPLACING_SUFFIX)
        left = {*_lines(path)} - {database}
        if left:
            _write_lines(path, left)
        else:
            path.unlink(missing_ok=True)

    def is_replacing(self, key_id: bytes, database: str) -> bool:
        """Whether a rotation to this keyset began here and did not come to its end here."""
        return database in _lines(self.path(key_id).with_suffix(REPLACING_SUFFIX))

    def awaits_retirement(self, key_id: bytes) -> bool:
        """Whether a keyset is here and not retired."""
        return self.path(key_id).is_file() and not self.is_retired(key_id)

    def is_retired(self, key_id: bytes) -> bool:
        """Whether a rotation has replaced it."""
        return bool(self.retired_in(key_id))

    def protect(self, key_id: bytes, lock: Lock | None) -> Path:
        """Lock a keyset in another way, or not at all (None). The file has the old content or the
        new one whatever happens.

        Raises: as ``find``; UnavailableError AM-1120, AM-1121.
        """
        keyset = self.find(key_id, "this change")
        path = self.path(key_id)
        before = keysets.lock_of(_read(path), str(path))
        replace_text(path, keysets.to_text(keyset, lock))
        forget(before)
        return path

    def _ask(self) -> str:
        """The passphrase, asked for once."""
        if self._asked is None:
            assert callable(self._passphrase)
            self._asked = self._passphrase()
        return self._asked

    def make_directory(self) -> None:
        """Create the directory if it is not there, for its owner only."""
        self.directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def find(self, key_id: bytes, database: str) -> Keyset:
        """The keyset with this id.

        Raises: DeniedError AM-1101 when it is not here, AM-1103 when others can read it,
        AM-1104, AM-1122 when it is locked; DataError AM-1102 when it is damaged.
        """
        path = self.path(key_id)
        if not path.is_file():
            errors.fail(
                "AM-1101", database=database, key_id=key_id.hex()[:16], keyring=self.directory
            )
        passphrase = self._ask if callable(self._passphrase) else self._passphrase
        keyset = keysets.from_text(_read(path), str(path), passphrase)
        if keyset.key_id != key_id:
            errors.fail("AM-1102", path=path, what="it holds another keyset than its name says")
        return keyset

    def header_of(self, path: Path) -> KeysetHeader:
        """The public part of one file."""
        return keysets.read_header(_read(path), str(path))

    def headers(self) -> list[tuple[Path, KeysetHeader]]:
        """Every keyset's public part, by file name."""
        if not self.directory.is_dir():
            return []
        paths = sorted(self.directory.glob("*" + SUFFIX))
        return [(path, self.header_of(path)) for path in paths]

    def refuse_inside(self, database: Path) -> None:
        """Raises: DeniedError AM-1105 if the keyring would lie inside the database directory."""
        inner, outer = self.directory.resolve(), database.resolve()
        if inner == outer or outer in inner.parents:
            errors.fail("AM-1105", keyring=self.directory, database=database)


def _lines(path: Path) -> list[str]:
    return sorted(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else []


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    replace_text(path, "".join(f"{line}\n" for line in sorted(lines)))


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        errors.fail("AM-5004", path=path, what=error.strerror or "it cannot be read")
    if mode & 0o077:
        errors.fail("AM-1103", path=path, mode=oct(mode & 0o777))
    return read_text(path, keysets.FILE)
