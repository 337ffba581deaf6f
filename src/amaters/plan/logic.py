"""The filter tree as a circuit: AND, OR, embedded public predicates, and where masks are applied.

The filter is in negation normal form and its values mean "is TRUE", which three-valued logic
allows: T(a AND b) = T(a) T(b), T(a OR b) = T(a) + T(b) - T(a) T(b). Public factors of equality
polynomials multiply along; an OR brings both sides to their product by scaling the switched
operands, whose noise lies far below that of the product.

A public mask has two places. *early*: it multiplies fresh operands of as few leaves as possible
(one child of an AND, every child of an OR). *late*: it multiplies the switched result. *careful*:
early, with key switches instead of levels (``leaves.LeafCircuits``), where nothing else fits.
Source: FHE section 6.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Literal

from amaters.columns.schema import PublicTable
from amaters.plan.expressions import And, Or, Predicate
from amaters.plan.graph import Graph, Vector
from amaters.plan.leaves import INDICATOR, LeafCircuits, Truth, shape_of
from amaters.plan.polynomials import PLAINTEXT_MODULUS
from amaters.plan.spec import (
    AndNode,
    EqualLeaf,
    MemberLeaf,
    Node,
    NullLeaf,
    OrNode,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
)

Place = Literal["early", "late", "careful"]
Literals = tuple[tuple[int, bool], ...]
_EQUALITY_COST = 100  # a masked count is squared four times: avoid where there is a choice


class FilterCircuits:
    """Adds a filter to a graph. ``predicates`` collects the embedded public predicates."""

    def __init__(
        self,
        graph: Graph,
        table: PublicTable,
        place: Place,
        leaves: type[LeafCircuits] = LeafCircuits,
    ) -> None:
        self.graph = graph
        self.table = table
        self.leaves = leaves(graph, careful=place == "careful")
        self.predicates: list[Predicate] = []
        self._early = place != "late"
        self._paths: dict[int, str] = {}
        self._known: dict[tuple[Node, Literals | None], Truth] = {}

    def literal(self, predicate: Predicate, truth: bool) -> tuple[int, bool]:
        """The embedded predicate as a literal of a vector."""
        if predicate not in self.predicates:
            self.predicates.append(predicate)
        return self.predicates.index(predicate), truth

    def masked(self, node: Node, literals: Literals) -> Truth:
        """The truth of ``node``, 0 outside base mask and ``literals``."""
        if self._early:
            return self._build(node, literals)
        truth = self._build(node, None)
        vector = Vector(literals)
        return Truth(self.graph.mask(self.graph.switch(truth.node), vector), truth.factor)

    def build(self, node: Node) -> Truth:
        """The truth of ``node``, unmasked: only the occupied slots' values mean anything."""
        return self._build(node, None)

    def name(self, roots: Sequence[tuple[str, Node]]) -> None:
        """Let every node made from now on be owned by its operator's path below a named root."""
        self._paths = {
            id(node): path for name, root in roots for path, node in operators(root, name)
        }

    def _build(self, node: Node, literals: Literals | None) -> Truth:
        outer = self.graph.owner
        self.graph.owner = self._paths.get(id(node), outer)
        truth = self._circuit(node, literals)
        self.graph.owner = outer
        return truth

    def _circuit(self, node: Node, literals: Literals | None) -> Truth:
        if isinstance(node, AndNode):
            return self._and(node, literals)
        if isinstance(node, OrNode):
            return self._or(node, literals)
        key = (node, literals)
        if key not in self._known:  # a graph has equal nodes once, and finds them one by one
            self._known[key] = self._leaf(node, literals)
        return self._known[key]

    def _leaf(self, node: Node, literals: Literals | None) -> Truth:
        vector = None if literals is None else Vector(literals)
        column = self.table.column(_column_of(node))
        match node:
            case RangeLeaf():
                return self.leaves.range(node, column, vector)
            case EqualLeaf():
                return self.leaves.equal(node, column, vector)
            case MemberLeaf():
                return self.leaves.member(node, column, vector)
            case PrefixLeaf():
                return self.leaves.prefix(node, column, vector)
            case NullLeaf():
                return self.leaves.null(node, column, vector)
        raise TypeError(f"not an encrypted leaf: {type(node).__name__}")

    def _and(self, node: AndNode, literals: Literals | None) -> Truth:
        public, children = split_public(node)
        if public is not None:
            literals = (*(literals or ()), self.literal(public, True))
        if literals is None:
            return self._joined([self._build(child, None) for child in children], self.both)
        chosen = min(range(len(children)), key=lambda i: self._mask_cost(children[i]))
        truths = [
            self.masked(child, literals) if index == chosen else self._build(child, None)
            for index, child in enumerate(children)
        ]
        return self._joined(truths, self.both)

    def _or(self, node: OrNode, literals: Literals | None) -> Truth:
        public, children = split_public(node)
        if public is None:
            return self._joined([self._build(child, literals) for child in children], self._either)
        base = literals or ()
        rest: Node = children[0] if len(children) == 1 else OrNode(tuple(children))
        other = self.masked(rest, (*base, self.literal(public, False)))
        vector = Vector(
            (*base, self.literal(public, True)), scale=other.factor, bound=_scaled(other.factor)
        )
        return Truth(self.graph.shift(other.node, vector), other.factor)

    # ---- joining -----------------------------------------------------------------------------

    def _joined(self, truths: list[Truth], join: Callable[[Truth, Truth], Truth]) -> Truth:
        """Pairs joined by depth, the deepest last, so that no chain grows longer than needed."""
        heap = [(self._depth(truth), index, truth) for index, truth in enumerate(truths)]
        heapq.heapify(heap)
        count = len(truths)
        while len(heap) > 1:
            _, _, a = heapq.heappop(heap)
            _, _, b = heapq.heappop(heap)
            joined = join(a, b)
            heapq.heappush(heap, (self._depth(joined), count, joined))
            count += 1
        return heap[0][2]

    def _depth(self, truth: Truth) -> int:
        return self.graph.depths[truth.node] + (self.graph.degrees[truth.node] > 1)

    def both(self, a: Truth, b: Truth) -> Truth:
        """TRUE where both are."""
        pair = (self.graph.switch(a.node), self.graph.switch(b.node))
        factor = a.factor * b.factor % PLAINTEXT_MODULUS
        return Truth(self.graph.dot([pair], INDICATOR), factor)

    def _either(self, a: Truth, b: Truth) -> Truth:
        graph = self.graph
        left, right = graph.switch(a.node), graph.switch(b.node)
        product = graph.dot([(left, right)])
        terms = [(-1, product), (centred(b.factor), left), (centred(a.factor), right)]
        factor = a.factor * b.factor % PLAINTEXT_MODULUS
        return Truth(graph.linear(terms, bound=INDICATOR), factor)

    def _mask_cost(self, node: Node) -> float:
        """How many products masking ``node`` early takes, with a charge for equalities; of two
        comparisons the narrower one, which *careful* masks make costlier by the digit.
        """
        match node:
            case AndNode():
                _, children = split_public(node)
                return min(self._mask_cost(child) for child in children)
            case OrNode():
                _, children = split_public(node)
                return sum(self._mask_cost(child) for child in children)
            case RangeLeaf():
                shape = shape_of(self.table.column(node.column_id), "digits")
                return 4 + shape.digits / 64
            case EqualLeaf() | PrefixLeaf():
                return 4 + _EQUALITY_COST
            case MemberLeaf():
                return shape_of(self.table.column(node.column_id), "onehot").slices
        return 1


