"""A file arriving as multipart/form-data, written to the disk as it comes (encrypted, if the data directory is sealed);
no more than a piece of it is in memory.

    --boundary
    Content-Disposition: form-data; name="purpose"            fields: short texts, in any order
    --boundary
    Content-Disposition: form-data; name="file"; filename="a.pdf"       exactly one file
    ...

Limits: max_upload_bytes, body_timeout_s without anything new, upload_timeout_s for all of it, and what the disk has
free. Whatever goes wrong, nothing of the file stays. A form that is no document but a recording never gets to the disk:
`form_of` takes one that has arrived.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from pocketseek.apps.serve.kept_bytes import Sink
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.errors import StorageError
from pocketseek.package.storage import storage_errors

_FIELDS = frozenset({"purpose", "password", "ocr", "comments"})
_MAX_FIELD_BYTES = 1000
_MAX_PARTS = 16
_FORM_BYTES = 100_000  # that a form may have around its file
_WRITE_BYTES = 1 << 18
_SPARE_BYTES = 50_000_000  # that stay free on the disk
_CLOSE = {"Connection": "close"}  # the rest is not waited for

T = TypeVar("T")


@dataclass
class Upload:
    """path: where the file is, at a place of the store."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def arriving(request: Request, store: FileStore, options: ServeOptions) -> AsyncIterator[Upload]:
    """The whole upload. Whoever leaves with an exception leaves no file behind. Raises RefusedError, StorageError."""
    place = _OnDisk(store)
    form = _Form(place, _FIELDS, options.max_upload_bytes)
    try:
        _check_announced(request, store, options)
        form.begin(request.headers.get("content-type", ""))
        await _receive(request, form, options)
        fields = await in_thread(form.finish)
        assert place.path is not None  # a form without a file is not finished
        yield Upload(place.path, fields)
    except BaseException:
        await in_thread(place.discard)
        raise


@dataclass
class Form:
    """name: of the file, as the client calls it. A field that came several times has its last value."""

    name: str
    data: bytes
    fields: dict[str, str]


def form_of(content_type: str, body: bytes, fields: frozenset[str]) -> Form:
    """A form that is here whole. fields: those that are looked at. Raises RefusedError."""
    place = _InMemory()
    form = _Form(place, fields, len(body))
    form.begin(content_type)
    form.write(body)
    found = form.finish()
    return Form(place.name, bytes(place.data), found)


async def in_thread(work: Callable[[], T]) -> T:
    """Who is cancelled waits for the end of the work, since he cleans up after it."""
    future = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        raise


def _check_announced(request: Request, store: FileStore, options: ServeOptions) -> None:
    announced = request.headers.get("content-length")
    if announced is None:
        return
    if not announced.isascii() or not announced.isdigit():
        raise _too_large(options.max_upload_bytes)
    num_bytes = int(announced[:20])
    if num_bytes > options.max_upload_bytes + _FORM_BYTES:
        raise _too_large(options.max_upload_bytes)
    with storage_errors(store.folder):
        free_bytes = shutil.disk_usage(store.folder).free
    if num_bytes + _SPARE_BYTES > free_bytes:
        raise StorageError(
            f"the disk has no room for {num_bytes // 1_000_000} MB more ({free_bytes // 1_000_000} MB are free); "
            "delete files and try again"
        )


async def _receive(request: Request, form: _Form, options: ServeOptions) -> None:
    waiting, stream = bytearray(), request.stream()
    try:
        async with asyncio.timeout(options.upload_timeout_s):
            while True:
                try:
                    async with asyncio.timeout(options.body_timeout_s):
                        piece = await anext(stream)
                except StopAsyncIteration:
                    break
                waiting += piece
                if len(waiting) >= _WRITE_BYTES:
                    data, waiting = bytes(waiting), bytearray()
                    await in_thread(lambda data=data: form.write(data))  # type: ignore[misc]  # mypy sees no T in a lambda
            await in_thread(lambda: form.write(bytes(waiting)))
    except TimeoutError:
        raise RefusedError(
            408, "the file did not arrive in time; send it faster", code="timeout", headers=_CLOSE
        ) from None


