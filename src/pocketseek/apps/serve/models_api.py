"""/v1/models: which models the caller may ask for, and in what state they are. A model with an adapter is one of them,
"base:adapter", whose `parent` is the base and whose state is the adapter's.

Where a model came from is told to those who may look there for an update (updates_api.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.model_state import ModelState
from pocketseek.apps.serve.access import Caller, caller_of
from pocketseek.apps.serve.limits import may_update, may_use
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import Services, services_of


def model_routes() -> list[Route]:
    return [Route("/v1/models", _list), Route("/v1/models/{name:path}", _one)]


async def _list(request: Request) -> Response:
    services = services_of(request)
    served = await asyncio.to_thread(services.models.with_adapters)
    models = [model for model in served if may_use(caller_of(request), model.name)]
    caller = caller_of(request)
    return json_reply({"object": "list", "data": [await _value(services, caller, model) for model in models]})


async def _one(request: Request) -> Response:
    services = services_of(request)
    name = services.model_name(caller_of(request), request.path_params["name"])
    return json_reply(await _value(services, caller_of(request), services.models.model(name)))


async def _value(services: Services, caller: Caller, model: ServedModel) -> dict[str, object]:
    """OpenAI's fields, and under our own name where the model comes from."""
    value: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "created": model.created_s,
        "owned_by": "pocketseek",
    }
    if model.adapter:
        value["parent"] = model.base_name
    state = await asyncio.to_thread(services.model_state, model)
    if state is None:
        return value
    updates = services.updates if may_update(caller) else None
    origin = None if updates is None else await asyncio.to_thread(updates.origin, model.own_path)
    facts = _state_value(state) | {"origin": None if origin is None else asdict(origin)}
    return {**value, "pocketseek": facts}


def _state_value(state: ModelState) -> dict[str, object]:
    health = state.health
    return {
        "status": state.status,
        "signed_by": state.signed_by,
        "fingerprint": state.fingerprint,
        "trusted_since": state.trusted_since_s,
        "expires": state.expires_s,
        "version": state.version,
        "verified": state.verified_s,
        "num_bytes": state.num_bytes,
        "seal": state.seal,
        "num_chunks": 0 if health is None else health.num_chunks,
        "num_checked": 0 if health is None else health.num_checked,
        "checked_since": None if health is None else health.checked_since_s,
        "num_damaged": 0 if health is None else len(health.damaged),
    }
