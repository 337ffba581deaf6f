"""Circuits of the filter's leaves over one-hot base-4 digits and one-hot categories.

Every leaf is 0 where the column is NULL or the slot empty, because all slices are 0 there; of the
lower digits only products with the top digit survive. The fourth indicator of a lower digit is
implied: sum_v d_v k_v over v = 0..3 with d_3 = 1 - d_0 - d_1 - d_2 equals
sum_{v<3} d_v (k_v - k_3) + k_3, three products and no operation on the data.
Source: FHE section 6; brute-forced over all 6-bit values in tests/plan/test_leaves.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters.base.errors import fail
from amaters.columns.encodings import EncodingShape, Kind
from amaters.columns.schema import PublicColumn
from amaters.plan.graph import Graph, Vector
from amaters.plan.polynomials import equality_polynomial, size_for
from amaters.plan.spec import EqualLeaf, MemberLeaf, NullLeaf, PrefixLeaf, RangeLeaf

INDICATOR = (0, 1)
_DIGITS = ("digits", "prefix")  # encodings whose last four slices tell NULL


@dataclass(frozen=True, slots=True)
class Truth:
    """A node whose slots are ``factor`` (mod t, public) where a condition is TRUE, else 0."""

    node: int
    factor: int = 1


@dataclass(frozen=True, slots=True)
class Sum:
    """An indicator that is not computed yet: products of ``pairs`` plus the nodes ``rest``.

    Sums of sums become one dot product, which reads every operand once and writes one result.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    rest: tuple[int, ...] = ()


DigitCircuit = Callable[[int, bool], tuple[Sum, int | None]]  # (index, equal wanted) -> lt, eq


@dataclass(frozen=True, slots=True)
class Digits:
    """The indicators of one column or constant: ``lower`` three per digit, ``top`` four."""

    lower: tuple[tuple[int, int, int], ...]
    top: tuple[int, int, int, int]


