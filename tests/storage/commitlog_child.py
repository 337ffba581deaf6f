"""A process that appends to a log of each backend until it is killed, and says what it was told.

Lines: backend, `ack` position payload-hash, or `cut` position (a checkpoint, durable once said).
"""

from __future__ import annotations

import os
import sys
import threading
from hashlib import sha256
from pathlib import Path

from commitlog_support import opened, options

from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import BACKENDS


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(log: SegmentLog, backend: str, writer: str) -> None:
    n = 0
    while True:
        n += 1
        payload = f"{writer} {n} ".encode() * (1 + 7919 * n % 4000)
        position = log.append(payload)
        say(backend, "ack", position, sha256(payload).hexdigest())
        if writer.endswith("0") and n % 25 == 0:
            say(backend, "cut", position)
            log.cut(position)


def main(path: Path, applied: list[int]) -> None:
    logs = {}
    for backend, position in zip(BACKENDS, applied, strict=True):
        chosen = options(backend, segment_bytes=1 << 20, spare_segments=1)
        logs[backend], _ = opened(path / backend, chosen, position)
    for writer in range(3):  # once all are open, or the first would have said all that is read
        for backend, log in logs.items():
            arguments = (log, backend, f"{os.getpid()}-{writer}")
            threading.Thread(target=work, args=arguments).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
