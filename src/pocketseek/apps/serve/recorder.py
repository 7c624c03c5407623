"""Around everything: each response is counted and noted, by route and status."""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketseek.apps.serve.services import Services

_OTHER = "other"


class Recorder:
    """routes: those that have a name of their own in the figures; the rest is "other"."""

    def __init__(self, app: ASGIApp, services: Services, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._services = services
        self._routes = {route.path: route.path_regex for route in routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        start_s = time.perf_counter()
        status = 499  # nothing was answered: the client left

        async def record(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self._app(scope, receive, record)
        finally:
            route = self._name(scope["path"])
            self._services.metrics.count_response(route, status)
            self._services.log.response(scope.get("method", "WEBSOCKET"), route, status, time.perf_counter() - start_s)

    def _name(self, path: str) -> str:
        """As it is in the table of routes: without what an address names, and so never more than there are routes."""
        if path in self._routes:
            return path
        return next((name for name, pattern in self._routes.items() if pattern.match(path)), _OTHER)
