"""A thousand random circuits: exact results, noise and slot values never above their bounds.

Inputs are deliberately correlated (squares, powers, the same ciphertext on both sides): the bounds
must not rest on independence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator

CIRCUITS = 1000
BATCHES = 20
STEPS = 6


@dataclass
class Value:
    """A ciphertext and what its slots must be mod t."""

    ct: Ciphertext
    slots: np.ndarray


class Circuit:
    """Grows a pool of values by random operations that the rules allow."""

    def __init__(
        self, rng: np.random.Generator, evaluator: Evaluator, inputs: list[Value], level: int
    ) -> None:
        self.rng, self.evaluator = rng, evaluator
        self.pool = [Value(evaluator.truncate(v.ct, level), v.slots) for v in inputs]
        self.t = evaluator.parameters.plaintext_modulus

    def pick(self, *, degree: int | None = None, level: int | None = None) -> Value | None:
        fits = [
            v
            for v in self.pool
            if (degree is None or v.ct.degree <= degree) and (level is None or v.ct.level == level)
        ]
        return fits[self.rng.integers(len(fits))] if fits else None

    def step(self) -> None:
        operation = self.rng.choice(["linear", "multiply", "dot", "switch", "drop", "public"])
        made = getattr(self, f"do_{operation}")()
        if made is not None and self.evaluator.rules.headroom(made.ct.meta) > 0:
            self.pool.append(made)

    def do_linear(self) -> Value | None:
        a = self.pick()
        b = self.pick(level=a.ct.level)
        j, k, offset = (int(x) for x in self.rng.integers(-200, 200, 3))
        ct = self.evaluator.linear([(j, a.ct), (k, b.ct)], offset)
        return Value(ct, (j * a.slots + k * b.slots + offset) % self.t)

    def do_multiply(self) -> Value | None:
        a = self.pick(degree=2)
        b = self.pick(degree=3 - a.ct.degree, level=a.ct.level)
        if b is None:
            return None
        return Value(self.evaluator.multiply(a.ct, b.ct), a.slots * b.slots % self.t)

    def do_dot(self) -> Value | None:
        a = self.pick(degree=1)
        pairs = [(a, a)]
        for _ in range(int(self.rng.integers(1, 5))):
            pairs.append((self.pick(degree=1, level=a.ct.level), a))
        acc = None
        for x, y in pairs:
            acc = self.evaluator.multiply_accumulate(acc, wrap(x.ct), wrap(y.ct))
        total = sum(x.slots * y.slots for x, y in pairs) % self.t
        dotted = self.evaluator.dot([wrap(x.ct) for x, _ in pairs], [wrap(y.ct) for _, y in pairs])
        assert np.array_equal(acc.data, dotted.data)
        return Value(dotted, total)

    def do_switch(self) -> Value | None:
        a = self.pick(degree=2)
        return None if a.ct.level < 2 else Value(self.evaluator.switch(a.ct), a.slots)

    def do_drop(self) -> Value | None:
        a = self.pick()
        return None if a.ct.level < 2 else Value(self.evaluator.drop(a.ct), a.slots)

    def do_public(self) -> Value | None:
        a = self.pick()
        mask = self.rng.integers(0, 2, a.slots.size)
        vector = self.evaluator.encode_public(mask)
        return Value(self.evaluator.multiply_public(a.ct, vector), a.slots * mask % self.t)


def wrap(ct: Ciphertext) -> Ciphertext:
    """The same ciphertext with slots only known mod t, so that sums of products are not refused."""
    meta = type(ct.meta)(ct.meta.level, ct.meta.degree, ct.meta.noise, 0, 65537)
    return Ciphertext(ct.parameters, ct.key_id, meta, ct.data)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_noise_and_slots_stay_within_their_bounds(
    client: ClientScheme, evaluator: Evaluator, parameters: Parameters, batch: int
) -> None:
    """For each circuit the exact noise of its last value is measured with the secret key."""
    rng = np.random.default_rng(1000 + batch)
    values = rng.integers(-30, 31, (3, parameters.slots))
    seeded = client.encrypt(values, [(-30, 30)] * 3)
    inputs = [
        Value(evaluator.expand_seeded(ct), row % parameters.plaintext_modulus)
        for ct, row in zip(seeded, values, strict=True)
    ]
    for _ in range(CIRCUITS // BATCHES):
        circuit = Circuit(rng, evaluator, inputs, int(rng.integers(2, 8)))
        for _ in range(STEPS):
            circuit.step()
        last = circuit.pool[-1]
        assert client.exact_noise(last.ct) <= last.ct.meta.noise
        meta = last.ct.meta
        if not evaluator.rules.wrapped(meta):
            found = client.decrypt(last.ct)
            assert found.min() >= meta.lo and found.max() <= meta.hi
        else:
            last.ct.meta = evaluator.rules.assert_bound(meta, 0, parameters.plaintext_modulus - 1)
            found = client.decrypt(last.ct)
        assert np.array_equal(found % parameters.plaintext_modulus, last.slots)
