"""``amaters sql``: statements from ``-c``, a file on standard input, or a prompt."""

from __future__ import annotations

import sys
from typing import TextIO

import click

from amaters.cli.context import Context, say
from amaters.cli.output import FORMATS, write_result
from amaters.client.sync import Database
from amaters.sql.parser import Parsed


@click.command()
@click.argument("database", default=":memory:")
@click.option("-c", "--command", "commands", multiple=True, help="Statement to run, then exit.")
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--unsafe-scheme", type=click.Choice(["noop"]), help="No encryption; debugging only.")
@click.pass_obj
def sql(
    context: Context,
    database: str,
    commands: tuple[str, ...],
    output: str,
    unsafe_scheme: str | None,
) -> None:
    """Run SQL on DATABASE (a directory, or :memory:)."""
    with context.open(database, unsafe_scheme=unsafe_scheme) as db:
        if commands:
            for text in commands:
                run_text(db, text, output)
        elif sys.stdin.isatty():
            from amaters.cli.repl import Repl

            Repl(db, output).run()
        else:
            run_text(db, sys.stdin.read(), output)


def run_text(db: Database, text: str, output: str, out: TextIO | None = None) -> None:
    """Run every statement in ``text``; print results (to ``out``), stop at the first error."""
    from amaters.sql.parser import parse

    for statement in parse(text):
        run_statement(db, statement, output, out)


def run_statement(db: Database, statement: Parsed, output: str, out: TextIO | None = None) -> None:
    """Run one statement and print what it returned; EXPLAIN is text, not a table."""
    result = db.sql(statement)
    if statement.explain is not None and output == "table":
        click.echo("\n".join(str(line) for (line,) in result), file=out)
        return
    if result.names:
        write_result(result, output, out)
    if result.message:
        say(result.message)
