"""Public conditions answered from an index: which slots may match, segment by segment.

What comes back is a superset of what matches, liveness and the rest of the condition still to be
applied, so that an answer is the scan's, canaries included. A segment that the index does not cover
at the pinned version is scanned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from amaters.engine.snapshots import Snapshot
from amaters.plan.expressions import Predicate
from amaters.plan.indexes import End, IndexUse, Span, choose
from amaters.storage.database import Storage
from amaters.storage.index_build import find_rows
from amaters.storage.index_runs import Bound, KeyRange

Candidates = Mapping[int, NDArray[np.int64]]  # by segment; one that is missing is to be scanned


def candidates(
    storage: Storage, snapshot: Snapshot, predicate: Predicate | None
) -> Candidates | None:
    """Slots that ``predicate`` may select, of the segments that an index covers; None: no index
    helps. Cost: microseconds per segment.
    """
    if predicate is None or not snapshot.version.indexes:
        return None
    uses = choose(predicate, snapshot.entry.table, snapshot.ready_indexes)
    if uses is None:
        return None
    found: dict[int, NDArray[np.int64]] = {}
    for number, use in enumerate(uses):
        part = _find(storage, snapshot, use)
        if part is None:
            return None
        if not number:
            found = part
            continue
        found = {
            place: np.union1d(found[place], part[place]) for place in found.keys() & part.keys()
        }
    return found


def _find(
    storage: Storage, snapshot: Snapshot, use: IndexUse
) -> dict[int, NDArray[np.int64]] | None:
    ranges = [_range(span) for span in use.spans]
    return find_rows(storage, snapshot.version, use.index.number, ranges)


def _range(span: Span) -> KeyRange:
    return KeyRange(span.prefix, _bound(span.low), _bound(span.high))


def _bound(end: End | None) -> Bound | None:
    return None if end is None else Bound(*end)
