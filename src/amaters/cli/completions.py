"""``amaters completions``: a script that teaches a shell our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_AMATERS_COMPLETE"  # what click's main looks for, made from the program's name


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print a completion script for SHELL.

    \b
    bash: amaters completions bash > ~/.local/share/bash-completion/completions/amaters
    zsh:  amaters completions zsh > a file _amaters in a folder of $fpath
    fish: amaters completions fish > ~/.config/fish/completions/amaters.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click has all three
    script = found(context.find_root().command, {}, "amaters", VARIABLE)
    click.echo(script.source_template % script.source_vars())
