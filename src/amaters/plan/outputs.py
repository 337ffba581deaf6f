"""What a circuit delivers: masks of rows, or accumulators that are summed over segments.

An accumulator is a sum over rows of truth x group indicators x values, made of at most three
ciphertexts, so that the last product is never relinearised (degree 3 at two limbs). The values are
limbs; the client adds the slots of each accumulator and weighs it.

Where a plan has a product of more, it is folded at both ends: truth and indicators become one
ciphertext per condition and group, three values or more become one per combination of limbs. Both
are made once and shared by all accumulators, and the values do not depend on the filter's depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from amaters.columns.encodings import LIMB_BITS, LimbsEncoding
from amaters.columns.schema import PublicColumn, PublicTable
from amaters.plan.graph import Bound, Graph, Vector
from amaters.plan.leaves import INDICATOR, LeafCircuits, Truth, shape_of
from amaters.plan.logic import Literals
from amaters.plan.polynomials import PLAINTEXT_MODULUS
from amaters.plan.spec import PlanSpec, Term

FACTORS_MAX = 3
ACCUMULATORS_MAX = 4096
PUBLIC_LIMB_BITS = (LIMB_BITS, 6, 4, 2)
NOT_NULL = -1  # in place of a limb of a public value: 1 where it is not NULL


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One partial total, the sum over rows of one limb product of one term in one group.

    ``categories``: index of the category of each encrypted group column, the number of categories
    for NULL (see ``shares``). Slots are ``factor`` times the value, mod t; the value of one
    segment lies in [``lo``, ``hi``], so at most ``segments_max`` segments share one ciphertext.
    ``left``, ``right``: nodes of the final product (``right`` None: no product).
    """

    term: int
    weight: int
    categories: tuple[int, ...]
    factor: int
    lo: int
    hi: int
    left: int
    right: int | None
    segments_max: int = 1


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a total is over. ``literals``: embedded predicates still to be applied to
    ``truth`` (None: all rows); None when the public mask is in it already. ``known``: columns that
    are not NULL in them.
    """

    truth: Truth | None = None
    literals: Literals | None = None
    known: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Value:
    """One factor of a term: a ciphertext (``node``) or a limb of a public column (``public``)."""

    weight: int
    bound: Bound
    node: int | None = None
    public: tuple[int, int, int] | None = None


def is_computed(spec: PlanSpec, term: Term, table: PublicTable) -> bool:
    """Whether a term needs ciphertexts; otherwise the client totals public rows itself."""
    if spec.encrypted_groups or has_encrypted_leaf(spec):
        return True
    if term.condition and spec.conditions[term.condition - 1].filter is not None:
        return True
    return any(
        table.column(column).encrypted and (term.kind == "sum" or table.column(column).nullable)
        for column in term.columns
    ) or any(table.column(c).encrypted and table.column(c).nullable for c in term.required)


def has_encrypted_leaf(spec: PlanSpec) -> bool:
    """Whether the filter reads ciphertexts."""
    return spec.filter is not None


def product_span(term: Term, table: PublicTable) -> int:
    """How far apart the values of one product of limbs can be, 0 among them."""
    return _span(term, table, limb_bits(term, table))


def limb_bits(term: Term, table: PublicTable) -> int:
    """Bits of the limbs that public columns are cut into: the most for which products fit a slot.

    Public values are cut when a statement runs, encrypted ones are stored as they are.
    """
    fits = (b for b in PUBLIC_LIMB_BITS if _span(term, table, b) < PLAINTEXT_MODULUS)
    return next(fits, PUBLIC_LIMB_BITS[-1])


def _span(term: Term, table: PublicTable, bits: int) -> int:
    if term.kind == "count":
        return 1
    choices = (_bounds(table.column(column), bits) for column in term.columns)
    spans = (_corners(list(bounds)) for bounds in product(*choices))
    return max(high - low for low, high in spans)


def _bounds(column: PublicColumn, bits: int) -> tuple[Bound, ...]:
    """The intervals of a column's limbs, each once."""
    shape = shape_of(column, "limbs") if column.encrypted else public_limbs(column, bits).shape
    return tuple(dict.fromkeys(shape.bounds))


def shares(
    spec: PlanSpec, table: PublicTable, categories: tuple[int, ...]
) -> list[tuple[tuple[int, ...], int]]:
    """The groups that an accumulator counts towards, and with which sign.

    Under a filter the accumulator of NULL is over the rows of all categories, and the client takes
    the others off: an indicator of NULL (occupied minus all categories) would bring the norm of a
    public vector into the last product, which costs a level.
    """
    found: list[tuple[tuple[int, ...], int]] = [((), 1)]
    for column_id, category in zip(spec.encrypted_groups, categories, strict=True):
        column = table.column(column_id)
        null = shape_of(column, "onehot").slices
        split = column.nullable and category != null and has_encrypted_leaf(spec)
        choices = [(category, 1), (null, -1)] if split else [(category, 1)]
        found = [((*group, index), sign * more) for group, sign in found for index, more in choices]
    return found


