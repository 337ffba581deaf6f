"""What EXPLAIN says of ciphertexts that have changed keys."""

from __future__ import annotations

from typing import Any

from amaters.fhe.meta import Rules
from amaters.fhe.parameters import get_parameters


def rotated(document: dict[str, Any]) -> list[str]:
    """A line about the noise that plans over a rotated table reckon with; none for others."""
    rekeys = (document["statistics"] or {}).get("rekeys", 0)
    if not rekeys:
        return []
    rules = Rules(get_parameters(document["parameters"]["name"]))
    stored, fresh = rules.stored(1, rekeys, 1, 0, 1).noise, rules.fresh(1, 0, 1).noise
    return [
        f"rotated      ciphertexts changed keys {rekeys}x: noise bound 2^{stored:.1f} instead of "
        f"2^{fresh:.1f}, twice the bytes; compact --fresh undoes both"
    ]
