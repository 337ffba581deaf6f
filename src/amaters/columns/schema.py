"""Tables and columns: what the client knows (``Table``) and what the server may know
(``PublicTable``).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns.dictionary import DICTIONARY_BITS, Dictionary
from amaters.columns.encodings import (
    DigitsEncoding,
    Encoding,
    EncodingShape,
    Kind,
    LimbsEncoding,
    NotNullEncoding,
    OneHotEncoding,
    PrefixEncoding,
    domain_width,
)
from amaters.columns.indexes import IndexDefinition
from amaters.columns.prefixes import prefix_codes
from amaters.columns.scalars import Scalar
from amaters.columns.types import SqlType, Storage

if TYPE_CHECKING:
    from amaters.columns.batch import ColumnBatch

Query = Literal["eq", "range", "sum", "group", "prefix", "accumulate"]
QUERIES: tuple[Query, ...] = ("eq", "range", "sum", "group", "prefix", "accumulate")
ROWID = "rowid"
Codes = NDArray[np.int64] | NDArray[np.uint64]
EMPTY_DICTIONARY = Dictionary(())


@dataclass(frozen=True)
class PublicColumn:
    """A column as the server sees it."""

    id: int
    name: str
    type: SqlType
    nullable: bool
    encrypted: bool
    primary_key: bool = False
    hidden: bool = False
    queries: frozenset[Query] = frozenset()
    encodings: tuple[EncodingShape, ...] = ()
    pending: Pending | None = None
    default: Storage | None = None

    def encoding(self, kind: Kind) -> EncodingShape | None:
        """The shape of the encoding of this kind, if the column has one."""
        return next((shape for shape in self.encodings if shape.kind == kind), None)

    @property
    def written(self) -> tuple[EncodingShape, ...]:
        """What every new segment has of this column: its encodings, and those on their way."""
        return self.encodings + (self.pending.encodings if self.pending else ())


@dataclass(frozen=True)
class Pending:
    """What the server knows of a column that ALTER TABLE is changing: encodings that segments get
    one after the other, and what the column will be when all have them.
    """

    encodings: tuple[EncodingShape, ...]
    queries: frozenset[Query]
    nullable: bool


@dataclass(frozen=True)
class Column:
    """A column as the client knows it; made and validated by ``columns.declare``.

    ``minimum`` and ``maximum`` are storage values, inclusive, set for every encrypted column that
    is not TEXT
    and for a public one that declares them. ``generated``: what the column is computed from, over
    ids of others. ``categories`` are storage values in declared order.
    ``dictionary`` holds the codes of an ``eq`` TEXT column without categories; ``prefix``: how
    many bytes of a text LIKE can compare.
    ``default`` is the value of rows that were written without the column; None: NULL.
    ``target`` is the column that ALTER TABLE is making of this one; ``unready``: it is new, and
    until then can only be read. ``generations``: of its encodings, where they are not 0.
    """

    id: int
    name: str
    type: SqlType
    nullable: bool
    encrypted: bool = False
    primary_key: bool = False
    hidden: bool = False
    queries: frozenset[Query] = frozenset()
    minimum: int | None = None
    maximum: int | None = None
    categories: tuple[Storage, ...] = ()
    dictionary: Dictionary | None = None
    prefix: int = 0
    default: Storage | None = None
    target: Column | None = None
    unready: bool = False
    generations: tuple[tuple[Kind, int], ...] = ()
    generated: Scalar | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """Lowest and highest code basis: declared bounds, the type's, or for texts the range of
        codes.
        """
        if self.type.is_text:
            top = len(self.categories) - 1 if self.categories else (1 << DICTIONARY_BITS) - 1
            return 0, top
        low = self.type.minimum if self.minimum is None else self.minimum
        return low, self.type.maximum if self.maximum is None else self.maximum

    @property
    def width(self) -> int:
        """Bits w of the unsigned domain [0, 2^w) that predicates work on; even."""
        return domain_width(*self.bounds)

    @cached_property
    def encoders(self) -> tuple[Encoding, ...]:
        """One encoding per purpose, in the order digits, limbs, onehot, prefix, notnull. Empty for
        public columns.
        """
        if not self.encrypted or self.unready:
            return ()
        low, high = self.bounds
        made: list[Encoding] = []
        if self.queries & {"eq", "range"}:
            made.append(DigitsEncoding(low, self.width))
        if "sum" in self.queries:
            made.append(LimbsEncoding(low, high))
        if "group" in self.queries:
            made.append(OneHotEncoding(len(self.categories)))
        if self.prefix:
            made.append(PrefixEncoding(self.prefix))
        if self.nullable and not self.queries & {"eq", "range", "group", "prefix"}:
            made.append(NotNullEncoding())
        return tuple(made)

    @cached_property
    def encodings(self) -> tuple[EncodingShape, ...]:
        """Public shapes of ``encoders``, in the same order."""
        numbers = dict(self.generations)
        shapes = (encoder.shape for encoder in self.encoders)
        return tuple(replace(s, generation=numbers.get(s.kind, 0)) for s in shapes)

    @cached_property
    def written(self) -> tuple[EncodingShape, ...]:
        """Shapes of all that a new row is encrypted to: ``encodings``, then what the target has
        beyond them.
        """
        return tuple(shape for _, _, shape in self._writers)

    @cached_property
    def _writers(self) -> tuple[tuple[Column, Encoding, EncodingShape], ...]:
        found = {shape.name: (self, encoder, shape) for encoder, shape in self._pairs()}
        if self.target is not None:
            for encoder, shape in self.target._pairs():
                found.setdefault(shape.name, (self.target, encoder, shape))
        return tuple(found.values())

    def _pairs(self) -> Iterable[tuple[Encoding, EncodingShape]]:
        return zip(self.encoders, self.encodings, strict=True)

    def encoding(self, kind: Kind) -> EncodingShape | None:
        """The shape of the encoding of this kind, if the column has one."""
        return next((shape for shape in self.encodings if shape.kind == kind), None)

    @cached_property
    def _category_index(self) -> Mapping[Storage, int]:
        return {value: index for index, value in enumerate(self.categories)}

    def category_index(self, value: Storage) -> int | None:
        """Position of a storage value among the categories."""
        return self._category_index.get(value)

    def code(self, value: Storage) -> int | None:
        """The number that predicates use for a storage value; None for a TEXT without a code."""
        if isinstance(value, int):
            return value
        if self.categories:
            return self.category_index(value)
        return (self.dictionary or EMPTY_DICTIONARY).code(value)

    def encode(
        self,
        values: NDArray[np.generic],
        valid: NDArray[np.bool_],
        *,
        slots: int,
        positions: NDArray[np.int64],
        names: Collection[str] | None = None,
    ) -> tuple[NDArray[np.int64], ...]:
        """Slots of every encoding in ``written``, in that order; ``names``: of these only.

        Shape: values, valid, positions (rows,) storage values -> one (slices, slots) int64 per
        encoding.
        The values were validated (``ColumnBatch``); a TEXT that the dictionary lacks is an
        internal error.
        """
        out = []
        for column, encoder, shape in self._writers:
            if names is not None and shape.name not in names:
                continue
            codes = column._codes_for(shape.kind, values, valid)
            out.append(encoder.encode(codes, valid, slots, positions))
        return tuple(out)

    def _codes_for(
        self, kind: Kind, values: NDArray[np.generic], valid: NDArray[np.bool_]
    ) -> Codes:
        if kind == "notnull":
            return np.zeros(len(values), dtype=np.int64)
        if kind == "prefix":
            return prefix_codes(values, self.prefix)
        if kind == "onehot":
            return _lookup(self._category_index, values, valid)
        if not self.type.is_text:
            return values  # type: ignore[return-value]
        known = self._category_index if self.categories else None
        return _lookup(known or (self.dictionary or EMPTY_DICTIONARY).codes, values, valid)

    def public(self) -> PublicColumn:
        """This column without bounds, categories and dictionary."""
        return PublicColumn(
            id=self.id,
            name=self.name,
            type=self.type,
            nullable=self.nullable,
            encrypted=self.encrypted,
            primary_key=self.primary_key,
            hidden=self.hidden,
            queries=self.queries,
            encodings=self.encodings,
            pending=self._pending(),
            default=None if self.encrypted else self.default,
        )

    def _pending(self) -> Pending | None:
        if self.target is None:
            return None
        return Pending(
            self.written[len(self.encodings) :], self.target.queries, self.target.nullable
        )

    def with_dictionary(self, dictionary: Dictionary) -> Column:
        """This column, and what it is becoming, with another dictionary."""
        target = self.target
        if target is not None and target.dictionary is not None:
            target = replace(target, dictionary=dictionary)
        return replace(self, dictionary=dictionary, target=target)


def _lookup(
    known: Mapping[Any, int],
    values: NDArray[np.generic],
    valid: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Codes of values by dictionary; one Python lookup per distinct value where values are
    numbers.
    """
    if values.dtype == object:
        listed = zip(values.tolist(), valid.tolist(), strict=True)
        codes = [known.get(value, -1) if ok else 0 for value, ok in listed]
        found = np.array(codes, dtype=np.int64)
    else:
        distinct, inverse = np.unique(values, return_inverse=True)
        table = [known.get(value, -1) for value in distinct.tolist()]
        found = np.array(table, dtype=np.int64)[inverse]
    if bool(np.any((found < 0) & valid)):
        fail("AM-1000", what="a value without a code reached the encoder")
    return found


