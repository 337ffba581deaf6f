"""Errors on the wire: code and fields, remade on the other side from the same table."""

from __future__ import annotations

from amaters.base.errors import TABLE, AmatersError, make
from amaters.wire import service_pb2 as pb

TEXT_MAX = 1000


def encode_error(error: AmatersError) -> pb.Error:
    """The message that carries ``error``."""
    message = pb.Error(code=error.code)
    for name, value in error.fields.items():
        field = message.fields.add(name=name)
        if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
            field.integer = value
        elif isinstance(value, float):
            field.real = value
        else:
            field.text = str(value)[:TEXT_MAX]
    return message


def decode_error(message: pb.Error) -> AmatersError:
    """The error a message carries; one that this version does not know becomes AM-3002."""
    fields: dict[str, object] = {
        field.name: getattr(field, field.WhichOneof("value") or "text") for field in message.fields
    }
    if message.code not in TABLE:
        return make("AM-3002", {"what": f"error code {message.code[:16]!r} is unknown here"})
    try:
        return make(message.code, fields)
    except (KeyError, ValueError, IndexError):
        return make("AM-3002", {"what": f"error {message.code} without its fields"})
