"""Processes that work until they are killed, one after another, forked by one that is warm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Mortals:
    """A program that forks a life for each line it is given, and passes on what the lives say.

    Its lines end with " ." when they are whole; the first of a life is `pid` and its number, the
    last is `dead`.
    """

    def __init__(self, program: subprocess.Popen[bytes], errors: Path) -> None:
        self._program, self.errors = program, errors

    def _line(self) -> list[str]:
        assert self._program.stdout is not None
        while True:
            line = self._program.stdout.readline()
            assert line, "the program that forks is gone"
            if line.endswith(b" .\n"):
                return line.decode()[:-3].split(" ", 1)

    def live(self, arguments: tuple[object, ...], lines: int) -> list[list[str]]:
        """What a life said; it is killed after about ``lines`` of that."""
        assert self._program.stdin is not None
        self._program.stdin.write((" ".join(map(str, arguments)) + "\n").encode())
        self._program.stdin.flush()
        kind, pid = self._line()
        assert kind == "pid"
        said: list[list[str]] = []
        while True:
            if len(said) == lines:
                os.kill(int(pid), signal.SIGKILL)
            words = self._line()
            if words == ["dead"]:
                break
            said.append(words)
        lines_there = self.errors.read_text().splitlines()
        complaints = "\n".join(line for line in lines_there if not line.startswith("amaters: "))
        assert len(said) >= lines and not complaints, f"it died of itself: {complaints}"
        return said


@contextmanager
def mortals(module: str, folder: Path, errors: Path) -> Iterator[Mortals]:
    """Lives forked by a module in ``folder``; ``errors``: where they complain."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}
    command = [sys.executable, "-m", module]
    pipe = subprocess.PIPE
    with (
        errors.open("wb") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=environment) as program,
    ):
        try:
            yield Mortals(program, errors)
        finally:
            assert program.stdin is not None
            program.stdin.close()
            program.wait()
