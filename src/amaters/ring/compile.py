"""``kernel``: how every function of this layer is compiled.

Flags: no GIL, no Python error checks, cached on disk, and *no* fast-math: exactness rests on IEEE
rounding and on fused multiply-add appearing exactly where the source says so.

Two properties of Numba's own cache would make it unsafe here. It keys an entry by the file that
holds a function, not by the functions that it inlines, so a stale kernel could survive an upgrade:
the cache folder carries a digest of all sources with kernels. And it numbers its files through an
index that processes update without a lock: two of them compiling two signatures of one function at
once could store both under one number, after which a load returns the wrong machine code. So files
are named by what they contain, and there is no index.
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
from numba.core.caching import IndexDataCacheFile

F = TypeVar("F", bound=Callable[..., Any])


@lru_cache(maxsize=1)
def cache_folder() -> str:
    """Where compiled kernels live: NUMBA_CACHE_DIR if set, else the user's cache, per version of
    the sources.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    package = Path(__file__).parents[1]
    for source in sorted([*package.glob("ring/*.py"), *package.glob("fhe/**/*.py")]):
        content = source.read_bytes()
        if b"import kernel" in content or source.parent.name == "ring":
            digest.update(content)
    return str(Path(chosen or root) / "amaters" / f"kernels-{digest.hexdigest()}")


class _ContentNamedCache(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's cache of one function with files named by signature, target, closure and source."""

    def save(self, key: object, data: object) -> None:
        self._save_data(self._file_of(key), data)

    def load(self, key: object) -> object:
        try:
            return self._load_data(self._file_of(key))
        except FileNotFoundError:
            return None

    def _file_of(self, key: object) -> str:
        text = repr((key, self._source_stamp, self._version))
        digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        return f"{self._index_name.removesuffix('.nbi')}.{digest}.nbc"


def kernel(function: F) -> F:
    """The compiled form of ``function``; it compiles on first use and is cached on disk."""
    before = config.CACHE_DIR
    config.CACHE_DIR = cache_folder()
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    finally:
        config.CACHE_DIR = before
    cache = compiled._cache
    numbered = cache._cache_file
    cache._cache_file = _ContentNamedCache(
        cache_path=numbered._cache_path,
        filename_base=numbered._index_name.removesuffix(".nbi"),
        source_stamp=numbered._source_stamp,
    )
    return compiled  # type: ignore[no-any-return]
