"""SELECT: the list, GROUP BY, ORDER BY and LIMIT, bound to one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import (
    Aggregate,
    Arithmetic,
    ColumnRef,
    OrderItem,
    OutputItem,
    Predicate,
    Scalar,
    Select,
)
from amaters.sql.having import HavingConditions
from amaters.sql.literals import (
    Arguments,
    constant_text,
    integer_at_least_zero,
    is_constant,
    literal,
)
from amaters.sql.predicates import Conditions
from amaters.sql.scope import Catalogue, Scope, bare, find_table, only, refuse, where, wrong

_CLAUSES = (
    "expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct",
    "kind",
)  # fmt: skip
_AGGREGATES = "the aggregates are COUNT(*), COUNT(c), SUM and AVG of a column or of a * b"
_FUNCTIONS: Mapping[type[exp.Expr], str] = {exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg"}


def bind_select(tree: exp.Select, catalogue: Catalogue, arguments: Arguments) -> Select:
    """The bound SELECT. Raises: AM-2203 to AM-2208."""
    only(tree, _CLAUSES, "SELECT ... FROM one table [WHERE] [GROUP BY] [HAVING] [ORDER BY] [LIMIT]")
    source = tree.args.get("from_")
    if source is None:
        refuse(tree, "SELECT without FROM", "name a table")
    table = find_table(catalogue, source.this)
    aliases = {
        item.alias.lower(): bare(item.this)
        for item in tree.expressions
        if isinstance(item, exp.Alias)
    }
    scope = Scope(table, source.this.alias or table.name, aliases)
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
            or any(isinstance(i.expression, Aggregate) for i in items)
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
            lambda aggregate: self._aggregate(aggregate)[1],
        )
        predicate = conditions.bind(node.this)
        hidden = tuple(conditions.hidden)
        if not group_by and not any(isinstance(i.expression, Aggregate) for i in items + hidden):
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
        if isinstance(node, exp.Column) and node.table.lower() != self.scope.name.lower():
            fail("AM-2203", table=node.table, where=where(node), near="")
        return [OutputItem(c.name, ColumnRef(c.id)) for c in self.table.visible_columns]

    def _item(self, node: exp.Expr) -> OutputItem:
        alias = node.alias if isinstance(node, exp.Alias) else ""
        inner = bare(node.this if isinstance(node, exp.Alias) else node)
        if isinstance(inner, exp.Column):
            column = self.scope.column(inner)
            return OutputItem(alias or column.name, ColumnRef(column.id))
        if isinstance(inner, exp.AggFunc):
            name, aggregate = self._aggregate(inner)
            return OutputItem(alias or name, aggregate)
        if not is_constant(inner):
            fix = f"select columns, constants and aggregates; {_AGGREGATES}"
            refuse(inner, f"{inner.key.upper()} in the select list", fix)
        constant = literal(inner, self.arguments)
        return OutputItem(alias or constant_text(inner, constant.value), constant)

    def _aggregate(self, node: exp.Expr) -> tuple[str, Aggregate]:
        """The aggregate and the name DuckDB gives its column."""
        function = _FUNCTIONS.get(type(node))
        if function is None:
            refuse(node, f"aggregate {node.key.upper()}", _AGGREGATES)
        only(node, ("this", "big_int"), _AGGREGATES)
        if function == "count" and (node.this is None or isinstance(node.this, exp.Star)):
            return "count_star()", Aggregate("count_star")
        operand = bare(node.this)
        if function == "count" and is_constant(operand):
            return self._count_constant(operand)
        if isinstance(operand, exp.Column):
            column = self.scope.column(operand)
            if function != "count":
                self._check_numeric(operand, column, function)
            return f"{function}({_spelling(operand)})", Aggregate(function, ColumnRef(column.id))
        if function != "count" and isinstance(operand, exp.Mul):
            return self._product(function, operand)
        refuse(operand, f"{function.upper()} of {operand.key.upper()}", _AGGREGATES)

    def _count_constant(self, operand: exp.Expr) -> tuple[str, Aggregate]:
        value = literal(operand, self.arguments).value
        if value is None:
            refuse(operand, "COUNT of NULL", "write 0")
        return f"count({constant_text(operand, value)})", Aggregate("count_star")

    def _product(self, function: str, node: exp.Mul) -> tuple[str, Aggregate]:
        names: list[str] = []
        found: list[Scalar] = []
        for factor in (bare(node.this), bare(node.expression)):
            if not isinstance(factor, exp.Column):
                refuse(factor, f"this expression inside {function.upper()}", _AGGREGATES)
            column = self.scope.column(factor)
            self._check_numeric(factor, column, function)
            names.append(_spelling(factor))
            found.append(ColumnRef(column.id))
        product = Arithmetic("*", *found)
        return f"{function}(({' * '.join(names)}))", Aggregate(function, product)

    def _check_numeric(self, node: exp.Expr, column: Column, function: str) -> None:
        if not column.type.is_numeric:
            what = f"{function.upper()} of column {column.name} of type {column.type.sql_name}"
            wrong(node, what, "sum numbers only")

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
            if isinstance(item.expression, ColumnRef):
                node = nodes[index] if len(nodes) == len(items) else self.tree
                self._check_key(item.expression.column_id, group_by, node)

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
            if isinstance(found, Aggregate):
                found = self._hidden(target, found, (items, hidden), aggregate=aggregate)
            if isinstance(found, ColumnRef):
                self._check_distinct(target)
                if aggregate:
                    self._check_key(found.column_id, group_by, target)
            descending, first = bool(node.args.get("desc")), bool(node.args.get("nulls_first"))
            keys.append(OrderItem(found, descending, first))
        return tuple(keys), tuple(hidden)

    def _order_key(
        self, node: exp.Expr, items: tuple[OutputItem, ...]
    ) -> int | ColumnRef | Aggregate:
        if isinstance(node, exp.Literal) and not node.is_string:
            return self._position(node, len(items), "ORDER BY")
        if isinstance(node, exp.Column):
            return self._order_column(node, items)
        if isinstance(node, exp.AggFunc):
            aggregate = self._aggregate(node)[1]
            listed = (i for i, item in enumerate(items) if item.expression == aggregate)
            return next(listed, aggregate)
        refuse(node, f"ORDER BY {node.key.upper()}", "order by columns, positions or aggregates")

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
        found: Aggregate,
        outputs: tuple[tuple[OutputItem, ...], list[OutputItem]],
        *,
        aggregate: bool,
    ) -> int:
        items, hidden = outputs
        if not aggregate:
            wrong(node, "ORDER BY with an aggregate in a query of rows", "add GROUP BY")
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


def _spelling(node: exp.Column) -> str:
    """A column as the user wrote it, with its table if that was written."""
    return f"{node.table}.{node.name}" if node.table else node.name
