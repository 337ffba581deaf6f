"""The circuit as a graph of operations on ciphertexts, before levels are assigned.

Nodes are numbered in the order they were made, operands first, which is also the order they run
in: builders work depth first, so few intermediate results are alive at a time. Equal nodes are
made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from amaters.base.errors import fail

Op = Literal["input", "constant", "linear", "dot", "switch", "mask", "shift"]
Bound = tuple[int, int]
OUTPUT = "out"  # the operator that everything outside the filter belongs to


@dataclass(frozen=True, slots=True)
class Vector:
    """A public vector per segment: 0/1 where the public condition holds, times ``scale`` (mod t).

    ``occupied``: all occupied slots, without regard to liveness and public filter; otherwise
    those are always part of it, and so are the signed ``literals`` (index of an embedded
    predicate, wanted truth). ``grouped``: also only the rows of the public group at hand.
    ``values``: times those limbs of public columns (column id, limb, bits of a limb), NULL counting
    as 0; limb -1: the column is not NULL.
    """

    literals: tuple[tuple[int, bool], ...] = ()
    occupied: bool = False
    grouped: bool = False
    scale: int = 1
    values: tuple[tuple[int, int, int], ...] = ()
    bound: Bound = (0, 1)


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operation.

    input: ``ref`` = (column id, encoding kind, slice); constant: ``ref`` = (slot,); linear: sum
    of ``factors[i] * operands[i]`` + ``offset``; dot: sum of operands[2i] * operands[2i+1];
    switch: relinearise and drop ``offset`` limbs; mask: operand times vector ``ref[0]``; shift:
    operand plus vector ``ref[0]``. ``bound``: what the slots (times a public factor) are known to
    be, where that is better than interval arithmetic.
    """

    op: Op
    operands: tuple[int, ...] = ()
    factors: tuple[int, ...] = ()
    offset: int = 0
    ref: tuple[int | str, ...] = ()
    bound: Bound | None = None


class Graph:
    """Nodes under construction, and what follows from their operands."""

    def __init__(self) -> None:
        self.nodes: list[GraphNode] = []
        self.degrees: list[int] = []
        self.depths: list[int] = []  # switches on the longest path from an input
        self.constant: list[bool] = []  # depends on the statement's constants alone
        self.grouped: list[bool] = []  # differs between public groups
        self.vectors: list[Vector] = []
        self.owners: list[str] = []  # operator of the plan a node was made for (EXPLAIN)
        self.owner = OUTPUT
        self._known: dict[GraphNode, int] = {}

    def input(self, column_id: int, kind: str, index: int, bound: Bound = (0, 1)) -> int:
        """One stored slice."""
        return self._add(GraphNode("input", ref=(column_id, kind, index), bound=bound), 1)

    def constant_slot(self, slot: int) -> int:
        """One encrypted 0/1 constant of the statement."""
        return self._add(GraphNode("constant", ref=(slot,), bound=(0, 1)), 1)

    def linear(
        self,
        terms: Sequence[tuple[int, int]],
        offset: int = 0,
        bound: Bound | None = None,
    ) -> int:
        """sum of factor * node + offset, zero terms left out; a plain copy is the node itself."""
        merged: dict[int, int] = {}
        for factor, node in terms:
            merged[node] = merged.get(node, 0) + factor
        kept = [(node, factor) for node, factor in merged.items() if factor]
        if not kept:
            kept = [(terms[0][1], 0)]
        if len(kept) == 1 and kept[0][1] == 1 and offset == 0:
            return kept[0][0]
        nodes, factors = zip(*kept, strict=True)
        made = GraphNode("linear", nodes, factors, offset, bound=bound)
        return self._add(made, max(self.degrees[node] for node in nodes))

    def dot(self, pairs: Sequence[tuple[int, int]], bound: Bound | None = None) -> int:
        """sum of products, not relinearised. Raises: AM-1000 above degree 3."""
        degree = max(self.degrees[a] + self.degrees[b] for a, b in pairs)
        if degree > 3:
            fail("AM-1000", what="a product of more than three ciphertexts was planned")
        operands = tuple(node for pair in pairs for node in pair)
        return self._add(GraphNode("dot", operands, bound=bound), degree)

    def switch(self, node: int) -> int:
        """Relinearised and one limb lower; a node of degree 1 is itself."""
        if self.degrees[node] == 1:
            return node
        bound = self.nodes[node].bound
        return self._add(GraphNode("switch", (node,), offset=1, bound=bound), 1)

    def mask(self, node: int, vector: Vector, bound: Bound | None = (0, 1)) -> int:
        """Node times a public vector."""
        made = GraphNode("mask", (node,), ref=(self._vector(vector),), bound=bound)
        return self._add(made, self.degrees[node], grouped=vector.grouped)

    def shift(self, node: int, vector: Vector, bound: Bound | None = (0, 1)) -> int:
        """Node plus a public vector."""
        made = GraphNode("shift", (node,), ref=(self._vector(vector),), bound=bound)
        return self._add(made, self.degrees[node], grouped=vector.grouped)

    def _vector(self, vector: Vector) -> int:
        if vector not in self.vectors:
            self.vectors.append(vector)
        return self.vectors.index(vector)

    def _add(self, node: GraphNode, degree: int, *, grouped: bool = False) -> int:
        known = self._known.get(node)
        if known is not None:
            return known
        index = len(self.nodes)
        self._known[node] = index
        self.nodes.append(node)
        self.degrees.append(degree)
        self.owners.append(self.owner)
        depth = max((self.depths[operand] for operand in node.operands), default=0)
        self.depths.append(depth + (node.op == "switch"))
        secret = node.op in ("input", "mask", "shift")
        self.constant.append(
            not secret and all(self.constant[operand] for operand in node.operands)
        )
        self.grouped.append(grouped or any(self.grouped[operand] for operand in node.operands))
        return index
