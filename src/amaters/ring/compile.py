"""``kernel``: how every function of this layer is compiled.

Flags: no GIL, no Python error checks, cached on disk, and *no* fast-math: exactness rests on IEEE rounding and
on fused multiply-add appearing exactly where the source says so. Numba keys its cache by the file that holds a
function, not by the functions it inlines, so a stale kernel could survive an upgrade; hence the cache folder
carries a digest of all sources of this layer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config

F = TypeVar("F", bound=Callable[..., Any])


@lru_cache(maxsize=1)
def cache_folder() -> str:
    """Where compiled kernels live: NUMBA_CACHE_DIR if set, else the user's cache, per version of the sources."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return str(Path(chosen or root) / "amaters" / f"kernels-{digest.hexdigest()}")


def kernel(function: F) -> F:
    """The compiled form of ``function``; it compiles on first use and is cached on disk."""
    before = config.CACHE_DIR
    config.CACHE_DIR = cache_folder()
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    finally:
        config.CACHE_DIR = before
    return compiled  # type: ignore[no-any-return]
