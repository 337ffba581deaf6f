"""The one thread that writes: whatever waits for it becomes durable together.

A piece of work checks and applies commands on the group it is given. While one group is being made
durable the next one gathers, so the more writers there are, the fewer log writes each costs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from amaters.base.errors import fail
from amaters.storage.database import Group, Storage

GROUP_WORKS_MAX = 512
GROUP_BYTES_MAX = 16 << 20
WAITING_MAX = 8192

T = TypeVar("T")
Settle = Callable[[Any, BaseException | None], None]


@dataclass(slots=True)
class _Work:
    """One piece of work. ``grouped``: None when it wants no group; ``alone``: one of its own."""

    run: Callable[..., Any]
    settle: Settle
    size: int
    grouped: bool
    alone: bool
    result: Any = None
    error: BaseException | None = None

    def attempt(self, *arguments: Any) -> None:
        with _Caught() as caught:
            self.result = self.run(*arguments)
        self.error = caught.error


class _Caught:
    """Keeps whatever is raised inside for the one who waits for it, as a future does."""

    error: BaseException | None = None

    def __enter__(self) -> _Caught:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.error = error
        return True


class Committer:
    """Runs work on a thread of its own, in the order it came. ``close`` it before the storage."""

    def __init__(
        self,
        storage: Storage,
        *,
        waiting_max: int = WAITING_MAX,
        upkeep: Callable[[], object] | None = None,
    ) -> None:
        """``upkeep`` runs after each group, on the writer's thread; its failure is nobody's."""
        self.storage = storage
        self._upkeep = upkeep
        self._waiting_max = waiting_max
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="amaters-writer", daemon=True)
        self._thread.start()

    # ---- handing in --------------------------------------------------------------------------

    def submit(self, work: Callable[[Group], T], *, size: int = 0) -> Future[T]:
        """The outcome of ``work(group)``, once the group is durable. ``size``: about how many bytes
        it logs. Raises: AM-4020 when too much waits, AM-4004.
        """
        future: Future[T] = Future()
        self.enqueue(work, _settling(future), size=size)
        return future

    def enqueue(
        self,
        work: Callable[[Group], Any],
        settle: Settle,
        *,
        size: int = 0,
        alone: bool = False,
    ) -> None:
        """Like ``submit``; ``settle(result, error)`` is called on the writer's thread. ``alone``:
        in a group of its own, so that its effects are published before later work is checked.
        """
        self._hand_in(_Work(work, settle, size, grouped=True, alone=alone))

    def between(self, work: Callable[[], Any], settle: Settle) -> None:
        """Run something between groups, when all that was handed in before it is settled."""
        self._hand_in(_Work(work, settle, 0, grouped=False, alone=True))

    def _hand_in(self, work: _Work) -> None:
        with self._changed:
            if self._closing:
                fail("AM-4004", path="the database")
            if len(self._waiting) >= self._waiting_max:
                fail("AM-4020", waiting=len(self._waiting))
            self._waiting.append(work)
            if len(self._waiting) == 1:
                self._changed.notify()

    def close(self) -> None:
        """Finish what waits, then end the thread. Closing twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # ---- on the writer's thread --------------------------------------------------------------

    def _loop(self) -> None:
        while works := self._take():
            if works[0].grouped:
                self._run_group(works)
            else:
                works[0].attempt()
            for work in works:
                work.settle(work.result, work.error)
            if self._upkeep is not None:
                with _Caught():
                    self._upkeep()

    def _take(self) -> list[_Work]:
        """What the next group consists of; nothing when there will be no more."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            works: list[_Work] = []
            size = 0
            while self._waiting and len(works) < GROUP_WORKS_MAX and size < GROUP_BYTES_MAX:
                if works and (works[0].alone or self._waiting[0].alone):
                    break
                works.append(self._waiting.popleft())
                size += works[-1].size
        return works

    def _run_group(self, works: list[_Work]) -> None:
        """One group. Work that fails by itself is undone and told so; the others go on."""
        with _Caught() as caught, self.storage.group() as group:
            for work in works:
                work.attempt(group)
        for work in works:
            work.error = work.error or caught.error


def _settling(future: Future[Any]) -> Settle:
    def settle(result: Any, error: BaseException | None) -> None:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    return settle
