"""The public interface as users and their type checkers see it: pinned, typed, complete."""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import amaters as am
from amaters import dbapi
from amaters.embedded import AsyncEmbedded, Embedded

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "tests" / "typed_project" / "payroll.py"
MADE_BY_USERS = (am.Progress, am.Result, am.Stats)
SPECIAL = ("__enter__", "__aenter__", "__iter__", "__aiter__", "__next__", "__len__", "__await__")


def signature(found: object) -> str:
    """As written; a partial's without what it has filled in."""
    try:
        return str(inspect.signature(found)).replace("'", "")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""


def members(cls: type) -> Iterator[str]:
    """Public methods and properties that AmateRS defines, inherited ones too."""
    for name in sorted(dir(cls)):
        home = next((base for base in cls.__mro__ if name in vars(base)), object)
        if not home.__module__.startswith("amaters"):
            continue
        if name.startswith("_") and name not in SPECIAL:
            continue
        found = inspect.getattr_static(cls, name)
        if isinstance(found, property):
            yield f"  {name}: {found.fget.__annotations__.get('return', '?')}"
        elif isinstance(found, type):
            yield f"  {name} = {found.__name__}"
        elif callable(found) or isinstance(found, classmethod | staticmethod):
            yield f"  {name}{signature(getattr(cls, name))}"
        else:
            yield f"  {name}"


def described(module: Any) -> Iterator[str]:
    for name in sorted(module.__all__):
        found = getattr(module, name)
        if isinstance(found, type) and found.__module__.startswith("amaters"):
            bases = ", ".join(base.__name__ for base in found.__bases__)
            made = signature(found) if found in MADE_BY_USERS else ""
            yield f"class {name}({bases}){made}"
            yield from members(found)
        elif isinstance(found, functools.partial) or callable(found):
            yield f"{name}{signature(found)}"
        else:
            yield f"{name} = {found!r}" if isinstance(found, str | int) else name


def test_names_and_signatures_are_pinned(golden: Callable[[str, str], None]) -> None:
    """Whoever changes what a user can write changes this file too, on purpose."""
    parts = ["amaters", "", *described(am), "", "amaters.dbapi", "", *described(dbapi)]
    for made in (Embedded, AsyncEmbedded):  # what connect and connect_async return
        parts += ["", made.__name__, "", *members(made)]
    golden("public_api.txt", "\n".join(parts) + "\n")


def errors_in(paths: Sequence[Path], tmp_path: Path) -> list[str]:
    """What mypy --strict says of these files, run with none of our settings elsewhere."""
    options = ["--strict", "--follow-imports=silent", "--config-file="]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir=cache", *map(str, paths)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    lines = done.stdout.splitlines()
    names = {path.name for path in paths}
    return [line for line in lines if ": error:" in line and Path(line.split(":")[0]).name in names]


WRONG = """
import amaters as am
with am.connect(":memory:") as db:
    table = db.table("t")
    text: str = table.insert([(1,)])
    table.range(1, 2).limit("x")
    rows: list[int] = table.filter(am.col("a") > 1).rows()
    am.col("a").between(1)
    am.Int64(primary="yes")
"""


def test_a_users_project_is_typed(tmp_path: Path) -> None:
    """A project with every public name passes; what is wrong in another is found, line by line."""
    text = PROJECT.read_text()
    assert [name for name in am.__all__ if f"am.{name}" not in text] == []
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    found = errors_in([PROJECT, *sorted((ROOT / "examples").glob("*.py")), wrong], tmp_path)
    assert [line for line in found if "wrong.py" not in line] == []
    assert {int(line.split(":")[1]) for line in found} == {5, 6, 7, 8, 9}, found


def test_a_users_project_runs() -> None:
    """It asserts what it gets."""
    done = subprocess.run(
        [sys.executable, str(PROJECT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
