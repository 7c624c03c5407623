"""/v1/models: which models may be asked for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import services_of


def model_routes() -> list[Route]:
    return [Route("/v1/models", _list), Route("/v1/models/{name:path}", _one)]


async def _list(request: Request) -> Response:
    models = services_of(request).models.models
    return json_reply({"object": "list", "data": [_value(model) for model in models]})


async def _one(request: Request) -> Response:
    return json_reply(_value(services_of(request).models.model(request.path_params["name"])))


def _value(model: ServedModel) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": model.created_s, "owned_by": "pocketseek"}
