"""The byte-bounded cache against a plain model, and what scans may expect of it."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from amaters.base.lru import Lru

steps = st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(1, 40)), max_size=60)


@given(steps)
def test_least_recently_used_goes_first(listed: list[tuple[bool, int, int]]) -> None:
    """Contents and bytes equal those of a model after every step."""
    cache: Lru[int, int] = Lru(100)
    model: OrderedDict[int, int] = OrderedDict()
    for is_put, key, size in listed:
        if is_put:
            cache.put(key, size, size)
            model.pop(key, None)
            model[key] = size
            while sum(model.values()) > 100:
                model.popitem(last=False)
        else:
            assert cache.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        assert cache.held_bytes == sum(model.values()) <= 100


def test_large_values() -> None:
    """A value above the budget is kept only where the last one must be."""
    cache: Lru[int, str] = Lru(10)
    cache.put(1, "big", 11)
    assert cache.get(1) is None and cache.held_bytes == 0
    last: Lru[int, str] = Lru(10, keep_last=True)
    last.put(1, "big", 11)
    last.put(2, "bigger", 12)
    assert (last.get(1), last.get(2), last.held_bytes) == (None, "bigger", 12)


def test_scans_larger_than_the_cache_still_hit() -> None:
    """Scanning 20 values again and again through room for 10 hits 10 each time; another scan takes
    over once the first has not come back for two rounds.
    """
    cache: Lru[str, int] = Lru(10)

    def scan(name: str) -> int:
        cache.begin_round()
        hits = 0
        for number in range(20):
            key = f"{name}{number}"
            if cache.get(key) is None:
                cache.put(key, number, 1)
            else:
                hits += 1
        return hits

    assert [scan("a") for _ in range(4)] == [0, 10, 10, 10]
    assert [scan("b") for _ in range(4)] == [0, 0, 10, 10]
