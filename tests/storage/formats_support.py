"""Databases that older programs wrote, unpacked, and the answers they gave."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

FORMATS = Path(__file__).resolve().parent.parent / "data" / "formats"
# In the order in which they were used: the log of one sync per record, then that of recycled files.
NAMES = ("log-1", "directory-1")


def unpacked(name: str, home: Path) -> Path:
    """A copy of an older database: ``home/db``, with its keyring in ``home/keys``."""
    with tarfile.open(FORMATS / f"{name}.tar.xz") as archive:
        archive.extractall(home, filter="data")
    return home / "db"


def expected(name: str) -> dict[str, list[list[Any]]]:
    """What the program that wrote it answered, by question."""
    found: dict[str, list[list[Any]]] = json.loads((FORMATS / f"{name}.json").read_text())
    return found


def answers(home: Path, questions: list[str]) -> dict[str, list[list[Any]]]:
    """What this program answers, in the form of ``expected``."""
    import amaters as am

    with am.connect(
        home / "db", keys=home / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
    ) as db:
        return {text: [list(row) for row in db.sql(text).rows()] for text in questions}
