"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base.errors import fail
from amaters.bench.depth import depth
from amaters.bench.indexes import indexes
from amaters.bench.ingest import ingest
from amaters.bench.kernels import kernels
from amaters.bench.merged import merged
from amaters.bench.orders import orders
from amaters.bench.peers import peers
from amaters.bench.predicates import predicates
from amaters.bench.record import Record
from amaters.bench.scan import scan
from amaters.bench.storage import storage
from amaters.bench.sums import sums
from amaters.bench.tpch import tpch
from amaters.bench.workbench import Workbench
from amaters.fhe.parameters import DEFAULT, Parameters

Benchmark = Callable[[Workbench, int | None], list[Record]]
TABLE: dict[str, Benchmark] = {
    "kernels": kernels,
    "predicates": predicates,
    "sum": sums,
    "orders": orders,
    "ingest": ingest,
    "tpch": tpch,
    "scan": scan,
    "peers": peers,
    "merged": merged,
    "storage": storage,
    "indexes": indexes,
    "depth": depth,
}


def run(
    name: str,
    rows: int | None,
    parameters: Parameters = DEFAULT,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Record]:
    """The records of one benchmark, under fresh keys. ``notice`` is told when it starts."""
    if name not in TABLE:
        fail("AM-1000", what=f"there is no benchmark {name[:40]!r}")
    notice(name)
    return TABLE[name](Workbench(parameters), rows)
