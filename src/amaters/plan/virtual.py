"""Virtual columns: encrypted vectors that come with a statement instead of from storage.

A client that knows something about every row of a segment, such as whether its partner in a join
satisfies a condition, uploads it as ciphertexts aligned with the segment's slots. In a circuit they
are inputs like stored slices, in a fresh encryption, so noise proof, levels, masks and totals work
as they are. What a plan says of them is their number and the bounds of their slot values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast

from amaters.base.errors import fail
from amaters.columns.encodings import Bounds, EncodingShape, Kind
from amaters.columns.schema import Column, PublicColumn, PublicTable
from amaters.columns.types import BOOLEAN, integer
from amaters.wire import plan_pb2 as pb

FIRST_ID = 1 << 24  # above every column's id
COLUMNS_MAX = 64
SLICES_MAX = 512  # of all virtual columns together
_SLOT_VALUE_MAX = 1 << 15
_KINDS = ("limbs", "onehot", "notnull")


@dataclass(frozen=True, slots=True)
class VirtualColumn:
    """One virtual column as the server sees it."""

    column_id: int
    nullable: bool
    encodings: tuple[EncodingShape, ...]

    def public(self) -> PublicColumn:
        """The column a circuit is made for."""
        numeric = any(shape.kind == "limbs" for shape in self.encodings)
        return PublicColumn(
            id=self.column_id,
            name=f"vector {self.column_id - FIRST_ID + 1}",
            type=integer(64) if numeric else BOOLEAN,
            nullable=self.nullable,
            encrypted=True,
            encodings=self.encodings,
        )


@dataclass(frozen=True, slots=True)
class VectorInput:
    """One ciphertext per segment that a circuit reads of a virtual column."""

    column_id: int
    kind: str
    index: int
    level: int


def is_virtual(column_id: int) -> bool:
    """Whether this is the id of a virtual column."""
    return column_id >= FIRST_ID


def virtual_columns(columns: Sequence[Column]) -> tuple[VirtualColumn, ...]:
    """What a plan says of the virtual ones among a client's columns."""
    return tuple(
        VirtualColumn(column.id, column.nullable, column.encodings)
        for column in columns
        if is_virtual(column.id)
    )


def extended(table: PublicTable, virtual: Sequence[VirtualColumn]) -> PublicTable:
    """``table`` with exactly these virtual columns behind its own."""
    own = tuple(column for column in table.columns if not is_virtual(column.id))
    if len(own) == len(table.columns) and not virtual:
        return table
    return replace(table, columns=own + tuple(column.public() for column in virtual))


def layout(inputs: dict[tuple[int, str], tuple[int, tuple[int, ...]]]) -> tuple[VectorInput, ...]:
    """The vectors among a circuit's inputs, in the order they are sent for each segment."""
    return tuple(
        VectorInput(column_id, kind, index, level)
        for (column_id, kind), (level, slices) in sorted(inputs.items())
        if is_virtual(column_id)
        for index in slices
    )


def encode_virtual(column: VirtualColumn) -> Any:
    """The message of one column."""
    shapes = [
        pb.PlanEncoding(
            kind=shape.kind,
            lows=[low for low, _ in shape.bounds] if shape.kind == "limbs" else (),
            highs=[high for _, high in shape.bounds] if shape.kind == "limbs" else (),
            slices=shape.slices,
        )
        for shape in column.encodings
    ]
    number = column.column_id - FIRST_ID
    return pb.PlanVirtual(number=number, nullable=column.nullable, encodings=shapes)


def decode_virtual(messages: Sequence[Any]) -> tuple[VirtualColumn, ...]:
    """The columns in these messages. Raises: AM-2101 for anything malformed or too large."""
    found = tuple(_decoded(message) for message in messages)
    slices = sum(shape.slices for column in found for shape in column.encodings)
    if len(found) > COLUMNS_MAX or slices > SLICES_MAX:
        _malformed()
    if len({column.column_id for column in found}) != len(found):
        _malformed()
    return found


def _decoded(message: Any) -> VirtualColumn:
    shapes = tuple(_shape(shape) for shape in message.encodings)
    kinds = [shape.kind for shape in shapes]
    if not shapes or len(set(kinds)) != len(kinds) or message.number >= COLUMNS_MAX:
        _malformed()
    return VirtualColumn(FIRST_ID + message.number, message.nullable, shapes)


def _shape(message: Any) -> EncodingShape:
    kind, slices = message.kind, message.slices
    if kind not in _KINDS or not 1 <= slices <= (1 if kind == "notnull" else SLICES_MAX):
        _malformed()
    bounds: Bounds = ((0, 1),) * slices
    if kind == "limbs":
        if len(message.lows) != slices or len(message.highs) != slices:
            _malformed()
        bounds = tuple(zip(message.lows, message.highs, strict=True))
        if any(not -_SLOT_VALUE_MAX <= low <= 0 <= high <= _SLOT_VALUE_MAX for low, high in bounds):
            _malformed()
    digits = slices if kind == "limbs" else 0
    return EncodingShape(cast("Kind", kind), slices, 0, digits, bounds)


def _malformed() -> NoReturn:
    fail("AM-2101", what="its vectors")
