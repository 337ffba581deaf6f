"""Whether a plan fits a table: what arrives from elsewhere is checked before it is compiled."""

from __future__ import annotations

from typing import NoReturn

from amaters.base.errors import InvalidError, fail
from amaters.columns.schema import PublicColumn, PublicTable
from amaters.plan.expressions import Predicate, predicate_columns
from amaters.plan.leaves import constants_of, encoding_of
from amaters.plan.logic import normalised
from amaters.plan.outputs import (
    ACCUMULATORS_MAX,
    FACTORS_MAX,
    is_computed,
    limb_bits,
    product_span,
    public_limbs,
)
from amaters.plan.polynomials import PLAINTEXT_MODULUS
from amaters.plan.spec import (
    EqualLeaf,
    MemberLeaf,
    Node,
    NullLeaf,
    PlanSpec,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
    Term,
    all_leaves,
    filters_of,
)
from amaters.plan.virtual import extended

ConstantLeaf = RangeLeaf | EqualLeaf | MemberLeaf | PrefixLeaf

CONSTANTS_MAX = 1 << 14
CONSTANTS_BYTES_MAX = 2 << 30  # of one statement's constants and vectors, as they are sent
_SIGNIFICANT_MAX = 64


def check_spec(spec: PlanSpec, table: PublicTable) -> None:
    """Raises: AM-2102 unless every part of ``spec`` means something for ``table``."""
    checker = _Checker(spec, extended(table, spec.virtual))
    if spec.table_id != table.id or spec.schema_version != table.version:
        checker.refuse("it was made for another table or version")
    if (spec.parameter_set, spec.scheme) != (table.parameter_set, table.scheme):
        checker.refuse("it was made for another parameter set or scheme")
    checker.filter()
    checker.outputs()


def constant_slots(spec: PlanSpec, table: PublicTable) -> int:
    """How many encrypted constants the plan reads."""
    table = extended(table, spec.virtual)
    total = 0
    for leaf in all_leaves(spec):
        if isinstance(leaf, (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)):
            total += constants_of(table.column(leaf.column_id), leaf)
    return total


