"""/v1/models: which models the caller may ask for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.limits import check_model, may_use
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import services_of


def model_routes() -> list[Route]:
    return [Route("/v1/models", _list), Route("/v1/models/{name:path}", _one)]


async def _list(request: Request) -> Response:
    models = [model for model in services_of(request).models.models if may_use(caller_of(request), model.name)]
    return json_reply({"object": "list", "data": [_value(model) for model in models]})


async def _one(request: Request) -> Response:
    model = services_of(request).models.model(request.path_params["name"])
    check_model(caller_of(request), model.name)
    return json_reply(_value(model))


def _value(model: ServedModel) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": model.created_s, "owned_by": "pocketseek"}
