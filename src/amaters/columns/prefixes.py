"""The capability ``prefix(n)``: the first n bytes of a text as base-4 digits.

The bytes are those of UTF-8, so a prefix of characters is a prefix of bytes. Texts shorter than n
bytes are filled up with a byte that UTF-8 never has, so that one of them differs from all longer
ones and equality with it can be decided.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns.encodings import DIGIT_BITS

PREFIX_BYTES_MAX = 8  # 32 digits: what the largest equality polynomial takes
DIGITS_PER_BYTE = 8 // DIGIT_BITS
FILLER = 0xFF  # in no UTF-8 text
WILDCARD = (1, 1, 1, 1)
_WRITTEN = re.compile(r"prefix\s*\(\s*([0-9]{1,4})\s*\)")


def split_prefix(column: str, queries: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Capabilities with ``prefix(n)`` written as ``prefix``, and n (0: none).

    Raises: AM-2142 for a length that is missing, repeated or beyond ``PREFIX_BYTES_MAX``.
    """
    names: list[str] = []
    length = 0
    for query in queries:
        word = query.strip().lower()
        found = _WRITTEN.fullmatch(word)
        if found is None and not word.startswith("prefix"):
            names.append(query)
            continue
        wanted = int(found.group(1)) if found is not None else 0
        if length or not 1 <= wanted <= PREFIX_BYTES_MAX:
            fail("AM-2142", column=column, limit=PREFIX_BYTES_MAX)
        length = wanted
        names.append("prefix")
    return tuple(names), length


def prefix_codes(values: NDArray[np.generic], length: int) -> NDArray[np.uint64]:
    """The first ``length`` bytes of each text, as a big-endian number."""
    filler = bytes([FILLER]) * length
    codes = [
        int.from_bytes((text.encode()[:length] + filler)[:length], "big")
        for text in values.tolist()
    ]
    return np.array(codes, dtype=np.uint64)


def prefix_code(text: bytes, length: int) -> int:
    """The number of a text of at most ``length`` bytes."""
    return int.from_bytes(text.ljust(length, bytes([FILLER])), "big")


def prefix_scalars(code: int, known: int, length: int) -> tuple[int, ...]:
    """Four 0/1 scalars per digit, least digit first: the digit one-hot, or all ones for the
    digits behind the first ``known`` bytes, which then may be anything.

    Shape: 16 ``length`` scalars, whatever the text.
    """
    digits = DIGITS_PER_BYTE * length
    free = digits - DIGITS_PER_BYTE * known
    scalars: list[int] = []
    for digit in range(digits):
        value = (code >> (DIGIT_BITS * digit)) & 3
        one = tuple(int(value == indicator) for indicator in range(4))
        scalars.extend(WILDCARD if digit < free else one)
    return tuple(scalars)
