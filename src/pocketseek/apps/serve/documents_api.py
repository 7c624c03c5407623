"""/api/documents: what the page shows of uploaded files (/v1/files has them). Made for the page alone.

GET /api/documents/ID?model=                 the file, what was read of it, how far that is, its length in tokens
GET /api/documents/ID/passage?start=&stop=   what stands there, and some text around it
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.doc.document import Document
from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.files_api import file_value
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.apps.serve.private_files import PrivateFiles
from pocketseek.apps.serve.replies import RefusedError, json_reply
from pocketseek.apps.serve.services import Services
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine

_AROUND_CHARS = 600
_MOST_COUNTED = 256


@dataclass(frozen=True)
class _Counted:
    """Of whose tokens a count is."""

    sha256: str
    model: str


class DocumentsApi:
    """The handlers, with what they share."""

    def __init__(self, services: Services, files: PrivateFiles) -> None:
        self._services = services
        self._files = files
        self._num_tokens: dict[_Counted, int] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/api/documents/{id}", self.get, methods=["GET"]),
            Route("/api/documents/{id}/passage", self.passage, methods=["GET"]),
        ]

    async def get(self, request: Request) -> Response:
        store = await asyncio.to_thread(self._files.of, caller_of(request))
        file = await asyncio.to_thread(store.get, request.path_params["id"])
        document = await asyncio.to_thread(store.document, file)
        share = self._files.reading.share(file.id)
        reading = None if share is None else {"done": share.num_done, "total": share.num_parts}
        value = file_value(file, document) | {"reading": reading, "tokens": None}
        if document is not None and file.status == "processed":
            model = self._services.model_name(caller_of(request), request.query_params.get("model") or None)
            value["tokens"] = await self._tokens(store, file, _Counted(document.sha256, model))
        return json_reply(value)

    async def passage(self, request: Request) -> Response:
        store = await asyncio.to_thread(self._files.of, caller_of(request))
        file = await asyncio.to_thread(store.get, request.path_params["id"])
        start, stop = (_position(request, name) for name in ("start", "stop"))
        return json_reply(await asyncio.to_thread(_passage_value, store, file, start, stop))

    async def _tokens(self, store: FileStore, file: KeptFile, counted: _Counted) -> int:
        if (num_tokens := self._num_tokens.get(counted)) is None:
            async with self._services.leases.engine(counted.model) as engine:
                num_tokens = await asyncio.to_thread(_count, engine, store, file)
            while len(self._num_tokens) >= _MOST_COUNTED:
                self._num_tokens.pop(next(iter(self._num_tokens)))
            self._num_tokens[counted] = num_tokens
        return num_tokens


def _count(engine: Engine, store: FileStore, file: KeptFile) -> int:
    return len(engine.tokenizer.encode(_document(store, file).text, add_special=False, parse_special=False))


def _document(store: FileStore, file: KeptFile) -> Document:
    info = store.document(file)
    if info is None:
        raise RefusedError(409, f"{file.name} is not read yet; ask again in a moment", code="file_not_ready")
    return store.documents.document(info.id)


def _passage_value(store: FileStore, file: KeptFile, start: int, stop: int) -> dict[str, object]:
    document = _document(store, file)
    text = document.text
    if not start < stop <= len(text):
        raise UsageError(f"there is no text from {start} to {stop}; the document has {len(text)} characters")
    first, last = max(start - _AROUND_CHARS, 0), stop + _AROUND_CHARS
    place = document.place_at(start)
    return {
        "title": document.title,
        "page": place.page,
        "chapter": place.chapter,
        "paragraph": place.paragraph,
        "before": ("…" if first else "") + text[first:start],
        "quote": text[start:stop],
        "after": text[stop:last] + ("…" if last < len(text) else ""),
    }


def _position(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise UsageError(f"{name}={text[:40]!r} is no position; give a number")
    return int(text)
