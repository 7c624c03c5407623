"""/api/voice: talking to a model. Made for the page; see docs/serve-api.md for what travels.

    POST /api/voice       {conversation, model, system, language, push_to_talk, settings}
                          -> {ticket, protocol, sample_rate, expires_s}
    GET  /api/voice       a WebSocket that offers `protocol` and the ticket as its subprotocols

What is wrong is told by the POST, with a status and a message: a browser learns nothing of a WebSocket that is refused.
A session is one of the requests that its token may have at a time, and each answer counts as one that begins. It ends
soon after its token was revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from pocketseek.apps.serve.access import Caller, caller_of, is_revoked
from pocketseek.apps.serve.attached_files import attached_files
from pocketseek.apps.serve.bodies import parse_body
from pocketseek.apps.serve.conversation_bodies import VoiceBody
from pocketseek.apps.serve.endpoint import read_json
from pocketseek.apps.serve.private_stores import PrivateStores
from pocketseek.apps.serve.replies import RefusedError, describe_error, error_reply, json_reply
from pocketseek.apps.serve.running_answer import turn_value
from pocketseek.apps.serve.services import Services
from pocketseek.apps.serve.upload import in_thread
from pocketseek.apps.serve.voice.call import VoiceCall, close
from pocketseek.apps.serve.voice.chat import Kept, SpokenConversation, VoiceOrder
from pocketseek.apps.serve.voice.desk import VoiceDesk, voice_desk
from pocketseek.apps.serve.voice.frames import FAILED, REFUSED, TRY_LATER, CloseError, text_frame
from pocketseek.apps.serve.voice.tickets import LIFETIME_S, PROTOCOL, Tickets
from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.errors import UnsupportedError, VoiceError

TOKEN_CHECK_S = 2.0
_ADMIT_S = 10.0  # the loop answers at once, unless it has ended


class VoiceApi:
    """The handlers, with what they share. Of one event loop."""

    def __init__(self, services: Services, stores: PrivateStores) -> None:
        self._services = services
        self._stores = stores
        self._tickets = Tickets()
        self._num_calls = 0

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/voice", self.order, methods=["POST"]), WebSocketRoute("/api/voice", self.call)]

    async def order(self, request: Request) -> Response:
        caller = caller_of(request)
        with self._services.admission.place(caller):
            body = parse_body(await read_json(request, self._services), VoiceBody)
            model = self._services.model_name(caller, body.model or None)
            desk = voice_desk(self._services.voice)
            if self._num_calls >= desk.max_calls:
                raise RefusedError(429, _too_many(desk), code="rate_limit_exceeded", headers={"Retry-After": "5"})
            store = await asyncio.to_thread(self._stores.of, caller)
            order = VoiceOrder(
                caller,
                store,
                model,
                body.conversation,
                body.system,
                body.language,
                body.push_to_talk,
                body.settings,
            )
            await asyncio.to_thread(_check_conversation, order)
            await asyncio.to_thread(desk.makers.check, order.language)
            ticket = self._tickets.issue(order)
        value = {"ticket": ticket, "protocol": PROTOCOL, "sample_rate": SAMPLE_RATE, "expires_s": LIFETIME_S}
        return json_reply(value, 201)

    async def call(self, socket: WebSocket) -> None:
        order = self._tickets.redeem(socket.scope["subprotocols"])
        if order is None:
            message = "a ticket is needed, or this one is used or too old; POST /api/voice gives one"
            await socket.send_denial_response(error_reply(401, message, code="invalid_ticket"))
            return
        await socket.accept(PROTOCOL)
        self._services.log.question(order.caller, order.model, b"")
        try:
            self._check_token(order.caller)  # the ticket may be older than that
            async with self._place(order.caller):
                await self._talk(socket, order)
        except CloseError as error:
            await close(socket, error)
        except RefusedError as error:
            await close(socket, CloseError(REFUSED, error.message))
        except Exception as error:  # noqa: BLE001  the last one who can tell the client; what is unforeseen is logged
            await close(socket, CloseError(FAILED, _message(error)))

    @asynccontextmanager
    async def _place(self, caller: Caller) -> AsyncIterator[None]:
        desk = voice_desk(self._services.voice)
        if self._num_calls >= desk.max_calls:
            raise CloseError(TRY_LATER, _too_many(desk))
        with self._services.admission.place(caller):
            self._num_calls += 1
            try:
                yield
            finally:
                self._num_calls -= 1

    async def _talk(self, socket: WebSocket, order: VoiceOrder) -> None:
        desk, calls = voice_desk(self._services.voice), list[VoiceCall]()
        await socket.send_text(text_frame({"type": "loading"}))

        def tell_kept(kept: Kept) -> None:
            for call in calls:
                call.tell(kept_value(kept))

        chat = SpokenConversation(
            order,
            self._services.models,
            desk.makers.style,
            admit=partial(self._admit, order, asyncio.get_running_loop()),
            on_kept=tell_kept,
        )
        with ExitStack() as stack:
            try:
                talk = await in_thread(lambda: _open(desk, order, chat, stack))
                async with self._services.leases.engine(order.model):
                    pass  # opened now, so that the first question does not wait for it
                check = partial(self._check_token, order.caller)
                call = VoiceCall(socket, talk, check=check, check_s=TOKEN_CHECK_S)
                calls.append(call)
                await socket.send_text(text_frame({"type": "ready"}))
                await call.run()
            finally:
                await in_thread(stack.close)

    def _admit(self, order: VoiceOrder, loop: asyncio.AbstractEventLoop, is_new: bool) -> None:
        """Before each answer, in a thread of the session. Raises VoiceError."""
        try:
            asyncio.run_coroutine_threadsafe(self._count(order, is_new), loop).result(_ADMIT_S)
        except RefusedError as error:
            raise VoiceError(error.message) from error
        except TimeoutError as error:
            raise VoiceError("the server is ending; begin again once it is back") from error

    async def _count(self, order: VoiceOrder, is_new: bool) -> None:
        self._check_token(order.caller)
        if is_new:
            self._services.admission.count(order.caller)
        self._services.metrics.count_answers(order.model, 1)

    def _check_token(self, caller: Caller) -> None:
        """Raises RefusedError. A session may last for hours, and nothing that is said in it is for the revoked."""
        if is_revoked(caller, self._services.tokens):
            raise RefusedError(401, "the access token was revoked; ask for a new one", code="invalid_api_key")


def kept_value(kept: Kept) -> dict[str, object]:
    """Two new turns, for the page."""
    info = kept.conversation.info
    turns = [turn_value(turn) for turn in kept.conversation.turns[kept.index : kept.index + 2]]
    where = {"conversation": info.id, "title": info.title, "index": kept.index}
    return {"type": "kept", "turn": kept.turn, **where, "turns": turns}


def _open(desk: VoiceDesk, order: VoiceOrder, chat: SpokenConversation, stack: ExitStack) -> VoiceSession:
    parts = stack.enter_context(desk.parts(order.language))
    talk = desk.makers.talk(parts, chat, language=order.language, push_to_talk=order.push_to_talk)
    stack.callback(talk.close)
    return talk


def _check_conversation(order: VoiceOrder) -> None:
    """Raises NotFoundError, UnsupportedError."""
    if order.conversation_id and attached_files(order.store.get(order.conversation_id)):
        raise UnsupportedError(
            "this chat is about documents, which are asked about in writing; begin a new one to talk"
        )


def _too_many(desk: VoiceDesk) -> str:
    return f"{desk.max_calls} voice sessions are held already; wait for one to end"


def _message(error: Exception) -> str:
    inner = describe_error(error)[1]["error"]
    assert isinstance(inner, dict)  # as describe_error makes it
    return str(inner["message"])
