"""From a bound SELECT to what is sent and what is encrypted.

The filter becomes negation normal form, where NULL may be treated as FALSE: only TRUE selects a
row, and AND and OR are monotone. Subtrees over public columns stay predicates with values;
constants of encrypted columns become scalars for the client to encrypt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from amaters.base.errors import DataError, InvalidError, fail
from amaters.columns.constants import (
    NEVER,
    Operator,
    digits_scalars,
    normalize_between,
    normalize_compare,
    normalize_in,
    onehot_scalars,
)
from amaters.columns.patterns import Pattern
from amaters.columns.prefixes import prefix_code, prefix_scalars
from amaters.columns.schema import Column, Table
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.plan.answers import refuse_shown
from amaters.plan.capabilities import (
    check_capabilities,
    check_products,
    constant_truth,
    missing,
    require_computable,
    require_ready,
)
from amaters.plan.check import check_spec
from amaters.plan.circuit import compile_once
from amaters.plan.cost import Statistics
from amaters.plan.expressions import (
    And,
    Between,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Select,
    Truth,
    predicate_columns,
)
from amaters.plan.logic import normalised, split_public
from amaters.plan.orders import (
    first_rows,
    public_values,
    require_orderable,
    with_selection,
)
from amaters.plan.outputs import is_computed
from amaters.plan.prepared import Prepared
from amaters.plan.recipes import recipe
from amaters.plan.spec import (
    ENTRIES_MAX,
    AndNode,
    Condition,
    EqualLeaf,
    MemberLeaf,
    Node,
    NullLeaf,
    OrNode,
    PlanSpec,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
    Term,
    parts_for,
)
from amaters.plan.virtual import virtual_columns

__all__ = ["Prepared", "compiled", "drafts", "prepare", "refuse_rekeyed"]

_INVERSE: dict[str, Operator] = {
    "=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">",
}  # fmt: skip
_EQUALITY = ("=", "<>")


def prepare(
    select: Select,
    table: Table,
    statistics: Statistics | None = None,
    parameters: Parameters | None = None,
) -> Prepared:
    """The plan for ``select`` in one circuit. Pure.

    Raises: AM-2107 (capability missing), AM-2108 (not supported), AM-2301 (too deep), AM-1126 (the
    same since keys were rotated): nothing was sent.
    """
    parameters, known = (
        parameters or get_parameters(table.parameter_set),
        statistics or Statistics(),
    )
    *better, last = drafts(select, table, known)
    for draft in better:
        try:
            return compiled(draft, table, parameters)
        except InvalidError as error:
            if error.code != "AM-2301":
                raise
    try:
        return compiled(last, table, parameters)
    except InvalidError as error:
        refuse_rekeyed(error, table, known)
        raise


def refuse_rekeyed(error: InvalidError, table: Table, known: Statistics) -> None:
    """Raise AM-1126 if a plan is too deep for ciphertexts whose key has changed."""
    if error.code == "AM-2301" and known.rekeys:
        fail("AM-1126", table=table.name, count=known.rekeys)


def drafts(select: Select, table: Table, statistics: Statistics) -> list[Prepared]:
    """Plans for ``select`` that are not compiled yet, in order of preference; the last one always
    answers it, if it is not too deep. Raises: AM-2107, AM-2108.
    """
    builder = _FilterBuilder(table)
    public, node = builder.build(select.where)
    base = PlanSpec(
        table_id=table.id,
        schema_version=table.version,
        parameter_set=table.parameter_set,
        scheme=table.scheme,
        output="fetch",
        public_filter=public,
    )
    if public is not None:
        _require_sendable(base, table)
    parts = parts_for(statistics.parts)
    virtual = virtual_columns(table.columns)
    spec = replace(base, filter=node, masked=statistics.masked, parts=parts, virtual=virtual)
    spec = replace(spec, rekeys=statistics.rekeys)
    if not select.is_aggregate:
        rows = Prepared(select, "rows", base, replace(spec, output="mask"), None, builder.constants)
        return _rows(rows, statistics)
    public_groups, encrypted_groups = _groups(select, table)
    wanted = recipe(select)
    spec = replace(
        spec,
        output="aggregate",
        public_groups=public_groups,
        encrypted_groups=encrypted_groups,
        terms=wanted.terms,
        conditions=tuple(builder.condition(where) for where in wanted.conditions),
    )
    check_capabilities(spec, table)
    require_orderable(select)
    spec = with_selection(select, spec)
    computed = [is_computed(spec, term, table.public()) for term in spec.terms]
    if not any(computed) and not spec.selection:
        return [Prepared(select, "public", base)]
    check_products(spec, table)
    prepared = Prepared(select, "aggregate", base, spec, None, builder.constants)
    pending = [term for term, done in zip(spec.terms, computed, strict=True) if not done]
    needs = any(term != Term("count") for term in pending)
    needs = needs or bool(public_values(select))
    return [replace(prepared, needs_public_rows=needs)]


def _rows(prepared: Prepared, statistics: Statistics) -> list[Prepared]:
    """Plans for a SELECT of rows: those that come first, where that fits, or all."""
    spec = prepared.spec
    assert spec is not None
    first = first_rows(prepared.select, statistics, filtered=spec.filter is not None)
    found = []
    if first is not None:
        found.append(replace(prepared, spec=replace(spec, values=first.values), first=first))
    if spec.filter is None:
        prepared = Prepared(prepared.select, "public", prepared.fetch)
    return [*found, prepared]


def compiled(prepared: Prepared, table: Table, parameters: Parameters) -> Prepared:
    """A draft with its circuit. Raises: AM-2108, AM-2301."""
    if prepared.spec is None:
        return prepared
    _require_sendable(prepared.spec, table)
    circuit = compile_once(prepared.spec, table.public(), parameters)
    spec = prepared.spec.with_digest(circuit.digest)
    return replace(prepared, spec=spec, compiled=circuit)


def _require_sendable(spec: PlanSpec, table: Table) -> None:
    """Refuse here what the server would refuse as too large (AM-2101, AM-2102)."""
    try:
        check_spec(PlanSpec.from_bytes(spec.to_bytes()), table.public())
    except DataError as error:
        what = f"a statement of this size ({error.fields['what']})"
        fail("AM-2108", what=what, fix="use fewer conditions, groups or totals at once")


def _groups(select: Select, table: Table) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(public, encrypted) group columns."""
    columns = [table.column(column_id) for column_id in select.fine_groups]
    for column in columns:
        if column.encrypted and column.encoding("onehot") is None:
            missing(table, column, "grouped by", "group")
    public = tuple(column.id for column in columns if not column.encrypted)
    return public, tuple(column.id for column in columns if column.encrypted)


