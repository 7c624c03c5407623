"""The files of the page, read and compressed once, with what makes them safe to show and cheap to ask for again.

Nothing but our own files may run, be loaded or be connected to (Content-Security-Policy), no other page may show ours
in a frame, and no address leaves with a click. Files have an ETag and are asked for again each time (304); a service
worker keeps them for when the server is not there, by the hash of all of them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "web"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_NOT_IN_SHELL = (".png", "sw.js")  # what only installing needs


@dataclass(frozen=True)
class PageFile:
    """One file under its address."""

    path: str
    body: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """A weak one: compressed or not, it is the same file."""
        return f'W/"{hashlib.sha256(self.body).hexdigest()[:20]}"'


def page_files(folder: Path = _FOLDER) -> list[PageFile]:
    """All of them, index.html as "/", sw.js with the list of what it keeps."""
    files = [_file(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES]
    shell = [file for file in files if not file.path.endswith(_NOT_IN_SHELL)]
    return [_with_shell(file, files, shell) if file.path == "/sw.js" else file for file in files]


def file_routes() -> list[Route]:
    return [Route(file.path, _sender(file)) for file in page_files()]


def _file(path: Path) -> PageFile:
    address = "/" if path.name == "index.html" else f"/{path.name}"
    return PageFile(address, path.read_bytes(), _TYPES[path.suffix])


def _with_shell(worker: PageFile, files: list[PageFile], shell: list[PageFile]) -> PageFile:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\n{file.etag}\n".encode())
    description = json.dumps({"version": digest.hexdigest()[:16], "files": [file.path for file in shell]})
    return PageFile(worker.path, f"const SHELL = {description};\n".encode() + worker.body, worker.media_type)


def _sender(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    """Answers with one file, or says that the browser has it."""
    headers = _HEADERS | {"ETag": file.etag, "Vary": "Accept-Encoding"}
    packed = None if file.media_type == "image/png" else gzip.compress(file.body, mtime=0)

    async def send(request: Request) -> Response:
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if packed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
        return Response(file.body, headers=headers, media_type=file.media_type)

    return send


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        name, _, quality = one.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
