"""Fake rows among the real ones of a segment, by which a client notices a server that answers
wrongly.

Canaries are ordinary rows to the server: live, sealed and encrypted like all others, with the
public columns of a real row. Only clients know where they are and what they hold. Before anything
follows an encrypted predicate (a fetch, a change), the client compares their mask bits with what
it computes itself; from every answer it takes them out. They detect, they do not prove: an answer
that is wrong on a fraction f of them passes with probability (1 - f)^64, so half of their values
are spread over the whole domain and half imitate real rows.

Rows that move into a new segment were seen before, so there a server can tell the fresh canaries
from them. Such a segment has *witnesses* as well: real rows, drawn at random, whose mask bits are
checked like those of canaries and which nobody but the client can name.

Limit: a primary key without gaps, given by the user, leaves only keys outside its range for
canaries, which a server can guess. The hidden ``rowid`` has no such trace.
Source: FHE section 8.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.rng import Rng
from amaters.columns import rowcodec
from amaters.columns.batch import ColumnBatch, concatenate, from_storage_list
from amaters.columns.convert import ColumnValues
from amaters.columns.draw import below, distinct_below, permutation
from amaters.columns.fakekeys import fake_keys
from amaters.columns.rowcodec import padme
from amaters.columns.schema import Column, Table
from amaters.columns.sealing import Keys, open_one, seal_one

CANARIES = 64
PART_CANARIES = 32  # of a partial segment: with the others of its segment there will be more
FORMAT, FORMAT_OF_PART, FORMAT_WITH_WITNESSES = 1, 2, 3
_LABEL = b"amaters.canaries.v1"
_HEAD = struct.Struct("<BI")
_WINDOW = struct.Struct("<II")
_COUNT = struct.Struct("<I")
_NULLS_ONE_IN = 8


@dataclass(frozen=True, slots=True)
class CanaryBlock:
    """Where the canaries of a segment are and what they hold: all columns, in order of position.

    ``window``: first slot and number of slots that they stand for, where that is not the whole
    segment. Positions are slots of the segment in either case. ``witnesses``: where some real rows
    are, and what they hold.
    """

    positions: NDArray[np.int64]
    rows: ColumnBatch
    window: tuple[int, int] | None = None
    witnesses: tuple[NDArray[np.int64], ColumnBatch] | None = None


@dataclass(frozen=True, slots=True)
class Planted:
    """A segment's rows by slot, canaries included, and the canaries."""

    rows: ColumnBatch
    canaries: CanaryBlock


def plant(
    table: Table,
    batch: ColumnBatch,
    *,
    rng: Rng,
    first_key: int | None = None,
    taken: Collection[object] = (),
    used: Mapping[int, Collection[object]] | None = None,
    kept: Mapping[int, Sequence[Any]] | None = None,
    count: int = CANARIES,
) -> Planted:
    """``batch``, in its order, with canaries at secret positions.

    Without a primary key column in ``batch`` (hidden ``rowid``) slot i gets the key ``first_key``
    + i; otherwise
    canaries get keys that are neither in ``batch`` nor in ``taken`` (keys the server refused
    before). If ``batch``
    is in ascending order of its keys, it stays so where the gaps between them allow it. Fewer than
    ``count`` canaries result only when the key's type has no more free values, none for no rows.
    The columns that ``distinguishing`` names get values like keys do: ``used`` has those that were
    refused, by column. ``kept``: keys and such values, by column, that canaries of an earlier
    attempt had and that were not refused: they are taken again.
    """
    key = table.primary_key
    wanted = count if batch.length else 0
    kept = kept or {}
    apart = _apart(table, batch, wanted, (used or {}, kept), rng=rng)
    wanted = min((len(values) for values in apart.values()), default=wanted)
    given = batch.columns.get(key.id)
    fakes: list[Any] = []
    positions: NDArray[np.int64] | None = None
    if given is not None:
        known = given.values.tolist()
        fakes = sorted(_more(key, known, wanted, (taken, kept.get(key.id, ())), rng))
        wanted = len(fakes)
        positions = _merged_positions(given.values.tolist(), fakes)
    if positions is None:
        positions = distinct_below(rng, batch.length + wanted, wanted)
    rows = _values(table, batch, wanted, rng)
    for column_id, values in apart.items():
        rows = _set_apart(table.column(column_id), rows, values, rng)
    if given is not None:
        rows = rows.with_column(key, from_storage_list(key.type, fakes))
    whole = concatenate([batch, rows]).take(_slot_order(batch.length, positions))
    if given is None:
        if first_key is None:
            fail("AM-1000", what="rows without keys and no first key for them")
        numbers = np.arange(first_key, first_key + whole.length, dtype=np.int64)
        valid = np.ones(whole.length, dtype=np.bool_)
        whole = whole.with_column(key, ColumnValues(numbers, valid))
    return Planted(whole, CanaryBlock(positions, whole.take(positions)))


