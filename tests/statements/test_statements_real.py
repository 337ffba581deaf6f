"""The same generator on the real scheme: encrypted for true, at a small ring and at the default."""

from __future__ import annotations

import random

from .generator import Generator
from .oracle import Oracle
from .runner import Report, database, run
from .tables import make_table

SMALL = 40
DEFAULT = 8
NARROW = ("UTINYINT", "SMALLINT", "DECIMAL")


def assert_exact(report: Report, asked: int) -> None:
    """Every answer equal, nearly all on encrypted segments, at most one in twenty refused."""
    assert report.wrong == []
    assert report.asked == asked
    assert report.refused.total() <= asked // 20
    assert report.on_segments > asked // 2


def test_statements_at_a_small_ring() -> None:
    """40 statements over all types, two segments and a tail; the default chain, 1,024 slots."""
    rng = random.Random(40)
    tables = [make_table(f"t{index}", index, 2200, rng) for index in (1, 2)]
    generator = Generator(tables, rng, leaves_max=5)
    with database(tables, unsafe_parameters="insecure_n1024") as opened:
        assert_exact(run(opened, Oracle(tables), generator, SMALL), SMALL)


def test_statements_at_the_default_parameters() -> None:
    """8 statements with 128-bit security: one segment of 16,320 rows and a tail."""
    rng = random.Random(42)
    tables = [make_table("t", 2, 16_500, rng, kinds=NARROW)]
    generator = Generator(tables, rng, leaves_max=3, secret_leaves_max=2)
    with database(tables) as opened:
        assert_exact(run(opened, Oracle(tables), generator, DEFAULT), DEFAULT)
