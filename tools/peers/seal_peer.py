"""Microsoft SEAL 4, through TenSEAL's binding of its classes: BGV, N = 16384."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import common
import tenseal.sealapi as seal

BGV = 3
BITS = (46, 46, 46, 46, 46, 46, 46, 46)  # seven data primes and the special one: 368 bits


class Seal:
    """SEAL's objects behind the operations of the circuit."""

    def __init__(self) -> None:
        scheme = seal.EncryptionParameters(seal.SCHEME_TYPE(BGV))
        scheme.set_poly_modulus_degree(common.SLOTS)
        scheme.set_coeff_modulus(seal.CoeffModulus.Create(common.SLOTS, list(BITS)))
        scheme.set_plain_modulus(common.MODULUS)
        self.context = seal.SEALContext(scheme, True, seal.SEC_LEVEL_TYPE.TC128)
        generator = seal.KeyGenerator(self.context)
        public, self.relinearization = seal.PublicKey(), seal.RelinKeys()
        generator.create_public_key(public)
        generator.create_relin_keys(self.relinearization)
        self.encoder = seal.BatchEncoder(self.context)
        self.encryptor = seal.Encryptor(self.context, public)
        self.evaluator = seal.Evaluator(self.context)
        self.decryptor = seal.Decryptor(self.context, generator.secret_key())

    def encrypt(self, values: Sequence[int]) -> Any:
        plain, made = seal.Plaintext(), seal.Ciphertext()
        self.encoder.encode([int(v) for v in values], plain)
        self.encryptor.encrypt(plain, made)
        return made

    def decrypt(self, ciphertext: Any) -> list[int]:
        plain = seal.Plaintext()
        self.decryptor.decrypt(ciphertext, plain)
        return list(self.encoder.decode_uint64(plain))

    def multiply(self, a: Any, b: Any) -> Any:
        made = seal.Ciphertext()
        self.evaluator.multiply(a, b, made)
        return made

    def relinearize(self, a: Any) -> Any:
        made = seal.Ciphertext()
        self.evaluator.relinearize(a, self.relinearization, made)
        return made

    def lowered(self, a: Any) -> Any:
        made = seal.Ciphertext()
        self.evaluator.mod_switch_to_next(self.relinearize(a), made)
        return made

    def dot(self, pairs: Sequence[tuple[Any, Any]]) -> Any:
        total = self.multiply(*pairs[0])
        for a, b in pairs[1:]:
            self.evaluator.add_inplace(total, self.multiply(a, b))
        return self.lowered(total)

    def _level(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Both at the lower level."""
        while a.coeff_modulus_size() != b.coeff_modulus_size():
            higher = a if a.coeff_modulus_size() > b.coeff_modulus_size() else b
            made = seal.Ciphertext()
            self.evaluator.mod_switch_to_next(higher, made)
            a, b = (made, b) if higher is a else (a, made)
        return a, b

    def product(self, a: Any, b: Any) -> Any:
        return self.lowered(self.multiply(*self._level(a, b)))

    def sub(self, a: Any, b: Any) -> Any:
        made = seal.Ciphertext()
        self.evaluator.sub(*self._level(a, b), made)
        return made

    def scale(self, a: Any, factor: int) -> Any:
        made = seal.Ciphertext()
        self.evaluator.multiply_plain(a, seal.Plaintext(f"{factor % common.MODULUS:x}"), made)
        return made

    def shift(self, a: Any, constant: int) -> Any:
        made = seal.Ciphertext()
        self.evaluator.add_plain(a, seal.Plaintext(f"{constant % common.MODULUS:x}"), made)
        return made


def main() -> None:
    library = Seal()
    values, constant = common.column()
    data = [library.encrypt(v) for v in common.indicators(values)]
    wanted = [library.encrypt([v] * common.SLOTS) for v in _constant(constant)]
    mask, factor = common.equality(library, data, wanted)
    common.check(library.decrypt(mask), factor, values, constant)
    a, b = data[0], data[1]
    note = "BGV, the same circuit" + f", {len(BITS) - 1} primes"
    common.report(
        "Microsoft SEAL 4",
        [
            common.record(
                "equality, 32 bits",
                common.SLOTS,
                common.seconds(lambda: common.equality(library, data, wanted), 3),
                note,
            ),
            common.record(
                "product",
                common.SLOTS,
                common.seconds(lambda: library.relinearize(library.multiply(a, b))),
                "BGV, relinearised",
            ),
        ],
    )


def _constant(constant: int) -> list[int]:
    return [int((constant >> 2 * i) & 3 == v) for i in range(common.DIGITS) for v in range(4)]


if __name__ == "__main__":
    main()
