"""Public predicates as protobuf messages: values included, because the server evaluates them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from amaters.base.errors import fail
from amaters.columns import moments
from amaters.plan.expressions import (
    COMPARISONS,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Scalar,
    Truth,
    Value,
)
from amaters.wire import plan_pb2 as pb

DEPTH_MAX = 24
CHILDREN_MAX = 512
LITERALS_MAX = 4096
SCALARS_MAX = 128  # parts of one comparison's expressions
_SCALAR_OPERATORS = ("+", "-", "*")
TEXT_MAX = 1 << 16
_NUMBER_MAX = 200
_EPOCH = date(1970, 1, 1)
_DAY_MIN, _DAY_MAX = (date.min - _EPOCH).days, (date.max - _EPOCH).days


def encode_predicate(predicate: Predicate) -> Any:  # noqa: PLR0911 - one per kind
    """The message for ``predicate``; literals lose their flag: everything here is public."""
    match predicate:
        case Compare():
            return _leaf("compare", predicate.column_id, (predicate.literal,), op=predicate.op)
        case Between():
            pair = (predicate.low, predicate.high)
            return _leaf("between", predicate.column_id, pair, negated=predicate.negated)
        case In():
            return _leaf("in", predicate.column_id, predicate.literals, negated=predicate.negated)
        case IsNull():
            return _leaf("null", predicate.column_id, (), negated=predicate.negated)
        case Like(column_id=column, pattern=pattern, escape=escape, negated=negated):
            return _leaf("like", column, (pattern,), negated=negated, escape=escape)
        case And():
            return _branch("and", predicate.children)
        case Or():
            return _branch("or", predicate.children)
        case Not():
            return _branch("not", (predicate.child,))
        case Truth():
            return _leaf("truth", 0, (Literal(predicate.value),))
        case Relation(op=op, left=left, right=right):
            scalars = [_encode_scalar(left), _encode_scalar(right)]
            return pb.PlanPredicate(kind="relation", op=op, scalars=scalars)
    raise TypeError(f"not a predicate: {type(predicate).__name__}")


def decode_predicate(  # noqa: PLR0911 - one per kind
    message: Any, depth: int = 0
) -> Predicate:
    """The predicate in ``message``. Raises: AM-2101 for anything malformed or too large."""
    if depth > DEPTH_MAX or len(message.children) > CHILDREN_MAX:
        _malformed("its public predicate is too large")
    if len(message.literals) > LITERALS_MAX:
        _malformed("its public predicate is too large")
    kind = message.kind
    if kind == "relation":
        return _decode_relation(message)
    if kind in ("and", "or", "not"):
        return _decode_branch(message, depth)
    literals = tuple(_decode_literal(literal) for literal in message.literals)
    wanted = {"compare": 1, "between": 2, "null": 0, "truth": 1, "like": 1}.get(kind, len(literals))
    if message.children or len(literals) != wanted:
        _malformed("a public predicate with wrong operands")
    column, negated = message.column_id, message.negated
    match kind:
        case "compare" if message.op in COMPARISONS:
            return Compare(message.op, column, literals[0])
        case "between":
            return Between(column, literals[0], literals[1], negated)
        case "in":
            return In(column, literals, negated)
        case "null":
            return IsNull(column, negated)
        case "like" if isinstance(literals[0].value, str) and len(message.escape) <= 1:
            return Like(column, literals[0], message.escape, negated)
        case "truth" if literals[0].value is None or isinstance(literals[0].value, bool):
            return Truth(literals[0].value)
    _malformed("an unknown public predicate")


def _malformed(what: str) -> NoReturn:
    fail("AM-2101", what=what)


def _leaf(
    kind: str,
    column_id: int,
    literals: tuple[Literal, ...],
    *,
    op: str = "",
    negated: bool = False,
    escape: str = "",
) -> Any:
    made = [_encode_literal(literal.value) for literal in literals]
    return pb.PlanPredicate(
        kind=kind, column_id=column_id, literals=made, op=op, negated=negated, escape=escape
    )


def _branch(kind: str, children: tuple[Predicate, ...]) -> Any:
    return pb.PlanPredicate(kind=kind, children=[encode_predicate(child) for child in children])


def _decode_branch(message: Any, depth: int) -> Predicate:
    children = tuple(decode_predicate(child, depth + 1) for child in message.children)
    if message.literals or not children or (message.kind == "not" and len(children) != 1):
        _malformed("a public predicate with wrong operands")
    if message.kind == "not":
        return Not(children[0])
    return And(children) if message.kind == "and" else Or(children)


def _encode_scalar(scalar: Scalar) -> Any:
    match scalar:
        case Literal(value=value):
            return pb.PlanScalar(literal=_encode_literal(value))
        case ColumnRef(column_id=column_id):
            return pb.PlanScalar(column_id=column_id)
        case Arithmetic(op=op, left=left, right=right) if op in _SCALAR_OPERATORS:
            return pb.PlanScalar(op=op, children=[_encode_scalar(left), _encode_scalar(right)])
    fail("AM-2121")


def _decode_relation(message: Any) -> Relation:
    if message.op not in COMPARISONS or len(message.scalars) != 2 or message.children:
        _malformed("a comparison of expressions with wrong operands")
    budget = [SCALARS_MAX]
    left, right = (_decode_scalar(item, budget, 0) for item in message.scalars)
    return Relation(message.op, left, right)


def _decode_scalar(message: Any, budget: list[int], depth: int) -> Scalar:
    budget[0] -= 1
    if budget[0] < 0 or depth > DEPTH_MAX:
        _malformed("an expression that is too large")
    if message.op:
        if message.op not in _SCALAR_OPERATORS or len(message.children) != 2:
            _malformed("an unknown operator in an expression")
        left, right = (_decode_scalar(child, budget, depth + 1) for child in message.children)
        return Arithmetic(message.op, left, right)
    if message.children or message.HasField("literal") == bool(message.column_id):
        _malformed("an expression with wrong operands")
    if message.column_id:
        return ColumnRef(message.column_id)
    return _decode_literal(message.literal)


def _encode_literal(value: Value) -> Any:  # noqa: PLR0911 - one per kind
    match value:
        case None:
            return pb.PlanLiteral(null=True)
        case bool():
            return pb.PlanLiteral(boolean=value)
        case int():
            return pb.PlanLiteral(integer=str(value))
        case Decimal():
            return pb.PlanLiteral(decimal=str(value))
        case datetime():
            return pb.PlanLiteral(moment=moments.microseconds(value))
        case bytes():
            return pb.PlanLiteral(blob=value)
        case date():
            return pb.PlanLiteral(day=(value - _EPOCH).days)
        case str():
            return pb.PlanLiteral(text=value)
    raise TypeError(f"not a literal: {type(value).__name__}")


def _decode_literal(message: Any) -> Literal:  # noqa: PLR0911 - one per kind
    kind = message.WhichOneof("value")
    match kind:
        case "null":
            return Literal(None)
        case "boolean":
            return Literal(message.boolean)
        case "text" if len(message.text) <= TEXT_MAX:
            return Literal(message.text)
        case "day" if _DAY_MIN <= message.day <= _DAY_MAX:
            return Literal(_EPOCH + timedelta(days=message.day))
        case "moment" if moments.FIRST <= message.moment <= moments.LAST:
            return Literal(moments.of_microseconds(message.moment))
        case "blob" if len(message.blob) <= TEXT_MAX:
            return Literal(bytes(message.blob))
        case "integer" | "decimal":
            return Literal(_number(kind, getattr(message, kind)))
    _malformed("a literal")


def _number(kind: str, text: str) -> int | Decimal:
    """A number of at most ``_NUMBER_MAX`` digits; anything else could cost time to even compare."""
    if len(text) > _NUMBER_MAX:
        _malformed("a literal")
    try:
        if kind == "integer":
            return int(text)
        value = Decimal(text)
    except (ValueError, InvalidOperation):
        _malformed("a literal")
    if not value.is_finite() or abs(value.adjusted()) > _NUMBER_MAX:
        _malformed("a literal")
    return value
