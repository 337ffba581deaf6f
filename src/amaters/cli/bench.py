"""``amaters bench``: measures the engine on this machine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click

from amaters.cli.context import say

if TYPE_CHECKING:
    from amaters.bench.record import Record

NAMES = (
    "kernels", "predicates", "sum", "orders", "ingest", "tpch", "scan", "peers", "merged",
    "storage", "indexes", "depth", "all",
)  # fmt: skip


_MAIN = "from amaters.cli.main import main; main()"


@click.command()
@click.argument("name", type=click.Choice(NAMES), default="all")
@click.option("--rows", type=click.IntRange(min=1), help="Rows per measurement.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def bench(name: str, rows: int | None, as_json: bool) -> None:
    """Measure kernels, predicates, sums, loading, TPC-H queries 6 and 1, and storage; every answer
    is checked.

    Data and constants are encrypted under a throw-away key. Figures per row are CPU time.
    """
    from amaters.bench import record

    records = _each(rows) if name == "all" else _one(name, rows)
    print(record.to_json(records) if as_json else record.to_table(records))


def _one(name: str, rows: int | None) -> list[Record]:
    from amaters.bench import suite

    return suite.run(name, rows, notice=lambda started: say(f"measuring {started} ..."))


def _each(rows: int | None) -> list[Record]:
    """Every benchmark in a process of its own: what one leaves in memory slows no other."""
    from amaters.bench import record

    found: list[Record] = []
    wanted = ["--rows", str(rows)] if rows else []
    for name in NAMES[:-1]:
        command = [sys.executable, "-c", _MAIN, "bench", name, "--json", *wanted]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        found += record.from_json(done.stdout)
    return found