@dataclass(frozen=True)
class PublicTable:
    """A table as the server sees it."""

    id: bytes
    name: str
    version: int
    columns: tuple[PublicColumn, ...]
    parameter_set: str
    scheme: Literal["bgv", "noop"]
    key_id: bytes
    indexes: tuple[IndexDefinition, ...] = ()
    next_column: int = 0  # no column had this id or a higher one; 0: nothing was ever altered
    dropped_version: int = 0  # the first version without some column

    def column(self, key: str | int) -> PublicColumn:
        """The column of this name or id. Raises: AM-2001."""
        return _find(self.name, self.columns, key)

    @property
    def primary_key(self) -> PublicColumn:
        """The one primary key column."""
        return next(column for column in self.columns if column.primary_key)

    @property
    def public_columns(self) -> tuple[PublicColumn, ...]:
        """Columns whose values the server sees, in order; the primary key is one of them."""
        return tuple(column for column in self.columns if not column.encrypted)

    @property
    def encrypted_columns(self) -> tuple[PublicColumn, ...]:
        """Columns whose values the server does not see, in order."""
        return tuple(column for column in self.columns if column.encrypted)


@dataclass(frozen=True, slots=True)
class LocalRows:
    """Rows that a client has in plaintext, and sets of columns in which no two of them agree."""

    batch: ColumnBatch
    unique: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table as the client knows it; made by ``columns.declare.build_table`` or
    ``open_schema``.
    """

    id: bytes
    name: str
    version: int
    columns: tuple[Column, ...]
    parameter_set: str
    scheme: Literal["bgv", "noop"]
    key_id: bytes
    indexes: tuple[IndexDefinition, ...] = ()
    next_column: int = 0
    local: LocalRows | None = field(default=None, repr=False, compare=False)
    dropped_version: int = 0
    _by_id: Mapping[int, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {column.id: column for column in self.columns})

    def column(self, key: str | int) -> Column:
        """The column of this name (letter case does not matter) or id. Raises: AM-2001."""
        if isinstance(key, int) and key in self._by_id:
            return self._by_id[key]
        return _find(self.name, self.columns, key)

    @property
    def stored(self) -> Table:
        """The table whose rows the engine has; another one where this is a join."""
        return self

    @property
    def always_needed(self) -> frozenset[int]:
        """Columns without which ``seen`` cannot tell anything."""
        return frozenset()

    def seen(self, rows: ColumnBatch) -> ColumnBatch:
        """Stored rows with the columns that this table has besides."""
        return rows

    @property
    def is_local(self) -> bool:
        """Whether its rows are on this client only: the answer of a subquery."""
        return self.local is not None

    @property
    def unique_keys(self) -> tuple[frozenset[int], ...]:
        """Sets of column ids in which no two rows agree."""
        found = [frozenset({self.primary_key.id})]
        found += [frozenset(index.columns) for index in self.indexes if index.unique]
        return (*found, *(self.local.unique if self.local is not None else ()))

    @property
    def primary_key(self) -> Column:
        """The one primary key column; ``rowid`` when none was declared."""
        return next(column for column in self.columns if column.primary_key)

    @property
    def visible_columns(self) -> tuple[Column, ...]:
        """What SELECT * returns: everything but the hidden ``rowid``."""
        return tuple(column for column in self.columns if not column.hidden)

    @property
    def written_columns(self) -> tuple[Column, ...]:
        """What an INSERT without names gives values for: the visible ones not generated."""
        return tuple(column for column in self.visible_columns if column.generated is None)

    @property
    def public_columns(self) -> tuple[Column, ...]:
        """Columns whose values the server sees, in order; the primary key is one of them."""
        return tuple(column for column in self.columns if not column.encrypted)

    @property
    def encrypted_columns(self) -> tuple[Column, ...]:
        """Columns whose values the server does not see, in order."""
        return tuple(column for column in self.columns if column.encrypted)

    def public(self) -> PublicTable:
        """This table without anything the server must not know."""
        return PublicTable(
            id=self.id,
            name=self.name,
            version=self.version,
            columns=tuple(column.public() for column in self.columns),
            parameter_set=self.parameter_set,
            scheme=self.scheme,
            key_id=self.key_id,
            indexes=self.indexes,
            next_column=self.next_column,
            dropped_version=self.dropped_version,
        )

    @property
    def is_altering(self) -> bool:
        """Whether ALTER TABLE has something left to do."""
        return any(column.target is not None for column in self.columns)

    def with_indexes(self, indexes: Sequence[IndexDefinition]) -> Table:
        """The next version of this table, with these indexes."""
        return replace(self, version=self.version + 1, indexes=tuple(indexes))

    def with_dictionaries(self, changed: Mapping[int, Dictionary]) -> Table:
        """The next version of this table, with the dictionaries of some columns (by id)
        exchanged.
        """
        columns = tuple(
            column.with_dictionary(changed[column.id]) if column.id in changed else column
            for column in self.columns
        )
        return replace(self, version=self.version + 1, columns=columns)


C = TypeVar("C", Column, PublicColumn)


def _find(table: str, columns: Sequence[C], key: str | int) -> C:
    if isinstance(key, int):
        for column in columns:
            if column.id == key:
                return column
        fail("AM-2001", table=table, column=f"number {key}", columns=_names(columns))
    for column in columns:
        if column.name == key:
            return column
    for column in columns:
        if column.name.lower() == key.lower():
            return column
    near = difflib.get_close_matches(key, [column.name for column in columns], n=1)
    names = f"{_names(columns)} (did you mean {near[0]}?)" if near else _names(columns)
    fail("AM-2001", table=table, column=key, columns=names)


def _names(columns: Sequence[Column] | Sequence[PublicColumn]) -> str:
    return ", ".join(column.name for column in columns)
