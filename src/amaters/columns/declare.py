"""Declarations of columns, from Python's type constructors or CREATE TABLE, and their
validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NoReturn, Protocol, TypedDict, Unpack, cast

from amaters.base.errors import InvalidError, fail
from amaters.base.ids import new_id
from amaters.columns.dictionary import Dictionary
from amaters.columns.generated import with_generated
from amaters.columns.indexes import IndexDefinition, check_indexes, default_name
from amaters.columns.prefixes import split_prefix
from amaters.columns.scalars import Scalar
from amaters.columns.schema import QUERIES, ROWID, Column, Query, Table
from amaters.columns.types import (
    BIGINT,
    BLOB,
    BOOLEAN,
    DATE,
    TEXT,
    TIMESTAMP,
    SqlType,
    Storage,
    TypeKind,
    decimal_type,
    integer,
    to_storage,
)

CATEGORIES_MAX = 1024
COLUMNS_MAX = 1024
NAME_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class Declaration:
    """One column as the user wrote it, not validated yet (see ``build_column``).

    ``encrypt`` is None for a public column, else its capabilities; none of them is a sealed column.
    ``minimum``, ``maximum`` and ``values`` are Python values. ``index``: the column gets an index
    of its own. ``generated``: what its values are computed from, over names of other columns.
    ``default``: the Python value of rows that are written without the column; None: NULL.
    """

    type: SqlType
    primary_key: bool = False
    index: bool | Literal["unique"] = False
    nullable: bool = False
    encrypt: tuple[str, ...] | None = None
    minimum: object = None
    maximum: object = None
    values: tuple[object, ...] = ()
    generated: Scalar | None = None
    default: object = None


class ScalarLike(Protocol):
    """An expression of the Python API, such as ``am.col("price") * 2``."""

    def as_scalar(self) -> Scalar:
        """The same over names of columns."""
        ...


class Options(TypedDict, total=False):
    """Keyword arguments of the type constructors, as ``Declaration`` explains them."""

    primary_key: bool
    index: bool | Literal["unique"]
    nullable: bool
    encrypt: Iterable[str] | None
    min: object
    max: object
    values: Iterable[object]
    generated: ScalarLike | None
    default: object


def declare(type_: SqlType, **options: Unpack[Options]) -> Declaration:
    """A declaration of this type: what ``Int64(...)``, ``Text(...)`` and the others return."""
    encrypt = options.get("encrypt")
    if isinstance(encrypt, str):
        encrypt = [encrypt]
    generated = options.get("generated")
    return Declaration(
        type=type_,
        primary_key=options.get("primary_key", False),
        index=options.get("index", False),
        nullable=options.get("nullable", False),
        encrypt=None if encrypt is None else tuple(encrypt),
        minimum=options.get("min"),
        maximum=options.get("max"),
        values=tuple(options.get("values", ())),
        generated=None if generated is None else generated.as_scalar(),
        default=options.get("default"),
    )


def _decimal(precision: int, scale: int = 0, **options: Unpack[Options]) -> Declaration:
    """DECIMAL(precision, scale): exact, at most 18 digits."""
    return declare(decimal_type(precision, scale), **options)


def _enum(categories: Iterable[str], **options: Unpack[Options]) -> Declaration:
    """TEXT that holds one of ``categories`` only, which ``group`` needs."""
    options["values"] = tuple(categories)
    return declare(TEXT, **options)


Int8 = partial(declare, integer(8))
Int16 = partial(declare, integer(16))
Int32 = partial(declare, integer(32))
Int64 = partial(declare, integer(64))
UInt8 = partial(declare, integer(8, signed=False))
UInt16 = partial(declare, integer(16, signed=False))
UInt32 = partial(declare, integer(32, signed=False))
UInt64 = partial(declare, integer(64, signed=False))
Date = partial(declare, DATE)
Timestamp = partial(declare, TIMESTAMP)
Boolean = partial(declare, BOOLEAN)
Text = partial(declare, TEXT)
Blob = partial(declare, BLOB)
Decimal = _decimal
Enum = _enum


def build_table(
    name: str,
    declarations: Mapping[str, Declaration],
    *,
    parameter_set: str,
    scheme: Literal["bgv", "noop"],
    key_id: bytes,
    table_id: bytes | None = None,
) -> Table:
    """Version 1 of a table; a public hidden BIGINT ``rowid`` is added when no primary key is
    declared.

    Raises: AM-2020 to AM-2034, AM-2210 for what cannot be declared.
    """
    check_name(name, "the table's name")
    if not 1 <= len(declarations) <= COLUMNS_MAX:
        fail("AM-2033", table=name, limit=COLUMNS_MAX)
    columns: list[Column] = []
    seen: set[str] = set()
    key: str | None = None
    for number, (label, declaration) in enumerate(declarations.items(), start=1):
        column = build_column(label, declaration, number)
        if label.lower() in seen:
            fail("AM-2021", column=label)
        seen.add(label.lower())
        if column.primary_key:
            if key is not None:
                fail("AM-2023", first=key, second=label)
            key = label
        columns.append(column)
    for index, declaration in enumerate(declarations.values()):
        if declaration.generated is not None:
            made = with_generated(columns, columns[index], declaration.generated)
            columns[index] = made
    if key is None:
        if ROWID in seen:
            fail("AM-2034", column=ROWID)
        rowid = Column(
            len(columns) + 1, ROWID, BIGINT, nullable=False, primary_key=True, hidden=True
        )
        columns.append(rowid)
    indexes = _indexes(name, declarations, columns)
    return Table(
        id=table_id or new_id(),
        name=name,
        version=1,
        columns=tuple(columns),
        parameter_set=parameter_set,
        scheme=scheme,
        key_id=key_id,
        indexes=indexes,
    )


def _indexes(
    table: str, declarations: Mapping[str, Declaration], columns: list[Column]
) -> tuple[IndexDefinition, ...]:
    """The indexes that columns were declared with. Raises: AM-2352."""
    found: list[IndexDefinition] = []
    for column in columns:
        declared = declarations.get(column.name)
        if declared is None or not declared.index:
            continue
        unique = declared.index == "unique"
        name = default_name(table, [column.name], unique=unique)
        found.append(IndexDefinition(len(found) + 1, name, (column.id,), unique))
    check_indexes(table, found)
    return tuple(found)


def build_column(name: str, declaration: Declaration, number: int) -> Column:
    """The validated column with id ``number``. Raises: AM-2020 to AM-2032, AM-2064."""
    check_name(name, "a column's name")
    encrypted = declaration.encrypt is not None
    _check_key(name, declaration)
    if encrypted and declaration.index:
        fail("AM-2031", column=name)
    written, prefix = split_prefix(name, declaration.encrypt or ())
    queries = _queries(name, declaration.type, written)
    categories = _categories(name, declaration, queries)
    minimum, maximum = _bounds(name, declaration, categories)
    needs_dictionary = declaration.type.kind is TypeKind.TEXT and "eq" in queries
    made = Column(
        id=number,
        name=name,
        type=declaration.type,
        nullable=declaration.nullable,
        encrypted=encrypted,
        primary_key=declaration.primary_key,
        queries=queries,
        minimum=minimum,
        maximum=maximum,
        categories=categories,
        dictionary=Dictionary(()) if needs_dictionary and not categories else None,
        prefix=prefix,
    )
    return made if declaration.default is None else _with_default(made, declaration)


def _with_default(column: Column, declaration: Declaration) -> Column:
    """The column with its DEFAULT, which it must allow. Raises: AM-2064."""
    if declaration.generated is not None or column.primary_key:
        kind = "generated" if declaration.generated is not None else "the primary key"
        fail("AM-2064", column=column.name, what=f"it is {kind}")
    try:
        default = to_storage(column.type, declaration.default)
    except InvalidError:
        default = None
    if default is None:
        fail("AM-2064", column=column.name, what=f"it is no {column.type.sql_name}")
    outside = bool(column.categories) and default not in column.categories
    if column.minimum is not None and column.maximum is not None and not column.categories:
        outside = not column.minimum <= int(default) <= column.maximum
    if outside:
        fail("AM-2064", column=column.name, what="it is outside of MIN and MAX, or VALUES")
    dictionary = column.dictionary
    if dictionary is not None:
        dictionary = dictionary.extended([str(default)], column=column.name)
    return replace(column, default=default, dictionary=dictionary)


def check_name(name: str, what: str) -> None:
    """Raises: AM-2020 unless a table or column may be called so."""
    if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable() and name.strip() == name):
        fail("AM-2020", what=what)


def _check_key(name: str, declaration: Declaration) -> None:
    if not declaration.primary_key:
        return
    if declaration.encrypt is not None:
        fail("AM-2022", column=name)
    if declaration.nullable:
        fail("AM-2032", column=name, what="nullable")
    if declaration.type.kind is TypeKind.BOOLEAN:
        fail("AM-2032", column=name, what="a BOOLEAN")


def _queries(name: str, type_: SqlType, given: tuple[str, ...]) -> frozenset[Query]:
    """The capabilities, each possible for the type. Raises: AM-2024, AM-2028."""
    for query in given:
        if query not in QUERIES:
            fail("AM-2028", column=name, query=query)
    if "sum" in given and not type_.is_numeric:
        _refuse(name, type_, "sum", "only numbers can be summed")
    if given and type_.kind is TypeKind.BLOB:
        _refuse(name, type_, given[0], "declare it without queries: it is sealed then")
    if "range" in given and type_.kind is TypeKind.TEXT:
        fix = "declare TEXT for eq, for prefix(n), or for group with VALUES"
        _refuse(name, type_, "range", fix)
    if "prefix" in given and type_.kind is not TypeKind.TEXT:
        _refuse(name, type_, "prefix", "declare range: only texts have prefixes")
    if "accumulate" in given and set(given) != {"sum", "accumulate"}:
        fix = "declare it for sum,accumulate: other encodings would have to follow each change"
        _refuse(name, type_, "accumulate", fix)
    return frozenset(cast("tuple[Query, ...]", given))


def _refuse(name: str, type_: SqlType, query: str, fix: str) -> NoReturn:
    fail("AM-2024", column=name, type=type_.sql_name, query=query, fix=fix)


def _categories(
    name: str, declaration: Declaration, queries: frozenset[Query]
) -> tuple[Storage, ...]:
    """Storage values of VALUES; a BOOLEAN's are known. Raises: AM-2025, AM-2027, AM-2030."""
    if not declaration.values:
        if "group" not in queries:
            return ()
        if declaration.type.kind is TypeKind.BOOLEAN:
            return (0, 1)
        fail("AM-2025", column=name)
    values = tuple(_storage(name, declaration, value, "VALUES") for value in declaration.values)
    if len(set(values)) != len(values) or len(values) > CATEGORIES_MAX:
        fail("AM-2030", column=name, limit=CATEGORIES_MAX)
    return values


