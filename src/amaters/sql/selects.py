"""SELECT: the list, GROUP BY, ORDER BY and LIMIT, bound to one table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Table
from amaters.plan.expressions import (
    Aggregate,
    ColumnRef,
    OrderItem,
    OutputItem,
    Predicate,
    Scalar,
    Select,
    aggregates_of,
    bare_columns,
)
from amaters.sql.aggregates import GroupConditions
from amaters.sql.having import HavingConditions
from amaters.sql.joins import bind_joins
from amaters.sql.literals import (
    Arguments,
    constant_text,
    integer_at_least_zero,
    is_constant,
    literal,
)
from amaters.sql.predicates import Conditions
from amaters.sql.scalars import Scalars, is_plain_constant, spelling
from amaters.sql.scope import Catalogue, Scope, bare, find_table, only, refuse, where, wrong
from amaters.sql.sources import aliases_of

_CLAUSES = (
    "expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct",
    "kind", "joins",
)  # fmt: skip


def bind_select(tree: exp.Select, catalogue: Catalogue, arguments: Arguments) -> Select:
    """The bound SELECT. Raises: AM-2203 to AM-2208."""
    only(tree, _CLAUSES, "SELECT ... FROM one table [WHERE] [GROUP BY] [HAVING] [ORDER BY] [LIMIT]")
    source = tree.args.get("from_")
    if source is None:
        refuse(tree, "SELECT without FROM", "name a table")
    if tree.args.get("joins"):
        single, joined, join = bind_joins(tree, catalogue, arguments)
        return replace(_Binding(single, joined.table, joined, arguments).bind(), join=join)
    table = find_table(catalogue, source.this)
    scope = Scope(table, source.this.alias or table.name, aliases_of(tree))
    return _Binding(tree, table, scope, arguments).bind()


@dataclass(frozen=True, slots=True)
class _Binding:
    tree: exp.Select
    table: Table
    scope: Scope
    arguments: Arguments

    def bind(self) -> Select:
        condition = self.tree.args.get("where")
        predicate = None
        if condition is not None:
            predicate = Conditions(self.scope, self.arguments).bind(condition.this)
        items = self._items()
        group_by = self._group_by(items)
        aggregate = (
            bool(group_by)
            or self.tree.args.get("having") is not None
            or any(aggregates_of(i.expression) for i in items)
        )
        if aggregate:
            self._check_grouped(items, group_by)
        order_by, hidden = self._order_by(items, group_by, aggregate=aggregate)
        items += hidden
        having, more = self._having(items, group_by)
        limit, offset = self._limits()
        return Select(
            table=self.table,
            where=predicate,
            items=items + more,
            group_by=group_by,
            order_by=order_by,
            limit=limit,
            offset=offset,
            distinct=self._distinct(),
            hidden=len(hidden) + len(more),
            having=having,
        )

    def _having(
        self, items: tuple[OutputItem, ...], group_by: tuple[int, ...]
    ) -> tuple[Predicate | None, tuple[OutputItem, ...]]:
        """The condition, and hidden outputs for aggregates that only it names."""
        node = self.tree.args.get("having")
        if node is None:
            return None, ()
        conditions = HavingConditions(
            self.scope,
            self.arguments,
            self.table,
            items,
            group_by,
        )
        predicate = conditions.bind(node.this)
        hidden = tuple(conditions.hidden)
        if not group_by and not any(aggregates_of(i.expression) for i in items + hidden):
            hidden += (OutputItem("having", Aggregate("count_star")),)
        return predicate, hidden

    def _distinct(self) -> bool:
        node = self.tree.args.get("distinct")
        if node is None:
            return False
        only(node, (), "write SELECT DISTINCT without ON")
        return True

    def _items(self) -> tuple[OutputItem, ...]:
        items: list[OutputItem] = []
        for node in self.tree.expressions:
            if isinstance(node, exp.Star) or _is_qualified_star(node):
                items += self._star(node)
            else:
                items.append(self._item(node))
        return tuple(items)

    def _star(self, node: exp.Expr) -> list[OutputItem]:
        star = node.this if isinstance(node, exp.Column) else node
        only(star, (), "write * alone")
        qualified = node if isinstance(node, exp.Column) else None
        return [OutputItem(c.name, ColumnRef(c.id)) for c in self.scope.star(qualified)]

    def _item(self, node: exp.Expr) -> OutputItem:
        alias = node.alias if isinstance(node, exp.Alias) else ""
        inner = bare(node.this if isinstance(node, exp.Alias) else node)
        if isinstance(inner, exp.Column):
            column = self.scope.column(inner)
            return OutputItem(alias or column.name, ColumnRef(column.id))
        if is_plain_constant(inner):
            constant = literal(inner, self.arguments)
            return OutputItem(alias or constant_text(inner, constant.value), constant)
        return OutputItem(alias or spelling(inner, self._grouped), self._scalar(inner))

    @property
    def _grouped(self) -> GroupConditions:
        return GroupConditions(self.scope, self.arguments)

    def _scalar(self, node: exp.Expr) -> Scalar:
        return Scalars(self._grouped).bind(node)

    def _group_by(self, items: tuple[OutputItem, ...]) -> tuple[int, ...]:
        group = self.tree.args.get("group")
        if group is None:
            return ()
        only(group, ("expressions",), "write GROUP BY with columns")
        keys = dict.fromkeys(self._group_key(node, items) for node in group.expressions)
        return tuple(keys)

    def _group_key(self, node: exp.Expr, items: tuple[OutputItem, ...]) -> int:
        node = bare(node)
        if isinstance(node, exp.Column):
            return self.scope.column(node).id
        if not isinstance(node, exp.Literal) or node.is_string:
            refuse(node, f"GROUP BY {node.key.upper()}", "group by columns")
        chosen = items[self._position(node, len(items), "GROUP BY")].expression
        if not isinstance(chosen, ColumnRef):
            wrong(node, "GROUP BY names an output that is no column", "group by columns")
        return chosen.column_id

    def _position(self, node: exp.Expr, count: int, clause: str) -> int:
        number = literal(node, self.arguments).value
        if not isinstance(number, int) or not 1 <= number <= count:
            wrong(node, f"{clause} position outside 1 to {count}", "name an output column")
        return number - 1

    def _check_grouped(self, items: tuple[OutputItem, ...], group_by: tuple[int, ...]) -> None:
        nodes = self.tree.expressions
        for index, item in enumerate(items):
            for column_id in sorted(bare_columns(item.expression)):
                node = nodes[index] if len(nodes) == len(items) else self.tree
                self._check_key(column_id, group_by, node)

    def _check_key(self, column_id: int, group_by: tuple[int, ...], node: exp.Expr) -> None:
        if column_id not in group_by:
            name = self.table.column(column_id).name
            fail("AM-2207", column=name, where=where(node))

    def _order_by(
        self, items: tuple[OutputItem, ...], group_by: tuple[int, ...], *, aggregate: bool
    ) -> tuple[tuple[OrderItem, ...], tuple[OutputItem, ...]]:
        """Sort keys, and hidden outputs for aggregates that only ORDER BY names."""
        order = self.tree.args.get("order")
        keys: list[OrderItem] = []
        hidden: list[OutputItem] = []
        for node in order.expressions if order is not None else ():
            only(node, ("this", "desc", "nulls_first"), "write ORDER BY key [ASC | DESC]")
            target = bare(node.this)
            found = self._order_key(target, items)
            if isinstance(found, ColumnRef):
                self._check_distinct(target)
                if aggregate:
                    self._check_key(found.column_id, group_by, target)
            elif isinstance(found, Scalar):
                found = self._hidden(target, found, (items, hidden), group_by, aggregate=aggregate)
            descending, first = bool(node.args.get("desc")), bool(node.args.get("nulls_first"))
            keys.append(OrderItem(found, descending, first))
        return tuple(keys), tuple(hidden)

    def _order_key(self, node: exp.Expr, items: tuple[OutputItem, ...]) -> int | Scalar:
        if isinstance(node, exp.Literal) and not node.is_string:
            return self._position(node, len(items), "ORDER BY")
        if isinstance(node, exp.Column):
            return self._order_column(node, items)
        if is_constant(node):
            refuse(
                node, f"ORDER BY {node.key.upper()}", "order by columns, positions or expressions"
            )
        scalar = self._scalar(node)
        listed = (i for i, item in enumerate(items) if item.expression == scalar)
        return next(listed, scalar)

    def _order_column(self, node: exp.Column, items: tuple[OutputItem, ...]) -> int | ColumnRef:
        """An alias of the select list first, then a column, as DuckDB resolves them."""
        if not node.table and node.name.lower() in self.scope.aliases:
            for index, item in enumerate(items):
                if item.name.lower() == node.name.lower():
                    return index
        column = ColumnRef(self.scope.column(node).id)
        listed = (i for i, item in enumerate(items) if item.expression == column)
        return next(listed, column)

    def _hidden(
        self,
        node: exp.Expr,
        found: Scalar,
        outputs: tuple[tuple[OutputItem, ...], list[OutputItem]],
        group_by: tuple[int, ...],
        *,
        aggregate: bool,
    ) -> int:
        items, hidden = outputs
        if not aggregate and aggregates_of(found):
            wrong(node, "ORDER BY with an aggregate in a query of rows", "add GROUP BY")
        if aggregate:
            for column_id in sorted(bare_columns(found)):
                self._check_key(column_id, group_by, node)
        self._check_distinct(node)
        hidden.append(OutputItem(f"order {len(hidden) + 1}", found))
        return len(items) + len(hidden) - 1

    def _check_distinct(self, node: exp.Expr) -> None:
        if self._distinct():
            wrong(node, "ORDER BY of DISTINCT rows by what is not selected", "select it too")

    def _limits(self) -> tuple[int | None, int]:
        limit, offset = self.tree.args.get("limit"), self.tree.args.get("offset")
        count, start = None, 0
        if limit is not None:
            if not isinstance(limit, exp.Limit):
                refuse(limit, f"{limit.key.upper()}", "write LIMIT n")
            only(limit, ("expression",), "write LIMIT n")
            count = integer_at_least_zero(limit.expression, self.arguments, "LIMIT")
        if offset is not None:
            only(offset, ("expression",), "write OFFSET n")
            start = integer_at_least_zero(offset.expression, self.arguments, "OFFSET") or 0
        return count, start


def _is_qualified_star(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
