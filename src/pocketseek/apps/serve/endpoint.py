"""What every call of the API shares: its body is read within limits, and it ends when its client is gone.

A handler runs as a task of its own beside a watcher of the connection. When the client leaves, the task is cancelled
where it waits, and its context managers give back what it holds: engine requests (cancelled within one pass), the
model, its place among the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pocketseek.apps.serve.access import Caller, caller_of
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.services import ServeOptions, Services, services_of
from pocketseek.types import Priority, Service

_CLOSE = {"Connection": "close"}  # the rest of the body is not waited for


@dataclass
class Call:
    """A request whose body is there, until it is taken. send: of ASGI."""

    services: Services
    caller: Caller
    headers: Headers
    body: bytes | None
    scope: Scope
    send: Send

    def take_body(self) -> bytes:
        """Once. An answer takes long, and what was sent may be large."""
        body, self.body = self.body or b"", None
        return body

    def service(self, user: str | None, priority: Priority | None) -> Service:
        """For the engine. Shares are per token; without tokens, per `user` that the client names."""
        wanted = priority or self.headers.get("x-priority", "").strip().lower()
        client = self.caller.name if self.caller.has_token else f"user:{(user or '')[:64]}"
        return Service("background" if wanted == "background" else "interactive", client)

    async def reply(self, response: Response) -> None:
        await response(self.scope, _no_more, self.send)


Handler = Callable[[Call], Coroutine[None, None, None]]


@dataclass(frozen=True)
class BodyLimit:
    most_bytes: int
    timeout_s: float

    @classmethod
    def of(cls, options: ServeOptions) -> BodyLimit:
        return cls(options.max_body_bytes, options.body_timeout_s)


class Endpoint:
    """An ASGI application for one handler, to be put into a Route. limit_of: what its bodies may be."""

    def __init__(self, handler: Handler, limit_of: Callable[[ServeOptions], BodyLimit] = BodyLimit.of) -> None:
        self._handler = handler
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        services = services_of(request)
        with services.admission.place(caller_of(request)):  # while its body arrives, too
            try:
                body = await read_body(request, services, self._limit_of(services.options))
                call = Call(services, caller_of(request), request.headers, body, scope, send)
            except ClientDisconnect:
                return
            await while_connected(receive, self._handler(call))


async def read_body(request: Request, services: Services, limit: BodyLimit | None = None) -> bytes:
    """Raises RefusedError: 413 for too many bytes, 408 for too much time, 429 while others send too much."""
    limit = limit or BodyLimit.of(services.options)
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or int(announced[:20]) > limit.most_bytes:
        raise _too_large(limit)
    data = bytearray()
    with services.bodies.arriving() as arrived:
        await _receive(request, limit, data, arrived)
        return bytes(data)


async def read_json(request: Request, services: Services) -> bytes:
    """A body that says it is JSON: a form of another page cannot send this type without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "the body must be JSON; send Content-Type: application/json", code="wrong_type")
    return await read_body(request, services)


async def _receive(request: Request, limit: BodyLimit, data: bytearray, arrived: Callable[[int], None]) -> None:
    try:
        async with asyncio.timeout(limit.timeout_s):
            async for piece in request.stream():
                arrived(len(piece))
                data += piece
                if len(data) > limit.most_bytes:
                    raise _too_large(limit)
    except TimeoutError:
        message = f"the body did not arrive within {limit.timeout_s:g} s; send it faster"
        raise RefusedError(408, message, code="timeout", headers=_CLOSE) from None


async def while_connected(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """Run `work`; if the client leaves before it has ended, cancel it and return."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        await _cancel(watcher)
        await _cancel(task)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(task: asyncio.Future[None]) -> None:
    """And wait until it has given back what it holds."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen: either raised by the caller, or of somebody who is gone


async def _no_more() -> dict[str, object]:
    return {"type": "http.disconnect"}


def _too_large(limit: BodyLimit) -> RefusedError:
    message = f"the body is larger than {limit.most_bytes} bytes; send less"
    return RefusedError(413, message, code="body_too_large", headers=_CLOSE)
