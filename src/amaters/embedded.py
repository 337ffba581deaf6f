"""Client and engine in one process: ``amaters.connect``. The only module that imports both.

The engine gets the database directory; the client gets the keyring. Between them stands
``wire.service`` and nothing else, as if they were on two machines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from amaters.base import errors, settings
from amaters.base.clock import SystemClock
from amaters.base.progress import ProgressCallback, no_progress
from amaters.base.rng import SystemRng
from amaters.client.background import BackgroundCompaction
from amaters.client.blocking import Portal, blocking
from amaters.client.database import AsyncDatabase
from amaters.client.keylock import Passphrase
from amaters.client.keymaking import Choice, choose
from amaters.client.keyring import SUFFIX, Keyring
from amaters.client.session import Keys, Outside, Session, open_session
from amaters.client.sync import Database
from amaters.client.terminal import NotebookProgress, TerminalProgress, notebook_display

if TYPE_CHECKING:
    from amaters.engine.service import Engine
    from amaters.storage.backupset import BackupInfo
    from amaters.storage.verify import VerifyReport

MEMORY = ":memory:"


class AsyncEmbedded(AsyncDatabase):
    """A database whose engine is in this process, so that this process looks after it."""

    def __init__(self, session: Session, engine: Engine) -> None:
        super().__init__(session)
        self._engine = engine
        self._background: BackgroundCompaction | None = None

    def compact_in_background(self, rows_per_second: float) -> None:
        """Compact once a minute from now on, at most so many rows per second."""

        async def compact() -> None:
            await self.compact(rows_per_second=rows_per_second)

        self._background = BackgroundCompaction(compact, self._session.outside.notice)

    async def close(self) -> None:
        """Close the database; what was inserted stays."""
        if self._background is not None:
            await self._background.stop()
        await super().close()

    async def backup(
        self,
        target: str | os.PathLike[str],
        *,
        incremental: bool = False,
        parent: str | None = None,
    ) -> BackupInfo:
        """Back the database up while it is in use; returns the backup's name and sizes.

        ``target``: a directory, or a URL such as ``"s3://bucket/prefix"``. ``incremental`` writes
        what changed since the newest backup there, ``parent`` since the one of that name. The keys
        are not in it. `amaters admin restore` makes a database of it.

        Raises: DataError AM-4001 when the database is damaged, InvalidError AM-4047 for one in
        memory, AM-4044 when the parent is another database's.
        """
        progress = self._session.outside.progress
        return await self._engine.backup(
            os.fspath(target), incremental=incremental, parent=parent, progress=progress
        )

    async def verify(self) -> VerifyReport:
        """Check every checksum and reference while the database is in use; ``ok`` says that nothing
        was found, ``findings`` what was.
        """
        return await self._engine.verify(self._session.outside.progress)


class Embedded(Database):
    """The blocking API of ``AsyncEmbedded``; made by ``connect``."""

    backup = blocking(AsyncEmbedded.backup)
    verify = blocking(AsyncEmbedded.verify)


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of ``connect``, which explains them."""

    keys: str | os.PathLike[str] | None
    passphrase: Passphrase | None
    progress: ProgressCallback | None
    timeout_seconds: float | None
    threads: int | None
    parameters: str | None
    unsafe_scheme: str | None
    unsafe_parameters: str | None
    log_backend: str | None
    objects_url: str | None
    compact_rows_per_second: float | None


class Connecting:
    """What ``connect_async`` returns: ``await`` it, or use it in ``async with``."""

    def __init__(self, url: str, options: ConnectOptions) -> None:
        self._url = url
        self._options = options
        self._database: AsyncEmbedded | None = None

    def __await__(self) -> Generator[Any, None, AsyncEmbedded]:
        return _open(self._url, **self._options).__await__()

    async def __aenter__(self) -> AsyncEmbedded:
        self._database = await self
        return self._database

    async def __aexit__(self, *_: object) -> None:
        if self._database is not None:
            await self._database.close()


def connect_async(url: str | os.PathLike[str], **options: Unpack[ConnectOptions]) -> Connecting:
    """Like ``connect``, for asynchronous programs: the same names, awaitable."""
    return Connecting(os.fspath(url), options)


