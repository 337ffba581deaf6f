"""ALTER TABLE as a function from schema to schema.

What needs no ciphertexts is so at once. Else the column keeps what it can do and gets a *target*;
every segment must get the target's encodings before ``finished`` may put it in the column's place.
An encoding that changes has another generation, so that both can be there at once; none is used
twice in a table's life, so that a name never stands for what was written for another schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from amaters.base.errors import fail
from amaters.columns.convert import from_python
from amaters.columns.declare import Declaration, build_column, check_name
from amaters.columns.encodings import Encoding, Kind, LimbsEncoding
from amaters.columns.generated import readers
from amaters.columns.prefixes import split_prefix
from amaters.columns.schema import Column, Table
from amaters.columns.types import Storage, TypeKind, from_storage


@dataclass(frozen=True, slots=True)
class AddColumn:
    """A new column, declared as in CREATE TABLE; rows that are there hold its DEFAULT."""

    name: str
    declaration: Declaration
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropColumn:
    """The column goes, with all that may be asked of it."""

    column: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class RenameColumn:
    """The column is called ``name`` from now on."""

    column: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameTable:
    """The table is called ``name`` from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class AddQueries:
    """The column can be asked this as well."""

    column: str
    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropQueries:
    """The column can be asked this no more."""

    column: str
    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Widen:
    """New bounds, as Python values; None: as it is. They only ever grow."""

    column: str
    minimum: object = None
    maximum: object = None


@dataclass(frozen=True, slots=True)
class AddValues:
    """Further categories, as Python values."""

    column: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class SetNullable:
    """Whether the column holds NULL. That none is there is for the caller to see to."""

    column: str
    nullable: bool


Action = (
    AddColumn
    | DropColumn
    | RenameColumn
    | RenameTable
    | AddQueries
    | DropQueries
    | Widen
    | AddValues
    | SetNullable
)


def altered(table: Table, actions: tuple[Action, ...]) -> Table:
    """The next version of a table, or the table itself when nothing changes. Pure.

    What an earlier ALTER TABLE has begun goes on: actions are about the columns as they will be.
    Raises: AM-2001, AM-2020 to AM-2034 and AM-2061 to AM-2065 for what cannot be.
    """
    changed = replace(table, next_column=_next_column(table))
    for action in actions:
        changed = _applied(changed, action)
    if replace(changed, next_column=table.next_column) == table:
        return table
    return replace(changed, version=table.version + 1)


def finished(table: Table) -> Table:
    """The version in which every column is what it was becoming."""
    columns = tuple(column.target or column for column in table.columns)
    return replace(table, version=table.version + 1, columns=columns)


def _next_column(table: Table) -> int:
    return max(table.next_column, 1 + max(column.id for column in table.columns))


def _applied(table: Table, action: Action) -> Table:
    match action:
        case AddColumn():
            return _with_column(table, action)
        case DropColumn():
            return _without_column(table, action)
        case RenameTable(name):
            check_name(name, "the table's name")
            return replace(table, name=name)
        case RenameColumn(name, new):
            column = table.column(name)
            check_name(new, "a column's name")
            _require_free(table, new, but=column)
            return _replaced(table, column.id, lambda old: replace(old, name=new))
    column = table.column(action.column)
    target = _changed(table, column.target or column, action)
    return _with_target(table, column, target)


def _changed(
    table: Table, column: Column, action: AddQueries | DropQueries | Widen | AddValues | SetNullable
) -> Column:
    """The column as it will be."""
    match action:
        case AddQueries(_, queries):
            more, prefix = split_prefix(column.name, queries)
            return _with_queries(table, column, column.queries | set(more), prefix or column.prefix)
        case DropQueries(_, queries):
            words = {query.partition("(")[0].strip().lower() for query in queries}
            return _with_queries(table, column, column.queries - words, column.prefix)
        case Widen():
            return _widened(table, column, action)
        case AddValues(_, values):
            return _with_values(table, column, values)
        case SetNullable(_, nullable):
            if column.primary_key and nullable:
                _refuse(table, column, "hold NULL", "the primary key never does")
            for reader in readers(table, column.id) if nullable else ():
                if not (reader.target or reader).nullable:
                    fix = f"ALTER COLUMN {reader.name} DROP NOT NULL first: it is made of it"
                    _refuse(table, column, "hold NULL", fix)
            return replace(column, nullable=nullable)


