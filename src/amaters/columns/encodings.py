"""How a column's values become slots: one small class per encoding behind one interface.

NULL and empty slots are zero in every slice, so a leaf of a predicate is 0 on NULL at no level, and
NOT NULL is the sum of a digits encoding's four top indicators or of all slices of a one-hot
encoding. Source: FHE section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail

Kind = Literal["digits", "limbs", "onehot", "notnull", "prefix"]
Bounds = tuple[tuple[int, int], ...]
Values = NDArray[np.int64] | NDArray[np.uint64]
Mask = NDArray[np.bool_]
Positions = NDArray[np.int64] | NDArray[np.intp]
Slots = NDArray[np.int64]

LIMB_BITS = 8  # 256 segments x a span of 256 stay below t = 65537 in one accumulator
DIGIT_BITS = 2
_EMPTY = 255  # no digit and no category below 255 looks like this


@dataclass(frozen=True, slots=True)
class EncodingShape:
    """What anyone may know of an encoding: ``bounds`` has the lowest and highest slot value per
    slice.

    ``bits`` is the width w of the domain (digits), ``digits`` the number of base-4 digits (digits)
    or of
    limbs (limbs); both are 0 where they mean nothing. ``generation`` tells apart encodings of one
    kind that a column had one after the other: ALTER TABLE makes the next while the last is in use.
    """

    kind: Kind
    slices: int
    bits: int
    digits: int
    bounds: Bounds
    generation: int = 0

    @property
    def name(self) -> str:
        """What manifests and bundles call it."""
        return f"{self.kind}.{self.generation}" if self.generation else self.kind


class Encoding(Protocol):
    """Turns storage values (for TEXT: codes) into slots. Immutable."""

    @property
    def shape(self) -> EncodingShape: ...

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """Slots of the rows ``values`` put at ``positions``; NULL and all other slots are zero.

        Shape: values, valid and positions (rows,) -> (slices, slots) int64.
        """
        ...


@dataclass(frozen=True, slots=True)
class DigitsEncoding:
    """One-hot base-4 digits of ``value - minimum`` in [0, 2^bits), least digit first.

    Slices in order: three indicators (digit is 0, 1, 2) per digit, the fourth being implied, then
    all four
    of the top digit: 3 bits / 2 + 1 in all.
    """

    minimum: int
    bits: int

    @property
    def shape(self) -> EncodingShape:
        digits = self.bits // DIGIT_BITS
        slices = 3 * digits + 1
        return EncodingShape("digits", slices, self.bits, digits, ((0, 1),) * slices)

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """See ``Encoding``. Cost: about 0.2 ns per slice and slot."""
        offset = domain_codes(values, self.minimum)
        digits = self.bits // DIGIT_BITS
        out = np.empty((3 * digits + 1, slots), dtype=np.int64)
        digit_of_slot = np.full(slots, _EMPTY, dtype=np.uint8)
        rows = positions[valid]
        offset = offset[valid]
        for digit in range(digits):
            shifted = offset >> np.uint64(DIGIT_BITS * digit)
            digit_of_slot[rows] = (shifted & np.uint64(3)).astype(np.uint8)
            for value in range(4 if digit == digits - 1 else 3):
                np.equal(digit_of_slot, np.uint8(value), out=out[3 * digit + value])
        return out


@dataclass(frozen=True, slots=True)
class PrefixEncoding:
    """The first ``length`` bytes of a text (``columns.prefixes``) as one-hot base-4 digits."""

    length: int

    @property
    def shape(self) -> EncodingShape:
        return replace(DigitsEncoding(0, 8 * self.length).shape, kind="prefix")

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """See ``Encoding``; ``values`` are numbers of ``length`` bytes."""
        return DigitsEncoding(0, 8 * self.length).encode(values, valid, slots, positions)


@dataclass(frozen=True, slots=True)
class LimbsEncoding:
    """The value itself in balanced base 256, least limb first: limbs in [-128, 127], the top one
    as needed.

    ``minimum`` and ``maximum`` only give the number of limbs and the top limb's bounds. Stored
    columns have limbs of 8 bits; ``bits`` makes them finer where they are made on the fly.
    """

    minimum: int
    maximum: int
    bits: int = LIMB_BITS

    @property
    def limbs(self) -> int:
        """The fewest limbs whose top limb, with 0 for NULL, spans at most 2^bits."""
        count = 1
        while _span(self.top_bounds(count)) > 1 << self.bits:
            count += 1
        return count

    def top_bounds(self, limbs: int) -> tuple[int, int]:
        """Lowest and highest top limb, 0 included."""
        shift = self.bits * (limbs - 1)
        low = (self.minimum + _balance(limbs, self.bits)) >> shift
        high = (self.maximum + _balance(limbs, self.bits)) >> shift
        return min(low, 0), max(high, 0)

    @property
    def shape(self) -> EncodingShape:
        limbs = self.limbs
        half = 1 << (self.bits - 1)
        bounds = ((-half, half - 1),) * (limbs - 1) + (self.top_bounds(limbs),)
        return EncodingShape("limbs", limbs, 0, limbs, bounds)

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """See ``Encoding``."""
        limbs = self.limbs
        out = np.zeros((limbs, slots), dtype=np.int64)
        rows = positions[valid]
        # Split off balanced limbs: with the low bits b in [0, 2^bits), limb = b or b - 2^bits,
        # carry 0 or 1.
        base = 1 << self.bits
        rest = values[valid]
        for limb in range(limbs - 1):
            low = (rest & rest.dtype.type(base - 1)).astype(np.int64)
            negative = low >= base // 2
            out[limb, rows] = low - base * negative
            rest = (rest >> rest.dtype.type(self.bits)) + negative.astype(rest.dtype)
        out[limbs - 1, rows] = rest.astype(np.int64)
        return out

    @staticmethod
    def decode_sum(totals: Sequence[int]) -> int:
        """The exact sum of values from the exact sums of their limbs, least limb first."""
        return sum(int(total) << (LIMB_BITS * index) for index, total in enumerate(totals))


def limb_weights(limbs: int) -> tuple[int, ...]:
    """What one unit of each limb is worth, least limb first (see ``LimbsEncoding.decode_sum``)."""
    return tuple(1 << (LIMB_BITS * index) for index in range(limbs))


@dataclass(frozen=True, slots=True)
class OneHotEncoding:
    """One slice per declared category, in declared order. ``values`` are indices of categories."""

    categories: int

    @property
    def shape(self) -> EncodingShape:
        return EncodingShape("onehot", self.categories, 0, 0, ((0, 1),) * self.categories)

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """See ``Encoding``; ``values`` are category indices (``Column.category_codes``)."""
        out = np.zeros((self.categories, slots), dtype=np.int64)
        out[values[valid].astype(np.intp), positions[valid]] = 1
        return out


@dataclass(frozen=True, slots=True)
class NotNullEncoding:
    """One slice: 1 where the row exists and the value is not NULL."""

    @property
    def shape(self) -> EncodingShape:
        return EncodingShape("notnull", 1, 0, 0, ((0, 1),))

    def encode(self, values: Values, valid: Mask, slots: int, positions: Positions) -> Slots:
        """See ``Encoding``; ``values`` are not looked at."""
        out = np.zeros((1, slots), dtype=np.int64)
        out[0, positions[valid]] = 1
        return out


def domain_codes(values: Values, minimum: int) -> NDArray[np.uint64]:
    """``value - minimum`` as uint64, exact for every int64 and uint64 (arithmetic modulo 2^64)."""
    unsigned = values.astype(np.uint64, casting="unsafe")
    return unsigned - np.uint64(minimum % (1 << 64))


def domain_width(minimum: int, maximum: int) -> int:
    """Bits w of the domain [0, 2^w) that holds ``maximum - minimum``: at least 2, even, so digits
    are whole.
    """
    if maximum < minimum:
        fail("AM-1000", what="a domain whose maximum is below its minimum")
    width = max((maximum - minimum).bit_length(), DIGIT_BITS)
    return width + width % DIGIT_BITS


def _span(bounds: tuple[int, int]) -> int:
    return bounds[1] - bounds[0]


def _balance(limbs: int, bits: int) -> int:
    """What makes every lower limb non-negative when added: half its base in each of them."""
    return sum(1 << (bits * index + bits - 1) for index in range(limbs - 1))