class _Checker:
    def __init__(self, spec: PlanSpec, table: PublicTable) -> None:
        self.spec = spec
        self.table = table

    def refuse(self, what: str) -> NoReturn:
        fail("AM-2102", table=self.table.name, what=what)

    def column(self, column_id: int, *, encrypted: bool) -> PublicColumn:
        """A column of the wanted side."""
        try:
            column = self.table.column(column_id)
        except InvalidError:
            self.refuse(f"there is no column {column_id}")
        if column.encrypted != encrypted:
            self.refuse(f"column {column.name} is {'not ' if encrypted else ''}encrypted")
        return column

    def encoded(self, column_id: int, kind: str) -> PublicColumn:
        """An encrypted column with this encoding."""
        column = self.column(column_id, encrypted=True)
        if all(shape.kind != kind for shape in column.encodings):
            self.refuse(f"column {column.name} has no encoding {kind}")
        return column

    def filter(self) -> None:
        if self.spec.public_filter is not None:
            self._public(self.spec.public_filter)
        if self.spec.filter is None and self.spec.output == "mask" and not self.spec.values:
            self.refuse("a mask without a filter")
        for condition in self.spec.conditions:
            if condition.public is not None:
                self._public(condition.public)
        if any(isinstance(normalised(node), PublicNode) for node in filters_of(self.spec)):
            self.refuse("a filter without encrypted columns")
        used: set[int] = set()
        for leaf in all_leaves(self.spec):
            self._leaf(leaf, used)
        if used != set(range(len(used))) or len(used) > CONSTANTS_MAX:
            self.refuse("its constant slots are not numbered without gaps")

    def _leaf(self, leaf: Node, used: set[int]) -> None:
        if isinstance(leaf, PublicNode):
            self._public(leaf.predicate)
            return
        if isinstance(leaf, NullLeaf):
            column = self.column(leaf.column_id, encrypted=True)
            if all(shape.kind == "limbs" for shape in column.encodings):
                self.refuse(f"nothing tells where {column.name} is NULL")
            return
        if not isinstance(leaf, (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)):
            raise TypeError(f"not a leaf: {type(leaf).__name__}")
        column = self.encoded(leaf.column_id, encoding_of(leaf))
        count = constants_of(column, leaf)
        if leaf.slot + count > CONSTANTS_MAX:
            self.refuse("too many constants")
        slots = range(leaf.slot, leaf.slot + count)
        if not used.isdisjoint(slots):
            self.refuse("two leaves share constants")
        used.update(slots)
        self._codes(leaf, column)

    def _codes(self, leaf: ConstantLeaf, column: PublicColumn) -> None:
        if leaf.codes is None:
            return
        if isinstance(leaf, MemberLeaf):
            shape = next(shape for shape in column.encodings if shape.kind == "onehot")
            if len(leaf.codes) != shape.slices or not set(leaf.codes) <= {0, 1}:
                self.refuse("public categories of a wrong shape")
            return
        shape = next(shape for shape in column.encodings if shape.kind == encoding_of(leaf))
        if isinstance(leaf, PrefixLeaf):
            code, known = leaf.codes
            if not 0 <= code < 1 << shape.bits or not 0 <= 8 * known <= shape.bits:
                self.refuse("a public prefix of a wrong length")
            return
        if shape.bits > _SIGNIFICANT_MAX or any(
            not -1 <= code < 1 << shape.bits for code in leaf.codes
        ):
            self.refuse("a public constant outside the column's domain")

    def _public(self, predicate: Predicate) -> None:
        for column_id in predicate_columns(predicate):
            self.column(column_id, encrypted=False)

    def outputs(self) -> None:
        spec = self.spec
        for column_id in spec.public_groups:
            self.column(column_id, encrypted=False)
        groups = 1
        for column_id in spec.encrypted_groups:
            column = self.encoded(column_id, "onehot")
            shape = next(shape for shape in column.encodings if shape.kind == "onehot")
            groups *= shape.slices + column.nullable
        total = 0
        for term in spec.terms:
            limbs = 1
            for column_id in term.columns:
                limbs *= self._term_column(term, column_id)
            for column_id in term.required:
                self._term_column(Term("count"), column_id)
            total += groups * limbs
            self._product(term)
        if total > ACCUMULATORS_MAX:
            self.refuse(f"its totals need {total} ciphertexts, at most {ACCUMULATORS_MAX} are made")
        for column_id in spec.values:
            column = self.column(column_id, encrypted=True)
            if all(shape.kind not in ("digits", "onehot") for shape in column.encodings):
                self.refuse(f"column {column.name} has no values to deliver")
        if spec.selection and spec.filter is None and not spec.values:
            self.refuse("a selection that is public")
        if (
            spec.output == "aggregate"
            and not spec.selection
            and not any(is_computed(spec, term, self.table) for term in spec.terms)
        ):
            self.refuse("nothing in it is encrypted")

    def _product(self, term: Term) -> None:
        """One slot must hold the product of one row, and a circuit its factors."""
        if not is_computed(self.spec, term, self.table):
            return
        secret = sum(self.table.column(column).encrypted for column in term.columns)
        too_wide = product_span(term, self.table) >= PLAINTEXT_MODULUS
        if too_wide or (term.kind == "sum" and secret > FACTORS_MAX):
            self.refuse("a product of too many columns, or of too wide ones")

    def _term_column(self, term: Term, column_id: int) -> int:
        """Ciphertexts one column contributes to a total."""
        try:
            column = self.table.column(column_id)
        except InvalidError:
            self.refuse(f"there is no column {column_id}")
        if term.kind == "count":
            return 1
        if not column.type.is_numeric:
            self.refuse(f"column {column.name} is not a number")
        if not column.encrypted:
            return public_limbs(column, limb_bits(term, self.table)).limbs
        self.encoded(column_id, "limbs")
        return next(shape.slices for shape in column.encodings if shape.kind == "limbs")
