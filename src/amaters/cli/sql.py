"""``amaters sql`` and ``repl``: statements from ``-c``, from standard input, or from a prompt;
``batch``: from a file; ``explain``: what one would cost and show.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from amaters.base import errors
from amaters.cli.context import Context, say
from amaters.cli.output import FORMATS, write_result
from amaters.cli.style import RED, paint
from amaters.client.result import Result
from amaters.client.sync import Database
from amaters.sql.parser import Parsed

PLANS = ("text", "json", "pgjson", "mermaid")
_FORM = click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True
)
_UNSAFE = click.option(
    "--unsafe-scheme", type=click.Choice(["noop"]), help="No encryption; debugging only."
)
_TIMEOUT = click.option(
    "--timeout", type=float, metavar="SECONDS", help="How long one statement may take."
)


_DATABASE = click.argument("database")
_DATABASE_OR_MEMORY = click.argument("database", default=":memory:")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command here can be told about its database."""
    return _TIMEOUT(_UNSAFE(command))


@click.command()
@_DATABASE_OR_MEMORY
@_options
@click.option("-c", "--command", "commands", multiple=True, help="Statement to run, then exit.")
@_FORM
@click.pass_obj
def sql(
    context: Context,
    /,
    database: str,
    commands: tuple[str, ...],
    output: str,
    **options: Any,
) -> None:
    """Run SQL on DATABASE (a directory, or :memory:)."""
    with context.open(database, **options) as db:
        if commands:
            for text in commands:
                run_text(db, text, output)
        elif sys.stdin.isatty():
            prompt(db, output, options)
        else:
            run_text(db, sys.stdin.read(), output)


@click.command()
@_DATABASE_OR_MEMORY
@_options
@_FORM
@click.pass_obj
def repl(context: Context, /, database: str, output: str, **options: Any) -> None:
    """A prompt for SQL on DATABASE: completion, history, .help."""
    with context.open(database, **options) as db:
        prompt(db, output, options)


def prompt(db: Database, output: str, options: dict[str, Any]) -> None:
    """The prompt, until its end of input."""
    from amaters.cli.repl import Repl

    Repl(db, output, unsafe=options["unsafe_scheme"] is not None).run()


@click.command()
@_DATABASE
@_options
@click.argument("file", type=click.File(encoding="utf-8"))
@_FORM
@click.option("--keep-going", is_flag=True, help="Run the rest when a statement fails.")
@click.option("--atomic", is_flag=True, help="All statements in one transaction, or none.")
@click.pass_obj
def batch(
    context: Context,
    /,
    database: str,
    file: TextIO,
    output: str,
    **options: Any,
) -> None:
    """Run the statements in FILE (- for standard input) on DATABASE, each by itself.

    Nothing runs when the file as a whole cannot be read as SQL. The first statement that fails ends
    it, with its number and its exit code; with --keep-going the exit code is that of the last one.
    With --atomic a failure undoes those before it; statements that change the schema are refused.
    """
    keep_going, atomic = options.pop("keep_going"), options.pop("atomic")
    if keep_going and atomic:
        raise click.UsageError("--keep-going and --atomic exclude each other")
    from amaters.sql.parser import parse

    statements = parse(file.read())
    failed: errors.AmatersError | None = None
    with context.open(database, **options) as db:
        if atomic:
            db.sql("BEGIN")
        for number, statement in enumerate(statements, start=1):
            try:
                run_statement(db, statement, output)
            except errors.AmatersError as error:
                say(f"statement {number} of {len(statements)}:")
                if not keep_going:
                    raise
                say(paint(str(error), RED, sys.stderr))
                failed = error
        if atomic:
            say(db.sql("COMMIT").message)
    if failed is not None:
        raise failed


@click.command()
@_DATABASE
@_options
@click.argument("statement")
@click.option("--format", "form", type=click.Choice(PLANS), default="text", show_default=True)
@click.option("--analyze", is_flag=True, help="Run it (a change is made) and add what it cost.")
@click.pass_obj
def explain(
    context: Context,
    /,
    database: str,
    statement: str,
    form: str,
    analyze: bool,
    **options: Any,
) -> None:
    """How STATEMENT would run on DATABASE, and what the server would and would not learn."""
    with context.open(database, **options) as db:
        if analyze:
            lines = db.sql(f"EXPLAIN (ANALYZE, FORMAT {form}) {statement}").rows()
            click.echo("\n".join(str(line) for (line,) in lines))
        else:
            click.echo(db.explain(statement, format=form))


def run_text(db: Database, text: str, output: str, out: TextIO | None = None) -> None:
    """Run every statement in ``text``; print results (to ``out``), stop at the first error."""
    from amaters.sql.parser import parse

    for statement in parse(text):
        run_statement(db, statement, output, out)


def run_statement(
    db: Database, statement: Parsed, output: str, out: TextIO | None = None
) -> Result:
    """Run one statement and print what it returned; EXPLAIN is text, not a table."""
    result = db.sql(statement)
    if statement.explain is not None and output == "table":
        click.echo("\n".join(str(line) for (line,) in result), file=out)
        return result
    if result.names:
        write_result(result, output, out)
    if result.message:
        say(result.message)
    return result
