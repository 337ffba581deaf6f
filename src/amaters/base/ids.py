"""Random 16-byte identifiers, printed as 32 hexadecimal digits."""

from __future__ import annotations

from amaters.base.rng import Rng, SystemRng

ID_BYTES = 16


def new_id(rng: Rng | None = None) -> bytes:
    """A fresh random identifier of ``ID_BYTES`` bytes; collisions do not happen (2^-64)."""
    return (rng or SystemRng()).bytes(ID_BYTES)
