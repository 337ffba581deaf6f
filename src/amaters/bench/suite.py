"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base.errors import fail
from amaters.bench.record import Record

Benchmark = Callable[[int | None], list[Record]]


def names() -> tuple[str, ...]:
    """What ``amaters bench`` accepts."""
    return (*_table(), "all")


def run(name: str, rows: int | None) -> list[Record]:
    """The records of one benchmark, or of all of them in turn."""
    table = _table()
    if name != "all" and name not in table:
        fail("AM-1000", what=f"there is no benchmark {name[:40]!r}")
    chosen = table.values() if name == "all" else (table[name],)
    return [record for benchmark in chosen for record in benchmark(rows)]


def _table() -> dict[str, Benchmark]:
    return {}
