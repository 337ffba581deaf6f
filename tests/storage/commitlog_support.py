"""Logs for tests: all backends, disks that fail, and what a directory holds."""

from __future__ import annotations

from pathlib import Path

from amaters.base.errors import fail
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import Device, LogOptions, Parts, open_device
from amaters.storage.commitlog.segments import Record
from amaters.storage.files import Disk

DATABASE = b"d" * 16
QUIET = 3600.0  # no witness but the one of ``close``


def options(backend: str, **more: object) -> LogOptions:
    return LogOptions(backend=backend, **more)  # type: ignore[arg-type]


def opened(
    path: Path,
    chosen: LogOptions,
    applied: int = 0,
    *,
    disk: Disk | None = None,
    epoch: int | None = None,
    device: Device | None = None,
) -> tuple[SegmentLog, list[Record]]:
    """A log that is ready, made if there is none, and what it held after ``applied``."""
    log = SegmentLog(path, disk or Disk(), DATABASE, chosen, epoch=epoch, device=device)
    if not any(path.iterdir()):
        log.create()
    try:
        return log, list(log.replay(applied))
    except BaseException:
        log.close()
        raise


def payloads_of(path: Path, chosen: LogOptions, applied: int = 0) -> list[bytes]:
    """What a log holds, opened and closed again."""
    log, found = opened(path, chosen, applied)
    log.close()
    assert [record.position for record in found] == list(
        range(applied + 1, applied + 1 + len(found))
    )
    return [record.payload for record in found]


def copied(path: Path, name: str, data: bytes) -> Path:
    path.mkdir()
    (path / name).write_bytes(data)
    return path


class FailingDevice:
    """A device whose write number ``failing`` fails as the operating system would say it."""

    def __init__(self, path: Path, chosen: LogOptions, failing: int, code: str) -> None:
        live = next(path.glob("*.segment"))
        self._device, _ = open_device(chosen, live, Disk())
        self.name, self.direct, self.depth = "failing", self._device.direct, self._device.depth
        self._left, self._code = failing, code
        self.writes = 0

    def start(self, fd: int, parts: Parts, offset: int, path: Path) -> None:
        self.writes += 1
        self._device.start(fd, parts, offset, path)

    def finish(self) -> list[Parts]:
        done = self._device.finish()
        self._left -= len(done)
        if self._left <= 0 and done:
            self._left = 1 << 30  # the disk works again, and nobody may believe it
            fail(self._code, file="segment", what="injected")
        return done

    def wake(self) -> None:
        self._device.wake()

    def close(self) -> None:
        self._device.close()


class RefusingDisk(Disk):
    """A file system without direct I/O."""

    def takes_direct(self, path: Path, block: int) -> bool:
        return False
