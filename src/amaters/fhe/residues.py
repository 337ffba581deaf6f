"""Packed residues of format v1, and the way between them and the kernels' form.

Packed: canonical residues in ceil(bits / 8) bytes, little-endian, no padding, SEAL's bit-reversed
order. Kernels: centred float64 in kernel order, which swaps position 16 g + 4 r + l with 16 g + 4 l
+ r (``amaters.ring.transform``). Loops work on eight residues at a time: eight residues of w bytes
are exactly w 64-bit words, so no access is unaligned. One kernel is compiled per width, so that its
shifts are constants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from amaters.ring.compile import kernel
from amaters.ring.modular import ROUNDER, reduce
from amaters.ring.simd import add, even, high, load, low, odd, splat, store, sub

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Row = NDArray[np.float64]

assert sys.byteorder == "little", "format v1 is little-endian and its kernels copy words"

_EXPONENT = np.uint64(0x4330000000000000)
_BASE = 4503599627370496.0  # 2^52
_ROUNDER_BITS = np.uint64(0x4338000000000000)  # the bits of 1.5 * 2^52
WIDTH_MAX = 6  # bytes: primes have at most 48 bits


def _make_unpack(width: int) -> Callable[[Words, Words, np.uint64], None]:
    bits = 8 * width

    @kernel
    def unpack_words(words: Words, out: Words, mask: np.uint64) -> None:  # pragma: no cover
        for group in range(out.size // 8):
            start = group * width
            for index in range(8):
                position = start + (bits * index) // 64
                shift = (bits * index) % 64
                value = words[position] >> np.uint64(shift)
                if shift > 64 - bits:
                    value |= words[position + 1] << np.uint64(64 - shift)
                out[8 * group + index] = value & mask

    return unpack_words


def _make_pack(width: int) -> Callable[[Words, Words], None]:
    bits = 8 * width

    @kernel
    def pack_words(values: Words, out: Words) -> None:  # pragma: no cover
        for group in range(values.size // 8):
            start = group * width
            for word in range(width):
                first = (64 * word) // bits
                total = values[8 * group + first] >> np.uint64(64 * word - bits * first)
                for index in range(first + 1, 8):
                    if bits * index < 64 * word + 64:
                        total |= values[8 * group + index] << np.uint64(bits * index - 64 * word)
                out[start + word] = total

    return pack_words


def _make_sieve(width: int) -> Callable[[Words, np.uint64, np.uint64, Words], int]:
    bits = 8 * width

    @kernel
    def sieve_words(
        words: Words, mask: np.uint64, prime: np.uint64, out: Words
    ) -> int:  # pragma: no cover
        count, groups = out.size, words.size // width
        kept = group = 0
        # Branch-free while eight more values surely fit: a rejected one is overwritten.
        while group < groups and kept + 8 <= count:
            start = group * width
            for index in range(8):
                position = start + (bits * index) // 64
                shift = (bits * index) % 64
                value = words[position] >> np.uint64(shift)
                if shift > 64 - bits:
                    value |= words[position + 1] << np.uint64(64 - shift)
                value &= mask
                out[kept] = value
                kept += int(value < prime)
            group += 1
        for last in range(8 * group, 8 * groups):
            position, shift = (bits * last) // 64, (bits * last) % 64
            value = words[position] >> np.uint64(shift)
            if shift > 64 - bits:
                value |= words[position + 1] << np.uint64(64 - shift)
            value &= mask
            if kept < count and value < prime:
                out[kept] = value
                kept += 1
        return kept

    return sieve_words


_SIEVE = {width: _make_sieve(width) for width in range(1, WIDTH_MAX + 1)}
_UNPACK = {width: _make_unpack(width) for width in range(1, WIDTH_MAX + 1)}
_PACK = {width: _make_pack(width) for width in range(1, WIDTH_MAX + 1)}


@kernel
def to_kernel(words: Words, prime: float, out: Row) -> None:  # pragma: no cover
    """Residues in SEAL's order to a centred kernel row. ``words`` is overwritten.

    Shape: uint64 (N,) below 2^51 to float64 (N,), 16 | N. An integer x below 2^52 under the
    exponent of 2^52 is the double 2^52 + x, which saves the conversion that AVX2 does not have.
    ``out`` may share the memory of ``words``: a group is read before it is written.
    """
    for i in range(words.size):
        words[i] |= _EXPONENT
    doubles = words.view(np.float64)
    p, pinv, m, base = splat(prime), splat(1.0 / prime), splat(ROUNDER), splat(_BASE)
    for g in range(0, words.size, 16):
        a = reduce(sub(load(doubles, g), base), p, pinv, m)
        b = reduce(sub(load(doubles, g + 4), base), p, pinv, m)
        c = reduce(sub(load(doubles, g + 8), base), p, pinv, m)
        d = reduce(sub(load(doubles, g + 12), base), p, pinv, m)
        e0, o0, e1, o1 = even(a, b), odd(a, b), even(c, d), odd(c, d)
        store(out, g, low(e0, e1))
        store(out, g + 4, low(o0, o1))
        store(out, g + 8, high(e0, e1))
        store(out, g + 12, high(o0, o1))


@kernel
def from_kernel(row: Row, prime: float, out: Words) -> None:  # pragma: no cover
    """Inverse of ``to_kernel`` for integers of absolute value below ``prime``.

    The double x + 1.5 * 2^52 has x, in two's complement, in its low bits.
    """
    doubles = out.view(np.float64)
    base = splat(ROUNDER)
    for g in range(0, row.size, 16):
        a, b = add(load(row, g), base), add(load(row, g + 4), base)
        c, d = add(load(row, g + 8), base), add(load(row, g + 12), base)
        e0, o0, e1, o1 = even(a, b), odd(a, b), even(c, d), odd(c, d)
        store(doubles, g, low(e0, e1))
        store(doubles, g + 4, low(o0, o1))
        store(doubles, g + 8, high(e0, e1))
        store(doubles, g + 12, high(o0, o1))
    p = np.uint64(prime)
    for i in range(out.size):
        value = out[i] - _ROUNDER_BITS
        out[i] = value + (p & (np.uint64(0) - (value >> np.uint64(63))))


def sieve(block: Bytes, width: int, bits: int, prime: int, out: Words) -> int:
    """Writes the words of a packed block, masked to ``bits``, that are below ``prime`` to the front
    of ``out``, in order, until one of them ends; returns how many.
    """
    mask = np.uint64((1 << bits) - 1)
    return int(_SIEVE[width](_words(block), mask, np.uint64(prime), out))


def unpack_into(block: Bytes, width: int, out: Words) -> None:
    """Residues of a packed block. Shape: uint8 (n width,) to uint64 (n,), 8 | n."""
    _UNPACK[width](_words(block), out, np.uint64((1 << (8 * width)) - 1))


def unpack(block: Bytes, width: int, count: int) -> Words:
    """``unpack_into`` a new array of ``count`` residues."""
    out = np.empty(count, dtype=np.uint64)
    unpack_into(block, width, out)
    return out


def pack(values: Words, width: int) -> Bytes:
    """The packed block of residues below 2^(8 width). Shape: uint64 (n,) to uint8 (n width,),
    8 | n.
    """
    out = np.empty(values.size * width, dtype=np.uint8)
    pack_into(values, width, out)
    return out


def pack_into(values: Words, width: int, out: Bytes) -> None:
    """``pack`` into a block that starts at a multiple of eight bytes."""
    _PACK[width](values, out.view(np.uint64))


def _words(block: Bytes) -> Words:
    if block.ctypes.data % 8:
        block = block.copy()
    return block.view(np.uint64)
