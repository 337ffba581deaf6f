"""A database without encryption that changes in small steps, and a dictionary that knows better.

Each step is one command. ``states[n]`` is what the tables hold after n commands; after a crash the
database must hold ``states[m]`` for some m from the acknowledged to the begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from amaters.columns.declare import Int64, Text, build_table
from amaters.columns.records import encode_public
from amaters.columns.schema import Table
from amaters.storage.database import Storage
from amaters.storage.index_build import next_slice
from amaters.storage.index_reader import REGISTERED_FROM
from amaters.storage.rows import CommandRows
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb
from faults.contents import (
    KEY,
    NOTE,
    NUMBER,
    Row,
    Rows,
    Tables,
    number_of,
    tail_parts,
)

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def make_table(name: str, table_id: bytes) -> Table:
    """Every other table has an index from the start."""
    indexed = int.from_bytes(table_id, "little") % 2 == 1
    columns = {"id": Int64(primary_key=True), "n": Int64(index=indexed), "note": Text()}
    return build_table(
        name,
        columns,
        parameter_set="insecure_n1024",
        scheme="noop",
        key_id=b"i" * 16,
        table_id=table_id,
    )


def schema_of(table: Table, version: int = 1) -> pb.SchemaRecord:
    return pb.SchemaRecord(
        table_id=table.id,
        name=table.name,
        version=version,
        public_bytes=encode_public(table.public()),
        sealed_bytes=b"sealed",
        mac=b"mac",
    )


def block_of(rows: Rows) -> bytes:
    keys = np.array(list(rows), dtype=np.int64)
    notes = np.array([note for _, note in rows.values()], dtype=object)
    numbers = np.array([number_of(note) for _, note in rows.values()], dtype=np.int64)
    return blocks.encode_block({KEY: (keys, None), NUMBER: (numbers, None), NOTE: (notes, None)})


def key_versions(rows: Iterable[tuple[int, int]]) -> pb.KeyVersions:
    listed = list(rows)
    if not listed:
        return pb.KeyVersions()
    keys = np.array([key for key, _ in listed], dtype=np.int64)
    return pb.KeyVersions(
        keys=blocks.encode_block({KEY: (keys, None)}), versions=[v for _, v in listed]
    )


@dataclass
class Step:
    """One command with what the tables hold after it."""

    command: cb.Command
    rows: CommandRows | None
    after: Tables


@dataclass
class Workload:
    """Steps for one storage at a time; after a crash ``resume`` says what was found."""

    rng: Random
    storage: Storage
    tables: Tables = field(default_factory=dict)
    ids: dict[str, bytes] = field(default_factory=dict)
    version: int = 1

    # ---- steps ---------------------------------------------------------------------------------

    def create(self, name: str) -> Step:
        self.ids[name] = self.rng.randbytes(16)
        schema = schema_of(make_table(name, self.ids[name]))
        return self._step(cb.Command(table_create=cb.TableCreate(schema=schema)), {name: {}})

    def drop(self, name: str) -> Step:
        drop = cb.TableDrop(table_id=self.ids[name])
        return self._step(cb.Command(table_drop=drop), {name: None})

    def put(self, name: str, keys: Iterable[int], *, segment: bool) -> Step:
        """New rows, over old ones of the same keys, in the tail or as a segment."""
        batch, after = self.put_batch(name, keys, segment=segment)
        return self._batch(batch, {name: after})

    def put_batch(self, name: str, keys: Iterable[int], *, segment: bool) -> tuple[cb.Batch, Rows]:
        there = self.tables[name]
        rows = {key: self._row() for key in keys}
        request = self._request(name)
        request.removed.CopyFrom(key_versions((k, there[k][0]) for k in rows if k in there))
        return self._filled(request, rows, segment=segment), {**there, **rows}

    def delete(self, name: str, keys: Iterable[int]) -> Step:
        there, gone = self.tables[name], set(keys)
        request = self._request(name)
        request.removed.CopyFrom(key_versions((key, there[key][0]) for key in gone))
        after = {key: row for key, row in there.items() if key not in gone}
        return self._batch(self._filled(request, {}, segment=False), {name: after})

    def exchange(self, name: str) -> Step | None:
        """The rows of the tail become a segment."""
        found = self.storage.version(self.ids[name])
        assert found is not None
        moved = {key: row for part in tail_parts(found) for key, row in part.rows.items()}
        if not moved:
            return None
        request = self._request(name)
        rows = {key: (request.row_version, note) for key, (_, note) in moved.items()}
        request.moved.CopyFrom(key_versions((key, version) for key, (version, _) in moved.items()))
        batch = self._filled(request, rows, segment=True)
        return self._batch(batch, {name: {**self.tables[name], **rows}})

    def several(self, names: Iterable[str], keys: Iterable[int]) -> Step:
        """One batch over several tables."""
        listed = list(keys)
        command = cb.Command()
        changes: dict[str, Rows | None] = {}
        for name in names:
            batch, changes[name] = self.put_batch(name, listed, segment=self.rng.random() < 0.3)
            command.multi_batch.parts.append(batch)
        made = self._step(command, changes)
        rows = tuple(map(self.storage.read_rows, command.multi_batch.parts))
        return Step(made.command, rows, made.after)

    def index(self, name: str) -> Step:
        """The next step of an index beside the schema's: it comes, a slice is built, or it goes."""
        found = self.storage.version(self.ids[name])
        assert found is not None
        mine = [index for index in found.indexes if index.number >= REGISTERED_FROM]
        building = [index.number for index in found.indexes if not index.is_ready]
        if building:
            part = next_slice(self.storage, self.ids[name], building[0])
            made = self._step(part.command, {})
            return Step(made.command, part.rows, made.after)
        columns = () if mine else self.rng.choice(((NOTE,), (NUMBER, NOTE)))
        wanted = cb.IndexRegister(
            table_id=self.ids[name], number=REGISTERED_FROM, name="beside", columns=columns
        )
        return self._step(cb.Command(index_register=wanted), {})

    # ---- parts of steps ------------------------------------------------------------------------

    def _row(self) -> Row:
        length = self.rng.choice((1, 5, 30, 300))
        return self.version, self.rng.choice(_ALPHABET) * self.rng.randrange(length)

    def _request(self, name: str) -> pb.CommitRequest:
        self.version += 1
        return pb.CommitRequest(
            request_id=self.rng.randbytes(16),
            table_id=self.ids[name],
            schema_version=1,
            row_version=self.version,
        )

    def _filled(self, request: pb.CommitRequest, rows: Rows, *, segment: bool) -> cb.Batch:
        for key, (_, note) in rows.items():
            rows[key] = (request.row_version, note)
        batch = cb.Batch(key_column=KEY)
        if rows and segment:
            data = block_of(rows)
            ref = self._upload(data)
            batch.objects.append(ref)
            request.segments.add(
                segment_id=self.rng.randbytes(16), rows=len(rows), public_object=ref.object_id
            )
        elif rows:
            request.tail.rows = len(rows)
            request.tail.public_block = block_of(rows)
        batch.request.CopyFrom(request)
        return batch

    def _upload(self, data: bytes) -> cb.ObjectRef:
        writer = self.storage.objects.create(self.rng.randbytes(16), len(data))
        try:
            writer.write(data)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _batch(self, batch: cb.Batch, changes: dict[str, Rows | None]) -> Step:
        made = self._step(cb.Command(batch=batch), changes)
        return Step(made.command, self.storage.read_rows(batch), made.after)

    def _step(self, command: cb.Command, changes: dict[str, Rows | None]) -> Step:
        command.request_id = self.rng.randbytes(16)
        command.request_digest = b"d"
        after = {**self.tables, **changes}
        return Step(command, None, {n: rows for n, rows in after.items() if rows is not None})

    # ---- choosing and doing --------------------------------------------------------------------

    def choose(self, *, alone: bool = True) -> Step:
        """A step that has no conflict; ``alone``: all steps before it are committed."""
        rng, names = self.rng, sorted(self.tables)
        if len(names) < 2 or rng.random() < 0.03:
            return self.create(f"t{rng.randrange(1 << 30)}")
        name = rng.choice(names)
        there = sorted(self.tables[name])
        kind = rng.randrange(22)
        if kind < 8:
            return self.put(name, self._some_keys(8), segment=False)
        if kind < 12:
            return self.put(name, self._some_keys(40), segment=True)
        if kind < 15 and there:
            return self.delete(name, rng.sample(there, rng.randrange(1, min(6, len(there)) + 1)))
        if kind < 18 and alone:
            step = self.exchange(name)
            if step is not None:
                return step
        if kind >= 20 and alone:
            return self.index(name)
        if kind == 18:
            return self.several(rng.sample(names, 2), self._some_keys(5))
        if kind == 19 and len(names) > 3:
            return self.drop(name)
        return self.put(name, self._some_keys(3), segment=False)

    def _some_keys(self, most: int) -> list[int]:
        return self.rng.sample(range(60), self.rng.randrange(1, most + 1))

    def run(self, step: Step) -> None:
        """Do one step: no error, no conflict."""
        self.storage.append(step.command, step.rows)
        self.tables = step.after
