"""How a database is stored: which log writes how, and what lies on an object store."""

from __future__ import annotations

from dataclasses import dataclass, field

from amaters.base.errors import fail
from amaters.base.settings import MIB, Settings
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.commitlog.object import ObjectLogOptions

CACHE_BYTES = 4096 << 20


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """Any options open any database; URLs say where a new one goes, or where an existing one has
    moved to, and empty ones what the directory remembers.

    ``objects_url``: an object store for the objects. ``log_on_store``: log and snapshots are there
    too, at ``log_url`` or beside the objects; the directory is a cache then, made again from the
    store when it is lost. ``cache_bytes``: of objects, on the local disk.
    """

    log: LogOptions = field(default_factory=LogOptions)
    remote_log: ObjectLogOptions = field(default_factory=ObjectLogOptions)
    objects_url: str = ""
    log_url: str = ""
    log_on_store: bool = False
    cache_bytes: int = CACHE_BYTES

    def __post_init__(self) -> None:
        if self.log_on_store and not self.objects_url and not self.log_url:
            what = "an object log needs objects_url, the store that it is on"
            fail("AM-1002", name="log_backend", what=what)
        if self.log_url and not self.log_on_store:
            fail("AM-1002", name="log_url", what="it is for log_backend = object alone")

    @classmethod
    def of(cls, found: Settings) -> StorageOptions:
        """What a person configured. Raises: AM-1002."""
        on_store = found.log_backend == "object"
        batch, capacity = found.log_batch_size, found.log_channel_capacity
        log = LogOptions(
            "direct" if on_store else found.log_backend,
            batch_size=batch,
            channel_capacity=capacity,
            ring_size=found.log_ring_size,
            direct_io=found.log_direct_io,
        )
        return cls(
            log,
            ObjectLogOptions(batch_size=batch, channel_capacity=capacity),
            objects_url=found.objects_url,
            log_url=found.log_url if on_store else "",
            log_on_store=on_store,
            cache_bytes=found.object_cache_mib * MIB,
        )

    @property
    def store_urls(self) -> tuple[str, str]:
        """Where objects and log of a new database go; empty: into its directory."""
        objects = self.objects_url or self.log_url
        return objects, (self.log_url or objects) if self.log_on_store else ""
