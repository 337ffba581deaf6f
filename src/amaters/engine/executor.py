"""Runs a compiled plan over segments: one thread per segment, kernels release the GIL.

Every thread keeps accumulators of its own, which are added at the end; a new one is started
before the slot-value bound of the old one could break. Intermediate results are freed after their
last use, so a thread holds little more than its inputs. Masks of 16 segments share one
ciphertext.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from amaters.base.errors import fail
from amaters.columns.schema import PublicTable
from amaters.engine.vectors import SegmentVectors, Source
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.scheme import Evaluator
from amaters.plan.circuit import CompiledPlan, Step
from amaters.plan.values import PackedOutput

ACCUMULATOR_BYTES = 2 << 30  # all threads together, for statements with public groups
_NOISE_SLACK = 1e-6
Progress = Callable[[int, int], None]
Values = dict[int, Ciphertext]
AccumulatorKey = tuple[int, int]  # index in the plan, public group


@dataclass(frozen=True, slots=True)
class Total:
    """One finished accumulator. ``part``: an output may need several, see the slot-value bound."""

    accumulator: int
    group: int
    part: int
    ciphertext: Ciphertext


@dataclass(frozen=True, slots=True)
class MaskPack:
    """Masks or values of some segments: digit i of a slot, once normalised, in the base of the
    plan's packed output ``output``, is the segment ``sources[i]``.
    """

    sources: tuple[int, ...]
    ciphertext: Ciphertext
    output: int = 0


@dataclass(slots=True)
class Outcome:
    """What a run delivers."""

    totals: list[Total] = field(default_factory=list)
    masks: list[MaskPack] = field(default_factory=list)
    key_switches: int = 0


@dataclass(slots=True)
class _Running:
    """One accumulator that still grows."""

    ciphertext: Ciphertext
    segments: int


class Executor:
    """One plan with its constants; ``run`` may be called with any segments."""

    def __init__(
        self,
        plan: CompiledPlan,
        table: PublicTable,
        evaluator: Evaluator,
        constants: Sequence[Ciphertext],
        *,
        accumulator_bytes: int = ACCUMULATOR_BYTES,
    ) -> None:
        self._accumulator_bytes = accumulator_bytes
        if len(constants) != len(plan.constant_levels):
            fail("AM-2102", table=table.name, what="its constants are missing")
        self.plan = plan
        self.table = table
        self.evaluator = evaluator
        self._schedule = _Schedule(plan)
        self._constants = self._constant_values(constants)

    def run(
        self,
        sources: Sequence[Source],
        *,
        threads: int = 1,
        progress: Progress | None = None,
        is_cancelled: Callable[[], bool] = bool,
    ) -> Outcome:
        """All outputs over ``sources``.

        Raises: AM-3052 (cancelled), AM-3053 (wrong inputs), AM-3054 (too many public groups).
        """
        count = self._threads_that_fit(sources, max(1, min(threads, len(sources))))
        work = _Work(self, sources, progress, is_cancelled)
        if count == 1:
            work.worker()
        else:
            with ThreadPoolExecutor(count, thread_name_prefix="amaters-plan") as pool:
                futures = [pool.submit(work.worker) for _ in range(count)]
            failed = [error for future in futures if (error := future.exception()) is not None]
            if failed:
                raise work.first_error or failed[0]
        return work.outcome()

    def _threads_that_fit(self, sources: Sequence[Source], threads: int) -> int:
        """As many threads as have room for accumulators of their own."""
        if not self.plan.spec.public_groups:
            return threads
        group_bytes = self._group_bytes()
        groups = len({group for source in sources for group in self.groups(source)})
        fitting = self._accumulator_bytes // max(groups * group_bytes, 1)
        if fitting == 0:
            fail("AM-3054", groups=groups, limit=self._accumulator_bytes // group_bytes)
        return min(threads, fitting)

    def _group_bytes(self) -> int:
        """Memory that one public group's accumulators take in one thread."""
        degrees = {step.index: step.degree for step in self.plan.steps}
        polynomials = 0
        for accumulator in self.plan.accumulators:
            right = accumulator.right
            polynomials += 1 + degrees[accumulator.left]
            polynomials += degrees[right] if right is not None else 0
        return max(polynomials * self.plan.output_level * self.evaluator.parameters.slots * 8, 1)

    def total_switches(self, sources: Sequence[Source]) -> int:
        """Key switches of a run, known in advance."""
        per_group = self.plan.key_switches_per_group
        groups = sum(len(self.groups(source)) for source in sources) if per_group else 0
        return self.plan.key_switches * len(sources) + per_group * groups

    def groups(self, source: Source) -> list[int]:
        """Public groups that occur in a segment; group 0 alone when there are no group columns."""
        if not self.plan.spec.public_groups:
            return [0]
        return sorted({int(group) for group in source.members if group >= 0})

    # ---- one segment -------------------------------------------------------------------------

    def segment(self, source: Source, sink: _Sink) -> None:
        """All steps over one segment; outputs go to ``sink``."""
        spec = self.plan.spec
        if not spec.masked and spec.public_filter is None and not source.selected.all():
            fail("AM-2102", table=self.table.name, what="it does not expect dead rows")
        vectors = SegmentVectors(self.plan, self.table, self.evaluator, source)
        values: Values = dict(self._constants)
        for step in self._schedule.plain:
            self._step(step, values, vectors, source, sink)
            self._deliver(self._schedule.delivered[step.index], values, sink, 0)
            for index in self._schedule.freed[step.index]:
                values.pop(index, None)
        if not self._schedule.grouped:
            return
        for group in self.groups(source):
            local = dict(values)
            grouped = vectors.for_group(group)
            for step in self._schedule.grouped:
                self._step(step, local, grouped, source, sink)
                self._deliver(self._schedule.delivered[step.index], local, sink, group)
                for index in self._schedule.freed[step.index]:
                    local.pop(index, None)

    def _step(
        self, step: Step, values: Values, vectors: SegmentVectors, source: Source, sink: _Sink
    ) -> None:
        if step.index in values:
            return
        if step.node.op == "input":
            self._load(step, values, source)
            return
        if step.node.op == "switch":
            sink.before_switch()
        values[step.index] = self._bounded(step, self._computed(step, values, vectors))
        if step.node.op == "switch":
            sink.after_switch()

    def _load(self, step: Step, values: Values, source: Source) -> None:
        """Every slice of one encoding at once; they share a level and one read."""
        column, kind = step.node.ref[:2]
        group = self._schedule.inputs[column, kind]
        level = max(item.level for item in group)
        slices = [int(item.node.ref[2]) for item in group]
        loaded = source.load(int(column), str(kind), slices, level)
        for item, ciphertext in zip(group, loaded, strict=True):
            self._require(item, ciphertext, level)
            values[item.index] = ciphertext

    def _require(self, step: Step, ciphertext: Ciphertext, level: int) -> None:
        """Stored data must be at least as good as the plan's proof assumes."""
        meta, assumed = ciphertext.meta, step.meta
        what = None
        if meta.level != level or meta.degree != 1:
            what = f"level {meta.level} instead of {level}"
        elif meta.noise > assumed.noise + _NOISE_SLACK:
            what = f"noise of 2^{meta.noise:.1f} instead of 2^{assumed.noise:.1f}"
        elif meta.lo < assumed.lo or meta.hi > assumed.hi:
            what = "a wider slot-value bound"
        if what is not None:
            name = self.table.column(int(step.node.ref[0])).name
            fail("AM-3053", column=name, what=what)

    def _computed(  # noqa: PLR0911 - one per operation
        self, step: Step, values: Values, vectors: SegmentVectors | None
    ) -> Ciphertext:
        evaluator, node = self.evaluator, step.node
        operands = [self._at(values[o], step.level + step.drops) for o in node.operands]
        first = operands[0]
        if node.op == "linear":
            return evaluator.linear(list(zip(node.factors, operands, strict=True)), node.offset)
        if node.op == "dot":
            if len(operands) == 2:
                return evaluator.multiply(first, operands[1])
            return evaluator.dot(operands[::2], operands[1::2])
        if node.op == "switch":
            for _ in range(step.drops):
                first = evaluator.switch(first)
            return first
        assert vectors is not None
        vector = int(node.ref[0])
        if node.op == "shift":
            return evaluator.add_public(first, vectors.encoded(vector))
        if vectors.is_neutral(vector):
            return first
        if vectors.is_zero(vector):
            return evaluator.scale(first, 0)
        return evaluator.multiply_public(first, vectors.encoded(vector))

    def _bounded(self, step: Step, made: Ciphertext) -> Ciphertext:
        bound, meta = step.node.bound, made.meta
        if bound is None or bound == (meta.lo, meta.hi):
            return made
        known = self.evaluator.rules.assert_bound(meta, *bound)
        return Ciphertext(made.parameters, made.key_id, known, made.data)

    def _at(self, ciphertext: Ciphertext, level: int) -> Ciphertext:
        if ciphertext.level == level:
            return ciphertext
        return self.evaluator.truncate(ciphertext, level)

    def _constant_values(self, constants: Sequence[Ciphertext]) -> Values:
        """Constant inputs and everything computed from constants alone: once per statement."""
        values: Values = {}
        for step in self._schedule.constant:
            if step.node.op == "constant":
                slot = int(step.node.ref[0])
                values[step.index] = self._at(constants[slot], step.level)
            else:
                values[step.index] = self._bounded(step, self._computed(step, values, None))
        return values

    def _deliver(self, outputs: Sequence[int], values: Values, sink: _Sink, group: int) -> None:
        level = self.plan.output_level
        for index in outputs:
            if index < 0:
                packed = -1 - index
                sink.pack(packed, self._at(values[self.plan.packed[packed].node], level))
                continue
            accumulator = self.plan.accumulators[index]
            left = self._at(values[accumulator.left], level)
            right = None
            if accumulator.right is not None:
                right = self._at(values[accumulator.right], level)
            sink.add((index, group), left, right)


