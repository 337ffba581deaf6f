"""The main job's benchmarks of two commits, in turn on one machine.

    .venv/bin/python tools/compare_benchmarks.py 763cb8b            # against HEAD, about 15 minutes
    .venv/bin/python tools/compare_benchmarks.py OLD NEW --rounds 3 --name kernels --name tpch

Each round runs every benchmark of both commits, in a process of its own and in changing order, so
that whatever else the machine does meets both; the first round compiles and does not count. Two
ratios are printed, after to before: of the medians over rounds, and of the lowest, to which the
rest of the machine added least. Exit status 1 when both say that a figure got slower by more than
the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import click

NAMES = ("kernels", "predicates", "sum", "tpch", "ingest")
SLOWER = ("us", "core_us_per_row", "cold_us_per_row", "client_us_per_row")  # more is worse
FASTER = ("rows_per_second",)
TOO_SHORT_US = 1000.0  # figures per row of less than this in all are noise
_MAIN = "from amaters.cli.main import main; main()"

Figure = tuple[str, ...]
Found = dict[Figure, list[float]]


def main() -> int:
    asked = _arguments()
    found: dict[str, Found] = {side: defaultdict(list) for side in ("before", "after")}
    with tempfile.TemporaryDirectory(prefix="amaters-compare-") as name:
        trees = {"before": Path(name) / "before", "after": Path(name) / "after"}
        for side, commit in (("before", asked.before), ("after", asked.after)):
            _git("worktree", "add", "--detach", str(trees[side]), commit)
        try:
            for turn in range(1 + asked.rounds):
                _round(asked, trees, turn, found)
        finally:
            for tree in trees.values():
                _git("worktree", "remove", "--force", str(tree))
    return _report(found["before"], found["after"], asked.limit)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--name", action="append", choices=NAMES, help="default: all of them")
    parser.add_argument("--limit", type=float, default=1.10)
    return parser.parse_args()


def _git(*words: str) -> None:
    subprocess.run(("git", *words), check=True, capture_output=True)


def _round(
    asked: argparse.Namespace, trees: dict[str, Path], turn: int, found: dict[str, Found]
) -> None:
    """One run of everything; that of turn 0 only warms caches."""
    sides = ("before", "after") if turn % 2 == 0 else ("after", "before")
    for name in asked.name or NAMES:
        for side in sides:
            click.echo(f"round {turn} of {asked.rounds}: {name}, {side}", err=True)
            for figure, value in _run(trees[side], name, asked.rows):
                if turn:
                    found[side][figure].append(value)


def _run(tree: Path, name: str, rows: int) -> Iterator[tuple[Figure, float]]:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    command = [sys.executable, "-c", _MAIN, "bench", name, "--rows", str(rows), "--json"]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    return figures(name, json.loads(done.stdout))


def figures(name: str, records: Sequence[dict[str, Any]]) -> Iterator[tuple[Figure, float]]:
    """What is worth comparing, as times: more is worse."""
    for item in records:
        public = "public" if item["public"] else ""
        key = [name, item["name"], item["bits"], public, item["limbs"]]
        what = [str(word) for word in key if word is not None and word != ""]
        for field in SLOWER:
            value = item.get(field)
            short = field != "us" and value and value * (item["rows"] or 1) < TOO_SHORT_US
            if value and not short:
                yield (*what, field), float(value)
        for field in FASTER:
            if item.get(field):
                yield (*what, field), 1 / float(item[field])


def _report(before: Found, after: Found, limit: float) -> int:
    both = [figure for figure in before if figure in after]
    slower = not both
    middle = {figure: median(after[figure]) / median(before[figure]) for figure in both}
    for figure, ratio in middle.items():
        lowest = min(after[figure]) / min(before[figure])
        slow = min(ratio, lowest) > limit
        slower = slower or slow
        mark = "  SLOWER" if slow else ""
        click.echo(f"{ratio:6.3f} {lowest:6.3f}  {' '.join(figure)}{mark}")
    for name in dict.fromkeys(figure[0] for figure in both):
        mean = geometric_mean([ratio for figure, ratio in middle.items() if figure[0] == name])
        click.echo(f"{mean:6.3f}         mean of {name}")
    for missing in sorted(set(before) ^ set(after)):
        click.echo(f"     -         {' '.join(missing)} is on one side only")
    return int(slower)


if __name__ == "__main__":
    raise SystemExit(main())
