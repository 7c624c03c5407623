"""/openapi.json: what may be asked, made from the structures that requests are read with.

The answers are OpenAI's; their forms are told as far as programs need them to tell an answer from an error.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from pocketseek import __version__
from pocketseek.apps.serve.bodies import (
    ChatBody,
    CompletionBody,
    ContentPart,
    EmbeddingBody,
    MessageBody,
    ReadBody,
    SpeechBody,
)

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = {
    400: "Something in the request is wrong.",
    401: "A token is needed, or this one is unknown.",
    403: "Not with this token, or not from this page.",
    404: "No such model or file, or nothing at this path.",
    405: "Not with this method.",
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    421: "Not under this name.",
    409: "A file is still being read.",
    415: "Not in this form.",
    422: "The model cannot do this, or a file cannot be read.",
    429: "Too many requests; Retry-After says when to come again.",
    431: "The headers are too large.",
    503: "Not now.",
    507: "The disk is full.",
}


@cache
def openapi_bytes() -> bytes:
    bodies = [ChatBody, CompletionBody, EmbeddingBody, ReadBody, SpeechBody]
    _, components = msgspec.json.schema_components(
        [*bodies, MessageBody, ContentPart], ref_template="#/components/schemas/{name}"
    )
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "pocketseek", "version": __version__, "description": "See docs/serve.md."},
            "security": [{}, {"token": []}],
            "paths": {
                "/health": {"get": _operation("Whether the server answers, and how warm the device is.")},
                "/metrics": {"get": _operation("Figures for Prometheus.", media="text/plain")},
                "/openapi.json": {"get": _operation("This document.")},
                "/v1/models": {"get": _operation("The models that are served.")},
                "/v1/models/{name}": {"get": _operation("One model.", parameters=[_NAME])},
                "/v1/chat/completions": {"post": _operation("Answer a conversation.", body=ChatBody)},
                "/v1/completions": {"post": _operation("Continue texts.", body=CompletionBody)},
                "/v1/files": {
                    "get": _operation("The files of this caller.", parameters=_LISTING),
                    "post": _operation("Upload a document.", form=_FORM),
                },
                "/v1/files/{id}": {
                    "get": _operation("One file, and whether it is read.", parameters=[_FILE]),
                    "delete": _operation("Delete a file and all that was made of it.", parameters=[_FILE]),
                },
                "/v1/files/{id}/content": {
                    "get": _operation("The bytes of a file.", parameters=[_FILE], media="application/octet-stream"),
                },
                "/v1/files/{id}/read": {
                    "post": _operation(
                        "Read a file once more, otherwise.", parameters=[_FILE], body=ReadBody, streams=False
                    ),
                },
                "/v1/audio/transcriptions": {"post": _operation("A recording as text.", form=_RECORDING)},
                "/v1/audio/speech": {
                    "post": _operation("A text as sound.", body=SpeechBody, streams=False, media="audio/wav"),
                },
                "/v1/embeddings": {"post": _operation("Texts as vectors.", body=EmbeddingBody, streams=False)},
            },
            "components": {
                "schemas": components | {"Error": _ERROR},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


_FILE = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_LISTING = [
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 10000}},
    {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"]}},
    {"name": "after", "in": "query", "schema": {"type": "string"}},
    {"name": "purpose", "in": "query", "schema": {"type": "string"}},
]
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"enum": ["assistants", "user_data"]},
        "password": {"type": "string", "description": "Of an encrypted PDF; it is not kept."},
        "ocr": {"enum": ["true", "false"], "description": "Read pages that are pictures."},
        "comments": {"enum": ["true", "false"], "description": "Read the comments of a DOCX."},
    },
}
_RECORDING = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "WAV, or what soundfile reads."},
        "model": {"type": "string", "description": "whisper-1: whatever recogniser is installed."},
        "language": {"type": "string", "description": "en, zh and so on; found out if not given."},
        "response_format": {"enum": ["json", "text", "verbose_json", "srt", "vtt"]},
    },
}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _operation(
    summary: str,
    *,
    body: type[msgspec.Struct] | None = None,
    form: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    media: str = "application/json",
    streams: bool = True,
) -> dict[str, Any]:
    answer: dict[str, Any] = {media: {"schema": {"type": "object" if media == "application/json" else "string"}}}
    if body is not None and streams:
        answer["text/event-stream"] = {"schema": {"type": "string"}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = {"200": {"description": "The answer.", "content": answer}}
    responses |= {str(status): {"description": text, "content": error} for status, text in _STATUSES.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if form is not None:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    if parameters:
        operation["parameters"] = parameters
    return operation
