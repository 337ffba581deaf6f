"""What a client sends to be evaluated: the shape of the question, no constants of encrypted
columns.

A ``PlanSpec`` is a value. Both sides compile it with the same pure function and compare digests;
its bytes are size-limited and validated field by field, because they arrive from elsewhere.

Constants occupy *slots*: a leaf names its first one, the number follows from the column's
encoding (``columns.constants``), so neither shape nor size depends on a value. Codes written
``PUBLIC(...)`` are part of the leaf instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from google.protobuf.message import DecodeError

from amaters.base.errors import fail
from amaters.columns.monomials import DEGREE_MAX as FACTORS_MAX
from amaters.fhe.meta import PARTS_MAX, REKEYS_MAX
from amaters.plan.expressions import Predicate
from amaters.plan.predicate_wire import decode_predicate, encode_predicate
from amaters.plan.virtual import VirtualColumn, decode_virtual, encode_virtual
from amaters.wire import plan_pb2 as pb

VERSION = 1
BYTES_MAX = 1 << 18
NODES_MAX = 512
DEPTH_MAX = 24
ENTRIES_MAX = 256  # of one IN list
TERMS_MAX = 64
REQUIRED_MAX = 16
CONDITIONS_MAX = 16
GROUPS_MAX = 16
VALUES_MAX = 16
CODE_BYTES = 9
PARTS = (1, 8, PARTS_MAX)  # few, so that statements share circuits; 8: what leases lead to

RANGE_FORMS = ("le", "gt", "between", "outside")


@dataclass(frozen=True, slots=True)
class Node:
    """Base of the filter's nodes. A node's value is 1 where its condition is TRUE, else 0."""


@dataclass(frozen=True, slots=True)
class AndNode(Node):
    """All children TRUE."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class OrNode(Node):
    """Any child TRUE."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PublicNode(Node):
    """A predicate over public columns, which the server evaluates itself."""

    predicate: Predicate


@dataclass(frozen=True, slots=True)
class RangeLeaf(Node):
    """le: x <= c; gt: x > c; between: a < x <= b; outside: not (a < x <= b) and x not NULL.

    Constants: c, or b then a, each 3 w/2 + 1 scalars from ``slot`` on. ``codes``: the same, public.
    """

    column_id: int
    form: Literal["le", "gt", "between", "outside"]
    slot: int = 0
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class EqualLeaf(Node):
    """x equals one of ``count`` constants (3 w/2 + 1 scalars each); negated: none, x not NULL."""

    column_id: int
    count: int
    negated: bool = False
    slot: int = 0
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class MemberLeaf(Node):
    """x is one of the chosen categories (one scalar per category); negated: none, x not NULL."""

    column_id: int
    negated: bool = False
    slot: int = 0
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class PrefixLeaf(Node):
    """The first bytes of a text are those of a constant; negated: they are not, x not NULL.

    Constants: four scalars per digit (``columns.prefixes``), whatever the prefix. ``codes``: the
    number of the prefix and how many of its bytes count, public.
    """

    column_id: int
    negated: bool = False
    slot: int = 0
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class NullLeaf(Node):
    """x IS NULL; negated: x IS NOT NULL."""

    column_id: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """One total per group: ``count`` of rows where all ``columns`` are not NULL, or ``sum`` of
    the product of ``columns`` (at least one, repeated for powers).

    Rows with a NULL among ``columns`` or ``required`` do not count, nor do those where condition
    number ``condition`` of the statement (from 1; 0: none) is not TRUE.
    """

    kind: Literal["count", "sum"]
    columns: tuple[int, ...] = ()
    required: tuple[int, ...] = ()
    condition: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the rows of some terms: both parts are TRUE. ``public``: a predicate that the
    server evaluates; ``filter``: a filter over encrypted columns, its slots after the plan's own.
    """

    public: Predicate | None = None
    filter: Node | None = None


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """Everything the server needs besides ciphertexts. ``digest`` is empty until compiled.

    ``output`` mask: one 0/1 mask per segment; aggregate: ``terms`` per group; fetch: nothing is
    computed, rows are fetched by ``public_filter``. ``masked``: liveness
    or ``public_filter`` may exclude occupied slots; without it every occupied slot counts.
    ``virtual``: columns that the client uploads with the constants, for each segment.
    ``parts``: how many encryptions a stored ciphertext may be the sum of (one of ``PARTS``);
    ``rekeys``: how many changes of key it may have behind it.
    ``selection``: an aggregate delivers the mask too; ``values``: the values of these columns in
    the rows of the mask come with it, zero in all others (``plan.values``).
    """

    table_id: bytes
    schema_version: int
    parameter_set: str
    scheme: str
    output: Literal["mask", "aggregate", "fetch"]
    public_filter: Predicate | None = None
    filter: Node | None = None
    masked: bool = True
    public_groups: tuple[int, ...] = ()
    encrypted_groups: tuple[int, ...] = ()
    terms: tuple[Term, ...] = ()
    conditions: tuple[Condition, ...] = ()
    parts: int = 1
    selection: bool = False
    values: tuple[int, ...] = ()
    virtual: tuple[VirtualColumn, ...] = ()
    rekeys: int = 0
    digest: bytes = b""

    def with_digest(self, digest: bytes) -> PlanSpec:
        """This plan, naming the circuit it was compiled to."""
        return replace(self, digest=digest)

    def to_bytes(self) -> bytes:
        """Deterministic bytes; equal plans give equal bytes."""
        message = pb.Plan(
            version=VERSION,
            table_id=self.table_id,
            schema_version=self.schema_version,
            parameter_set=self.parameter_set,
            scheme=self.scheme,
            output=self.output,
            masked=self.masked,
            public_groups=self.public_groups,
            encrypted_groups=self.encrypted_groups,
            terms=[_encode_term(term) for term in self.terms],
            conditions=[_encode_condition(condition) for condition in self.conditions],
            digest=self.digest,
            parts=self.parts if self.parts > 1 else 0,
            selection=self.selection,
            values=self.values,
            virtual=[encode_virtual(column) for column in self.virtual],
            rekeys=self.rekeys,
        )
        if self.public_filter is not None:
            message.public_filter.CopyFrom(encode_predicate(self.public_filter))
        if self.filter is not None:
            message.filter.CopyFrom(_encode_node(self.filter))
        return message.SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> PlanSpec:
        """The plan in ``data``. Raises: AM-2101 for anything malformed or beyond the limits."""
        if len(data) > BYTES_MAX:
            _malformed("it is too long")
        try:
            message = pb.Plan.FromString(data)
        except DecodeError:
            _malformed("it does not parse")
        return _checked(message)


