"""The commands of ``amaters`` and the options they share."""

from __future__ import annotations

import click

from amaters.base.version import VERSION
from amaters.cli.context import Context


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="amaters")
@click.option("--keyring", metavar="DIR", help="Where keysets are kept (AMATERS_KEYRING).")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False),
    help="File whose first line unlocks the keyring.",
)
@click.pass_context
def cli(ctx: click.Context, keyring: str | None, passphrase_file: str | None) -> None:
    """A database that computes on data it cannot read."""
    ctx.obj = Context(keyring, passphrase_file)


def register() -> None:
    """Add every subcommand; they live in modules of their own."""
    from amaters.cli.admin import admin
    from amaters.cli.bench import bench
    from amaters.cli.completions import completions
    from amaters.cli.config import config
    from amaters.cli.demo import demo
    from amaters.cli.doctor import doctor
    from amaters.cli.keys import keys
    from amaters.cli.sql import batch, explain, repl, sql

    of_statements = (sql, repl, batch, explain)
    for command in (demo, *of_statements, keys, config, doctor, bench, admin, completions):
        cli.add_command(command)
