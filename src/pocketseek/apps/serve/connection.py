"""A connection that cannot be held open by doing nothing: limits in time that uvicorn does not have.

- Headers must be there within header_timeout_s of the first byte (or of connecting): 408.
- A client that leaves more than the buffer holds unread for write_timeout_s is cut off, and so is one that does not
  take the rest when the connection is being closed. Its handler is cancelled as if the client had left.
- More than max_connections are not accepted.

Headers beyond max_header_bytes are refused by h11 (400). A connection that becomes a WebSocket keeps the limits of
reading and of numbers; from one whose answers (pongs, too) are not read, nothing more is read either.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn._types import WebSocketEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState

from pocketseek.apps.serve.services import ServeOptions

_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def connection_class(options: ServeOptions) -> type[H11Protocol]:
    """uvicorn makes connections itself, of a class."""

    class LimitedConnection(TimedConnection):
        limits = options

    return LimitedConnection


def socket_class(options: ServeOptions) -> type[WSProtocol]:
    """The same for WebSockets."""

    class LimitedSocket(TimedSocket):
        limits = options

    return LimitedSocket


class TimedConnection(H11Protocol):
    """See the module. Used by the event loop alone."""

    limits = ServeOptions()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._arriving: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            transport.abort()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            self._expect_headers()
        super().data_received(data)
        if not self._is_idle:
            _cancel(self._arriving)
            self._arriving = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._unread)
        self._unread = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        _cancel(self._arriving)
        self._arriving = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._arriving)
        self._arriving = None
        _cancel(self._unread)
        self._unread = None
        super().connection_lost(exc)

    @property
    def _is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_headers(self) -> None:
        if self._arriving is None:
            self._arriving = self.loop.call_later(self.limits.header_timeout_s, self._too_late)

    def _too_late(self) -> None:
        self._arriving = None
        if self._is_idle and not self.transport.is_closing():
            self.transport.write(_LATE)
            self.transport.close()
            self._abort_later()

    def _abort_later(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.write_timeout_s, self.transport.abort)


class TimedSocket(WSProtocol):
    """See the module. Used by the event loop alone."""

    limits = ServeOptions()
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()
        self._unread = self._unread or self.loop.call_later(self.limits.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._unread)
        self._unread = None
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> WebSocketEvent:
        """uvicorn reads on when a message is taken; not while nothing can be written."""
        message = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._unread)
        self._unread = None
        super().connection_lost(exc)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
