"""Backups of a database in use: full, or what changed since another backup.

A backup is the state at one position and every object that this state names. Writers go on
meanwhile: the state's file is frozen only while it is read, and objects that leave the database are
kept until the backup has them.
"""

from __future__ import annotations

import datetime
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from amaters.base.clock import Clock, SystemClock
from amaters.base.errors import AmatersError, fail
from amaters.base.ids import new_id
from amaters.base.progress import Progress, ProgressCallback, no_progress
from amaters.storage.backupset import (
    READ_BYTES,
    VERSION,
    BackupInfo,
    Kept,
    Target,
    check_chain,
    digest,
    in_order,
    info,
    latest,
    object_file,
    open_target,
    read_manifest,
    state_file,
    write_manifest,
)
from amaters.storage.database import Storage
from amaters.storage.directory import DirectoryStorage
from amaters.storage.marker import FORMAT_VERSION
from amaters.storage.remote import BlobWriter
from amaters.storage.snapshots import Image
from amaters.wire import backup_pb2 as bb
from amaters.wire import commands_pb2 as cb


def backup(
    storage: Storage,
    target: Target,
    *,
    parent: str | None = None,
    clock: Clock | None = None,
    progress: ProgressCallback = no_progress,
) -> BackupInfo:
    """Write a backup and return what it is called and cost. ``parent``: the backup that this one
    needs for all that has not changed since; None: none, it is a full one.

    Cost: reads the whole state and the objects that the parent lacks. Raises: AM-4001, AM-4007 (the
    database is damaged: nothing damaged is backed up), AM-4011, AM-4025, AM-4031, AM-4041, AM-4042,
    AM-4044, AM-4047.
    """
    if not isinstance(storage, DirectoryStorage):
        fail("AM-4047", what="back up")
    before = None if parent is None else _parent(storage, target, parent)
    created = int((clock or SystemClock()).now())
    making = _Making(storage, target, before, progress)
    try:
        with storage.keeping_objects():
            refs = making.copy_state(created)
            making.copy_objects(refs)
        write_manifest(target, making.manifest)
    except BaseException:
        making.discard()
        raise
    return info(making.manifest)


def backup_to(
    storage: Storage,
    address: str,
    *,
    incremental: bool = False,
    parent: str | None = None,
    progress: ProgressCallback = no_progress,
) -> BackupInfo:
    """``backup`` to a path or a URL. ``incremental``: on the newest backup of this database that is
    there; the first one is a full one.
    """
    target = open_target(address)
    if incremental and parent is None:
        parent = latest(target, storage.database_id)
    return backup(storage, target, parent=parent, progress=progress)


def _parent(storage: Storage, target: Target, name: str) -> Kept:
    kept = read_manifest(target, name)
    if kept.manifest.database_id != storage.database_id:
        fail("AM-4044", name=name, what="it is of another database")
    check_chain(target, kept)
    return kept


@dataclass(slots=True)
class _Making:
    """One backup on its way."""

    storage: DirectoryStorage
    target: Target
    parent: Kept | None
    progress: ProgressCallback
    manifest: bb.BackupManifest = field(default_factory=bb.BackupManifest)
    written: list[str] = field(default_factory=list)

    # ---- the state ---------------------------------------------------------------------------

    def copy_state(self, created: int) -> list[cb.ObjectRef]:
        """Write the chunks that the parent lacks; returns what the state names."""
        with self.storage.frozen() as image:
            self._begin(created, image.position)
            refs = list(image.refs())
            self._copy_chunks(image)
            image.check()
        return refs

    def _begin(self, created: int, position: int) -> None:
        moment = datetime.datetime.fromtimestamp(created, tz=datetime.UTC)
        self.manifest.MergeFrom(
            bb.BackupManifest(
                version=VERSION,
                name=f"{moment:%Y%m%dT%H%M%SZ}-{position}-{new_id()[:3].hex()}",
                database_id=self.storage.database_id,
                format=FORMAT_VERSION,
                position=position,
                created=created,
            )
        )
        if self.parent is not None:
            link = bb.BackupLink(name=self.parent.manifest.name, digest=self.parent.digest)
            self.manifest.chain.extend([link, *self.parent.manifest.chain])

    def _copy_chunks(self, image: Image) -> None:
        size = image.path.stat().st_size
        known = self.parent.manifest.chunks if self.parent else ()
        writer: BlobWriter | None = None
        offset = 0
        try:
            for number, data in enumerate(image.chunks()):
                found = digest(data)
                if number < len(known) and known[number].digest == found:
                    self.manifest.chunks.append(known[number])
                    self.manifest.chunks[-1].holder += 1
                    continue
                writer = writer or self._writer(state_file(self.manifest.name), size)
                writer.write(data)
                chunk = bb.StateChunk(offset=offset, size=len(data), digest=found)
                self.manifest.chunks.append(chunk)
                offset += len(data)
            if writer is not None:
                writer.finish()
        except BaseException:
            if writer is not None:
                writer.abort()
            raise
        self.manifest.state_bytes = size
        self.manifest.bytes_written += offset

    # ---- objects -----------------------------------------------------------------------------

    def copy_objects(self, refs: list[cb.ObjectRef]) -> None:
        """Write the objects that the parent lacks: an id never names anything else."""
        parent = self.parent.manifest.objects if self.parent else ()
        known = {part.ref.object_id: part for part in parent}
        total, done = sum(ref.size for ref in refs if ref.object_id not in known), 0
        missing = (ref for ref in refs if ref.object_id not in known)
        for ref, found in in_order(self.target, self._copy_object, missing):
            self.manifest.objects.append(bb.BackupObject(ref=ref, digest=found))
            self.manifest.bytes_written += ref.size
            done += ref.size
            self.progress(Progress("back up", done, total, "bytes"))
        for part in (known[ref.object_id] for ref in refs if ref.object_id in known):
            self.manifest.objects.append(part)
            self.manifest.objects[-1].holder += 1

    def _copy_object(self, ref: cb.ObjectRef) -> tuple[cb.ObjectRef, bytes]:
        reader = self.storage.objects.open(ref)
        writer = self._writer(object_file(self.manifest.name, ref.object_id), ref.size)
        hasher = blake3()
        try:
            for start in range(0, ref.size, READ_BYTES):
                data = reader.read(start, min(READ_BYTES, ref.size - start))
                hasher.update(data)
                writer.write(data)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        return ref, hasher.digest()

    def _writer(self, name: str, size: int) -> BlobWriter:
        self.written.append(name)
        return self.target.writer(name, size)

    def discard(self) -> None:
        """Remove what was written of a backup that is not to be; without a manifest it does not
        exist, so a target that does not answer changes nothing.
        """
        with suppress(AmatersError):
            self.target.delete(self.written)
