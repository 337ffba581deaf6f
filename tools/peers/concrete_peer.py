"""Concrete: a row at a time, 32-bit equality of two encrypted values as eight 4-bit digits."""

from __future__ import annotations

import sys

import common
import numpy as np
from concrete import fhe

DIGITS = 8
ROWS = 6


def equal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sum(x == y) == DIGITS


def main() -> None:
    rng = np.random.default_rng(3)
    samples = [(rng.integers(0, 16, DIGITS), rng.integers(0, 16, DIGITS)) for _ in range(100)]
    samples += [(x, x) for x, _ in samples]
    compiler = fhe.Compiler(equal, {"x": "encrypted", "y": "encrypted"})
    circuit = compiler.compile(samples)
    circuit.keygen()
    rows = [samples[i] for i in (0, -1, 1, -2, 2, -3)][:ROWS]
    encrypted = [circuit.encrypt(*row) for row in rows]
    for (x, y), row in zip(rows, encrypted, strict=True):
        if bool(circuit.decrypt(circuit.run(*row))) != bool((x == y).all()):
            sys.exit("wrong answer: nothing is reported")
    spent = common.seconds(lambda: [circuit.run(*row) for row in encrypted], 2)
    note = f"TFHE, a row at a time, failure probability {circuit.p_error:.0e}"
    common.report("Concrete", [common.record("equality, 32 bits", ROWS, spent, note)])


if __name__ == "__main__":
    main()