def _with_target(table: Table, column: Column, target: Column) -> Table:
    """The table with a column on its way to its target, or there already."""
    target = replace(target, target=None, unready=False)
    if target.dictionary is not None and column.dictionary is not None:
        # Ciphertexts that stay hold its codes, also when the query went and came back.
        target = replace(target, dictionary=column.dictionary)
    if not target.encrypted:
        return _replaced(table, column.id, lambda _: target)
    target = replace(target, generations=_generations(table, column, target))
    there = {shape.name for shape in column.encodings}
    if there.issuperset(shape.name for shape in target.encodings):
        return _replaced(table, column.id, lambda _: target)
    dictionary = target.dictionary or column.dictionary
    now = replace(column, target=target, dictionary=dictionary, name=target.name)
    return _replaced(table, column.id, lambda _: now)


def _generations(table: Table, column: Column, target: Column) -> tuple[tuple[Kind, int], ...]:
    """Generations of the target's encodings: of one that stays what it was its old one, of others
    the version that the schema is about to have, which no earlier one can have used.
    """
    known: dict[Kind, list[tuple[Encoding, int]]] = {}
    for one in (column, *([column.target] if column.target else [])):
        for encoder, shape in zip(one.encoders, one.encodings, strict=True):
            known.setdefault(shape.kind, []).append((encoder, shape.generation))
    found: dict[Kind, int] = {}
    for encoder in target.encoders:
        kind = encoder.shape.kind
        there = known.get(kind, [])
        same = (number for old, number in there if _is_same(old, encoder))
        found[kind] = next(same, table.version + 1)
    return tuple((kind, number) for kind, number in found.items() if number)


def _is_same(old: Encoding, new: Encoding) -> bool:
    """Whether what was written for ``old`` serves for ``new``, whose bounds are no narrower."""
    if isinstance(old, LimbsEncoding) and isinstance(new, LimbsEncoding):
        return old.limbs == new.limbs
    return old == new


# ---- columns -----------------------------------------------------------------------------------


def _with_column(table: Table, action: AddColumn) -> Table:
    declared = action.declaration
    there = _find(table, action.name)
    if there is not None and action.if_not_exists:
        return table
    if declared.primary_key:
        fail("AM-2061", table=table.name, column=action.name, what="cannot be the primary key",
             fix="a table has the key that it was created with")  # fmt: skip
    if declared.generated is not None:
        fail("AM-2061", table=table.name, column=action.name, what="cannot be generated",
             fix="declare it when the table is created")  # fmt: skip
    if declared.encrypt is not None and not table.encrypted_columns:
        fail("AM-2061", table=table.name, column=action.name, what="cannot be encrypted",
             fix="rows of this table have no sealed part; create a table with an encrypted column "
                 "and copy the rows")  # fmt: skip
    made = build_column(action.name, replace(declared, index=False), table.next_column)
    if there is not None and _is_repeated(there, made):
        return table
    _require_free(table, action.name)
    column = made
    if made.encoders:
        column = replace(made, unready=True, queries=frozenset(), target=made)
    hidden = tuple(other for other in table.columns if other.hidden)
    shown = tuple(other for other in table.columns if not other.hidden)
    return replace(table, columns=(*shown, column, *hidden), next_column=table.next_column + 1)


def _is_repeated(there: Column, made: Column) -> bool:
    """Whether the statement that began to add a column is made again."""
    if there.target is None or not there.unready:
        return False
    known = replace(there.target, id=made.id, name=made.name, dictionary=made.dictionary)
    return known == made


def _without_column(table: Table, action: DropColumn) -> Table:
    column = _find(table, action.column)
    if column is None and action.if_exists:
        return table
    column = table.column(action.column)
    if column.primary_key or len(table.visible_columns) == 1:
        what = "is the primary key" if column.primary_key else "is the only column"
        _refuse(table, column, "be dropped", f"it {what}; drop the table instead")
    for index in table.indexes:
        if column.id in index.columns:
            _refuse(table, column, "be dropped", f"DROP INDEX {index.name} first")
    for reader in readers(table, column.id):
        _refuse(table, column, "be dropped", f"DROP COLUMN {reader.name} first: it is generated")
    kept = tuple(other for other in table.columns if other is not column)
    return replace(table, columns=kept, dropped_version=table.version + 1)


