"""/api/conversations: what the page asks the server for. Made for the page, without promises to other programs.

    GET    /api/conversations?query=&limit=&before=    list or search, the newest first
    POST   /api/conversations                          {model, system, title, documents} -> a new one
    GET    /api/conversations/ID                       all turns, answers as HTML, whether one is being written
    PATCH  /api/conversations/ID                       {title} or {documents}: ids of the files that it is about
    DELETE /api/conversations/ID                       with the files that no other one is about
    GET    /api/conversations/ID/export?format=md|json
    POST   /api/conversations/ID/turns                 {text, index, model, settings, document_mode, documents, summary}
                                                       -> the answer as events
    POST   /api/conversations/ID/regenerate            {model, settings, document_mode, documents, summary}, the same
    GET    /api/conversations/ID/answer                join the answer that is being written; 404: there is none
    POST   /api/conversations/ID/stop

Events are those of RunningAnswer. A client that leaves ends nothing; `stop` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pocketseek.apps.conversation import Conversation, ConversationInfo, Turn
from pocketseek.apps.conversation_files import export_conversation
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.serve.access import Caller, caller_of
from pocketseek.apps.serve.answer_hub import AnswerHub, AnswerOrder
from pocketseek.apps.serve.attached_files import attached_files, settings_with_files
from pocketseek.apps.serve.bodies import parse_body
from pocketseek.apps.serve.conversation_bodies import AgainBody, ChangeBody, NewBody, StopBody, TurnBody
from pocketseek.apps.serve.endpoint import read_json, while_connected
from pocketseek.apps.serve.event_stream import event, send_events
from pocketseek.apps.serve.private_stores import PrivateStores
from pocketseek.apps.serve.replies import RefusedError, json_reply
from pocketseek.apps.serve.running_answer import RunningAnswer, turn_value
from pocketseek.apps.serve.services import Services
from pocketseek.errors import UsageError

_MOST_LISTED = 200
_HEARTBEAT_S = 10.0
_HEARTBEAT = b": still here\n\n"
_SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_EXPORTS = {"md": "text/markdown; charset=utf-8", "json": "application/json"}

B = TypeVar("B", bound=Struct)
Change = Callable[[ConversationStore, str], None]


class ConversationsApi:
    """The handlers, with what they share."""

    def __init__(self, services: Services, stores: PrivateStores) -> None:
        self._services = services
        self._stores = stores
        self._hub = AnswerHub(services)

    def routes(self) -> list[Route]:
        one = "/api/conversations/{id}"
        return [
            Route("/api/conversations", self.list, methods=["GET"]),
            Route("/api/conversations", self.create, methods=["POST"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/export", self.export, methods=["GET"]),
            Route(f"{one}/turns", self.ask, methods=["POST"]),
            Route(f"{one}/regenerate", self.regenerate, methods=["POST"]),
            Route(f"{one}/answer", self.join, methods=["GET"]),
            Route(f"{one}/stop", self.stop, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        limit = min(_number(request, "limit") or 50, _MOST_LISTED)
        if query := request.query_params.get("query", "").strip():
            hits = await asyncio.to_thread((await self._store(request)).search, query, limit)
            found = [_info_value(hit.info) | {"excerpt": hit.excerpt} for hit in hits]
            return json_reply({"conversations": found, "before": None})
        infos = await asyncio.to_thread((await self._store(request)).list, limit, _number(request, "before"))
        before = infos[-1].revision if len(infos) == limit else None
        return json_reply({"conversations": [_info_value(info) for info in infos], "before": before})

    async def create(self, request: Request) -> Response:
        body = await self._body(request, NewBody)
        model = self._services.model_name(caller_of(request), body.model or None)
        store, settings = await self._store(request), settings_with_files("{}", body.documents)
        made = await asyncio.to_thread(store.create, model, body.title, body.system, settings)
        return json_reply(_info_value(made.info), 201)

    async def get(self, request: Request) -> Response:
        store, name = await self._store(request), _id(request)
        is_running = self._hub.running(name) is not None
        conversation = await asyncio.to_thread(store.get, name)
        return json_reply(await asyncio.to_thread(_conversation_value, conversation, is_running))

    async def change(self, request: Request) -> Response:
        body = await self._body(request, ChangeBody)
        store = await self._store(request)
        await asyncio.to_thread(_change, store, _id(request), body)
        return json_reply(_info_value(await asyncio.to_thread(store.info, _id(request))))

    async def delete(self, request: Request) -> Response:
        store = await self._own(request)
        await self._hub.stop(_id(request))
        await asyncio.to_thread(self._delete, store, _id(request), caller_of(request))
        return Response(status_code=204)

    async def export(self, request: Request) -> Response:
        conversation = await asyncio.to_thread((await self._store(request)).get, _id(request))
        kind = request.query_params.get("format", "md")
        if kind not in _EXPORTS:
            raise UsageError(f"{kind[:40]!r} is no format for conversations; use md or json")
        text = await asyncio.to_thread(export_conversation, conversation, "json" if kind == "json" else "md")
        headers = {"Content-Disposition": f'attachment; filename="conversation.{kind}"', **_SAFE}
        return Response(text.encode("utf-8", "replace"), headers=headers, media_type=_EXPORTS[kind])

    async def ask(self, request: Request) -> Response:
        body = await self._body(request, TurnBody)
        if not body.text.strip():
            raise UsageError("the question is empty; write something")
        return await self._answer(
            request, body, partial(_put, question=Turn("user", body.text.strip()), index=body.index)
        )

    async def regenerate(self, request: Request) -> Response:
        body = await self._body(request, AgainBody)
        return await self._answer(request, body, _drop_answer)

    async def join(self, request: Request) -> Response:
        await self._own(request)
        answer = self._hub.running(_id(request))
        if answer is None:
            raise RefusedError(404, "no answer is being written here; load the conversation", code="not_running")
        return _AnswerResponse(answer)

    async def stop(self, request: Request) -> Response:
        await self._body(request, StopBody)
        await self._own(request)
        await self._hub.stop(_id(request))
        return Response(status_code=204)

    async def _answer(self, request: Request, body: AgainBody, change: Change) -> Response:
        settings, store = body.settings, await self._store(request)
        order = AnswerOrder(
            store,
            _id(request),
            caller_of(request),
            self._services.model_name(caller_of(request), body.model or None),
            lambda: change(store, _id(request)),
            settings.temperature,
            settings.max_tokens,
            settings.seed,
            body.document_mode,
            tuple(body.documents),
            body.summary,
        )
        return _AnswerResponse(await self._hub.start(order))

    def _delete(self, store: ConversationStore, name: str, caller: Caller) -> None:
        file_ids = attached_files(store.get(name))
        store.delete(name)
        if self._services.files is not None and file_ids:
            files = self._services.files.of(caller)
            for file_id in file_ids:
                if files.has(file_id) and not store.is_in_settings(file_id):
                    files.delete(file_id)

    async def _store(self, request: Request) -> ConversationStore:
        return await asyncio.to_thread(self._stores.of, caller_of(request))

    async def _own(self, request: Request) -> ConversationStore:
        """The store that has the conversation. Raises NotFoundError for somebody else's."""
        store = await self._store(request)
        await asyncio.to_thread(store.info, _id(request))
        return store

    async def _body(self, request: Request, kind: type[B]) -> B:
        return parse_body(await read_json(request, self._services), kind)


