"""Decoys of FETCH PADDED: which rows are fetched along, so that the engine cannot tell which match.

They are drawn by a function keyed with the keyset's secret from segment and condition, not anew for
each run: repeated, a statement fetches the same rows, and comparing the runs tells nothing. Other
conditions have other decoys, so rows that several overlapping conditions have in common are more
likely real: whoever asks many such questions should use FETCH ALL.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from amaters.columns.schema import Table
from amaters.columns.sealing import Keys
from amaters.plan.expressions import Predicate
from amaters.plan.fetching import padded_count

Mask = NDArray[np.bool_]
_LABEL = b"amaters.decoys.v1"


def with_decoys(
    keys: Keys,
    table: Table,
    where: Predicate | None,
    masks: Mapping[bytes, Mask],
    candidates: Mapping[bytes, Mask],
) -> dict[bytes, Mask]:
    """The slots to fetch of each segment: those of ``masks`` and others of ``candidates``, the live
    rows that the engine cannot exclude by itself.
    """
    condition = hashlib.sha256(repr(where).encode()).digest()
    found = {}
    for segment_id, mask in masks.items():
        spare = np.flatnonzero(candidates[segment_id] & ~mask[: len(candidates[segment_id])])
        wanted = padded_count(int(mask.sum())) - int(mask.sum())
        label = _LABEL + table.id + segment_id + condition
        seed = hmac.new(keys.mac_key, label, hashlib.sha256).digest()
        ranks = np.frombuffer(hashlib.shake_256(seed).digest(8 * len(mask)), dtype="<u8")
        chosen = spare[np.argsort(ranks[spare], kind="stable")[:wanted]]
        fetched = mask.copy()
        fetched[chosen] = True
        found[segment_id] = fetched
    return found
