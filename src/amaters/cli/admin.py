"""``amaters admin``: backup, restore, verify, stats and compact of a database nobody has open."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amaters.base import errors
from amaters.base.clock import SystemClock
from amaters.base.progress import ProgressCallback, no_progress
from amaters.cli.context import Context, say

if TYPE_CHECKING:
    from amaters.storage.backupset import BackupInfo
    from amaters.storage.directory import DirectoryStorage
    from amaters.storage.stats import StorageStats, TableStats
    from amaters.storage.verify import VerifyReport

FORMS = click.Choice(["text", "json"])
MARKER = "AMATERS"  # the file that makes a directory a database
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

database_argument = click.argument("database", type=click.Path(path_type=Path))
form_option = click.option("-o", "--output", type=FORMS, default="text", show_default=True)


@click.group()
def admin() -> None:
    """Back up, restore, check, measure and compact databases. Only compacting needs keys."""


@admin.command()
@database_argument
@click.argument("target")
@click.option("--incremental", is_flag=True, help="Only what changed since the newest backup.")
@click.option("--parent", metavar="NAME", help="Only what changed since this backup.")
@form_option
@click.pass_obj
def backup(
    context: Context,
    database: Path,
    target: str,
    *,
    incremental: bool,
    parent: str | None,
    output: str,
) -> None:
    """Back up DATABASE to TARGET: a directory, or a URL such as s3://bucket/prefix."""
    from amaters.storage.backup import backup_to

    with _opened(database) as storage:
        made = backup_to(
            storage,
            target,
            incremental=incremental,
            parent=parent,
            progress=_progress(context),
        )
    if incremental and not made.parent:
        say("no earlier backup of this database is there: a full one was made")
    _print_backups([made], output)


@admin.command()
@click.argument("target")
@form_option
def backups(target: str, output: str) -> None:
    """List the backups in TARGET, the oldest first."""
    from amaters.storage.backupset import list_backups, open_target

    found = list_backups(open_target(target))
    _print_backups(found, output)
    damaged = [backup for backup in found if backup.damaged]
    if damaged:
        errors.fail("AM-4041", name=damaged[0].name, what=damaged[0].damaged)


@admin.command()
@click.argument("target")
@database_argument
@click.option("--name", help="Which backup; the newest by default.")
@click.option("--replace", is_flag=True, help="Replace the database that is in DATABASE.")
@click.option("--objects-url", metavar="URL", help="Put objects on this (empty) object store.")
@click.option("--log-on-store", is_flag=True, help="Put log and snapshots there as well.")
@form_option
@click.pass_obj
def restore(
    context: Context,
    target: str,
    database: Path,
    *,
    name: str | None,
    replace: bool,
    objects_url: str | None,
    log_on_store: bool,
    output: str,
) -> None:
    """Restore a backup from TARGET to DATABASE. All of it is verified before anything changes."""
    from amaters.storage.backupset import list_backups, open_target
    from amaters.storage.options import StorageOptions
    from amaters.storage.restore import restore as restore_backup

    place = open_target(target)
    damaged = [one.name for one in list_backups(place) if one.damaged] if name is None else []
    if damaged:
        say(f"amaters: these are damaged and cannot be the newest: {', '.join(damaged)}")
    found = restore_backup(
        place,
        database,
        name=name,
        replace=replace,
        options=StorageOptions(objects_url=objects_url or "", log_on_store=log_on_store),
        progress=_progress(context),
    )
    say(f"restored {found.name} to {database}; the keys are not in it")
    _print_backups([found], output)


@admin.command()
@database_argument
@click.option("--backups", "target", is_flag=True, help="DATABASE names a target of backups.")
@form_option
@click.pass_obj
def verify(context: Context, database: Path, target: bool, output: str) -> None:
    """Check every checksum and every reference of DATABASE. Damage is exit code 6."""
    if target:
        _verify_backups(str(database), _progress(context))
        return
    from amaters.storage.verify import verify as verify_storage

    with _opened(database) as storage:
        report = verify_storage(storage, progress=_progress(context))
    _print_report(report, output)
    if not report.ok:
        errors.fail("AM-4046", path=str(database), count=len(report.findings))


@admin.command()
@database_argument
@form_option
def stats(database: Path, output: str) -> None:
    """Rows, segments, bytes by encoding, indexes, garbage, log and snapshots of DATABASE."""
    from amaters.storage.stats import storage_stats

    with _opened(database) as storage:
        found = storage_stats(storage)
    if output == "json":
        click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_stats_lines(found)))


@admin.command()
@click.argument("database")
@click.argument("tables", nargs=-1)
@click.option("--rows-per-second", type=click.FloatRange(min=0, min_open=True), help="At most.")
@click.option("--fresh", is_flag=True, help="Also what has changed keys.")
@click.option("--unsafe-scheme", type=click.Choice(["noop"]), help="For test databases.")
@form_option
@click.pass_obj
def compact(
    context: Context,
    database: str,
    tables: tuple[str, ...],
    *,
    rows_per_second: float | None,
    fresh: bool,
    unsafe_scheme: str | None,
    output: str,
) -> None:
    """Write TABLES (all by default) of DATABASE again where it pays: the tail, small segments and
    half-dead ones. Needs the keys, for rows are encrypted anew.
    """
    if not (Path(database) / MARKER).exists():
        raise click.UsageError(f"there is no database in {database}")
    with context.open(database, unsafe_scheme=unsafe_scheme) as db:
        done = {
            name: asdict(db.compact(name, rows_per_second=rows_per_second, fresh=fresh))
            for name in tables or db.tables()
        }
    if output == "json":
        click.echo(json.dumps(done, indent=2, ensure_ascii=False))
        return
    for name, counts in done.items():
        figures = ", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in counts.items())
        click.echo(f"table {name}: {figures}")


