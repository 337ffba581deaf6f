"""Which keysets a database belongs to, and where their evaluation keys are.

It has one; while it is rotated a second one that it is being rotated to. Keys stay for good once
they are put, but for those of the old keyset at the end of a rotation, so what was found need not
be asked for again: a statement that began before that end finishes.
"""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.engine.catalogue import Catalogue
from amaters.storage.database import Storage
from amaters.storage.rekeying import keyset_ids
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

_Key = tuple[bytes, str, str, bytes]


class Keysets:
    """``find`` is for the writer's thread, the rest for any."""

    def __init__(self, storage: Storage, catalogue: Catalogue) -> None:
        self._storage = storage
        self._ours, self._target = keyset_ids(storage.state.db)
        self._left: set[bytes] = set()
        self._refs: dict[_Key, cb.ObjectRef] = {}
        for version in storage.tables():
            self.find(catalogue.entry(version).key_name)

    @property
    def ours(self) -> bytes:
        """The keyset this database belongs to; empty before the first."""
        return self._ours

    @property
    def target(self) -> bytes:
        """The keyset it is being rotated to; empty: none."""
        return self._target

    def known(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """Keys that were asked for before.

        Raises: AM-3010 for a foreign keyset, AM-3120 for a second rotation.
        """
        self._check(name, self._ours, self._target)
        return self._refs.get(_key_of(name))

    def _check(self, name: pb.KeyName, ours: bytes, target: bytes) -> None:
        theirs = name.keyset_id
        if name.from_key_id and theirs and target not in (b"", theirs):
            fail("AM-3120", theirs=target.hex()[:16])
        allowed = {b"", ours, target, *self._left}
        if ours and theirs not in allowed and not name.from_key_id:
            fail("AM-3010", theirs=ours.hex(), ours=theirs.hex())

    def find(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """The same, from the state: somebody may have been faster. Raises: as ``known``."""
        self._check(name, *keyset_ids(self._storage.state.db))
        known = self._refs.get(_key_of(name))
        if known is not None:
            return known
        found = self._storage.state.keyset(name)
        if found is not None:
            self._refs[_key_of(name)] = found
        return found

    def refresh(self) -> None:
        """After a keyset came, or left: its keys are found no more, but for who has them."""
        with self._storage.reading() as db:
            ours, target = keyset_ids(db)
        if self._ours and ours != self._ours:
            self._left.add(self._ours)
        self._ours, self._target = ours, target


def _key_of(name: pb.KeyName) -> _Key:
    return name.key_id, name.parameter_set, name.scheme, name.from_key_id
