"""LIKE patterns: ``%`` any characters, ``_`` one character, as DuckDB reads them (no escape
character unless ESCAPE names one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

ANY = "%"
ONE = "_"


@dataclass(frozen=True)
class Pattern:
    """A pattern as written; ``escape`` is one character or empty."""

    text: str
    escape: str = ""

    @property
    def is_complete(self) -> bool:
        """False when the escape character stands last, where it escapes nothing."""
        return all(kind != "broken" for kind, _ in self._parts())

    @cached_property
    def literal(self) -> str:
        """The characters before the first wildcard."""
        found = []
        for kind, character in self._parts():
            if kind != "text":
                break
            found.append(character)
        return "".join(found)

    @cached_property
    def shape(self) -> str:
        """``exact`` (no wildcard), ``prefix`` (``%`` at the end only) or ``other``."""
        kinds = [kind for kind, _ in self._parts()]
        rest = kinds[len(self.literal) :]
        if not rest:
            return "exact"
        return "prefix" if set(rest) == {"any"} else "other"

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` fits. Cost: its length times the pattern's, at most."""
        first, *rest = self._pieces
        at = first.match(text)
        if not rest:
            return at is not None and at.end() == len(text)
        if at is None:
            return False
        place, last = at.end(), rest.pop()
        for piece in rest:  # the leftmost place leaves most room for what follows
            found = piece.search(text, place)
            if found is None:
                return False
            place = found.end()
        start = len(text) - self._last_length
        return start >= place and last.match(text, start) is not None

    @cached_property
    def _pieces(self) -> list[re.Pattern[str]]:
        """What stands between ``%``; each fits texts of one length only."""
        written = [""]
        for kind, character in self._parts():
            if kind == "any":
                written.append("")
            else:
                written[-1] += re.escape(character) if kind == "text" else "."
        return [re.compile(piece, re.DOTALL) for piece in written]

    @cached_property
    def _last_length(self) -> int:
        """Characters behind the last ``%``."""
        count = 0
        for kind, _ in self._parts():
            count = 0 if kind == "any" else count + 1
        return count

    def _parts(self) -> Iterator[tuple[str, str]]:
        """(any | one | text | broken, character) from left to right."""
        characters = iter(self.text)
        for character in characters:
            if character == self.escape:
                following = next(characters, None)
                yield ("broken", "") if following is None else ("text", following)
            elif character == ANY:
                yield "any", ""
            elif character == ONE:
                yield "one", ""
            else:
                yield "text", character
