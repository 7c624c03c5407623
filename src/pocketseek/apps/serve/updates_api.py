"""/api/models/NAME/update: looking for an update of a model, and installing it. Made for the page.

    POST   /api/models/NAME/update/check   {} -> what the place that it came from offers now, and what that takes
    POST   /api/models/NAME/update         {new, allow_metered} -> begin to install what was offered as `new`
    GET    /api/models/NAME/update         how far that is, or how the last one ended
    DELETE /api/models/NAME/update         end it; what arrived is kept

Nothing is asked of any other machine before somebody calls the first. Who may: as of limits.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.model_updates import ModelUpdates
from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.bodies import parse_body
from pocketseek.apps.serve.endpoint import read_json
from pocketseek.apps.serve.limits import check_may_update
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import Services


class CheckBody(Struct):
    pass


class InstallBody(Struct):
    """new: as `check` told it. allow_metered: also over a network that is paid for by the byte."""

    new: str
    allow_metered: bool = False


class UpdatesApi:
    def __init__(self, services: Services, updates: ModelUpdates) -> None:
        self._services = services
        self._updates = updates

    def routes(self) -> list[Route]:
        one = "/api/models/{name}/update"
        return [
            Route(f"{one}/check", self.check, methods=["POST"]),
            Route(one, self.state, methods=["GET"]),
            Route(one, self.install, methods=["POST"]),
            Route(one, self.stop, methods=["DELETE"]),
        ]

    async def check(self, request: Request) -> Response:
        path = self._path(request)
        parse_body(await read_json(request, self._services), CheckBody)
        with self._services.admission.place(caller_of(request)):
            return json_reply(asdict(await asyncio.to_thread(self._updates.find, path)))

    async def state(self, request: Request) -> Response:
        return json_reply(asdict(self._updates.state(self._path(request))))

    async def install(self, request: Request) -> Response:
        path = self._path(request)
        body = parse_body(await read_json(request, self._services), InstallBody)
        return json_reply(asdict(self._updates.start(path, body.new, allow_metered=body.allow_metered)), 202)

    async def stop(self, request: Request) -> Response:
        self._updates.stop(self._path(request))
        return Response(status_code=204)

    def _path(self, request: Request) -> Path:
        """Of a model that the caller may use and update. Raises RefusedError, NotFoundError."""
        caller = caller_of(request)
        name = self._services.model_name(caller, request.path_params["name"])
        check_may_update(caller)
        return self._services.models.model(name).own_path


def update_routes(services: Services) -> list[Route]:
    """None where the server does not look for updates."""
    return [] if services.updates is None else UpdatesApi(services, services.updates).routes()
