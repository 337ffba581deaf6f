"""Schema records: only this keyset's newest schema is believed, whatever the server sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from columns_support import KEYS, RNG, TestKeys, full_table, make_table, thorough
from hypothesis import given
from hypothesis import strategies as st

from amaters.base.errors import AmatersError, DataError, DeniedError
from amaters.columns import declare as am
from amaters.columns import records
from amaters.columns.dictionary import Dictionary
from amaters.columns.records import SchemaRecord, open_schema, seal_schema
from amaters.wire import schema_pb2 as pb

TABLE = full_table()
RECORD = seal_schema(TABLE, KEYS, rng=RNG)


def authentic(record: SchemaRecord, **changes: Any) -> SchemaRecord:
    """A changed record whose MAC is right: what a buggy client could write."""
    changed = replace(record, **changes)
    mac = records._mac(KEYS, changed.version, changed.public_bytes, changed.sealed_bytes)
    return replace(changed, mac=mac)


def test_round_trip() -> None:
    """Bounds, categories, dictionaries and every flag survive; the server's part decodes alike."""
    table = TABLE.with_dictionaries({7: Dictionary(("Paris", "", "Köln"))})
    assert table.version == 2
    record = seal_schema(table, KEYS, rng=RNG)
    opened = open_schema(record, KEYS, seen={table.id: 2})
    assert opened == table
    assert opened.column("city").code("Köln") == 2
    assert records.decode_public(record.public_bytes) == table.public()


def test_extreme_bounds_round_trip() -> None:
    """64-bit bounds of both signs and numeric VALUES survive."""
    table = make_table(
        {
            "u": am.UInt64(encrypt=["eq", "sum"]),
            "i": am.Int64(encrypt=["range", "sum"]),
            "v": am.UInt64(values=[2**64 - 1, 0], encrypt=["group"]),
        }
    )
    assert open_schema(seal_schema(table, KEYS, rng=RNG), KEYS) == table


def test_the_server_reads_no_secret() -> None:
    """Neither categories nor dictionary values nor bounds are in any byte the server gets."""
    table = TABLE.with_dictionaries({7: Dictionary(("Paris-on-the-Seine",))})
    record = seal_schema(table, KEYS, rng=RNG)
    for part in (record.public_bytes, record.sealed_bytes):
        assert b"Paris" not in part
    bounds = (1_000_000, 120)
    plain = pb.PublicTable.FromString(record.public_bytes)
    assert all(str(bound) not in str(plain) for bound in bounds)


def test_padding_hides_a_small_dictionary() -> None:
    """One more short value mostly leaves the sealed length as it was."""
    lengths = set()
    for count in range(100):
        table = TABLE.with_dictionaries({7: Dictionary(tuple(f"{n:03}" for n in range(count)))})
        lengths.add(len(seal_schema(table, KEYS, rng=RNG).sealed_bytes))
    assert len(lengths) < 40


def test_forged_and_old_schemas_are_denied() -> None:
    """Another keyset's schema, changed parts, or an older version: Denied, with the right code."""
    public = replace(TABLE.public(), name="payroll")
    forged = [
        replace(RECORD, public_bytes=records.encode_public(public)),
        replace(RECORD, version=2),
        replace(RECORD, sealed_bytes=seal_schema(TABLE, KEYS, rng=RNG).sealed_bytes),
        replace(RECORD, mac=b""),
        replace(RECORD, public_bytes=b"\xff\xff"),
    ]
    for record in forged:
        with pytest.raises(DeniedError, match="AM-2050"):
            open_schema(record, KEYS)
    with pytest.raises(DeniedError, match="AM-2050"):
        open_schema(RECORD, TestKeys(mac_key=b"n" * 32))
    with pytest.raises(DeniedError, match="AM-2051"):
        open_schema(RECORD, KEYS, seen={TABLE.id: 2})


def test_a_column_cannot_be_turned_public() -> None:
    """The lie the MAC is there for: an encrypted column presented as public."""
    public = TABLE.public()
    salary = replace(public.column("salary"), encrypted=False, encodings=())
    columns = tuple(salary if c.id == salary.id else c for c in public.columns)
    lie = records.encode_public(replace(public, columns=columns))
    assert not records.decode_public(lie).column("salary").encrypted
    with pytest.raises(DeniedError, match="AM-2050"):
        open_schema(replace(RECORD, public_bytes=lie), KEYS)


