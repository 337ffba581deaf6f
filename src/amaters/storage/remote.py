"""Blobs: named bytes on an object store (S3, GCS, Azure, a directory), as few calls as possible.

A failed call says nothing about whether it acted: a reply can be lost, and a request can arrive
after its sender gave up. ``settle_create`` turns that into an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import new_id
from amaters.storage.files import Buffer, Disk

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Store

_PART_BYTES = 8 << 20  # of a multipart upload, and what is uploaded in one request at most
_PARTS_AT_ONCE = 4
_RETRIES = 6
_RETRY_SECONDS = 60
_PATIENCE_SECONDS_MAX = 2.0
_OPTIONS = frozenset({"endpoint", "region"})
SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "file")


class BlobInfo(NamedTuple):
    """What a listing says."""

    name: str
    size: int


class BlobWriter(Protocol):
    """A blob on its way; it is not there before ``finish``."""

    def write(self, data: Buffer) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Blobs(Protocol):
    """Where blobs live. Every method raises AM-4025 (unreachable, or no usable answer) and AM-4031
    (refused), and then it is unknown whether it acted.
    """

    url: str

    def create(self, name: str, data: Buffer) -> bool:
        """Put a blob unless there is one of that name; False: there is. Sent once, never again."""

    def put(self, name: str, data: Buffer) -> None:
        """Put or replace a blob; sent again when it fails, so only for what stays the same."""

    def writer(self, name: str, size: int) -> BlobWriter:
        """Like ``put``, for ``size`` bytes that come in pieces."""

    def get(self, name: str) -> bytes | None:
        """The whole blob; None: it is not there."""

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Ranges (start, length) of a blob, fetched side by side. Raises: AM-4007 when it is not
        there, AM-4001 when it is shorter.
        """

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Blobs below ``prefix`` (which ends with a slash), by name."""

    def delete(self, names: Sequence[str]) -> None:
        """Delete blobs, each that is there."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an unclear answer is followed up: ``attempts`` with growing pauses between them.

    ``pause`` waits for some seconds and says whether to give up at once.
    """

    attempts: int
    seconds: float
    pause: Callable[[float], bool]

    def waits(self) -> Iterator[None]:
        """One turn per attempt."""
        seconds = self.seconds
        for attempt in range(self.attempts):
            if attempt and self.pause(seconds):
                return
            if attempt:
                seconds = min(2 * seconds, _PATIENCE_SECONDS_MAX)
            yield


def settle_create(blobs: Blobs, name: str, data: bytes, patience: Patience) -> bytes | None:
    """Create a blob that nobody else would write the same; None: ours is there, now and for ever;
    else the bytes of the one that was first.

    Raises: AM-4025 or AM-4031, when it stays unknown.
    """
    last: AmatersError | None = None
    for _ in patience.waits():
        try:
            if blobs.create(name, data):
                return None
        except AmatersError as error:
            last = error
        try:
            found = blobs.get(name)
        except AmatersError as error:
            last = error
            continue
        if found is not None:
            return None if found == data else found
    if last is not None:
        raise last
    fail("AM-4025", what=f"{name} exists and cannot be read")


def open_blobs(url: str, *, timeout_seconds: float = 30.0, retries: int = _RETRIES) -> Blobs:
    """The blobs below a URL. ``?endpoint=`` and ``?region=`` name another server of the protocol;
    credentials come from the environment or the machine's role. ``retries``: of what may be sent
    again.

    Raises: AM-4028.
    """
    from obstore.exceptions import BaseError
    from obstore.store import LocalStore, from_url

    parts = urlsplit(url)
    config = dict(parse_qsl(parts.query))
    if parts.scheme not in SCHEMES or not set(config) <= _OPTIONS:
        fail("AM-4028", url=url, what="its scheme or one of its options is unknown")
    if parts.scheme == "file":
        path = Path(parts.path)
        Disk().make_directory(path)
        local = LocalStore(path)
        return LocalBlobs(url, local, local, path)
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    client: ClientConfig = {
        "allow_http": config.get("endpoint", "").startswith("http:"),
        "timeout": timedelta(seconds=timeout_seconds),
    }
    more: dict[str, Any] = {"config": config} if config else {}
    stores: list[Store] = []
    for times in (0, retries):
        retry: RetryConfig = {
            "max_retries": times,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        }
        try:
            store = from_url(plain, client_options=client, retry_config=retry, **more)
        except (BaseError, ValueError) as error:
            fail("AM-4028", url=plain, what=_first_line(error))
        stores.append(store)
    return ObstoreBlobs(plain, *stores)


def check_conditions(blobs: Blobs) -> None:
    """Raises: AM-4029 when the store ignores that a blob must only be created."""
    name = f"probe/{new_id().hex()}"
    try:
        if blobs.create(name, b"1") and blobs.create(name, b"2"):
            fail("AM-4029", url=blobs.url)
    finally:
        blobs.delete([name])


class ObstoreBlobs:
    """Blobs over ``obstore``; ``once`` sends every request once, ``again`` repeats what failed."""

    def __init__(self, url: str, once: Store, again: Store) -> None:
        self.url = url
        self._once, self._again = once, again

    def create(self, name: str, data: Buffer) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _typed(name):
            try:
                obstore.put(self._once, name, data, mode="create")
            except AlreadyExistsError:
                return False
        self._settled(name)
        return True

    def put(self, name: str, data: Buffer) -> None:
        import obstore

        with _typed(name):
            obstore.put(self._again, name, data, use_multipart=False)
        self._settled(name)

    def writer(self, name: str, size: int) -> BlobWriter:
        if size <= _PART_BYTES:
            return _SmallWriter(self, name)
        return _PartsWriter(self._again, name, lambda: self._settled(name))

    def get(self, name: str) -> bytes | None:
        import obstore

        with _typed(name):
            try:
                return bytes(obstore.get(self._again, name).bytes())
            except FileNotFoundError:
                return None

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        import obstore
        from obstore.exceptions import BaseError

        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        with _typed(name):
            try:
                parts = obstore.get_ranges(
                    self._again, name, starts=starts, lengths=lengths, coalesce=0
                )
            except FileNotFoundError:
                fail("AM-4007", object_id=name)
            except BaseError:
                # Not every store says so when a range ends behind the end.
                size = obstore.head(self._again, name)["size"]
                if any(start + length > size for start, length in ranges):
                    fail("AM-4001", file=name, what="it is cut short")
                raise
        views = [memoryview(part) for part in parts]
        if any(len(view) != length for view, (_, length) in zip(views, ranges, strict=True)):
            fail("AM-4001", file=name, what="it is cut short")
        return views

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        import obstore

        found = []
        with _typed(prefix):
            for page in obstore.list(self._again, prefix):
                found += [BlobInfo(meta["path"], meta["size"]) for meta in page]
        return iter(sorted(found))

    def delete(self, names: Sequence[str]) -> None:
        import obstore

        for start in range(0, len(names), 1000):
            with _typed(names[start]):
                try:
                    obstore.delete(self._again, names[start : start + 1000])
                except FileNotFoundError:
                    continue  # a directory says so, a bucket does not

    def _settled(self, name: str) -> None:
        """A store answers when the blob is durable."""


class LocalBlobs(ObstoreBlobs):
    """Blobs in a directory, synced: ``obstore`` does not."""

    def __init__(self, url: str, once: Store, again: Store, path: Path) -> None:
        super().__init__(url, once, again)
        self._path = path
        self._disk = Disk()

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            super().delete([name])

    def _settled(self, name: str) -> None:
        path = self._path / name
        fd = self._disk.open_append(path)
        try:
            self._disk.sync(fd, path)
        finally:
            self._disk.close(fd)
        while path != self._path:
            path = path.parent
            self._disk.sync_directory(path)


class _SmallWriter:
    """Collects what goes out in one request."""

    def __init__(self, blobs: ObstoreBlobs, name: str) -> None:
        self._blobs, self._name = blobs, name
        self._data = bytearray()

    def write(self, data: Buffer) -> None:
        self._data += data

    def finish(self) -> None:
        self._blobs.put(self._name, self._data)

    def abort(self) -> None:
        self._data.clear()


class _PartsWriter:
    """A multipart upload. One that is not finished is never seen by anybody; the bucket's lifecycle
    rule removes its parts.
    """

    def __init__(self, store: Store, name: str, settled: Callable[[], None]) -> None:
        import obstore

        self._name, self._settled = name, settled
        self._file: WritableFile | None = obstore.open_writer(
            store, name, buffer_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def write(self, data: Buffer) -> None:
        with _typed(self._name):
            self._open().write(data)

    def finish(self) -> None:
        with _typed(self._name):
            self._open().close()
        self._settled()

    def abort(self) -> None:
        self._file = None

    def _open(self) -> WritableFile:
        if self._file is None:
            fail("AM-4025", what=f"the upload of {self._name} was given up")
        return self._file


@contextmanager
def _typed(name: str) -> Iterator[None]:
    """Errors of the store as ours."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        fail("AM-4031", what=f"{name}: {_first_line(error)}")
    except (BaseError, OSError, ValueError) as error:
        fail("AM-4025", what=f"{name}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


__all__ = [
    "BlobInfo",
    "BlobWriter",
    "Blobs",
    "LocalBlobs",
    "ObstoreBlobs",
    "Patience",
    "check_conditions",
    "open_blobs",
    "settle_create",
]