def parts_for(parts: int) -> int:
    """The least of ``PARTS`` that allows sums of so many encryptions."""
    return next((allowed for allowed in PARTS if parts <= allowed), PARTS[-1])


def filters_of(spec: PlanSpec) -> tuple[Node, ...]:
    """The plan's filter and those of its conditions, in the order of their constant slots."""
    found = (spec.filter, *(condition.filter for condition in spec.conditions))
    return tuple(node for node in found if node is not None)


def all_leaves(spec: PlanSpec) -> list[Node]:
    """The leaves of every filter of a plan."""
    return [leaf for node in filters_of(spec) for leaf in leaves(node)]


def leaves(node: Node | None) -> list[Node]:
    """The leaves below ``node``, left to right."""
    if node is None:
        return []
    if isinstance(node, (AndNode, OrNode)):
        return [leaf for child in node.children for leaf in leaves(child)]
    return [node]


def _malformed(what: str) -> NoReturn:
    fail("AM-2101", what=what)


def _encode_node(node: Node) -> Any:
    if isinstance(node, (AndNode, OrNode)):
        kind = "and" if isinstance(node, AndNode) else "or"
        return pb.PlanNode(kind=kind, children=[_encode_node(child) for child in node.children])
    if isinstance(node, PublicNode):
        return pb.PlanNode(kind="public", predicate=encode_predicate(node.predicate))
    if isinstance(node, NullLeaf):
        return pb.PlanNode(kind="null", column_id=node.column_id, negated=node.negated)
    if not isinstance(node, (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)):
        raise TypeError(f"not a node: {type(node).__name__}")
    message = pb.PlanNode(column_id=node.column_id, slot=node.slot)
    message.is_public = node.codes is not None
    codes = node.codes or ()
    message.codes.extend(code.to_bytes(CODE_BYTES, "little", signed=True) for code in codes)
    if isinstance(node, RangeLeaf):
        message.kind, message.form = "range", node.form
        return message
    message.kind = "prefix" if isinstance(node, PrefixLeaf) else "member"
    message.negated = node.negated
    if isinstance(node, EqualLeaf):
        message.kind, message.count = "equal", node.count
    return message


class _Reader:
    """Decodes one filter tree and counts what it met."""

    def __init__(self) -> None:
        self.nodes = 0

    def node(  # noqa: PLR0911 - one per kind
        self, message: Any, depth: int
    ) -> Node:
        self.nodes += 1
        if self.nodes > NODES_MAX or depth > DEPTH_MAX:
            _malformed("its filter is too large")
        codes = _codes(message) if message.is_public else None
        column, slot = message.column_id, message.slot
        if message.codes and codes is None:
            _malformed("codes that are not public")
        match message.kind:
            case "and" | "or":
                return self._branch(message, depth)
            case "public":
                return PublicNode(decode_predicate(message.predicate))
            case "null":
                return NullLeaf(column, message.negated)
            case "member":
                return MemberLeaf(column, message.negated, slot, codes)
            case "prefix":
                return _prefix_leaf(message, codes)
            case "equal":
                return _equal_leaf(message, codes)
            case "range":
                return _range_leaf(message, codes)
        _malformed("an unknown kind of node")

    def _branch(self, message: Any, depth: int) -> Node:
        children = tuple(self.node(child, depth + 1) for child in message.children)
        if len(children) < 2:
            _malformed("a branch with fewer than two children")
        return AndNode(children) if message.kind == "and" else OrNode(children)


