"""Statements that lost a race that a fresh look settles, made again; and their time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def within(session: Session, seconds: float | None) -> AsyncIterator[None]:
    """Cancels what stands in it after ``seconds``, or the connection's limit if that is None.

    Raises: UnavailableError AM-5041.
    """
    limit = session.outside.timeout_seconds if seconds is None else seconds
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            yield
    except TimeoutError:
        if timer.expired():
            errors.fail("AM-5041", seconds=limit)
        raise
