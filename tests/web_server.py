"""A web server of plain files on this machine, with faults that a test asks for. Real sockets, real time-outs.

A fault is looked up for every request: `server.faults` is a function of the path and of how often it was asked for
before, and gives a `Fault` or None. The server keeps a list of what was asked.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "drop", "flip", "status", "length", "endless", "slow body", "slow headers", "redirect", "chunked", "gzip"
]
_TRICKLE_S = 0.02
_LONGEST_S = 20.0  # no fault outlives a test that gave up on it


@dataclass(frozen=True)
class Fault:
    """at: the byte of the body at which it happens. status, headers: of the answer. length: what is announced."""

    kind: Kind
    at: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int = 0


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    range: str | None
    authorization: str | None


Faults = Callable[[str, int], Fault | None]


class WebServer:
    """root: the folder that is served. pages: bodies by path (with its query), before the files. ranges: whether it
    knows them."""

    def __init__(self, root: Path, *, ranges: bool = True, identity: Path | None = None) -> None:
        """identity: a file with a certificate and its key, for https."""
        self.root = root
        self.ranges = ranges
        self.pages: dict[str, tuple[bytes, Mapping[str, str]]] = {}
        self.faults: Faults = lambda path, count: None
        self.asked: list[Asked] = []
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.site = self
        self._scheme = "http"
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def paths(self) -> list[str]:
        """What was asked for, without the methods."""
        return [asked.path for asked in self.asked]

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def serving(root: Path, *, ranges: bool = True, identity: Path | None = None) -> Iterator[WebServer]:
    server = WebServer(root, ranges=ranges, identity=identity)
    try:
        yield server
    finally:
        server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    site: WebServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        site = self.server.site
        path = unquote(urlsplit(self.path).path)
        with site.lock:
            count = site.counts[path]
            site.counts[path] += 1
            site.asked.append(Asked(self.command, path, self.headers["Range"], self.headers["Authorization"]))
        fault = site.faults(path, count)
        with suppress(OSError):
            if fault is not None and fault.kind in ("status", "redirect"):
                self._head(fault.status, fault.headers, 0)
                return
            found = site.pages.get(self.path) or site.pages.get(path)
            data, headers = found if found is not None else (self._file(path), {})
            if data is None:
                self._head(404, {}, 0)
                return
            self._send(data, headers, fault, with_body=with_body)

    def _file(self, path: str) -> bytes | None:
        file = self.server.site.root / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def _send(self, data: bytes, headers: Mapping[str, str], fault: Fault | None, *, with_body: bool) -> None:
        start, status = 0, 200
        asked = self.headers["Range"]
        if asked and self.server.site.ranges:
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        body = data[start:]
        if fault is None:
            self._head(status, headers, len(body))
            if with_body:
                self.wfile.write(body)
            return
        self.close_connection = True
        self._send_wrongly(status, headers, body, fault, start)

    def _send_wrongly(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault, start: int) -> None:
        at = max(0, fault.at - start)
        if fault.kind == "drop":
            self._head(status, headers, len(body))
            self.wfile.write(body[:at])
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.kind == "flip":
            self._head(status, headers, len(body))
            wrong = bytearray(body)
            if at < len(wrong):
                wrong[at] ^= 1
            self.wfile.write(wrong)
        elif fault.kind == "length":
            self._head(status, {**headers, **fault.headers}, fault.length)
            self.wfile.write(body)
        elif fault.kind == "gzip":
            self._head(status, {**headers, "Content-Encoding": "gzip"}, len(body))
            self.wfile.write(body)
        elif fault.kind == "chunked":
            self._head(status, {**headers, "Transfer-Encoding": "chunked"}, None)
            for offset in range(0, len(body), 10_000):
                piece = body[offset : offset + 10_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif fault.kind == "endless":
            self._head(status, {**headers, "Transfer-Encoding": "chunked"}, None)
            self._for_ever(lambda: self.wfile.write(b"8000\r\n" + bytes(0x8000) + b"\r\n"), pause_s=0.0)
        elif fault.kind == "slow body":
            self._head(status, headers, len(body))
            self.wfile.write(body[:at])
            self._for_ever(lambda: self.wfile.write(b"x"), pause_s=_TRICKLE_S)
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self._for_ever(lambda: self.wfile.write(b"x"), pause_s=_TRICKLE_S)

    def _for_ever(self, write: Callable[[], object], *, pause_s: float) -> None:
        end_s = time.monotonic() + _LONGEST_S
        while time.monotonic() < end_s and not self.server.site.stopping.wait(pause_s):
            write()
            self.wfile.flush()

    def _head(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None and "Content-Length" not in headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
