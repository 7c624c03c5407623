"""The page for the phone: its files, its conversations, updates of models, and its gauge."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pocketseek.apps.serve.conversations_api import ConversationsApi
from pocketseek.apps.serve.documents_api import DocumentsApi
from pocketseek.apps.serve.page_files import file_routes
from pocketseek.apps.serve.private_stores import PrivateStores
from pocketseek.apps.serve.replies import json_reply
from pocketseek.apps.serve.services import Services
from pocketseek.apps.serve.speed_gauge import SpeedGauge, status_value
from pocketseek.apps.serve.updates_api import update_routes
from pocketseek.apps.serve.voice.voice_api import VoiceApi


def page_routes(services: Services) -> list[BaseRoute]:
    """None of it where no conversations are kept."""
    if services.conversations is None:
        return []
    gauge = SpeedGauge()

    async def status(request: Request) -> Response:
        return json_reply(status_value(gauge, services.models.loaded_engines()))

    stores = PrivateStores(services.conversations)
    api, voice = ConversationsApi(services, stores), VoiceApi(services, stores)
    documents = [] if services.files is None else DocumentsApi(services, services.files).routes()
    return [
        *file_routes(),
        Route("/api/status", status),
        *api.routes(),
        *documents,
        *update_routes(services),
        *voice.routes(),
    ]
