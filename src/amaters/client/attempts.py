"""Statements that lost a race that a fresh look settles, made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from amaters.base import errors
from amaters.client.session import Session

DROPPED = "AM-3021"
ATTEMPTS_MAX = 32  # of a statement that lost a race; each loss means that another statement won
R = TypeVar("R")


async def repeated(session: Session, attempt: Callable[[], Awaitable[R]]) -> R:
    """The result of ``attempt``, which looks tables up anew each time it is called."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await attempt()
        except errors.AmatersError as lost:
            if lost.code != DROPPED and (lost.kind != "Conflict" or lost.retry != "same"):
                raise
            session.forget_tables()
    return await attempt()
