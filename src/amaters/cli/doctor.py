"""``amaters doctor``: whether this machine, its keys and its databases are in order."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from amaters.base import errors
from amaters.base.version import VERSION
from amaters.cli.context import Context
from amaters.client.keyshare import has_export

SELF_TEST_ROWS = 10_000  # more than half a segment, so ciphertexts take part
LISTED_MAX = 8
OPTIONAL = ("polars", "pandas", "duckdb")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``good`` None is information, or a warning when ``warn``."""

    what: str
    text: str
    good: bool | None = None
    error: errors.AmatersError | None = None
    warn: bool = False

    @property
    def mark(self) -> str:
        if self.warn:
            return "warn"
        return {None: "    ", True: "ok  ", False: "FAIL"}[self.good]


@click.command()
@click.argument("databases", nargs=-1)
@click.option("--unsafe-scheme", type=click.Choice(["noop"]), help="For test databases.")
@click.pass_obj
def doctor(context: Context, databases: tuple[str, ...], unsafe_scheme: str | None) -> None:
    """Check the installation, the keyring and any DATABASES named."""
    worst: errors.AmatersError | None = None
    for finding in _findings(context, databases, unsafe_scheme):
        click.echo(f"{finding.mark} {finding.what}: {finding.text}")
        worst = worst or finding.error
    if worst is not None:
        raise worst


def _findings(
    context: Context, databases: tuple[str, ...], unsafe_scheme: str | None
) -> Iterator[Finding]:
    yield Finding("amaters", f"{VERSION}, Python {platform.python_version()}, {sys.platform}")
    yield _kernels()
    present = [name for name in OPTIONAL if importlib.util.find_spec(name)]
    yield Finding("optional packages", ", ".join(present) or "none")
    for name, source in context.settings.sources.items():
        yield Finding(f"setting {name}", f"{getattr(context.settings, name)} ({source})")
    yield _keyring(context)
    for database in databases:
        yield _database(context, database, unsafe_scheme)


def _kernels() -> Finding:
    """A small encrypted database in memory, with the real parameters, from key to answer."""
    from amaters.embedded import connect

    try:
        with connect(":memory:") as db:
            db.sql("CREATE TABLE t (a INTEGER ENCRYPTED WITH (QUERIES = 'range,sum'))")
            db.table("t").insert({"a": list(range(SELF_TEST_ROWS))})
            total = db.sql("SELECT sum(a) FROM t WHERE a < 5000").scalar()
        if total != sum(range(5000)):
            raise errors.make("AM-1000", {"what": "an encrypted sum came out wrong"})
    except errors.AmatersError as error:
        return Finding("computation", error.message, False, error)
    return Finding("computation", "a filter and a sum over encrypted rows are exact", True)


def _keyring(context: Context) -> Finding:
    keyring = context.keyring()
    try:
        headers = [header for _, header in keyring.headers()]
    except errors.AmatersError as error:
        return Finding("keyring", f"{error.message}; {error.fix}", False, error)
    alone = [h.key_id.hex()[:16] for h in headers if not has_export(keyring, h.key_id)]
    text = (
        f"{keyring.directory}, {len(headers)} keysets, {len(headers) - len(alone)} of them copied"
    )
    if not alone:
        return Finding("keyring", text, True)
    warning = "a lost keyset is lost data: `amaters keys export KEY_ID FILE` for"
    return Finding("keyring", f"{text}; {warning} {', '.join(alone[:LISTED_MAX])}", warn=True)


def _database(context: Context, database: str, unsafe_scheme: str | None) -> Finding:
    """Open it, authenticate every schema, and read every row back."""
    try:
        with context.open(database, unsafe_scheme=unsafe_scheme) as db:
            rows = {name: len(db.sql(f'SELECT * FROM "{name}"')) for name in db.tables()}
    except errors.AmatersError as error:
        return Finding(database, f"{error.message}; {error.fix}", False, error)
    listed = ", ".join(f"{name} ({count:,} rows)" for name, count in rows.items())
    return Finding(database, f"opens, schemas are authentic, all rows unseal: {listed}", True)
