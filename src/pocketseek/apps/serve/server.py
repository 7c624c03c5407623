"""Running the application: a socket, signals, and an end that loses nothing it need not lose.

Asked to stop (SIGINT, SIGTERM, or `stop`), the server takes no more connections, and running answers have
`shutdown_s` to end. Then the models are closed: streams end with an error event, waiting requests with 503. A second
signal does that at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn

from pocketseek.apps.serve.app import create_app
from pocketseek.apps.serve.connection import connection_class, socket_class
from pocketseek.apps.serve.services import Services
from pocketseek.errors import StorageError

_LAST_WORDS_S = 5.0  # for telling clients that it is over
_KEEP_ALIVE_S = 15
_BACKLOG = 512
_PING_S = 20.0
_IDLE_TICKS = 300  # between two looks for speech engines that nobody uses: half a minute
MOST_MESSAGE_BYTES = 65_536
"""Of a WebSocket."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises StorageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio switches off Nagle's delay, which would hold back every second piece of an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot listen on {host} port {port} ({reason}); choose another --port or --host"
        ) from error
    return listener


class ApiServer(uvicorn.Server):
    """Closes the models when it ends. `started` is true once it answers."""

    def __init__(self, services: Services) -> None:
        options = services.options
        self._services = services
        self.stopping_signal: int | None = None
        self.was_forced = False
        super().__init__(
            uvicorn.Config(
                create_app(services),
                http=connection_class(options),
                ws=socket_class(options),
                ws_max_size=MOST_MESSAGE_BYTES,
                ws_ping_interval=_PING_S,
                ws_ping_timeout=_PING_S,
                ws_per_message_deflate=False,  # sound gets no smaller, and a small message can unpack to a large one
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=options.max_header_bytes,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(options.shutdown_s + _LAST_WORDS_S),
                backlog=_BACKLOG,
            )
        )

    def stop(self) -> None:
        """From any thread."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not kept for later, as uvicorn does: a server that was asked to stop and did has done its work."""
        if self.should_exit:
            self.was_forced = True
            self.force_exit = True
        self.stopping_signal = self.stopping_signal or sig
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if (voice := self._services.voice) is not None and counter % _IDLE_TICKS == 0:
            await asyncio.to_thread(voice.close_idle)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.ensure_future(self._close_models())
        await super().shutdown(sockets)
        closing.cancel()
        await asyncio.wait({closing})
        await asyncio.to_thread(self._services.models.close)

    async def _close_models(self) -> None:
        """When the time is over, or a second signal came."""
        waited_s = 0.0
        while waited_s < self._services.options.shutdown_s and not self.force_exit:
            await asyncio.sleep(0.05)
            waited_s += 0.05
        await asyncio.to_thread(self._services.models.close)


def run_server(server: ApiServer, listener: socket.socket) -> int:
    """Until it is stopped. Returns the exit code: 0, or 128 and the signal if it had to be told twice."""
    server.run(sockets=[listener])
    forced = server.was_forced and server.stopping_signal is not None
    return 128 + int(server.stopping_signal or signal.SIGTERM) if forced else 0
