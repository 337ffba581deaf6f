"""A table in memory, a plan run over it by the executor, and the plaintext answer beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amaters.client.finish import Totals, totals_of
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.declare import Declaration, build_table
from amaters.columns.schema import PublicTable, Table
from amaters.engine.executor import Executor, Outcome
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.noop import NoopClientScheme, NoopEvaluator
from amaters.fhe.parameters import INSECURE_N1024, Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator
from amaters.plan.circuit import CompiledPlan, compile_plan
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Select
from amaters.plan.outputs import mask_bits, shares, slot_values
from amaters.plan.prepare import Prepared, prepare
from amaters.plan.spec import PlanSpec, Term

KEY_ID = b"k" * 16
TABLE_ID = b"t" * 16
Compile = Callable[[PlanSpec, PublicTable, Parameters], CompiledPlan]


def make_table(
    columns: Mapping[str, Declaration],
    parameters: Parameters = INSECURE_N1024,
    scheme: str = "noop",
) -> Table:
    return build_table(
        "t",
        columns,
        parameter_set=parameters.name,
        scheme=scheme,  # type: ignore[arg-type]
        key_id=KEY_ID,
        table_id=TABLE_ID,
    )


@dataclass
class MemorySegment:
    """``vectors.Source`` over ciphertexts in memory."""

    rows: int
    batch: ColumnBatch
    full: ColumnBatch
    selected: np.ndarray
    members: np.ndarray
    stored: dict[tuple[int, str], list]
    evaluator: Evaluator

    def load(
        self, column_id: int, kind: str, slices: Sequence[int], level: int
    ) -> list[Ciphertext]:
        stored = self.stored[column_id, kind]
        return [self.evaluator.expand_seeded(stored[i], level) for i in slices]


class Database:
    """Segments of one table. ``dead``: the share of rows that liveness hides."""

    def __init__(
        self,
        table: Table,
        rows: list[dict],
        *,
        parameters: Parameters = INSECURE_N1024,
        segment_rows: int | None = None,
        dead: Sequence[int] = (),
        scheme: tuple[ClientScheme, Evaluator] | None = None,
    ) -> None:
        self.table = table
        self.parameters = parameters
        self.client, self.evaluator = scheme or (
            NoopClientScheme(parameters, KEY_ID),
            NoopEvaluator(parameters),
        )
        size = segment_rows or parameters.slots
        self.dead = set(dead)
        self.full = ColumnBatch.from_rows(table, rows)
        keys = np.arange(len(rows), dtype=np.int64)
        if table.primary_key.hidden:
            values = ColumnValues(keys, np.ones(len(rows), dtype=np.bool_))
            self.full = self.full.with_column(table.primary_key, values)
        self.live = np.array([index not in self.dead for index in range(len(rows))])
        self.spans = [(at, min(at + size, len(rows))) for at in range(0, len(rows), size)]
        self.stored = [self._encrypt(*span) for span in self.spans]

    def _encrypt(self, start: int, stop: int) -> dict[tuple[int, str], list]:
        stored = {}
        for column in self.table.encrypted_columns:
            values = self.full.columns[column.id]
            encoded = column.encode(
                values.values[start:stop],
                np.asarray(values.valid[start:stop]),
                slots=self.parameters.slots,
                positions=np.arange(stop - start),
            )
            for shape, slots in zip(column.encodings, encoded, strict=True):
                stored[column.id, shape.kind] = self.client.encrypt(slots, shape.bounds)
        return stored

    def sources(self, spec: PlanSpec) -> tuple[list[MemorySegment], list[tuple]]:
        """Segments and the public group keys, as the engine would find them."""
        chosen = self.live & matches(spec.public_filter, self.full, self.table)
        keys = _keys(self.full, spec.public_groups)
        known = sorted({key for key, ok in zip(keys, chosen, strict=True) if ok}, key=repr)
        if not spec.public_groups:
            known = [()]
        index = {key: i for i, key in enumerate(known)}
        members = np.array(
            [index[key] if ok else -1 for key, ok in zip(keys, chosen, strict=True)], dtype=np.int64
        )
        segments = []
        for (start, stop), stored in zip(self.spans, self.stored, strict=True):
            batch = self.full.take(np.arange(start, stop))
            segments.append(
                MemorySegment(
                    stop - start,
                    batch,
                    batch,
                    chosen[start:stop],
                    members[start:stop],
                    stored,
                    self.evaluator,
                )
            )
        return segments, known

    def constants(self, prepared: Prepared, plan: CompiledPlan | None = None) -> list[Ciphertext]:
        plan = plan or prepared.compiled
        assert plan is not None
        made = []
        for value, level in zip(prepared.constants, plan.constant_levels, strict=True):
            (ct,) = self.client.encrypt_scalars([value], [(0, 1)], level)
            made.append(self.evaluator.expand_seeded(ct))
        return made

    # ---- the two answers ---------------------------------------------------------------------

    def prepare(self, select: Select, masked: bool | None = None) -> Prepared:
        masked = bool(self.dead) if masked is None else masked
        statistics = Statistics(len(self.spans), self.full.length, 0, masked)
        return prepare(select, self.table, statistics, self.parameters)

    def execute(
        self, prepared: Prepared, threads: int = 1, compile_: Compile = compile_plan
    ) -> tuple[CompiledPlan, Outcome, list[tuple]]:
        assert prepared.spec is not None
        spec = PlanSpec.from_bytes(prepared.spec.to_bytes())
        plan = compile_(spec, self.table.public(), self.parameters)
        sources, keys = self.sources(spec)
        executor = Executor(
            plan, self.table.public(), self.evaluator, self.constants(prepared, plan)
        )
        return plan, executor.run(sources, threads=threads), keys

    def totals(
        self, prepared: Prepared, threads: int = 1, compile_: Compile = compile_plan
    ) -> dict[tuple, dict[Term, int]]:
        """Decrypted totals by (public key values, categories), zeros left out."""
        plan, outcome, keys = self.execute(prepared, threads, compile_)
        found: dict[tuple, dict[Term, int]] = {}
        for total in outcome.totals:
            accumulator = plan.accumulators[total.accumulator]
            slots = slot_values(self.client.decrypt(total.ciphertext), accumulator)
            amount = int(slots.sum()) * accumulator.weight
            term = plan.spec.terms[accumulator.term]
            for indices, sign in shares(plan.spec, self.table.public(), accumulator.categories):
                group = (*keys[total.group], *self._categories(plan, indices))
                terms = found.setdefault(group, {})
                terms[term] = terms.get(term, 0) + sign * amount
        return _nonzero(found)

    def _categories(self, plan: CompiledPlan, indices: tuple[int, ...]) -> tuple:
        columns = [self.table.column(c) for c in plan.spec.encrypted_groups]
        return tuple(
            column.categories[i] if i < len(column.categories) else None
            for column, i in zip(columns, indices, strict=True)
        )

    def plain_mask(self, select: Select) -> np.ndarray:
        return self.live & matches(select.where, self.full, self.table)

    def plain_totals(self, prepared: Prepared) -> dict[tuple, dict[Term, int]]:
        """What the totals must be, by the plaintext evaluator."""
        assert prepared.compiled is not None
        select = prepared.select
        rows = self.full.take(np.flatnonzero(self.plain_mask(select)))
        wanted = {a.term for a in prepared.compiled.accumulators}
        terms = [term for i, term in enumerate(prepared.spec.terms) if i in wanted]
        totals: Totals = totals_of(select, rows, terms)
        order = (*prepared.spec.public_groups, *prepared.spec.encrypted_groups)
        at = [list(dict.fromkeys(select.group_by)).index(column) for column in order]
        return _nonzero({tuple(key[i] for i in at): t for key, t in totals.groups.items()})

    def mask(self, prepared: Prepared, threads: int = 1, compile_: Compile = compile_plan):
        """The decrypted row mask."""
        plan, outcome, _ = self.execute(prepared, threads, compile_)
        found = np.zeros(self.full.length, dtype=bool)
        for pack in outcome.masks:
            bits = mask_bits(self.client.decrypt(pack.ciphertext), plan.mask.factor)
            for bit, source in enumerate(pack.sources):
                start, stop = self.spans[source]
                found[start:stop] = bits[bit][: stop - start]
                assert not bits[bit][stop - start :].any(), "an empty slot matched"
        return found

    def check(
        self,
        select: Select,
        *,
        threads: int = 1,
        masked: bool | None = None,
        compile_: Compile = compile_plan,
    ) -> Prepared:
        """Assert that the circuit's answer equals the plaintext answer; the plan, for more
        checks.
        """
        prepared = self.prepare(select, masked)
        if prepared.kind == "public":
            chosen = self.live & matches(prepared.fetch.public_filter, self.full, self.table)
            np.testing.assert_array_equal(chosen, self.plain_mask(select))
        elif prepared.kind == "rows":
            np.testing.assert_array_equal(
                self.mask(prepared, threads, compile_), self.plain_mask(select), str(select.where)
            )
        else:
            assert self.totals(prepared, threads, compile_) == self.plain_totals(prepared), (
                select.where
            )
        return prepared


def _keys(batch: ColumnBatch, columns: Sequence[int]) -> list[tuple]:
    lists = []
    for column in columns:
        values = batch.columns[column]
        pairs = zip(values.values.tolist(), values.valid.tolist(), strict=True)
        lists.append([value if ok else None for value, ok in pairs])
    return list(zip(*lists, strict=True)) if lists else [()] * batch.length


def _nonzero(totals: dict[tuple, dict[Term, int]]) -> dict[tuple, dict[Term, int]]:
    kept = {key: {t: v for t, v in terms.items() if v} for key, terms in totals.items()}
    return {key: terms for key, terms in kept.items() if terms}
