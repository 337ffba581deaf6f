"""What ALTER TABLE and VACUUM cost where they need ciphertexts: rows come down, are opened and
encrypted here, encodings go up. Seconds are those of one core; ciphertexts cost what
``cost.encryption_seconds`` says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from amaters.columns.canaries import CANARIES
from amaters.columns.schema import Column, Table
from amaters.fhe.bundle import BundleReader
from amaters.fhe.parameters import Parameters
from amaters.plan.cost import encryption_seconds

ROW_SECONDS = 10e-6  # a sealed row fetched, opened and decoded, or encoded and sealed


@dataclass(frozen=True, slots=True)
class AlterCost:
    """Totals over all segments; seconds are of one core."""

    rows: int = 0
    segments: int = 0
    ciphertexts: int = 0
    upload_bytes: int = 0
    seconds: float = 0.0


def segment_cost(
    table: Table,
    missing: Iterable[tuple[int, Collection[str]]],
    rows: int,
    parameters: Parameters,
) -> AlterCost:
    """What one segment of so many rows costs; ``missing``: names of encodings by column."""
    shapes = [
        shape
        for column_id, names in missing
        for shape in table.column(column_id).written
        if shape.name in names
    ]
    bundles = BundleReader(parameters, table.key_id, table.scheme)
    count = sum(shape.slices for shape in shapes)
    return AlterCost(
        rows=rows,
        segments=1,
        ciphertexts=count,
        upload_bytes=sum(
            bundles.prefix_bytes(parameters.max_level, shape.slices) for shape in shapes
        ),
        seconds=rows * ROW_SECONDS + count * encryption_seconds(parameters),
    )


def total(parts: Iterable[AlterCost]) -> AlterCost:
    """The sum of some segments' costs."""
    found = AlterCost()
    for part in parts:
        found = AlterCost(
            found.rows + part.rows,
            found.segments + part.segments,
            found.ciphertexts + part.ciphertexts,
            found.upload_bytes + part.upload_bytes,
            found.seconds + part.seconds,
        )
    return found


def cost_of(table: Table, rows: int, parameters: Parameters) -> AlterCost:
    """What finishing a table's targets costs, for so many rows in full segments."""
    missing = [(column.id, _pending(column)) for column in table.columns]
    full = parameters.slots - CANARIES
    if not any(names for _, names in missing):
        return AlterCost()
    sizes = [full] * (rows // full) + ([rows % full] if rows % full else [])
    return total(segment_cost(table, missing, size, parameters) for size in sizes)


def _pending(column: Column) -> list[str]:
    return [shape.name for shape in column.written[len(column.encodings) :]]


def cost_text(cost: AlterCost) -> str:
    """In words, for hints."""
    if not cost.ciphertexts:
        return "at once"
    seconds = f"{cost.seconds:,.0f} s" if cost.seconds >= 1 else "a second"
    return f"re-encrypts {cost.rows:,} rows on this client, about {seconds}"
