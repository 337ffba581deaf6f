"""The benchmark of peers measures the right thing: its circuit is equality, its report says it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools" / "peers"
sys.path.insert(0, str(TOOLS))
if TYPE_CHECKING:
    from tools.peers import common, run
else:
    import common
    import run

sys.path.remove(str(TOOLS))


class Plain:
    """The operations of the circuit on vectors in the clear."""

    def dot(self, pairs: Any) -> Any:
        return sum(a * b for a, b in pairs) % common.MODULUS

    def product(self, a: Any, b: Any) -> Any:
        return a * b % common.MODULUS

    def sub(self, a: Any, b: Any) -> Any:
        return (a - b) % common.MODULUS

    def scale(self, a: Any, factor: int) -> Any:
        return a * factor % common.MODULUS

    def shift(self, a: Any, constant: int) -> Any:
        return (a + constant) % common.MODULUS


def test_the_circuit_is_equality() -> None:
    """Rows that differ in one digit or in many are not equal; a wrong mask ends the program."""
    values, constant = common.column()
    data = common.indicators(values)
    wanted = [np.full(common.SLOTS, int(v[0])) for v in common.indicators(np.array([constant]))]
    mask, factor = common.equality(Plain(), data, wanted)
    common.check(list(mask), factor, values, constant)
    with pytest.raises(SystemExit):
        common.check([*mask[1:], mask[0]], factor, values, constant)


def test_a_table_names_the_factor() -> None:
    """Peers stand below us, in order, with how many times longer they take."""
    times = {run.OURS: 2.0, "Concrete": 900_000.0, "Microsoft SEAL 4": 14.2}
    records = [
        {"library": name, "operation": operation, "core_us_per_row": us, "note": "n"}
        for operation in run.OPERATIONS
        for name, us in times.items()
    ]
    lines = run.table(records).splitlines()
    assert "| equality, 32 bits | AmateRS | 2 |  | n |" in lines[2]
    assert "| Concrete | 900,000 | 450,000 |" in lines[4]
    assert "Microsoft SEAL 4" in run.draw("title", list(times.items()))
