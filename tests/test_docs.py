"""What the documentation says runs, and what is generated is current."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import amaters as am
from amaters.sql.parser import split

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("tool", ["reference", "conformance"])
def test_the_reference_is_current(tool: str) -> None:
    """`make docs` would change nothing."""
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
WHOLE = [  # the others show fragments
    page for page in PAGES if re.search(r"^(import|from) amaters", page.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("page", WHOLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """The Python of a page, as written, in an empty directory with a keyring of its own."""
    code = "\n".join(BLOCK.findall(page.read_text()))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "AMATERS_KEYRING": str(tmp_path / "keys")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if page.name == "README.md":
        assert "the server does not learn" in done.stdout


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_run(example: Path, tmp_path: Path) -> None:
    """Each asserts that its answers are the plaintext's; it encrypts for real."""
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env={**os.environ, "AMATERS_KEYRING": str(tmp_path / "keys")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the server does not learn" in done.stdout and "noop" not in done.stdout
    assert "UNSAFE" not in done.stderr


def test_there_are_examples() -> None:
    """The test above would pass on none."""
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of every page names a file that exists."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


# ---- SQL ----------------------------------------------------------------------------------------

# What a page's SQL needs and a reader does not stands in a comment before it: <!-- example ... -->.
SQL = re.compile(r"<!-- example\n(.*?)-->|```sql\n(.*?)```", re.DOTALL)
QUERYING = [
    page for page in PAGES if "```sql" in page.read_text() and "reference" not in page.parts
]


@pytest.mark.parametrize("page", QUERYING, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_sql_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """All statements of a page, in order, on one database that encrypts nothing; ``/backups`` is a
    folder of the test.
    """
    (tmp_path / "pay").mkdir()
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with am.connect(":memory:", threads=1, progress=lambda _: None, **options) as database:
        for hidden, shown in SQL.findall(page.read_text()):
            for statement in split(hidden or shown):
                database.sql(statement.replace("/backups", str(tmp_path)))


# ---- the site -----------------------------------------------------------------------------------


def test_the_site_has_every_page() -> None:
    """mkdocs.yml names all pages of docs/ but the decisions, which their own list names."""
    named = re.findall(
        r": ([a-z0-9/-]+\.md|adr/README\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    pages = {
        str(page.relative_to(ROOT / "docs")) for page in PAGES if ROOT / "docs" in page.parents
    }
    assert {page for page in pages if not page.startswith("adr/0")} == set(named)
    decisions = {page.name for page in (ROOT / "docs" / "adr").glob("0*.md")}
    listed = set(re.findall(r"\((0[^)]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text()))
    assert decisions == listed
    numbers = [name[:4] for name in decisions]
    assert len(set(numbers)) == len(numbers)