def test_mixed_parts_are_damage() -> None:
    """Authentic but inconsistent parts (of other tables, versions, keys) are typed Data errors."""
    other = make_table({"id": am.Int64(primary_key=True)})
    narrow = replace(TABLE.column("age"), maximum=3)
    changed = replace(TABLE, columns=tuple(narrow if c.id == 3 else c for c in TABLE.columns))
    cases = [
        authentic(RECORD, public_bytes=records.encode_public(other.public())),
        authentic(RECORD, public_bytes=records.encode_public(changed.public())),
        authentic(RECORD, version=5),
        authentic(RECORD, sealed_bytes=b""),
        authentic(RECORD, public_bytes=b"\xff\xff"),
    ]
    for record in cases:
        with pytest.raises(DataError, match="AM-2052"):
            open_schema(record, KEYS)
    with pytest.raises(DataError, match="AM-2052"):
        open_schema(RECORD, TestKeys(sealing_key=b"n" * 32))


def _break(message: Any, path: str, value: Any) -> bytes:
    """The public part with one field of its first (or named) column or encoding changed."""
    target, *fields = [message, *path.split(".")]
    for name in fields[:-1]:
        target = target[int(name)] if name.isdigit() else getattr(target, name)
    setattr(target, fields[-1], value)
    return message.SerializeToString()  # type: ignore[no-any-return]


BROKEN: list[tuple[str, Any]] = [
    ("format", 2), ("version", 0), ("id", b"short"), ("key_id", b""), ("scheme", "plain"),
    ("name", ""), ("parameter_set", ""), ("columns.0.id", 0), ("columns.0.id", 2),
    ("columns.0.id", 1 << 20), ("columns.0.name", ""), ("columns.0.name", "DEPT"),
    ("columns.0.primary_key", False), ("columns.0.encrypted", True), ("columns.0.nullable", True),
    ("columns.1.primary_key", True), ("columns.0.type.kind", 0), ("columns.0.type.bits", 9),
    ("columns.7.type.precision", 40), ("columns.2.encrypted", False),
    ("columns.2.encodings.0.kind", 0), ("columns.2.encodings.0.slices", 12),
    ("columns.2.encodings.0.bits", 7), ("columns.2.encodings.0.bits", 1 << 31),
    ("columns.2.encodings.0.digits", 5), ("columns.2.encodings.0.bounds.0.count", 1 << 31),
    ("columns.2.encodings.0.bounds.0.low", 1), ("columns.2.encodings.0.bounds.0.high", 1 << 20),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), BROKEN)
def test_every_public_field_is_checked(path: str, value: Any) -> None:
    """One impossible field is enough for a Data error."""
    message = pb.PublicTable.FromString(RECORD.public_bytes)
    with pytest.raises(DataError, match="AM-2052"):
        records.decode_public(_break(message, path, value))


@thorough
@given(st.data())
def test_public_parser_survives_any_bytes(data: st.DataObject) -> None:
    """Random bytes, and the real part with random changes: a table or a typed error."""
    raw = bytearray(data.draw(st.binary(max_size=80) | st.just(RECORD.public_bytes)))
    for _ in range(data.draw(st.integers(1, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        table = records.decode_public(bytes(raw))
    except DataError:
        return
    assert records.decode_public(records.encode_public(table)) == table


@thorough
@given(st.data())
def test_opening_survives_any_bytes(data: st.DataObject) -> None:
    """Whatever was sealed under the right keys: a table or a typed error, nothing else."""
    plain = bytearray(data.draw(st.binary(max_size=60) | st.just(records._encode_sealed(TABLE))))
    for _ in range(data.draw(st.integers(0, 3))):
        if plain:
            plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    framed = len(plain).to_bytes(4, "little") + bytes(plain)
    binding = records._binding(TABLE.id, TABLE.version)
    sealed = records.seal_one(KEYS, records._LABEL, framed, binding, rng=RNG)
    try:
        open_schema(authentic(RECORD, sealed_bytes=sealed), KEYS)
    except AmatersError:
        return


def test_size_limits() -> None:
    """Parts beyond their limits are refused before they are parsed."""
    with pytest.raises(DataError, match="too long"):
        records.decode_public(bytes(records.PUBLIC_BYTES_MAX + 1))
