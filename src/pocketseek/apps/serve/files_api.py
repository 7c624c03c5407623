"""/v1/files: documents that a client uploads, as OpenAI's API has it; each token has its own.

    POST   /v1/files               multipart/form-data: file, purpose; ours: password (of a PDF), ocr, comments
    POST   /v1/files/ID/read       {password, ocr, comments}: read it once more, with these
    GET    /v1/files?limit=&after=&order=&purpose=
    GET    /v1/files/ID
    GET    /v1/files/ID/content    the bytes, as they came
    DELETE /v1/files/ID            with all that was made of it

A file is read behind the requests; its status is "uploaded" until then. What turns out within READ_WAIT_S not to be a
document is refused at once and not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.bodies import ReadBody, parse_body
from pocketseek.apps.serve.endpoint import read_json
from pocketseek.apps.serve.file_reading import Problem, ReadWish
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.apps.serve.private_files import PrivateFiles
from pocketseek.apps.serve.replies import RefusedError, json_reply
from pocketseek.apps.serve.services import Services
from pocketseek.apps.serve.upload import Upload, arriving, in_thread
from pocketseek.errors import NotFoundError, UsageError

READ_WAIT_S = 2.0
PURPOSES = ("assistants", "user_data")
_MOST_LISTED = 10_000
_SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "sandbox"}


def files_routes(services: Services) -> list[Route]:
    """None of it where no files are kept."""
    return [] if services.files is None else FilesApi(services, services.files).routes()


class FilesApi:
    """The handlers, with what they share."""

    def __init__(self, services: Services, files: PrivateFiles) -> None:
        self._services = services
        self._files = files

    def routes(self) -> list[Route]:
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.list, methods=["GET"]),
            Route("/v1/files/{id}", self.get, methods=["GET"]),
            Route("/v1/files/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content, methods=["GET"]),
            Route("/v1/files/{id}/read", self.read_again, methods=["POST"]),
        ]

    async def upload(self, request: Request) -> Response:
        store = await self._store(request)
        with self._services.admission.place(caller_of(request)):
            try:
                async with arriving(request, store, self._services.options) as upload:
                    purpose, wish = _purpose(upload), _wish_of_form(upload.fields)
                    file = await in_thread(lambda: store.add(upload.path, purpose))
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to get it
            reading = self._files.reading.begin(store, file, wish)
            if (problem := await _soon(reading)) is not None:
                await asyncio.to_thread(store.delete, file.id)
                raise problem
        return json_reply(await asyncio.to_thread(_value_of, store, file.id))

    async def read_again(self, request: Request) -> Response:
        """What was read of it before stays until then, and if it fails."""
        store = await self._store(request)
        with self._services.admission.place(caller_of(request)):
            body = parse_body(await read_json(request, self._services), ReadBody)
            wish = ReadWish(body.password, comments=bool(body.comments), ocr=bool(body.ocr))
            file = await asyncio.to_thread(store.reopen, _id(request))
            problem = await _soon(self._files.reading.begin(store, file, wish))
        if problem is not None:
            raise problem
        return json_reply(await asyncio.to_thread(_value_of, store, file.id))

    async def list(self, request: Request) -> Response:
        store = await self._store(request)
        files = await asyncio.to_thread(store.list)
        page, has_more = _page(files, request)
        data = await asyncio.to_thread(lambda: [file_value(file, store.document(file)) for file in page])
        ends = {"first_id": page[0].id if page else None, "last_id": page[-1].id if page else None}
        return json_reply({"object": "list", "data": data, "has_more": has_more, **ends})

    async def get(self, request: Request) -> Response:
        return json_reply(await asyncio.to_thread(_value_of, await self._store(request), _id(request)))

    async def delete(self, request: Request) -> Response:
        store = await self._store(request)
        await asyncio.to_thread(store.delete, _id(request))
        return json_reply({"id": _id(request), "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        store = await self._store(request)
        file = await asyncio.to_thread(store.get, _id(request))
        path = store.path(file)
        if not await asyncio.to_thread(store.bytes.has, path):
            raise NotFoundError(
                f"of {file.name} only the text is kept, since the data directory is sealed; open the file that was sent"
            )
        if not store.bytes.stay_when_read:
            headers = {
                **_SAFE,
                "Content-Length": str(file.num_bytes),
                "Content-Disposition": f"attachment; filename*=utf-8''{quote(file.name)}",
            }
            return StreamingResponse(store.bytes.pieces(path), media_type="application/octet-stream", headers=headers)
        return FileResponse(
            path,
            filename=file.name,
            media_type="application/octet-stream",
            headers=_SAFE,
        )

    async def _store(self, request: Request) -> FileStore:
        return await asyncio.to_thread(self._files.of, caller_of(request))


def file_value(file: KeptFile, document: DocumentInfo | None) -> dict[str, object]:
    """OpenAI's form; `status_code` and `document` are ours."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.num_bytes,
        "created_at": int(file.created_s),
        "filename": file.name,
        "purpose": file.purpose,
        "status": file.status,
        "status_details": file.problem or None,
        "status_code": file.problem_code or None,
        "document": None if document is None else _document_value(document),
    }


