"""The two interfaces that both schemes implement: ``bgv`` (real) and ``noop`` (computes in the
clear).

``Evaluator`` is what the untrusted server runs, ``ClientScheme`` holds the secret
(``make_client_scheme`` in ``amaters.fhe.secret`` builds it, so that importing this module never
imports secrets).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.ciphertext import Ciphertext, PublicVector, SeededCiphertext
from amaters.fhe.meta import Rules
from amaters.fhe.parameters import Parameters

if TYPE_CHECKING:
    from amaters.fhe.bundle import BundleReader

SCHEMES = ("bgv", "noop")


class Evaluator(Protocol):
    """Operations on ciphertexts without any secret. Immutable, thread-safe; kernels release the
    GIL.

    Every method returns a new ciphertext (``multiply_accumulate`` excepted) whose ``meta`` follows
    ``rules``. Raises: AM-1203 (slot overflow), AM-1204 (operands do not fit), AM-1206 (another
    key), AM-2301 (too deep).
    """

    @property
    def parameters(self) -> Parameters: ...
    @property
    def rules(self) -> Rules: ...

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext: ...
    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext: ...
    def negate(self, a: Ciphertext) -> Ciphertext: ...

    def scale(self, a: Ciphertext, k: int) -> Ciphertext:
        """k times every slot, mod t."""

    def offset(self, a: Ciphertext, k: int) -> Ciphertext:
        """k added to every slot, mod t."""

    def linear(self, terms: Sequence[tuple[int, Ciphertext]], offset: int = 0) -> Ciphertext:
        """sum of k_i a_i + offset in one pass over memory."""

    def multiply(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """Product of degree ``a.degree + b.degree`` <= 3; levels must be equal; not
        relinearised.
        """

    def dot(self, xs: Sequence[Ciphertext], ys: Sequence[Ciphertext]) -> Ciphertext:
        """Sum of products of degree-1 operands, degree 2, in one pass over memory."""

    def multiply_accumulate(
        self, acc: Ciphertext | None, a: Ciphertext, b: Ciphertext
    ) -> Ciphertext:
        """``acc + a b`` written into ``acc``'s buffer when given."""

    def encode_public(self, slots: NDArray[np.int64]) -> PublicVector:
        """Public slots (signed or mod t) with their exact canonical norm. Raises: AM-1205 for a
        norm above what plans assume."""

    def add_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext: ...
    def multiply_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext: ...

    def relinearize(self, a: Ciphertext) -> Ciphertext:
        """Degree 2 to 1, same level. Cost: one key switch."""

    def switch(self, a: Ciphertext) -> Ciphertext:
        """Relinearise if degree 2, merged with dropping the top limb. Cost: one key switch."""

    def drop(self, a: Ciphertext) -> Ciphertext:
        """Divide by the top prime; one level lower."""

    def truncate(self, a: Ciphertext, level: int) -> Ciphertext:
        """Forget limbs (exact and free for fresh ciphertexts)."""

    def apply_automorphism(self, a: Ciphertext, exponent: int) -> Ciphertext:
        """X -> X^exponent. Cost: one key switch."""

    def expand(self, a: Ciphertext, count: int) -> list[Ciphertext]:
        """The values of an ``encrypt_packed`` ciphertext, one ciphertext with equal slots each
        (oblivious expansion: Angel, Chen, Laine, Setty 2018). Cost: count - 1 key switches."""

    def shrink(self, a: Ciphertext) -> Ciphertext:
        """A degree-1, level-1 ciphertext rounded to the download modulus (level 0)."""

    def expand_seeded(self, a: SeededCiphertext, level: int | None = None) -> Ciphertext:
        """The evaluator's form of a fresh ciphertext, truncated to ``level``: c1 from the seed."""

    def load(
        self,
        reader: BundleReader,
        buffer: bytes | memoryview,
        level: int,
        indices: Sequence[int] | None = None,
    ) -> list[Ciphertext]:
        """Ciphertexts of a bundle, expanded and truncated to ``level``."""


class ClientScheme(Protocol):
    """Holds the secret key. Never on the untrusted side."""

    @property
    def parameters(self) -> Parameters: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def key_id(self) -> bytes: ...

    def encrypt(
        self,
        slots: NDArray[np.int64],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
        threads: int = 1,
    ) -> list[SeededCiphertext]:
        """One ciphertext per row of ``slots``.

        Shape: (k, N), signed values; ``bounds`` one inclusive (lo, hi) per row, public.
        Raises: AM-1207 for a value outside its bounds.
        """

    def encrypt_scalars(
        self,
        values: Sequence[int],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
    ) -> list[SeededCiphertext]:
        """One ciphertext per value, with that value in every slot."""

    def encrypt_packed(
        self, values: Sequence[int], bound: tuple[int, int], level: int | None = None
    ) -> SeededCiphertext:
        """All values in one ciphertext, as coefficients divided by 2^rounds: ``Evaluator.expand``
        makes one ciphertext of each. ``bound`` holds for every value."""

    def decrypt(self, ct: Ciphertext) -> NDArray[np.int64]:
        """Slots as integers in [lo, lo + t) of the ciphertext's bound; degree 1 to 3, any level,
        shrunk too.

        Raises: AM-2301 unless the result is provably exact, AM-1203 unless the slot bound fits t,
        AM-1206 for another key, AM-1208 when a value contradicts the slot bound.
        """

    def evaluation_keys(self) -> bytes:
        """Public keys for the server, serialised (``make_evaluator`` reads them). Slow: make them
        once.
        """

    def rekeying_keys(self, old: ClientScheme) -> bytes:
        """Public keys with which a server moves ciphertexts from ``old`` to this secret key
        (``fhe.rekeying.make_rekeyer`` reads them). Raises: AM-1204 unless both are of one set."""

    def public_key(self) -> Any:
        """The key for ``amaters.fhe.publickey``."""

    def exact_noise(self, ct: Ciphertext) -> float:
        """log2 of the canonical norm of the noisy plaintext (level 0: its largest coefficient).
        Secret: never send or log it."""


def make_evaluator(scheme: str, parameters: Parameters, evaluation_keys: bytes) -> Evaluator:
    """The evaluator for ``scheme``; numba is imported only for the real one.

    Raises: AM-1204 for an unknown scheme, AM-1210 for damaged keys.
    """
    if scheme == "noop":
        from amaters.fhe.noop import NoopEvaluator

        return NoopEvaluator.from_bytes(parameters, evaluation_keys)
    if scheme == "bgv":
        from amaters.fhe.evaluator import BgvEvaluator

        return BgvEvaluator.from_bytes(parameters, evaluation_keys)
    fail("AM-1204", what=f"there is no scheme {scheme[:40]!r}")