class OutputCircuits:
    """Adds the accumulators of a plan to a graph that holds its filter already."""

    def __init__(self, graph: Graph, table: PublicTable, spec: PlanSpec) -> None:
        self.graph = graph
        self.table = table
        self.spec = spec
        self.leaves = LeafCircuits(graph)
        self._masked = spec.masked or spec.public_filter is not None
        self._folding = False

    def accumulators(
        self, base: Rows, conditional: Callable[[int], Rows], known: frozenset[int]
    ) -> list[Accumulator]:
        """All accumulators, in order of term, group, limbs.

        ``base``: the rows that the plan's filter selects; ``conditional``: those of them where the
        condition of that number holds as well. ``known``: columns that are not NULL in ``base``.
        """
        made: list[Accumulator] = []
        groups = list(product(*(self._indicators(c) for c in self.spec.encrypted_groups)))
        wanted = [
            (index, term)
            for index, term in enumerate(self.spec.terms)
            if is_computed(self.spec, term, self.table)
        ]
        rows = {term.condition: base for _, term in wanted}
        for number in sorted(rows.keys() - {0}):
            rows[number] = conditional(number)
        choices = {
            index: self._choices(term, known | rows[term.condition].known) for index, term in wanted
        }
        self._folding = any(
            self._factors(rows[term.condition], len(self.spec.encrypted_groups), choices[index])
            > FACTORS_MAX
            for index, term in wanted
        )
        for index, term in wanted:
            for group in groups:
                categories = tuple(category for category, _ in group)
                nodes = [node for _, node in group if node is not None]
                for values in product(*choices[index]):
                    chosen = rows[term.condition]
                    part = self._product(chosen, nodes, [v for v in values if v])
                    made.append(self._accumulator(index, categories, chosen.truth, values, part))
        return made

    def _choices(self, term: Term, known: frozenset[int]) -> list[list[_Value | None]]:
        """What each column of a term contributes, the NOT NULL of ``required`` ones included."""
        choices = [self._values(term, column, known) for column in term.columns]
        counted = Term("count", term.required)
        return choices + [self._values(counted, column, known) for column in term.required]

    @staticmethod
    def _factors(rows: Rows, groups: int, choices: list[list[_Value | None]]) -> int:
        """How many ciphertexts the largest product of a term has."""
        values = sum(any(v is not None and v.node is not None for v in c) for c in choices)
        return (rows.truth is not None) + groups + values

    def _accumulator(
        self,
        term: int,
        categories: tuple[int, ...],
        truth: Truth | None,
        values: tuple[_Value | None, ...],
        part: tuple[int, int | None],
    ) -> Accumulator:
        lo, hi, weight = 0, 1, 1
        for value in values:
            if value is None:
                continue
            corners = [a * b for a in (lo, hi) for b in value.bound]
            lo, hi, weight = min(corners), max(corners), weight * value.weight
        lo, hi = min(lo, 0), max(hi, 0)
        factor = truth.factor if truth else 1
        return Accumulator(term, weight, categories, factor, lo, hi, part[0], part[1])

    # ---- factors -----------------------------------------------------------------------------

    def _indicators(self, column_id: int) -> list[tuple[int, int | None]]:
        """(category, indicator) of one encrypted group column, NULL last if it can occur.

        Under a filter NULL has no indicator: its accumulator is over all rows (``shares``).
        """
        column = self.table.column(column_id)
        slices = shape_of(column, "onehot").slices
        nodes = [self.graph.input(column.id, "onehot", i) for i in range(slices)]
        found: list[tuple[int, int | None]] = list(enumerate(nodes))
        if column.nullable and has_encrypted_leaf(self.spec):
            found.append((slices, None))
        elif column.nullable:
            negative = self.graph.linear([(-1, node) for node in nodes], bound=(-1, 0))
            found.append((slices, self.graph.shift(negative, Vector(occupied=True))))
        return found

    def _values(self, term: Term, column_id: int, known: frozenset[int]) -> list[_Value | None]:
        """What one column contributes to a term: limbs, or one 0/1 value; None: always 1."""
        column = self.table.column(column_id)
        if term.kind == "count":
            if not column.nullable or column_id in known:
                return [None]
            if not column.encrypted:
                return [_Value(1, INDICATOR, public=(column_id, NOT_NULL, 0))]
            return [_Value(1, INDICATOR, node=self.leaves.not_null(column))]
        if not column.encrypted:
            bits = limb_bits(term, self.table)
            bounds = public_limbs(column, bits).shape.bounds
            return [
                _Value(1 << (bits * limb), bound, public=(column_id, limb, bits))
                for limb, bound in enumerate(bounds)
            ]
        bounds = shape_of(column, "limbs").bounds
        return [
            _Value(256**limb, bound, node=self.graph.input(column_id, "limbs", limb, bound))
            for limb, bound in enumerate(bounds)
        ]

    def _product(
        self, rows: Rows, groups: list[int], values: list[_Value]
    ) -> tuple[int, int | None]:
        """The final product's two nodes, masked where the truth is not."""
        truth, literals = rows.truth, rows.literals
        encrypted = [value.node for value in values if value.node is not None]
        public = tuple(value.public for value in values if value.public is not None)
        bound = _corners([value.bound for value in values if value.public is not None])
        grouped = bool(self.spec.public_groups)
        unmasked = truth is None and (self._masked or bool(literals))
        vector = None
        if literals is not None or public or grouped or unmasked:
            vector = Vector(literals or (), grouped=grouped, values=public, bound=bound)
        selected = [truth.node] if truth else []
        if not self._folding:
            factors = [*selected, *groups, *encrypted]
            if vector is not None:
                factors[0] = self._under(vector, factors[0])
            return self._final(factors)
        if vector is not None:
            first = selected or groups or encrypted
            changed = [self._under(vector, first[0]), *first[1:]]
            if selected:
                selected = changed
            elif groups:
                groups = changed
            else:
                encrypted = changed
        if groups and selected:
            groups = [self._folded(groups)]
        chosen = [self._folded([*selected, *groups])] if selected or groups else []
        if len(encrypted) + len(chosen) > FACTORS_MAX:
            encrypted = [self._folded(encrypted)]
        return self._final([*chosen, *encrypted])

    def _under(self, vector: Vector, node: int) -> int:
        """A factor, relinearised, times a public vector."""
        graph = self.graph
        own = graph.nodes[node].bound or INDICATOR
        bound = _corners([own, vector.bound, INDICATOR])
        return graph.mask(graph.switch(node), vector, bound)

    def _folded(self, factors: list[int]) -> int:
        """The product of all factors as one ciphertext, at a level for each doubling."""
        graph = self.graph
        while len(factors) > 1:
            ready = [graph.switch(node) for node in factors]
            pairs = list(zip(ready[::2], ready[1::2], strict=False))
            odd = ready[2 * len(pairs) :]
            factors = [graph.dot([pair], self._bound(pair)) for pair in pairs] + odd
        return graph.switch(factors[0])

    def _final(self, factors: list[int]) -> tuple[int, int | None]:
        """One to three factors as the two nodes of a product that is not relinearised."""
        graph = self.graph
        if len(factors) == 1:
            return factors[0], None
        factors = [graph.switch(node) for node in factors]
        if len(factors) == 2:
            return factors[0], factors[1]
        pair = (factors[0], factors[1])
        return graph.dot([pair], self._bound(pair)), factors[2]

    def _bound(self, pair: tuple[int, int]) -> Bound:
        bounds = [self.graph.nodes[node].bound or INDICATOR for node in pair]
        return _corners(bounds)


