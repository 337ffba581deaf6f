"""A client and an engine without wire and storage: keys, encrypted segments, plans run on them.

``Workbench`` runs what a database runs: the planner's circuit, the client's encryption of constants
and rows, the engine's executor over the evaluator, the client's decryption. Engine and client share
the process but never run at the same time, so each one's CPU is what the process clock says
meanwhile. Decrypted answers are compared with plaintext for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench.meter import CLOCK
from amaters.columns.batch import ColumnBatch
from amaters.columns.declare import Declaration, build_table
from amaters.columns.schema import Table
from amaters.engine.executor import Executor, Outcome
from amaters.fhe.bundle import BundleReader, pack_bundle
from amaters.fhe.ciphertext import Ciphertext, SeededCiphertext
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.fhe.serial import serialize
from amaters.plan.circuit import CompiledPlan
from amaters.plan.cost import Statistics
from amaters.plan.expressions import Select
from amaters.plan.outputs import slot_values
from amaters.plan.prepare import Prepared, prepare

Slots = NDArray[np.int64]
Column = NDArray[np.int64] | NDArray[np.uint64]
SliceKey = tuple[int, str, int]


@dataclass(slots=True)
class Segment:
    """One segment's bundles, all slots live; satisfies the executor's ``Source``.

    ``hot``: expanded ciphertexts are kept, at the highest level asked for so far.
    """

    rows: int
    bundles: Mapping[tuple[int, str], tuple[bytes, int]]
    evaluator: Evaluator
    reader: BundleReader
    hot: bool = True
    _cache: dict[SliceKey, Ciphertext] = field(default_factory=dict)

    @property
    def batch(self) -> ColumnBatch:
        return ColumnBatch({}, self.rows)

    @property
    def selected(self) -> NDArray[np.bool_]:
        return np.ones(self.rows, dtype=np.bool_)

    @property
    def members(self) -> Slots:
        return np.zeros(self.rows, dtype=np.int64)

    @property
    def load(self) -> Callable[[int, str, Sequence[int], int], list[Ciphertext]]:
        """The executor's loader."""
        return self._load

    def _load(
        self, column_id: int, kind: str, indices: Sequence[int], level: int
    ) -> list[Ciphertext]:
        keys = [(column_id, kind, index) for index in indices]
        missing = [key for key in keys if key not in self._cache or self._cache[key].level < level]
        if not self.hot or missing:
            made = self._expand(column_id, kind, indices, level)
            if not self.hot:
                return made
            self._cache.update(zip(keys, made, strict=True))
        held = [self._cache[key] for key in keys]
        return [ct if ct.level == level else self.evaluator.truncate(ct, level) for ct in held]

    def _expand(
        self, column_id: int, kind: str, indices: Sequence[int], level: int
    ) -> list[Ciphertext]:
        bundle, count = self.bundles[column_id, kind]
        prefix = memoryview(bundle)[: self.reader.prefix_bytes(level, count)]
        return self.evaluator.load(self.reader, prefix, level, indices)

    def forget(self) -> None:
        """Drop what is expanded."""
        self._cache.clear()


@dataclass(slots=True)
class Stored:
    """A table's segments, and what encrypting them cost the client."""

    table: Table
    segments: list[Segment]
    rows: int
    encrypt_seconds: float
    stored_bytes: int


@dataclass(slots=True)
class Asked:
    """A statement ready for the engine: constants encrypted and expanded."""

    prepared: Prepared
    plan: CompiledPlan
    constants: list[Ciphertext]
    client_seconds: float
    upload_bytes: int


