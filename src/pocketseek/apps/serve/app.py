"""The application: its routes, what surrounds them, and how errors become answers.

This is the only place besides `cli/main.py` that catches PocketseekError: the class has the HTTP status, the message is
passed on in OpenAI's form. An error that nobody foresaw is a 500 that says nothing about its inside; it is logged.
"""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.serve.models_api import model_routes
from pocketseek.apps.serve.replies import RefusedError, error_reply, error_value, json_reply
from pocketseek.apps.serve.services import Services
from pocketseek.errors import PocketseekError

_log = logging.getLogger(__name__)
_CODES = {"NotFoundError": "model_not_found", "ContextLengthError": "context_length_exceeded"}


def create_app(services: Services) -> Starlette:
    """An ASGI application; whoever runs it closes `services` afterwards."""
    app = Starlette(
        routes=[Route("/health", _health), *model_routes()],
        exception_handlers={
            PocketseekError: _known_error,
            RefusedError: _refused,
            HTTPException: _http_error,
            Exception: _unforeseen_error,
        },
    )
    app.state.services = services
    return app


def describe_error(error: Exception) -> tuple[int, dict[str, object]]:
    """Status and JSON value of any error: also for those in the middle of a stream."""
    if isinstance(error, PocketseekError):
        return error.http_status, error_value(error.http_status, str(error), _CODES.get(type(error).__name__))
    _log.error("unforeseen error", exc_info=error)
    return 500, error_value(500, "the server failed; its log says why", "internal_error")


async def _health(request: Request) -> Response:
    return json_reply({"status": "ok"})


async def _known_error(request: Request, error: Exception) -> Response:
    status, value = describe_error(error)
    return json_reply(value, status, {"Retry-After": "5"} if status == 503 else None)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # as registered above
    return error_reply(error.status, error.message, code=error.code, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # as registered above
    known = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not possible here"}
    return error_reply(error.status_code, known.get(error.status_code, error.detail), headers=error.headers)


async def _unforeseen_error(request: Request, error: Exception) -> Response:
    status, value = describe_error(error)
    return json_reply(value, status)
