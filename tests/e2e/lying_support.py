"""What the tests of a lying engine share: a table, a selection, and the code of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amaters.base import errors
from amaters.wire import service_pb2 as pb

ROWS = [(3 * i, ("R&D", "HR")[i % 2], i % 100, "ABC"[i % 3], f"note {i}") for i in range(1970)]
DDL = """CREATE TABLE pay (
  id BIGINT PRIMARY KEY, dept TEXT,
  age SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 120),
  grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'),
  notes TEXT ENCRYPTED
)"""
SELECTION = "SELECT id, age, notes FROM pay WHERE age > 40"
AGE, GRADE = 3, 4


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(errors.AmatersError) as caught:
        work()
    return caught.value.code


def swapped_values(request: Any, replies: list[pb.ExecuteEvent]) -> list[pb.ExecuteEvent]:
    """Two parts of a column's values exchanged, as ``Door.lies`` of execute."""
    values = [r for r in replies if r.WhichOneof("event") == "mask" and r.mask.output]
    first, second = values[0].mask, values[1].mask
    first.ciphertext, second.ciphertext = second.ciphertext, first.ciphertext
    return replies
