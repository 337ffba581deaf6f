"""Our figures beside other libraries' in one run: ``make bench-peers``.

Every peer lives in an environment of its own, made from a hash-pinned list, because their wheels
want other versions than ours (and one of them another Python). A peer whose wheel does not fit
this machine is named and left out. ``--write`` puts table and chart into the documentation.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from chart import draw, figure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "peers.md"
CHART = ROOT / "docs" / "images" / "peers.svg"
README = ROOT / "README.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
OPERATIONS = ("equality, 32 bits", "product")
OURS = "AmateRS"
QUIET = subprocess.DEVNULL
Records = list[dict[str, Any]]


def environment(name: str, python: str, requirements: Path) -> Path | None:
    """The Python of a peer's environment, made when it is not there; None where it cannot be."""
    folder = ROOT / ".venv-peers" / name
    made = folder / ".ready"
    interpreter = folder / "bin" / "python"
    if made.exists() and made.read_text() == requirements.read_text():
        return interpreter
    found = shutil.which(python)
    if found is None or subprocess.run([found, "-c", ""], check=False, stderr=QUIET).returncode:
        return None
    say(f"making an environment for {name} ...")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([found, "-m", "venv", str(folder)], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pinned = ["--require-hashes", "--only-binary", ":all:", "-r", str(requirements)]
    if subprocess.run([str(interpreter), *install, *pinned], check=False).returncode:
        return None
    made.write_text(requirements.read_text())
    return interpreter


def peer(python: Path | None, script: str, name: str) -> Records:
    """What one peer's script measured, on one thread."""
    if python is None:
        say(f"{name}: left out, no Python that its wheel fits; PYTHON310 may name a Python 3.10")
        return []
    say(f"measuring {name} ...")
    stubs = {"PYTHONPATH": str(HERE / "stubs")} if script.startswith("concrete") else {}
    alone = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", **stubs}
    command = [str(python), "-W", "ignore", str(HERE / script)]
    done = subprocess.run(
        command, env={**os.environ, **alone}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        say(f"{name}: left out, it ended with status {done.returncode}")
        return []
    found: Records = json.loads(done.stdout.splitlines()[-1])
    return found


def ours() -> Records:
    """The same two operations of this project, constants encrypted, data expanded in memory."""
    say(f"measuring {OURS} ...")
    main = "from amaters.cli.main import main; main()"

    def bench(name: str, *more: str) -> Records:
        command = [sys.executable, "-c", main, "bench", name, "--json", *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: Records = json.loads(done.stdout)
        return found

    predicates = bench("predicates", "--rows", "16384")
    (equal,) = [r for r in predicates if r["name"] == "eq" and r["bits"] == 32 and not r["public"]]
    kernels = {r["name"]: r for r in bench("peers") if r.get("limbs") == 8}
    product = kernels["product_ours"]["us"] + kernels["relinearize_ours"]["us"]
    return [
        {
            "library": OURS,
            "operation": OPERATIONS[0],
            "rows": equal["rows"],
            "core_us_per_row": equal["core_us_per_row"],
            "note": "BGV, everything a statement does, masks packed",
        },
        {
            "library": OURS,
            "operation": OPERATIONS[1],
            "rows": 16384,
            "core_us_per_row": product / 16384,
            "note": "BGV, relinearised, 8 primes",
        },
    ]


def collected() -> Records:
    """Ours first, then every peer that runs here."""
    wanted = os.environ.get("PYTHON310", "python3.10")
    other = environment("openfhe", wanted, HERE / "requirements-openfhe.lock")
    concrete = environment("concrete", sys.executable, HERE / "requirements-concrete.lock")
    return [
        *ours(),
        *peer(Path(sys.executable), "seal_peer.py", "Microsoft SEAL"),
        *peer(other, "openfhe_peer.py", "OpenFHE"),
        *peer(concrete, "concrete_peer.py", "Concrete"),
    ]


def table(records: Records) -> str:
    """A Markdown table: CPU microseconds of one core per row, and how many times ours."""
    lines = ["| operation | library | µs per row | times ours | |", "|---|---|---|---|---|"]
    for operation in OPERATIONS:
        chosen = [r for r in records if r["operation"] == operation]
        base = next(r["core_us_per_row"] for r in chosen if r["library"] == OURS)
        for r in sorted(chosen, key=lambda r: r["core_us_per_row"]):
            value = r["core_us_per_row"]
            times = "" if r["library"] == OURS else figure(value / base)
            cells = (operation, r["library"], figure(value), times, r["note"])
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chart(records: Records) -> None:
    """Bars of microseconds per row on a logarithmic axis."""
    chosen = sorted(
        (r for r in records if r["operation"] == OPERATIONS[0]), key=lambda r: r["core_us_per_row"]
    )
    bars = [(r["library"], r["core_us_per_row"]) for r in chosen]
    CHART.parent.mkdir(exist_ok=True)
    CHART.write_text(draw("32-bit equality, both sides encrypted: µs of one core per row", bars))


def put(path: Path, text: str) -> None:
    """Replaces what stands between the markers of a page."""
    page = path.read_text()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put table and chart into the docs")
    parser.add_argument("--json", action="store_true", help="a JSON list instead of a table")
    chosen = parser.parse_args()
    records = collected()
    print(json.dumps(records, indent=2) if chosen.json else table(records))
    if chosen.write:
        put(PAGE, table(records))
        put(README, table([r for r in records if r["operation"] == OPERATIONS[0]]))
        chart(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
