"""Comparisons of expressions that a generated column has decided already.

``a < b`` is ``a - b < 0``, and a column generated as ``a - b``, or as ``b - a``, has that number.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from amaters.base.errors import InvalidError
from amaters.columns.generated import polynomial_of
from amaters.columns.monomials import Monomial, Polynomial, expand
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import (
    Arithmetic,
    Compare,
    Literal,
    Predicate,
    Relation,
    predicate_columns,
)

_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def on_generated(relation: Relation, table: Table) -> Predicate:
    """The comparison as one of a generated column with a constant, NULL wherever it was; itself
    when its columns are public, or when no column is generated that way.

    Done where names are bound, so that every side evaluates the same: a canary's generated column
    need not agree with its inputs.
    """
    if not any(table.column(c).encrypted for c in predicate_columns(relation)):
        return relation
    for column in table.columns:
        if column.generated is not None:
            found = _compared(relation, column, table)
            if found is not None:
                return found
    return relation


def _compared(relation: Relation, column: Column, table: Table) -> Compare | None:
    """``sign * column + rest op 0`` as ``column op constant``."""
    try:
        wanted = expand(
            Arithmetic("-", relation.left, relation.right), lambda c: table.column(c).type.scale
        )
    except InvalidError:
        return None
    given = polynomial_of(table, column)
    scale = max(wanted.scale, given.scale)
    wanted, given = wanted.scaled(scale), given.scaled(scale)
    if wanted.is_null or wanted.columns != given.columns:
        return None
    sign = next((s for s in (1, -1) if _varying(wanted, 1) == _varying(given, s)), None)
    if sign is None or not _varying(wanted, 1):
        return None
    rest = wanted.coefficients.get((), 0) - sign * given.coefficients.get((), 0)
    constant = Fraction(-sign * rest, 10**scale)
    op = relation.op if sign > 0 else _MIRRORED[relation.op]
    exact = Decimal(constant.numerator) / Decimal(constant.denominator)
    return Compare(op, column.id, Literal(int(exact) if exact == int(exact) else exact))


def _varying(polynomial: Polynomial, sign: int) -> dict[Monomial, int]:
    return {key: sign * value for key, value in polynomial.coefficients.items() if key}
