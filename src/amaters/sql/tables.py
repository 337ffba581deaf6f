"""CREATE TABLE, DROP TABLE and COPY: text to declarations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sqlglot import exp

from amaters.base.errors import InvalidError
from amaters.columns.declare import Declaration, build_table
from amaters.columns.scalars import Scalar
from amaters.columns.schema import Table
from amaters.columns.types import (
    BLOB,
    BOOLEAN,
    DATE,
    TEXT,
    TIMESTAMP,
    SqlType,
    TypeKind,
    decimal_type,
    from_storage,
    from_text,
    integer,
)
from amaters.plan.expressions import CopyFrom, CreateTable, DropTable, Value
from amaters.sql.dialect import Encrypted, Generated
from amaters.sql.generated import bind_generated
from amaters.sql.literals import Arguments, decimal_sizes, literal
from amaters.sql.scope import Catalogue, find_table, only, refuse, wrong

_DType = exp.DataType.Type
_TYPES: Mapping[object, SqlType] = {
    _DType.TINYINT: integer(8),
    _DType.SMALLINT: integer(16),
    _DType.INT: integer(32),
    _DType.BIGINT: integer(64),
    _DType.UTINYINT: integer(8, signed=False),
    _DType.USMALLINT: integer(16, signed=False),
    _DType.UINT: integer(32, signed=False),
    _DType.UBIGINT: integer(64, signed=False),
    _DType.DATE: DATE,
    _DType.BOOLEAN: BOOLEAN,
    _DType.TEXT: TEXT,
    _DType.VARCHAR: TEXT,
    _DType.TIMESTAMP: TIMESTAMP,
    _DType.TIMESTAMPNTZ: TIMESTAMP,
    _DType.BLOB: BLOB,
    _DType.VARBINARY: BLOB,
}
_TYPE_NAMES = (
    "use TINYINT SMALLINT INTEGER BIGINT (or U...), DECIMAL(p,s), DATE, TIMESTAMP, BOOLEAN, TEXT "
    "or BLOB"
)
_ENCRYPTED = "write ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 120, VALUES = 'A,B')"
_COPY_OPTIONS = {
    "format",
    "header",
    "delimiter",
    "delim",
    "sep",
    "null",
    "nullstr",
    "quote",
    "escape",
}
_CANONICAL = {"delim": "delimiter", "sep": "delimiter", "nullstr": "null"}


@dataclass(frozen=True, slots=True)
class NewTables:
    """What the keyset of a database decides about tables created in it.

    ``key_of``: parameter set and key id of tables of a depth, 'default' or 'deep'.
    """

    scheme: Literal["bgv", "noop"]
    key_of: Callable[[str], tuple[str, bytes]]


def bind_create(tree: exp.Create, new: NewTables, arguments: Arguments) -> CreateTable:
    """The table a CREATE TABLE declares. Raises: AM-2020 to AM-2035, AM-2205, AM-2208."""
    if str(tree.args.get("kind")).upper() != "TABLE":
        refuse(tree, f"CREATE {tree.args.get('kind')}", "create tables and indexes only")
    only(tree, ("this", "kind", "exists", "properties"), "write CREATE TABLE t (columns)")
    schema = tree.this
    if not isinstance(schema, exp.Schema):
        refuse(tree, "CREATE TABLE without columns", "write CREATE TABLE t (columns)")
    name = _table_name(schema.this)
    declarations: dict[str, Declaration] = {}
    keys: list[exp.PrimaryKey] = []
    for node in schema.expressions:
        if isinstance(node, exp.PrimaryKey):
            keys.append(node)
            continue
        if not isinstance(node, exp.ColumnDef):
            refuse(node, f"{node.key.upper()} in CREATE TABLE", "declare columns only")
        if node.name in declarations:
            wrong(node, f"column {node.name} is declared twice", "rename one of them")
        declarations[node.name] = column_declaration(node, arguments)
    for key in keys:
        _apply_key(key, declarations)
    parameter_set, key_id = new.key_of(_depth(tree, arguments))
    table = build_table(
        name, declarations, parameter_set=parameter_set, scheme=new.scheme, key_id=key_id
    )
    return CreateTable(table, if_not_exists=bool(tree.args.get("exists")))


def _table_name(node: exp.Expr) -> str:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        refuse(node, "this form of table name", "name the table alone")
    only(node, ("this",), "name the table alone")
    return node.name


def _apply_key(node: exp.PrimaryKey, declarations: dict[str, Declaration]) -> None:
    """``PRIMARY KEY (column)`` after the columns."""
    if len(node.expressions) != 1:
        refuse(node, "a primary key of several columns", "use one column, or none for rowid")
    name = node.expressions[0].name
    known = next((label for label in declarations if label.lower() == name.lower()), None)
    if known is None:
        wrong(node, f"PRIMARY KEY names {name}, which is not declared", "declare the column")
    column = declarations[known]
    declarations[known] = replace(column, primary_key=True, nullable=False)


def _depth(tree: exp.Create, arguments: Arguments) -> str:
    """``WITH (DEPTH = ...)``: 'default' or 'deep'."""
    depth: Value = "default"
    properties = tree.args.get("properties")
    for node in properties.expressions if properties is not None else ():
        if not isinstance(node, exp.Property) or node.name.upper() != "DEPTH":
            refuse(node, "this table option", "the only option is DEPTH = 'default' or 'deep'")
        depth = literal(node.args["value"], arguments).value
        if depth not in ("default", "deep"):
            wrong(node, "DEPTH is neither 'default' nor 'deep'", "write DEPTH = 'default'")
    return str(depth)


def column_declaration(node: exp.ColumnDef, arguments: Arguments) -> Declaration:
    """What the definition of a column declares. Raises: AM-2029, AM-2205, AM-2208."""
    type_ = _type(node)
    primary_key, nullable = False, True
    encrypted: exp.Expr | None = None
    generated: Scalar | None = None
    default: Value = None
    for constraint in node.args.get("constraints") or ():
        match constraint.args.get("kind"):
            case exp.PrimaryKeyColumnConstraint():
                primary_key, nullable = True, False
            case exp.NotNullColumnConstraint() as null:
                nullable = bool(null.args.get("allow_null"))
            case Encrypted() as found:
                encrypted = found
            case exp.DefaultColumnConstraint() as found:
                default = literal(found.this, arguments).value
            case Generated() as found:
                generated = bind_generated(found, arguments)
            case other:
                fix = "the constraints are PRIMARY KEY, NOT NULL, DEFAULT, ENCRYPTED, GENERATED"
                refuse(constraint, f"{(other or constraint).key.upper()} on a column", fix)
    declared = Declaration(type_, primary_key=primary_key, nullable=nullable)
    if encrypted is not None:
        declared = _encrypted(encrypted, type_, arguments, (primary_key, nullable))
    if isinstance(default, str):
        default = read_value(type_, default)
    return replace(declared, generated=generated, default=default)


def _encrypted(
    node: exp.Expr, type_: SqlType, arguments: Arguments, flags: tuple[bool, bool]
) -> Declaration:
    """A column with ``ENCRYPTED [WITH (...)]``; ``flags``: primary key, nullable."""
    given: dict[str, tuple[Value, ...]] = {}
    for option in node.expressions:
        name = option.name.upper()
        if name not in ("QUERIES", "MIN", "MAX", "VALUES") or name in given:
            refuse(option, f"{name} here", _ENCRYPTED)
        given[name] = _values(option.args["value"], arguments)
        if name in ("MIN", "MAX", "QUERIES") and len(given[name]) != 1:
            wrong(option, f"{name} takes one value", _ENCRYPTED)
    queries = given.get("QUERIES", ("",))[0]
    if not isinstance(queries, str):
        wrong(node, "QUERIES is no text", _ENCRYPTED)
    names = (word.strip().lower() for word in queries.split(","))  # prefix(8) has no comma
    return Declaration(
        type_,
        primary_key=flags[0],
        nullable=flags[1],
        encrypt=tuple(name for name in names if name),
        minimum=_bound(type_, given.get("MIN", (None,))[0]),
        maximum=_bound(type_, given.get("MAX", (None,))[0]),
        values=_categories(type_, given.get("VALUES")),
    )


def _values(node: exp.Expr, arguments: Arguments) -> tuple[Value, ...]:
    """One constant, or a bracketed list of them."""
    if isinstance(node, exp.Tuple):
        return tuple(literal(item, arguments).value for item in node.expressions)
    return (literal(node, arguments).value,)


def _bound(type_: SqlType, value: Value) -> Value:
    return read_value(type_, value) if isinstance(value, str) else value


def _categories(type_: SqlType, given: tuple[Value, ...] | None) -> tuple[Value, ...]:
    """VALUES as a list, or as one text with commas between the values."""
    if given is None:
        return ()
    if len(given) == 1 and isinstance(given[0], str):
        return tuple(read_value(type_, part.strip()) for part in given[0].split(","))
    return tuple(read_value(type_, v) if isinstance(v, str) else v for v in given)


def read_value(type_: SqlType, text: str) -> Value:
    """A value written as text; as it is when it does not fit, which ``build_table`` reports."""
    if type_.kind is TypeKind.TEXT:
        return text
    try:
        return from_storage(type_, from_text(type_, text))
    except InvalidError:
        return text


def _type(node: exp.ColumnDef) -> SqlType:
    kind = node.args.get("kind")
    if kind is None:
        wrong(node, f"column {node.name} has no type", _TYPE_NAMES)
    if kind.this is _DType.DECIMAL:
        sizes = decimal_sizes(kind)
        precision = sizes[0] if sizes else 18
        default = 0 if sizes else 3
        return decimal_type(precision, sizes[1] if len(sizes) > 1 else default)
    found = _TYPES.get(kind.this)
    if found is None:
        refuse(node, f"type {kind.sql('duckdb')} of column {node.name}", _TYPE_NAMES)
    return found


def bind_drop(tree: exp.Drop) -> DropTable:
    """DROP TABLE [IF EXISTS] t. Raises: AM-2205."""
    if str(tree.args.get("kind")).upper() != "TABLE":
        refuse(tree, f"DROP {tree.args.get('kind')}", "drop tables and indexes only")
    only(tree, ("tables", "kind", "exists", "this"), "write DROP TABLE [IF EXISTS] t")
    names = tree.args.get("tables") or [tree.this]
    if len(names) != 1:
        refuse(tree, "DROP of several tables at once", "drop them one by one")
    return DropTable(_table_name(names[0]), if_exists=bool(tree.args.get("exists")))


def insert_target(node: exp.Expr, catalogue: Catalogue) -> tuple[Table, list[str] | None]:
    """The table and, when written, the columns of INSERT and COPY."""
    if not isinstance(node, exp.Schema):
        return find_table(catalogue, node), None
    return find_table(catalogue, node.this), [column.name for column in node.expressions]


def bind_copy(tree: exp.Copy, catalogue: Catalogue, arguments: Arguments) -> CopyFrom:
    """COPY t [(columns)] FROM 'file.csv' [(options)], or a Parquet file.

    Raises: AM-2203, AM-2205, AM-2208.
    """
    if not tree.args.get("kind"):
        refuse(tree, "COPY TO", "select the rows and write them with the Python API")
    table, names = insert_target(tree.this, catalogue)
    files = tree.args.get("files") or []
    if len(files) != 1 or not isinstance(files[0], exp.Literal) or not files[0].is_string:
        refuse(tree, "COPY from anything but one file", "write COPY t FROM 'file.csv'")
    options: dict[str, object] = {}
    for param in tree.args.get("params") or ():
        name = _option_name(param)
        value = param.args.get("expression")
        options[_CANONICAL.get(name, name)] = _option_value(name, param, value, arguments)
    if names is not None:
        options["columns"] = tuple(names)
    usual = "parquet" if files[0].name.lower().endswith(".parquet") else "csv"
    form = str(options.pop("format", usual)).lower()
    if form not in ("csv", "parquet"):
        refuse(tree, f"COPY of format {form}", "use CSV or Parquet, or insert an Arrow stream")
    if form == "parquet" and options.keys() - {"columns"}:
        refuse(tree, "an option of CSV for a Parquet file", "leave HEADER, DELIMITER, ... out")
    return CopyFrom(table, files[0].name, form, tuple(sorted(options.items())))


def _option_name(param: exp.Expr) -> str:
    name = param.name.lower()
    if name not in _COPY_OPTIONS:
        refuse(param, f"COPY option {name.upper()}", "use HEADER, DELIMITER, NULL, QUOTE, ESCAPE")
    return name


def _option_value(
    name: str, param: exp.Expr, value: exp.Expr | None, arguments: Arguments
) -> object:
    if name == "format":
        return value.name if value is not None else "csv"
    if name == "header":
        found = True if value is None else literal(value, arguments).value
        if not isinstance(found, bool) and found not in (0, 1):
            wrong(param, "HEADER is neither TRUE nor FALSE", "write HEADER or HEADER FALSE")
        return bool(found)
    text = None if value is None else literal(value, arguments).value
    if not isinstance(text, str) or (name not in ("null", "nullstr") and len(text) != 1):
        wrong(param, f"{name.upper()} is not one character", f"write {name.upper()} ','")
    return text
