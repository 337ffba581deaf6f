"""Where keysets live: a directory of the user (0700) with one file per keyset (0600).

A keyset is found by the id the database states. The id is looked up, not believed: everything that
is trusted later (schema, scheme, parameters) is authenticated by the keys that are found.
"""

from __future__ import annotations

from pathlib import Path

from amaters.base import errors
from amaters.client import keyset as keysets
from amaters.client.keyset import Keyset, KeysetHeader
from amaters.client.keytext import read_text, write_new

SUFFIX = ".keyset"
VERSIONS_SUFFIX = ".versions"
DIRECTORY_MODE = 0o700


class Keyring:
    """The keysets under one directory; it is created when the first keyset is saved."""

    def __init__(self, directory: Path, passphrase: str | None = None) -> None:
        self.directory = directory
        self._passphrase = passphrase

    def path(self, key_id: bytes) -> Path:
        return self.directory / (key_id.hex()[:16] + SUFFIX)

    def versions_path(self, key_id: bytes) -> Path:
        """The file beside a keyset that ``client.versions`` keeps."""
        return self.path(key_id).with_suffix(VERSIONS_SUFFIX)

    def save(self, keyset: Keyset) -> Path:
        """Write a new keyset durably before it is used. Raises: ConflictError AM-1107."""
        self.make_directory()
        path = self.path(keyset.key_id)
        text = keysets.to_text(keyset, self._passphrase)
        write_new(path, text, lambda: errors.fail("AM-1107", path=path))
        return path

    def make_directory(self) -> None:
        """Create the directory if it is not there, for its owner only."""
        self.directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def find(self, key_id: bytes, database: str) -> Keyset:
        """The keyset with this id.

        Raises: DeniedError AM-1101 when it is not here, AM-1103 when others can read it,
        AM-1104 when it is locked; DataError AM-1102 when it is damaged.
        """
        path = self.path(key_id)
        if not path.is_file():
            errors.fail(
                "AM-1101", database=database, key_id=key_id.hex()[:16], keyring=self.directory
            )
        keyset = keysets.from_text(_read(path), str(path), self._passphrase)
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


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        errors.fail("AM-5004", path=path, what=error.strerror or "it cannot be read")
    if mode & 0o077:
        errors.fail("AM-1103", path=path, mode=oct(mode & 0o777))
    return read_text(path, keysets.FILE)
