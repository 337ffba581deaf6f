"""A condition cut into parts whose truths combine to its own, outside of any circuit.

Masks mean "is TRUE", and in three-valued logic AND and OR are monotone: where NOT is pushed to the
leaves, a condition is TRUE exactly where the AND and OR of its parts' truths says so. Public
conditions inside are distributed over their encrypted siblings (Kleene's logic is a distributive
lattice), so that every part has something encrypted in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amaters.plan.expressions import And, Not, Or, Predicate, Truth, predicate_columns

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PartRef:
    """Where part ``number`` is TRUE."""

    number: int


@dataclass(frozen=True, slots=True)
class Combined:
    """All of ``children`` (a conjunction), or any of them."""

    conjunction: bool
    children: tuple[Combination, ...]


Combination = PartRef | Combined


@dataclass(frozen=True, slots=True)
class _Branch:
    conjunction: bool
    children: tuple[_Tree, ...]


_Tree = _Branch | Predicate


class Leaves(Protocol):
    """What is known of a condition without NOT, AND and OR in it."""

    def is_public(self, column_id: int) -> bool:
        """Whether the server may evaluate conditions on this column."""

    def constant(self, leaf: Predicate) -> bool | None:
        """Whether a leaf over encrypted columns is TRUE for all rows, or for none; else None."""


def pieces(where: Predicate, known: Leaves, size: int) -> tuple[list[Predicate], Combination]:
    """Parts of at most ``size`` encrypted leaves, and how they combine. How many there are depends
    on the shape of ``where`` alone.

    A conjunct that is public is left out: whoever evaluates the parts restricts the rows by it.
    """
    tree = _tree(where, known, negated=False)
    if isinstance(tree, _Branch) and tree.conjunction:
        kept = tuple(child for child in tree.children if not _public(child, known))
        tree = kept[0] if len(kept) == 1 else _Branch(True, kept)
    parts: list[Predicate] = []
    return parts, _cut(_distributed(tree, (), known), size, parts)


def encrypted_leaves(where: Predicate, known: Leaves) -> int:
    """How many conditions on encrypted columns ``where`` combines."""
    leaves = _leaves(_tree(where, known, negated=False))
    return sum(not isinstance(leaf, Truth) and not _public(leaf, known) for leaf in leaves)


def combine(combination: Combination, masks: Sequence[Mask]) -> Mask:
    """The mask of the whole condition from those of its parts."""
    match combination:
        case PartRef(number):
            return masks[number]
        case Combined(conjunction, children):
            made = [combine(child, masks) for child in children]
            joined = np.logical_and if conjunction else np.logical_or
            return np.asarray(joined.reduce(made), dtype=np.bool_)


def _tree(predicate: Predicate, known: Leaves, *, negated: bool) -> _Tree:
    """Negation at the leaves; branches of one kind flattened; public subtrees are leaves; leaves
    that are the same for all rows are gone, unless nothing else is left.
    """
    columns = predicate_columns(predicate)
    if columns and all(known.is_public(column) for column in columns):
        return Not(predicate) if negated else predicate
    match predicate:
        case Not(child):
            return _tree(child, known, negated=not negated)
        case And(children) | Or(children):
            conjunction = isinstance(predicate, And) != negated
            return _branch(
                [_tree(child, known, negated=negated) for child in children], conjunction
            )
    leaf = Not(predicate) if negated else predicate
    constant = known.constant(leaf)
    return leaf if constant is None else Truth(constant)


def _branch(children: Sequence[_Tree], conjunction: bool) -> _Tree:
    made: list[_Tree] = []
    for child in children:
        if isinstance(child, _Branch) and child.conjunction == conjunction:
            made.extend(child.children)
        elif child == Truth(not conjunction):
            return Truth(not conjunction)
        elif child != Truth(conjunction):
            made.append(child)
    if not made:
        return Truth(conjunction)
    return made[0] if len(made) == 1 else _Branch(conjunction, tuple(made))


def _public(tree: _Tree, known: Leaves) -> bool:
    if isinstance(tree, _Branch):
        return all(_public(child, known) for child in tree.children)
    columns = predicate_columns(tree)
    return bool(columns) and all(known.is_public(column) for column in columns)


def _distributed(tree: _Tree, around: tuple[tuple[bool, Predicate], ...], known: Leaves) -> _Tree:
    """Public siblings moved down to every encrypted leaf; ``around``: (conjunction, predicate),
    innermost first.
    """
    if not isinstance(tree, _Branch):
        for conjunction, predicate in around:
            tree = And((predicate, tree)) if conjunction else Or((predicate, tree))
        return tree
    public = [child for child in tree.children if _public(child, known)]
    rest = [child for child in tree.children if not _public(child, known)]
    own = tuple((tree.conjunction, _predicate(child)) for child in public)
    made = tuple(_distributed(child, (*own, *around), known) for child in rest)
    return made[0] if len(made) == 1 else _Branch(tree.conjunction, made)


def _cut(tree: _Tree, size: int, parts: list[Predicate]) -> Combination:
    if not isinstance(tree, _Branch) or len(_leaves(tree)) <= size:
        return _part(_predicate(tree), parts)
    made: list[Combination] = []
    group: list[_Tree] = []
    room = size
    for child in sorted(tree.children, key=lambda child: len(_leaves(child))):
        count = len(_leaves(child))
        if count > room and group:
            made.append(_group(group, tree.conjunction, parts))
            group, room = [], size
        if count > size:
            made.append(_cut(child, size, parts))
            continue
        group.append(child)
        room -= count
    if group:
        made.append(_group(group, tree.conjunction, parts))
    return made[0] if len(made) == 1 else Combined(tree.conjunction, tuple(made))


def _group(children: Sequence[_Tree], conjunction: bool, parts: list[Predicate]) -> Combination:
    tree = children[0] if len(children) == 1 else _Branch(conjunction, tuple(children))
    return _part(_predicate(tree), parts)


def _part(predicate: Predicate, parts: list[Predicate]) -> PartRef:
    # Equal parts are asked twice: that constants are equal must not show.
    parts.append(predicate)
    return PartRef(len(parts) - 1)


def _leaves(tree: _Tree) -> list[Predicate]:
    if isinstance(tree, _Branch):
        return [leaf for child in tree.children for leaf in _leaves(child)]
    return [tree]


def _predicate(tree: _Tree) -> Predicate:
    if not isinstance(tree, _Branch):
        return tree
    children = tuple(_predicate(child) for child in tree.children)
    return And(children) if tree.conjunction else Or(children)
