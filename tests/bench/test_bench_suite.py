"""Shape of the benchmarks' output on a tiny insecure ring; nothing here looks at a time."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from amaters.base import errors
from amaters.bench import meter, record, suite, tpch
from amaters.bench.record import Record
from amaters.bench.workbench import Stored, Workbench
from amaters.cli.bench import NAMES
from amaters.columns.schema import Table
from amaters.fhe.parameters import INSECURE_N1024

FIELDS = {
    "name", "bits", "rows", "public", "limbs", "core_us_per_row", "cold_us_per_row",
    "client_us_per_row", "upload_bytes", "wall_seconds", "peak_mib",
}  # fmt: skip
STATEMENT_FIELDS = FIELDS - {"bits"}


def run(name: str, rows: int | None) -> list[dict[str, object]]:
    """One benchmark on the small ring, as its JSON says."""
    records = suite.run(name, rows, INSECURE_N1024)
    found = json.loads(record.to_json(records))
    assert all(set(item) >= FIELDS for item in found)
    return found


def test_predicates_cover_operators_widths_and_publicity() -> None:
    """Every combination once, over segments of which the last is short; answers were checked."""
    found = run("predicates", 1500)
    cases = {(item["name"], item["bits"], item["public"]) for item in found}
    expected = {(n, b, p) for n in ("eq", "lt") for b in (8, 16, 32, 64) for p in (False, True)}
    assert cases == expected and len(found) == len(expected)
    for item in found:
        assert all(item[field] is not None for field in STATEMENT_FIELDS)
        assert item["rows"] == 1500
        assert (item["upload_bytes"] > 10_000) != item["public"]


@pytest.fixture(scope="module")
def lineitem() -> tpch.Lineitem:
    """What the generator makes, once: it takes a second to start."""
    return tpch.lineitem(1200)


def test_lineitem_has_the_values_of_the_specification(lineitem: tpch.Lineitem) -> None:
    """Domains that the declarations promise."""
    assert {len(values) for values in lineitem.values()} == {1200}
    assert set(lineitem["l_returnflag"]) == {"A", "N", "R"}
    assert set(lineitem["l_tax"]) <= set(range(9))
    assert 100 <= lineitem["l_quantity"].min() <= lineitem["l_quantity"].max() <= 5000
    assert set(lineitem["l_quantity"] % 100) == {0}
    assert 0 <= lineitem["l_discount"].min() <= lineitem["l_discount"].max() <= 10


def test_queries_6_and_1_are_exact(
    lineitem: tpch.Lineitem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both declarations of query 6's quantity, and query 1, over two segments."""
    monkeypatch.setattr(tpch, "lineitem", lambda _rows: lineitem)
    found = run("tpch", 1200)
    names = ["q6", "q6_whole", "q1"]
    assert [(item["name"], item["rows"]) for item in found] == [(name, 1200) for name in names]
    assert all(item["key_switches"] for item in found)


