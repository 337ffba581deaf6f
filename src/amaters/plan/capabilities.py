"""What declarations allow, and what no circuit can do: refused before anything is sent."""

from __future__ import annotations

from typing import NoReturn

from amaters.base.errors import fail
from amaters.columns.monomials import expand
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import (
    COMPARISONS,
    And,
    Arithmetic,
    ColumnRef,
    Not,
    Or,
    Predicate,
    Relation,
)
from amaters.plan.outputs import FACTORS_MAX, is_computed, product_span
from amaters.plan.polynomials import PLAINTEXT_MODULUS
from amaters.plan.spec import PlanSpec


def check_capabilities(spec: PlanSpec, table: Table) -> None:
    """Refuse (AM-2107) totals of columns that were not declared for them."""
    for term in spec.terms:
        for column_id in term.columns:
            if table.column(column_id).nullable:
                require_ready(table, table.column(column_id), "counted")
        for column_id in term.columns if term.kind == "sum" else ():
            column = table.column(column_id)
            if not column.type.is_numeric:
                what = f"the sum of {column.name}, a {column.type.sql_name}"
                fail("AM-2108", what=what, fix="sum columns of integers or decimals")
            if column.encrypted and column.encoding("limbs") is None:
                missing(table, column, "summed", "sum")


def check_products(spec: PlanSpec, table: Table) -> None:
    """Refuse (AM-2123) a product that one slot cannot hold exactly, before anything is sent."""
    public = table.public()
    for term in spec.terms:
        if not is_computed(spec, term, public):
            continue
        product = " * ".join(table.column(column_id).name for column_id in term.columns)
        secret = [column for column in term.columns if table.column(column).encrypted]
        if term.kind == "sum" and len(secret) > FACTORS_MAX:
            why = f"a circuit multiplies at most {FACTORS_MAX} of them"
            fail("AM-2123", product=product, why=why)
        if product_span(term, public) >= PLAINTEXT_MODULUS:
            why = "its parts in one row exceed what a slot holds"
            fail("AM-2123", product=product, why=why)


def missing(table: Table, column: Column, what: str, needed: str) -> NoReturn:
    """Refuse (AM-2107) a use that a column was not declared for, or (AM-2060) not ready for."""
    needed = needed.strip("'")
    if column.target is not None and needed.partition("(")[0] in column.target.queries:
        fail("AM-2060", table=table.name, column=column.name, what=what, progress="")
    queries = ", ".join(sorted(column.queries)) or "retrieval only"
    fail(
        "AM-2107",
        table=table.name,
        column=column.name,
        what=what,
        queries=queries,
        needed=needed,
        cost="",
    )


def require_ready(table: Table, column: Column, what: str) -> None:
    """Refuse what a column that is being added cannot do yet. Raises: AM-2060."""
    if column.unready:
        fail("AM-2060", table=table.name, column=column.name, what=what, progress="")


def constant_truth(relation: Relation, negated: bool) -> bool:
    """A comparison of constants: whether it, or its negation, is TRUE."""
    difference = expand(Arithmetic("-", relation.left, relation.right), lambda _: 0)
    if difference.is_null:
        return False
    value = difference.coefficients.get((), 0)
    return bool(COMPARISONS[relation.op](value, 0)) != negated


def require_computable(predicate: Predicate, table: Table) -> None:
    """Refuse (AM-2121, AM-2122) what the engine and the tail could not evaluate."""
    if isinstance(predicate, (And, Or)):
        for child in predicate.children:
            require_computable(child, table)
    elif isinstance(predicate, Not):
        require_computable(predicate.child, table)
    elif isinstance(predicate, Relation):
        sides = (predicate.left, predicate.right)
        if not all(isinstance(side, ColumnRef) for side in sides):
            expand(Arithmetic("-", *sides), lambda c: table.column(c).type.scale)
