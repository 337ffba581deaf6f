"""Writes logs as the first databases had them."""

from __future__ import annotations

import struct
from pathlib import Path

from blake3 import blake3

DATABASE = b"d" * 16


def encoded(position: int, witness: int, payload: bytes | None) -> bytes:
    """A record as format 1 had it."""
    body = payload or b""
    magic = b"AMLW" if payload is None else b"AMLR"
    head = struct.pack("<4sIQQ", magic, len(body), position, witness)
    return head + blake3(head + body).digest(length=16) + body


def write(path: Path, first: int, payloads: list[bytes], database: bytes = DATABASE) -> None:
    """A file as format 1 had it, with a witness after each record."""
    head = struct.pack("<8sI16sQ", b"AMLOG1\0\0", 1, database, first)
    parts = [head, blake3(head).digest(length=16)]
    for position, payload in enumerate(payloads, start=first):
        parts += [encoded(position, position - 1, payload), encoded(position, position, None)]
    path.mkdir(parents=True, exist_ok=True)
    (path / f"{first:020d}.log").write_bytes(b"".join(parts))
