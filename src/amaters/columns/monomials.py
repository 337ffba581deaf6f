"""Scalars over numbers of one row as polynomials in its columns, exact in decimal fractions.

``(1 - disc) * price`` with a scale of 2 in both is 100 price - disc price in units of 10^-4. An
aggregate is then a sum over rows of each product of columns; only + - and * have such a form.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns.convert import ColumnValues
from amaters.columns.scalars import Arithmetic, ColumnRef, Literal, Scalar

Monomial = tuple[int, ...]  # column ids in order, repeated for powers; () is the constant 1
MONOMIALS_MAX = 64
_INT64_LIMIT = 1 << 62
_EXACT = decimal.Context(prec=400)
DEGREE_MAX = 8


@dataclass(frozen=True, slots=True)
class Polynomial:
    """The sum of ``coefficients[m]`` times the product of m's columns, times 10^-scale.

    Columns count in units of their own scale (storage values). ``columns``: all that the scalar
    read, also where they cancelled out: it is NULL where one of them is. ``is_null``: always.
    """

    coefficients: Mapping[Monomial, int]
    scale: int = 0
    columns: frozenset[int] = frozenset()
    is_null: bool = False

    def scaled(self, scale: int) -> Polynomial:
        """The same value with a finer unit."""
        factor = 10 ** (scale - self.scale)
        made = {key: factor * value for key, value in self.coefficients.items()}
        return Polynomial(made, scale, self.columns, self.is_null)


def expand(scalar: Scalar, scale_of: Callable[[int], int]) -> Polynomial:
    """``scalar`` as a polynomial; ``scale_of`` gives a column's decimal places by its id.

    Raises: AM-2121 for a division or what is no arithmetic of numbers, AM-2122 when it is too long.
    """
    match scalar:
        case Literal(value=value):
            return _constant(value)
        case ColumnRef(column_id=column_id):
            one: dict[Monomial, int] = {(column_id,): 1}
            return Polynomial(one, scale_of(column_id), frozenset({column_id}))
        case Arithmetic(op=op, left=left, right=right) if op in ("+", "-", "*"):
            a, b = expand(left, scale_of), expand(right, scale_of)
            return _product(a, b) if op == "*" else _sum(a, b, 1 if op == "+" else -1)
    fail("AM-2121")


def values_of(polynomial: Polynomial, columns: Mapping[int, ColumnValues], rows: int) -> Any:
    """The polynomial of every row in units of 10^-scale, exact; rows with a NULL mean nothing.

    Shape: (rows,) int64 where products cannot exceed it, else Python integers.
    """
    bounds = {c: _magnitude(columns[c].values) for c in polynomial.columns}
    most = sum(
        abs(factor) * math.prod(bounds[c] for c in key)
        for key, factor in polynomial.coefficients.items()
    )
    kind = np.dtype(np.int64) if most < _INT64_LIMIT else np.dtype(object)
    total = np.zeros(rows, dtype=kind)
    for key, factor in polynomial.coefficients.items():
        product = np.full(rows, factor, dtype=kind)
        for column in key:
            product = product * columns[column].values.astype(kind)
        total = total + product
    return total


def _magnitude(values: NDArray[Any]) -> int:
    return max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0


def _constant(value: object) -> Polynomial:
    if value is None:
        return Polynomial({}, is_null=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return Polynomial({(): value})
    if not isinstance(value, Decimal):
        fail("AM-2121")
    scale = max(-int(value.as_tuple().exponent), 0)
    return Polynomial({(): int(value.scaleb(scale, _EXACT))}, scale)


def _sum(a: Polynomial, b: Polynomial, sign: int) -> Polynomial:
    scale = max(a.scale, b.scale)
    total: Counter[Monomial] = Counter(a.scaled(scale).coefficients)
    for key, value in b.scaled(scale).coefficients.items():
        total[key] += sign * value
    return _made(total, scale, a, b)


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    total: Counter[Monomial] = Counter()
    for left, x in a.coefficients.items():
        for right, y in b.coefficients.items():
            total[tuple(sorted((*left, *right)))] += x * y
    return _made(total, a.scale + b.scale, a, b)


def _made(total: Counter[Monomial], scale: int, a: Polynomial, b: Polynomial) -> Polynomial:
    # Zeros stay: which products a plan totals must not depend on the values of constants.
    kept = dict(sorted(total.items()))
    if len(kept) > MONOMIALS_MAX or any(len(key) > DEGREE_MAX for key in kept):
        fail("AM-2122", what=f"more than {MONOMIALS_MAX} products or {DEGREE_MAX} factors")
    return Polynomial(kept, scale, a.columns | b.columns, a.is_null or b.is_null)
