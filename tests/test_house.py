"""House rules that a reader relies on, checked over the source tree itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(p for p in (ROOT / "src").rglob("*.py") if not p.name.endswith("_pb2.py"))
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
POSITIONAL_MAX = 5


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_source_to_check() -> None:
    """The checks below would pass on nothing; this one would not."""
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_size_and_first_line(path: Path) -> None:
    """A module fits a head: at most 500 lines, and it says what it is for."""
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES_MAX
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "module docstring is missing"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_function_sizes(path: Path) -> None:
    """Functions stay readable: at most 70 lines and 5 positional parameters."""
    for function in functions(path):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= FUNCTION_LINES_MAX, f"{function.name} has {lines} lines"
        if any(_is_kernel(d) for d in function.decorator_list):
            continue
        names = [a.arg for a in function.args.args if a.arg not in ("self", "cls")]
        assert len(names) <= POSITIONAL_MAX, f"{function.name} takes {len(names)} positionals"


def _is_kernel(decorator: ast.expr) -> bool:
    """Compiled kernels take buffers by position: Numba dispatches keyword arguments slowly."""
    text = ast.unparse(decorator)
    return "jit" in text or "intrinsic" in text or "kernel" in text


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_unfinished(path: Path) -> None:
    """No marker of unfinished work stays behind."""
    text = path.read_text()
    for marker in ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"):
        assert marker not in text


def test_import_is_light() -> None:
    """`import amaters` loads no compiler, no Arrow and no RPC stack."""
    code = (
        "import sys, amaters; "
        "print([m for m in ('numba', 'pyarrow', 'grpc', 'sqlglot', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_contracts() -> None:
    """Layers hold and the untrusted side cannot import a secret (import-linter)."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_every_error_has_a_fix_that_formats() -> None:
    """Every row of the error table can be made from the fields its texts name."""
    import string

    from amaters.base import errors

    assert len(errors.TABLE) > 30
    for code, row in errors.TABLE.items():
        fields = {
            f for t in (row.message, row.fix) for _, f, _, _ in string.Formatter().parse(t) if f
        }
        error = errors.make(code, dict.fromkeys(fields, "x"))
        assert str(error).startswith(f"error[{code}] ")
        assert error.kind in {
            "Invalid", "Denied", "Unavailable", "Conflict", "Closed", "Data", "Internal",
        }  # fmt: skip