@admin.command()
@click.argument("database")
@click.argument("tables", nargs=-1)
@click.option("--unsafe-scheme", type=click.Choice(["noop"]), help="For test databases.")
@click.pass_obj
def resume(
    context: Context, database: str, tables: tuple[str, ...], *, unsafe_scheme: str | None
) -> None:
    """Go on with ALTER TABLE where it was interrupted, in TABLES (all by default) of DATABASE.
    Needs the keys, for rows are encrypted.
    """
    if not (Path(database) / MARKER).exists():
        raise click.UsageError(f"there is no database in {database}")
    with context.open(database, unsafe_scheme=unsafe_scheme) as db:
        for name in tables or db.tables():
            click.echo(f"table {name}: encrypted {db.resume(name):,} rows")


# ---- opening -------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[DirectoryStorage]:
    """An existing database; none is made by looking at it."""
    from amaters.storage.directory import open_directory

    if not (path / MARKER).exists():
        raise click.UsageError(f"there is no database in {path}")
    storage = open_directory(path)
    try:
        if storage.notice is not None:
            say(f"amaters: {storage.notice}")
        yield storage
    finally:
        storage.close()


def _progress(context: Context) -> ProgressCallback:
    from amaters.client.terminal import TerminalProgress

    if context.settings.progress and sys.stderr.isatty():
        return TerminalProgress(sys.stderr, SystemClock())
    return no_progress


def _verify_backups(target: str, progress: ProgressCallback) -> None:
    from amaters.storage.backupset import list_backups, open_target
    from amaters.storage.restore import check_backup

    place, worst = open_target(target), None
    for found in list_backups(place):
        try:
            check_backup(place, found.name, progress)
            click.echo(f"ok    {found.name}")
        except errors.DataError as error:
            click.echo(f"FAIL  {found.name}: {error.message}")
            worst = worst or error
    if worst is not None:
        raise worst


# ---- printing ------------------------------------------------------------------------------------


def size_text(size: float) -> str:
    """A number of bytes for people."""
    for unit in _UNITS[:-1]:
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def _print_backups(found: list[BackupInfo], output: str) -> None:
    if output == "json":
        items = [{**asdict(one), "database_id": one.database_id.hex()} for one in found]
        click.echo(json.dumps(items, indent=2, ensure_ascii=False))
        return
    for one in found:
        if one.damaged:
            click.echo(f"{one.name}  DAMAGED: {one.damaged}")
            continue
        moment = datetime.datetime.fromtimestamp(one.created, tz=datetime.UTC)
        kind = f"since {one.parent}" if one.parent else "full"
        click.echo(
            f"{one.name}  {moment:%Y-%m-%d %H:%M:%SZ}  position {one.position}  {kind}  "
            f"{size_text(one.bytes_written)} of {size_text(one.bytes_total)}"
        )


def _print_report(report: VerifyReport, output: str) -> None:
    if output == "json":
        item = {
            "ok": report.ok,
            "position": report.position,
            "checked": dict(sorted(report.counts.items())),
            "findings": [asdict(finding) for finding in report.findings],
        }
        click.echo(json.dumps(item, indent=2, ensure_ascii=False))
        return
    for finding in report.findings:
        click.echo(f"FAIL  {finding.where}: {finding.what}")
    checked = ", ".join(f"{count:,} {name}" for name, count in sorted(report.counts.items()))
    mark = "ok    " if report.ok else "      "
    click.echo(f"{mark}position {report.position}: {checked}")


def _stats_lines(found: StorageStats) -> Iterator[str]:
    yield f"database   {found.database_id} at position {found.position}"
    for table in found.tables:
        yield from _table_lines(table)
    yield f"keysets    {found.keysets}, {size_text(found.keyset_bytes)}"
    if found.store:
        yield f"objects    on {found.store}, {size_text(found.cache_bytes)} cached here"
    else:
        yield f"objects    {found.object_files} files, {size_text(found.object_bytes)}"
    yield f"garbage    {found.garbage_objects} objects, {size_text(found.garbage_bytes)}"
    yield f"state      {size_text(found.state_bytes)}, {found.requests:,} requests remembered"
    spare = size_text(found.spare_log_bytes)
    yield f"log        {found.log_files} files, {size_text(found.log_bytes)}, {spare} to use again"
    yield f"snapshots  {found.snapshots}, {size_text(found.snapshot_bytes)}"


def _table_lines(table: TableStats) -> Iterator[str]:
    yield f"table {table.name}"
    yield (
        f"  rows       {table.rows:,} live, {table.dead_rows:,} dead, "
        f"{table.bytes_per_row:,.1f} bytes each, {size_text(table.bytes)}"
    )
    kinds = f"{table.partial_segments:,} partial, {table.merged_segments:,} merged"
    yield f"  segments   {table.segments:,}, of them {kinds}"
    tail = f"{table.tail_rows:,} rows in {table.tail_blocks:,} blocks"
    yield f"  tail       {tail}, {size_text(table.tail_bytes)}"
    yield f"  public     {size_text(table.public_bytes)}"
    yield f"  sealed     {size_text(table.sealed_bytes)}"
    for encoding in table.encodings:
        yield f"  encoding   {encoding.column} {encoding.encoding}: {size_text(encoding.bytes)}"
    for index in table.indexes:
        unique = "unique, " if index.unique else ""
        columns = ", ".join(index.columns)
        what = f"{unique}{index.state}, {index.entries:,} entries, {size_text(index.bytes)}"
        yield f"  index      {index.name} ({columns}): {what}"
