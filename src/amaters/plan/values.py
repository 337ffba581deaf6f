"""Values of the selected rows, packed for the client: what orders and extremes are answered from.

A slot of an output is filter truth x value, so rows that do not match are zero to the client and
no row differs from another to the server. A column comes in *parts*, numbers below ``radix``
weighed by ``weight``: up to eight base-4 digits (16 bits) of a ``digits`` encoding, the category of
a ``onehot`` encoding, and for a nullable column whether there is a value at all. Parts of as many
segments as fit below the plaintext modulus share one ciphertext, as masks do.

Where a column is NULL the parts are some number below ``radix`` that means nothing: the fourth
indicator of a lower digit is implied. Source: docs/adr/0015-orders-from-masked-values.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from amaters.columns.schema import PublicColumn, PublicTable
from amaters.plan.graph import Graph, Vector
from amaters.plan.leaves import LeafCircuits, Truth, shape_of
from amaters.plan.logic import Literals, centred
from amaters.plan.polynomials import PLAINTEXT_MODULUS
from amaters.plan.spec import PlanSpec

DIGITS_PER_PART = 8  # 4^8 - 1 is the largest number of whole digits below t
PRESENT = 0  # the weight of the part that tells NULL from a value


@dataclass(frozen=True, slots=True)
class PackedOutput:
    """One number below ``radix`` per row, ``factor`` (mod t, public) times it in the slots of
    ``node``; 0 where the row is not selected. ``column_id`` 0: the mask itself.
    """

    node: int
    factor: int
    radix: int = 2
    column_id: int = 0
    weight: int = 1

    @property
    def segments(self) -> int:
        """How many segments share one ciphertext."""
        count = 1
        while self.radix ** (count + 1) <= PLAINTEXT_MODULUS:
            count += 1
        return count

    @property
    def places(self) -> tuple[int, ...]:
        """What the number of each segment of a pack is multiplied by."""
        return tuple(self.radix**index for index in range(self.segments))


class ValueCircuits:
    """Adds the mask and the values of ``spec`` to a graph that holds its filter already."""

    def __init__(self, graph: Graph, table: PublicTable, spec: PlanSpec) -> None:
        self.graph = graph
        self.table = table
        self.spec = spec
        self.leaves = LeafCircuits(graph)

    def outputs(
        self, truth: Truth | None, literals: Literals | None, known: frozenset[int]
    ) -> list[PackedOutput]:
        """The mask first, then the parts of each column of ``spec.values``.

        ``literals``: embedded predicates still to be applied to ``truth``, None when its mask is in
        it already. ``known``: columns that are not NULL wherever the filter is TRUE.
        """
        selected = self._selected(truth, literals)
        made = [PackedOutput(selected.node, selected.factor)]
        if not self.spec.values:
            return made
        lead = None if truth is None else self.graph.switch(selected.node)
        for column_id in self.spec.values:
            column = self.table.column(column_id)
            parts = list(self._parts(column))
            if column.nullable and column_id not in known:
                parts.append((PRESENT, 2, self.leaves.not_null(column)))
            for weight, radix, node in parts:
                value = self._masked(lead, node, radix)
                made.append(PackedOutput(value, selected.factor, radix, column_id, weight))
        return made

    def _selected(self, truth: Truth | None, literals: Literals | None) -> Truth:
        """The filter's truth, masked; without a filter what the server knows, as a ciphertext."""
        graph = self.graph
        if truth is None:
            column = self.table.column(self.spec.values[0])
            first = next(s for s in column.encodings if s.kind in ("digits", "onehot"))
            nothing = graph.linear([(0, graph.input(column.id, first.kind, 0))], bound=(0, 0))
            return Truth(graph.shift(nothing, Vector()))
        if literals is None:
            return truth
        return Truth(graph.mask(graph.switch(truth.node), Vector(literals)), truth.factor)

    def _masked(self, lead: int | None, node: int, radix: int) -> int:
        bound = (0, radix - 1)
        if lead is not None:
            return self.graph.dot([(lead, node)], bound)
        if self.spec.masked or self.spec.public_filter is not None:
            return self.graph.mask(node, Vector(), bound)
        return node

    def _parts(self, column: PublicColumn) -> Iterator[tuple[int, int, int]]:
        """(weight, radix, node) of each part of the column's code, least first."""
        kinds = {shape.kind for shape in column.encodings}
        graph = self.graph
        if "digits" not in kinds:
            count = shape_of(column, "onehot").slices
            nodes = [graph.input(column.id, "onehot", index) for index in range(count)]
            terms = [(centred(index), node) for index, node in enumerate(nodes)]
            radix = max(count, 2)
            yield 1, radix, graph.linear(terms, bound=(0, radix - 1))
            return
        digits = self.leaves.data_digits(column, None)
        every = (*digits.lower, digits.top)
        for start in range(0, len(every), DIGITS_PER_PART):
            part = every[start : start + DIGITS_PER_PART]
            terms, offset = [], 0
            for place, indicators in enumerate(part):
                own, constant = _digit(indicators, 4**place)
                terms += own
                offset += constant
            radix = 4 ** len(part)
            yield 4**start, radix, graph.linear(terms, centred(offset), (0, radix - 1))


def _digit(indicators: tuple[int, ...], place: int) -> tuple[list[tuple[int, int]], int]:
    """Terms and offset of one digit: sum of v d_v, or 3 - 3 d_0 - 2 d_1 - d_2 with d_3 implied."""
    if len(indicators) == 4:
        return [(centred(v * place), node) for v, node in enumerate(indicators)], 0
    return [(centred(-(3 - v) * place), node) for v, node in enumerate(indicators)], 3 * place


assert 4**DIGITS_PER_PART < PLAINTEXT_MODULUS  # a part's numbers are told apart mod t