def _document_value(document: DocumentInfo) -> dict[str, object]:
    remarks = [{"code": one.code, "page": one.page, "detail": one.detail} for one in document.remarks]
    return {
        "title": document.title,
        "media_type": document.media_type,
        "pages": document.num_pages,
        "passages": document.num_passages,
        "remarks": remarks,
    }


def _value_of(store: FileStore, file_id: str) -> dict[str, object]:
    file = store.get(file_id)
    return file_value(file, store.document(file))


async def _soon(reading: Future[Problem | None]) -> Problem | None:
    """What is wrong with the file, if that is known within READ_WAIT_S."""
    done, _ = await asyncio.wait({asyncio.wrap_future(reading)}, timeout=READ_WAIT_S)
    return next(iter(done)).result() if done else None


def _purpose(upload: Upload) -> str:
    purpose = upload.fields.get("purpose", "user_data")
    if purpose not in PURPOSES:
        message = f"the purpose {purpose[:40]!r} is not served here; use {' or '.join(PURPOSES)}"
        raise RefusedError(400, message, code="invalid_value", param="purpose")
    return purpose


def _wish_of_form(fields: Mapping[str, str]) -> ReadWish:
    return ReadWish(fields.get("password"), comments=_is_set(fields, "comments"), ocr=_is_set(fields, "ocr"))


def _is_set(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "false").lower()
    if text not in ("true", "false"):
        message = f"{name} is {text[:40]!r}; send true or false"
        raise RefusedError(400, message, code="invalid_value", param=name)
    return text == "true"


def _page(files: list[KeptFile], request: Request) -> tuple[list[KeptFile], bool]:
    """Those that the query asks for, of all, which come the newest first; and whether there are more."""
    asked = request.query_params
    if (order := asked.get("order", "desc")) not in ("asc", "desc"):
        raise UsageError(f"order={order[:40]!r} is not known; use asc or desc")
    wanted = [file for file in files if file.purpose == asked.get("purpose", file.purpose)]
    if order == "asc":
        wanted.reverse()
    if (after := asked.get("after")) is not None:
        places = [place for place, file in enumerate(wanted) if file.id == after]
        wanted = wanted[places[0] + 1 :] if places else []
    limit = _limit(asked.get("limit", str(_MOST_LISTED)))
    return wanted[:limit], len(wanted) > limit


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= _MOST_LISTED:
        raise UsageError(f"limit={text[:40]!r} is no number from 1 to {_MOST_LISTED}; leave it out or give one")
    return int(text)


def _id(request: Request) -> str:
    name = request.path_params["id"]
    assert isinstance(name, str)  # as the route says
    return name
