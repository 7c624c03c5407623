"""A package on a static web server, or in a repository of a model hub, which serves files in the same way.

An address is that of the folder: http(s)://host/path. `user:password@` in it is sent as basic authorisation and never
shown. Nothing else than the files that are asked for is read: no listing, no script.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pocketseek.apps.repository.http_client import Address, HttpClient
from pocketseek.apps.repository.source import check_path
from pocketseek.errors import UsageError


class HttpSource:
    def __init__(self, address: Address, client: HttpClient, name: str = "") -> None:
        """address: of the folder, without a slash at its end. The client is closed with the source."""
        self._address = address
        self._client = client
        self._name = name or address.url

    @property
    def name(self) -> str:
        return self._name

    def read(self, path: str, max_bytes: int) -> bytes | None:
        return self._client.read(self._file(path), max_bytes)

    def stream(self, path: str, offset: int, num_bytes: int) -> Iterator[bytes]:
        return self._client.stream(self._file(path), offset, num_bytes)

    def close(self) -> None:
        self._client.close()

    def _file(self, path: str) -> Address:
        return Address(f"{self._address.url}/{check_path(path)}", self._address.headers)


def parse_http_address(text: str) -> Address:
    """Raises UsageError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not host or any(char.isspace() for char in text):
        raise UsageError(f"{_shown(text)} is no address of a folder on a web server; write https://HOST/PATH")
    if parts.query or parts.fragment:
        raise UsageError(f"{_shown(text)} has a ? or # in it; give the plain address of the folder")
    place = f"[{host}]" if ":" in host else host
    netloc = place if port is None else f"{place}:{port}"
    path = quote(unquote(parts.path), safe="/~@:+,=!$&'()*;").rstrip("/")
    url = urlunsplit((parts.scheme.lower(), netloc, path.removesuffix("/manifest.json"), "", ""))
    return Address(url, _authorisation(parts.username, parts.password))


def _authorisation(user: str | None, password: str | None) -> Mapping[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _shown(text: str) -> str:
    """Without what may be a password."""
    head, at, tail = text[:200].rpartition("@")
    return f"{head.split('//')[0]}//...@{tail}" if at else text[:200]
