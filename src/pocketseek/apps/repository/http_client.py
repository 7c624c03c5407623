"""GET over HTTP(S) from servers that are not trusted: redirects, retries, and nothing that goes on for ever.

Redirects lead to http or https only, never from https to http, five at most; what authorises us goes to the address it
was given for and nowhere else. No compression is asked for and none is taken. A try that failed for want of the network
or of the server (dropped, too slow, 408, 425, 429, 5xx) is followed by another after a growing, jittered pause, or
after what Retry-After asks for, as long as something new arrived in between or few tries failed in a row.
Nothing here knows what is fetched. Threads may share a client; `close` makes all of them give up at once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from threading import Event, Lock
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ReadTimeoutError, SSLError

from pocketseek.apps.repository.http_transport import OpenSockets, TooSlowError, open_pool
from pocketseek.apps.repository.patience import Patience, Persistence
from pocketseek.apps.repository.rate import RateLimit
from pocketseek.apps.repository.source import too_long
from pocketseek.errors import DownloadError, NotFoundError

if TYPE_CHECKING:
    from pocketseek.settings import NetworkSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})
_READ_BYTES = 64 * 1024
_PROGRESS_BYTES = 256 * 1024  # that much arrived, and the next failure is the first one again
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_USER_AGENT = "pocketseek"
_MARKS = re.compile(r"\[(?:SSL: \w+|Errno -?\d+)\] |\(_ssl\.c:\d+\)")  # of no use to who reads it


class _PassingError(Exception):
    """A try that failed and may succeed later. wait_s: what the server asks for."""

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


@dataclass
class Address:
    """Where to read from. headers: what authorises us there, never shown and never sent elsewhere."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class HttpClient:
    def __init__(
        self,
        network: NetworkSettings,
        *,
        num_connections: int = 4,
        rate: RateLimit | None = None,
        patience: Patience | None = None,
        persistence: Persistence | None = None,
    ) -> None:
        self._network = network
        self._num_connections = num_connections
        self._rate = rate
        self._patience = patience or Patience()
        self._persistence = persistence or Persistence()
        self._sockets = OpenSockets()
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = Lock()  # guards _pools
        self._stop = Event()
        self._has_answered = False

    def read(self, address: Address, max_bytes: int) -> bytes | None:
        """A small body whole, all from one answer; None if there is no such thing. Raises DownloadError, FormatError
        (it is longer)."""
        for failures in count(1):
            try:
                return b"".join(self._attempt(address, 0, None, max_bytes))
            except NotFoundError:
                return None
            except _PassingError as passing:
                self._pause(address, passing, failures)
        raise AssertionError("count() ends")

    def stream(self, address: Address, offset: int, num_bytes: int) -> Iterator[bytes]:
        """Bytes [offset, num_bytes) of what has num_bytes. Raises NotFoundError, DownloadError."""
        failures, counted_from = 0, offset
        while True:
            try:
                for piece in self._attempt(address, offset, num_bytes, num_bytes):
                    offset += len(piece)
                    yield piece
                return
            except _PassingError as passing:
                if offset - counted_from >= _PROGRESS_BYTES:
                    failures, counted_from = 0, offset
                failures += 1
                self._pause(address, passing, failures)

    def close(self) -> None:
        """Whoever reads gets a DownloadError now."""
        self._stop.set()
        self._sockets.shut_down()
        with self._lock:  # whoever comes later sees that it is stopped
            for pool in self._pools.values():
                pool.clear()

    def _attempt(self, address: Address, offset: int, num_bytes: int | None, max_bytes: int) -> Iterator[bytes]:
        if num_bytes is not None and offset >= num_bytes:
            return
        with self._response(address, offset) as response:
            skip = _bytes_to_skip(response, address, offset, num_bytes)
            if num_bytes is None and _announced(response, address) > max_bytes:
                raise too_long(address.url, max_bytes)
            for piece in self._body(response, address, None if num_bytes is None else num_bytes - offset + skip):
                fresh, skip = piece[skip:], max(0, skip - len(piece))
                offset += len(fresh)
                if offset > max_bytes:
                    raise too_long(address.url, max_bytes)
                if fresh:
                    yield fresh
        if num_bytes is not None and offset < num_bytes:
            raise _PassingError(f"ended after {offset} of {num_bytes} bytes")

    def _body(self, response: urllib3.BaseHTTPResponse, address: Address, num_bytes: int | None) -> Iterator[bytes]:
        """num_bytes: of the body that are wanted; what comes after them is left alone."""
        most = min(_READ_BYTES, self._rate.piece_bytes) if self._rate is not None else _READ_BYTES
        left = num_bytes
        while left is None or left > 0:
            with self._as_passing(address):
                piece = response.read(most if left is None else min(most, left), decode_content=False)
            if not piece:
                return
            if self._rate is not None:
                self._rate.take(len(piece), self._stop)
            left = None if left is None else left - len(piece)
            yield piece

    @contextmanager
    def _response(self, address: Address, offset: int) -> Iterator[urllib3.BaseHTTPResponse]:
        """Of the last address of a chain of redirects, with a good status. The connection is used again only if the
        body was read to its end."""
        response = self._follow(address, offset)
        try:
            _check_status(response, address)
            self._has_answered = True
            yield response
        finally:
            if response.length_remaining == 0:
                response.release_conn()
            else:
                response.close()

    def _follow(self, address: Address, offset: int) -> urllib3.BaseHTTPResponse:
        url = address.url
        for _ in range(self._persistence.max_redirects + 1):
            headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
            if offset:
                headers["Range"] = f"bytes={offset}-"
            if _origin(url) == _origin(address.url):
                headers |= address.headers
            with self._as_passing(address):
                response = self._pool(url).urlopen(
                    "GET", url, headers=headers, redirect=False, retries=False, preload_content=False
                )
            if response.status not in _REDIRECTS:
                return response
            target = response.headers.get("Location", "")
            response.close()
            url = _redirected(address, url, target)
        _refuse(address, f"redirects more than {self._persistence.max_redirects} times")

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = self._network.proxy_for(url)
        with self._lock:
            if self._stop.is_set():
                raise DownloadError("the download was stopped; the same command again goes on with it")
            if proxy not in self._pools:
                self._pools[proxy] = open_pool(
                    self._patience, self._sockets, num_connections=self._num_connections, proxy=proxy
                )
            return self._pools[proxy]

    def _pause(self, address: Address, passing: _PassingError, failures: int) -> None:
        """Raises DownloadError if it is enough."""
        persistence = self._persistence
        tries = persistence.tries if self._has_answered else persistence.first_tries
        if self._stop.is_set() or failures >= tries:
            kept = ": what arrived is kept" if self._has_answered else ""
            _refuse(address, str(passing), f"check the connection and try again{kept}")
        if passing.wait_s is not None and passing.wait_s > persistence.longest_asked_s:
            _refuse(address, f"{passing}, and asks to come back in {passing.wait_s:.0f} s", "try again then")
        pause_s = min(persistence.first_pause_s * 2 ** (failures - 1), persistence.longest_pause_s)
        pause_s *= random.uniform(0.5, 1.0)
        self._stop.wait(max(pause_s, passing.wait_s or 0.0))

    @contextmanager
    def _as_passing(self, address: Address) -> Iterator[None]:
        """What urllib3 and the socket raise, told in plain words."""
        try:
            yield
        except SSLError as error:
            problem = f"offers no secure connection ({_reason(error)})"
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                _refuse(address, problem, "check the address, and the date of this machine")
            raise _PassingError(problem) from error
        except NameResolutionError as error:
            raise _PassingError("cannot be found (no network, or no such name)") from error
        except NewConnectionError as error:
            raise _PassingError(f"cannot be reached ({_reason(error)})") from error
        except ReadTimeoutError as error:
            raise _PassingError("does not answer in time") from error
        except (HTTPError, OSError) as error:
            raise _PassingError(_transport_problem(error)) from error


