"""TPC-H query 6 at a whole scale factor, through the database: time, bytes, memory, exact answer.

    .venv/bin/python tools/tpch_large.py --scale 1 --directory DIR      # about 15 GB in DIR

Loads lineitem (6.0 million rows at scale 1) into a new embedded database in DIR and asks query 6
cold, in a process of its own, and again; DuckDB answers the same question on the same rows.
``--keep`` leaves the database there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import amaters as am

DDL = """
CREATE TABLE lineitem (
  l_key BIGINT PRIMARY KEY,
  l_quantity DECIMAL(2,0) NOT NULL ENCRYPTED WITH (QUERIES = 'range', MIN = 1, MAX = 50),
  l_extendedprice DECIMAL(15,2) NOT NULL ENCRYPTED WITH (QUERIES = 'sum', MIN = 900, MAX = 105000),
  l_discount DECIMAL(15,2) NOT NULL ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 0.10),
  l_shipdate DATE NOT NULL ENCRYPTED
    WITH (QUERIES = 'range', MIN = '1992-01-01', MAX = '1998-12-31')
)"""
Q6 = """
SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
  AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24"""
COLUMNS = ("l_quantity", "l_extendedprice", "l_discount", "l_shipdate")
BATCH = 65_536
GIGABYTE = 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="1", help="TPC-H scale factor")
    parser.add_argument("--directory", required=True, type=Path, help="where data is made and kept")
    parser.add_argument("--keep", action="store_true", help="leave the database")
    parser.add_argument("step", nargs="?", choices=("load", "ask"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step == "load":
        return load(chosen.directory)
    if chosen.step == "ask":
        return ask(chosen.directory)
    chosen.directory.mkdir(parents=True, exist_ok=True)
    generate(chosen.scale, chosen.directory)
    expected, rows = plaintext(chosen.directory)
    say(f"{rows:,} rows; DuckDB answers {expected}")
    report = {"rows": rows, **step(chosen, "load"), **step(chosen, "ask")}
    report["equal"] = report["answer"] == str(expected)
    print(json.dumps(report, indent=2))
    if not chosen.keep:
        shutil.rmtree(chosen.directory / "db")
    return 0 if report["equal"] else 1


def say(text: str) -> None:
    print(text, file=sys.stderr)


def step(chosen: argparse.Namespace, name: str) -> dict[str, Any]:
    """What one step in a process of its own reports: its memory is its own."""
    say(f"{name} ...")
    command = [sys.executable, __file__, "--directory", str(chosen.directory), name]
    environment = {**os.environ, "AMATERS_KEYRING": str(chosen.directory / "keys")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def generate(scale: str, directory: Path) -> None:
    """The generator's rows as Parquet."""
    generator = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "-s", scale, "--tables=lineitem", f"--output-dir={directory}"]
    subprocess.run([str(generator), *arguments], check=True, capture_output=True)


def plaintext(directory: Path) -> tuple[Any, int]:
    """DuckDB's answer and the number of rows."""
    connection = duckdb.connect()
    source = f"read_parquet('{directory / 'lineitem.parquet'}')"
    revenue = connection.execute(Q6.replace("FROM lineitem", f"FROM {source}")).fetchall()
    count = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
    return revenue[0][0], count[0][0]


def load(directory: Path) -> int:
    """Encrypts and stores the rows, batch by batch."""
    shutil.rmtree(directory / "db", ignore_errors=True)
    began, done = time.monotonic(), 0
    with am.connect(directory / "db", progress=lambda _: None) as database:
        database.sql(DDL)
        table = database.table("lineitem")
        file = pq.ParquetFile(directory / "lineitem.parquet")
        for batch in file.iter_batches(BATCH, columns=list(COLUMNS)):
            keys = pa.array(range(done, done + batch.num_rows))
            whole = pc.cast(batch.column("l_quantity"), pa.decimal128(2, 0))
            others = [batch.column(name) for name in COLUMNS[1:]]
            rows = pa.table([keys, whole, *others], names=["l_key", *COLUMNS])
            table.insert(rows)
            done += batch.num_rows
            say(f"{done:,} rows, {done / (time.monotonic() - began):,.0f} rows/s")
    spent = time.monotonic() - began
    stored = sum(path.stat().st_size for path in (directory / "db").rglob("*") if path.is_file())
    report = {
        "load_seconds": round(spent, 1),
        "load_rows_per_second": round(done / spent),
        "stored_gb": round(stored / GIGABYTE, 2),
        "load_peak_mib": peak(),
    }
    print(json.dumps(report))
    return 0


def ask(directory: Path) -> int:
    """Query 6, cold and again."""
    found: dict[str, Any] = {}
    with am.connect(directory / "db", progress=lambda _: None) as database:
        for name in ("first", "second"):
            cpu = time.process_time()
            result = database.sql(Q6)
            stats = result.stats
            found |= {
                "answer": str(result.scalar()),
                f"{name}_seconds": round(stats.wall_seconds, 1),
                f"{name}_cpu_seconds": round(time.process_time() - cpu, 1),
                f"{name}_read_gb": round(stats.bytes_read / GIGABYTE, 2),
                "sent_mb": round(stats.bytes_sent / 1e6, 1),
                "received_mb": round(stats.bytes_received / 1e6, 2),
                "key_switches": stats.key_switches,
                "segments": stats.segments,
            }
    print(json.dumps({**found, "ask_peak_mib": peak()}))
    return 0


def peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
