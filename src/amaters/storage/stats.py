"""What a database is made of and how large each part is, counted from the state and the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from amaters.storage.database import Storage
from amaters.storage.directory import DirectoryStorage
from amaters.storage.indexes import IndexManager
from amaters.storage.sqlite import Connection
from amaters.wire import commands_pb2 as cb
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb


@dataclass(frozen=True, slots=True)
class EncodingStats:
    """The ciphertexts of one encoding of a column."""

    column: str
    encoding: str
    segments: int
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """An index; ``entries`` counts those of dead rows as well."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    state: str
    entries: int
    bytes: int


@dataclass(slots=True)
class TableStats:
    """One table. ``rows`` counts canaries as well: only clients can tell them from rows.
    ``dead_rows`` lie in segments and are freed by compaction; partial segments wait to be merged.
    """

    name: str
    rows: int = 0
    dead_rows: int = 0
    segments: int = 0
    partial_segments: int = 0
    merged_segments: int = 0
    tail_rows: int = 0
    tail_blocks: int = 0
    tail_bytes: int = 0
    public_bytes: int = 0
    sealed_bytes: int = 0
    encodings: list[EncodingStats] = field(default_factory=list)
    indexes: list[IndexStats] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all that holds rows; indexes and keys not counted."""
        encoded = sum(encoding.bytes for encoding in self.encodings)
        return encoded + self.public_bytes + self.sealed_bytes + self.tail_bytes

    @property
    def bytes_per_row(self) -> float:
        """Bytes per live row; 0 when there is none."""
        return self.bytes / self.rows if self.rows else 0.0


@dataclass(slots=True)
class StorageStats:
    """A whole database. Files are those of its directory: none for a database in memory, and of
    objects none when they are on an object store.
    """

    database_id: str
    position: int
    tables: list[TableStats] = field(default_factory=list)
    keysets: int = 0
    keyset_bytes: int = 0
    garbage_objects: int = 0
    garbage_bytes: int = 0
    requests: int = 0
    state_bytes: int = 0
    log_files: int = 0
    log_bytes: int = 0
    spare_log_bytes: int = 0
    snapshots: int = 0
    snapshot_bytes: int = 0
    object_files: int = 0
    object_bytes: int = 0
    store: str = ""
    cache_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the derived figures are in it."""
        found = asdict(self)
        for table, item in zip(self.tables, found["tables"], strict=True):
            item["bytes"], item["bytes_per_row"] = table.bytes, round(table.bytes_per_row, 1)
        return found


def storage_stats(storage: Storage) -> StorageStats:
    """Figures of one position. Cost: reads every manifest, and no object."""
    with storage.reading() as db:
        applied = (db.one("SELECT position FROM applied") or (0,))[0]
        found = StorageStats(storage.database_id.hex(), int(applied))
        query = "SELECT id, schema FROM tables ORDER BY name"
        for tid, schema in db.all(query):
            found.tables.append(_table(db, tid, pb.SchemaRecord.FromString(schema)))
        for (data,) in db.all("SELECT object FROM keysets"):
            found.keysets += 1
            found.keyset_bytes += cb.ObjectRef.FromString(data).size
        row = db.one("SELECT count(*), coalesce(sum(size), 0) FROM garbage") or (0, 0)
        found.garbage_objects, found.garbage_bytes = row
        found.requests = (db.one("SELECT count(*) FROM requests") or (0,))[0]
    if isinstance(storage, DirectoryStorage):
        found.store = storage.place.objects.url if storage.place else ""
        _count_files(storage.path, found)
    return found


def _table(db: Connection, tid: int, record: pb.SchemaRecord) -> TableStats:
    schema = sb.PublicTable.FromString(record.public_bytes)
    names = {column.id: column.name for column in schema.columns}
    found = TableStats(record.name)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    query = "SELECT manifest, live FROM segments JOIN liveness ON place = id WHERE tid = ?"
    for data, live in db.each(query, (tid,)):
        manifest = cb.SegmentManifest.FromString(data)
        segment = manifest.segment
        sizes = {ref.object_id: ref.size for ref in manifest.objects}
        found.segments += 1
        found.merged_segments += bool(segment.parts)
        found.partial_segments += bool(segment.open_segment and not segment.parts)
        found.rows += live
        found.dead_rows += segment.rows - live
        found.public_bytes += sizes.get(segment.public_object, 0)
        found.sealed_bytes += sizes.get(segment.sealed_object, 0)
        for encoding in segment.encodings:
            column = names.get(encoding.column_id, str(encoding.column_id))
            count = counts[column, encoding.encoding]
            count[0] += 1
            count[1] += sizes.get(encoding.object_id, 0)
    found.encodings = [EncodingStats(*key, *count) for key, count in sorted(counts.items())]
    _count_tail(db, tid, found)
    found.indexes = list(_indexes(db, tid, names))
    return found


def _count_tail(db: Connection, tid: int, found: TableStats) -> None:
    query = (
        "SELECT count(*), coalesce(sum(live), 0), "
        "coalesce(sum(length(public) + length(sealed)), 0) "
        "FROM tails JOIN liveness ON place = -id WHERE tid = ?"
    )
    found.tail_blocks, found.tail_rows, found.tail_bytes = db.one(query, (tid,)) or (0, 0, 0)
    found.rows += found.tail_rows


def _indexes(db: Connection, tid: int, names: dict[int, str]) -> Iterable[IndexStats]:
    manager = IndexManager().attach(db)
    for index in manager.indexes(tid):
        entries, size = manager.stats(tid, index.number)
        columns = tuple(names.get(column, str(column)) for column in index.columns)
        yield IndexStats(index.name, columns, index.unique, index.state, entries, size)


def _count_files(path: Path, found: StorageStats) -> None:
    _, found.state_bytes = _files(path, "state/*")
    found.log_files, found.log_bytes = _files(path, "log/*.segment")
    _, found.spare_log_bytes = _files(path, "log/*.spare")
    found.snapshots, _ = _files(path, "snapshots/*.snapshot")
    _, found.snapshot_bytes = _files(path, "snapshots/*")
    _, found.cache_bytes = _files(path, "cache/**/*")
    found.object_files, found.object_bytes = _files(path, "objects/*")


def _files(path: Path, pattern: str) -> tuple[int, int]:
    """How many files, and their bytes; one that goes meanwhile is not counted."""
    count = total = 0
    for file in path.glob(pattern):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
        count += 1
    return count, total
