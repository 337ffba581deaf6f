"""Databases that each older format wrote open with every row, and go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats_support import NAMES, answers, expected, unpacked


@pytest.mark.parametrize("name", NAMES)
def test_older_databases_answer_as_before(tmp_path: Path, name: str) -> None:
    """What was checkpointed and what only its log held answers as the old program did, at the
    first open, which brings the directory up to date, and at the next.
    """
    unpacked(name, tmp_path)
    wanted = expected(name)
    for _ in range(2):
        assert answers(tmp_path, list(wanted)) == wanted