def connect(
    url: str | os.PathLike[str],
    *,
    keys: str | os.PathLike[str] | None = None,
    passphrase: Passphrase | None = None,
    progress: ProgressCallback | None = None,
    timeout_seconds: float | None = None,
    threads: int | None = None,
    parameters: str | None = None,
    unsafe_scheme: str | None = None,
    unsafe_parameters: str | None = None,
    log_backend: str | None = None,
    objects_url: str | None = None,
    compact_rows_per_second: float | None = None,
) -> Embedded:
    """Open the database in a directory (made if it is not there), or ``":memory:"``.

    ``keys``: a keyring directory or one ``.keyset`` file; by default the user's keyring, or for
    ``":memory:"`` a keyset that is never written. ``passphrase`` opens a locked keyset: a string,
    which also locks a keyset made here, or a function that is called when one is met.
    ``progress`` is called during long work; on a terminal or in a notebook a line with an ETA is
    shown by default. ``timeout_seconds`` is how long a statement may take, by default for ever;
    ``sql`` takes its own. ``parameters="deep"`` makes a new database's keyset for deeper filters,
    at about twice the cost. ``unsafe_scheme="noop"`` encrypts nothing,
    and ``unsafe_parameters="insecure_n1024"`` protects nothing: for tests only.

    ``objects_url="s3://bucket/prefix"`` puts a new database's objects on an object store, and
    ``log_backend="object"`` its log as well: the directory is then a cache that may be lost. By
    default both come from the settings; an existing database remembers where it is.

    ``compact_rows_per_second``: see ``compact``, done once a minute in the background, slowly.

    Raises: DeniedError AM-1101 when the database belongs to another keyset, ConflictError AM-4002
    when another process has it open.
    """
    portal = Portal()
    try:
        opened = portal.call(
            _open(
                os.fspath(url),
                keys=keys,
                passphrase=passphrase,
                progress=progress,
                timeout_seconds=timeout_seconds,
                threads=threads,
                parameters=parameters,
                unsafe_scheme=unsafe_scheme,
                unsafe_parameters=unsafe_parameters,
                log_backend=log_backend,
                objects_url=objects_url,
                compact_rows_per_second=compact_rows_per_second,
            )
        )
    except BaseException:
        portal.close()
        raise
    return Embedded(opened, portal)


async def _open(
    url: str,
    *,
    keys: str | os.PathLike[str] | None = None,
    passphrase: Passphrase | None = None,
    progress: ProgressCallback | None = None,
    timeout_seconds: float | None = None,
    threads: int | None = None,
    parameters: str | None = None,
    unsafe_scheme: str | None = None,
    unsafe_parameters: str | None = None,
    log_backend: str | None = None,
    objects_url: str | None = None,
    compact_rows_per_second: float | None = None,
) -> AsyncEmbedded:
    from amaters.engine.service import open_engine
    from amaters.storage.options import StorageOptions

    if "://" in url:
        errors.fail("AM-5003", url=url, what="there is no server in this version")
    found = settings.load(threads=threads, log_backend=log_backend, objects_url=objects_url)
    choice = choose(unsafe_scheme, unsafe_parameters, parameters)
    source = _keys(url, keys, passphrase, choice, found)
    outside = Outside(
        clock=SystemClock(),
        rng=SystemRng(),
        notice=_notice,
        progress=progress or _default_progress(found),
        threads=found.threads,
        timeout_seconds=timeout_seconds,
    )
    if choice.scheme == "bgv" and not _kernels_are_compiled():
        _notice("compiling the kernels for this machine: half a minute or so, once")
    engine = open_engine(
        url,
        unsafe_scheme=choice.unsafe,
        cache_bytes=found.cache_bytes,
        threads=found.threads,
        options=StorageOptions.of(found),
    )
    if engine.notice is not None:
        _notice(engine.notice)
    if engine.log_notice is not None and found.sources["log_backend"] != "default":
        _notice(engine.log_notice)
    try:
        session = await open_session(engine, url=url, keys=source, choice=choice, outside=outside)
    except BaseException:
        await engine.close()
        raise
    database = AsyncEmbedded(session, engine)
    if compact_rows_per_second is not None:
        database.compact_in_background(compact_rows_per_second)
    return database


def _keys(
    url: str,
    keys: str | os.PathLike[str] | None,
    passphrase: Passphrase | None,
    choice: Choice,
    found: settings.Settings,
) -> Keys:
    """Where the keyset is. A database in memory needs none to be written."""
    if keys is None and url == MEMORY:
        return Keys(None)
    path = Path(os.fspath(keys)) if keys is not None else found.keyring
    required = None
    if path.suffix == SUFFIX:
        required = Keyring(path.parent).header_of(path).key_id
        path = path.parent
    keyring = Keyring(path, passphrase)
    if url != MEMORY:
        keyring.refuse_inside(Path(url))
    return Keys(keyring, required)


def _kernels_are_compiled() -> bool:
    from amaters.ring.compile import cache_folder

    return Path(cache_folder()).is_dir()


def _default_progress(found: settings.Settings) -> ProgressCallback:
    display = notebook_display() if found.progress else None
    if display is not None:
        return NotebookProgress(display, SystemClock())
    if found.progress and sys.stderr is not None and sys.stderr.isatty():
        return TerminalProgress(sys.stderr, SystemClock())
    return no_progress


def _notice(text: str) -> None:
    """What a person must be told once, on standard error."""
    sys.stderr.write(f"amaters: {text}\n")
