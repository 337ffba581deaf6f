"""Rows 231x (tables of two depths, client refresh) of the error table."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill(define: Callable[..., None]) -> None:
    """All rows about DEPTH and about plans in parts."""
    define(
        "AM-2310",
        e.InvalidError,
        "keyset {key_id} is from before tables had a depth: it has no secret for DEPTH = 'deep'",
        "rotate the keys (amaters keys rotate), which makes a keyset with both, or leave DEPTH out",
    )
    define(
        "AM-2311",
        e.DeniedError,
        "keyset {key_id} has no secret key for table {table}",
        "import a newer copy of this keyset: this one was made before it had that secret",
    )
    define(
        "AM-2312",
        e.InvalidError,
        "this statement sends {needed} of encrypted constants, at most {limit} are taken",
        "use shorter IN lists or fewer conditions, or mark constants PUBLIC(...)",
        dbapi="NotSupportedError",
    )
