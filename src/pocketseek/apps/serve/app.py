"""The application: its routes, what surrounds them, and how errors become answers.

This is the only place besides `cli/main.py` that catches PocketseekError: the class has the HTTP status, the message is
passed on in OpenAI's form. An error that nobody foresaw is a 500 that says nothing about its inside; it is logged.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.chat_api import chat_routes
from pocketseek.apps.serve.completions_api import completion_routes
from pocketseek.apps.serve.embeddings_api import embedding_routes
from pocketseek.apps.serve.files_api import files_routes
from pocketseek.apps.serve.guard import Guard
from pocketseek.apps.serve.health import health
from pocketseek.apps.serve.models_api import model_routes
from pocketseek.apps.serve.openapi import openapi_bytes
from pocketseek.apps.serve.page import page_routes
from pocketseek.apps.serve.recorder import Recorder
from pocketseek.apps.serve.replies import RefusedError, describe_error, error_reply, json_reply
from pocketseek.apps.serve.services import Services, services_of
from pocketseek.apps.serve.voice.audio_api import audio_routes
from pocketseek.errors import PocketseekError


def create_app(services: Services) -> Starlette:
    """An ASGI application; whoever runs it closes `services` afterwards."""
    routes = [
        Route("/health", _health),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
        *model_routes(),
        *chat_routes(),
        *completion_routes(),
        *embedding_routes(),
        *audio_routes(),
        *files_routes(services),
        *page_routes(services),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Recorder, services=services, routes=routes), Middleware(Guard, services=services)],
        exception_handlers={
            PocketseekError: _known_error,
            RefusedError: _refused,
            HTTPException: _http_error,
            Exception: _unforeseen_error,
        },
    )
    app.state.services = services
    return app


async def _health(request: Request) -> Response:
    return json_reply(health(services_of(request).thermal_statuses()))


async def _metrics(request: Request) -> Response:
    """They tell of all models and everybody who asks."""
    if caller_of(request).limits.models:
        raise RefusedError(403, "this token is for some models only; the figures are of all", code="model_forbidden")
    return PlainTextResponse(services_of(request).metrics_text(), media_type="text/plain; version=0.0.4")


async def _openapi(request: Request) -> Response:
    return Response(openapi_bytes(), media_type="application/json")


async def _known_error(request: Request, error: Exception) -> Response:
    status, value = describe_error(error)
    return json_reply(value, status, {"Retry-After": "5"} if status == 503 else None)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # as registered above
    return error_reply(error.status, error.message, code=error.code, param=error.param, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # as registered above
    known = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not possible here"}
    return error_reply(error.status_code, known.get(error.status_code, error.detail), headers=error.headers)


async def _unforeseen_error(request: Request, error: Exception) -> Response:
    status, value = describe_error(error)
    return json_reply(value, status)
