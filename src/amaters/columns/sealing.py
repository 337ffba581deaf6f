"""Sealed boxes and sealed rows: what the server keeps for retrieval and can neither read nor move.

A box is AES-256-GCM under a key derived for its batch (HKDF-SHA-256, random 16-byte batch id as
salt) and a nonce that counts within the batch, so a nonce can repeat under one key only if a batch
id repeats. The plaintext is padded by Padme, so its length tells at most O(log log length) bits.
Source: Nikitin et al. 2019, "Reducing Metadata Leakage from Encrypted Files and Communication with
PURBs", section 4 (Padme).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES, new_id
from amaters.base.rng import Rng
from amaters.columns import rowcodec
from amaters.columns.batch import ColumnBatch
from amaters.columns.convert import ColumnValues
from amaters.columns.schema import Table

FORMAT = 1
ROW_LABEL = b"amaters.row.v1"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD = struct.Struct(f"<B{ID_BYTES}sI")  # format, batch id, index within the batch
BOX_OVERHEAD_BYTES = _HEAD.size + _TAG_BYTES

RowVersion = int | NDArray[np.uint64]


class Keys(Protocol):
    """The symmetric keys of a keyset that this layer uses, 32 bytes each."""

    @property
    def sealing_key(self) -> bytes: ...

    @property
    def mac_key(self) -> bytes: ...


class BatchCipher:
    """The cipher of one batch of boxes; ``label`` separates what boxes are used for."""

    def __init__(self, keys: Keys, label: bytes, batch_id: bytes) -> None:
        derive = HKDF(algorithm=SHA256(), length=32, salt=batch_id, info=label)
        self._aead = AESGCM(derive.derive(keys.sealing_key))
        self._batch_id = batch_id

    def seal(self, plaintexts: Sequence[bytes | memoryview], bound: Sequence[bytes]) -> list[bytes]:
        """One box per plaintext, tied to the bytes in ``bound``. Call once per cipher: nonces
        count from 0.

        Cost: about 2 microseconds per short row.
        """
        encrypt = self._aead.encrypt
        head = bytes([FORMAT]) + self._batch_id
        boxes = []
        for index, (plaintext, aad) in enumerate(zip(plaintexts, bound, strict=True)):
            nonce = index.to_bytes(_NONCE_BYTES, "little")
            boxes.append(head + nonce[:4] + encrypt(nonce, plaintext, aad))
        return boxes

    def open(self, box: bytes, index: int, aad: bytes) -> bytes:
        """The plaintext. Raises: cryptography's InvalidTag."""
        nonce = index.to_bytes(_NONCE_BYTES, "little")
        return self._aead.decrypt(nonce, box[_HEAD.size :], aad)


def seal_one(keys: Keys, label: bytes, plaintext: bytes, aad: bytes, *, rng: Rng) -> bytes:
    """One box in a batch of its own."""
    return BatchCipher(keys, label, new_id(rng)).seal([plaintext], [aad])[0]


def open_one(keys: Keys, label: bytes, box: bytes, aad: bytes) -> bytes | None:
    """What ``seal_one`` sealed, or None when anything about it is different."""
    if len(box) < BOX_OVERHEAD_BYTES:
        return None
    form, batch_id, index = _HEAD.unpack_from(box)
    if form != FORMAT or index != 0:
        return None
    try:
        return BatchCipher(keys, label, batch_id).open(box, index, aad)
    except InvalidTag:
        return None


def seal_rows(
    keys: Keys, table: Table, batch: ColumnBatch, *, row_version: RowVersion, rng: Rng
) -> list[bytes]:
    """One box per row with all encrypted columns, bound to table, primary key and row version.

    ``batch`` has the primary key and all encrypted columns; ``row_version`` is one number or one
    per row.
    """
    key = batch.columns[table.primary_key.id]
    plaintexts = rowcodec.encode_rows(table.encrypted_columns, batch)
    bound = _bindings(table, key, row_version)
    return BatchCipher(keys, ROW_LABEL, new_id(rng)).seal(plaintexts, bound)


def open_rows(
    keys: Keys,
    table: Table,
    boxes: Sequence[bytes],
    primary_keys: ColumnValues,
    *,
    row_version: RowVersion,
) -> ColumnBatch:
    """The encrypted columns of sealed rows; a column that is younger than a row is NULL in it.

    Raises: AM-2053 when a box is damaged, or was sealed for another table, key, version or keyset.
    """
    bound = _bindings(table, primary_keys, row_version)
    if len(bound) != len(boxes):
        _damaged("there are not as many sealed rows as keys")
    ciphers: dict[bytes, BatchCipher] = {}
    plaintexts = []
    for box, aad in zip(boxes, bound, strict=True):
        if len(box) < BOX_OVERHEAD_BYTES or box[0] != FORMAT:
            _damaged("it is not a sealed row of this version")
        _, batch_id, index = _HEAD.unpack_from(box)
        cipher = ciphers.get(batch_id)
        if cipher is None:
            cipher = ciphers[batch_id] = BatchCipher(keys, ROW_LABEL, batch_id)
        try:
            plaintexts.append(cipher.open(box, index, aad))
        except InvalidTag:
            _damaged("its authentication tag is wrong")
    found = rowcodec.decode_rows(table.encrypted_columns, plaintexts)
    if found is None:
        _damaged("its content has an unknown layout")
    return found


def _damaged(what: str) -> NoReturn:
    fail("AM-2053", what=what)


def _bindings(table: Table, key: ColumnValues, row_version: RowVersion) -> list[bytes]:
    """Per row: table id, row version, primary key."""
    rows = len(key.values)
    versions = np.empty((rows, 1), dtype="<u8")
    versions[:, 0] = row_version
    if key.values.dtype == object:
        heads = [table.id + bytes(version) for version in versions]
        texts: list[Any] = key.values.tolist()
        return [head + b"t" + text.encode() for head, text in zip(heads, texts, strict=True)]
    matrix = np.empty((rows, ID_BYTES + 8 + 1 + 8), dtype=np.uint8)
    matrix[:, :ID_BYTES] = np.frombuffer(table.id, dtype=np.uint8)
    matrix[:, ID_BYTES : ID_BYTES + 8] = versions.view(np.uint8)
    matrix[:, ID_BYTES + 8] = ord("u" if key.values.dtype.kind == "u" else "i")
    matrix[:, ID_BYTES + 9 :] = np.ascontiguousarray(key.values[:, None]).view(np.uint8)
    whole, size = matrix.tobytes(), matrix.shape[1]
    return [whole[start : start + size] for start in range(0, len(whole), size)]
