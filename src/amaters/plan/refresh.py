"""Client refresh: a filter that is too deep for its table, or too slow, is asked in parts.

Each part is a plan of its own whose masks go down. The client checks their canaries, combines them
in plaintext and uploads one fresh encryption of the whole mask per segment; the rest of the plan
(totals, groups, values) runs with it as a *virtual column* (``plan.virtual``) in place of the
filter. A selection of rows, or a bare COUNT(*), needs no more than the masks. What travels depends
on the shape of the statement and the number of segments only. Source: FHE section 6, depth rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NoReturn

from amaters.base.errors import InvalidError, fail
from amaters.columns.encodings import NotNullEncoding
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters, deeper, get_parameters
from amaters.plan.check import CONSTANTS_BYTES_MAX, constant_slots
from amaters.plan.cost import Cost, Statistics, estimate, upload_bytes
from amaters.plan.expressions import And, ColumnRef, OutputItem, Predicate, Select
from amaters.plan.prepare import Prepared, compiled, drafts, refuse_rekeyed
from amaters.plan.recipes import ROWS, recipe
from amaters.plan.spec import (
    AndNode,
    Condition,
    EqualLeaf,
    MemberLeaf,
    Node,
    NullLeaf,
    OrNode,
    PlanSpec,
    PrefixLeaf,
    RangeLeaf,
)
from amaters.plan.splitting import (
    Combination,
    Combined,
    PartRef,
    encrypted_leaves,
    pieces,
)
from amaters.plan.virtual import COLUMNS_MAX, FIRST_ID, VirtualColumn

TOO_DEEP = "AM-2301"
TOO_LARGE = (TOO_DEEP, "AM-2312", "AM-2108")  # too deep, too many constants, too many conditions
PART_LEAVES = (1, 4)  # how many conditions one part may combine: what is cheapest is taken
SECONDS_MIN = 1.0  # below, nobody gains from more requests
GAIN_MIN = 2.0  # a plan that fits is run in parts only where that halves its time
REQUEST_SECONDS = 0.05  # one more job: its requests and answers, between machines
BYTES_PER_SECOND = 50e6  # between machines
ENCRYPT_SECONDS = 0.003  # one vector, on the client
_REFERENCE_SLOTS = 16384


@dataclass(frozen=True, slots=True)
class RefreshedMask:
    """The truth of one whole condition, from those of parts; sent as column ``column_id``."""

    column_id: int
    combination: Combination


@dataclass(frozen=True, slots=True)
class Refresh:
    """``parts``: what is asked first, each for its masks; they need not wait for each other.

    ``masks``: what the client makes of them, the filter's truth first, then those of conditions
    inside aggregates that are refreshed too. ``reason``: why the plan is not run as it is.
    """

    parts: tuple[Prepared, ...]
    masks: tuple[RefreshedMask, ...]
    has_filter: bool
    reason: str


def plan_select(
    select: Select,
    table: Table,
    statistics: Statistics | None = None,
    parameters: Parameters | None = None,
) -> Prepared:
    """The cheapest plan: as it is, or with client refresh. Pure.

    Raises: AM-2107, AM-2108, AM-2301 (neither fits), AM-2312 (too many constants): nothing was
    sent.
    """
    planner = _Planner(
        select,
        table,
        statistics or Statistics(),
        parameters or get_parameters(table.parameter_set),
    )
    return planner.best()


def costs(
    prepared: Prepared, table: Table, parameters: Parameters, statistics: Statistics
) -> list[Cost]:
    """What each job of a plan costs: its parts, then what runs after them."""
    jobs = [*(prepared.refresh.parts if prepared.refresh else ()), prepared]
    public = table.public()
    return [
        estimate(job.compiled, public, parameters, statistics)
        for job in jobs
        if job.compiled is not None
    ]


def seconds(
    prepared: Prepared, table: Table, parameters: Parameters, statistics: Statistics
) -> float:
    """All of a plan's time, transfers and requests included, on one core."""
    found = costs(prepared, table, parameters, statistics)
    moved = sum(cost.upload_bytes + cost.download_bytes for cost in found)
    vectors = len(prepared.compiled.vectors_sent) if prepared.compiled is not None else 0
    fresh = vectors * statistics.segments * ENCRYPT_SECONDS * parameters.slots / _REFERENCE_SLOTS
    computed = sum(cost.seconds + cost.cold_seconds for cost in found)
    return computed + moved / BYTES_PER_SECOND + len(found) * REQUEST_SECONDS + fresh