class LeafCircuits:
    """Adds leaves to a graph; ``vector`` masks a leaf by multiplying its fresh operands only.

    ``careful``: masked leaves spend key switches instead of a level on the mask's 25 bits of noise.
    A masked equality becomes a tree of products instead of a polynomial, whose squares would double
    them; a masked comparison switches every partial result, so that each drop takes some away.
    """

    def __init__(self, graph: Graph, *, careful: bool = False) -> None:
        self.graph = graph
        self._careful = careful

    # ---- operands ----------------------------------------------------------------------------

    def data_digits(
        self, column: PublicColumn, vector: Vector | None, kind: str = "digits"
    ) -> Digits:
        """The stored digits; masking the top digit is enough, a leaf needs it everywhere."""
        shape = shape_of(column, kind)
        nodes = [self.graph.input(column.id, kind, i) for i in range(shape.slices)]
        return _as_digits(nodes[:-4], [self.masked(node, vector) for node in nodes[-4:]])

    def constant_digits(self, column: PublicColumn, slot: int) -> Digits:
        """Encrypted constants from ``slot`` on, in the layout of the data."""
        slices = shape_of(column, "digits").slices
        nodes = [self.graph.constant_slot(slot + i) for i in range(slices)]
        return _as_digits(nodes[:-4], nodes[-4:])

    def masked(self, node: int, vector: Vector | None) -> int:
        """``node``, times the vector if there is one."""
        return node if vector is None else self.graph.mask(node, vector)

    def not_null(self, column: PublicColumn, vector: Vector | None = None) -> int:
        """1 where the row exists and the value is not NULL. No level."""
        shape = min(
            (shape for shape in column.encodings if shape.kind != "limbs"),
            key=lambda shape: 4 if shape.kind in _DIGITS else shape.slices,
            default=None,
        )
        if shape is None:
            fail("AM-1000", what=f"column {column.id} has nothing that tells NULL")
        first = shape.slices - 4 if shape.kind in _DIGITS else 0
        nodes = [self.graph.input(column.id, shape.kind, i) for i in range(first, shape.slices)]
        if shape.kind in _DIGITS:
            nodes = [self.masked(node, vector) for node in nodes]
            return self.graph.linear([(1, node) for node in nodes], bound=INDICATOR)
        return self.masked(
            self.graph.linear([(1, node) for node in nodes], bound=INDICATOR), vector
        )

    # ---- leaves ------------------------------------------------------------------------------

    def null(self, leaf: NullLeaf, column: PublicColumn, vector: Vector | None) -> Truth:
        """IS NOT NULL: nn. IS NULL: occupied - nn. No level."""
        if leaf.negated:
            return Truth(self.not_null(column, vector))
        negative = self.graph.linear([(-1, self.not_null(column))], bound=(-1, 0))
        absent = self.graph.shift(negative, Vector(occupied=True))
        return Truth(self.masked(absent, vector))

    def member(self, leaf: MemberLeaf, column: PublicColumn, vector: Vector | None) -> Truth:
        """One dot product with the chosen categories (negated: with the others). No level."""
        slices = shape_of(column, "onehot").slices
        data = [
            self.masked(self.graph.input(column.id, "onehot", i), vector) for i in range(slices)
        ]
        if leaf.codes is not None:
            wanted = [bool(code) != leaf.negated for code in leaf.codes]
            terms = [(int(want), node) for want, node in zip(wanted, data, strict=True)]
            return Truth(self.graph.linear(terms, bound=INDICATOR))
        chosen = [self.graph.constant_slot(leaf.slot + i) for i in range(slices)]
        if leaf.negated:
            chosen = [self.graph.linear([(-1, node)], 1, INDICATOR) for node in chosen]
        return Truth(self.graph.dot(list(zip(data, chosen, strict=True)), INDICATOR))

    def range(self, leaf: RangeLeaf, column: PublicColumn, vector: Vector | None) -> Truth:
        """LE(c), and by subtraction nn - LE(c), LE(b) - LE(a), nn - LE(b) + LE(a)."""
        shape = shape_of(column, "digits")
        data = self.data_digits(column, vector)
        eager = self._careful and vector is not None
        bounds = []
        for index in range(1 if leaf.form in ("le", "gt") else 2):
            if leaf.codes is not None:
                bounds.append(self._le_public(data, shape, leaf.codes[index], eager))
            else:
                constant = self.constant_digits(column, leaf.slot + index * shape.slices)
                bounds.append(self._le_encrypted(data, constant, eager))
        signs = (1, -1) if leaf.form in ("le", "between") else (-1, 1)
        terms = list(zip(signs, bounds, strict=False))
        if leaf.form in ("gt", "outside"):
            terms.append((1, self.not_null(column, vector)))
        return Truth(self.graph.linear(terms, bound=INDICATOR))

    def equal(self, leaf: EqualLeaf, column: PublicColumn, vector: Vector | None) -> Truth:
        """Sum of equalities (their constants are distinct), or nn minus it."""
        shape = shape_of(column, "digits")
        data = self.data_digits(column, vector)
        parts = []
        if self._careful and vector is not None:
            return self._equal_by_products(leaf, column, data, vector)
        for index in range(leaf.count):
            if leaf.codes is not None:
                count = self._count_public(data, shape, leaf.codes[index])
            else:
                constant = self.constant_digits(column, leaf.slot + index * shape.slices)
                count = self._count_encrypted(data, constant)
            parts.append(self._equality(count, shape.digits))
        factor = parts[0].factor
        terms = [(-1 if leaf.negated else 1, part.node) for part in parts]
        if leaf.negated:
            terms.append((factor, self.not_null(column, vector)))
        return Truth(self.graph.linear(terms, bound=INDICATOR), factor)

    def prefix(self, leaf: PrefixLeaf, column: PublicColumn, vector: Vector | None) -> Truth:
        """Equality of all digits, those that may be anything counting as equal; or nn minus it."""
        graph, shape = self.graph, shape_of(column, "prefix")
        data = self.data_digits(column, vector, "prefix")
        if leaf.codes is not None:
            same = self._prefix_public(data, shape, leaf.codes)
        else:
            same = self._prefix_encrypted(data, leaf.slot)
        if self._careful and vector is not None:
            made = Truth(self._all([graph.switch(self._summed(digit)) for digit in same]))
        else:
            size, bound = _size_and_bound(shape.digits)
            terms = [(1, node) for digit in same for node in digit.rest]
            pairs = [pair for digit in same for pair in digit.pairs]
            if pairs:
                terms.append((1, graph.switch(graph.dot(pairs))))
            count = graph.linear(terms, size - shape.digits, bound)
            made = self._equality(count, shape.digits)
        if not leaf.negated:
            return made
        terms = [(-1, made.node), (made.factor, self.not_null(column, vector))]
        return Truth(graph.linear(terms, bound=INDICATOR), made.factor)

    def _prefix_encrypted(self, data: Digits, slot: int) -> list[Sum]:
        """Per digit 1 where it equals the constant's or that has all indicators; the top one is 0
        on NULL. All four indicators of a constant are sent: the fourth is not implied.
        """
        same: list[Sum] = []
        for digit, mine in enumerate((*data.lower, data.top)):
            first = slot + 4 * digit
            theirs = [self.graph.constant_slot(first + value) for value in range(4)]
            if len(mine) == 4:
                same.append(Sum(tuple(zip(mine, theirs, strict=True))))
            else:
                against = self._against(theirs[:3], theirs[3])
                same.append(Sum(tuple(zip(mine, against, strict=True)), (theirs[3],)))
        return same

    def _prefix_public(
        self, data: Digits, shape: EncodingShape, codes: tuple[int, ...]
    ) -> list[Sum]:
        code, known = codes
        same: list[Sum] = []
        for digit, mine in enumerate((*data.lower, data.top)):
            if digit >= shape.digits - 4 * known:
                node = self._indicator(mine, (code >> 2 * digit) & 3)
            elif len(mine) == 4:
                node = self.graph.linear([(1, node) for node in mine], bound=INDICATOR)
            else:
                node = self.graph.linear([(0, data.top[0])], 1, INDICATOR)
            same.append(Sum(rest=(node,)))
        return same

    def _equal_by_products(
        self, leaf: EqualLeaf, column: PublicColumn, data: Digits, vector: Vector
    ) -> Truth:
        shape = shape_of(column, "digits")
        parts = []
        for index in range(leaf.count):
            if leaf.codes is not None:
                parts.append(self._matching_public(data, leaf.codes[index]))
                continue
            constant = self.constant_digits(column, leaf.slot + index * shape.slices)
            pairs = [*zip(data.lower, constant.lower, strict=True)]
            same = [self._same(mine, theirs, top=False) for mine, theirs in pairs]
            parts.append(self._all([*same, self._same(data.top, constant.top, top=True)]))
        terms = [(-1 if leaf.negated else 1, part) for part in parts]
        if leaf.negated:
            terms.append((1, self.not_null(column, vector)))
        return Truth(self.graph.linear(terms, bound=INDICATOR))

    def _matching_public(self, data: Digits, code: int) -> int:
        if code < 0:
            return self.graph.linear([(0, data.top[0])], bound=(0, 0))
        indicators = (*data.lower, data.top)
        return self._all(
            [self._indicator(mine, (code >> 2 * i) & 3) for i, mine in enumerate(indicators)]
        )

    def _all(self, nodes: list[int]) -> int:
        """The product of 0/1 nodes, balanced, the last one raw."""
        while len(nodes) > 1:
            nodes = [self.graph.switch(node) for node in nodes]
            pairs = list(zip(nodes[::2], nodes[1::2], strict=False))
            rest = nodes[-1:] if len(nodes) % 2 else []
            nodes = [*(self.graph.dot([pair], INDICATOR) for pair in pairs), *rest]
        return nodes[0]

    # ---- comparison --------------------------------------------------------------------------

    def _le_encrypted(self, data: Digits, constant: Digits, eager: bool) -> int:
        pairs = list(zip((*data.lower, data.top), (*constant.lower, constant.top), strict=True))
        last = len(pairs) - 1

        def digit(index: int, equal: bool) -> tuple[Sum, int | None]:
            mine, theirs = pairs[index]
            less = self._less(mine, theirs, top=index == last, least=index == 0)
            both = self._same(mine, theirs, top=index == last) if equal else None
            return less, both

        return self._summed(self._tree(digit, (0, len(pairs)), False, eager)[0])

    def _less(self, data: Sequence[int], constant: Sequence[int], *, top: bool, least: bool) -> Sum:
        """One digit: v < c, in the least digit v <= c; see the module."""
        graph = self.graph
        if least and top:
            return Sum(tuple(zip(data, self._suffixes(constant), strict=True)))
        if least:
            suffixes = self._suffixes(constant)
            three = graph.linear([(-1, suffixes[0])], 1, INDICATOR)
            raw = graph.dot(list(zip(data, suffixes, strict=True)))
            return Sum(rest=(graph.switch(raw), three))
        if top:
            return Sum(tuple(zip(data[:3], self._suffixes(constant[1:]), strict=True)))
        return Sum(tuple(zip(data, self._above(constant), strict=True)))

    def _suffixes(self, constant: Sequence[int]) -> list[int]:
        """sum of k_v over v >= i, for every i; each from the next, two operands at a time."""
        made = [constant[-1]]
        for node in reversed(constant[:-1]):
            made.append(self.graph.linear([(1, node), (1, made[-1])], bound=INDICATOR))
        return made[::-1]

    def _above(self, constant: Sequence[int]) -> list[int]:
        """1 - k_0 - .. - k_v for v = 0..2 of one lower constant digit; the last one is k_3."""
        made = [self.graph.linear([(-1, constant[0])], 1, INDICATOR)]
        for node in constant[1:]:
            made.append(self.graph.linear([(1, made[-1]), (-1, node)], bound=INDICATOR))
        return made

    def _same(self, data: Sequence[int], constant: Sequence[int], *, top: bool) -> int:
        """One digit: v = c, switched."""
        graph = self.graph
        if top:
            return graph.switch(graph.dot(list(zip(data, constant, strict=True)), INDICATOR))
        three = self._above(constant)[-1]
        raw = graph.dot(list(zip(data, self._against(constant, three), strict=True)))
        return graph.linear([(1, graph.switch(raw)), (1, three)], bound=INDICATOR)

    def _against(self, constant: Sequence[int], three: int) -> list[int]:
        """k_v - k_3 for v = 0..2 of one lower constant digit."""
        return [self.graph.linear([(1, k), (-1, three)], bound=(-1, 1)) for k in constant]

    def _le_public(self, data: Digits, shape: EncodingShape, code: int, eager: bool) -> int:
        """x <= code without any level for the constant; trailing digits of 3 cannot decide."""
        graph = self.graph
        if code < 0:
            return graph.linear([(0, data.top[0])], bound=(0, 0))
        if code >= (1 << shape.bits) - 1:
            return graph.linear([(1, node) for node in data.top], bound=INDICATOR)
        first = 0
        while (code >> (2 * first)) & 3 == 3:
            first += 1
        indicators = (*data.lower, data.top)

        def digit(index: int, equal: bool) -> tuple[Sum, int | None]:
            mine, value = indicators[index], (code >> (2 * index)) & 3
            kept = mine[: value + (index == first)]
            less = graph.linear([(1, node) for node in kept] or [(0, mine[0])], bound=INDICATOR)
            return Sum(rest=(less,)), self._indicator(mine, value) if equal else None

        return self._summed(self._tree(digit, (first, len(indicators)), False, eager)[0])

    def _indicator(self, indicators: Sequence[int], value: int) -> int:
        if value < len(indicators):
            return indicators[value]
        return self.graph.linear([(-1, node) for node in indicators], 1, INDICATOR)

    def _tree(
        self, digit: DigitCircuit, span: tuple[int, int], equal: bool, eager: bool
    ) -> tuple[Sum, int | None]:
        """(less, equal) over the digits of ``span``, balanced; ``equal`` only where needed.

        (lt, eq) o (lt', eq') = (lt + eq lt', eq eq'), the left one being more significant. Results
        are raw: only what is multiplied again is switched, so lt on the left, which is only added,
        costs no key switch and is computed at the level of the sum (unless ``eager``).
        """
        first, stop = span
        if stop - first == 1:
            return digit(first, equal)
        middle = first + (stop - first) // 2
        low_less, low_same = self._tree(digit, (first, middle), equal, eager)
        high_less, high_same = self._tree(digit, (middle, stop), True, eager)
        graph = self.graph
        assert high_same is not None
        high_same = graph.switch(high_same)
        if eager:
            high_less = Sum(rest=(graph.switch(self._summed(high_less)),))
        pair = (high_same, graph.switch(self._summed(low_less)))
        less = Sum((*high_less.pairs, pair), high_less.rest)
        if not equal:
            return less, None
        assert low_same is not None
        return less, graph.dot([(high_same, graph.switch(low_same))], INDICATOR)

    def _summed(self, total: Sum) -> int:
        """The node of a sum, not switched."""
        if not total.pairs:
            return self.graph.linear([(1, node) for node in total.rest], bound=INDICATOR)
        products = self.graph.dot(total.pairs, None if total.rest else INDICATOR)
        terms = [(1, node) for node in (products, *total.rest)]
        return self.graph.linear(terms, bound=INDICATOR)

    # ---- equality ----------------------------------------------------------------------------

    def _count_encrypted(self, data: Digits, constant: Digits) -> int:
        """Number of equal digits, shifted so that the full count is a supported size."""
        graph = self.graph
        pairs: list[tuple[int, int]] = []
        rest: list[int] = []
        for mine, theirs in zip(data.lower, constant.lower, strict=True):
            three = graph.linear([(-1, k) for k in theirs], 1, INDICATOR)
            against = self._against(theirs, three)
            pairs.extend(zip(mine, against, strict=True))
            rest.append(three)
        pairs.extend(zip(data.top, constant.top, strict=True))
        digits = len(data.lower) + 1
        size, bound = _size_and_bound(digits)
        raw = graph.dot(pairs, bound if digits == 1 else None)
        if not rest:
            return raw
        threes = graph.linear([(1, node) for node in rest], size - digits, (size - digits, size))
        return graph.linear([(1, graph.switch(raw)), (1, threes)], bound=bound)

    def _count_public(self, data: Digits, shape: EncodingShape, code: int) -> int:
        graph = self.graph
        size, bound = _size_and_bound(shape.digits)
        if code < 0:
            return graph.linear([(0, data.top[0])], size - shape.digits, bound)
        nodes = [
            (1, self._indicator(mine, (code >> (2 * index)) & 3))
            for index, mine in enumerate((*data.lower, data.top))
        ]
        return graph.linear(nodes, size - shape.digits, bound)

    def _equality(self, count: int, digits: int) -> Truth:
        """The polynomial of ``polynomials`` at ``count``, the last product left raw."""
        graph = self.graph
        if digits == 1:
            return Truth(count)
        size, _ = _size_and_bound(digits)
        polynomial = equality_polynomial(size)
        count = graph.switch(count)
        lowered = graph.linear([(1, count)], 1 - size)
        z = graph.linear([(1, graph.switch(graph.dot([(count, lowered)])))], polynomial.shift)
        square = graph.dot([(z, z)])
        if not polynomial.quartics:
            return Truth(graph.linear([(1, square)], -1, INDICATOR), polynomial.factor)
        z2 = graph.switch(square)
        parts = []
        for quartic in polynomial.quartics:
            other = graph.linear([(1, z2), (quartic.cube, z)], quartic.square)
            raw = graph.dot([(z2, other)])
            bound = INDICATOR if len(polynomial.quartics) == 1 else None
            terms = [(1, raw), (quartic.linear, z)]
            parts.append(graph.linear(terms, quartic.constant, bound))
        while len(parts) > 1:
            switched = [graph.switch(part) for part in parts]
            bound = INDICATOR if len(parts) == 2 else None
            pairs = zip(switched[::2], switched[1::2], strict=True)
            parts = [graph.dot([pair], bound) for pair in pairs]
        return Truth(parts[0], polynomial.factor)


