"""FROM with several tables: which of them is the fact, and how each other's row is found.

A join is answered from one table, the *fact*: for every row of it there is at most one row of every
other table, its *dimensions*, because what they are joined on is unique there. A dimension may hang
on the fact or on another dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Column, Table
from amaters.columns.types import TypeKind
from amaters.plan.expressions import DIMENSION_STEP, Dimension, Join
from amaters.sql.literals import Arguments
from amaters.sql.predicates import Conditions
from amaters.sql.scope import (
    Catalogue,
    Scope,
    bare,
    find_table,
    only,
    refuse,
    where,
    wrong,
)
from amaters.sql.sources import PART, Source, aliases_of, date_parts, find_column

TABLES_MAX = 16
_INNER = "write FROM a [LEFT] JOIN b ON a.key = b.key"


@dataclass(frozen=True, slots=True)
class Equation:
    """Two columns of different tables that must be equal: (index of the source, column) twice.

    ``owner``: the LEFT JOINed source whose ON it is from; it says nothing of any other.
    """

    left: tuple[int, Column]
    right: tuple[int, Column]
    node: exp.Expr
    owner: int | None = None

    def seen_from(self, index: int) -> tuple[tuple[int, Column], Column] | None:
        """(the other side, own column), None when source ``index`` has no part in it."""
        if self.right[0] == index:
            return self.left, self.right[1]
        return (self.right, self.left[1]) if self.left[0] == index else None


@dataclass(frozen=True, slots=True)
class JoinScope(Scope):
    """Names in a SELECT over several tables. ``ids``: offset of each source's column ids."""

    sources: tuple[Source, ...]
    offsets: tuple[int, ...]

    def find(self, node: exp.Column) -> Column | None:
        """See ``Scope``. Raises: AM-2225 for a name that several tables have."""
        if PART in node.meta:
            return self.table.column(int(node.meta[PART]))
        only(node, ("this", "table"), "write column or table.column")
        if isinstance(node.this, exp.Star):
            refuse(node, "* among other expressions", "name the columns")
        found = find_column(node, self.sources)
        return None if found is None else self.table.column(self.offsets[found[0]] + found[1].id)

    def star(self, node: exp.Column | None) -> tuple[Column, ...]:
        """See ``Scope``."""
        if node is None:
            return self.table.visible_columns
        for source, offset in zip(self.sources, self.offsets, strict=True):
            if source.name.lower() == node.table.lower():
                return tuple(self.table.column(offset + c.id) for c in source.table.visible_columns)
        fail("AM-2203", table=node.table, where=where(node), near="")


@dataclass(slots=True)
class Joined:
    """What FROM, ON, USING and WHERE say together. ``rest``: conditions that join nothing;
    ``only``: those that a LEFT JOIN asks of its own rows, by index of the source.
    """

    sources: list[Source] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    rest: list[exp.Expr] = field(default_factory=list)
    only: dict[int, list[exp.Expr]] = field(default_factory=dict)


def bind_joins(
    tree: exp.Select, catalogue: Catalogue, arguments: Arguments
) -> tuple[exp.Select, JoinScope, Join]:
    """``tree`` as a SELECT over one joined table, the names in it, and how it is joined.

    Raises: AM-2203 to AM-2205, AM-2225 to AM-2228.
    """
    tree = tree.copy()
    joined = Joined()
    first = tree.args["from_"].this
    _add(joined, first, catalogue)
    for node in tree.args.pop("joins"):
        _add_join(joined, node, catalogue)
    condition = tree.args.get("where")
    if condition is not None:
        _split(joined, condition.this)
    _drop_known(joined, tree)
    tree.set("where", _conjunction(joined.rest))
    fact = _fact(joined, first)
    offsets = tuple(
        0 if index == fact else DIMENSION_STEP * (index + 1) for index in range(len(joined.sources))
    )
    sources = tuple(joined.sources)
    parts, columns = date_parts(tree, sources, offsets)
    table = _table(joined, fact, offsets, columns)
    order = _reached(joined, fact)
    assert order is not None
    name = joined.sources[fact].name
    scope = JoinScope(table, name, aliases_of(tree), sources, offsets)
    conditions = Conditions(scope, arguments)
    dimensions = []
    for index, equations in order:
        made = _dimension(joined, index, equations, offsets)
        if index in joined.only:
            made = replace(made, only=conditions.bind(_all_of(joined.only[index])))
        dimensions.append(made)
    return tree, scope, Join(joined.sources[fact].table, name, tuple(dimensions), parts)


# ---- FROM ------------------------------------------------------------------------------------


def _add(joined: Joined, node: exp.Expr, catalogue: Catalogue) -> None:
    table = find_table(catalogue, node)
    name = node.alias or table.name
    if any(source.name.lower() == name.lower() for source in joined.sources):
        wrong(node, f"two tables are called {name} in FROM", "give one of them an alias")
    if len(joined.sources) == TABLES_MAX:
        refuse(node, f"a join of more than {TABLES_MAX} tables", "split the statement")
    joined.sources.append(Source(table, name))


