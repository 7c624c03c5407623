"""/v1/models: which models the caller may ask for."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.model_state import ModelState
from pocketseek.apps.serve.access import caller_of
from pocketseek.apps.serve.limits import may_use
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import Services, services_of


def model_routes() -> list[Route]:
    return [Route("/v1/models", _list), Route("/v1/models/{name:path}", _one)]


async def _list(request: Request) -> Response:
    services = services_of(request)
    models = [model for model in services.models.models if may_use(caller_of(request), model.name)]
    return json_reply({"object": "list", "data": [await _value(services, model) for model in models]})


async def _one(request: Request) -> Response:
    services = services_of(request)
    name = services.model_name(caller_of(request), request.path_params["name"])
    return json_reply(await _value(services, services.models.model(name)))


async def _value(services: Services, model: ServedModel) -> dict[str, object]:
    """OpenAI's fields, and under our own name where the model comes from."""
    value: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "created": model.created_s,
        "owned_by": "pocketseek",
    }
    state = await asyncio.to_thread(services.model_state, model)
    return value if state is None else {**value, "pocketseek": _state_value(state)}


def _state_value(state: ModelState) -> dict[str, object]:
    return {
        "status": state.status,
        "signed_by": state.signed_by,
        "fingerprint": state.fingerprint,
        "trusted_since": state.trusted_since_s,
        "expires": state.expires_s,
        "version": state.version,
        "verified": state.verified_s,
    }