def distinguishing(table: Table) -> tuple[Column, ...]:
    """For each unique index the column in which canaries differ from all rows: the one with most
    values. The primary key does that already.
    """
    found: dict[int, Column] = {}
    for index in table.indexes:
        columns = [table.column(column_id) for column_id in index.columns]
        if index.unique and not any(column.primary_key for column in columns):
            widest = max(columns, key=_room)
            found[widest.id] = widest
    return tuple(found.values())


def _room(column: Column) -> int:
    if column.type.is_text:
        return 1 << 65
    return column.type.maximum - column.type.minimum


def _apart(
    table: Table,
    batch: ColumnBatch,
    count: int,
    known: tuple[Mapping[int, Collection[object]], Mapping[int, Sequence[Any]]],
    *,
    rng: Rng,
) -> dict[int, list[Any]]:
    """Values for columns that must not repeat one; none where all rows are NULL."""
    used, kept = known
    found = {}
    for column in distinguishing(table):
        data = batch.columns[column.id]
        real = data.values[data.valid].tolist()
        if real:
            drawn = used.get(column.id, ()), kept.get(column.id, ())
            found[column.id] = _more(column, real, count, drawn, rng)
            if column.nullable:  # a segment without canaries would be worse than some NULLs
                found[column.id] += [None] * (count - len(found[column.id]))
    return found


def _more(
    column: Column,
    real: list[Any],
    count: int,
    drawn: tuple[Collection[object], Sequence[Any]],
    rng: Rng,
) -> list[Any]:
    """``count`` values that no row has: those to be kept, and fresh ones."""
    taken, kept = drawn
    kept = kept[:count]
    missing = count - len(kept)
    return [*kept, *fake_keys(column.type, real, missing, taken={*taken, *kept}, rng=rng)]


def _set_apart(column: Column, rows: ColumnBatch, values: list[Any], rng: Rng) -> ColumnBatch:
    """Canaries with values of their own; those that imitate a row with NULL stay so."""
    order = permutation(rng, len(values))
    valid = rows.columns[column.id].valid.tolist()
    mixed = [values[at] if ok else None for at, ok in zip(order, valid, strict=False)]
    return rows.with_column(column, from_storage_list(column.type, mixed))


def replant(
    table: Table,
    batch: ColumnBatch,
    carried: ColumnBatch,
    *,
    rng: Rng,
    taken: Collection[object] = (),
    used: Mapping[int, Collection[object]] | None = None,
    kept: Mapping[int, Sequence[Any]] | None = None,
    count: int = CANARIES,
) -> Planted:
    """Rows of older segments with the canaries that come along, and fresh ones if those are fewer
    than ``count``: all in order of their keys, so that no place tells a canary. With witnesses.
    ``taken``, ``used`` and ``kept`` are about the fresh ones, as in ``plant``.
    """
    key = table.primary_key.id
    mixed = concatenate([batch, carried])
    keys = mixed.columns[key].values.tolist()
    order = np.array(sorted(range(mixed.length), key=keys.__getitem__), dtype=np.int64)
    missing = max(count - carried.length, 0)
    planted = plant(
        table, mixed.take(order), rng=rng, taken=taken, used=used, kept=kept, count=missing
    )
    is_fake = np.zeros(planted.rows.length, dtype=np.bool_)
    is_fake[planted.canaries.positions] = True
    old = np.flatnonzero(~is_fake)
    is_fake[old[order >= batch.length]] = True
    positions = np.flatnonzero(is_fake).astype(np.int64)
    block = CanaryBlock(positions, planted.rows.take(positions))
    return with_witnesses(Planted(planted.rows, block), rng=rng)


