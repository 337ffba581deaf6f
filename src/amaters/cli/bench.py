"""``amaters bench``: measures the engine on this machine."""

from __future__ import annotations

import click

from amaters.cli.context import say

NAMES = (
    "kernels", "predicates", "sum", "ingest", "tpch", "scan", "peers", "merged", "storage",
    "indexes", "all",
)  # fmt: skip


@click.command()
@click.argument("name", type=click.Choice(NAMES), default="all")
@click.option("--rows", type=click.IntRange(min=1), help="Rows per measurement.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def bench(name: str, rows: int | None, as_json: bool) -> None:
    """Measure kernels, predicates, sums, loading, TPC-H query 6 and storage; every answer is
    checked.

    Data and constants are encrypted under a throw-away key. Figures per row are CPU time.
    """
    from amaters.bench import record, suite

    records = suite.run(name, rows, notice=lambda started: say(f"measuring {started} ..."))
    print(record.to_json(records) if as_json else record.to_table(records))
