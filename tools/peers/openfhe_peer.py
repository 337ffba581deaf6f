"""OpenFHE, its own wheel: BGV, N = 16384. It runs on the one Python that its wheel is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import common
import openfhe as fhe

DEPTH = 6


class OpenFhe:
    """OpenFHE's context behind the operations of the circuit; it drops primes by itself."""

    def __init__(self) -> None:
        wanted = fhe.CCParamsBGVRNS()
        wanted.SetPlaintextModulus(common.MODULUS)
        wanted.SetMultiplicativeDepth(DEPTH)
        wanted.SetRingDim(common.SLOTS)
        wanted.SetSecurityLevel(fhe.SecurityLevel.HEStd_128_classic)
        self.context = fhe.GenCryptoContext(wanted)
        for feature in ("PKE", "KEYSWITCH", "LEVELEDSHE"):
            self.context.Enable(getattr(fhe.PKESchemeFeature, feature))
        self.keys = self.context.KeyGen()
        self.context.EvalMultKeyGen(self.keys.secretKey)

    def plain(self, values: Sequence[int]) -> Any:
        half = common.MODULUS // 2
        signed = [v - common.MODULUS if v > half else v for v in (int(x) for x in values)]
        return self.context.MakePackedPlaintext(signed)

    def encrypt(self, values: Sequence[int]) -> Any:
        return self.context.Encrypt(self.keys.publicKey, self.plain(values))

    def decrypt(self, ciphertext: Any) -> list[int]:
        plain = self.context.Decrypt(self.keys.secretKey, ciphertext)
        return [int(v) % common.MODULUS for v in plain.GetPackedValue()]

    def dot(self, pairs: Sequence[tuple[Any, Any]]) -> Any:
        total = self.context.EvalMultNoRelin(*pairs[0])
        for a, b in pairs[1:]:
            total = self.context.EvalAdd(total, self.context.EvalMultNoRelin(a, b))
        return self.context.Relinearize(total)

    def product(self, a: Any, b: Any) -> Any:
        return self.context.EvalMult(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.context.EvalSub(a, b)

    def scale(self, a: Any, factor: int) -> Any:
        return self.context.EvalMult(a, self.plain([factor % common.MODULUS] * common.SLOTS))

    def shift(self, a: Any, constant: int) -> Any:
        return self.context.EvalAdd(a, self.plain([constant % common.MODULUS] * common.SLOTS))


def main() -> None:
    library = OpenFhe()
    values, constant = common.column()
    data = [library.encrypt(v) for v in common.indicators(values)]
    digits = [(constant >> 2 * i) & 3 for i in range(common.DIGITS)]
    wanted = [library.encrypt([int(d == v)] * common.SLOTS) for d in digits for v in range(4)]
    mask, factor = common.equality(library, data, wanted)
    common.check(library.decrypt(mask), factor, values, constant)
    note = f"BGV, the same circuit, multiplicative depth {DEPTH}"
    compared = common.seconds(lambda: common.equality(library, data, wanted), 3)
    multiplied = common.seconds(lambda: library.product(data[0], data[1]))
    common.report(
        "OpenFHE",
        [
            common.record("equality, 32 bits", common.SLOTS, compared, note),
            common.record("product", common.SLOTS, multiplied, "BGV, relinearised"),
        ],
    )


if __name__ == "__main__":
    main()
