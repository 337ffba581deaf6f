"""A real S3 server in a process of its own, and a proxy before it that fails as networks do.

``TEST_S3_ENDPOINT=http://127.0.0.1:PORT`` names another server (see tools/radosgw.sh).
"""

from __future__ import annotations

import http.client
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

_SERVER = """
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
_EXTERNAL = os.environ.get("TEST_S3_ENDPOINT", "")
_buckets = itertools.count(1)


def start_server() -> tuple[subprocess.Popen[bytes], int]:
    """The server and its port; it ends when its standard input does, so also with its parent."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@dataclass
class Bucket:
    """An empty bucket behind ``port`` (the server's, or a proxy's)."""

    name: str
    server: int
    port: int

    def url(self, prefix: str = "db", *, port: int | None = None) -> str:
        where = f"http://127.0.0.1:{port or self.port}"
        return f"s3://{self.name}/{prefix}?endpoint={where}&region=us-east-1"


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of a server that lives as long as the tests."""
    if _EXTERNAL:
        yield int(_EXTERNAL.rpartition(":")[2])
        return
    process, port = start_server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _CREDENTIALS.items():
            patch.setenv(name, value)
        yield port
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()


def make_bucket(port: int) -> Bucket:
    name = f"bucket-{os.getpid()}-{next(_buckets)}"
    if _EXTERNAL:
        import boto3

        boto3.client("s3", endpoint_url=_EXTERNAL).create_bucket(Bucket=name)
        return Bucket(name, port, port)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{name}", headers={"Host": f"127.0.0.1:{port}"})
    assert connection.getresponse().status == 200
    connection.close()
    return Bucket(name, port, port)


@pytest.fixture
def bucket(s3_port: int) -> Bucket:
    """An empty bucket."""
    return make_bucket(s3_port)


@dataclass
class Fault:
    """What happens to the next ``times`` requests of a kind.

    refuse: the server never sees it, the answer is 503; late: the server did it, the answer is 503;
    lost: the server did it, there is no answer; stall: nothing happens until ``go``, which lets it
    through to the server although nobody waits any more.
    """

    method: str
    path: str
    kind: str
    times: int = 1
    seen: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Proxy(ThreadingHTTPServer):
    """Forwards to the server, but for ``faults``; ``requests`` is what came in."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, server: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] | None = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def fail(self, method: str, path: str, kind: str, times: int = 1) -> Fault:
        """Let requests whose path (without the bucket) matches ``path`` go wrong."""
        fault = Fault(method, path, kind, times)
        with self._lock:
            self.faults.append(fault)
        return fault

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, *_: object) -> None:
        """A client that hung up is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy  # type: ignore[assignment]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault(self.command, self.path)
        kind = fault.kind if fault else ""
        if self.server.before is not None:
            self.server.before(self.command, self.path)
        if fault and kind == "stall":
            fault.seen.set()
            fault.go.wait()
        reply = None if kind == "refuse" else self._forward(body)
        if fault:
            fault.seen.set()
            fault.done.set()
        if kind in ("lost", "stall"):
            self.close_connection = True
            return
        if reply is None or kind == "late":
            reply = (503, [], b"<Error><Code>SlowDown</Code></Error>")
        status, headers, data = reply
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = {n.lower(): v for n, v in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815


@pytest.fixture
def proxy(s3_port: int) -> Iterator[Proxy]:
    """A proxy before the server."""
    server = Proxy(s3_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    for fault in server.faults:
        fault.go.set()
    server.shutdown()
    thread.join()
    server.server_close()