class _AnswerResponse(Response):
    """An answer's updates as server-sent events; a comment now and then, so that both ends notice when one is gone."""

    def __init__(self, answer: RunningAnswer) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, send_events(send, self._chunks()))

    async def _chunks(self) -> AsyncIterator[bytes]:
        updates = self._answer.updates()
        waiting = asyncio.ensure_future(anext(updates))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=_HEARTBEAT_S)
                if not done:
                    yield _HEARTBEAT
                    continue
                try:
                    value = waiting.result()
                except StopAsyncIteration:
                    return
                yield event(value)
                waiting = asyncio.ensure_future(anext(updates))
        finally:
            waiting.cancel()


def _id(request: Request) -> str:
    name = request.path_params["id"]
    assert isinstance(name, str)  # as the route says
    return name


def _number(request: Request, name: str) -> int | None:
    """Raises UsageError."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) == 0:
        raise UsageError(f"{name}={text[:40]!r} is no number from 1 up; leave it out or give one")
    return int(text)


def _info_value(info: ConversationInfo) -> dict[str, object]:
    return {
        "id": info.id,
        "title": info.title,
        "model": info.model,
        "created_s": info.created_s,
        "updated_s": info.updated_s,
        "num_turns": info.num_turns,
    }


def _conversation_value(conversation: Conversation, is_running: bool) -> dict[str, object]:
    turns = [turn_value(turn) for turn in conversation.turns]
    return _info_value(conversation.info) | {
        "system": conversation.system,
        "turns": turns,
        "running": is_running,
        "documents": list(attached_files(conversation)),
    }


def _change(store: ConversationStore, name: str, body: ChangeBody) -> None:
    if body.title is not None:
        store.rename(name, body.title)
    if body.documents is not None:
        store.set_settings(name, settings_with_files(store.get(name).settings_json, body.documents))


def _put(store: ConversationStore, name: str, *, question: Turn, index: int | None) -> None:
    """At the end, or in place of question `index` and all that follows it."""
    turns = store.get(name).turns
    index = len(turns) if index is None else index
    if index < len(turns) and turns[index].role != "user":
        raise UsageError(f"turn {index} is an answer; only questions can be edited")
    store.replace_from(name, index, [question])


def _drop_answer(store: ConversationStore, name: str) -> None:
    turns = store.get(name).turns
    if not any(turn.role == "user" for turn in turns):
        raise UsageError("there is no question to answer yet; ask one")
    num_kept = len(turns)
    while turns[num_kept - 1].role != "user":
        num_kept -= 1
    store.replace_from(name, num_kept)
