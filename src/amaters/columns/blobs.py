"""BLOB values. Their storage value is a text with one character U+0000 to U+00FF per byte.

Texts compare by code points, so such texts compare like the bytes: what stores, indexes, groups and
sorts texts does so with blobs (decision 13).
"""

from __future__ import annotations

import re

BYTES_MAX = 1 << 20
CODEC = "latin-1"
_PARTS = re.compile(r"\\x([0-9A-Fa-f]{2})|([\x00-\x5b\x5d-\x7f])")
_PRINTABLE = range(0x20, 0x7F)
_SPECIAL = frozenset(b"\\'\"")


def parse(text: str) -> bytes | None:
    r"""The bytes of a text as DuckDB casts it: ASCII as it is, any byte as ``\xAA``. None for other
    texts.
    """
    found = bytearray()
    at = 0
    while at < len(text):
        part = _PARTS.match(text, at)
        if part is None:
            return None
        found.append(int(part[1], 16) if part[1] else ord(part[2]))
        at = part.end()
    return bytes(found)


def spelled(value: bytes) -> str:
    r"""The text that DuckDB shows for bytes: printable ASCII, everything else as ``\xAA``."""
    return "".join(
        chr(byte) if byte in _PRINTABLE and byte not in _SPECIAL else f"\\x{byte:02X}"
        for byte in value
    )