class Workbench:
    """Fresh keys, one client, one evaluator."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.client: ClientScheme = make_client_scheme(
            "bgv", parameters, SecretKey.generate(parameters)
        )

    @cached_property
    def keys(self) -> bytes:
        """Serialised evaluation keys."""
        return self.client.evaluation_keys()

    @cached_property
    def evaluator(self) -> Evaluator:
        return make_evaluator("bgv", self.parameters, self.keys)

    # ---- data --------------------------------------------------------------------------------

    def table(self, name: str, declarations: Mapping[str, Declaration]) -> Table:
        """A table under this workbench's key."""
        return build_table(
            name,
            declarations,
            parameter_set=self.parameters.name,
            scheme="bgv",
            key_id=self.client.key_id,
        )

    def store(self, table: Table, columns: Mapping[str, Column]) -> Stored:
        """All rows in full segments (the last may be shorter)."""
        total = len(next(iter(columns.values())))
        slots = self.parameters.slots
        before = CLOCK.cpu()
        segments = [
            self._segment(table, {name: v[start : start + slots] for name, v in columns.items()})
            for start in range(0, total, slots)
        ]
        seconds = CLOCK.cpu() - before
        size = sum(len(b) for segment in segments for b, _ in segment.bundles.values())
        return Stored(table, segments, total, seconds, size)

    def _segment(self, table: Table, columns: Mapping[str, Column]) -> Segment:
        rows = len(next(iter(columns.values())))
        positions, valid = np.arange(rows), np.ones(rows, dtype=np.bool_)
        bundles: dict[tuple[int, str], tuple[bytes, int]] = {}
        for name, values in columns.items():
            column = table.column(name)
            made = column.encode(values, valid, slots=self.parameters.slots, positions=positions)
            for shape, encoded in zip(column.encodings, made, strict=True):
                cts = self.client.encrypt(encoded, list(shape.bounds))
                bundles[column.id, shape.kind] = (pack_bundle(cts, shape.kind), shape.slices)
        reader = BundleReader(self.parameters, self.client.key_id)
        return Segment(rows, bundles, self.evaluator, reader)

    # ---- statements --------------------------------------------------------------------------

    def ask(self, select: Select) -> Asked:
        """Plan and encrypted constants of a statement."""
        statistics = Statistics(masked=False)
        prepared = prepare(select, select.table, statistics, self.parameters)
        if prepared.compiled is None:
            fail("AM-1000", what="a benchmark without ciphertexts")
        plan = prepared.compiled
        before = CLOCK.cpu()
        seeded = self._constants(prepared, plan)
        sent = [serialize(ct) for ct in seeded]
        seconds = CLOCK.cpu() - before
        expanded = [self.evaluator.expand_seeded(ct) for ct in seeded]
        upload = sum(len(data) for data in sent) + len(plan.spec_bytes)
        return Asked(prepared, plan, expanded, seconds, upload)

    def _constants(self, prepared: Prepared, plan: CompiledPlan) -> list[SeededCiphertext]:
        return [
            self.client.encrypt_scalars([value], [(0, 1)], level)[0]
            for value, level in zip(prepared.constants, plan.constant_levels, strict=True)
        ]

    def execute(self, asked: Asked, stored: Stored, threads: int = 1) -> Outcome:
        """What the engine does for one statement, all of it."""
        table = stored.table.public()
        executor = Executor(asked.plan, table, self.evaluator, asked.constants)
        return executor.run(stored.segments, threads=threads)

    # ---- answers -----------------------------------------------------------------------------

    def matching(self, asked: Asked, stored: Stored, outcome: Outcome) -> NDArray[np.bool_]:
        """Which rows matched, in order."""
        return self.numbers(asked, stored, outcome, 0).astype(np.bool_)

    def numbers(self, asked: Asked, stored: Stored, outcome: Outcome, output: int) -> Slots:
        """The numbers of one packed output, in order of rows."""
        packed = asked.plan.packed[output]
        modulus = self.parameters.plaintext_modulus
        inverse = pow(packed.factor, -1, modulus)
        found: dict[int, Slots] = {}
        for pack in outcome.masks:
            if pack.output != output:
                continue
            slots = self.client.decrypt(pack.ciphertext) * inverse % modulus
            for source in pack.sources:
                slots, found[source] = np.divmod(slots, packed.radix)
        parts = [found[i][: segment.rows] for i, segment in enumerate(stored.segments)]
        return np.concatenate(parts)

    def totals(self, asked: Asked, outcome: Outcome) -> dict[int, int]:
        """The exact total of each term of the statement that takes ciphertexts."""
        totals = dict.fromkeys((a.term for a in asked.plan.accumulators), 0)
        for part in outcome.totals:
            accumulator = asked.plan.accumulators[part.accumulator]
            values = slot_values(self.client.decrypt(part.ciphertext), accumulator)
            totals[accumulator.term] += accumulator.weight * int(values.sum())
        return totals
