"""Writes docs/reference from the code: errors, commands, names. ``--check`` only compares."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path

import click

import amaters
from amaters import dbapi
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


def python_page() -> str:
    """Every public name of ``amaters`` and ``amaters.dbapi``: signature and docstring."""
    lines = [
        "# Python",
        "",
        "Made by `make docs` from the docstrings; [docs/python.md](../python.md) shows the use.",
        "The asynchronous classes (`AsyncDatabase`, ...) have the same methods, awaitable.",
        "",
    ]
    for module, title in ((amaters, "amaters"), (dbapi, "amaters.dbapi")):
        lines += [f"## {title}", ""]
        for name in sorted(module.__all__):
            if not name.startswith("Async"):
                lines += _entry(name, getattr(module, name))
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, found: object) -> list[str]:
    """A class with its methods, or a function; nothing for a plain value."""
    if not callable(found):
        return []
    if not isinstance(found, type):
        return [f"### `{name}{_signature(found)}`", "", _doc(found), ""]
    if not found.__module__.startswith("amaters"):
        return []
    lines = [f"### class `{name}`", "", _doc(found), ""]
    for member in sorted(dir(found)):
        home = next((base for base in found.__mro__ if member in vars(base)), object)
        if member.startswith("_") or not home.__module__.startswith("amaters"):
            continue
        static = inspect.getattr_static(found, member)
        if isinstance(static, property):
            lines.append(f"* `{member}`: {_doc(static)}")
        elif callable(static) and not isinstance(static, type):
            lines.append(f"* `{member}{_signature(static)}`: {_doc(static)}")
    return [*lines, ""]


def _signature(found: object) -> str:
    try:
        text = str(inspect.signature(found)).replace("'", "")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    return text.replace("(self, ", "(").replace("(self)", "()").replace("(self, /, ", "(")


def _doc(found: object) -> str:
    """The docstring as one paragraph; a partial's own says nothing about us."""
    if isinstance(found, functools.partial):
        return f"A column of type {found.args[0].sql_name}."
    text = inspect.cleandoc(getattr(found, "__doc__", None) or "")
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def main() -> int:
    """Exit status 1 when ``--check`` finds a page that is not up to date."""
    pages = {
        "errors.md": errors_page(),
        "command-line.md": commands_page(),
        "python.md": python_page(),
    }
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
