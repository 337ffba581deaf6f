"""The blocking API is the asynchronous one, run in the background."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading

import pytest

from amaters.client.blocking import Blocking, Portal, blocking, blocking_as


class AsyncCounter:
    def __init__(self, start: int) -> None:
        self.value = start
        self.waiting = threading.Event()
        self.cancelled = False

    async def add(self, amount: int, *, twice: bool = False) -> int:
        """Adds."""
        await asyncio.sleep(0)
        self.value += amount * (2 if twice else 1)
        return self.value

    async def copy(self) -> AsyncCounter:
        """Copies."""
        return AsyncCounter(self.value)

    async def forever(self) -> None:
        """Waits until it is cancelled."""
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


class Counter(Blocking[AsyncCounter]):
    add = blocking(AsyncCounter.add)
    forever = blocking(AsyncCounter.forever)


Counter.copy = blocking_as(AsyncCounter.copy, Counter)  # type: ignore[attr-defined]


def test_calls_results_and_errors_pass_through() -> None:
    """Arguments, results, exceptions, names and docstrings are those of the asynchronous method."""
    portal = Portal()
    counter = Counter(AsyncCounter(1), portal)
    assert counter.add(2, twice=True) == 5
    assert counter.copy().add(1) == 6  # type: ignore[attr-defined]
    assert counter.add.__doc__ == "Adds."
    assert list(inspect.signature(Counter.add).parameters) == ["self", "amount", "twice"]
    with pytest.raises(TypeError):
        counter.add("x")  # type: ignore[arg-type]
    portal.close()


def test_an_interrupt_cancels_the_work_and_waits_for_its_cleanup() -> None:
    """After KeyboardInterrupt the coroutine has run its finally clause; the portal still works."""
    portal = Portal()
    inner = AsyncCounter(0)
    counter = Counter(inner, portal)

    def interrupt() -> None:
        inner.waiting.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        counter.forever()
    helper.join()
    assert inner.cancelled
    assert counter.add(1) == 1
    portal.close()
