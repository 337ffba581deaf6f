"""How the aggregates of a statement follow from totals that add up: its terms and conditions.

An aggregate's argument is multiplied out into products of columns (``columns.monomials``); each is
a ``Term``, a sum over rows, and the client combines the exact integers. A CASE becomes terms under
conditions, one per branch; its ELSE is everything minus the branches, which costs no circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from amaters.base.errors import fail
from amaters.columns.monomials import Polynomial, expand
from amaters.columns.schema import Table
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Case,
    Coalesce,
    IsNull,
    Or,
    Predicate,
    Scalar,
    Select,
    has_null,
    scalar_columns,
)
from amaters.plan.spec import CONDITIONS_MAX, Term

ADDITIVE = ("count_star", "count", "sum", "avg")
ROWS = Term("count")
Weighted = tuple[int, Term]


@dataclass(frozen=True, slots=True)
class Made:
    """What an aggregate is made of: ``total`` (in units of 10^-scale) over ``count`` rows.

    Both are weighted sums of terms; ``count`` has the rows whose argument is not NULL.
    """

    count: tuple[Weighted, ...]
    total: tuple[Weighted, ...] = ()
    scale: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All terms of a statement, each once, and how its additive aggregates are made of them.

    ``conditions``: what terms name by number, from 1.
    """

    terms: tuple[Term, ...]
    conditions: tuple[Predicate, ...]
    made: Mapping[Aggregate, Made]


@dataclass(slots=True)
class _Writer:
    table: Table
    conditions: list[Predicate] = field(default_factory=list)

    def made(self, aggregate: Aggregate) -> Made:
        if aggregate.argument is None:
            return Made(((1, self._count(frozenset(), aggregate.where)),))
        counts: list[Weighted] = []
        parts: list[tuple[int, Predicate | None, Polynomial]] = []
        for sign, where, scalar in _branches(aggregate.argument, aggregate.where):
            if aggregate.function == "count":
                if not has_null(scalar):
                    counts.append((sign, self._count(scalar_columns(scalar), where)))
                continue
            polynomial = expand(scalar, lambda c: self.table.column(c).type.scale)
            if not polynomial.is_null:
                counts.append((sign, self._count(polynomial.columns, where)))
                parts.append((sign, where, polynomial))
        if aggregate.function == "count":
            return Made(_merged(counts))
        scale = max((part.scale for _, _, part in parts), default=0)
        totals = [
            (sign * factor, self._product(monomial, part.columns, where))
            for sign, where, part in parts
            for monomial, factor in part.scaled(scale).coefficients.items()
        ]
        return Made(_merged(counts), _merged(totals), scale)

    def _product(
        self, monomial: tuple[int, ...], columns: frozenset[int], where: Predicate | None
    ) -> Term:
        if not monomial:
            return self._count(columns, where)
        required = self._nullable(columns.difference(monomial))
        return Term("sum", monomial, required, self._condition(where))

    def _count(self, columns: frozenset[int], where: Predicate | None) -> Term:
        """Columns that are never NULL are left out, so that equal counts are one term."""
        return Term("count", self._nullable(columns), (), self._condition(where))

    def _nullable(self, columns: frozenset[int]) -> tuple[int, ...]:
        return tuple(sorted(c for c in columns if self.table.column(c).nullable))

    def _condition(self, where: Predicate | None) -> int:
        if where is None:
            return 0
        if where not in self.conditions:
            self.conditions.append(where)
        if len(self.conditions) > CONDITIONS_MAX:
            what = f"more than {CONDITIONS_MAX} different conditions inside aggregates"
            fail("AM-2108", what=what, fix="ask for some of the totals in another statement")
        return self.conditions.index(where) + 1


def recipe(select: Select) -> Recipe:
    """The recipe of a statement. Raises: AM-2108, AM-2121, AM-2122."""
    writer = _Writer(select.table)
    made: dict[Aggregate, Made] = {}
    for aggregate in select.aggregates:
        if aggregate.function in ADDITIVE:
            made[aggregate] = writer.made(aggregate)
    # Rows of a group tell whether it exists.
    terms = [ROWS] if select.fine_groups else []
    for entry in made.values():
        terms += [term for _, term in (*entry.total, *entry.count)]
    return Recipe(tuple(dict.fromkeys(terms)), tuple(writer.conditions), made)


def _merged(weighted: list[Weighted]) -> tuple[Weighted, ...]:
    """Each term once, those of weight zero too: the plan must not depend on the weights."""
    total: dict[Term, int] = {}
    for factor, term in weighted:
        total[term] = total.get(term, 0) + factor
    return tuple((factor, term) for term, factor in total.items())


def _branches(
    scalar: Scalar, where: Predicate | None
) -> Iterator[tuple[int, Predicate | None, Scalar]]:
    """(sign, condition, scalar without CASE) whose signed sum is ``scalar`` where ``where``."""
    scalar = _lifted(scalar)
    if not isinstance(scalar, Case):
        yield 1, where, scalar
        return
    # "p and no earlier one" is p minus p where an earlier one holds: an OR is TRUE where one of its
    # parts is, whatever the others are, so NULLs need no care.
    before: list[Predicate] = []
    for condition, value in scalar.branches:
        yield from _branches(value, _both(where, condition))
        if before:
            earlier = _both(where, And((condition, _any(before))))
            yield from ((-sign, other, rest) for sign, other, rest in _branches(value, earlier))
        before.append(condition)
    yield from _branches(scalar.otherwise, where)
    taken = _both(where, _any(before))
    yield from ((-sign, other, rest) for sign, other, rest in _branches(scalar.otherwise, taken))


def _lifted(scalar: Scalar) -> Scalar:
    """``scalar`` with its first CASE outermost: arithmetic goes into the branches."""
    if isinstance(scalar, Coalesce):
        return _chosen(scalar.values)
    if not isinstance(scalar, Arithmetic):
        return scalar
    left, right = _lifted(scalar.left), _lifted(scalar.right)
    if isinstance(left, Case):
        return _mapped(left, lambda value: Arithmetic(scalar.op, value, right))
    if isinstance(right, Case):
        return _mapped(right, lambda value: Arithmetic(scalar.op, left, value))
    return Arithmetic(scalar.op, left, right)


def _chosen(values: tuple[Scalar, ...]) -> Scalar:
    """COALESCE as a CASE on what is not NULL."""
    first = _lifted(values[0])
    if len(values) == 1:
        return first
    if isinstance(first, Case):
        return _mapped(first, lambda value: _chosen((value, *values[1:])))
    rest = _chosen(values[1:])
    if has_null(first):
        return rest
    columns = sorted(scalar_columns(first))
    if not columns:
        return first
    known = tuple(IsNull(column, negated=True) for column in columns)
    return Case(((And(known), first),), rest)


def _mapped(case: Case, change: Callable[[Scalar], Scalar]) -> Case:
    branches = tuple((condition, change(value)) for condition, value in case.branches)
    return Case(branches, change(case.otherwise))


def _both(where: Predicate | None, condition: Predicate) -> Predicate:
    return condition if where is None else And((where, condition))


def _any(conditions: list[Predicate]) -> Predicate:
    return conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
