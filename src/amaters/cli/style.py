"""Colours on a terminal, and none elsewhere or where NO_COLOR is set (https://no-color.org)."""

from __future__ import annotations

import os
from typing import TextIO

RED, DIM = "31", "2"


def paint(text: str, code: str, stream: TextIO) -> str:
    """``text`` in a colour if ``stream`` shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if has_colours(stream) else text


def has_colours(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal whose user wants colours."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()