def test_a_wrong_total_is_not_reported(
    lineitem: tpch.Lineitem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row that the plaintext side sees differently stops the benchmark."""
    few = {name: values[:100] for name, values in lineitem.items()}
    encrypted = Workbench.store

    def store(bench: Workbench, table: Table, columns: dict[str, Any]) -> Stored:
        changed = columns["l_extendedprice"].copy()
        changed[:] += 1
        return encrypted(bench, table, {**columns, "l_extendedprice": changed})

    monkeypatch.setattr(Workbench, "store", store)
    monkeypatch.setattr(tpch, "lineitem", lambda _rows: few)
    monkeypatch.setattr(tpch, "_SHIPPED", (date(1992, 1, 1), date(1998, 12, 31)))
    monkeypatch.setattr(tpch, "_DISCOUNTS", (Decimal("0.01"), Decimal("0.10")))
    with pytest.raises(errors.InternalError, match="a total is wrong"):
        suite.run("tpch", 100, INSECURE_N1024)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sum", ["sum", "sum_where", "mask"]),
        ("orders", ["min", "min_where", "mask"]),
        ("ingest", ["encrypt_column", "insert"]),
        ("scan", ["scan_threads", "scan_processes"]),
    ],
)
def test_records_of(name: str, expected: list[str]) -> None:
    """Names and row counts of the other benchmarks over rows."""
    found = run(name, 1100)
    assert [item["name"] for item in found] == expected
    assert {item["rows"] for item in found} == {1100}


def test_kernels_and_peers_name_their_limbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record per kernel and level; ours and SEAL's in pairs. Each runs, none is timed."""
    monkeypatch.setattr(meter, "each_microseconds", lambda work: float(work() is None))
    assert {item["limbs"] for item in run("kernels", None)} >= {2, 4, 6, 8}
    names = [item["name"] for item in run("peers", None)]
    assert len(names) == 16
    assert {n.rsplit("_", 1)[1] for n in names} == {"ours", "seal"}


def test_storage_is_compared_with_plain_files() -> None:
    """Every backend, rows, recovery and a load; what was written was read back and compared."""
    found = {str(item["name"]): item for item in run("storage", 128)}
    appends = [
        f"{size}_{asked}"
        for size in ("append_100B", "append_1MiB")
        for asked in ("plain", "buffered", "direct", "io_uring")
    ]
    batches, load = ["put", "get"], ["bulk_load", "bytes_equal_digits", "bytes_sealed"]
    others = ["together", "mixed_80_20", "open_after_crash", "rebuild"]
    assert {*appends, *batches, *others, *load} <= set(found)
    assert all(found[name]["per_second"] for name in (*appends, *batches, "together"))
    assert all(found[name]["of_plain"] for name in (*appends, *batches, "rebuild", "bulk_load"))
    assert found["put"]["rows"] == found["get"]["rows"] == 128
    assert found["together"]["rows"] == 64 and found["mixed_80_20"]["rows"] == 40
    amplification = found["bulk_load"]["write_amplification"]
    assert isinstance(amplification, float) and 1 <= amplification < 1.5


def test_the_command_offers_every_benchmark() -> None:
    """Its list is written out, so that help does not import the engine."""
    assert (*suite.TABLE, "all") == NAMES


def test_table_aligns_and_leaves_out_empty_columns() -> None:
    """Numbers end in the same column; a field nobody fills is not a column."""
    text = record.to_table(
        [Record("eq", bits=8, rows=10), Record("longer", bits=64, rows=1_000_000, public=True)]
    )
    head, first, second = text.splitlines()
    assert head.split() == ["name", "bits", "rows", "public"]
    assert len(first) == len(second)
    assert second.split() == ["longer", "64", "1,000,000", "yes"]


def test_records_come_back_from_json() -> None:
    """`bench all` joins what processes of their own have printed."""
    made = [Record("eq", bits=8, rows=10), Record("put", rows=5, extra={"per_second": 7.5})]
    assert record.from_json(record.to_json(made)) == made


def test_merged_segments_are_read_cold() -> None:
    """Fresh, two parts with their seeds, eight with c1; adding up has a cost that fresh has not."""
    found = run("merged", None)
    assert [item["name"] for item in found] == ["fresh", "merged_2", "merged_8"]
    assert [item["parts"] for item in found] == [1, 2, 8]
    assert all(item["cold_us_per_row"] is not None for item in found)
    assert [item["core_us_per_row"] is None for item in found] == [True, False, False]
    stored = [float(str(item["stored_bytes_per_row"])) for item in found]
    assert stored[0] < 1.1 * stored[1] and 1.9 * stored[1] < stored[2] < 2.1 * stored[1]


def test_indexes_find_what_scans_find() -> None:
    """Writing with and without, building, and five questions, whose answers were compared."""
    found = {str(item["name"]): item for item in run("indexes", 20_000)}
    assert list(found) == [
        "put_plain", "put_indexed", "put_unique", "build_by_n", "build_by_town",
        "number", "no_number", "range_of_100", "town", "no_town",
    ]  # fmt: skip
    assert (found["no_number"]["found"], found["no_town"]["found"]) == (0, 0)
    assert 5 < float(str(found["build_by_n"]["stored_bytes_per_row"])) < 20
    for name in ("number", "range_of_100", "town"):
        times = [found[name][f"{way}_ms"] for way in ("index", "scan", "cold_index", "cold_scan")]
        assert all(time is not None for time in times)


def test_both_depths_and_a_large_filter_both_ways() -> None:
    """Comparisons at both depths; 64 conditions in parts and in one circuit, answers compared."""
    found = {str(item["name"]): item for item in run("depth", 1500)}
    assert list(found) == [
        "eq_default", "lt_default", "eq_deep", "lt_deep", "where64_refresh", "where64_deep",
    ]  # fmt: skip
    assert int(str(found["where64_refresh"]["parts"])) >= 2
    assert int(str(found["where64_deep"]["limbs"])) > INSECURE_N1024.max_level
