"""Primary keys for canaries that look like the real ones around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from amaters.base.rng import Rng
from amaters.columns.draw import below, distinct_below
from amaters.columns.types import SqlType, TypeKind

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_FAMILIES = (_DIGITS, _LOWER, _LOWER.upper())
_BYTES = "".join(chr(byte) for byte in range(256) if not 0x20 <= byte < 0x7F)
_TRIES = 8
_FAR = 1 << 32


def fake_keys(
    type_: SqlType, keys: Sequence[Any], count: int, *, taken: Collection[object], rng: Rng
) -> list[Any]:
    """``count`` ascending storage values that are neither in ``keys`` nor in ``taken``.

    Numbers lie between the smallest and the largest key if there is room, else far behind them
    where keys that count on will not come soon; texts are real keys with some characters exchanged
    for others of their class.
    """
    if not count:
        return []
    used = {*keys, *taken}
    if type_.is_text:
        return sorted(_texts(type_, keys, count, used, rng))
    return _numbers(type_, keys, count, used, rng)


def _numbers(
    type_: SqlType, keys: Sequence[int], count: int, used: set[Any], rng: Rng
) -> list[int]:
    low, high = min(keys), max(keys)
    inside = sum(1 for key in used if isinstance(key, int) and low <= key <= high)
    if high - low + 1 - inside < 2 * count:
        # No room between the keys, so they probably count on: every key that is used later would
        # take the place of a canary near them.
        room = len(used) + 4 * count
        if type_.maximum - high > 2 * room:
            low = high + min((type_.maximum - high) // 2, _FAR)
            high = min(type_.maximum, low + max(room, _FAR))
        else:
            low, high = max(type_.minimum, low - room), min(type_.maximum, high + room)
    # Ranks among the free values, so that the draw is uniform over them however few they are.
    blocked = sorted(key for key in used if isinstance(key, int) and low <= key <= high)
    free = high - low + 1 - len(blocked)
    ranks = [int(rank) for rank in _subset(rng, free, min(count, free))]
    return _unrank(ranks, blocked, low)


def _subset(rng: Rng, bound: int, count: int) -> Sequence[int]:
    """A uniform subset; ``bound`` may exceed an int64."""
    if bound < 1 << 62:
        return [int(number) for number in distinct_below(rng, bound, count)]
    chosen: set[int] = set()
    while len(chosen) < count:
        chosen.add(below(rng, bound))
    return sorted(chosen)


def _unrank(ranks: Sequence[int], blocked: Sequence[int], low: int) -> list[int]:
    """The values that have these (ascending) ranks among the values >= low that are not blocked."""
    found, passed = [], 0
    for rank in ranks:
        while passed < len(blocked) and blocked[passed] <= low + rank + passed:
            passed += 1
        found.append(low + rank + passed)
    return found


def _texts(type_: SqlType, keys: Sequence[str], count: int, used: set[Any], rng: Rng) -> list[str]:
    families = _FAMILIES if type_.kind is TypeKind.TEXT else (*_FAMILIES, _BYTES)
    found: list[str] = []
    for _ in range(count):
        text = keys[below(rng, len(keys))]
        for tries in range(1, 1 << 20):
            candidate = _mutated(text, families, rng)
            if tries > _TRIES:
                candidate += _LOWER[below(rng, len(_LOWER))] * (tries // _TRIES)
            if candidate not in used:
                break
        used.add(candidate)
        found.append(candidate)
    return found


def _mutated(text: str, families: Sequence[str], rng: Rng) -> str:
    """``text`` with about half of its letters and digits exchanged, their classes kept; in a BLOB
    also bytes that are no ASCII characters.
    """
    return "".join(
        _other(character, families, rng) if below(rng, 2) else character for character in text
    )


def _other(character: str, families: Sequence[str], rng: Rng) -> str:
    for family in families:
        if character in family:
            return family[below(rng, len(family))]
    return character
