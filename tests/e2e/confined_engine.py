"""An engine process without privileges, which first reports whether it can read some paths.

    python confined_engine.py REPORT PATH... -- ENGINE ARGUMENTS

Run as root it gives up every capability, so that it is bound by the rights of files like anybody
else; then it tries to read each PATH, writes one line per attempt to REPORT, and becomes the
engine on standard input and output.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CAPABILITY_VERSION_3 = 0x20080522


def drop_capabilities() -> None:
    """capset(2) to nothing: allowed to everybody, and there is no way back."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def attempt(path: Path) -> str:
    """What happens on reading a file or listing a directory."""
    try:
        if path.is_dir():
            return f"listed {len(os.listdir(path))}"
        return f"read {len(path.read_bytes())}"
    except OSError as error:
        return f"denied {type(error).__name__}"


def main() -> int:
    split = sys.argv.index("--")
    report, paths = Path(sys.argv[1]), sys.argv[2:split]
    drop_capabilities()
    report.write_text("".join(f"{attempt(Path(path))}\n" for path in paths))
    from amaters.engine import pipe

    return pipe.main(sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(main())
