"""What still holds rows that were deleted, after the engine has let go of all that it could."""

from __future__ import annotations

from collections.abc import Sequence

from amaters.base.errors import fail
from amaters.engine.snapshots import Snapshots
from amaters.engine.uploads import Uploads
from amaters.storage.backupset import BackupInfo, list_backups, open_target
from amaters.storage.database import Storage
from amaters.wire import service_pb2 as pb


def holders(
    storage: Storage,
    snapshots: Snapshots,
    uploads: Uploads,
    backups: Sequence[str],
    position: int,
) -> pb.ForgetHistoryReply:
    """Readers of older versions, uploads that no commit named, and this database's backups in some
    places, of before ``position``. Raises: AM-4028.
    """
    reply = pb.ForgetHistoryReply(position=position)
    now = {version.table_id: version for version in storage.tables()}
    for snapshot, seconds in snapshots.held():
        current = now.get(snapshot.version.table_id)
        there = current.object_ids() if current is not None else set()
        if not snapshot.object_ids() <= there:
            reply.holders.add(
                kind="reader",
                name=snapshot.entry.record.name,
                position=snapshot.position,
                seconds=seconds,
            )
    if uploads.unnamed():
        reply.holders.add(kind="uploads", name=f"{uploads.unnamed()} objects", position=position)
    for address in backups:
        for backup in _backups(address):
            mine = backup.database_id in (b"", storage.database_id)
            if mine and backup.position < position:
                reply.holders.add(
                    kind="backup",
                    name=f"{address}/{backup.name}",
                    position=backup.position,
                    created=backup.created,
                )
    return reply


def check_targets(backups: Sequence[str]) -> None:
    """Whether all these places can be looked into, before anything is done. Raises: AM-4028."""
    for address in backups:
        _backups(address)


def _backups(address: str) -> list[BackupInfo]:
    try:
        return list_backups(open_target(address))
    except OSError as error:
        fail("AM-4028", url=address[:200], what=error.strerror or type(error).__name__)
