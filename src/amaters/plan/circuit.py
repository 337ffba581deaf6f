"""From a plan to the circuit that answers it: pure, the same on client and server.

``compile_plan`` builds the graph, assigns levels, proves the noise bound and the slot values, and
names the result by a digest. Candidates differ in where public masks apply, in the level of the
final product and in switches that drop twice; the first that is provable with the fewest levels
wins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import log2

from amaters.base.errors import AmatersError, InvalidError, fail
from amaters.columns.schema import PublicTable
from amaters.fhe import noise
from amaters.fhe.meta import Meta, Rules
from amaters.fhe.parameters import Parameters
from amaters.plan.check import check_spec, constant_slots
from amaters.plan.digest import digest
from amaters.plan.expressions import Predicate
from amaters.plan.graph import Graph, GraphNode, Vector
from amaters.plan.leaves import LeafCircuits, Truth
from amaters.plan.levels import Prover, Stored, assign, culprit, summed
from amaters.plan.logic import FilterCircuits, Literals, Place, implied_not_null, normalised
from amaters.plan.outputs import Accumulator, OutputCircuits, Rows
from amaters.plan.skeleton import skeleton
from amaters.plan.spec import (
    AndNode,
    EqualLeaf,
    Node,
    PlanSpec,
    PrefixLeaf,
    PublicNode,
    RangeLeaf,
    all_leaves,
)
from amaters.plan.values import PackedOutput, ValueCircuits
from amaters.plan.virtual import VectorInput, extended, layout

SEGMENTS_MIN = 64  # that many segments fit one accumulator, unless slot values or depth forbid it
_LEVEL_OF_MASK = 1  # masks are packed, switched down to one limb and shrunk


@dataclass(frozen=True, slots=True)
class Step:
    """One node as it runs: its operands are truncated to ``level`` (+ ``drops``)."""

    index: int
    node: GraphNode
    level: int
    drops: int
    meta: Meta
    degree: int
    constant: bool
    grouped: bool
    owner: str = ""

    def transforms(self, parameters: Parameters) -> int:
        """(ceil(L / alpha) + 2)(L + alpha) for a merged key switch, 2 L for each further drop."""
        if self.node.op != "switch":
            return 0
        level = self.level + self.drops
        shape = parameters.key_switch(level, merged=True)
        total = (len(shape.digits) + 2) * (level + shape.alpha)
        return total + sum(2 * (self.level + drop) for drop in range(1, self.drops))


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """A circuit and everything that is known about it before it runs."""

    spec: PlanSpec
    digest: bytes
    steps: tuple[Step, ...]
    vectors: tuple[Vector, ...]
    predicates: tuple[Predicate, ...]
    accumulators: tuple[Accumulator, ...]
    packed: tuple[PackedOutput, ...]  # the mask first, if there is one; then values
    output_level: int
    constant_levels: tuple[int, ...]
    # the filters as they were built; ``Step.owner`` are paths in them: "0.1", "c2.0"
    root: Node | None = None
    conditions: tuple[Node | None, ...] = ()

    @property
    def mask(self) -> PackedOutput | None:
        """The node whose slots are ``factor`` where a row matches, else 0."""
        return self.packed[0] if self.packed else None

    @property
    def spec_bytes(self) -> bytes:
        """The plan as it is sent, naming this circuit."""
        return self.spec.with_digest(self.digest).to_bytes()

    @property
    def inputs(self) -> dict[tuple[int, str], tuple[int, tuple[int, ...]]]:
        """(column id, encoding kind) -> (level to read, slices)."""
        found: dict[tuple[int, str], tuple[int, list[int]]] = {}
        for step in self.steps:
            if step.node.op != "input":
                continue
            column, kind, index = step.node.ref
            level, slices = found.get((int(column), str(kind)), (0, []))
            slices.append(int(index))
            found[int(column), str(kind)] = max(level, step.level), slices
        return {key: (level, tuple(sorted(s))) for key, (level, s) in sorted(found.items())}

    @property
    def vectors_sent(self) -> tuple[VectorInput, ...]:
        """What the client uploads for every segment: ciphertexts of virtual columns."""
        return layout(self.inputs)

    @property
    def level(self) -> int:
        """Limbs of the deepest operand: what the stored ciphertexts must have."""
        return max((step.level + step.drops for step in self.steps), default=0)

    def transforms(self, parameters: Parameters) -> int:
        """Transforms of one segment's key switches: what most of its time goes into."""
        return sum(step.transforms(parameters) for step in self.steps if not step.constant)

    @property
    def key_switches(self) -> int:
        """Per segment; constant ones and those of public groups are not counted."""
        return sum(
            step.node.op == "switch" and not step.constant and not step.grouped
            for step in self.steps
        )

    @property
    def key_switches_per_group(self) -> int:
        """Per segment and public group."""
        return sum(step.node.op == "switch" and step.grouped for step in self.steps)


