"""``amaters demo``: real health data, encrypted; each answer beside the plaintext engine's."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import sys
import textwrap
from pathlib import Path

import click

from amaters.base import errors, settings
from amaters.base.clock import SystemClock
from amaters.cli.context import say
from amaters.cli.demo_queries import DDL, PERSONS, QUERIES, Plaintext, columns
from amaters.client.result import Result, render_table
from amaters.client.sync import Database

MB = 1e6
WIDTH = 110
OURS, THEIRS = "AmateRS, encrypted", "DuckDB, plaintext"


@click.command()
@click.option("--directory", metavar="DIR", help="Where to keep the demo's database and keys.")
@click.option("--fresh", is_flag=True, help="Encrypt everything again.")
def demo(directory: str | None, fresh: bool) -> None:
    """Ask an engine about 20,190 persons whose health data it cannot read."""
    clock = SystemClock()
    began = clock.monotonic()
    home = Path(directory) if directory else settings.cache_home(os.environ) / "amaters" / "demo"
    if fresh:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    print("RAND Health Insurance Experiment: 20,190 persons. Visits, chronic diseases, insurance")
    print("plan and self-rated health are encrypted here; the engine computes on ciphertexts.\n")
    with _open(home) as db:
        _load(db, home)
        plaintext = _plaintext(db)
        print(f"ready after {clock.monotonic() - began:.1f} s\n")
        different = sum(not _ask(db, plaintext, number) for number in range(1, len(QUERIES) + 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = f"{clock.monotonic() - began:.1f} s in all, peak memory {peak:,.0f} MiB"
    if plaintext is None:
        print(f"{len(QUERIES)} questions answered; install duckdb to see them compared; {spent}")
    elif different:
        print(f"{different} of {len(QUERIES)} answers DIFFER from the plaintext engine's; {spent}")
        raise click.exceptions.Exit(1)
    else:
        print(f"all {len(QUERIES)} answers equal the plaintext engine's; {spent}")
    print(f"ask your own: amaters --keyring {home / 'keyring'} sql {home / 'persons.amaters'}")


def _open(home: Path) -> Database:
    """The demo's database; one that another version left behind is made again."""
    from amaters.embedded import connect

    try:
        return connect(home / "persons.amaters", keys=home / "keyring")
    except (errors.DataError, errors.DeniedError) as error:
        say(f"the database of an earlier run cannot be used ({error.message}); starting over")
        shutil.rmtree(home)
        return connect(home / "persons.amaters", keys=home / "keyring")


def _load(db: Database, home: Path) -> None:
    """Encrypt and insert the persons, unless an earlier run did; a half-done one is repeated."""
    where = home / "persons.amaters"
    if "persons" in db.tables():
        if db.sql("SELECT count(*) FROM persons").scalar() == PERSONS:
            print(f"using the encrypted database of an earlier run: {where}")
            return
        db.drop_table("persons")
    print(textwrap.indent(DDL, "  ") + "\n")
    say(f"encrypting {PERSONS:,} persons into {where}")
    db.sql(DDL)
    done = db.table("persons").insert(columns())
    print(f"encrypted and inserted {done:,} persons into {where} ({_size(where) / MB:,.0f} MB)")


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _plaintext(db: Database) -> Plaintext | None:
    """The engine to compare with. Rows of both are matched by ``rowid``, which is public."""
    if importlib.util.find_spec("duckdb") is None:
        return None
    rowids = [row[0] for row in db.sql("SELECT rowid FROM persons ORDER BY rowid")]
    return Plaintext([int(str(rowid)) for rowid in rowids])


def _ask(db: Database, plaintext: Plaintext | None, number: int) -> bool:
    """Ask one question, print everything about it; returns whether both answers are equal."""
    question = QUERIES[number - 1]
    print(f"[{number}/{len(QUERIES)}] {question.title}")
    print(textwrap.indent(textwrap.fill(question.sql, WIDTH), "  "))
    result = db.sql(question.sql)
    expected = None if plaintext is None else plaintext.rows(question.sql)
    equal = expected is None or result.rows() == expected
    print(textwrap.indent(_beside(result, expected), "  "))
    stats = result.stats
    verdict = "" if expected is None else "EQUAL, " if equal else "DIFFERENT, "
    print(
        f"  {verdict}{stats.wall_seconds:.2f} s (engine {stats.engine_cpu_seconds:.2f} s of CPU), "
        f"{stats.key_switches:,} key switches, "
        f"{stats.bytes_sent / MB:.1f} MB sent, {stats.bytes_received / MB:.1f} MB received"
    )
    learned = "  the engine learned: " + "; ".join(result.learned)
    print(textwrap.fill(learned, WIDTH, subsequent_indent="    ") + "\n")
    sys.stdout.flush()
    return equal


def _beside(result: Result, expected: list[tuple[object, ...]] | None) -> str:
    """Our table and the plaintext engine's, side by side, or one below the other if too wide."""
    ours = render_table(result).splitlines()
    if expected is None:
        return "\n".join(ours)
    columns = tuple(list(column) for column in zip(*expected, strict=True))
    other = Result(result.names, result.types, columns or tuple([] for _ in result.names))
    theirs = render_table(other).splitlines()
    width = max(map(len, ours)) + 3
    if 2 * width > WIDTH:
        return "\n".join([OURS, *ours, THEIRS, *theirs])
    height = max(len(ours), len(theirs))
    ours += [""] * (height - len(ours))
    theirs += [""] * (height - len(theirs))
    head = f"{OURS:<{width}}{THEIRS}"
    return "\n".join([head, *(f"{a:<{width}}{b}" for a, b in zip(ours, theirs, strict=True))])
