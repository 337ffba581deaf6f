"""The secret key in evaluation form, with the tables that the client's kernels need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amaters.fhe.parameters import Parameters
from amaters.fhe.residues import from_kernel, to_kernel
from amaters.fhe.secret import kernels
from amaters.fhe.secret.key import SecretKey
from amaters.ring.tables import Tables, get_tables
from amaters.ring.transform import forward, inverse


class SlotTransform:
    """Slots to plaintext polynomials and back, as compiled kernels (``encoder`` is the
    definition).
    """

    def __init__(self, parameters: Parameters) -> None:
        self.slot_tables: Tables = get_tables(
            parameters.ring_degree, (parameters.plaintext_modulus,)
        )

    def message_of(self, slots: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Coefficients in [0, t) of the polynomial with these slots in [0, t), which are
        overwritten."""
        tables, t = self.slot_tables, self.slot_tables.primes[0]
        x = np.empty(slots.size)
        to_kernel(slots, t, x)
        inverse(x, tables.inverse[0], tables.inverse_quotients[0], t, tables.inverse_degree[0])
        out = slots.view(np.int64)
        kernels.nonnegative(x, out)
        return out

    def slots_of(self, message: NDArray[np.float64]) -> NDArray[np.int64]:
        """Slots in [0, t) of a polynomial with centred coefficients (overwritten)."""
        tables, t = self.slot_tables, self.slot_tables.primes[0]
        forward(message, tables.forward[0], tables.forward_quotients[0], t)
        kernels.reduce_row(message, t)
        out = np.empty(message.size, dtype=np.uint64)
        from_kernel(message, t, out)
        return out.view(np.int64)


class TransformedKey(SlotTransform):
    """``secret``, ``quotients``: float64 (data limbs, N), kernel order, centred; quotients are / q.

    Cost: tables and transforms take about 0.2 s at N = 16384; make one per key and keep it.
    """

    def __init__(self, key: SecretKey) -> None:
        super().__init__(key.parameters)
        N = key.parameters.ring_degree
        self.tables: Tables = get_tables(N, key.parameters.data_primes)
        self.secret = transform_small(key.coefficients.astype(np.float64), self.tables)
        self.quotients = self.secret / self.tables.primes[:, np.newaxis]


def transform_small(coefficients: NDArray[np.float64], tables: Tables) -> NDArray[np.float64]:
    """Reduced evaluations, one row per prime, of a polynomial with coefficients below every q
    / 2.
    """
    rows = np.repeat(coefficients[np.newaxis], len(tables.moduli), axis=0)
    for row, w, wq, prime in zip(
        rows, tables.forward, tables.forward_quotients, tables.primes, strict=True
    ):
        forward(row, w, wq, prime)
        kernels.reduce_row(row, prime)
    return rows
