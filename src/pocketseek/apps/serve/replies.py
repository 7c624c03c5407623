"""What an answer looks like that is not a stream: JSON, and errors in the form that OpenAI's clients read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from pocketseek.errors import PocketseekError

_log = logging.getLogger(__name__)
_CODES = {"NotFoundError": "model_not_found", "ContextLengthError": "context_length_exceeded"}


class RefusedError(Exception):
    """A request that is turned away for what HTTP, not the engine, has to say about it. `code` is for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """value: anything that msgspec encodes."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def error_value(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": error_type(status), "param": param, "code": code}}


def error_reply(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return json_reply(error_value(status, message, code, param), status, headers)


def error_type(status: int) -> str:
    """As OpenAI calls them."""
    names = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    return names.get(status, "invalid_request_error" if status < 500 else "server_error")


def describe_error(error: BaseException) -> tuple[int, dict[str, object]]:
    """Status and JSON value of any error: also for those in the middle of a stream."""
    if isinstance(error, PocketseekError):
        return error.http_status, error_value(error.http_status, str(error), _CODES.get(type(error).__name__))
    if isinstance(error, RefusedError):
        return error.status, error_value(error.status, error.message, error.code, error.param)
    _log.error("unforeseen error", exc_info=error)
    return 500, error_value(500, "the server failed; its log says why", "internal_error")