def operators(root: Node, path: str = "0") -> list[tuple[str, Node]]:
    """Every node below ``root`` with its path: "0" is the root, "0.1" its second child."""
    found = [(path, root)]
    if isinstance(root, (AndNode, OrNode)):
        for index, child in enumerate(root.children):
            found.extend(operators(child, f"{path}.{index}"))
    return found


def normalised(node: Node) -> Node:
    """Nested ANDs and ORs flattened, public children of one branch merged into one."""
    if not isinstance(node, (AndNode, OrNode)):
        return node
    kind = type(node)
    flat: list[Node] = []
    for child in (normalised(child) for child in node.children):
        flat.extend(child.children if isinstance(child, kind) else (child,))
    public = [child.predicate for child in flat if isinstance(child, PublicNode)]
    rest = [child for child in flat if not isinstance(child, PublicNode)]
    if len(public) > 1:
        merged = And(tuple(public)) if kind is AndNode else Or(tuple(public))
        flat = [*rest, PublicNode(merged)]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def split_public(node: AndNode | OrNode) -> tuple[Predicate | None, list[Node]]:
    """The public child's predicate (one at most in a normalised tree) and the other children."""
    public = [child.predicate for child in node.children if isinstance(child, PublicNode)]
    rest = [child for child in node.children if not isinstance(child, PublicNode)]
    return (public[0] if public else None), rest


def implied_not_null(node: Node | None) -> frozenset[int]:
    """Columns that cannot be NULL where ``node`` is TRUE."""
    if node is None or isinstance(node, PublicNode):
        return frozenset()
    if isinstance(node, AndNode):
        return frozenset().union(*(implied_not_null(child) for child in node.children))
    if isinstance(node, OrNode):
        parts = [implied_not_null(child) for child in node.children]
        return parts[0].intersection(*parts[1:])
    if isinstance(node, NullLeaf) and not node.negated:
        return frozenset()
    return frozenset({_column_of(node)})


def centred(value: int) -> int:
    """``value`` mod t in (-t/2, t/2): the smaller a scalar, the less noise."""
    value %= PLAINTEXT_MODULUS
    return value if value <= PLAINTEXT_MODULUS // 2 else value - PLAINTEXT_MODULUS


def _scaled(factor: int) -> tuple[int, int]:
    return (0, factor % PLAINTEXT_MODULUS)


def _column_of(node: Node) -> int:
    if isinstance(node, (RangeLeaf, EqualLeaf, MemberLeaf, NullLeaf, PrefixLeaf)):
        return node.column_id
    raise TypeError(f"not an encrypted leaf: {type(node).__name__}")
