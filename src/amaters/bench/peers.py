"""Microsoft SEAL (through TenSEAL) beside our kernels, in the same run on the same primes.

Both encrypt one fresh ciphertext under the secret key's owner, multiply two, relinearise, and drop
one prime, in the BGV scheme with the same ring, plaintext modulus and chain. SEAL encrypts with a
public key, as TenSEAL exposes it; ours is symmetric and seeded. SEAL's key switch has one special
prime and no level-aware keys.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.fhe.parameters import Parameters

LEVELS = (8, 4)
_BGV = 3


def peers(bench: Workbench, rows: int | None) -> list[Record]:
    """Nothing where TenSEAL is not installed. ``rows`` is not used. Field ``us``: one call."""
    if find_spec("tenseal") is None:
        return []
    made = []
    for level in LEVELS:
        made += _side("ours", level, _ours(bench, level))
        made += _side("seal", level, _seal(bench.parameters, level))
    return made


def _side(who: str, level: int, work: dict[str, Callable[[], object]]) -> list[Record]:
    found = []
    for name, call in work.items():
        call()
        extra: dict[str, object] = {"library": who, "us": meter.each_microseconds(call)}
        found.append(Record(f"{name}_{who}", limbs=level, extra=extra))
    return found


def _ours(bench: Workbench, level: int) -> dict[str, Callable[[], object]]:
    values = np.random.default_rng(5).integers(0, 2, (2, bench.parameters.slots))
    bounds = [(0, 1)] * 2
    a, b = (
        bench.evaluator.expand_seeded(ct, level)
        for ct in bench.client.encrypt(values, bounds, level)
    )
    product = bench.evaluator.multiply(a, b)
    return {
        "encrypt": lambda: bench.client.encrypt(values[:1], bounds[:1], level),
        "product": lambda: bench.evaluator.multiply(a, b),
        "relinearize": lambda: bench.evaluator.relinearize(product),
        "relinearize_drop": lambda: bench.evaluator.switch(product),
    }


def _seal(parameters: Parameters, level: int) -> dict[str, Callable[[], object]]:
    import tenseal.sealapi as seal

    scheme = seal.EncryptionParameters(seal.SCHEME_TYPE(_BGV))
    scheme.set_poly_modulus_degree(parameters.ring_degree)
    chain = (*parameters.data_primes[:level], parameters.special_prime)
    scheme.set_coeff_modulus([seal.Modulus(q) for q in chain])
    scheme.set_plain_modulus(parameters.plaintext_modulus)
    # SEAL checks a looser table than ours; insecure test rings are above both.
    context = seal.SEALContext(scheme, True, seal.SEC_LEVEL_TYPE.NONE)
    generator = seal.KeyGenerator(context)
    public, relinearization = seal.PublicKey(), seal.RelinKeys()
    generator.create_public_key(public)
    generator.create_relin_keys(relinearization)
    encryptor, evaluator = seal.Encryptor(context, public), seal.Evaluator(context)
    encoder, plain = seal.BatchEncoder(context), seal.Plaintext()
    encoder.encode([1, 0] * (parameters.slots // 2), plain)
    a, b = seal.Ciphertext(), seal.Ciphertext()
    encryptor.encrypt(plain, a)
    encryptor.encrypt(plain, b)
    product = seal.Ciphertext()
    evaluator.multiply(a, b, product)

    def into(call: Callable[..., Any], *operands: Any) -> Any:
        out = seal.Ciphertext()
        call(*operands, out)
        return out

    def encrypt() -> None:
        encoder.encode([1, 0] * (parameters.slots // 2), plain)
        into(encryptor.encrypt, plain)

    def relinearize_drop() -> None:
        lower = into(evaluator.relinearize, product, relinearization)
        into(evaluator.mod_switch_to_next, lower)

    return {
        "encrypt": encrypt,
        "product": lambda: into(evaluator.multiply, a, b),
        "relinearize": lambda: into(evaluator.relinearize, product, relinearization),
        "relinearize_drop": relinearize_drop,
    }
