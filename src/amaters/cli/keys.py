"""``amaters keys``: make, list, look at and share keysets."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amaters.base import errors
from amaters.base.clock import SystemClock
from amaters.base.rng import SystemRng
from amaters.cli.context import Context, say
from amaters.client.keyring import Keyring
from amaters.client.keyset import KeysetHeader

if TYPE_CHECKING:
    from amaters.client.keymaking import KeyPlan


@click.group()
def keys() -> None:
    """Make, list and inspect keysets. A lost keyset is lost data: keep a copy of the keyring."""


@keys.command()
@click.argument("parameters", nargs=-1)
def plan(parameters: tuple[str, ...]) -> None:
    """What keys of these PARAMETERS (default, deep) will be: sizes, time, security. Makes none."""
    from amaters.client.keymaking import SECURE, plan_keys

    columns = [_planned(name, plan_keys(name)) for name in parameters or SECURE]
    width = max(len(name) for name in columns[0])
    for name in columns[0]:
        click.echo(f"{name:<{width}}  " + "".join(f"{c[name]:>24}" for c in columns).rstrip())
    say("evaluation keys are sent once per database; rotation keys once per rotation")


def _planned(name: str, plan: KeyPlan) -> dict[str, str]:
    chosen = plan.parameters
    security = f"{plan.security_bits} bits" if plan.security_bits else "NONE (tests)"
    quantum = f"{plan.quantum_security_bits} bits" if plan.quantum_security_bits else "not claimed"
    return {
        "parameters": name,
        "parameter set": chosen.name,
        "security, classical": security,
        "security, quantum": quantum,
        "rows per ciphertext": f"{chosen.slots:,}",
        "levels": f"{chosen.max_level}",
        "modulus": f"{chosen.modulus_bits:.1f} bits",
        "secret key": f"{plan.secret_bytes:,} B",
        "evaluation keys, upload": f"{plan.evaluation_bytes / 1e6:.1f} MB",
        "rotation keys, upload": f"{plan.rotation_bytes / 1e6:.1f} MB",
        "time to make, about": f"{plan.seconds:.1f} s",
    }


@keys.command()
@click.option("--parameters", default="default", show_default=True, help="Parameter set.")
@click.option("--os-keyring", is_flag=True, help="Lock it by the operating system's keyring.")
@click.pass_obj
def create(context: Context, parameters: str, *, os_keyring: bool) -> None:
    """Make a keyset and print its id. A --passphrase-file or AMATERS_PASSPHRASE locks it."""
    from amaters.client.keylock import OsKeyringLock
    from amaters.client.keymaking import make_keyset, plan_keys

    planned = plan_keys(parameters)
    say(
        f"making a secret key of {planned.secret_bytes:,} B; its database will be sent evaluation "
        f"keys of {planned.evaluation_bytes / 1e6:.1f} MB (amaters keys plan)"
    )
    keyset = make_keyset("bgv", parameters, SystemClock(), SystemRng())
    path = context.keyring().save(keyset, OsKeyringLock() if os_keyring else None)
    say(f"wrote {path}; copy it to a safe place: a lost keyset is lost data")
    click.echo(keyset.key_id.hex())


@keys.command(name="list")
@click.pass_obj
def list_keys(context: Context) -> None:
    """One line per keyset: id, scheme, parameters, time of creation, and what locks it."""
    keyring = context.keyring()
    for _, header in keyring.headers():
        notes = [header.protection] if header.locked else []
        notes += ["retired"] if keyring.is_retired(header.key_id) else []
        line = f"{_hex(header)}  {header.scheme}  {header.parameters}  {_time(header)}"
        click.echo("  ".join([line, *notes]))
    say(f"keyring: {keyring.directory}")


@keys.command()
@click.argument("key_id")
@click.option("--os-keyring", is_flag=True, help="Lock it by the operating system's keyring.")
@click.option(
    "--new-passphrase-file",
    type=click.Path(path_type=Path, exists=True),
    help="Its first line locks the keyset; asked for when there is neither this nor --os-keyring.",
)
@click.pass_obj
def protect(
    context: Context, key_id: str, new_passphrase_file: Path | None, *, os_keyring: bool
) -> None:
    """Lock a keyset, or lock it in another way. It opens the old way or the new way, whatever
    happens meanwhile.
    """
    from amaters.client.keylock import Lock, OsKeyringLock, PassphraseLock

    keyring = context.keyring()
    header = _choose(keyring, key_id)
    lock: Lock
    if os_keyring:
        lock = OsKeyringLock()
    else:
        lock = PassphraseLock(_passphrase(new_passphrase_file, confirm=True, new=True))
    say(f"{keyring.protect(header.key_id, lock)} is locked; copies made before are as they were")
    click.echo(_hex(header))


@keys.command()
@click.argument("key_id")
@click.pass_obj
def unprotect(context: Context, key_id: str) -> None:
    """Take the lock off a keyset: whoever can read the file can then use it."""
    keyring = context.keyring()
    header = _choose(keyring, key_id)
    say(f"{keyring.protect(header.key_id, None)} is open to whoever can read it")
    click.echo(_hex(header))


@keys.command()
@click.argument("key_id")
@click.pass_obj
def inspect(context: Context, key_id: str) -> None:
    """What a keyset is: parameters, security, sizes. Prints no secret."""
    from amaters.client.keymaking import describe

    keyring = context.keyring()
    header = _choose(keyring, key_id)
    path, retired = keyring.path(header.key_id), keyring.retired_in(header.key_id)
    lines = {
        "id": _hex(header),
        "file": str(path),
        "created": _time(header),
        "locked by": header.protection,
        "replaces": header.replaces.hex() or "none",
        "state": f"retired: replaced in {', '.join(retired)}" if retired else "in use",
        **describe(header.scheme, header.parameters),
    }
    width = max(len(name) for name in lines)
    for name, value in lines.items():
        click.echo(f"{name:<{width}}  {value}")


@keys.command()
@click.argument("database")
@click.option("--rows-per-second", type=float, help="At most so many; as fast as it goes.")
@click.option("--backups", multiple=True, metavar="TARGET", help="Name the backups in TARGET too.")
@click.option("--abandon", is_flag=True, help="Give up one of which no table has changed yet.")
@click.option("--unsafe-scheme", type=click.Choice(["noop"]), help="For test databases.")
@click.pass_obj
def rotate(
    context: Context,
    database: str,
    *,
    rows_per_second: float | None,
    backups: tuple[str, ...],
    abandon: bool,
    unsafe_scheme: str | None,
) -> None:
    """Move DATABASE to a new keyset and print its id. Interrupted, call it again: it goes on."""
    db = context.open(database, unsafe_scheme=unsafe_scheme)
    with db:
        if abandon:
            db.abandon_rotation()
            say(f"{database} stays under the keyset it had")
            return
        done = db.rotate_keys(rows_per_second=rows_per_second, backups=backups)
    if done.was_over:
        say("an earlier rotation had come to its end: call it again to rotate once more")
    old, new, keyring = done.old.hex(), done.new.hex(), context.keyring()
    say(
        f"{database} is under keyset {new} now: {done.tables} tables, {done.segments} segments "
        f"switched by the engine, {done.rows:,} rows sealed anew here"
    )
    say(f"copy it: amaters keys export {new[:16]} FILE")
    say(f"keyset {old} is retired and stays in {keyring.path(done.old)} until you delete it:")
    for holder in done.holders:
        say(f"  {holder.kind} {holder.name} needs it until {holder.until}")
    say("  every backup and copy of the database from before this needs it, and opens with it")
    click.echo(new)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def identity(context: Context, file: Path | None) -> None:
    """Write this keyring's public key to FILE, for a colleague who exports a keyset to you."""
    from amaters.client.keyshare import identity_of

    public = identity_of(context.keyring()).public
    if file is None:
        click.echo(public.to_text(), nl=False)
    else:
        _write(file, public.to_text())
    say(f"fingerprint {public.fingerprint}: read it to your colleague, who compares it")


