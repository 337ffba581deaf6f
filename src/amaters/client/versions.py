"""The newest schema version seen of each table, kept beside the keyset, so that a server cannot
show an older schema to the next process. An older dictionary would let new texts take used codes.

One line per table: table id in hexadecimal, version. Nothing in it is secret.
"""

from __future__ import annotations

import os
from pathlib import Path

from amaters.base import errors

_BYTES_MAX = 1 << 20
_FILE_MODE = 0o600


class SchemaVersions:
    """``known`` maps table ids to versions. Without a path, or where it cannot be written (a
    read-only keyring), it lives as long as this object.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.known: dict[bytes, int] = _read(path) if path is not None else {}

    def include(self, other: SchemaVersions) -> None:
        """Remember what another one has seen."""
        for table_id, version in other.known.items():
            self.note(table_id, version)

    def note(self, table_id: bytes, version: int) -> None:
        """Remember ``version`` if it is the newest; durable before this returns."""
        if version <= self.known.get(table_id, 0):
            return
        self.known[table_id] = version
        if self._path is not None:
            for other, newest in _read(self._path).items():  # another process may have seen more
                self.known[other] = max(newest, self.known.get(other, 0))
            _write(self._path, self.known)


def _read(path: Path) -> dict[bytes, int]:
    """Raises: DataError AM-1109 when the file is damaged."""
    try:
        with path.open("r", encoding="ascii") as file:
            text = file.read(_BYTES_MAX + 1)
        pairs = [line.split(" ") for line in text.splitlines()]
        found = {bytes.fromhex(table_id): int(version) for table_id, version in pairs}
    except FileNotFoundError:
        return {}
    except ValueError:
        errors.fail("AM-1109", path=path)
    if len(text) > _BYTES_MAX:
        errors.fail("AM-1109", path=path)
    return found


def _write(path: Path, known: dict[bytes, int]) -> None:
    lines = "".join(f"{table_id.hex()} {version}\n" for table_id, version in sorted(known.items()))
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
