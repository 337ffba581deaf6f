"""Public conditions answered from an index: which slots may match, segment by segment.

What comes back still lacks liveness, and the rest of the condition where an index does not say all
of it; with these an answer is the scan's, canaries included. A segment that the index does not
cover at the pinned version is scanned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from amaters.engine.snapshots import Snapshot
from amaters.plan.expressions import Predicate
from amaters.plan.indexes import End, IndexUse, Span, choose
from amaters.storage.database import Storage
from amaters.storage.index_build import find_rows
from amaters.storage.index_runs import Bound, KeyRange, Slots


@dataclass(frozen=True, slots=True)
class Candidates:
    """Slots that may match, dead ones included, by segment; one that is missing is to be scanned.
    ``exact``: those that are alive do match.
    """

    slots: Mapping[int, Slots]
    exact: bool = False


def candidates(
    storage: Storage, snapshot: Snapshot, predicate: Predicate | None
) -> Candidates | None:
    """What an index says of ``predicate``; None: no index helps. Cost: microseconds per segment."""
    if predicate is None or not snapshot.version.indexes:
        return None
    uses = choose(predicate, snapshot.entry.table, snapshot.ready_indexes)
    if uses is None:
        return None
    found: dict[int, Slots] = {}
    for number, use in enumerate(uses):
        part = _find(storage, snapshot, use)
        if part is None:
            return None
        both = found.keys() & part.keys()
        found = {place: np.union1d(found[place], part[place]) for place in both} if number else part
    return Candidates(found, all(use.exact for use in uses))


def _find(storage: Storage, snapshot: Snapshot, use: IndexUse) -> dict[int, Slots] | None:
    ranges = [_range(span) for span in use.spans]
    return find_rows(storage, snapshot.version, use.index.number, ranges)


def _range(span: Span) -> KeyRange:
    return KeyRange(span.prefix, _bound(span.low), _bound(span.high))


def _bound(end: End | None) -> Bound | None:
    return None if end is None else Bound(*end)
