"""Expressions of generated columns as bytes of the sealed part of a schema."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NoReturn

from amaters.base.errors import fail
from amaters.columns.scalars import Arithmetic, ColumnRef, Literal, Scalar
from amaters.wire import schema_pb2 as pb

OPERATORS = ("+", "-", "*")
DEPTH_MAX = 64
_DIGITS_MAX = 400


def encode_expression(scalar: Scalar) -> pb.Expression:
    """The message for the expression of a declared column."""
    match scalar:
        case ColumnRef(column_id=column_id):
            return pb.Expression(column_id=column_id)
        case Arithmetic(op=op, left=left, right=right) if op in OPERATORS:
            return pb.Expression(
                op=op, children=[encode_expression(left), encode_expression(right)]
            )
        case Literal(value=int() | Decimal() as value):
            return pb.Expression(number=str(value))
    fail("AM-1000", what="a generated column with an expression that was not checked")


def decode_expression(message: pb.Expression, depth: int = 0) -> Scalar:
    """The expression in an authentic schema. Raises: AM-2052 when it is none."""
    if depth > DEPTH_MAX:
        _damaged()
    if message.op in OPERATORS and len(message.children) == 2:
        left, right = (decode_expression(child, depth + 1) for child in message.children)
        return Arithmetic(message.op, left, right)
    if message.op or message.children or bool(message.column_id) == bool(message.number):
        _damaged()
    if message.column_id:
        return ColumnRef(message.column_id)
    if len(message.number) > _DIGITS_MAX:
        _damaged()
    try:
        number = Decimal(message.number)
        return Literal(int(message.number) if "." not in message.number else number)
    except (InvalidOperation, ValueError):
        _damaged()


def _damaged() -> NoReturn:
    fail("AM-2052", what="an expression of a generated column cannot be read")
