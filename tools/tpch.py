"""Runs the queries of TPC-H beside DuckDB and writes docs/tpch.md.

    .venv/bin/python tools/tpch.py                       # the page's classification, as declared
    .venv/bin/python tools/tpch.py --check               # whether the page is current
    .venv/bin/python tools/tpch.py --run --scale 0.01    # run and measure, on the real scheme

``--run`` takes about three minutes at scale 0.01 and exits with 1 when an answer differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import amaters as am
from amaters.base.errors import AmatersError
from amaters.bench import tpch_queries as tpch

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tpch.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare the page")
    parser.add_argument("--run", action="store_true", help="run all queries and measure them")
    parser.add_argument("--scale", type=float, default=0.01, help="TPC-H scale factor")
    parser.add_argument("--noop", action="store_true", help="without encryption: answers only")
    chosen = parser.parse_args()
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    measured = written.partition(BEGIN)[2].partition(END)[0].strip()
    if chosen.run:
        lines, equal = measure(chosen.scale, noop=chosen.noop)
        sys.stdout.write("\n".join(lines) + "\n")
        if chosen.noop or not equal:
            return int(not equal)
        measured = "\n".join(lines)
    page = page_of(measured)
    if chosen.check:
        if page != written:
            sys.stderr.write("not up to date: docs/tpch.md; run tools/tpch.py\n")
        return int(page != written)
    PAGE.write_text(page, encoding="utf-8")
    return 0


def page_of(measured: str) -> str:
    """The page with these measurements."""
    count = len(tpch.answered())
    lines = [
        "# TPC-H",
        "",
        "Made by `tools/tpch.py` from `src/amaters/bench/tpch_queries.py`; the tests run every",
        "query below and compare its answer with DuckDB's, or see it refused. Texts and parameters",
        "are those of the specification's validation. Tables are declared as in",
        "[layout.sql](../src/amaters/bench/queries/layout.sql): keys, and names of nations and",
        "regions, are public; measures, dates and flags are encrypted; texts that are only read",
        f"are sealed. {count} of 22 queries are answered:",
        "",
        *tpch.table_lines(),
        "",
        "How [joins](joins.md) and [subqueries](subqueries.md) are answered. Averages are rounded",
        "once, DuckDB's twice, so their last digit may differ; everything else is equal.",
        "",
        "## Measured",
        "",
        BEGIN,
        measured,
        END,
        "",
    ]
    return "\n".join(lines)


def measure(scale: float, *, noop: bool) -> tuple[list[str], bool]:
    """A table of seconds and bytes, and whether every answer equals DuckDB's."""
    with tempfile.TemporaryDirectory(prefix="amaters-tpch-") as name:
        folder = Path(name)
        tpch.generate(folder, scale)
        plain = tpch.oracle(folder)
        with am.connect(":memory:", unsafe_scheme="noop" if noop else None) as database:
            began = time.monotonic()
            rows = tpch.load(database, folder)
            seconds = time.monotonic() - began
            asked = list(_asked(database, plain))
    lines = [
        f"Scale factor {scale:g}, {rows['lineitem']:,} line items, an in-memory database on a "
        f"2-core virtual machine that did other work too; loading took {seconds:.0f} s.",
        "",
        "| query | seconds | engine CPU s | sent MB | received MB | equal |",
        "|---|---|---|---|---|---|",
        *(line for line, _ in asked),
    ]
    return lines, all(equal for _, equal in asked)


def _asked(database: am.Database, plain: object) -> Iterator[tuple[str, bool]]:
    for query in tpch.QUERIES:
        if query.verdict == "no":
            equal = _is_refused(database, query)
            if not equal:
                yield f"| {query.number} | not refused with {query.code} | | | | no |", False
            continue
        expected = plain.sql(query.text).fetchall()  # type: ignore[attr-defined]
        found = database.sql(query.text)
        equal, stats = tpch.agree(found.rows(), expected), found.stats
        yield (
            (
                f"| {query.number} | {stats.wall_seconds:.1f} | {stats.engine_cpu_seconds:.1f} "
                f"| {stats.bytes_sent / 1e6:.1f} | {stats.bytes_received / 1e6:.1f} "
                f"| {'yes' if equal else 'NO'} |"
            ),
            equal,
        )


def _is_refused(database: am.Database, query: tpch.Query) -> bool:
    try:
        database.sql(query.text)
    except AmatersError as error:
        return error.code == query.code
    return False


if __name__ == "__main__":
    raise SystemExit(main())
