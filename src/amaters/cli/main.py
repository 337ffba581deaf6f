"""The entry point of ``amaters``, and how errors become exit codes.

0 ok, 1 failed, 2 usage, 3 unavailable, 4 authentication or keys, 5 refused by policy (a question
that the declared columns or the allowed schemes do not permit), 6 data corrupt, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_FAILED, EXIT_USAGE, EXIT_POLICY, EXIT_INTERRUPTED = 1, 2, 5, 130
POLICY_CODES = ("AM-1105", "AM-1106", "AM-21")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        # A supervisor's SIGTERM stops like Ctrl-C: work is cancelled and cleaned up.
        signal.signal(signal.SIGTERM, _interrupt)
        code = _run(arguments)
    except KeyboardInterrupt:
        _say("interrupted")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away; Python must not complain again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """The exit code; imports are in here, so that an interrupt while they load is one too."""
    import click

    from amaters.base import errors
    from amaters.cli.app import cli, register
    from amaters.cli.style import RED, paint

    register()
    try:
        cli.main(args=arguments, prog_name="amaters", standalone_mode=False)
    except errors.AmatersError as error:
        _say(paint(str(error), RED, sys.stderr))
        return EXIT_POLICY if error.code.startswith(POLICY_CODES) else error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as usage:
        usage.show()
        return EXIT_USAGE
    except click.ClickException as failure:
        failure.show()
        return EXIT_FAILED
    return 0


def _say(text: str) -> None:
    """A last word on standard error, in place of a progress line that may stand there."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(clear + text, file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
