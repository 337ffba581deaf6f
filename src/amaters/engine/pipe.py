"""An engine in its own process, answering on standard input and output.

    python -m amaters.engine.pipe DIRECTORY|:memory: [--unsafe-scheme] [--threads N]
        [--log-backend NAME] [--objects-url URL] [--object-cache-mib N]

What no flag says comes from the settings.

A refusal to open (locked, damaged) is printed and the process ends with the error's exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from amaters.base import settings
from amaters.base.errors import AmatersError
from amaters.engine.service import Engine, open_engine
from amaters.storage.options import StorageOptions
from amaters.wire.pipe import STREAM_LIMIT, serve_streams


async def serve(engine: Engine, requests: int, replies: int) -> None:
    """Answer what comes in on one descriptor on the other, until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=STREAM_LIMIT)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(requests, "rb", 0)
    )
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(replies, "wb", 0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        await serve_streams(reader, writer, engine)
    finally:
        await engine.close()


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m amaters.engine.pipe")
    parser.add_argument("location")
    parser.add_argument("--unsafe-scheme", action="store_true")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--log-backend", default=None)
    parser.add_argument("--objects-url", default=None)
    parser.add_argument("--object-cache-mib", type=int, default=None)
    flags = vars(parser.parse_args(arguments))
    location, unsafe_scheme = flags.pop("location"), flags.pop("unsafe_scheme")
    try:
        found = settings.load(**flags)
        engine = open_engine(
            location,
            unsafe_scheme=unsafe_scheme,
            threads=found.threads,
            options=StorageOptions.of(found),
        )
    except AmatersError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    # Whatever prints by accident must not end up between frames.
    replies = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(serve(engine, os.dup(0), replies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