def shape_of(column: PublicColumn, kind: str) -> EncodingShape:
    """The column's encoding of this kind. Raises: AM-1000 if it has none (specs are checked)."""
    for shape in column.encodings:
        if shape.kind == kind:
            return shape
    fail("AM-1000", what=f"column {column.id} has no encoding {kind}")


def encoding_of(leaf: RangeLeaf | EqualLeaf | MemberLeaf | PrefixLeaf) -> Kind:
    """Which of a column's encodings a leaf reads."""
    if isinstance(leaf, PrefixLeaf):
        return "prefix"
    return "onehot" if isinstance(leaf, MemberLeaf) else "digits"


def constants_of(
    column: PublicColumn, leaf: RangeLeaf | EqualLeaf | MemberLeaf | PrefixLeaf
) -> int:
    """Constant slots that a leaf needs."""
    if leaf.codes is not None:
        return 0
    if isinstance(leaf, MemberLeaf):
        return shape_of(column, "onehot").slices
    if isinstance(leaf, PrefixLeaf):
        return 4 * shape_of(column, "prefix").digits
    slices = shape_of(column, "digits").slices
    if isinstance(leaf, EqualLeaf):
        return leaf.count * slices
    return slices * (1 if leaf.form in ("le", "gt") else 2)


def _as_digits(lower: Sequence[int], top: Sequence[int]) -> Digits:
    threes = tuple((lower[i], lower[i + 1], lower[i + 2]) for i in range(0, len(lower), 3))
    return Digits(threes, (top[0], top[1], top[2], top[3]))


def _size_and_bound(digits: int) -> tuple[int, tuple[int, int]]:
    size = digits if digits == 1 else size_for(digits)
    return size, (size - digits, size)
