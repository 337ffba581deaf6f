"""kill -9 of programs that use a database through the public interface: two threads insert into
an encrypted and a public table and write batches over both; another reclaims space, backs up,
verifies, makes and drops an index. What was acknowledged is there, the rest whole or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from mortal_database import DDL, WRITERS, connected
from mortals import mortals

from amaters.embedded import Embedded
from amaters.storage.backupset import open_target
from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.restore import restore

HERE = Path(__file__).parent
Counts = dict[str, dict[int, int]]  # table -> batch -> rows


def after(counts: Counts, changes: dict[str, dict[str, int]]) -> Counts:
    made = {table: dict(batches) for table, batches in counts.items()}
    for table, batches in changes.items():
        for batch, count in batches.items():
            if count:
                made[table][int(batch)] = count
            else:
                del made[table][int(batch)]
    return made


def said_by(counts: Counts, said: list[list[str]], writer: int) -> list[Counts]:
    """What may be there of a writer's batches: all it was told of, and what it had begun."""
    known = {
        table: {batch: count for batch, count in batches.items() if batch % WRITERS == writer}
        for table, batches in counts.items()
    }
    begun: Counts | None = None
    for kind, rest in said:
        words = rest.split(" ", 1)
        if kind == "begun" and int(words[0]) == writer:
            begun = after(known, json.loads(words[1]))
        elif kind == "told" and int(words[0]) == writer:
            assert begun is not None
            known, begun = begun, None
    return [known] if begun is None else [known, begun]


def found_in(db: Embedded) -> Counts:
    """Rows per batch; sums of encrypted values are those of whole batches."""
    secret = db.sql("SELECT batch, count(*), sum(v) FROM secret GROUP BY batch").rows()
    for batch, count, total in secret:
        assert total == sum(i % 51 for i in range(count)), batch
    plain = db.sql("SELECT batch, count(*) FROM plain GROUP BY batch").rows()
    found = {"secret": {b: count for b, count, _ in secret}, "plain": dict(plain)}
    for batch in list(found["plain"])[-2:]:  # through the index
        count = db.sql("SELECT count(*) FROM plain WHERE batch = ?", [batch]).scalar()
        assert count == found["plain"][batch]
    return found


def kills(home: Path, backend: str, count: int) -> None:
    rng = Random(count)
    with connected(home, backend=backend) as db:
        for ddl in DDL:
            db.sql(ddl)
    counts: Counts = {"secret": {}, "plain": {}}
    done = set()
    backup = None
    with mortals("mortal_database", HERE, home / "errors") as server:
        for life in range(count):
            said = server.live((home, backend, life), rng.choice((0, 1, 3, 8, 20, 50)))
            with connected(home, backend=backend) as db:
                found = found_in(db)
                assert db.verify().ok
            for writer in range(WRITERS):
                mine = said_by(found, [], writer)[0]
                assert mine in said_by(counts, said, writer)
            counts = found
            did = [words[1].split() for words in said if words[0] == "did"]
            done |= {words[0] for words in did}
            backup = next((words[1] for words in reversed(did) if len(words) > 1), backup)
    assert counts["secret"] and counts["plain"] and done
    assert count < 50 or done == {"compact", "backup", "index", "verify"}
    if backup is not None:
        restore(open_target(str(home / "backups")), home / "restored", name=backup)
        for seen in (home / "keys").glob("*.versions"):  # older schemas are to be believed now
            seen.unlink()
        with connected(home, "restored") as db:
            assert found_in(db)["secret"] and db.verify().ok


def test_kills(tmp_path: Path) -> None:
    """One database through all its lives."""
    kills(tmp_path, "direct", 10)


@pytest.mark.stress
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_kills(tmp_path: Path, backend: str) -> None:
    """The same for longer, with each log backend."""
    kills(tmp_path, backend, 100)
