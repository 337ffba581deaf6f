"""From a join to a question about one table, the fact, with virtual columns.

The client knows every row of every dimension and the public columns of the fact, so it knows for
each slot of a segment which rows belong to it. What it can decide alone becomes a virtual column
(``plan.virtual``): 1 where the partners exist and a condition is TRUE, a dimension's number, or a
group. The engine computes on them as on stored columns and never sees which partner a row has.

A fact whose key is encrypted is asked for a list of keys instead: those of the rows of the
dimension that satisfy the condition, filled up to a length that depends on the dimension's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from amaters.base.errors import fail
from amaters.columns.schema import Column, Query
from amaters.columns.types import BOOLEAN, Storage
from amaters.plan.answers import shows_answer
from amaters.plan.dimensions import PARTS_OFFSET
from amaters.plan.expressions import (
    DIMENSION_STEP,
    ORDER_AGGREGATES,
    Aggregate,
    And,
    Arithmetic,
    Between,
    Case,
    Coalesce,
    ColumnRef,
    Compare,
    Dimension,
    In,
    IsNull,
    Join,
    Like,
    Literal,
    Not,
    Or,
    OrderItem,
    Predicate,
    Relation,
    Scalar,
    Select,
    Truth,
    Value,
    predicate_columns,
    scalar_columns,
)
from amaters.plan.spec import ENTRIES_MAX
from amaters.plan.virtual import FIRST_ID

GROUPS_MAX = 256
NONE: frozenset[Query] = frozenset()
SUM: frozenset[Query] = frozenset({"sum"})
GROUP: frozenset[Query] = frozenset({"group"})
OPEN = 0  # root of dimensions that are found by public columns of the fact


@dataclass(frozen=True, slots=True)
class Partners:
    """What a client knows when it has read the dimensions of a join.

    ``values``: the distinct values of a column of the joined table, without NULL. ``keys``: the
    values of a dimension's key where a condition is TRUE; ``rows``: how many rows it has.
    """

    values: Callable[[int], Sequence[Storage]]
    keys: Callable[[Dimension, Predicate], Sequence[Value]]
    rows: Callable[[Dimension], int]


@dataclass(frozen=True, slots=True)
class VirtualSource:
    """What a virtual column holds: 1 where ``truth`` is TRUE, or a copy of another column."""

    column: Column
    truth: Predicate | None = None
    copied: int | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """A question about the fact; ``select.table`` has the virtual columns of ``sources`` too."""

    select: Select
    sources: tuple[VirtualSource, ...]


def is_of_fact(column_id: int) -> bool:
    """Whether a column of the joined table is stored with the fact."""
    return column_id < DIMENSION_STEP


def roots(join: Join) -> Mapping[int, int]:
    """Offset of each dimension -> the encrypted column of the fact it hangs on, or ``OPEN``.

    Raises: AM-2144 where several columns lead to it, one of them encrypted.
    """
    found: dict[int, int] = {}
    for dimension in join.dimensions:
        ways = {_root_of(join, found, column_id) for column_id in dimension.left}
        if len(ways) > 1 or (ways != {OPEN} and len(dimension.left) > 1):
            fail("AM-2144", table=dimension.name, fact=join.name)
        found[dimension.offset] = ways.pop()
        if dimension.is_outer and found[dimension.offset] != OPEN:
            fail("AM-2144", table=dimension.name, fact=join.name)
    if any(found[offset_of(part.source)] != OPEN for part in join.parts):
        fail("AM-2146", columns="parts of dates", fact=join.name)
    if join.parts:
        found[PARTS_OFFSET] = OPEN
    return found


def _root_of(join: Join, known: Mapping[int, int], column_id: int) -> int:
    if is_of_fact(column_id):
        return column_id if join.fact.column(column_id).encrypted else OPEN
    return known[offset_of(column_id)]


def offset_of(column_id: int) -> int:
    """The offset of the dimension that a column of the joined table belongs to."""
    return column_id - column_id % DIMENSION_STEP


def lower(select: Select, partners: Partners) -> Lowered:
    """The question about the fact. Pure but for ``partners``.

    Raises: AM-2143 to AM-2146 for what cannot be joined.
    """
    assert select.join is not None
    return _Lowering(select, select.join, partners).lowered()


@dataclass(slots=True)
class _Lowering:
    select: Select
    join: Join
    partners: Partners
    roots: Mapping[int, int] = field(init=False)
    sources: list[VirtualSource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.roots = roots(self.join)

    def lowered(self) -> Lowered:
        select = self.select
        where = self._where(select.where)
        changed = replace(select, where=where)
        if select.is_aggregate:
            changed = replace(
                changed,
                items=tuple(
                    replace(item, expression=self._outer(item.expression)) for item in select.items
                ),
                group_by=tuple(self._group(column_id) for column_id in select.group_by),
                order_by=tuple(self._order(order) for order in select.order_by),
                having=None if select.having is None else self._renamed(select.having),
            )
        columns = (*select.table.columns, *(source.column for source in self.sources))
        table = replace(select.table, columns=columns)
        return Lowered(replace(changed, table=table), tuple(self.sources))

    # ---- conditions --------------------------------------------------------------------------

    def _where(self, where: Predicate | None) -> Predicate:
        """The condition, and that every partner exists."""
        parts = _flat(where, And) if where is not None else []
        known: dict[int, list[Predicate]] = {root: [] for root in self.roots.values()}
        return self._joined(And, parts, known, negated=False)

    def true_where(self, predicate: Predicate, *, negated: bool = False) -> Predicate:
        """A predicate over fact and virtual columns, TRUE exactly where ``predicate`` (or its
        negation) is.
        """
        root = self._known(predicate)
        if root is not None:
            return self._vector(Not(predicate) if negated else predicate, root)
        match predicate:
            case Not(child):
                return self.true_where(child, negated=not negated)
            case And(children) | Or(children):
                kind = And if isinstance(predicate, And) != negated else Or
                return self._joined(kind, children, {}, negated=negated)
        if any(not is_of_fact(column_id) for column_id in predicate_columns(predicate)):
            self._mixed(predicate_columns(predicate))
        return Not(predicate) if negated else predicate

    def _joined(
        self,
        kind: type[And] | type[Or],
        children: Sequence[Predicate],
        known: dict[int, list[Predicate]],
        *,
        negated: bool,
    ) -> Predicate:
        """Children that the client can decide become one vector together."""
        rest: list[Predicate] = []
        for child in children:
            root = self._known(child)
            if root is None:
                rest.append(self.true_where(child, negated=negated))
            else:
                known.setdefault(root, []).append(Not(child) if negated else child)
        vectors = []
        for root, parts in known.items():
            whole = parts[0] if len(parts) == 1 else kind(tuple(parts)) if parts else Truth(True)
            vectors.append(self._vector(whole, root))
        made = (*vectors, *rest)
        return made[0] if len(made) == 1 else kind(made)

    def _known(self, predicate: Predicate) -> int | None:
        """The root under which the client can decide a condition by itself; None if it cannot, or
        if no dimension is asked about.
        """
        columns = predicate_columns(predicate)
        own = {column_id for column_id in columns if is_of_fact(column_id)}
        found = {self.roots[offset_of(column_id)] for column_id in columns - own}
        if not columns and OPEN in self.roots.values():
            return OPEN  # a constant: a list that was empty is one
        if own and not found and shows_answer(predicate):
            found = {OPEN}  # not for the server to see
        if len(found) != 1:
            return None
        root = found.pop()
        secret = [c for c in own if root != OPEN or self.join.fact.column(c).encrypted]
        return None if secret else root

    def _vector(self, predicate: Predicate, root: int) -> Predicate:
        if root != OPEN:
            return self._listed(predicate, root)
        for source in self.sources:
            if source.truth == predicate:
                return IsNull(source.column.id, negated=True)
        names = [self.select.table.column(c).name for c in sorted(predicate_columns(predicate))]
        what = f"condition on {', '.join(names)}" if names else "a partner exists"
        name = f"vector {len(self.sources) + 1} ({what})"
        column = Column(self._next(), name, BOOLEAN, nullable=True, encrypted=True)
        self.sources.append(VirtualSource(column, truth=predicate))
        return IsNull(column.id, negated=True)

    def _listed(self, predicate: Predicate, root: int) -> Predicate:
        """The fact's key is one of those that satisfy the condition. Raises: AM-2144."""
        first = next(d for d in self.join.dimensions if d.left == (root,))
        keys = [Literal(value) for value in self.partners.keys(first, predicate)]
        column = self.join.fact.column(root)
        if column.encoding("onehot") is None:
            count = _power_of_two(self.partners.rows(first))
            if column.encoding("digits") is None or count > ENTRIES_MAX:
                fail("AM-2144", table=first.name, fact=self.join.name)
            keys += [Literal(None)] * (count - len(keys))
        return In(root, tuple(keys) or (Literal(None),), is_padded=True)

    def _next(self) -> int:
        return FIRST_ID + len(self.sources)

    def _mixed(self, columns: frozenset[int]) -> None:
        names = ", ".join(self.select.table.column(c).name for c in sorted(columns))
        fail("AM-2146", columns=names, fact=self.join.name)

    # ---- outputs -----------------------------------------------------------------------------

    def _outer(self, scalar: Scalar) -> Scalar:
        """A scalar over groups and aggregates."""
        match scalar:
            case ColumnRef(column_id=column_id):
                return ColumnRef(self._group(column_id))
            case Aggregate():
                return self._aggregate(scalar)
            case Arithmetic(op=op, left=left, right=right):
                return Arithmetic(op, self._outer(left), self._outer(right))
            case Coalesce(values=values):
                return Coalesce(tuple(self._outer(value) for value in values))
            case Case(branches=branches, otherwise=otherwise):
                made = tuple((self._renamed(p), self._outer(value)) for p, value in branches)
                return Case(made, self._outer(otherwise))
        return scalar

    def _aggregate(self, aggregate: Aggregate) -> Aggregate:
        if aggregate.function in ORDER_AGGREGATES:
            return self._ranked(aggregate)
        where = None if aggregate.where is None else self.true_where(aggregate.where)
        argument = aggregate.argument
        if aggregate.distinct and isinstance(argument, ColumnRef):
            found = ColumnRef(self._group(argument.column_id))
            return replace(aggregate, argument=found, where=where)
        if aggregate.function == "count" and isinstance(argument, ColumnRef):
            column_id = argument.column_id
            if is_of_fact(column_id):
                return replace(aggregate, where=where)
            if not self.select.table.column(column_id).nullable:
                return Aggregate("count_star", None, where)
            return replace(aggregate, argument=ColumnRef(self._copy(column_id, NONE)), where=where)
        made = None if argument is None else self._inner(argument)
        return replace(aggregate, argument=made, where=where)

    def _ranked(self, aggregate: Aggregate) -> Aggregate:
        """An extreme or quantile: formed here, from rows with their partners. Raises: AM-2146."""
        for column_id in sorted(scalar_columns(aggregate)):
            if not is_of_fact(column_id) and self.roots[offset_of(column_id)] != OPEN:
                self._mixed(frozenset({column_id}))
        return aggregate

    def _inner(self, scalar: Scalar) -> Scalar:
        """A scalar over one row of the fact and its partners."""
        match scalar:
            case ColumnRef(column_id=column_id) if not is_of_fact(column_id):
                return ColumnRef(self._copy(column_id, SUM))
            case Arithmetic(op=op, left=left, right=right):
                return Arithmetic(op, self._inner(left), self._inner(right))
            case Coalesce(values=values):
                return Coalesce(tuple(self._inner(value) for value in values))
            case Case(branches=branches, otherwise=otherwise):
                made = tuple((self.true_where(p), self._inner(value)) for p, value in branches)
                return Case(made, self._inner(otherwise))
        return scalar

    def _group(self, column_id: int) -> int:
        """The fact's column, or a virtual one with the groups of a dimension. Raises: AM-2143."""
        if is_of_fact(column_id):
            return column_id
        column = self.select.table.column(column_id)
        categories = column.categories or tuple(self.partners.values(column_id))
        if len(categories) > GROUPS_MAX:
            fail("AM-2143", column=column.name, limit=GROUPS_MAX)
        return self._copy(column_id, GROUP, categories)

    def _copy(
        self, column_id: int, queries: frozenset[Query], categories: tuple[Storage, ...] = ()
    ) -> int:
        """The virtual column with the values of a dimension's column. Raises: AM-2146."""
        if self.roots[offset_of(column_id)] != OPEN:
            self._mixed(frozenset({column_id}))
        for source in self.sources:
            if source.copied == column_id and source.column.queries == queries:
                return source.column.id
        made = replace(
            self.select.table.column(column_id),
            id=self._next(),
            encrypted=True,
            primary_key=False,
            queries=queries,
            categories=categories,
            dictionary=None,
            prefix=0,
        )
        self.sources.append(VirtualSource(made, copied=column_id))
        return made.id

    def _order(self, order: OrderItem) -> OrderItem:
        if isinstance(order.key, ColumnRef):
            return replace(order, key=ColumnRef(self._group(order.key.column_id)))
        return order

    def _renamed(self, predicate: Predicate) -> Predicate:
        """A condition on groups and aggregates. In HAVING negative ids are outputs."""
        match predicate:
            case And(children) | Or(children):
                return type(predicate)(tuple(self._renamed(child) for child in children))
            case Not(child):
                return Not(self._renamed(child))
            case Relation(op=op, left=left, right=right):
                return Relation(op, self._outer(left), self._outer(right))
            case Compare() | Between() | In() | IsNull() | Like():
                if predicate.column_id < 0:
                    return predicate
                return replace(predicate, column_id=self._group(predicate.column_id))
        return predicate


def _flat(predicate: Predicate, kind: type[And] | type[Or]) -> list[Predicate]:
    if isinstance(predicate, kind):
        return [part for child in predicate.children for part in _flat(child, kind)]
    return [predicate]


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()