def with_witnesses(planted: Planted, *, rng: Rng, count: int = CANARIES) -> Planted:
    """The same rows, some real ones of which are witnesses."""
    is_real = np.ones(planted.rows.length, dtype=np.bool_)
    is_real[planted.canaries.positions] = False
    real = np.flatnonzero(is_real).astype(np.int64)
    chosen = real[distinct_below(rng, len(real), min(count, len(real)))]
    witnesses = chosen, planted.rows.take(chosen)
    return replace(planted, canaries=replace(planted.canaries, witnesses=witnesses))


def in_window(block: CanaryBlock, first_slot: int, rows: int) -> CanaryBlock:
    """The canaries of rows that will lie from ``first_slot`` on, where others share the segment."""
    return CanaryBlock(block.positions + first_slot, block.rows, (first_slot, rows))


def joined_canaries(blocks: Sequence[CanaryBlock]) -> CanaryBlock:
    """The canaries of all parts of a segment. Parts hold new rows and need no witnesses."""
    positions = np.concatenate([block.positions for block in blocks])
    order = np.argsort(positions, kind="stable")
    rows = concatenate([block.rows for block in blocks]).take(order)
    return CanaryBlock(positions[order], rows)


def seal_canaries(
    keys: Keys, table: Table, segment_id: bytes, block: CanaryBlock, *, rng: Rng
) -> bytes:
    """The sealed block, bound to table and segment, padded like a row."""
    form = FORMAT if block.window is None else FORMAT_OF_PART
    form = form if block.witnesses is None else FORMAT_WITH_WITNESSES
    head = [_HEAD.pack(form, len(block.positions))]
    if form != FORMAT:
        head.append(_WINDOW.pack(*(block.window or (0, 0))))
    parts = [*head, *_encoded(table, block.positions, block.rows)]
    if block.witnesses is not None:
        positions, rows = block.witnesses
        parts += [_COUNT.pack(len(positions)), *_encoded(table, positions, rows)]
    plain = b"".join(parts)
    padded = plain.ljust(padme(len(plain)), b"\0")
    return seal_one(keys, _LABEL, padded, table.id + segment_id, rng=rng)


def _encoded(table: Table, positions: NDArray[np.int64], rows: ColumnBatch) -> list[bytes]:
    """Positions, lengths and rows."""
    encoded = [bytes(row) for row in rowcodec.encode_rows(table.columns, rows)]
    lengths = np.array([len(row) for row in encoded], dtype="<u4").tobytes()
    return [positions.astype("<u4").tobytes(), lengths, *encoded]


def open_canaries(keys: Keys, table: Table, segment_id: bytes, sealed: bytes) -> CanaryBlock:
    """The canaries of a segment.

    Raises: AM-2054 when the block is damaged or belongs to another segment, table or keyset.
    """
    plain = open_one(keys, _LABEL, sealed, table.id + segment_id)
    if plain is None:
        fail("AM-2054", what="the authentication tag is wrong")
    block = decode_block(table, plain)
    if block is None:
        fail("AM-2054", what="the content has an unknown layout")
    return block


def decode_block(table: Table, plain: bytes) -> CanaryBlock | None:
    """The block in a sealed block's plaintext, or None when it is not one."""
    if len(plain) < _HEAD.size:
        return None
    form, count = _HEAD.unpack_from(plain)
    window, at = None, _HEAD.size
    if form in (FORMAT_OF_PART, FORMAT_WITH_WITNESSES) and len(plain) >= at + _WINDOW.size:
        first, slots = _WINDOW.unpack_from(plain, at)
        window, at = (first, slots), at + _WINDOW.size
    is_known = form == FORMAT or window is not None
    fakes = _decoded(table, plain, at, count) if is_known else None
    if fakes is None:
        return None
    positions, rows, at = fakes
    if form != FORMAT_WITH_WITNESSES:
        return CanaryBlock(positions, rows, window)
    found = None
    if len(plain) >= at + _COUNT.size:
        found = _decoded(table, plain, at + _COUNT.size, *_COUNT.unpack_from(plain, at))
    window = window if window != (0, 0) else None
    return CanaryBlock(positions, rows, window, found[:2]) if found is not None else None


