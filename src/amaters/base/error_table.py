"""The rows of the error table, grouped by code range (see ``amaters.base.errors``)."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import (
    error_table_alter,
    error_table_backup,
    error_table_compaction,
    error_table_depth,
    error_table_engine,
    error_table_expressions,
    error_table_fhe,
    error_table_indexes,
    error_table_joins,
    error_table_keys,
    error_table_python,
    error_table_remote,
    error_table_sql,
    error_table_state,
    error_table_transactions,
    error_table_types,
)
from amaters.base import errors as e


def fill(define: Callable[..., None]) -> None:
    """Define every error once, in order of code."""
    _base(define)
    _keys(define)
    error_table_fhe.fill(define)
    error_table_depth.fill(define)
    _schema(define)
    _planning(define)
    error_table_expressions.fill_planning(define)
    error_table_sql.fill_text(define)
    error_table_joins.fill(define)
    _engine(define)
    _client(define)
    _more_client(define)


def _base(define: Callable[..., None]) -> None:
    define(
        "AM-1000",
        e.InternalError,
        "internal error: {what}",
        "report this with the statement's EXPLAIN",
    )
    define("AM-1001", e.UsageError, "{what}", "{fix}")
    define(
        "AM-1002",
        e.UsageError,
        "setting {name}: {what}",
        "correct it in the configuration file, the AMATERS_* environment or the call",
    )


def _keys(define: Callable[..., None]) -> None:
    """11xx: keysets and keyrings."""
    define(
        "AM-1101",
        e.DeniedError,
        "{database} is encrypted under keyset {key_id}, which is not in {keyring}",
        "pass keys= (or AMATERS_KEYRING): the keyring that holds it; a lost keyset is lost data",
    )
    define(
        "AM-1102",
        e.DataError,
        "keyset file {path} is damaged: {what}",
        "restore it from your copy of the keyring; nothing was changed",
    )
    define(
        "AM-1103",
        e.DeniedError,
        "keyset file {path} can be read by other users (mode {mode})",
        "chmod 600 {path}, and make new keys if somebody may have read it",
    )
    define(
        "AM-1104",
        e.DeniedError,
        "keyset {path} does not open: {what}",
        "pass its passphrase: passphrase=, --passphrase-file or AMATERS_PASSPHRASE",
    )
    define(
        "AM-1105",
        e.DeniedError,
        "the keyring {keyring} lies inside the database directory {database}",
        "keep keys elsewhere: whoever copies the database must not get them",
    )
    define(
        "AM-1106",
        e.DeniedError,
        "{database} uses {scheme} with {parameters}, which this call did not allow",
        "{fix}",
    )
    define(
        "AM-1107",
        e.ConflictError,
        "keyset file {path} exists already",
        "choose another name: an existing keyset is never overwritten",
    )
    define(
        "AM-1109",
        e.DataError,
        "{path}, the schema versions seen so far, is damaged",
        "restore it from a copy; deleting it gives up noticing older schemas",
    )
    define(
        "AM-1110",
        e.DataError,
        "{path} does not hold what it should: {what}",
        "copy the file again from where it was made; nothing was changed",
    )
    define(
        "AM-1111",
        e.DeniedError,
        "{path} is sealed to {recipient}, and this keyring's identity is {ours}",
        "import it with the keyring whose public key was used, or ask for an export for yours",
    )
    define(
        "AM-1112", e.InvalidError, "cannot write {path}: {what}", "check the path and its rights"
    )


def _schema(define: Callable[..., None]) -> None:
    """20xx: schema, types and values."""
    _values(define)
    _batches(define)
    _declarations(define)
    _more_declarations(define)
    _sealed(define)


def _values(define: Callable[..., None]) -> None:
    """2001 to 2019: rows that do not fit. ``where`` names row and column, never a value."""
    bounds = "store a value inside the declared MIN and MAX, or declare wider ones"
    define(
        "AM-2001",
        e.InvalidError,
        "table {table} has no column {column}",
        "its columns are: {columns}",
    )
    define(
        "AM-2002",
        e.InvalidError,
        "{where}: expected {expected}, got {got}",
        "convert the value first",
        dbapi="DataError",
    )
    define(
        "AM-2003",
        e.InvalidError,
        "{where}: the value is outside the range of {expected}",
        bounds,
        dbapi="DataError",
    )
    define(
        "AM-2004",
        e.InvalidError,
        "{where}: NULL in a column that is NOT NULL",
        "give a value, or declare the column nullable",
        dbapi="IntegrityError",
    )
    define(
        "AM-2005",
        e.InvalidError,
        "{where}: the value has more fractional digits than {expected} keeps",
        "round the value first, or declare a larger scale",
        dbapi="DataError",
    )
    define(
        "AM-2006",
        e.InvalidError,
        "{where}: the value is not one of the declared VALUES",
        "use one of the declared values, or declare this one too",
        dbapi="DataError",
    )


def _batches(define: Callable[..., None]) -> None:
    """2007 to 2019: batches of rows that do not fit as a whole."""
    define(
        "AM-2007",
        e.InvalidError,
        "row {row} has {got} values, but {expected} columns are expected",
        "give one value for each column",
    )
    define(
        "AM-2008",
        e.InvalidError,
        "{where}: the text is longer than {limit} bytes or is not valid Unicode",
        "shorten or repair the text",
        dbapi="DataError",
    )
    define(
        "AM-2009",
        e.InvalidError,
        "column {column} is given twice",
        "name each column once",
    )
    define(
        "AM-2010",
        e.InvalidError,
        "column {column} has {got} values, but the batch has {expected} rows",
        "give every column the same number of values",
    )
    define(
        "AM-2011",
        e.InvalidError,
        "rows cannot be read from {got}",
        "pass rows, dictionaries, or an object with __arrow_c_stream__",
    )
    define(
        "AM-2012",
        e.InvalidError,
        "column {column} cannot be compared with {got} by {op}",
        "compare it with a constant of type {expected}",
    )
    define(
        "AM-2013",
        e.InvalidError,
        "the dictionary of column {column} is full: it holds at most {limit}",
        "declare the column without eq (sealed), or store fewer different values",
    )


def _declarations(define: Callable[..., None]) -> None:
    """2020 to 2049: tables that cannot be declared like this."""
    define(
        "AM-2020",
        e.InvalidError,
        "{what} is not a usable name",
        "names have 1 to 128 printable characters",
    )
    define("AM-2021", e.InvalidError, "column {column} is declared twice", "rename one of them")
    define(
        "AM-2022",
        e.InvalidError,
        "primary key {column} cannot be encrypted: the server finds rows by it",
        "use a public key without meaning, and encrypt the meaningful column",
    )
    define(
        "AM-2023",
        e.InvalidError,
        "columns {first} and {second} are both declared as primary key",
        "declare one of them only",
    )
    define(
        "AM-2024",
        e.InvalidError,
        "column {column} of type {type} cannot be declared for {query}",
        "{fix}",
    )
    define(
        "AM-2025",
        e.InvalidError,
        "column {column} is declared for group without VALUES",
        "list all its values: ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C')",
    )
    define(
        "AM-2026",
        e.InvalidError,
        "column {column}: MIN is greater than MAX",
        "exchange MIN and MAX",
    )


def _more_declarations(define: Callable[..., None]) -> None:
    """2027 to 2039: declarations, continued."""
    define(
        "AM-2027",
        e.InvalidError,
        "column {column}: {what} does not fit type {type}",
        "give {what} as a value of that type",
    )
    define(
        "AM-2028",
        e.InvalidError,
        "column {column}: unknown query capability {query}",
        "the capabilities are: eq, range, sum, group, prefix(n), accumulate",
    )
    define("AM-2029", e.InvalidError, "{type} is not a type this version stores", "{fix}")
    define(
        "AM-2030",
        e.InvalidError,
        "column {column}: VALUES must be 1 to {limit} different values",
        "list each value once",
    )
    define(
        "AM-2031",
        e.InvalidError,
        "encrypted column {column} cannot have an index",
        "leave the index out, or make the column public",
    )
    define(
        "AM-2032",
        e.InvalidError,
        "primary key {column} cannot be {what}",
        "use a NOT NULL column of an integer, DECIMAL, DATE or TEXT type",
    )
    define(
        "AM-2033",
        e.InvalidError,
        "table {table} must have 1 to {limit} columns",
        "split the table",
    )
    define(
        "AM-2034",
        e.InvalidError,
        "column {column}: the name is reserved for tables without a primary key",
        "rename the column, or declare it as the primary key",
    )


def _sealed(define: Callable[..., None]) -> None:
    """2050 to 2099: schemas, sealed rows and canaries that do not authenticate."""
    define(
        "AM-2050",
        e.DeniedError,
        "the schema the server sent for {table} was not made with this keyset",
        "open the database with the keyset it was created with; otherwise the server is lying",
    )
    define(
        "AM-2051",
        e.DeniedError,
        "the server sent version {got} of the schema of {table}, but {expected} is known here",
        "the server shows an old state; after a restore of your own, delete the .versions file",
    )
    define(
        "AM-2052",
        e.DataError,
        "schema bytes are damaged: {what}",
        "restore the database from a backup",
    )
    define(
        "AM-2053",
        e.DataError,
        "a sealed row does not open: {what}",
        "the row was damaged, moved or made with another keyset: restore it from a backup",
    )
    define(
        "AM-2054",
        e.DataError,
        "the canaries of a segment do not open: {what}",
        "the segment was damaged, moved or made with another keyset: restore it from a backup",
    )


def _planning(define: Callable[..., None]) -> None:
    """21xx: binding and planning."""
    define(
        "AM-2101",
        e.DataError,
        "a plan is malformed: {what}",
        "send plans made by the same version of AmateRS",
    )
    define(
        "AM-2102",
        e.DataError,
        "a plan does not fit table {table}: {what}",
        "prepare the statement again against the current schema",
    )
    define(
        "AM-2107",
        e.InvalidError,
        "column {table}.{column} cannot be {what}: it was declared for {queries}",
        "ALTER TABLE {table} ALTER COLUMN {column} ADD QUERY {needed}{cost}, "
        "or declare it when the table is created",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2108",
        e.InvalidError,
        "{what} is not supported",
        "{fix}",
        dbapi="NotSupportedError",
    )


def _engine(define: Callable[..., None]) -> None:
    """30xx and 40xx: engine, wire, service and storage."""
    tables = (
        error_table_engine,
        error_table_state,
        error_table_backup,
        error_table_alter,
        error_table_compaction,
        error_table_indexes,
        error_table_python,
        error_table_keys,
        error_table_remote,
        error_table_transactions,
        error_table_types,
    )
    for code, cls, message, fix, more in (row for table in tables for row in table.ROWS):
        define(code, cls, message, fix, **more)


def _client(define: Callable[..., None]) -> None:
    """50xx: client, results and files."""
    define(
        "AM-5001",
        e.DataError,
        "the engine's answer for table {table} contradicts {count} canary rows: nothing fetched",
        "the engine is faulty or hostile: do not send it more queries; run amaters doctor",
    )
    define(
        "AM-5002",
        e.ClosedError,
        "the database is closed",
        "connect again",
        dbapi="InterfaceError",
    )
    define(
        "AM-5003",
        e.InvalidError,
        "{url} is not a database this version can open: {what}",
        "use ':memory:' or a directory path",
    )
    define("AM-5004", e.InvalidError, "cannot read {path}: {what}", "check the path and its rights")
    define(
        "AM-5005",
        e.InvalidError,
        "{path}, line {line}: {what}",
        "correct the file; nothing of it was inserted",
    )
    define(
        "AM-5006",
        e.DataError,
        "row data of table {table} does not open: {what}",
        "restore the database directory from a backup; nothing was returned",
    )


def _more_client(define: Callable[..., None]) -> None:
    """5007 to 5099: client, continued."""
    define(
        "AM-5007",
        e.InvalidError,
        "{what}",
        "{fix}",
    )
    define(
        "AM-5008",
        e.UnavailableError,
        "{what} needs {package}, which is not installed",
        "pip install {package}",
        dbapi="NotSupportedError",
    )
    define(
        "AM-5009",
        e.InvalidError,
        "there is no table {table}",
        "the tables are: {tables}",
    )
    define(
        "AM-5010",
        e.ConflictError,
        "table {table} already has a row with primary key {key} (row {row} of this batch)",
        "nothing was inserted; leave that row out, or delete the old one first",
        dbapi="IntegrityError",
    )
    define(
        "AM-5011",
        e.InvalidError,
        "primary key {key} stands twice in this batch (rows {first} and {row})",
        "nothing was inserted; keys must be unique",
        dbapi="IntegrityError",
    )
    define(
        "AM-5012",
        e.DataError,
        "the engine's answer does not fit the question: {what}",
        "the engine is faulty or another version; nothing of the answer was used",
    )
