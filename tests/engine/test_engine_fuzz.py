"""Random requests: the engine answers, or refuses with a typed error."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import engine_support as support
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amaters.base.errors import AmatersError
from amaters.columns.schema import Table
from amaters.engine.service import open_engine
from amaters.wire import service_pb2 as pb
from amaters.wire.service import METHODS, Service, chunks_of


def values(draw: Any, field: FieldDescriptor, known: list[bytes]) -> Any:
    """A random value of a field, often one that means something."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return message(draw, field.message_type._concrete_class, known)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.one_of(st.sampled_from(known), st.binary(max_size=40)))
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return draw(st.sampled_from(["", "noop", "bgv", "digits", "people", "x" * 300]))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return draw(st.floats(allow_nan=False))
    wide = kind in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_INT64)
    top = (1 << (63 if wide else 31)) - 1
    return draw(st.sampled_from([0, 1, 2, 3, 5, 1000, top]))


def message(draw: Any, kind: type[Any], known: list[bytes]) -> Any:
    """A random message."""
    made = kind()
    for field in made.DESCRIPTOR.fields:
        if not draw(st.integers(0, 3)):
            continue
        if field.is_repeated:
            for _ in range(draw(st.integers(0, 3))):
                value = values(draw, field, known)
                getattr(made, field.name).append(value)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            getattr(made, field.name).CopyFrom(values(draw, field, known))
        else:
            setattr(made, field.name, values(draw, field, known))
    return made


async def call(service: Service, name: str, request: Any) -> None:
    """Any method to its end. Raises: AmatersError."""
    method, target = METHODS[name], getattr(service, name)
    if method.streams:
        async for _ in target(request):
            pass
    elif method.uploads:
        await target(request, chunks_of(b"some", b"chunks"))
    else:
        await target(request)


def test_random_requests_are_answered_or_refused() -> None:
    """No request ends in anything but a reply or a typed error other than AM-1000."""

    async def prepare() -> tuple[Any, Table, list[bytes]]:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1, 2], segments=[[10, 11]])
        manifest = await support.snapshot(service, table)
        batch = support.rows_of(table, [1, 50])
        known = [
            table.id,
            manifest.handle,
            manifest.segments[0].segment_id,
            *(await service.reserve(pb.ReserveRequest(objects=2))).ids,
            await support.upload(service, support.public_block(table, batch)),
            support.public_block(table, batch),
            support.key_block([1, 10]),
            support.KEYSET_ID,
            support.KEY_ID,
            b"r" * 16,
        ]
        return service, table, known

    runner = asyncio.Runner()
    service, table, known = runner.run(prepare())
    refused: set[str] = set()

    @given(st.data())
    @settings(
        max_examples=300,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def check(data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(METHODS)))
        request = message(data.draw, METHODS[name].request, known)
        if name == "drop_table":
            request.table_id = b"not the table"
        try:
            runner.run(call(service, name, request))
        except AmatersError as error:
            assert error.code != "AM-1000"
            refused.add(error.code)

    with runner:
        check()
        runner.run(support.read_all(service, table))
        runner.run(service.close())
    assert len(refused) > 4  # the draws reach well beyond one guard


def test_the_engine_never_loads_a_secret() -> None:
    """The process behind the pipe has no module that could hold a secret key."""
    code = (
        "import sys, amaters.engine.pipe, amaters.engine.executor; "
        "print([m for m in sys.modules if m.startswith('amaters.fhe.secret')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
