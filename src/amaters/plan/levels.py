"""Levels as late as possible, and the proof that every decryption and every step is exact.

Going backwards from the outputs, a node gets the highest level any consumer needs; a switch needs
one more of its operand for each prime it drops. Truncating is free, so inputs are read, and lower
consumers served, at exactly the level they need. Going forwards, ``fhe.meta.Rules`` gives every
node its noise bound; a node without headroom is a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log2

from amaters.base.errors import AmatersError
from amaters.fhe.meta import Meta, Rules
from amaters.plan.graph import Graph, GraphNode, Vector

_EXCESS_BITS = 4.0  # above the floor of a switch: noise that a second drop would remove


@dataclass(frozen=True, slots=True)
class Stored:
    """The noisiest input there may be: a sum of ``parts`` encryptions, moved to another key
    ``rekeys`` times.
    """

    parts: int = 1
    rekeys: int = 0


def assign(graph: Graph, roots: dict[int, int], drops: dict[int, int]) -> list[int]:
    """Level of every node, 0 for nodes that no root needs. ``drops``: switches dropping more."""
    levels = [0] * len(graph.nodes)
    for root, wanted in roots.items():
        levels[root] = max(levels[root], wanted)
    for index in range(len(graph.nodes) - 1, -1, -1):
        level = levels[index]
        if not level:
            continue
        node = graph.nodes[index]
        if node.op == "switch":
            level += drops.get(index, 1)
        for operand in node.operands:
            levels[operand] = max(levels[operand], level)
    return levels


class Prover:
    """Metas of all nodes at given levels.

    Independent factors (``fhe.meta``) only matter from the last switches on: those nodes are
    *tracked* with all origins. Everything below has a plain meta, and equal operations on equal
    metas are computed once, which makes the proof of a large filter as quick as that of one leaf.
    """

    def __init__(
        self, graph: Graph, rules: Rules, roots: Iterable[int], stored: Stored | None = None
    ) -> None:
        self.graph = graph
        self.rules = rules
        self._stored = stored or Stored()
        self._tracked, self._boundary = _tracked(graph, roots)
        self._origins = {index: _origins(graph, index) for index in self._boundary}
        self._memo: dict[tuple[object, ...], Meta] = {}
        self._kept: list[Meta] = []  # operands in the memo's keys stay alive, so ids stay theirs

    def prove(self, levels: list[int], drops: dict[int, int]) -> tuple[list[Meta | None], bool]:
        """The meta of every node that has a level; False and those before the first that fails."""
        metas: list[Meta | None] = []
        for index, node in enumerate(self.graph.nodes):
            if not levels[index]:
                metas.append(None)
                continue
            dropped = drops.get(index, 1) if node.op == "switch" else 0
            operands: list[Meta] = []
            for operand in node.operands:
                meta = metas[operand]
                assert meta is not None
                operands.append(meta)
            made = self._meta(index, operands, levels[index], dropped)
            if made is None:
                return metas, False
            metas.append(made)
        return metas, True

    def _meta(self, index: int, operands: list[Meta], level: int, drops: int) -> Meta | None:
        """One node's meta, None when it is not provably exact."""
        node = self.graph.nodes[index]
        if index in self._tracked:
            return self._checked(node, operands, level, drops, origin=index)
        key = (node.op, level, drops, node.factors, node.offset, node.bound, *map(id, operands))
        if node.op in ("mask", "shift"):
            key = (*key, self.graph.vectors[int(node.ref[0])].bound)
        made = self._memo.get(key)
        if made is None:
            made = self._checked(node, operands, level, drops, origin=None)
            if made is None:
                return None
            self._memo[key] = made
            self._kept.extend(operands)
        if index in self._boundary:
            return replace(made, others=self._origins[index])
        return made

    def _checked(
        self, node: GraphNode, operands: list[Meta], level: int, drops: int, *, origin: int | None
    ) -> Meta | None:
        truncated = [self.rules.truncate(meta, level + drops) for meta in operands]
        try:
            made = step(
                self.rules,
                node,
                truncated,
                origin,
                drops,
                level=level,
                vectors=self.graph.vectors,
                stored=self._stored,
            )
        except AmatersError as error:
            if error.code != "AM-2301":
                raise
            return None
        if node.bound is not None:
            made = self.rules.assert_bound(made, *node.bound)
        return made if self.rules.headroom(made) > 0 else None


def step(
    rules: Rules,
    node: GraphNode,
    operands: list[Meta],
    origin: int | None,
    drops: int,
    *,
    level: int,
    vectors: list[Vector],
    stored: Stored | None = None,
) -> Meta:
    """The meta of one operation, as the evaluators compute it (public vectors at their worst).

    ``stored``: what an input may be.
    """
    match node.op:
        case "input" | "constant":
            lo, hi = node.bound or (0, 1)
            kept = stored if stored is not None and node.op == "input" else Stored()
            return rules.stored(kept.parts, kept.rekeys, level, lo, hi, origin=origin)
        case "linear":
            return rules.linear(list(zip(node.factors, operands, strict=True)), node.offset)
        case "dot":
            return rules.dot(zip(operands[::2], operands[1::2], strict=True))
        case "switch":
            meta = operands[0]
            for _ in range(drops):
                meta = rules.switch(meta)
            return meta
    bound = vectors[int(node.ref[0])].bound
    if node.op == "mask":
        return rules.public_product(operands[0], None, *bound)
    return rules.public_add(operands[0], None, *bound)


def _tracked(graph: Graph, roots: Iterable[int]) -> tuple[set[int], set[int]]:
    """(nodes that roots reach without passing a switch, the switches met)."""
    tracked: set[int] = set()
    boundary: set[int] = set()
    pending = list(roots)
    while pending:
        index = pending.pop()
        if graph.nodes[index].op == "switch":
            boundary.add(index)
        elif index not in tracked:
            tracked.add(index)
            pending.extend(graph.nodes[index].operands)
    return tracked, boundary


def _origins(graph: Graph, root: int) -> frozenset[int]:
    """Every input and constant that ``root`` depends on."""
    seen: set[int] = set()
    found: list[int] = []
    pending = [root]
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        if graph.nodes[index].op in ("input", "constant"):
            found.append(index)
        pending.extend(graph.nodes[index].operands)
    return frozenset(found)


def culprit(
    graph: Graph, levels: list[int], metas: list[Meta | None], drops: dict[int, int], floor: float
) -> int | None:
    """The first switch whose result is far noisier than a switch must be; None if there is none."""
    for index, node in enumerate(graph.nodes):
        if node.op != "switch" or not levels[index] or index >= len(metas):
            continue
        meta = metas[index]
        if meta is not None and meta.noise > floor + _EXCESS_BITS and drops.get(index, 1) == 1:
            return index
    return None


def summed(rules: Rules, product: Meta, segments: int, constants: frozenset[int]) -> Meta:
    """The sum of one product per segment.

    The fresh factors of different segments are different encryptions; where none is a constant of
    the statement, their bounds add in quadrature, as ``Rules.accumulate`` would find.
    """
    count = log2(segments)
    lo, hi = product.lo * segments, product.hi * segments
    apart = bool(product.factors) and product.factors.isdisjoint(constants)
    rest = product.rest
    if rest is not None:
        rest += count / 2 if apart else count
    return replace(product, noise=product.noise + count, rest=rest, lo=lo, hi=hi)
