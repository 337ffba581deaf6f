"""What every subcommand shares: how it opens databases and keyrings."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amaters.base import settings
from amaters.client.keylock import Passphrase
from amaters.client.keyring import Keyring

if TYPE_CHECKING:
    from amaters.embedded import Embedded


@dataclass(frozen=True, slots=True)
class Context:
    """The options given before the subcommand."""

    keyring_option: str | None
    passphrase_file: str | None

    @property
    def passphrase(self) -> Passphrase | None:
        """From the file, else from the environment, else asked for at a terminal when needed."""
        if self.passphrase_file is None:
            is_terminal = sys.stdin is not None and sys.stdin.isatty()
            return settings.passphrase() or (_asked if is_terminal else None)
        lines = Path(self.passphrase_file).read_text(encoding="utf-8").splitlines()
        return lines[0] if lines else ""

    @property
    def settings(self) -> settings.Settings:
        return settings.load(keyring=self.keyring_option)

    def keyring(self) -> Keyring:
        """The keyring in force."""
        return Keyring(self.settings.keyring, self.passphrase)

    def open(
        self, url: str, *, unsafe_scheme: str | None = None, timeout: float | None = None
    ) -> Embedded:
        """Open a database; messages and progress go to standard error."""
        from amaters.embedded import connect

        return connect(
            url,
            keys=self.keyring_option,
            passphrase=self.passphrase,
            unsafe_scheme=unsafe_scheme,
            timeout_seconds=timeout,
        )


def _asked() -> str:
    return str(click.prompt("Passphrase of the keyset", hide_input=True, err=True))


def say(text: str) -> None:
    """A line for the person, on standard error."""
    print(text, file=sys.stderr)