def _bounds(
    name: str, declaration: Declaration, categories: tuple[Storage, ...]
) -> tuple[int | None, int | None]:
    """MIN and MAX as storage values; for encrypted numbers always set. Raises: AM-2026, AM-2027."""
    type_ = declaration.type
    declared = (declaration.minimum, declaration.maximum)
    if type_.is_text:
        if declared != (None, None):
            fail("AM-2027", column=name, what="MIN or MAX", type=type_.sql_name)
        return None, None
    if declared == (None, None) and declaration.encrypt is None:
        return None, None
    numbers = [int(value) for value in categories] or [type_.minimum, type_.maximum]
    low, high = min(numbers), max(numbers)
    if declaration.minimum is not None:
        low = int(_storage(name, declaration, declaration.minimum, "MIN"))
    if declaration.maximum is not None:
        high = int(_storage(name, declaration, declaration.maximum, "MAX"))
    if low > high:
        fail("AM-2026", column=name)
    if categories and not (low <= min(numbers) and max(numbers) <= high):
        fail("AM-2027", column=name, what="VALUES outside MIN and MAX", type=type_.sql_name)
    return low, high


def _storage(name: str, declaration: Declaration, value: object, what: str) -> Storage:
    try:
        found = to_storage(declaration.type, value)
    except InvalidError:
        found = None
    if found is None:
        fail("AM-2027", column=name, what=what, type=declaration.type.sql_name)
    return found