def public_limbs(column: PublicColumn, bits: int = LIMB_BITS) -> LimbsEncoding:
    """How a public column's values become limbs, to be totalled under an encrypted filter."""
    if column.type.is_text:
        return LimbsEncoding(0, 0, bits)
    return LimbsEncoding(column.type.minimum, column.type.maximum, bits)


def _corners(bounds: list[Bound]) -> Bound:
    """The interval of a product, 0 included."""
    lo, hi = 1, 1
    for bound in bounds:
        corners = [a * b for a in (lo, hi) for b in bound]
        lo, hi = min(corners), max(corners)
    return min(lo, 0), max(hi, 0)


def slot_values(slots: NDArray[np.int64], accumulator: Accumulator) -> NDArray[np.int64]:
    """What decrypted slots of an accumulator stand for: each the exact sum over its segments."""
    if accumulator.factor == 1:
        return slots
    lowest = accumulator.lo * accumulator.segments_max
    inverse = pow(accumulator.factor, -1, PLAINTEXT_MODULUS)
    shifted = (slots % PLAINTEXT_MODULUS * inverse - lowest) % PLAINTEXT_MODULUS
    return np.asarray(shifted + lowest, dtype=np.int64)


def mask_bits(slots: NDArray[np.int64], factor: int) -> NDArray[np.bool_]:
    """Masks of up to 16 segments from the decrypted slots of their pack. Shape: (16, slots)."""
    inverse = pow(factor, -1, PLAINTEXT_MODULUS)
    packed = slots % PLAINTEXT_MODULUS * inverse % PLAINTEXT_MODULUS
    bits = np.arange(16, dtype=np.int64)[:, np.newaxis]
    return np.asarray((packed[np.newaxis, :] >> bits) & 1, dtype=np.bool_)
