"""Writes docs/reference from the code: every error, every command. ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from amaters.base import errors
from amaters.cli.app import cli, register

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def errors_page() -> str:
    """All rows of the error table, in order of code."""
    lines = [
        "# Errors",
        "",
        "Made by `make docs` from the one table in the code. A program acts on code or kind,",
        "a person on message and fix. Messages never carry values of encrypted columns.",
        "",
        "`DB-API`: the class `amaters.dbapi` raises.",
        "",
        "| code | kind | DB-API | message | fix |",
        "|---|---|---|---|---|",
    ]
    for code, row in sorted(errors.TABLE.items()):
        cells = (code, row.cls.kind, row.dbapi, row.message, row.fix)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """The help text of every command."""
    lines = ["# Command line", "", "Made by `make docs` from the commands' own help.", ""]

    def add(command: click.Command, name: str, parent: click.Context | None) -> None:
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        path = context.command_path
        lines.extend([f"## `{path}`", "", "```", command.get_help(context), "```", ""])
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                if found is not None:
                    add(found, child, context)

    register()
    add(cli, "amaters", None)
    return "\n".join(lines)


def main() -> int:
    """Exit status 1 when ``--check`` finds a page that is not up to date."""
    pages = {"errors.md": errors_page(), "command-line.md": commands_page()}
    stale = []
    for name, text in pages.items():
        path = REFERENCE / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.stderr.write(f"not up to date: {', '.join(stale)}; run make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