@dataclass(frozen=True, slots=True)
class Parts:
    """What builds a circuit; tests exchange parts to show that their checks notice."""

    leaves: type[LeafCircuits] = LeafCircuits
    filter: type[FilterCircuits] = FilterCircuits
    outputs: type[OutputCircuits] = OutputCircuits
    values: type[ValueCircuits] = ValueCircuits
    prover: type[Prover] = Prover


def compile_once(spec: PlanSpec, table: PublicTable, parameters: Parameters) -> CompiledPlan:
    """``compile_plan``, remembered: a client and an engine in one process share the work."""
    found = _remembered(spec.with_digest(b"").to_bytes(), table, parameters)
    if isinstance(found, InvalidError):
        fail(found.code, **found.fields)
    return found


@lru_cache(maxsize=256)
def _remembered(
    data: bytes, table: PublicTable, parameters: Parameters
) -> CompiledPlan | InvalidError:
    # Keyed by bytes: literals that Python calls equal (1 and True) are different plans.
    try:
        return compile_plan(PlanSpec.from_bytes(data), table, parameters)
    except InvalidError as refusal:
        return refusal


def compile_plan(
    spec: PlanSpec, table: PublicTable, parameters: Parameters, parts: Parts | None = None
) -> CompiledPlan:
    """The circuit for ``spec``; its own digest is not looked at.

    Raises: AM-2102 when the plan does not fit the table, AM-2301 when no candidate is provable.
    """
    check_spec(spec, table)
    table = extended(table, spec.virtual)
    if table.parameter_set != parameters.name:
        fail("AM-2102", table=table.name, what=f"its parameter set is not {parameters.name}")
    spec = replace(spec, digest=b"")
    available = f"{parameters.max_level} in {parameters.name}"
    small = skeleton(spec)
    if small is not None:
        needed = least_levels(small, table, parameters, parts or Parts())
        if needed > parameters.max_level:
            fail("AM-2301", needed=f"{needed} levels", available=available)
    for segments in (SEGMENTS_MIN, 1):
        made, needed = _cheapest(spec, table, parameters, parts or Parts(), segments)
        if made is not None:
            return replace(made, digest=digest(made, parameters))
    fail("AM-2301", needed=f"{needed} levels", available=available)


def provable(spec: PlanSpec, table: PublicTable, parameters: Parameters) -> CompiledPlan | None:
    """A circuit for ``spec``, which is not checked: leaves may share constants."""
    if least_levels(spec, table, parameters, Parts()) > parameters.max_level:
        return None
    return _cheapest(spec, table, parameters, Parts(), 1)[0]


def least_levels(spec: PlanSpec, table: PublicTable, parameters: Parameters, parts: Parts) -> int:
    """How many levels every circuit for ``spec`` takes at least, noise apart."""
    places = [place for group in _places(spec) for place in group]
    return min(_Program(spec, table, parameters, place, parts).deepest for place in places)


def _cheapest(
    spec: PlanSpec, table: PublicTable, parameters: Parameters, parts: Parts, segments: int
) -> tuple[CompiledPlan | None, int]:
    """The provable candidate with the fewest transforms, or None and the levels it would take.

    ``segments``: how many one accumulator must hold.
    """
    programs: list[_Program] = []
    best: CompiledPlan | None = None
    limit = parameters.max_level
    for places in _places(spec):
        fresh = [_Program(spec, table, parameters, place, parts) for place in places]
        for program in fresh:
            program.segments_min = segments
        programs += fresh
        made, extra = _first_provable(fresh, limit)
        if made is not None and (
            best is None or made.transforms(parameters) < best.transforms(parameters)
        ):
            best = made
        limit = min(limit, extra)
        if best is not None and limit == 0:
            break
    least = min(program.deepest for program in programs)
    return best, max(least, parameters.max_level + 1)


def _first_provable(programs: list[_Program], limit: int) -> tuple[CompiledPlan | None, int]:
    """The provable attempt with the fewest extra levels below ``limit``, and how many those are."""
    highest = programs[0].parameters.max_level
    if all(program.deepest > highest for program in programs):
        return None, limit
    for extra in range(limit):
        for bumps in range(extra + 1):
            for program in programs:
                made = program.attempt(program.least_level + extra - bumps, bumps)
                if made is not None:
                    return made, extra
    return None, limit