class _Place(Protocol):
    """Where the bytes of the file go."""

    def open(self, name: str) -> None: ...

    def write(self, data: memoryview) -> None: ...

    def close(self) -> None: ...


class _OnDisk:
    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._sink: Sink | None = None
        self.path: Path | None = None

    def open(self, name: str) -> None:
        self.path = self._store.new_place(name)
        self._sink = self._store.bytes.sink(self.path)

    def write(self, data: memoryview) -> None:
        assert self._sink is not None  # open
        assert self.path is not None
        with storage_errors(self.path):
            self._sink.write(data)

    def close(self) -> None:
        """All of it was written."""
        assert self._sink is not None  # open
        assert self.path is not None
        with storage_errors(self.path):
            self._sink.finish()
            self._sink.close()
        self._sink = None

    def discard(self) -> None:
        if self._sink is not None:
            self._sink.close()
        if self.path is not None:
            self._store.discard(self.path.parent)


class _InMemory:
    def __init__(self) -> None:
        self.name = ""
        self.data = bytearray()

    def open(self, name: str) -> None:
        self.name = name

    def write(self, data: memoryview) -> None:
        self.data += data

    def close(self) -> None:
        pass


class _Form:
    """Follows the parser; used by one thread at a time."""

    def __init__(self, place: _Place, known: frozenset[str], max_bytes: int) -> None:
        self._place = place
        self._known = known
        self._max_bytes = max_bytes
        self._parser: MultipartParser | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._field = ""
        self._text: bytearray | None = None
        self._in_file = self._has_file = False
        self._fields: dict[str, str] = {}
        self._num_bytes = self._num_parts = 0
        self._is_whole = False

    def begin(self, content_type: str) -> None:
        kind, values = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not values.get(b"boundary"):
            raise RefusedError(
                415, "a file is sent as multipart/form-data with the parts file and purpose", code="wrong_type"
            )
        try:
            self._parser = MultipartParser(
                values[b"boundary"],
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken(str(error)) from error

    def write(self, data: bytes) -> None:
        try:
            if self._parser is not None and data:
                self._parser.write(data)
        except FormParserError as error:
            raise _broken(str(error)) from error

    def finish(self) -> dict[str, str]:
        """The fields."""
        if not self._is_whole:
            raise _broken("it ends too early")
        if not self._has_file:
            raise RefusedError(400, "there is no file; send it as the part `file`", code="missing", param="file")
        return self._fields

    def _part_begin(self) -> None:
        self._num_parts += 1
        if self._num_parts > _MAX_PARTS:
            raise _broken(f"more than {_MAX_PARTS} parts")
        self._headers = {}

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, values = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = values.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in values or self._field == "file":
            self._open(values.get(b"filename", b"").decode("utf-8", "replace"))
        else:
            self._text = bytearray()

    def _open(self, name: str) -> None:
        if self._field != "file" or self._has_file:
            raise RefusedError(400, "send one file, as the part `file`", code="invalid_value", param="file")
        self._place.open(name)
        self._in_file = self._has_file = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._num_bytes += end - start
            if self._num_bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._place.write(memoryview(data)[start:end])
        elif self._text is not None:
            self._text += data[start:end]
            if len(self._text) > _MAX_FIELD_BYTES:
                raise _broken(f"the part {self._field[:40]!r} is too long")

    def _part_end(self) -> None:
        if self._in_file:
            self._place.close()
            self._in_file = False
        elif self._text is not None:
            if self._field in self._known:
                self._fields[self._field] = bytes(self._text).decode("utf-8", "replace")
            self._text = None

    def _end(self) -> None:
        self._is_whole = True


def _too_large(max_bytes: int) -> RefusedError:
    message = f"the file is larger than {max_bytes // 1_000_000} MB; split it and send its parts"
    return RefusedError(413, message, code="body_too_large", headers=_CLOSE)


def _broken(why: str) -> RefusedError:
    return RefusedError(400, f"the form is damaged ({why:.100}); send it again", code="invalid_form", headers=_CLOSE)
