"""What the end-to-end tests share: a table with every kind of column, rows, and service doubles."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import amaters as am
from amaters.base.clock import SystemClock
from amaters.base.progress import no_progress
from amaters.base.rng import SystemRng
from amaters.client.database import AsyncDatabase
from amaters.client.keymaking import Choice
from amaters.client.keyring import Keyring
from amaters.client.session import Keys, Outside, open_session
from amaters.wire.service import METHODS

SMALL = "insecure_n1024"
SCHEMES = ("noop", "bgv")
FULL = 1024 - 64  # rows of a full segment of the small parameter set


def small(scheme: str) -> dict[str, Any]:
    """Arguments of ``connect`` for a fast test database."""
    unsafe = "noop" if scheme == "noop" else None
    return {"unsafe_scheme": unsafe, "unsafe_parameters": SMALL}


COLUMNS = {
    "id": am.Int64(primary_key=True),
    "dept": am.Text(index=True),
    "age": am.UInt8(max=120, encrypt=["eq", "range"]),
    "salary": am.Int32(min=-1000, max=1_000_000, encrypt=["range", "sum"], nullable=True),
    "bonus": am.Decimal(9, 2, min=Decimal(0), max=Decimal(5000), encrypt=["sum"], nullable=True),
    "grade": am.Enum(["A", "B", "C"], encrypt=["group"], nullable=True),
    "born": am.Date(min=date(1900, 1, 1), max=date(2030, 1, 1), encrypt=["range"]),
    "city": am.Text(encrypt=["eq"], nullable=True),
    "notes": am.Text(encrypt=[], nullable=True),
}


def people(count: int, seed: int = 1, first: int = 0) -> list[dict[str, Any]]:
    """Rows for ``COLUMNS``; keys are spread so that canaries find gaps."""
    draw = random.Random(seed)
    return [
        {
            "id": 7 * (first + i) + draw.randrange(5),
            "dept": draw.choice(["R&D", "HR", "Ops"]),
            "age": draw.randrange(121),
            "salary": draw.choice([None, draw.randint(-1000, 1_000_000)]),
            "bonus": draw.choice([None, Decimal(draw.randrange(500_001)).scaleb(-2)]),
            "grade": draw.choice(["A", "B", "C", None]),
            "born": date(1950, 1, 1) + timedelta(days=draw.randrange(20_000)),
            "city": draw.choice(["Kyoto", "Nara", "Ōsaka", None]),
            "notes": draw.choice([None, "", "text " * draw.randrange(9)]),
        }
        for i in range(count)
    ]


def outside() -> Outside:
    return Outside(SystemClock(), SystemRng(), lambda _: None, no_progress, 2)


async def open_on(
    service: Any, scheme: str = "noop", parameters: str = SMALL, keyring: Path | None = None
) -> AsyncDatabase:
    """A database over any service, with a keyset that is in memory only unless told otherwise."""
    keys = Keys(Keyring(keyring) if keyring else None)
    choice = Choice(scheme, parameters)
    session = await open_session(service, url="test", keys=keys, choice=choice, outside=outside())
    return AsyncDatabase(session)


class Spy:
    """A service that counts calls on their way to another one."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in METHODS:
            return method
        if METHODS[name].streams:
            return self._streaming(name, method)

        async def single(*arguments: Any) -> Any:
            self.calls[name] += 1
            return await method(*arguments)

        return single

    def _streaming(self, name: str, method: Any) -> Any:
        async def stream(request: Any) -> AsyncIterator[Any]:
            self.calls[name] += 1
            async for item in method(request):
                yield self.changed(name, item)

        return stream

    def changed(self, name: str, item: Any) -> Any:
        """What a double does to replies."""
        return item
