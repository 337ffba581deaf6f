"""The requests of a rotation of keys, for the engine's service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from amaters.base.errors import AmatersError, fail
from amaters.engine.catalogue import Catalogue
from amaters.engine.holds import Holds
from amaters.engine.keysets import Keysets
from amaters.engine.rekeying import Rekeying, RekeyKeys
from amaters.engine.writer import Writer
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Rotation:
    """See ``wire.service.Service``. ``write``: on the writer's thread, ``work``: on a worker's,
    ``keyset``: where keys are.
    """

    catalogue: Catalogue
    keysets: Keysets
    rekeying: Rekeying
    holds: Holds
    writer: Writer
    write: Callable[..., Awaitable[Any]]
    work: Callable[..., Awaitable[Any]]
    keyset: Callable[[pb.KeyName], Awaitable[cb.ObjectRef | None]]

    async def rekey_segment(self, request: pb.RekeySegmentRequest) -> pb.Done:
        name = self.catalogue.find(request.table_id, request.schema_version).key_name
        name.from_key_id, name.key_id = name.key_id, request.key_id
        ref = await self.keyset(name)
        if ref is None:
            fail("AM-3012", parameter_set=name.parameter_set)
        made = await self.work(self.rekeying.make, request, RekeyKeys(name, ref))
        if made is None:
            return pb.Done()
        try:
            reply: pb.Done = await self.write(
                # Alone, so that it is checked against versions that are published.
                self.writer.rekey_segment,
                request,
                made,
                alone=True,
            )
        except AmatersError:
            await self.work(self.rekeying.discard, made)
            raise
        return reply

    async def switch_keys(self, request: pb.SwitchKeysRequest) -> pb.CommitReply:
        parts = [request.tail] if request.HasField("tail") else []
        prepared = await self.work(self.writer.prepare, parts)
        reply: pb.CommitReply = await self.write(
            self.writer.switch_keys, request, prepared, alone=True
        )
        if not reply.conflicts:
            self.holds.hold(request.schema.table_id, 0)
        return reply

    def hold_writes(self, request: pb.HoldWritesRequest) -> pb.Done:
        self.catalogue.find(request.table_id)
        self.holds.hold(request.table_id, request.seconds)
        return pb.Done()

    async def end_rotation(self, request: pb.EndRotationRequest) -> pb.Done:
        reply: pb.Done = await self.write(self.writer.end_rotation, request, alone=True)
        self.keysets.refresh()
        self.rekeying.forget()
        return reply