@dataclass(slots=True)
class _Parts:
    """The parts of one attempt."""

    planner: _Planner
    public: Predicate | None
    made: list[Prepared] = field(default_factory=list)

    def mask(self, where: Predicate, size: int) -> Combination:
        """How the truth of ``where`` follows from parts, which are added."""
        parts, combination = pieces(where, self.planner, size)
        first = len(self.made)
        self.made.extend(self.planner.part(part, self.public) for part in parts)
        return _shifted_parts(combination, first)


@dataclass(frozen=True, slots=True)
class _Planner:
    select: Select
    table: Table
    statistics: Statistics
    parameters: Parameters

    def is_public(self, column_id: int) -> bool:
        """Whether the server may evaluate conditions on a column."""
        return not self.table.column(column_id).encrypted

    def best(self) -> Prepared:
        """See ``plan_select``."""
        found = drafts(self.select, self.table, self.statistics)
        # The first draft shows least: in parts if need be, before another one is taken.
        refusal: InvalidError | None = None
        for those in (found[:1], found) if len(found) > 1 else (found,):
            prepared, refusal = self._best_of(those)
            if prepared is not None:
                return prepared
        return self._refused(refusal)

    def _best_of(self, found: list[Prepared]) -> tuple[Prepared | None, InvalidError | None]:
        """The cheapest plan of these drafts, or why there is none."""
        direct, refusal = self._direct(found)
        if direct is not None and not self._may_gain(direct):
            return direct, None
        reason = "" if refusal is None else refusal.message
        if direct is not None:
            reason = f"in one circuit it would take {self._seconds(direct):.1f} s"
        refreshed = self._refreshed(found, reason)
        if direct is None:
            return refreshed, refusal
        if refreshed is None:
            return direct, None
        time = self._seconds(refreshed)
        if time * GAIN_MIN > self._seconds(direct):
            text = f"client refresh in {len(refreshed.refresh.parts)} parts: {time:.1f} s"  # type: ignore[union-attr]
            text += ", not half of the time of one circuit"
            return replace(direct, considered=text), None
        return refreshed, None

    def constant(self, leaf: Predicate) -> bool | None:
        """See ``splitting.Leaves``."""
        draft = self._rows(leaf)
        if draft.spec is not None:
            return None
        return draft.fetch.public_filter is None

    def part(self, predicate: Predicate, public: Predicate | None) -> Prepared:
        """The plan for the masks of one part. Raises: AM-2301, AM-2312."""
        draft = self._rows(predicate if public is None else And((public, predicate)))
        return self._sendable(compiled(draft, self.table, self.parameters))

    def _rows(self, where: Predicate) -> Prepared:
        key = self.table.primary_key
        asked = Select(self.table, where, (OutputItem(key.name, ColumnRef(key.id)),))
        return drafts(asked, self.table, self.statistics)[-1]

    # ---- as it is ----------------------------------------------------------------------------

    def _direct(self, found: list[Prepared]) -> tuple[Prepared | None, InvalidError | None]:
        refusal: InvalidError | None = None
        for draft in found:
            try:
                return self._sendable(compiled(draft, self.table, self.parameters)), None
            except InvalidError as error:
                if error.code not in TOO_LARGE:
                    raise
                refusal = error
        return None, refusal

    def _sendable(self, prepared: Prepared) -> Prepared:
        """Refuse (AM-2312) what the engine would not take."""
        if prepared.compiled is not None:
            segments = self.statistics.segments
            size = upload_bytes(prepared.compiled, self.parameters, segments)
            if size > CONSTANTS_BYTES_MAX:
                limit = f"{CONSTANTS_BYTES_MAX / 1e9:.1f} GB"
                fail("AM-2312", needed=f"{size / 1e9:.1f} GB", limit=limit)
        return prepared

    def _may_gain(self, direct: Prepared) -> bool:
        where = self.select.where
        if direct.compiled is None or where is None or self._seconds(direct) < SECONDS_MIN:
            return False
        return encrypted_leaves(where, self) > 1

    def _seconds(self, prepared: Prepared) -> float:
        return seconds(prepared, self.table, self.parameters, self.statistics)

    def _refused(self, refusal: InvalidError | None) -> NoReturn:
        """Too deep, with whether a deep table could answer."""
        assert refusal is not None
        refuse_rekeyed(refusal, self.table, self.statistics)
        if refusal.code != TOO_DEEP:
            raise refusal
        available = f"{self.parameters.max_level} in {self.parameters.name}"
        deep = deeper(self.parameters)
        if deep != self.parameters:
            table = replace(self.table, parameter_set=deep.name)
            other = replace(self, select=replace(self.select, table=table), table=table)
            other = replace(other, parameters=deep)
            try:
                other.best()
                fits = "where it fits"
            except InvalidError:
                fits = "where it does not fit either"
            available += f" ({deep.max_level} with DEPTH = 'deep', {fits})"
        fail(TOO_DEEP, needed=refusal.fields["needed"], available=available)

    # ---- in parts ----------------------------------------------------------------------------

    def _refreshed(self, found: list[Prepared], reason: str) -> Prepared | None:
        made = [
            plan
            for size in PART_LEAVES
            if (plan := self._in_parts(found, size, reason)) is not None
        ]
        return min(made, key=self._seconds, default=None)

    def _in_parts(self, found: list[Prepared], size: int, reason: str) -> Prepared | None:
        for draft in found:
            spec = draft.spec
            nested = spec is not None and any(item.filter for item in spec.conditions)
            for everything in (False, True) if nested else (False,):
                try:
                    made = self._attempt(draft, size, reason, everything=everything)
                except InvalidError as error:
                    if error.code not in TOO_LARGE:
                        raise
                    continue
                if made is not None:
                    return made
        return None

    def _attempt(
        self, draft: Prepared, size: int, reason: str, *, everything: bool
    ) -> Prepared | None:
        """With the filter refreshed, and with ``everything`` the conditions of aggregates too."""
        spec = draft.spec
        if spec is None:
            return None
        parts = _Parts(self, spec.public_filter)
        masks: list[RefreshedMask] = []
        final, constants = spec, draft.constants
        if spec.filter is not None:
            assert self.select.where is not None
            masks.append(_mask(masks, parts.mask(self.select.where, size)))
            taken = _constants_of(spec.filter, spec, self.table)
            final = replace(
                spec,
                filter=_truth(masks[-1]),
                conditions=tuple(_shifted(item, taken) for item in spec.conditions),
            )
            constants = constants[taken:]
        if everything:
            predicates = recipe(self.select).conditions
            conditions = list(final.conditions)
            for index, condition in enumerate(conditions):
                if condition.filter is not None:
                    masks.append(_mask(masks, parts.mask(predicates[index], size)))
                    conditions[index] = replace(condition, filter=_truth(masks[-1]))
            final, constants = replace(final, conditions=tuple(conditions)), ()
        if not masks:
            return None
        refresh = Refresh(tuple(parts.made), tuple(masks), spec.filter is not None, reason)
        if needs_no_more(spec):
            return replace(draft, constants=(), refresh=refresh)
        virtual = tuple(
            VirtualColumn(mask.column_id, True, (NotNullEncoding().shape,)) for mask in masks
        )
        rest = replace(draft, spec=replace(final, virtual=(*spec.virtual, *virtual)))
        last = self._sendable(compiled(rest, self.table, self.parameters))
        return replace(draft, compiled=last.compiled, constants=constants, refresh=refresh)