def _add_join(joined: Joined, node: exp.Join, catalogue: Catalogue) -> None:
    side, kind = str(node.side).upper(), str(node.kind).upper()
    is_outer = side == "LEFT" and kind in ("", "OUTER")
    if not (is_outer or (not side and kind in ("", "INNER", "CROSS"))) or node.method:
        words = " ".join(word for word in (node.method, side, kind) if word)
        fail("AM-2226", what=f"{words} JOIN", where=where(node.this))
    only(node, ("this", "side", "kind", "on", "using"), _INNER)
    _add(joined, node.this, catalogue)
    if is_outer:
        joined.sources[-1] = replace(joined.sources[-1], is_outer=True)
    if node.args.get("on") is not None and is_outer:
        _split_outer(joined, node.args["on"])
    elif node.args.get("on") is not None:
        _split(joined, node.args["on"], len(joined.sources) - 1)
    for name in node.args.get("using") or ():
        _add_using(joined, name)


def _add_using(joined: Joined, name: exp.Expr) -> None:
    """One column of USING: the last table's equals that of an earlier one, and is the same."""
    last = len(joined.sources) - 1
    own = joined.sources[last].find(name.name)
    bare_name = exp.column(name.name)
    other = find_column(bare_name, tuple(joined.sources[:last]))
    if own is None or other is None:
        wrong(name, f"USING names {name.name}, which one side lacks", _INNER)
    source = joined.sources[last]
    joined.equations.append(Equation(other, (last, own), name, last if source.is_outer else None))
    joined.sources[last] = replace(source, merged=source.merged | {own.id})


def _split_outer(joined: Joined, condition: exp.Expr) -> None:
    """ON of the LEFT JOIN of the last source: what finds its rows, and what is asked of them.

    Raises: AM-2226 for conditions on other tables.
    """
    last = len(joined.sources) - 1
    for part in _conjuncts(condition):
        equation = _equation(joined, part)
        if equation is not None and equation.seen_from(last) is not None:
            joined.equations.append(replace(equation, owner=last))
            continue
        names = (find_column(c, tuple(joined.sources)) for c in part.find_all(exp.Column))
        if any(found is not None and found[0] != last for found in names):
            what = "LEFT JOIN ON a condition that is not of the joined table alone"
            fail("AM-2226", what=what, where=where(part))
        joined.only.setdefault(last, []).append(part)


def _joins(joined: Joined, equation: Equation, last: int | None) -> bool:
    """Whether an equation holds in every row: not where it is about a LEFT JOINed table, unless
    the table that is joined just now is found by it.
    """
    outer = [i for i, _ in (equation.left, equation.right) if joined.sources[i].is_outer]
    return not outer or (
        last is not None and last not in outer and equation.seen_from(last) is not None
    )


def _split(joined: Joined, condition: exp.Expr, last: int | None = None) -> None:
    """Equations out of a condition; one that stands in every branch of an OR holds everywhere.

    ``last``: the source whose ON this is.
    """
    for part in _conjuncts(condition):
        equation = _equation(joined, part)
        if equation is not None and _joins(joined, equation, last):
            joined.equations.append(equation)
            continue
        if isinstance(part, exp.Or) and not any(s.is_outer for s in joined.sources):
            joined.equations += _common(joined, part)
            part = _without(joined, part)  # noqa: PLW2901 - what is left of it
        joined.rest.append(part)


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    yield from _operands(node, exp.And)


