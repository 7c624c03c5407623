"""What is counted and written down of a request has the name of its route, and nothing of what its address names."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from pocketseek.apps.serve.recorder import Recorder
from pocketseek.apps.serve.request_log import RequestLog


async def _endpoint(_: Request) -> PlainTextResponse:
    return PlainTextResponse("")


ROUTES = [Route("/api/status", _endpoint), Route("/api/chats/{id}/turns", _endpoint)]


def counted(path: str, status: int = 200) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    metrics = SimpleNamespace(count_response=lambda *one: seen.append(one))
    services = SimpleNamespace(metrics=metrics, log=RequestLog(log_prompts=False))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        pass

    scope = {"type": "http", "path": path, "method": "POST"}
    asyncio.run(Recorder(app, services, ROUTES)(scope, receive, send))
    return seen


def test_routes_are_told_apart_and_what_they_name_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pocketseek.serve")
    assert counted("/api/chats/secret/turns") == [("/api/chats/{id}/turns", 200)]
    assert counted("/secret") == [("other", 200)]
    assert "/api/chats/{id}/turns 200" in caplog.text
    assert "secret" not in caplog.text


def test_what_is_asked_every_second_leaves_a_line_only_if_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pocketseek.serve")
    assert counted("/api/status") == [("/api/status", 200)]
    assert caplog.text == ""
    counted("/api/status", 500)
    assert "/api/status 500" in caplog.text
