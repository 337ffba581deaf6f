"""A plan reduced to what decides its depth: quickly built, and exactly as deep."""

from __future__ import annotations

from dataclasses import replace

from amaters.plan.check import ConstantLeaf
from amaters.plan.spec import AndNode, Node, OrNode, PlanSpec, all_leaves

GAIN = 4  # so many leaves for each different one: looking at the skeleton first pays


def skeleton(spec: PlanSpec) -> PlanSpec | None:
    """``spec`` with equal leaves wherever leaves have equal circuits; None where that is not much
    smaller.

    Leaves that differ only in their constants' slots become one, of which a graph has one copy.
    """
    firsts: dict[Node, Node] = {}

    def alike(node: Node) -> Node:
        if isinstance(node, (AndNode, OrNode)):
            return type(node)(tuple(alike(child) for child in node.children))
        if isinstance(node, ConstantLeaf):
            return firsts.setdefault(replace(node, slot=0), node)
        return node

    conditions = tuple(
        item if item.filter is None else replace(item, filter=alike(item.filter))
        for item in spec.conditions
    )
    node = None if spec.filter is None else alike(spec.filter)
    made = replace(spec, filter=node, conditions=conditions)
    found = all_leaves(made)
    return made if len(found) >= GAIN * len(set(found)) > 0 else None