def _operands(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The operands of a chain of one connector, left to right, without recursion."""
    waiting = [node]
    while waiting:
        part = bare(waiting.pop())
        if isinstance(part, kind) and isinstance(part, exp.Binary):
            waiting += [part.expression, part.this]
        else:
            yield part


def _equation(joined: Joined, node: exp.Expr) -> Equation | None:
    """``a.x = b.y`` with columns of different tables."""
    if not isinstance(node, exp.EQ):
        return None
    sides = [side for side in (bare(node.this), bare(node.expression)) if _is_name(side)]
    if len(sides) != 2:
        return None
    left, right = (find_column(side, tuple(joined.sources)) for side in sides)
    if left is None or right is None or left[0] == right[0]:
        return None
    return Equation(left, right, node)


def _is_name(node: exp.Expr) -> TypeGuard[exp.Column]:
    return isinstance(node, exp.Column) and not isinstance(node.this, exp.Star)


def _common(joined: Joined, node: exp.Expr) -> list[Equation]:
    branches = []
    for branch in _operands(node, exp.Or):
        equations = (_equation(joined, part) for part in _conjuncts(branch))
        branches.append({_identity(e): e for e in equations if e is not None})
    shared = set(branches[0]).intersection(*branches[1:])
    return [branches[0][key] for key in branches[0] if key in shared]


def _identity(equation: Equation) -> frozenset[tuple[int, int]]:
    sides = (equation.left, equation.right)
    return frozenset((index, column.id) for index, column in sides)


def _without(joined: Joined, node: exp.Expr) -> exp.Expr:
    """An OR without the equations that all of its branches share."""
    shared = {_identity(equation) for equation in _common(joined, node)}
    branches = []
    for branch in _operands(node, exp.Or):
        kept = []
        for part in _conjuncts(branch):
            equation = _equation(joined, part)
            if equation is None or _identity(equation) not in shared:
                kept.append(part)
        branches.append(_all_of(kept))
    whole = branches[0]
    for branch in branches[1:]:
        whole = exp.Or(this=whole, expression=branch)
    return whole


def _drop_known(joined: Joined, tree: exp.Select) -> None:
    """What joins the tables holds in every row, so elsewhere in this SELECT it is TRUE."""
    known = {_identity(e) for e in joined.equations if _joins(joined, e, None)}
    for part in joined.rest:
        for node in list(part.find_all(exp.EQ)):
            if node.find_ancestor(exp.Select) is not tree:
                continue
            equation = _equation(joined, node)
            if equation is not None and _identity(equation) in known:
                node.replace(exp.true())


def _all_of(nodes: list[exp.Expr]) -> exp.Expr:
    whole: exp.Expr = nodes[0] if nodes else exp.true()
    for node in nodes[1:]:
        whole = exp.And(this=whole, expression=node)
    return whole


def _conjunction(nodes: list[exp.Expr]) -> exp.Where | None:
    return exp.Where(this=_all_of(nodes)) if nodes else None


# ---- fact and dimensions ---------------------------------------------------------------------


def _fact(joined: Joined, node: exp.Expr) -> int:
    """The table from whose rows all others' are found; what is stored comes before what is not.

    Raises: AM-2227 without one, AM-2228 for a table that nothing is joined on.
    """
    indices = range(len(joined.sources))
    order = sorted(indices, key=lambda index: joined.sources[index].table.is_local)
    fact = next((index for index in order if _reached(joined, index) is not None), None)
    if fact is not None:
        return fact
    for index, source in enumerate(joined.sources):
        if all(equation.seen_from(index) is None for equation in joined.equations):
            fail("AM-2228", table=source.name, where=where(node))
    fail("AM-2227", tables=", ".join(source.name for source in joined.sources), where=where(node))


def _reached(joined: Joined, fact: int) -> list[tuple[int, list[Equation]]] | None:
    """Dimensions in an order in which each hangs on earlier ones, with all equations that tie it to
    them; None when some are not found by a unique key.
    """
    reached, order = {fact}, []
    remaining = [index for index in range(len(joined.sources)) if index != fact]
    while remaining:
        for index in remaining:
            tied = _tied(joined, index, reached)
            keys = {own.id for equation in tied for _, own in [_sides(equation, index)]}
            if any(keys.issuperset(unique) for unique in joined.sources[index].table.unique_keys):
                break
        else:
            return None
        reached.add(index)
        remaining.remove(index)
        order.append((index, tied))
    return order


def _tied(joined: Joined, index: int, reached: set[int]) -> list[Equation]:
    found = []
    for equation in joined.equations:
        sides = equation.seen_from(index)
        wanted = index if joined.sources[index].is_outer else None
        if sides is not None and sides[0][0] in reached and equation.owner == wanted:
            found.append(equation)
    return found


def _sides(equation: Equation, index: int) -> tuple[tuple[int, Column], Column]:
    sides = equation.seen_from(index)
    assert sides is not None
    return sides


def _dimension(
    joined: Joined, index: int, equations: list[Equation], offsets: tuple[int, ...]
) -> Dimension:
    left, right = [], []
    for equation in equations:
        (other, theirs), own = _sides(equation, index)
        if not _comparable(theirs, own):
            what = f"{theirs.name}, a {theirs.type.sql_name}, joined on {own.name}, a "
            wrong(equation.node, what + own.type.sql_name, "join columns of one type")
        left.append(offsets[other] + theirs.id)
        right.append(own.id)
    source = joined.sources[index]
    return Dimension(
        source.table, source.name, offsets[index], tuple(left), tuple(right), source.is_outer
    )


def _comparable(a: Column, b: Column) -> bool:
    numbers = (TypeKind.INT, TypeKind.DECIMAL)
    kinds = a.type.kind is b.type.kind or (a.type.kind in numbers and b.type.kind in numbers)
    return kinds and a.type.scale == b.type.scale


def _table(
    joined: Joined, fact: int, offsets: tuple[int, ...], computed: tuple[Column, ...]
) -> Table:
    """All columns as those of one table, in the order of FROM; the fact's keep their ids."""
    names = [c.name.lower() for source in joined.sources for c in source.table.columns]
    columns = []
    for index, (source, offset) in enumerate(zip(joined.sources, offsets, strict=True)):
        for column in source.table.columns:
            name = column.name
            if index != fact and names.count(name.lower()) > 1:
                name = f"{source.name}.{name}"
            columns.append(
                replace(
                    column,
                    id=offset + column.id,
                    name=name,
                    primary_key=column.primary_key and index == fact,
                    nullable=column.nullable or source.is_outer,
                    generated=column.generated if index == fact else None,
                    hidden=column.hidden or column.id in source.merged,
                )
            )
    return replace(joined.sources[fact].table, columns=(*columns, *computed))
