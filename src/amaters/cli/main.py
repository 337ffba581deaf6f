"""The ``amaters`` command: its subcommands, and how errors become exit codes.

0 ok, 1 failed, 2 usage, 3 unavailable, 4 authentication or keys, 5 refused by policy (a question
that the declared columns or the allowed schemes do not permit), 6 data corrupt, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from amaters.base import errors
from amaters.base.version import VERSION
from amaters.cli.context import Context

EXIT_FAILED, EXIT_USAGE, EXIT_POLICY, EXIT_INTERRUPTED = 1, 2, 5, 130
POLICY_CODES = ("AM-1105", "AM-1106", "AM-21")


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


def _register() -> None:
    """Add every subcommand; they live in modules of their own."""
    from amaters.cli.bench import bench
    from amaters.cli.demo import demo
    from amaters.cli.doctor import doctor
    from amaters.cli.keys import keys
    from amaters.cli.sql import sql

    for command in (demo, sql, keys, doctor, bench):
        cli.add_command(command)


def exit_code(error: errors.AmatersError) -> int:
    """The exit code that tells a script what kind of failure this was."""
    return EXIT_POLICY if error.code.startswith(POLICY_CODES) else error.exit_code


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    _register()
    # A supervisor's SIGTERM stops like Ctrl-C: work is cancelled and cleaned up.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli.main(args=arguments, prog_name="amaters", standalone_mode=False)
        code = 0
    except errors.AmatersError as error:
        print(error, file=sys.stderr)
        code = exit_code(error)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.UsageError as usage:
        usage.show()
        code = EXIT_USAGE
    except click.ClickException as failure:
        failure.show()
        code = EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away; Python must not complain again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
