"""``amaters keys``: make, list and look at keysets."""

from __future__ import annotations

import datetime

import click

from amaters.base.clock import SystemClock
from amaters.base.rng import SystemRng
from amaters.cli.context import Context, say
from amaters.client.keyring import Keyring
from amaters.client.keyset import KeysetHeader


@click.group()
def keys() -> None:
    """Make, list and inspect keysets. A lost keyset is lost data: keep a copy of the keyring."""


@keys.command()
@click.option("--parameters", default="default", show_default=True, help="Parameter set.")
@click.pass_obj
def create(context: Context, parameters: str) -> None:
    """Make a keyset and print its id."""
    from amaters.client.keymaking import make_keyset

    keyset = make_keyset("bgv", parameters, SystemClock(), SystemRng())
    path = context.keyring().save(keyset)
    say(f"wrote {path}; copy it to a safe place: a lost keyset is lost data")
    click.echo(keyset.key_id.hex())


@keys.command(name="list")
@click.pass_obj
def list_keys(context: Context) -> None:
    """One line per keyset: id, scheme, parameters, time of creation."""
    keyring = context.keyring()
    for _, header in keyring.headers():
        lock = " passphrase" if header.locked else ""
        click.echo(f"{_hex(header)}  {header.scheme}  {header.parameters}  {_time(header)}{lock}")
    say(f"keyring: {keyring.directory}")


@keys.command()
@click.argument("key_id")
@click.pass_obj
def inspect(context: Context, key_id: str) -> None:
    """What a keyset is: parameters, security, sizes. Prints no secret."""
    from amaters.client.keymaking import describe

    keyring = context.keyring()
    header = _choose(keyring, key_id)
    path = keyring.path(header.key_id)
    lines = {
        "id": _hex(header),
        "file": str(path),
        "created": _time(header),
        "passphrase": "yes" if header.locked else "no",
        **describe(header.scheme, header.parameters),
    }
    width = max(len(name) for name in lines)
    for name, value in lines.items():
        click.echo(f"{name:<{width}}  {value}")


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