class _Schedule:
    """Which steps run when, what they free, and after which step each output is complete."""

    def __init__(self, plan: CompiledPlan) -> None:
        self.constant = [step for step in plan.steps if step.constant]
        self.plain = [step for step in plan.steps if not step.constant and not step.grouped]
        self.grouped = [step for step in plan.steps if step.grouped]
        self.inputs: dict[tuple[int | str, int | str], list[Step]] = defaultdict(list)
        for step in plan.steps:
            if step.node.op == "input":
                self.inputs[step.node.ref[0], step.node.ref[1]].append(step)
        self.delivered: dict[int, list[int]] = defaultdict(list)
        by_index = {step.index: step for step in plan.steps}
        uses: dict[int, int] = {}

        def rank(index: int) -> tuple[bool, int]:
            """Order of running: grouped steps come after all others."""
            return by_index[index].grouped, index

        def use(node: int, at: int) -> None:
            uses[node] = max(uses.get(node, at), at, key=rank)

        for step in plan.steps:
            for operand in step.node.operands:
                use(operand, step.index)
        for index, accumulator in enumerate(plan.accumulators):
            nodes = [accumulator.left]
            if accumulator.right is not None:
                nodes.append(accumulator.right)
            last = max(nodes, key=rank)
            self.delivered[last].append(index)
            for node in nodes:
                use(node, last)
        for index, output in enumerate(plan.packed):
            self.delivered[output.node].append(-1 - index)
            use(output.node, output.node)
        self.freed: dict[int, list[int]] = defaultdict(list)
        for node, last in uses.items():
            kept = by_index[node].constant or (
                by_index[last].grouped and not by_index[node].grouped
            )
            if not kept:
                self.freed[last].append(node)