def _decoded(
    table: Table, plain: bytes, at: int, count: int
) -> tuple[NDArray[np.int64], ColumnBatch, int] | None:
    """Positions, rows and where they end, or None when they are no such thing."""
    start = at + 8 * count
    if len(plain) < start:
        return None
    numbers = np.frombuffer(plain, dtype="<u4", count=2 * count, offset=at)
    positions = numbers[:count].astype(np.int64)
    ends = [start, *(start + np.cumsum(numbers[count:], dtype=np.int64)).tolist()]
    if ends[-1] > len(plain) or bool((np.diff(positions) <= 0).any()):
        return None
    rows = [plain[a:b] for a, b in itertools.pairwise(ends)]
    batch = rowcodec.decode_rows(table.columns, rows)
    return None if batch is None else (positions, batch, ends[-1])


def _merged_positions(keys: list[Any], fakes: list[Any]) -> NDArray[np.int64] | None:
    """Sorted positions at which the (sorted) fakes keep ascending keys ascending, or None if they
    cannot.

    None also when the fakes would all come before or after the real keys: uniform positions hide
    more.
    """
    if not fakes or any(a >= b for a, b in itertools.pairwise(keys)):
        return None
    if fakes[0] < keys[0] or fakes[-1] > keys[-1]:
        return None
    if isinstance(keys[0], str):
        order = sorted(range(len(keys) + len(fakes)), key=(keys + fakes).__getitem__)
        slots = [slot for slot, index in enumerate(order) if index >= len(keys)]
        return np.array(slots, dtype=np.int64)
    dtype = np.uint64 if keys[0] >= 0 else np.int64
    before = np.searchsorted(np.array(keys, dtype=dtype), np.array(fakes, dtype=dtype))
    return before.astype(np.int64) + np.arange(len(fakes), dtype=np.int64)


def _slot_order(rows: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each slot the row that goes there, canaries being numbered after the ``rows`` real
    ones.
    """
    is_canary = np.zeros(rows + len(positions), dtype=np.bool_)
    is_canary[positions] = True
    order = np.empty(len(is_canary), dtype=np.int64)
    order[is_canary] = rows + np.arange(len(positions))
    order[~is_canary] = np.arange(rows)
    return order


def _values(table: Table, batch: ColumnBatch, count: int, rng: Rng) -> ColumnBatch:
    """Canary rows without keys: public columns and texts of a real row, encrypted ones drawn."""
    donors = np.array([below(rng, batch.length) for _ in range(count)], dtype=np.int64)
    rows = batch.take(donors)
    for column in table.encrypted_columns:
        drawn = _encrypted_values(column, rows.columns[column.id], batch, rng)
        rows = rows.with_column(column, drawn)
    return rows


def _encrypted_values(
    column: Column, copied: ColumnValues, batch: ColumnBatch, rng: Rng
) -> ColumnValues:
    """Half spread evenly over the domain, half from random real rows, some NULL if the column
    allows it.
    """
    count = len(copied.values)
    if not count or (column.type.is_text and not column.categories):
        return copied
    spread = _spread(column, (count + 1) // 2, rng)
    imitated = [below(rng, batch.length) for _ in range(count - len(spread))]
    source = batch.columns[column.id]
    real = [
        value if ok else None
        for value, ok in zip(
            source.values[imitated].tolist(), source.valid[imitated].tolist(), strict=True
        )
    ]
    values = [*spread, *real]
    if column.nullable:
        values = [None if below(rng, _NULLS_ONE_IN) == 0 else value for value in values]
    return from_storage_list(column.type, [values[i] for i in permutation(rng, count)])


def _spread(column: Column, count: int, rng: Rng) -> list[Any]:
    """One random value of each of ``count`` equal parts of the domain."""
    if column.categories:
        shuffled = permutation(rng, len(column.categories))
        return [column.categories[shuffled[i % len(shuffled)]] for i in range(count)]
    low, high = column.bounds
    span = high - low + 1
    edges = [low + span * part // count for part in range(count + 1)]
    return [start + below(rng, max(end - start, 1)) for start, end in itertools.pairwise(edges)]