def _places(spec: PlanSpec) -> list[tuple[Place, ...]]:
    """Candidates of equal rank together; later ones only where they may save a level."""
    found = all_leaves(spec)
    if not found:
        return [("late",)]
    first: tuple[Place, ...] = ("late", "early") if spec.public_groups else ("early", "late")
    masked = spec.masked or spec.public_filter is not None
    masked = masked or any(condition.public is not None for condition in spec.conditions)
    if not masked and not any(isinstance(leaf, PublicNode) for leaf in found):
        first = ("late",)
    if len(first) > 1 and any(
        isinstance(leaf, EqualLeaf | RangeLeaf | PrefixLeaf) for leaf in found
    ):
        return [first, ("careful",)]
    return [first]


class _Program:
    """One candidate graph, and the attempts to give it levels."""

    def __init__(
        self,
        spec: PlanSpec,
        table: PublicTable,
        parameters: Parameters,
        place: Place,
        parts: Parts,
    ) -> None:
        self.spec = spec
        self.segments_min = SEGMENTS_MIN
        self._parts = parts
        self.parameters = parameters
        self.rules = Rules(parameters)
        self.graph = Graph()
        self.filter = parts.filter(self.graph, table, place, parts.leaves)
        self.packed: list[PackedOutput] = []
        self.root: Node | None = None
        self.conditions: list[Node | None] = []
        self.accumulators: list[Accumulator] = []
        self._constants = constant_slots(spec, table)
        self._build(table, place)
        switched = any(node.op == "switch" for node in self.graph.nodes)
        self.least_level = 2 if switched or self.packed or self._degree() > 1 else 1
        levels = assign(self.graph, dict.fromkeys(self._roots(), self.least_level), {})
        self.deepest = max(levels)  # without proof: no attempt can need fewer levels
        stored = Stored(spec.parts, spec.rekeys)
        self._prover = parts.prover(self.graph, self.rules, self._roots(), stored)
        self._floor = noise.rounding(parameters, 1)

    def _build(self, table: PublicTable, place: Place) -> None:
        spec = self.spec
        truth, literals = self._filter(place)
        known = implied_not_null(normalised(spec.filter)) if spec.filter else frozenset()
        base = Rows(truth, literals)
        if spec.output == "mask" or spec.selection:
            values = self._parts.values(self.graph, table, spec)
            self.packed = values.outputs(truth, literals, known)
        if spec.output == "mask":
            return
        outputs = self._parts.outputs(self.graph, table, spec)
        self.accumulators = outputs.accumulators(
            base, lambda number: self._conditional(base, number, place), known
        )

    @property
    def _needs_mask(self) -> bool:
        return self.spec.masked or self.spec.public_filter is not None

    def _filter(self, place: Place) -> tuple[Truth | None, Literals | None]:
        """The filter's truth, and the literals that outputs must still multiply it by (or None)."""
        spec = self.spec
        self.conditions = [
            normalised(condition.filter) if condition.filter is not None else None
            for condition in spec.conditions
        ]
        named = [(f"c{n}", node) for n, node in enumerate(self.conditions, start=1) if node]
        if spec.filter is None:
            self.filter.name(named)
            return None, None
        node, literals = _top_literals(normalised(spec.filter), self.filter)
        self.root = node
        self.filter.name([("0", node), *named])
        if literals or self._needs_mask:
            if place != "late":
                return self.filter.masked(node, literals), None
            return self.filter.build(node), literals
        return self.filter.build(node), None

    def _conditional(self, base: Rows, number: int, place: Place) -> Rows:
        """The rows of ``base`` where condition ``number`` of the plan (from 1) is TRUE."""
        public = self.spec.conditions[number - 1].public
        node = self.conditions[number - 1]
        literals: Literals = () if public is None else (self.filter.literal(public, True),)
        if node is None:
            return Rows(base.truth, (*(base.literals or ()), *literals))
        alone = base.truth is None and self._needs_mask
        if literals or (alone and place != "late"):
            own, pending = self.filter.masked(node, literals), None
        else:
            own, pending = self.filter.build(node), () if alone else None
        known = implied_not_null(node)
        if base.truth is None:
            return Rows(own, pending, known)
        return Rows(self.filter.both(base.truth, own), base.literals, known)

    def _degree(self) -> int:
        """Highest degree of an output."""
        degrees = self.graph.degrees
        return max(
            (
                degrees[a.left] + (degrees[a.right] if a.right is not None else 0)
                for a in self.accumulators
            ),
            default=1,
        )

    # ---- levels ------------------------------------------------------------------------------

    def attempt(self, final: int, bumps: int) -> CompiledPlan | None:
        """This candidate with its last product at level ``final``, if that is provable."""
        if final > self.parameters.max_level:
            return None
        roots = dict.fromkeys(self._roots(), final)
        drops: dict[int, int] = {}
        while True:
            levels = assign(self.graph, roots, drops)
            if max(levels) > self.parameters.max_level:
                return None
            metas, proven = self._prover.prove(levels, drops)
            if len(drops) == bumps:
                return self._finished(levels, metas, drops, final) if proven else None
            worst = culprit(self.graph, levels, metas, drops, self._floor)
            if worst is None:
                return None
            drops[worst] = 2

    def _roots(self) -> list[int]:
        found = [output.node for output in self.packed]
        for accumulator in self.accumulators:
            found.append(accumulator.left)
            if accumulator.right is not None:
                found.append(accumulator.right)
        return found

    def _finished(
        self, levels: list[int], metas: list[Meta | None], drops: dict[int, int], final: int
    ) -> CompiledPlan | None:
        constants = frozenset(
            index for index, node in enumerate(self.graph.nodes) if node.op == "constant"
        )
        if not all(self._is_exact(output, metas[output.node]) for output in self.packed):
            return None
        accumulators = []
        for accumulator in self.accumulators:
            bounded = self._bounded(accumulator, metas, final, constants)
            if bounded is None:
                return None
            accumulators.append(bounded)
        return self._compiled(levels, metas, drops, final, accumulators)

    def _is_exact(self, output: PackedOutput, meta: Meta | None) -> bool:
        """Whether it survives packing, the switches to one limb, and the download modulus."""
        assert meta is not None
        grown = meta.noise + log2(sum(output.places))
        high = output.radix**output.segments - 1
        packed = replace(meta, noise=grown, rest=None, factors=frozenset(), lo=0, hi=high)
        try:
            self.rules.check(packed)
            while packed.level > _LEVEL_OF_MASK:
                packed = self.rules.check(self.rules.switch(packed))
            self.rules.check(self.rules.shrink(self.rules.relinearize(packed)))
        except AmatersError as error:
            if error.code != "AM-2301":
                raise
            return False
        return True

    def _bounded(
        self,
        accumulator: Accumulator,
        metas: list[Meta | None],
        final: int,
        constants: frozenset[int],
    ) -> Accumulator | None:
        left = metas[accumulator.left]
        assert left is not None
        meta = self.rules.truncate(left, final)
        if accumulator.right is not None:
            right = metas[accumulator.right]
            assert right is not None
            meta = self.rules.multiply(meta, self.rules.truncate(right, final))
        t = self.parameters.plaintext_modulus
        segments = min((t - 1) // max(accumulator.hi - accumulator.lo, 1), t - 1)
        wanted = min(segments, self.segments_min)
        if self.rules.headroom(summed(self.rules, meta, wanted, constants)) <= 0:
            return None
        while self.rules.headroom(summed(self.rules, meta, segments, constants)) <= 0:
            segments = max(segments // 2, wanted)
        return replace(accumulator, segments_max=segments)

    def _compiled(
        self,
        levels: list[int],
        metas: list[Meta | None],
        drops: dict[int, int],
        final: int,
        accumulators: list[Accumulator],
    ) -> CompiledPlan:
        graph = self.graph
        steps = tuple(
            Step(
                index=index,
                node=node,
                level=levels[index],
                drops=drops.get(index, 1) if node.op == "switch" else 0,
                meta=meta,
                degree=graph.degrees[index],
                constant=graph.constant[index],
                grouped=graph.grouped[index],
                owner=graph.owners[index],
            )
            for index, (node, meta) in enumerate(zip(graph.nodes, metas, strict=True))
            if meta is not None
        )
        constant_levels = [1] * self._constants
        for step in steps:
            if step.node.op == "constant":
                constant_levels[int(step.node.ref[0])] = step.level
        return CompiledPlan(
            spec=self.spec,
            digest=b"",
            steps=steps,
            vectors=tuple(graph.vectors),
            predicates=tuple(self.filter.predicates),
            accumulators=tuple(accumulators),
            packed=tuple(self.packed),
            output_level=final,
            constant_levels=tuple(constant_levels),
            root=self.root,
            conditions=tuple(self.conditions),
        )


def _top_literals(node: Node, filters: FilterCircuits) -> tuple[Node, Literals]:
    """A public child of a top-level AND is part of the mask; the rest is the encrypted filter."""
    if not isinstance(node, AndNode):
        return node, ()
    public = [child for child in node.children if isinstance(child, PublicNode)]
    rest = tuple(child for child in node.children if not isinstance(child, PublicNode))
    literals = tuple(filters.literal(child.predicate, True) for child in public)
    return (rest[0] if len(rest) == 1 else AndNode(rest)), literals
