"""The effects of each kind of command: the only way the state changes, live or replayed."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError

from amaters.base.errors import fail
from amaters.storage.merging import apply_merge, merge_rows
from amaters.storage.rows import BatchRows, CommandRows, ReadObject, build_rows, read_rows
from amaters.storage.state import State
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


def decode_command(data: bytes) -> cb.Command:
    """A command from its log record. Raises: AM-4001."""
    try:
        return cb.Command.FromString(data)
    except DecodeError:
        fail("AM-4001", file="log", what="a record that is no command")


def rows_of(command: cb.Command, read: ReadObject) -> CommandRows | None:
    """What ``apply`` needs beside the command, read from its objects.

    Raises: AM-3032, AM-3033, AM-4001, AM-4007.
    """
    if command.HasField("batch"):
        return read_rows(command.batch, command.batch.key_column, read)
    if command.HasField("multi_batch"):
        parts = command.multi_batch.parts
        return tuple(read_rows(part, part.key_column, read) for part in parts)
    if command.HasField("key_switch") and command.key_switch.HasField("tail"):
        tail = command.key_switch.tail
        return read_rows(tail, tail.key_column, read)
    if command.HasField("index_build"):
        return build_rows(command.index_build, read)
    if command.HasField("segment_merge"):
        return merge_rows(command.segment_merge, read)
    return None


def apply(state: State, position: int, command: cb.Command, rows: CommandRows | None) -> bytes:
    """The effects of one command, the same whether live or replayed; returns its reply."""
    kind = command.WhichOneof("command")
    reply: pb.Done | pb.CommitReply | pb.BatchReply = pb.Done(position=position)
    with state.command(position):
        if kind in _PLAIN:
            _PLAIN[kind](state, command)
        elif kind == "batch" and isinstance(rows, BatchRows):
            state.apply_batch(state.tid(command.batch.request.table_id), command.batch, rows)
            reply = pb.CommitReply(position=position)
        elif kind == "multi_batch" and isinstance(rows, tuple):
            for part, found in zip(command.multi_batch.parts, rows, strict=True):
                state.apply_batch(state.tid(part.request.table_id), part, found)
            reply = pb.BatchReply(position=position)
        elif kind == "segment_merge" and isinstance(rows, BatchRows):
            merge = command.segment_merge
            apply_merge(state, state.tid(merge.table_id), merge, rows)
        elif kind == "index_build" and isinstance(rows, BatchRows):
            build = command.index_build
            state.build_index(state.tid(build.table_id), build, rows)
        elif kind == "key_switch" and not isinstance(rows, tuple):
            state.switch_keys(command.key_switch, rows)
        else:
            fail("AM-4001", file="log", what="an unknown command")
        serialised = reply.SerializeToString()
        state.remember(position, command, serialised)
    return serialised


def _update_schema(state: State, command: cb.Command) -> None:
    schema = command.schema_update.schema
    state.update_schema(state.tid(schema.table_id), schema)


# Commands whose effects need nothing beside them.
_PLAIN: dict[str, Callable[[State, cb.Command], None]] = {
    "keyset_put": lambda state, command: state.put_keyset(command.keyset_put),
    "table_create": lambda state, command: state.create_table(command.table_create.schema),
    "table_drop": lambda state, command: state.drop_table(state.tid(command.table_drop.table_id)),
    "schema_update": _update_schema,
    "index_register": lambda state, command: state.register_index(command.index_register),
    "segment_encode": lambda state, command: state.encode_segment(command.segment_encode),
    "history_mark": lambda state, command: None,  # its position is all there is
    "segment_rekey": lambda state, command: state.rekey_segment(command.segment_rekey),
    "rotation_end": lambda state, command: state.end_rotation(command.rotation_end),
}