@keys.command()
@click.argument("key_id")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--for",
    "public_file",
    type=click.Path(path_type=Path),
    help="Seal the copy to this public key (made by `amaters keys identity`).",
)
@click.option(
    "--export-passphrase-file",
    type=click.Path(path_type=Path, exists=True),
    help="Its first line locks the copy; asked for when there is neither this nor --for.",
)
@click.pass_obj
def export(
    context: Context,
    key_id: str,
    file: Path,
    public_file: Path | None,
    export_passphrase_file: Path | None,
) -> None:
    """Write a copy of a keyset to FILE, locked by a passphrase or sealed to a colleague."""
    from amaters.client import keyshare

    keyring = context.keyring()
    header = _choose(keyring, key_id)
    keyset = keyring.find(header.key_id, "this export")
    if public_file is not None:
        recipient = keyshare.read_public(public_file)
        text = keyshare.export_for(keyset, recipient)
        say(f"sealed to {recipient.fingerprint}: whoever holds it can read all data of this keyset")
    else:
        text = keyshare.export_locked(keyset, _passphrase(export_passphrase_file, confirm=True))
    _write(file, text)
    if public_file is None:
        keyshare.note_export(keyring, header.key_id)
    click.echo(_hex(header))


@keys.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--export-passphrase-file",
    type=click.Path(path_type=Path, exists=True),
    help="Its first line opens a locked copy; asked for otherwise.",
)
@click.pass_obj
def import_keys(context: Context, file: Path, export_passphrase_file: Path | None) -> None:
    """Add the keyset in FILE, an export, to the keyring."""
    from amaters.client import keyset, keyshare
    from amaters.client.keytext import read_text

    keyring = context.keyring()
    text = read_text(file, keyset.FILE)
    locked = text.startswith(keyset.FILE.header) and keyset.read_header(text, str(file)).locked
    passphrase = _passphrase(export_passphrase_file, confirm=False) if locked else None
    found = keyshare.import_text(text, str(file), keyring, passphrase)
    path = keyring.save(found)
    keyshare.note_export(keyring, found.key_id)
    say(f"wrote {path}")
    click.echo(found.key_id.hex())


def _passphrase(file: Path | None, *, confirm: bool, new: bool = False) -> str:
    if file is None:
        words = "New passphrase" if new else "Passphrase"
        return str(click.prompt(words, hide_input=True, confirmation_prompt=confirm, err=True))
    lines = file.read_text(encoding="utf-8").splitlines()
    if new and not (lines and lines[0]):
        errors.fail("AM-1001", what=f"an empty passphrase in {file}", fix="choose a long one")
    return lines[0] if lines else ""


def _write(file: Path, text: str) -> None:
    from amaters.client.keytext import write_new

    try:
        write_new(file, text, lambda: errors.fail("AM-1107", path=file))
    except OSError as error:
        errors.fail("AM-1112", path=file, what=error.strerror or "the system refused")


def _choose(keyring: Keyring, prefix: str) -> KeysetHeader:
    found = [header for _, header in keyring.headers() if _hex(header).startswith(prefix.lower())]
    if len(found) != 1:
        count = "no keyset" if not found else f"{len(found)} keysets"
        raise click.UsageError(f"{count} in {keyring.directory} begin with {prefix!r}")
    return found[0]


def _hex(header: KeysetHeader) -> str:
    return header.key_id.hex()


def _time(header: KeysetHeader) -> str:
    moment = datetime.datetime.fromtimestamp(header.created, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