def _bytes_to_skip(response: urllib3.BaseHTTPResponse, address: Address, offset: int, num_bytes: int | None) -> int:
    """How much of the body lies before `offset`: all of that where the server knows no ranges. Raises DownloadError if
    the file has another size than it should have."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        _refuse(address, "sends it compressed, which was not asked for")
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            _refuse(address, "sends another range than it was asked for")
        total = num_bytes if match[3] == "*" else int(match[3])
        skip = 0
    else:
        total, skip = _announced(response, address) or num_bytes, offset
    if num_bytes is not None and total != num_bytes:
        _refuse(address, f"has {total} bytes and not {num_bytes}")
    return skip


def _announced(response: urllib3.BaseHTTPResponse, address: Address) -> int:
    """Bytes of the body that the headers tell of; 0 if they do not."""
    text = response.headers.get("Content-Length", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        _refuse(address, f"announces {text[:40]!r} bytes")
    return int(text)


def _check_status(response: urllib3.BaseHTTPResponse, address: Address) -> None:
    status = response.status
    if status in (200, 206):
        return
    if status in _GONE:
        raise NotFoundError(f"{address.url} is not there; check the address")
    if status in _PASSING:
        raise _PassingError(f"answers {status}", _retry_after_s(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        _refuse(address, f"does not let us read it (status {status})", "sign in there or ask its owner")
    _refuse(address, f"answers {status}")


def _retry_after_s(text: str) -> float | None:
    """Seconds or a date; None for anything else."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _redirected(address: Address, url: str, target: str) -> str:
    """Where a redirect leads. Raises DownloadError."""
    try:
        joined = urljoin(url, target)
        parts = urlsplit(joined)
        is_named = bool(parts.hostname)
    except ValueError:
        joined, parts, is_named = "", urlsplit(""), False
    if parts.scheme not in ("http", "https") or not is_named or parts.username is not None:
        _refuse(address, f"redirects to {parts.scheme or 'nowhere'}, which is not followed")
    if parts.scheme == "http" and urlsplit(url).scheme == "https":
        _refuse(address, "redirects from https to http, which is not followed")
    return joined


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _transport_problem(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TooSlowError):
            return f"is too slow: {seen}"
        seen = seen.__cause__ or seen.__context__
    return f"broke the connection ({_reason(error)})"


def _reason(error: BaseException) -> str:
    """The last thing that is said of it, short and on one line."""
    said = _MARKS.sub("", " ".join(str(error).split()))
    return said.rpartition(": ")[2].strip(" ()'\"")[:120] or type(error).__name__


def _refuse(address: Address, problem: str, remedy: str = "check the address, or ask who publishes it") -> NoReturn:
    raise DownloadError(f"{address.url} {problem}; {remedy}")
