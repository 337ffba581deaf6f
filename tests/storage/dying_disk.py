"""A disk on which the process dies at a chosen operation, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaters.storage.files import Disk


class Killed(BaseException):
    """Stands for the death of the process."""


class DyingDisk(Disk):
    """Dies at its operation number ``at``, before or after it is done."""

    OPERATIONS = ("create", "write", "write_at", "sync", "publish", "sync_directory", "remove")

    def __init__(self, at: int, *, after: bool) -> None:
        self.count = 0
        for name in (*self.OPERATIONS, "allocate", "make_directory", "truncate"):
            setattr(self, name, self._dying(getattr(super(), name), at, after))

    def _dying(self, method: Callable[..., Any], at: int, after: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count > at or (self.count == at and not after):
                raise Killed
            done = method(*arguments, **named)
            if self.count == at:
                raise Killed
            return done

        return call


def tree(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
