"""Connections that cannot be held up for ever: urllib3's, with a watch over what arrives at the socket.

urllib3 has a timeout for each read, and a server that sends one byte before each of them ends holds a connection for as
long as it likes (slow loris). So reads pass through a `_Pace`: an answer's headers have a deadline and a most size, and
its body a least rate. The time that the caller takes between two reads does not count.

Why urllib3: one wheel of plain Python without dependencies, which installs on Termux, is in wide use and well kept, and
gives hold of redirects, retries, decoding and proxies one by one; httpx is a stack of six packages for the same.
This module is imported when something is fetched; who calls looks after `urllib3` being there (libraries.py).
"""

from __future__ import annotations

import io
import socket
import ssl
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from os.path import exists
from threading import Lock
from typing import Any, TypeVar

import urllib3
import urllib3.connection

from pocketseek.apps.repository.patience import Patience
from pocketseek.apps.repository.rate import LeastRate

_Response = TypeVar("_Response")


class TooSlowError(OSError):
    """The other side sends too slowly, or too much before it comes to the point."""


class OpenSockets:
    """Those in use, so that closing wakes up who waits for one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def add(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.add(opened)

    def shut_down(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for opened in sockets:
            with suppress(OSError):  # closed meanwhile
                opened.shutdown(socket.SHUT_RDWR)


class _Pace:
    """One connection's. The socket's timeout is never longer than what is left."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._rate: LeastRate | None = None
        self._deadline_s = 0.0
        self._header_bytes = 0

    def begin_headers(self) -> None:
        self._rate, self._header_bytes = None, 0
        self._deadline_s = time.monotonic() + self._patience.header_s

    def begin_body(self) -> None:
        self._rate = LeastRate(self._patience.least_bytes_per_s, self._patience.window_s)

    def timeout_s(self) -> float:
        """Raises TooSlowError."""
        if self._rate is not None:
            return self._patience.read_s
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TooSlowError("its answer does not begin")
        return min(self._patience.read_s, left_s)

    def add(self, num_bytes: int, waited_s: float) -> None:
        """Raises TooSlowError."""
        if self._rate is None:
            self._header_bytes += num_bytes
            if self._header_bytes > self._patience.max_header_bytes:
                raise TooSlowError("its answer is all headers")
        elif not self._rate.add(num_bytes, waited_s):
            raise TooSlowError(f"it sends less than {self._patience.least_bytes_per_s:.0f} bytes per second")


class _PacedReader(io.RawIOBase):
    def __init__(self, raw: Any, sock: socket.socket, pace: _Pace) -> None:
        self._raw = raw
        self._sock = sock
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._pace.timeout_s())
        started_s = time.monotonic()
        num_bytes: int | None = self._raw.readinto(buffer)
        self._pace.add(num_bytes or 0, time.monotonic() - started_s)
        return num_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedSocket:
    """A socket whose reading is watched; all else is as ever."""

    def __init__(self, sock: socket.socket, pace: _Pace) -> None:
        self._sock = sock
        self.pace = pace

    def makefile(self, mode: str) -> io.BufferedReader:
        """As http.client calls it."""
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_PacedReader(raw, self._sock, self.pace))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Watch:
    """Over all connections of a pool."""

    def __init__(self, patience: Patience, sockets: OpenSockets) -> None:
        self._patience = patience
        self._sockets = sockets

    def over(self, sock: socket.socket) -> _PacedSocket:
        self._sockets.add(sock)
        return _PacedSocket(sock, _Pace(self._patience))

    def answered(self, sock: _PacedSocket, get_response: Callable[[], _Response]) -> _Response:
        """get_response returns when the headers are there; by then the connection may have let go of its socket."""
        sock.pace.begin_headers()
        response = get_response()
        sock.pace.begin_body()
        return response


def open_pool(
    patience: Patience, sockets: OpenSockets, *, num_connections: int, proxy: str | None
) -> urllib3.PoolManager:
    """Connections to any host, directly or through a proxy (http://host:port)."""

    watch = _Watch(patience, sockets)

    class PlainConnection(urllib3.connection.HTTPConnection):
        sock: Any

        def connect(self) -> None:
            super().connect()
            self.sock = watch.over(self.sock)

        def getresponse(self) -> Any:  # urllib3 gives one of its own
            return watch.answered(self.sock, super().getresponse)

    class SecureConnection(urllib3.connection.HTTPSConnection):
        sock: Any

        def connect(self) -> None:
            super().connect()
            self.sock = watch.over(self.sock)

        def getresponse(self) -> Any:  # urllib3 gives one of its own
            return watch.answered(self.sock, super().getresponse)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    timeout = urllib3.Timeout(connect=patience.connect_s, read=patience.read_s)
    context = _trusting_context()
    if proxy is None:
        pool = urllib3.PoolManager(maxsize=num_connections, timeout=timeout, ssl_context=context)
    else:
        pool = urllib3.ProxyManager(proxy, maxsize=num_connections, timeout=timeout, ssl_context=context)
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pool


def _trusting_context() -> ssl.SSLContext:
    """The system's certificates; certifi's where it has none and certifi is there."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and (paths.capath is None or not exists(paths.capath)):
        with suppress(ImportError):
            import certifi

            return ssl.create_default_context(cafile=certifi.where())
    return ssl.create_default_context()
