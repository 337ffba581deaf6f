"""The secret keys of one keyset at work: one client scheme per depth, made when first needed."""

from __future__ import annotations

import threading
from functools import cached_property

from amaters.base import errors
from amaters.client.keyset import Keyset
from amaters.columns.schema import Table
from amaters.fhe.parameters import deeper, get_parameters
from amaters.fhe.scheme import ClientScheme
from amaters.wire import service_pb2 as pb

DEPTHS = ("default", "deep")


class Schemes:
    """What encrypts and decrypts for each table. For any thread."""

    def __init__(self, keyset: Keyset) -> None:
        self._keyset = keyset
        self._lock = threading.Lock()
        self._made: dict[str, ClientScheme] = {}

    def owns(self, key_id: bytes) -> bool:
        """Whether a secret key is one of this keyset's."""
        if key_id == self._keyset.key_id:
            return True
        return bool(self._keyset.deep_key) and key_id == self._deep_id

    @cached_property
    def _deep_id(self) -> bytes:
        from amaters.fhe.secret import SecretKey

        return SecretKey.from_bytes(self._keyset.deep_key).key_id

    @property
    def has_deep(self) -> bool:
        """Whether tables with DEPTH = 'deep' can be made. Old keysets have no secret for them."""
        parameters = get_parameters(self._keyset.parameters)
        return bool(self._keyset.deep_key) or deeper(parameters) == parameters

    def of_depth(self, depth: str) -> ClientScheme:
        """The scheme of new tables of this depth. Raises: AM-1001, AM-2310.

        Cost: at N = 32768 some 50 ms, once.
        """
        if depth not in DEPTHS:
            fix = "pass 'default', or 'deep' for deeper filters at about twice the cost"
            errors.fail("AM-1001", what=f"depth={depth!r} is not known", fix=fix)
        if depth == "deep" and not self.has_deep:
            errors.fail("AM-2310", key_id=self._keyset.name)
        with self._lock:
            found = self._made.get(depth)
            if found is None:
                found = self._made[depth] = self._open(depth)
        return found

    def of(self, table: Table) -> ClientScheme:
        """The scheme of a table's data. Raises: AM-2311 when this keyset has no key for it."""
        deep = table.parameter_set != self._keyset.parameters
        if not deep or self.has_deep:
            scheme = self.of_depth("deep" if deep else "default")
            if scheme.key_id == table.key_id and scheme.parameters.name == table.parameter_set:
                return scheme
        errors.fail("AM-2311", table=table.name, key_id=self._keyset.name)

    def name_of(self, scheme: ClientScheme) -> pb.KeyName:
        """How the engine knows the evaluation keys of ``scheme``."""
        return pb.KeyName(
            keyset_id=self._keyset.key_id,
            key_id=scheme.key_id,
            parameter_set=scheme.parameters.name,
            scheme=self._keyset.scheme,
        )

    def _open(self, depth: str) -> ClientScheme:
        from amaters.fhe.secret import SecretKey, make_client_scheme

        keyset = self._keyset
        is_deep = depth == "deep" and bool(keyset.deep_key)
        secret = SecretKey.from_bytes(keyset.deep_key if is_deep else keyset.secret_key)
        wanted = get_parameters(keyset.parameters)
        return make_client_scheme(keyset.scheme, deeper(wanted) if is_deep else wanted, secret)
