"""The operations everything is made of, in CPU microseconds each, operands warm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.fhe.ciphertext import Ciphertext
from amaters.ring.tables import get_tables

_DOT_TERMS = 20


def kernels(bench: Workbench, rows: int | None) -> list[Record]:
    """``rows`` is not used: a kernel works on one ciphertext. Field ``us``: one call."""
    parameters = bench.parameters
    fresh = bench.client.encrypt(
        np.random.default_rng(1).integers(0, 2, (_DOT_TERMS, parameters.slots)),
        [(0, 1)] * _DOT_TERMS,
    )
    key_bytes = _record("evaluation_keys", parameters.max_level, parameters.slots, None)
    key_bytes.upload_bytes = len(bench.keys)
    made = [*_transforms(bench), key_bytes]
    for level in (8, 6, 4, 2):
        cts = [bench.evaluator.expand_seeded(ct, level) for ct in fresh]
        made += _at_level(bench, cts, level)
    made += _client(bench, fresh[0].meta.level)
    made.append(_change_key(bench, bench.evaluator.expand_seeded(fresh[0])))
    return made


def _change_key(bench: Workbench, fresh: Ciphertext) -> Record:
    """What rotation does to each stored ciphertext; ``upload_bytes``: of the keys for it."""
    from amaters.fhe.rekeying import make_rekeyer
    from amaters.fhe.secret import SecretKey, make_client_scheme

    parameters = bench.parameters
    new = make_client_scheme("bgv", parameters, SecretKey.generate(parameters))
    keys = new.rekeying_keys(bench.client)
    rekeyer = make_rekeyer("bgv", parameters, bench.client.key_id, new.key_id, keys)
    record = _measured("change_key", fresh.level, parameters.slots, lambda: rekeyer.rekey(fresh))
    record.upload_bytes = len(keys)
    return record


def _transforms(bench: Workbench) -> list[Record]:
    from amaters.ring import transform

    parameters = bench.parameters
    tables = get_tables(parameters.ring_degree, parameters.data_primes)
    prime, scale = float(tables.primes[0]), float(tables.inverse_degree[0])
    row = np.random.default_rng(2).integers(-(1 << 44), 1 << 44, parameters.slots).astype(float)
    there, back = np.empty_like(row), np.empty_like(row)

    def forward() -> None:
        there[:] = row
        transform.forward(there, tables.forward[0], tables.forward_quotients[0], prime)

    def inverse() -> None:
        back[:] = row
        transform.inverse(back, tables.inverse[0], tables.inverse_quotients[0], prime, scale)

    return [
        _measured("transform_forward", 1, parameters.slots, forward),
        _measured("transform_inverse", 1, parameters.slots, inverse),
    ]


def _at_level(bench: Workbench, cts: list[Ciphertext], level: int) -> list[Record]:
    evaluator, slots = bench.evaluator, bench.parameters.slots
    a, b = cts[:2]
    product = evaluator.multiply(a, b)
    work: dict[str, Callable[[], object]] = {
        "product": lambda: evaluator.multiply(a, b),
        f"dot_{_DOT_TERMS}": lambda: evaluator.dot(cts, cts[::-1]),
        "relinearize": lambda: evaluator.relinearize(product),
        "key_switch_drop": lambda: evaluator.switch(product),
    }
    return [_measured(name, level, slots, call) for name, call in work.items()]


def _client(bench: Workbench, level: int) -> list[Record]:
    slots = bench.parameters.slots
    values = np.random.default_rng(3).integers(0, 2, (1, slots))
    (seeded,) = bench.client.encrypt(values, [(0, 1)])
    small = bench.evaluator.expand_seeded(seeded, 2)
    return [
        _measured("encrypt", level, slots, lambda: bench.client.encrypt(values, [(0, 1)])),
        _measured("expand", level, slots, lambda: bench.evaluator.expand_seeded(seeded)),
        _measured("decrypt", 2, slots, lambda: bench.client.decrypt(small)),
    ]


def _measured(name: str, level: int, slots: int, work: Callable[[], object]) -> Record:
    work()
    return _record(name, level, slots, meter.each_microseconds(work))


def _record(name: str, level: int, slots: int, microseconds: float | None) -> Record:
    per_row = None if microseconds is None else microseconds / slots
    extra: dict[str, object] = {"us": microseconds}
    return Record(name, rows=slots, limbs=level, core_us_per_row=per_row, extra=extra)
