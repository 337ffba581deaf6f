"""The blocking API, derived from the asynchronous one: one event loop in one background thread.

A blocking class wraps an asynchronous object and names the methods it passes on, one line each;
signature and docstring come from the asynchronous method, so nothing is written twice.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import wait
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from amaters.base import errors

WAKE_SECONDS = 0.25

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class _Call(Generic[R]):
    """One coroutine on its way; ``finished`` is set when it and its cleanup are over."""

    def __init__(self, work: Coroutine[Any, Any, R]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self.finished = threading.Event()

    async def run(self) -> R:
        self._task = asyncio.current_task()
        try:
            if self._cancelled:
                self._work.close()
                raise asyncio.CancelledError
            return await self._work
        finally:
            self.finished.set()

    def cancel(self) -> None:
        """Called on the loop."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class Portal:
    """Runs coroutines on one background event loop and waits for them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="amaters-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """The coroutine's result. An interrupt cancels it and waits until it has cleaned up.

        Raises: ClosedError AM-5002 after ``close``; InvalidError AM-5046 from a progress callback,
        which runs on this loop and would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            errors.fail("AM-5046")
        if not self.running:
            work.close()
            errors.fail("AM-5002")
        call = _Call(work)
        try:
            future = asyncio.run_coroutine_threadsafe(call.run(), self._loop)
            # A signal that comes just before a wait does not end it, so waits are finite.
            while not wait([future], WAKE_SECONDS).done:
                pass
            return future.result()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(call.cancel)
            while not call.finished.wait(WAKE_SECONDS):
                pass
            raise

    @property
    def running(self) -> bool:
        """Whether calls are still possible."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the loop; running work is not waited for beyond its next step."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


class Blocking(Generic[A]):
    """A blocking view of one asynchronous object."""

    def __init__(self, asynchronous: A, portal: Portal) -> None:
        self._asynchronous = asynchronous
        self._portal = portal


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """The blocking form of an asynchronous method."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._portal.call(method(self._asynchronous, *args, **kwargs))  # type: ignore[no-any-return]

    return call


def blocking_as(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Any]], wrap: type[S]
) -> Callable[Concatenate[Any, P], S]:
    """Like ``blocking``, for a method that returns an asynchronous object: it returns its view."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> S:
        made = self._portal.call(method(self._asynchronous, *args, **kwargs))
        return wrap(made, self._portal)  # type: ignore[call-arg]

    return _returning(call, wrap.__name__)


def chaining(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[Concatenate[S, P], S]:
    """A method that returns a changed copy without waiting for anything (query builders)."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return type(self)(method(self._asynchronous, *args, **kwargs), self._portal)

    return _returning(call, "Self")


def starting(
    method: Callable[Concatenate[Any, P], Any], wrap: type[S]
) -> Callable[Concatenate[Any, P], S]:
    """A method that returns another asynchronous object without waiting: it returns its view."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> S:
        return wrap(method(self._asynchronous, *args, **kwargs), self._portal)  # type: ignore[call-arg]

    return _returning(call, wrap.__name__)


def iterating(
    method: Callable[Concatenate[Any, P], AsyncIterator[R]],
) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """The blocking form of a method that gives one thing after the other."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return _iterate(self._portal, method(self._asynchronous, *args, **kwargs))

    given = str(inspect.signature(method).return_annotation)
    return _returning(call, given.replace("AsyncGenerator", "Iterator").replace(", None]", "]"))


def _returning(call: F, annotation: str) -> F:
    """``call`` as help() and editors show it: it does not return what the wrapped method does."""
    signature = inspect.signature(call).replace(return_annotation=annotation)
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _iterate(portal: Portal, items: AsyncIterator[R]) -> Iterator[R]:
    async def following() -> tuple[R, ...]:
        async for item in items:
            return (item,)
        return ()

    try:
        while found := portal.call(following()):
            yield found[0]
    finally:
        close = getattr(items, "aclose", None)
        if close is not None and portal.running:
            portal.call(close())
