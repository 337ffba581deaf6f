"""Blocks and packs: exact round trips, and any other bytes refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.base.errors import AmatersError, make
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb
from amaters.wire.errors import decode_error, encode_error

cells = st.lists(st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1)), max_size=20)
texts = st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=20)


def column(
    values: list[object], dtype: object, filler: object
) -> tuple[blocks.Values, blocks.Valid]:
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    data = np.empty(len(values), dtype=dtype)  # type: ignore[call-overload]
    data[:] = [filler if value is None else value for value in values]
    return data, valid


@given(cells, texts)
@settings(deadline=None)
def test_blocks_round_trip(numbers: list[int | None], words: list[str | None]) -> None:
    """Values, validity and column ids come back as they were."""
    rows = min(len(numbers), len(words))
    columns = {
        3: column(list(numbers[:rows]), np.int64, 0),
        9: column([None if n is None else n % 2**64 for n in numbers[:rows]], np.uint64, 0),
        70000: column(list(words[:rows]), object, ""),
    }
    block = blocks.decode_block(blocks.encode_block(dict(columns)))
    assert block.rows == rows
    for key, (values, valid) in columns.items():
        assert block.columns[key][0].tolist() == values.tolist()
        assert block.columns[key][0].dtype == values.dtype
        assert block.columns[key][1].tolist() == valid.tolist()


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_packs_round_trip(blobs: list[bytes]) -> None:
    """Blobs come back in order."""
    assert [bytes(blob) for blob in blocks.decode_pack(blocks.encode_pack(blobs))] == blobs


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """Random bytes are neither a block nor a pack."""
    for decode in (blocks.decode_block, blocks.decode_pack):
        with pytest.raises(AmatersError, match="AM-3002"):
            decode(data)


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(deadline=None, max_examples=200)
def test_damaged_blocks_are_typed_errors_or_blocks(byte: int, bit: int) -> None:
    """A flipped bit never raises anything but AM-3002 (storage checksums tell damage)."""
    words = np.array(["a", "bb", ""], dtype=object)
    for data, decode in (
        (blocks.encode_block({1: (np.arange(3), None), 2: (words, None)}), blocks.decode_block),
        (blocks.encode_pack([b"abc", b"", b"x" * 20]), blocks.decode_pack),
    ):
        damaged = bytearray(data)
        damaged[byte % len(data)] ^= 1 << bit
        try:
            decode(damaged)  # type: ignore[operator]
        except AmatersError as error:
            assert error.code == "AM-3002"


def test_blocks_are_compressed_and_older_ones_are_read() -> None:
    """A block of some rows is smaller than its Arrow stream, which is read as well; noise, which
    does not shrink, is kept as it is; a header that lies about the size is refused.
    """
    import pyarrow as pa

    values = np.arange(5000, dtype=np.int64)
    data = blocks.encode_block({7: (values, None)})
    batch = pa.record_batch([pa.array(values)], names=["7"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    plain = sink.getvalue().to_pybytes()
    assert len(data) < 0.7 * len(plain)
    for one in (data, plain):
        assert blocks.decode_block(one).columns[7][0].tolist() == values.tolist()
    noise = np.random.default_rng(1).integers(-(2**63), 2**63, 5000)
    assert blocks.encode_block({7: (noise, None)})[:4] == plain[:4]
    for claimed in (len(plain) - 1, len(plain) + 1, 1 << 50, 0):
        lying = data[:4] + claimed.to_bytes(8, "little") + data[12:]
        with pytest.raises(AmatersError, match="AM-3002"):
            blocks.decode_block(lying)


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(deadline=None, max_examples=100)
def test_damaged_compressed_blocks(byte: int, bit: int) -> None:
    """A flipped bit never raises anything but AM-3002."""
    damaged = bytearray(blocks.encode_block({1: (np.arange(200), None)}))
    assert damaged[:4] == b"AMZ1"
    damaged[byte % len(damaged)] ^= 1 << bit
    try:
        blocks.decode_block(damaged)
    except AmatersError as error:
        assert error.code == "AM-3002"


def test_pack_offsets_guard_the_total() -> None:
    """Offsets that do not end where the pack ends are refused."""
    pack = blocks.encode_pack([b"abc", b"de"])
    head = pack[: blocks.pack_table_bytes(2)]
    assert blocks.pack_offsets(head, len(pack)).tolist() == [32, 35, 37]
    for total in (len(pack) - 1, len(pack) + 1):
        with pytest.raises(AmatersError, match="AM-3002"):
            blocks.pack_offsets(head, total)


def test_unknown_and_incomplete_errors_become_typed_ones() -> None:
    """An error of a newer version, or one without its fields, is still an AmatersError."""
    assert decode_error(pb.Error(code="AM-9999")).code == "AM-3002"
    assert decode_error(pb.Error(code="AM-3034")).code == "AM-3002"
    error = make("AM-4002", {"path": "/x", "pid": "12"})
    assert str(decode_error(encode_error(error))) == str(error)
