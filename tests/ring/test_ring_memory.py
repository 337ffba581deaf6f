"""Recycled buffers: aligned, reused only after the last view died, safe from several threads."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from amaters.ring.memory import empty

SHAPE = (3, 2, 1032)  # a size that no ciphertext has


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_buffers_are_aligned_and_recycled() -> None:
    first = empty(SHAPE)
    where = address(first)
    assert where % 64 == 0
    assert first.flags.c_contiguous and first.shape == SHAPE
    del first
    gc.collect()
    assert address(empty(SHAPE)) == where


def test_a_view_keeps_its_buffer() -> None:
    """The classic mistake: the array is gone, a row of it is still in use."""
    array = empty(SHAPE)
    array[:] = 7.0
    row = array[1, :1]
    where = address(array)
    del array
    gc.collect()
    others = [empty(SHAPE) for _ in range(4)]
    for other in others:
        other[:] = 1.0
    assert where not in {address(other) for other in others}
    assert np.all(row == 7.0)
    del row
    gc.collect()
    assert address(empty(SHAPE)) == where


def test_sizes_no_longer_used_make_room() -> None:
    """A pool full of one size still recycles another; otherwise a change of plan would cost it."""
    held = [empty((1 << 20,)) for _ in range(40)]
    del held
    gc.collect()
    first = empty(SHAPE)
    where = address(first)
    del first
    gc.collect()
    assert address(empty(SHAPE)) == where


def test_threads_never_share_a_live_buffer() -> None:
    def work(mark: int) -> bool:
        good = True
        for _ in range(200):
            array = empty(SHAPE)
            array[:] = mark
            good = good and bool(np.all(array == mark))
        return good

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert all(pool.map(work, range(16)))
