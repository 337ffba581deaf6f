"""One statement measured on a workbench: hot, cold, client, and the answer checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Asked, Stored, Workbench
from amaters.engine.executor import Outcome
from amaters.plan.expressions import Select

REPEATS = 5
Check = Callable[[Asked, Outcome], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured under which name. ``public``: constants in the clear."""

    name: str
    select: Select
    bits: int | None = None
    public: bool = False


def measure_rows(
    bench: Workbench, stored: Stored, question: Question, expected: NDArray[np.bool_]
) -> Record:
    """A selection of rows; ``expected`` holds the truth of every row."""

    def check(asked: Asked, outcome: Outcome) -> None:
        wrong = int((bench.matching(asked, stored, outcome) != expected).sum())
        _require(question.name, wrong == 0, f"{wrong} of {stored.rows} rows are wrong")

    return measure(bench, stored, question, check)


def measure_totals(
    bench: Workbench, stored: Stored, question: Question, expected: Sequence[int]
) -> Record:
    """Aggregates; ``expected`` holds the total of every term of the statement, in order."""

    def check(asked: Asked, outcome: Outcome) -> None:
        found = bench.totals(asked, outcome)
        right = all(total == expected[term] for term, total in found.items())
        _require(question.name, bool(found) and right, "a total is wrong")

    return measure(bench, stored, question, check)


def measure(bench: Workbench, stored: Stored, question: Question, check: Check) -> Record:
    """One statement on hot and on cold data; ``check`` raises when an answer is wrong."""
    meter.reset_peak()
    asked = bench.ask(question.select)
    bench.execute(asked, stored)  # expands the data; first use also compiles kernels
    outcome, core, wall = meter.best_of(REPEATS, lambda: bench.execute(asked, stored))
    _, checking = meter.cpu(lambda: check(asked, outcome))
    for segment in stored.segments:
        segment.hot = False
    cold_outcome, cold = meter.cpu(lambda: bench.execute(asked, stored))
    for segment in stored.segments:
        segment.hot = True
    check(asked, cold_outcome)
    scale = 1e6 / stored.rows
    return Record(
        name=question.name,
        bits=question.bits,
        rows=stored.rows,
        public=question.public,
        limbs=asked.plan.level,
        core_us_per_row=core * scale,
        cold_us_per_row=cold * scale,
        client_us_per_row=(asked.client_seconds + checking) * scale,
        upload_bytes=asked.upload_bytes,
        wall_seconds=wall,
        peak_mib=meter.peak_mib(),
        extra={"key_switches": outcome.key_switches},
    )


def _require(name: str, right: bool, what: str) -> None:
    if not right:
        fail("AM-1000", what=f"benchmark {name}: {what}")