class _Work:
    """What the threads of one run share."""

    def __init__(
        self,
        executor: Executor,
        sources: Sequence[Source],
        progress: Progress | None,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.executor = executor
        self.sources = sources
        self._progress = progress
        self._is_cancelled = is_cancelled
        self._lock = threading.Lock()
        self._pending: Iterator[int] = iter(range(len(sources)))
        self._stopped = False
        self.first_error: BaseException | None = None  # what made the other threads stop
        self._total = executor.total_switches(sources)
        self._done = 0
        self._finished: dict[AccumulatorKey, list[_Running]] = defaultdict(list)
        self._packs = [
            _Packs(executor, len(sources), index) for index in range(len(executor.plan.packed))
        ]

    def worker(self) -> None:
        """Takes segments until none is left."""
        sink = _Sink(self)
        try:
            while (index := self._next()) is not None:
                sink.source = index
                self.executor.segment(self.sources[index], sink)
        except BaseException as error:
            with self._lock:
                self.first_error = self.first_error or error
                self._stopped = True
            raise
        with self._lock:
            for key, parts in sink.parts.items():
                self._finished[key].extend(parts)

    def _next(self) -> int | None:
        with self._lock:
            return None if self._stopped else next(self._pending, None)

    def check(self) -> None:
        """Raises AM-3052 when this run should stop."""
        if self._stopped or self._is_cancelled():
            fail("AM-3052")

    def switched(self) -> None:
        """Counts one key switch."""
        with self._lock:
            self._done += 1
            done = self._done
        if self._progress is not None:
            self._progress(done, self._total)

    def pack(self, source: int, output: int, ciphertext: Ciphertext) -> None:
        """One segment's mask or values."""
        self._packs[output].add(source, ciphertext)

    def outcome(self) -> Outcome:
        """Threads' accumulators added where the slot-value bound allows it."""
        masks = [pack for packs in self._packs for pack in packs.finished()]
        made = Outcome(masks=masks, key_switches=self._done)
        for key, parts in sorted(self._finished.items()):
            limit = self.executor.plan.accumulators[key[0]].segments_max
            for number, part in enumerate(self._merged(parts, limit)):
                ciphertext = self.executor_output(key[0], part.ciphertext)
                made.totals.append(Total(key[0], key[1], number, ciphertext))
        return made

    def _merged(self, parts: list[_Running], limit: int) -> list[_Running]:
        merged: list[_Running] = []
        for part in sorted(parts, key=lambda part: -part.segments):
            for other in merged:
                if other.segments + part.segments <= limit:
                    evaluator = self.executor.evaluator
                    other.ciphertext = evaluator.add(other.ciphertext, part.ciphertext)
                    other.segments += part.segments
                    break
            else:
                merged.append(part)
        return merged

    def executor_output(self, accumulator: int, ciphertext: Ciphertext) -> Ciphertext:
        """Slots carrying a public factor are only known mod t until the client removes it."""
        factor = self.executor.plan.accumulators[accumulator].factor
        return _residues(self.executor, ciphertext) if factor != 1 else ciphertext


class _Sink:
    """One thread's outputs."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._evaluator = work.executor.evaluator
        self._limits = [a.segments_max for a in work.executor.plan.accumulators]
        self.parts: dict[AccumulatorKey, list[_Running]] = defaultdict(list)
        self.source = 0

    def before_switch(self) -> None:
        self._work.check()

    def after_switch(self) -> None:
        self._work.switched()

    def pack(self, output: int, ciphertext: Ciphertext) -> None:
        self._work.pack(self.source, output, ciphertext)

    def add(self, key: AccumulatorKey, left: Ciphertext, right: Ciphertext | None) -> None:
        """One segment's product (or ``left`` itself) into the accumulator ``key``."""
        parts = self.parts[key]
        if not parts or parts[-1].segments >= self._limits[key[0]]:
            first = left if right is None else self._evaluator.multiply(left, right)
            parts.append(_Running(first, 1))
            return
        running = parts[-1]
        if right is None:
            running.ciphertext = self._evaluator.add(running.ciphertext, left)
        else:
            running.ciphertext = self._evaluator.multiply_accumulate(
                running.ciphertext, left, right
            )
        running.segments += 1


class _Packs:
    """One packed output of consecutive segments: sum of radix^i m_i, switched down, shrunk."""

    def __init__(self, executor: Executor, sources: int, output: int) -> None:
        self._executor = executor
        self._index = output
        self._output: PackedOutput = executor.plan.packed[output]
        self._sources = sources
        self._locks = [threading.Lock() for _ in range(-(-sources // self._output.segments))]
        self._growing: dict[int, Ciphertext] = {}

    def add(self, source: int, mask: Ciphertext) -> None:
        pack, place = divmod(source, self._output.segments)
        evaluator = self._executor.evaluator
        with self._locks[pack]:
            terms = [(self._output.radix**place, mask)]
            if pack in self._growing:
                terms.append((1, self._growing[pack]))
            self._growing[pack] = evaluator.linear(terms)

    def finished(self) -> list[MaskPack]:
        made = []
        for pack, ciphertext in sorted(self._growing.items()):
            first = pack * self._output.segments
            members = tuple(range(first, min(first + self._output.segments, self._sources)))
            made.append(MaskPack(members, self._small(ciphertext), self._index))
        return made

    def _small(self, ciphertext: Ciphertext) -> Ciphertext:
        evaluator = self._executor.evaluator
        while ciphertext.level > 1:
            ciphertext = evaluator.switch(ciphertext)
        small = evaluator.shrink(evaluator.relinearize(ciphertext))
        return _residues(self._executor, small) if self._output.factor != 1 else small


def _residues(executor: Executor, ciphertext: Ciphertext) -> Ciphertext:
    """The same ciphertext, its slots being any residue mod t."""
    rules = executor.evaluator.rules
    t = executor.evaluator.parameters.plaintext_modulus
    return replace(ciphertext, meta=rules.assert_bound(ciphertext.meta, 0, t - 1))
