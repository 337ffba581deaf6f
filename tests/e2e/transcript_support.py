"""Two databases of one public shape and different secrets, and the comparison of what they send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from door_support import Call, Opened, open_through_door


class Counting:
    """Randomness that two databases share, so that their transcripts can be compared."""

    def __init__(self) -> None:
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(self._drawn.to_bytes(8, "little")).digest(count)


class Still:
    """A clock that stands still."""

    def now(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 0.0

    def cpu(self) -> float:
        return 0.0


def made_alike(
    scheme: str, fill: tuple[Callable[[Opened], None], Callable[[Opened], None]]
) -> tuple[Opened, Opened]:
    """The databases, each filled by its own function, with the record of their making."""
    made = []
    patch = pytest.MonkeyPatch()
    # A plan's digest covers a table's random id: the same tables get the same.
    for filled in fill:
        numbers = iter(range(100))
        patch.setattr(
            "amaters.columns.declare.new_id", lambda n=numbers: b"table number %03d" % next(n)
        )
        unsafe = "noop" if scheme == "noop" else None
        opened = open_through_door(scheme=unsafe, rng=Counting(), clock=Still())
        filled(opened)
        made.append(opened)
    patch.undo()
    return made[0], made[1]


OPAQUE = {"sealed_bytes", "mac", "sealed_pack", "canaries", "part_canaries"}


def shape(call: Call, names: dict[bytes, bytes], public: set[bytes]) -> tuple[Any, ...]:
    """A call with ids renamed, and sealed or encrypted bytes replaced by their length."""
    request = type(call.request).FromString(call.request.SerializeToString())
    blank(request)
    data = request.SerializeToString()
    chunks: Any = [len(chunk) for chunk in call.uploads]
    if getattr(request, "object_id", None) in public:
        chunks = call.uploads
    for found, name in names.items():
        data = data.replace(found, name)
    return call.name, data, chunks


def blank(message: Any) -> None:
    """Opaque fields, wherever they are, keep their length only."""
    for field, value in message.ListFields():
        if field.name in OPAQUE and field.is_repeated:
            value[:] = [bytes(len(one)) for one in value]
        elif field.name in OPAQUE:
            setattr(message, field.name, bytes(len(value)))
        elif field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                blank(item)


def shapes(opened: Opened) -> list[tuple[Any, ...]]:
    calls = opened.door.calls
    names: dict[bytes, bytes] = {}
    public = set()
    for call in calls:
        if call.name == "commit":
            public |= {segment.public_object for segment in call.request.segments}
        # Ids that the engine or the scheme draws.
        for reply in call.replies:
            for new in getattr(reply, "ids", ()):
                names.setdefault(new, b"object%010d" % len(names))
            if call.name == "snapshot":
                names.setdefault(reply.handle, b"handle%010d" % len(names))
                for segment in reply.segments:
                    names.setdefault(segment.segment_id, b"segment%09d" % len(names))
    session = opened.db._asynchronous._session
    for number, keyset in enumerate(session.keychain):
        names[keyset.key_id] = b"key" * 5 + bytes([number])
        if len(session.keyset.replaces):  # a rotation asks for the deep keys too
            deep = session.keychain.schemes_under(keyset.key_id).of_depth("deep")
            names[deep.key_id] = b"deep" * 3 + b"key" + bytes([number])
    return [shape(call, names, public) for call in calls]


def compare(pair: tuple[Opened, Opened]) -> None:
    first, second = (shapes(opened) for opened in pair)
    assert [call[0] for call in first] == [call[0] for call in second]
    for one, other in zip(first, second, strict=True):
        assert one == other, f"{one[0]} differs"


def timing(reply: Any) -> bool:
    """Progress and statistics depend on the clock."""
    fields = [field.name for field, _ in reply.ListFields()]
    return fields in (["progress"], ["stats"])
