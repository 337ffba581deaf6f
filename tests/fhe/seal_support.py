"""Microsoft SEAL as an independent oracle: our ciphertexts in SEAL's files, SEAL's in ours.

SEAL's file: 16-byte header (magic 0xA15E, header size, version, compression 0 none / 2 zstd, total
size), then the object. Ciphertext: parms_id (32 bytes), is_ntt_form (1), size, N, limbs (u64),
scale (f64), correction factor (u64), then a nested file with the number of u64 residues and the
residues. Secret key: parms_id, count (u64), scale (f64), nested file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tenseal.sealapi as seal

from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.keys import chain_of
from amaters.fhe.meta import Meta
from amaters.fhe.residues import from_kernel, to_kernel
from amaters.fhe.secret import SecretKey
from amaters.fhe.secret.transformed import transform_small
from amaters.ring.tables import get_tables

_HEADER = struct.Struct("<HBBBBHQ")
_BGV = 3


def _file(body: bytes) -> bytes:
    return _HEADER.pack(0xA15E, 16, 4, 3, 0, 0, _HEADER.size + len(body)) + body


def _read(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[5] == 2:
        return pa.CompressedInputStream(pa.BufferReader(raw[16:]), "zstd").read()
    return raw[16:]


class SealOracle:
    """A SEAL BGV context with our primes, holding our secret key."""

    def __init__(self, key: SecretKey, folder: Path) -> None:
        self.parameters, self.key_id = key.parameters, key.key_id
        self._folder = folder
        scheme = seal.EncryptionParameters(seal.SCHEME_TYPE(_BGV))
        scheme.set_poly_modulus_degree(self.parameters.ring_degree)
        scheme.set_coeff_modulus([seal.Modulus(q) for q in chain_of(self.parameters)])
        scheme.set_plain_modulus(self.parameters.plaintext_modulus)
        self.context = seal.SEALContext(scheme, True, seal.SEC_LEVEL_TYPE.NONE)
        assert self.context.parameters_set()
        self.secret = self._secret_key(key)
        generator = seal.KeyGenerator(self.context, self.secret)
        public = seal.PublicKey()
        generator.create_public_key(public)
        self.relin = seal.RelinKeys()
        generator.create_relin_keys(self.relin)
        self.encryptor = seal.Encryptor(self.context, public)
        self.decryptor = seal.Decryptor(self.context, self.secret)
        self.evaluator = seal.Evaluator(self.context)
        self._parms = self._parms_ids()

    def _parms_ids(self) -> dict[int, bytes]:
        found, data = {}, self.context.first_context_data()
        while data is not None:
            found[data.chain_index() + 1] = struct.pack("<4Q", *data.parms_id())
            data = data.next_context_data()
        return found

    def _secret_key(self, key: SecretKey) -> Any:
        chain = chain_of(self.parameters)
        rows = transform_small(
            key.coefficients.astype(np.float64), get_tables(self.parameters.ring_degree, chain)
        )
        residues = _canonical(rows, chain).tobytes()
        count = len(residues) // 8
        parms_id = struct.pack("<4Q", *self.context.key_parms_id())
        body = parms_id + struct.pack("<Qd", count, 1.0)
        body += _file(struct.pack("<Q", count) + residues)
        path = self._folder / "secret.seal"
        path.write_bytes(_file(body))
        secret = seal.SecretKey()
        secret.load(self.context, str(path))
        return secret

    def to_seal(self, ct: Ciphertext) -> Any:
        """Our ciphertext as SEAL's: canonical residues in SEAL's order."""
        chain = self.parameters.data_primes[: ct.level]
        residues = b"".join(_canonical(polynomial, chain).tobytes() for polynomial in ct.data)
        size, N = ct.degree + 1, self.parameters.ring_degree
        head = struct.pack("<B3QdQ", 1, size, N, ct.level, 1.0, 1)
        data = _file(struct.pack("<Q", len(residues) // 8) + residues)
        path = self._folder / "ciphertext.seal"
        path.write_bytes(_file(self._parms[ct.level] + head + data))
        loaded = seal.Ciphertext(self.context)
        loaded.load(self.context, str(path))
        return loaded

    def from_seal(self, ct: Any, meta: Meta) -> Ciphertext:
        """SEAL's ciphertext as ours; ``meta`` states what SEAL does not."""
        path = self._folder / "from.seal"
        ct.save(str(path))
        body = _read(path)
        ntt, size, N, level, _, correction = struct.unpack_from("<B3QdQ", body, 32)
        assert (ntt, N, correction) == (1, self.parameters.ring_degree, 1)
        assert (level, size) == (meta.level, meta.degree + 1)
        count = size * level * N
        residues = np.frombuffer(body, dtype="<u8", count=count, offset=97).reshape(size, level, N)
        out = np.empty(residues.shape)
        for polynomial, target in zip(residues, out, strict=True):
            for row, prime, kernel_row in zip(
                polynomial, self.parameters.data_primes, target, strict=False
            ):
                to_kernel(row.copy(), float(prime), kernel_row)
        return Ciphertext(self.parameters, self.key_id, meta, out)

    def decrypt(self, ct: Any) -> np.ndarray:
        """Coefficients mod t of what SEAL decrypts."""
        plain = seal.Plaintext()
        self.decryptor.decrypt(ct, plain)
        out = np.zeros(self.parameters.ring_degree, dtype=np.int64)
        for index in range(plain.coeff_count()):
            out[index] = plain.data(index)
        return out

    def encrypt(self, coefficients: np.ndarray) -> Any:
        """SEAL's public-key encryption of a polynomial mod t."""
        terms = [f"{int(c):X}x^{k}" for k, c in enumerate(coefficients) if c]
        plain = seal.Plaintext(" + ".join(reversed(terms)).replace("x^0", ""))
        made = seal.Ciphertext(self.context)
        self.encryptor.encrypt(plain, made)
        return made


def _canonical(rows: np.ndarray, primes: tuple[int, ...]) -> np.ndarray:
    out = np.empty(rows.shape, dtype=np.uint64)
    for row, prime, target in zip(rows, primes, out, strict=True):
        from_kernel(np.ascontiguousarray(row), float(prime), target)
    return out
