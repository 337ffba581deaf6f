"""Stands in for PyTorch, which Concrete imports for operators that are not used here: its wheel
would bring several gigabytes. Every name is there and None.
"""

from __future__ import annotations


def __getattr__(name: str) -> None:
    if name.startswith("__"):
        raise AttributeError(name)
