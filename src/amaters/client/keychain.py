"""The keysets of one session: one, and while a database is rotated the one that replaces it.

Whatever belongs to a table goes by the key that the table names, so a statement that began under
one key finishes under it, whatever happens meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NoReturn

from amaters.base import errors
from amaters.client.keyset import Keyset
from amaters.client.schemes import Schemes
from amaters.columns.schema import Table
from amaters.fhe.scheme import ClientScheme
from amaters.wire import service_pb2 as pb


class Keychain:
    """The keysets in use, the newest last. For any thread."""

    def __init__(self, keyset: Keyset) -> None:
        self._lock = threading.Lock()
        self._opened = [(keyset, Schemes(keyset))]

    def add(self, keyset: Keyset) -> None:
        """New tables are made under this one from here on."""
        with self._lock:
            if all(known.key_id != keyset.key_id for known, _ in self._opened):
                self._opened = [*self._opened, (keyset, Schemes(keyset))]

    def drop(self, key_id: bytes) -> None:
        """Nothing is under this keyset; another one stays."""
        with self._lock:
            kept = [pair for pair in self._opened if pair[0].key_id != key_id]
            self._opened = kept or self._opened

    def __iter__(self) -> Iterator[Keyset]:
        """The newest first."""
        return iter([keyset for keyset, _ in reversed(self._opened)])

    @property
    def keyset(self) -> Keyset:
        """That of new tables."""
        return self._opened[-1][0]

    @property
    def schemes(self) -> Schemes:
        """Those of new tables."""
        return self._opened[-1][1]

    def schemes_under(self, key_id: bytes) -> Schemes:
        """Those of a keyset that was added."""
        return next(schemes for keyset, schemes in self._opened if keyset.key_id == key_id)

    def owner_of(self, key_id: bytes) -> Keyset | None:
        """The keyset with this secret key."""
        return next((keyset for keyset, schemes in self._opened if schemes.owns(key_id)), None)

    def keyset_of(self, table: Table) -> Keyset:
        """What seals and opens a table's rows. Raises: DeniedError AM-2311."""
        return self.owner_of(table.key_id) or self._refuse(table)

    def scheme_of(self, table: Table) -> ClientScheme:
        """What encrypts and decrypts for a table. Raises: DeniedError AM-2311."""
        return self._schemes_of(table).of(table)

    def key_name_of(self, table: Table) -> pb.KeyName:
        """How the engine knows the evaluation keys of a table. Raises: DeniedError AM-2311."""
        schemes = self._schemes_of(table)
        return schemes.name_of(schemes.of(table))

    def _schemes_of(self, table: Table) -> Schemes:
        for _, schemes in self._opened:
            if schemes.owns(table.key_id):
                return schemes
        self._refuse(table)

    def _refuse(self, table: Table) -> NoReturn:
        errors.fail("AM-2311", table=table.name, key_id=self.keyset.name)