def depends_on_size(select: Select, table: Table) -> bool:
    """Whether the number of segments may decide how ``select`` is run."""
    planner = _Planner(select, table, Statistics(), get_parameters(table.parameter_set))
    return select.where is not None and encrypted_leaves(select.where, planner) > 1


def needs_no_more(spec: PlanSpec) -> bool:
    """Whether the filter's mask alone is the answer: of rows, or of a bare COUNT(*)."""
    if spec.output == "mask":
        return not spec.values
    groups = spec.public_groups or spec.encrypted_groups
    return spec.filter is not None and spec.terms == (ROWS,) and not groups and not spec.selection


def _mask(masks: list[RefreshedMask], combination: Combination) -> RefreshedMask:
    """The next mask; ids from the top, so that they meet no other virtual column's."""
    return RefreshedMask(FIRST_ID + COLUMNS_MAX - 1 - len(masks), combination)


def _truth(mask: RefreshedMask) -> Node:
    return NullLeaf(mask.column_id, negated=True)


def _constants_of(node: Node, spec: PlanSpec, table: Table) -> int:
    return constant_slots(replace(spec, filter=node, conditions=()), table.public())


def _shifted(condition: Condition, by: int) -> Condition:
    if condition.filter is None:
        return condition
    return replace(condition, filter=_moved(condition.filter, by))


def _moved(node: Node, by: int) -> Node:
    """``node`` with its constants ``by`` slots further down."""
    if isinstance(node, (AndNode, OrNode)):
        return type(node)(tuple(_moved(child, by) for child in node.children))
    leaf = (RangeLeaf, EqualLeaf, MemberLeaf, PrefixLeaf)
    if isinstance(node, leaf) and node.codes is None:
        return replace(node, slot=node.slot - by)
    return node


def _shifted_parts(combination: Combination, by: int) -> Combination:
    if isinstance(combination, PartRef):
        return PartRef(combination.number + by)
    children = tuple(_shifted_parts(child, by) for child in combination.children)
    return Combined(combination.conjunction, children)
