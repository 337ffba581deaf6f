"""What this client remembers of the server: enough to explain a statement without asking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from amaters.base import errors
from amaters.wire import service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Seen:
    """The sizes of a table as a snapshot showed them, and when (monotonic seconds)."""

    reply: pb.SnapshotReply
    at_seconds: float


class Remembered:
    """Answers the requests that EXPLAIN makes from memory; nothing behind it can be reached.

    A table that was never looked at has no rows as far as it knows.
    """

    def __init__(self, seen: Mapping[bytes, Seen]) -> None:
        self._seen = seen

    async def snapshot(self, request: pb.SnapshotRequest) -> pb.SnapshotReply:
        known = self._seen.get(request.table_id)
        return pb.SnapshotReply() if known is None else known.reply

    async def release(self, request: pb.HandleRequest) -> pb.Done:
        return pb.Done()

    async def renew(self, request: pb.RenewRequest) -> pb.RenewReply:
        return pb.RenewReply()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        errors.fail("AM-5044", what=name.replace("_", " "))
