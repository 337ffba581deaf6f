"""The client's side of the real scheme: encryption, decryption and key generation under one key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.rng import Rng, SystemRng
from amaters.fhe.ciphertext import Ciphertext, SeededCiphertext
from amaters.fhe.meta import Rules
from amaters.fhe.secret.decryptor import Decryptor
from amaters.fhe.secret.encryptor import Encryptor
from amaters.fhe.secret.key import SecretKey
from amaters.fhe.secret.transformed import TransformedKey

if TYPE_CHECKING:
    from amaters.fhe.publickey import PublicKey
    from amaters.fhe.scheme import ClientScheme


class BgvClientScheme:
    """``ClientScheme`` of the real scheme."""

    def __init__(self, key: SecretKey, rng: Rng | None = None) -> None:
        self.parameters = key.parameters
        self.key_id = key.key_id
        self.rules = Rules(key.parameters)
        self._secret = key
        self._rng = rng or SystemRng()
        transformed = TransformedKey(key)
        self._encryptor = Encryptor(key, transformed, self._rng)
        self._decryptor = Decryptor(key, transformed)

    def encrypt(
        self,
        slots: NDArray[np.int64],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
        threads: int = 1,
    ) -> list[SeededCiphertext]:
        return self._encryptor.encrypt(slots, bounds, level, threads)

    def encrypt_scalars(
        self,
        values: Sequence[int],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
    ) -> list[SeededCiphertext]:
        return self._encryptor.encrypt_scalars(values, bounds, level)

    def encrypt_packed(
        self, values: Sequence[int], bound: tuple[int, int], level: int | None = None
    ) -> SeededCiphertext:
        return self._encryptor.encrypt_packed(values, bound, level)

    def decrypt(self, ct: Ciphertext) -> NDArray[np.int64]:
        return self._decryptor.decrypt(ct)

    def exact_noise(self, ct: Ciphertext) -> float:
        return self._decryptor.exact_noise(ct)

    def evaluation_keys(self) -> bytes:
        from amaters.fhe.secret.keygen import KeyGenerator

        return KeyGenerator(self._secret, self._rng).evaluation_keys().to_bytes()

    def rekeying_keys(self, old: ClientScheme) -> bytes:
        from amaters.fhe.secret.keygen import KeyGenerator

        if not isinstance(old, BgvClientScheme):
            fail("AM-1204", what="a change of key between two schemes")
        return KeyGenerator(self._secret, self._rng).rekeying_keys(old._secret).to_bytes()

    def public_key(self) -> PublicKey:
        from amaters.fhe.publickey import PublicKey

        (zero,) = self._encryptor.encrypt_scalars([0], [(0, 0)])
        return PublicKey.from_zero(zero)