class _FilterBuilder:
    """Predicates to nodes; scalars are kept per leaf until constants are numbered."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._constants: list[int] = []
        self._scalars: list[tuple[int, ...]] = []
        self._codes: dict[int, tuple[int, ...]] = {}  # of ranges, by their place in _scalars

    @property
    def constants(self) -> tuple[int, ...]:
        """The 0/1 scalars of all filters built so far, in order of their slots."""
        return tuple(self._constants)

    def build(self, where: Predicate | None) -> tuple[Predicate | None, Node | None]:
        """(public part, encrypted part) of a filter."""
        made = True if where is None else self._convert(where, negated=False)
        if made is True:
            return None, None
        if made is False:
            return Truth(False), None
        node = normalised(made)
        public: Predicate | None = None
        if isinstance(node, PublicNode):
            return node.predicate, None
        if isinstance(node, AndNode):
            public, rest = split_public(node)
            node = rest[0] if len(rest) == 1 else AndNode(tuple(rest))
        return public, self._numbered(node)

    def condition(self, where: Predicate) -> Condition:
        """A condition of some totals; one that always holds is public."""
        public, node = self.build(where)
        return Condition(Truth(True) if public is None and node is None else public, node)

    def _numbered(self, node: Node) -> Node:
        if isinstance(node, (AndNode, OrNode)):
            return type(node)(tuple(self._numbered(child) for child in node.children))
        if isinstance(node, (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)) and node.codes is None:
            slot = len(self._constants)
            self._constants.extend(self._scalars[node.slot])
            return replace(node, slot=slot)
        return node

    def _convert(  # noqa: PLR0911 - one per kind
        self, predicate: Predicate, *, negated: bool
    ) -> Node | bool:
        """The node that is TRUE exactly where ``predicate`` (or its negation) is."""
        columns = predicate_columns(predicate)
        if columns and not any(self.table.column(column).encrypted for column in columns):
            require_computable(predicate, self.table)
            refuse_shown(predicate, self.table)
            return PublicNode(Not(predicate) if negated else predicate)
        match predicate:
            case Truth(value):
                return value is not None and value != negated
            case Not(child):
                return self._convert(child, negated=not negated)
            case And(children) | Or(children):
                parts = [self._convert(child, negated=negated) for child in children]
                conjunction = isinstance(predicate, And) != negated
                return _joined(self._paired(parts, conjunction), conjunction=conjunction)
            case IsNull(column_id):
                wants_null = predicate.negated == negated
                column = self.table.column(column_id)
                if not column.nullable:
                    return not wants_null
                require_ready(self.table, column, "tested for NULL")
                return NullLeaf(column_id, not wants_null)
            case Compare():
                return self._compare(predicate, negated)
            case Between():
                return self._between(predicate, negated != predicate.negated)
            case In():
                return self._in(predicate, negated != predicate.negated)
            case Relation():
                if not columns:
                    return constant_truth(predicate, negated)
                secret = (self.table.column(c) for c in sorted(columns))
                names = ", ".join(column.name for column in secret if column.encrypted)
                fail("AM-2124", table=self.table.name, columns=names)
            case Like():
                return self._like(predicate, negated != predicate.negated)
        raise TypeError(f"not a predicate: {type(predicate).__name__}")

    def _compare(self, predicate: Compare, negated: bool) -> Node | bool:
        if predicate.literal.value is None:
            return False
        column = self.table.column(predicate.column_id)
        op: Operator = _INVERSE[predicate.op] if negated else predicate.op  # type: ignore[assignment]
        if op in _EQUALITY and column.encoding("onehot") is not None:
            return self._member(column, (predicate.literal,), op == "<>")
        if op in _EQUALITY and _only_prefix(column):
            return self._prefix(column, predicate.literal, op == "<>", exact=True)
        self._require(column, "compared" if op not in _EQUALITY else "tested for equality", op)
        comparison = normalize_compare(column, op, predicate.literal.value)
        codes, public = (comparison.code,), predicate.literal.public
        if comparison.kind == "eq":
            return self._equal(column, codes, comparison.negated, public)
        return self._range(column, "gt" if comparison.negated else "le", codes, public)

    def _between(self, predicate: Between, negated: bool) -> Node | bool:
        column, low, high = predicate.column_id, predicate.low, predicate.high
        if low.value is None or high.value is None:
            both = And((Compare(">=", column, low), Compare("<=", column, high)))
            return self._convert(both, negated=negated)
        target = self.table.column(column)
        self._require(target, "compared", "<=")
        codes = normalize_between(target, low.value, high.value)
        form = "outside" if negated else "between"
        return self._range(target, form, codes, low.public and high.public)

    def _in(self, predicate: In, negated: bool) -> Node | bool:
        literals = predicate.literals
        values = [literal.value for literal in literals]
        empty = not literals or all(value is None for value in values)
        if empty and not predicate.is_padded:
            return not literals and negated
        if negated and None in values:
            return False
        column = self.table.column(predicate.column_id)
        if column.encoding("onehot") is not None:
            return self._member(column, literals, negated)
        if _only_prefix(column):
            each = (Compare("<>" if negated else "=", column.id, one) for one in literals)
            known = tuple(one for one in each if one.literal.value is not None)
            return self._convert(And(known) if negated else Or(known), negated=False)
        self._require(column, "tested for equality", "=")
        refuse_shown(predicate, self.table)
        if len(literals) > ENTRIES_MAX:
            what = f"an IN list of {len(literals)} values over an encrypted column"
            fail("AM-2108", what=what, fix=f"use at most {ENTRIES_MAX} values")
        public = all(literal.public for literal in literals)
        return self._equal(column, normalize_in(column, values), negated, public)

    def _like(self, predicate: Like, negated: bool) -> Node | bool:
        """LIKE of categories, which all are known, or of a prefix (AM-2140, AM-2141)."""
        column, text = self.table.column(predicate.column_id), predicate.pattern.value
        if not isinstance(text, str):
            fail("AM-2140", column=column.name)
        pattern = Pattern(text, predicate.escape)
        if column.encoding("onehot") is not None:
            fitting = [c for c in column.categories if pattern.matches(str(c))]
            chosen = [Literal(value, predicate.pattern.public) for value in fitting]
            return self._member(column, chosen or (Literal(None),), negated)
        literal = Literal(pattern.literal, predicate.pattern.public)
        if pattern.shape == "exact" and column.encoding("digits") is not None:
            return self._compare(Compare("<>" if negated else "=", column.id, literal), False)
        if pattern.shape == "other":
            fail("AM-2140", column=column.name)
        if column.encoding("prefix") is None:
            missing(self.table, column, "searched by LIKE", "'prefix(8)'")
        return self._prefix(column, literal, negated, exact=pattern.shape == "exact")

    def _prefix(self, column: Column, literal: Literal, negated: bool, *, exact: bool) -> Node:
        """Texts that begin with, or ``exact``: are, a text. Raises: AM-2141 for too long a one."""
        written = str(literal.value).encode()
        length = column.prefix
        if len(written) + exact > length:
            fail("AM-2141", column=column.name, length=length)
        code, known = prefix_code(written, length), length if exact else len(written)
        if literal.public:
            return PrefixLeaf(column.id, negated, codes=(code, known))
        slot = self._keep(prefix_scalars(code, known, length))
        return PrefixLeaf(column.id, negated, slot=slot)

    # ---- leaves ------------------------------------------------------------------------------

    def _require(self, column: Column, what: str, op: str) -> None:
        """Refuse (AM-2107) what the column was not declared for."""
        needed = "eq" if op in _EQUALITY else "range"
        if column.encoding("digits") is None or (
            needed == "range" and "range" not in column.queries
        ):
            missing(self.table, column, what, needed)

    def _member(self, column: Column, literals: Sequence[Literal], negated: bool) -> Node:
        scalars = onehot_scalars(column, [literal.value for literal in literals])
        if all(literal.public for literal in literals):
            return MemberLeaf(column.id, negated, codes=scalars)
        return MemberLeaf(column.id, negated, slot=self._keep(scalars))

    def _equal(self, column: Column, codes: tuple[int, ...], negated: bool, public: bool) -> Node:
        if public:
            return EqualLeaf(column.id, len(codes), negated, codes=codes)
        slot = self._keep(self._digits(column, codes))
        return EqualLeaf(column.id, len(codes), negated, slot=slot)

    def _range(self, column: Column, form: str, codes: tuple[int, ...], public: bool) -> Node:
        if public:
            return RangeLeaf(column.id, form, codes=codes)  # type: ignore[arg-type]
        slot = self._keep(self._digits(column, codes))
        self._codes[slot] = codes
        return RangeLeaf(column.id, form, slot=slot)  # type: ignore[arg-type]

    def _paired(self, parts: list[Node | bool], conjunction: bool) -> list[Node | bool]:
        """x > a AND x <= b as one BETWEEN, x <= a OR x > b as its negation: a subtraction is free.

        Whether the range is empty stays hidden: the constants of an empty one never match.
        """
        made: list[Node | bool] = []
        for part in parts:
            at = next((i for i, other in enumerate(made) if _are_pair(other, part)), None)
            if at is None:
                made.append(part)
                continue
            pair = (made[at], part)
            made[at] = self._between_leaf(pair, "between" if conjunction else "outside")
        return made

    def _between_leaf(self, pair: tuple[Node | bool, Node | bool], form: str) -> Node:
        upper, lower = sorted(
            pair, key=lambda leaf: isinstance(leaf, RangeLeaf) and leaf.form == "gt"
        )
        assert isinstance(upper, RangeLeaf)
        assert isinstance(lower, RangeLeaf)
        high, low = self._code_of(upper), self._code_of(lower)
        if form == "outside":
            high, low = low, high
        codes = (high, low) if low < high else (NEVER, NEVER)
        column = self.table.column(upper.column_id)
        return self._range(column, form, codes, upper.codes is not None)

    def _code_of(self, leaf: RangeLeaf) -> int:
        return leaf.codes[0] if leaf.codes is not None else self._codes[leaf.slot][0]

    def _digits(self, column: Column, codes: Sequence[int]) -> tuple[int, ...]:
        return tuple(scalar for code in codes for scalar in digits_scalars(column.width, code))

    def _keep(self, scalars: tuple[int, ...]) -> int:
        self._scalars.append(scalars)
        return len(self._scalars) - 1


def _only_prefix(column: Column) -> bool:
    """Whether equality has nothing but the first bytes to go by."""
    return column.prefix > 0 and column.encoding("digits") is None


def _are_pair(a: Node | bool, b: Node | bool) -> bool:
    """A lower and an upper bound of one column, both encrypted or both public."""
    if not isinstance(a, RangeLeaf) or not isinstance(b, RangeLeaf):
        return False
    same = a.column_id == b.column_id and (a.codes is None) == (b.codes is None)
    return same and {a.form, b.form} == {"le", "gt"}


def _joined(parts: list[Node | bool], *, conjunction: bool) -> Node | bool:
    """AND or OR of nodes and constants."""
    if (not conjunction) in parts:
        return not conjunction
    nodes = tuple(part for part in parts if not isinstance(part, bool))
    if not nodes:
        return conjunction
    if len(nodes) == 1:
        return nodes[0]
    return AndNode(nodes) if conjunction else OrNode(nodes)
