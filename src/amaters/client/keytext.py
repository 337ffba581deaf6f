"""Key files are text: one line of kind and version, one of JSON, one of BLAKE3 checksum, so that a
person can see what a file is before pasting it somewhere.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from blake3 import blake3

from amaters.base import errors

BYTES_MAX = 1 << 20
FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class KeyText:
    """One kind of file. ``code`` is the error for damage, with fields ``path`` and ``what``."""

    header: str
    code: str

    def write(self, record: dict[str, Any]) -> str:
        """The file's content."""
        body = json.dumps(record, sort_keys=True)
        return f"{self.header}\n{body}\n{_checksum(body)}\n"

    def read(self, text: str, path: str) -> dict[str, Any]:
        """The record in a file. Raises: DataError ``code``."""
        lines = text.splitlines()
        if len(lines) != 3 or lines[0] != self.header:
            self.damaged(path, f"it does not begin with {self.header!r} or has not three lines")
        if lines[2] != _checksum(lines[1]):
            self.damaged(path, "its checksum does not fit its content")
        try:
            record = json.loads(lines[1])
        except json.JSONDecodeError:
            self.damaged(path, "its content is not JSON")
        if not isinstance(record, dict):
            self.damaged(path, "its content is not a record")
        return record

    def text(self, record: dict[str, Any], name: str, path: str) -> str:
        """A field. Raises: DataError ``code``."""
        value = record.get(name)
        if not isinstance(value, str):
            self.damaged(path, f"field {name} is missing")
        return value

    def binary(self, record: dict[str, Any], name: str, path: str) -> bytes:
        """A base64 field. Raises: DataError ``code``."""
        try:
            return base64.b64decode(self.text(record, name, path), validate=True)
        except ValueError:
            self.damaged(path, f"field {name} is not base64")

    def damaged(self, path: str, what: str) -> NoReturn:
        """Raise the error for a damaged file."""
        errors.fail(self.code, path=path, what=what)


def encode(data: bytes) -> str:
    """Bytes as a JSON field."""
    return base64.b64encode(data).decode()


def _checksum(body: str) -> str:
    return blake3(body.encode()).hexdigest()


def write_new(path: Path, text: str, exists: Callable[[], NoReturn]) -> None:
    """Write a file that only its owner can read, durably and whole; never over another one."""
    temporary = _written_beside(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        exists()
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Put other content into a file, durably: at any moment it has either the old or the new."""
    _written_beside(path, text).replace(path)
    sync_directory(path.parent)


def _written_beside(path: Path, text: str) -> Path:
    """A durable file next to ``path``, for its owner only."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, kind: KeyText) -> str:
    """The whole file. Raises: DataError ``kind.code``, InvalidError AM-5004."""
    try:
        with path.open("r", encoding="utf-8") as file:
            text = file.read(BYTES_MAX + 1)
    except UnicodeDecodeError:
        kind.damaged(str(path), "it is not text")
    except OSError as error:
        errors.fail("AM-5004", path=path, what=error.strerror or "it cannot be read")
    if len(text) > BYTES_MAX:
        kind.damaged(str(path), "it is larger than such a file can be")
    return text
