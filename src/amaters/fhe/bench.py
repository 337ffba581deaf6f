"""Kernel measurements: transform, product, key switch, encryption. The caller brings the clock.

Every function returns dicts with ``name``, ``limbs`` and ``microseconds`` of one operation on one core, operands
in memory as queries meet them; ``amaters bench kernels`` prints them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.evaluator import BgvEvaluator
from amaters.fhe.keys import EvaluationKeys
from amaters.fhe.keyswitch import tables_of
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.ring.transform import forward, inverse

Measure = Callable[[Callable[[], object]], float]  # microseconds of one call
Figure = dict[str, object]


def kernels(parameters: Parameters, measure: Measure) -> list[Figure]:
    """All figures below, under a fresh key. Cost: about 10 s."""
    client = make_client_scheme("bgv", parameters, SecretKey.generate(parameters))
    keys = EvaluationKeys.from_bytes(parameters, client.evaluation_keys())
    evaluator = BgvEvaluator(parameters, keys)
    return [
        *transforms(parameters, measure),
        *products(client, evaluator, measure),
        *key_switches(client, evaluator, measure),
        *encryption(client, measure),
    ]


def transforms(parameters: Parameters, measure: Measure) -> list[Figure]:
    """One limb, forward and inverse, tables warm."""
    tables = tables_of(parameters)
    row = np.ones(parameters.ring_degree)
    prime, scale = tables.primes[0], tables.inverse_degree[0]
    w, wq = tables.forward[0], tables.forward_quotients[0]
    iw, iwq = tables.inverse[0], tables.inverse_quotients[0]

    def back() -> None:
        row.fill(1.0)
        inverse(row, iw, iwq, prime, scale)

    def there() -> None:
        row.fill(1.0)
        forward(row, w, wq, prime)

    fill = measure(lambda: row.fill(1.0))
    return [
        _figure("transform_forward", 1, measure(there) - fill),
        _figure("transform_inverse", 1, measure(back) - fill),
    ]


def products(client: ClientScheme, evaluator: BgvEvaluator, measure: Measure) -> list[Figure]:
    """One product without key switch, and one term of a long dot product."""
    figures = []
    for level in (2, 6, 8):
        cts = _operands(client, evaluator, level, 50)
        a, b = cts[:2]
        figures.append(_figure("product", level, measure(lambda: evaluator.multiply(a, b))))  # noqa: B023
        half = measure(lambda: evaluator.dot(cts[:25], cts[25:])) / 25  # noqa: B023
        figures.append(_figure("dot_term", level, half))
    return figures


def key_switches(client: ClientScheme, evaluator: BgvEvaluator, measure: Measure) -> list[Figure]:
    """Relinearisation merged with the drop of the top limb, at every level."""
    figures = []
    for level in range(2, client.parameters.max_level + 1):
        a, b = _operands(client, evaluator, level, 2)
        product = evaluator.multiply(a, b)
        figures.append(
            _figure("key_switch_and_drop", level, measure(lambda: evaluator.switch(product)))  # noqa: B023
        )
    return figures


def encryption(client: ClientScheme, measure: Measure) -> list[Figure]:
    """One symmetric encryption of a full vector of slots."""
    slots = np.random.default_rng(1).integers(0, 2, (1, client.parameters.slots))
    figures = []
    for level in (6, client.parameters.max_level):
        cost = measure(lambda: client.encrypt(slots, [(0, 1)], level=level))  # noqa: B023
        figures.append(_figure("encrypt", level, cost))
    return figures


def _operands(
    client: ClientScheme, evaluator: BgvEvaluator, level: int, count: int
) -> list[Ciphertext]:
    slots = np.random.default_rng(level).integers(0, 2, (count, client.parameters.slots))
    made = client.encrypt(slots, [(0, 1)] * count, level=level)
    return [evaluator.expand_seeded(ct) for ct in made]


def _figure(name: str, limbs: int, microseconds: float) -> Figure:
    return {"name": name, "limbs": limbs, "microseconds": round(microseconds, 2)}