def _replaced(table: Table, column_id: int, change: Callable[[Column], Column]) -> Table:
    def changed(column: Column) -> Column:
        if column.id != column_id:
            return column
        made = change(column)
        if made.target is not None and made.target.name != made.name:
            made = replace(made, target=replace(made.target, name=made.name))
        return made

    return replace(table, columns=tuple(changed(column) for column in table.columns))


def _find(table: Table, name: str) -> Column | None:
    return next((c for c in table.columns if c.name.lower() == name.lower()), None)


def _require_free(table: Table, name: str, but: Column | None = None) -> None:
    there = _find(table, name)
    if there is not None and there is not but:
        fail("AM-2021", column=name)


def _refuse(table: Table, column: Column, what: str, fix: str) -> None:
    fail("AM-2062", table=table.name, column=column.name, what=what, fix=fix)


# ---- capabilities ------------------------------------------------------------------------------


def _declaration(column: Column, queries: frozenset[str], prefix: int) -> Declaration:
    """How a column would be declared, with these queries."""
    words = (f"prefix({prefix})" if query == "prefix" else query for query in sorted(queries))

    def shown(value: Storage | None) -> object:
        return None if value is None else from_storage(column.type, value)

    return Declaration(
        type=column.type,
        nullable=column.nullable,
        encrypt=tuple(words),
        minimum=shown(column.minimum),
        maximum=shown(column.maximum),
        values=tuple(shown(value) for value in column.categories),
    )


def _with_queries(table: Table, column: Column, queries: frozenset[str], prefix: int) -> Column:
    """The column with other queries, valid as if it were declared so."""
    if not column.encrypted:
        _refuse(table, column, "be asked for less or more", "it is public: anything can be asked")
    made = build_column(column.name, _declaration(column, queries, prefix), column.id)
    dictionary = made.dictionary
    if dictionary is not None and column.dictionary is not None:
        dictionary = column.dictionary
    return replace(
        column,
        queries=made.queries,
        dictionary=dictionary,
        categories=made.categories,
        prefix=made.prefix,
    )


def _widened(table: Table, column: Column, action: Widen) -> Column:
    """The column with bounds further apart."""
    if column.type.is_text or column.categories:
        _refuse(table, column, "have other bounds", "ALTER COLUMN c ADD VALUE adds categories")
    if column.minimum is None or column.maximum is None:
        _refuse(table, column, "have other bounds", "it has none: all values of its type fit")
    low = _bound(table, column, action.minimum, column.minimum)
    high = _bound(table, column, action.maximum, column.maximum)
    assert column.minimum is not None
    assert column.maximum is not None
    if low > column.minimum or high < column.maximum:
        _refuse(table, column, "have narrower bounds", "bounds only ever grow")
    return replace(column, minimum=low, maximum=high)


def _bound(table: Table, column: Column, value: object, old: int | None) -> int:
    if value is None:
        assert old is not None
        return old
    return int(from_python(column.type, [value], f"{table.name}.{column.name}").values[0])


def _with_values(table: Table, column: Column, values: tuple[object, ...]) -> Column:
    """The column with further categories, behind those it has: their codes stay."""
    if not column.categories or column.type.kind is TypeKind.BOOLEAN:
        fix = "only a column that was declared with VALUES has categories"
        _refuse(table, column, "have further values", fix)
    name = f"{table.name}.{column.name}"
    new: list[Storage] = from_python(column.type, list(values), name).values.tolist()
    known = dict.fromkeys((*column.categories, *new))
    wider = replace(column, categories=tuple(known))
    declared = _declaration(wider, column.queries, column.prefix)
    if not column.type.is_text:
        declared = replace(declared, minimum=None, maximum=None)
    made = build_column(column.name, declared, column.id)
    low, high = made.minimum, made.maximum
    if low is not None and high is not None and column.minimum is not None:
        assert column.maximum is not None
        low, high = min(low, column.minimum), max(high, column.maximum)
    return replace(column, categories=made.categories, minimum=low, maximum=high)


def pending_of(table: Table) -> Mapping[int, frozenset[str]]:
    """Names of the encodings that segments still have to get, by column."""
    found = {}
    for column in table.columns:
        more = {shape.name for shape in column.written[len(column.encodings) :]}
        if more:
            found[column.id] = frozenset(more)
    return found