def _codes(message: Any) -> tuple[int, ...]:
    if any(len(code) != CODE_BYTES for code in message.codes):
        _malformed("a code of a wrong size")
    return tuple(int.from_bytes(code, "little", signed=True) for code in message.codes)


def _equal_leaf(message: Any, codes: tuple[int, ...] | None) -> EqualLeaf:
    if not 1 <= message.count <= ENTRIES_MAX or (codes is not None and len(codes) != message.count):
        _malformed("an equality with a wrong number of entries")
    return EqualLeaf(message.column_id, message.count, message.negated, message.slot, codes)


def _prefix_leaf(message: Any, codes: tuple[int, ...] | None) -> PrefixLeaf:
    if codes is not None and len(codes) != 2:
        _malformed("a prefix with a wrong number of codes")
    return PrefixLeaf(message.column_id, message.negated, message.slot, codes)


def _range_leaf(message: Any, codes: tuple[int, ...] | None) -> RangeLeaf:
    if message.form not in RANGE_FORMS:
        _malformed("an unknown form of range")
    wanted = 1 if message.form in ("le", "gt") else 2
    if codes is not None and len(codes) != wanted:
        _malformed("a range with a wrong number of codes")
    return RangeLeaf(message.column_id, message.form, message.slot, codes)


def _checked(message: Any) -> PlanSpec:
    if message.version != VERSION:
        _malformed(f"version {message.version}")
    if len(message.table_id) != 16 or len(message.digest) not in (0, 32):
        _malformed("an identifier of wrong length")
    if len(message.parameter_set) > 80 or message.scheme not in ("bgv", "noop"):
        _malformed("an unknown parameter set or scheme")
    if message.output not in ("mask", "aggregate", "fetch"):
        _malformed("an unknown output")
    groups = (*message.public_groups, *message.encrypted_groups)
    if len(groups) > GROUPS_MAX or len(set(groups)) != len(groups):
        _malformed("its groups")
    if (message.parts and message.parts not in PARTS[1:]) or message.rekeys > REKEYS_MAX:
        _malformed("its stored ciphertexts sum too many, or changed keys too often")
    if len(message.terms) > TERMS_MAX:
        _malformed("too many totals")
    if len(message.conditions) > CONDITIONS_MAX:
        _malformed("too many conditions on totals")
    if message.output != "aggregate" and (groups or message.terms or message.conditions):
        _malformed("totals that nobody asked for")
    if len(message.values) > VALUES_MAX or len(set(message.values)) != len(message.values):
        _malformed("its values")
    selects = message.output == "mask" or message.selection
    if (message.values and not selects) or (message.selection and message.output != "aggregate"):
        _malformed("values of rows that nothing selects")
    if message.output == "fetch" and message.HasField("filter"):
        _malformed("a fetch with an encrypted filter")
    has_filter = message.HasField("public_filter")
    reader = _Reader()
    return PlanSpec(
        table_id=message.table_id,
        schema_version=message.schema_version,
        parameter_set=message.parameter_set,
        scheme=message.scheme,
        output=message.output,
        masked=message.masked,
        public_filter=decode_predicate(message.public_filter) if has_filter else None,
        filter=reader.node(message.filter, 0) if message.HasField("filter") else None,
        public_groups=tuple(message.public_groups),
        encrypted_groups=tuple(message.encrypted_groups),
        terms=tuple(_term(term, len(message.conditions)) for term in message.terms),
        conditions=tuple(_condition(item, reader) for item in message.conditions),
        parts=message.parts or 1,
        selection=message.selection,
        values=tuple(message.values),
        virtual=decode_virtual(message.virtual),
        rekeys=message.rekeys,
        digest=message.digest,
    )


def _term(message: Any, conditions: int) -> Term:
    columns, required = tuple(message.columns), tuple(message.required)
    bounds = {"count": (0, REQUIRED_MAX), "sum": (1, FACTORS_MAX)}.get(message.kind)
    if bounds is None or not bounds[0] <= len(columns) <= bounds[1]:
        _malformed("an unknown kind of total")
    if len(required) > REQUIRED_MAX or message.condition > conditions:
        _malformed("a total with impossible conditions")
    return Term(message.kind, columns, required, message.condition)


def _condition(message: Any, reader: _Reader) -> Condition:
    public = decode_predicate(message.public) if message.HasField("public") else None
    node = reader.node(message.filter, 0) if message.HasField("filter") else None
    if public is None and node is None:
        _malformed("an empty condition on totals")
    return Condition(public, node)


def _encode_term(term: Term) -> Any:
    return pb.PlanTerm(
        kind=term.kind, columns=term.columns, required=term.required, condition=term.condition
    )


def _encode_condition(condition: Condition) -> Any:
    message = pb.PlanCondition()
    if condition.public is not None:
        message.public.CopyFrom(encode_predicate(condition.public))
    if condition.filter is not None:
        message.filter.CopyFrom(_encode_node(condition.filter))
    return message
