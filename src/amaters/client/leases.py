"""Leases that a client holds: the exchange of a tail, or slots of an open segment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from amaters.base import errors
from amaters.client.session import Session
from amaters.columns.schema import Table
from amaters.wire import service_pb2 as pb


@dataclass(slots=True)
class Lease:
    """A lease as it was granted, to be kept while the work it is for goes on."""

    session: Session
    table: Table
    slots: int
    granted: pb.LeaseReply
    asked: float

    async def keep(self) -> None:
        """Renew the lease when half of it is over. Raises: AM-3071, AM-3072 when it is lost."""
        now = self.session.outside.clock.monotonic()
        if now - self.asked < self.granted.seconds / 2:
            return
        lease_id = self.granted.lease_id
        renewed = await self.session.service.lease(
            pb.LeaseRequest(table_id=self.table.id, slots=self.slots, lease_id=lease_id)
        )
        if renewed.lease_id != lease_id:
            errors.fail("AM-3071", table=self.table.name)
        self.asked = now

    async def end(self) -> None:
        """Give it back, if that is still possible: what comes to nothing must not block others."""
        with suppress(errors.AmatersError):
            await self.session.service.end_lease(
                pb.EndLeaseRequest(table_id=self.table.id, lease_id=self.granted.lease_id)
            )


async def exchange_lease(session: Session, table: Table) -> Lease | None:
    """The right to exchange the tail, or None while somebody else does."""
    return await _ask(session, table, 0)


async def slot_lease(session: Session, table: Table, slots: int) -> Lease:
    """So many slots of an open segment. Raises: AM-5012 for slots that cannot be."""
    lease = await _ask(session, table, slots)
    if lease is None or len(lease.granted.open_segment) == 0:
        errors.fail("AM-5012", what="it leased no slots")
    if lease.granted.first_slot + slots > session.parameters_of(table).slots:
        errors.fail("AM-5012", what="it leased slots that cannot be")
    return lease


async def _ask(session: Session, table: Table, slots: int) -> Lease | None:
    asked = session.outside.clock.monotonic()
    granted = await session.service.lease(pb.LeaseRequest(table_id=table.id, slots=slots))
    return Lease(session, table, slots, granted, asked) if granted.lease_id else None
