"""One voice session over one WebSocket: what comes in is fed to it, what happens in it is sent out.

Three tasks of the event loop. `_listen` checks what the client sends and hands it on, which never blocks. `_tell` waits
for the session's events in a thread of its own and sends them; while the client does not read, it waits, and
connection.py ends the connection of one who does not read for too long. `_watch` asks now and then whether the client
may still go on. Whichever ends first ends the others, and the session. A session in which nobody speaks for QUIET_S is
ended, and so is one whose client sends nothing for SILENT_S.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pocketseek.apps.serve.replies import RefusedError, describe_error
from pocketseek.apps.serve.upload import in_thread
from pocketseek.apps.serve.voice.frames import FAILED, REFUSED, CloseError, Intake, Order, Outlet, text_frame
from pocketseek.apps.voice.events import AnswerAudio, SpeechStarted, VoiceEvent
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.apps.voice.sound.sound_file import of_pcm16

SILENT_S = 60.0
QUIET_S = 900.0
_DONE = 1000


class VoiceCall:
    """Of one event loop."""

    def __init__(
        self,
        socket: WebSocket,
        talk: VoiceSession,
        *,
        check: Callable[[], None],
        check_s: float,
        silent_s: float = SILENT_S,
        quiet_s: float = QUIET_S,
    ) -> None:
        """check: called every check_s; raises what ends the session."""
        self._socket = socket
        self._talk = talk
        self._check = check
        self._check_s = check_s
        self._silent_s = silent_s
        self._quiet_s = quiet_s
        self._spoken_s = time.monotonic()
        self._heard_turn = 0
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "pocketseek-call")

    async def run(self) -> None:
        """Until either side ends it. The socket is closed then, with the reason; the session is closed in any case."""
        tasks = [asyncio.ensure_future(work) for work in (self._listen(), self._tell(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await in_thread(self._talk.close)  # what was heard is kept, and told by `tell`
            await self._say_goodbye(next(iter(done)).exception())
        finally:
            await in_thread(self._talk.close)  # its events end with it, and so does _tell
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # what the others died of is of no interest
            self._thread.shutdown(wait=False)

    def tell(self, value: object) -> None:
        """From any thread, soon; lost if the connection is."""
        with suppress(RuntimeError):  # the loop has ended
            asyncio.run_coroutine_threadsafe(self._send_if_there(text_frame(value)), self._loop)

    async def _listen(self) -> None:
        intake = Intake()
        while True:
            try:
                async with asyncio.timeout(self._silent_s):
                    message = await self._socket.receive()
            except TimeoutError:
                raise CloseError(_DONE, f"nothing came for {self._silent_s:g} s; begin again to go on") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", _DONE))
            if time.monotonic() - self._spoken_s > self._quiet_s:
                raise CloseError(_DONE, f"nobody spoke for {self._quiet_s / 60:g} minutes; begin again to go on")
            if (data := message.get("bytes")) is not None:
                self._talk.feed(of_pcm16(intake.audio(data)))
            elif not self._obey(intake.order(message.get("text") or "")):
                return

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._check_s)
            self._check()

    def _obey(self, order: Order) -> bool:
        """Whether it goes on."""
        if order.type == "press":
            self._spoken_s = time.monotonic()
            self._talk.press()
        elif order.type == "release":
            self._talk.release()
        elif order.type == "interrupt":
            self._talk.interrupt()
        elif order.type == "played" and order.turn == self._heard_turn:
            self._talk.played(order.seconds)
        return order.type != "end"

    async def _tell(self) -> None:
        outlet, events = Outlet(), self._talk.events()
        while (event := await self._loop.run_in_executor(self._thread, _next, events)) is not None:
            if isinstance(event, SpeechStarted):
                self._spoken_s = time.monotonic()
            elif isinstance(event, AnswerAudio):
                self._heard_turn = event.turn
            for frame in outlet.frames(event):
                await self._send(frame)

    async def _send(self, frame: str | bytes) -> None:
        if self._socket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            if isinstance(frame, str):
                await self._socket.send_text(frame)
            else:
                await self._socket.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:  # it went away meanwhile
            raise WebSocketDisconnect(1006) from error

    async def _send_if_there(self, frame: str) -> None:
        with suppress(WebSocketDisconnect):
            await self._send(frame)

    async def _say_goodbye(self, error: BaseException | None) -> None:
        if isinstance(error, WebSocketDisconnect):
            return
        if error is None:
            error = CloseError(_DONE, "the session has ended")
        if not isinstance(error, CloseError):
            error = CloseError(REFUSED if isinstance(error, RefusedError) else FAILED, _message(error))
        await close(self._socket, error)


async def close(socket: WebSocket, error: CloseError) -> None:
    """If it is still open."""
    if socket.application_state is WebSocketState.CONNECTED:
        try:
            await socket.close(error.code, error.reason)
        except (WebSocketDisconnect, RuntimeError, OSError):  # it went away meanwhile
            return


def _message(error: BaseException) -> str:
    inner = describe_error(error)[1]["error"]
    assert isinstance(inner, dict)  # as describe_error makes it
    return str(inner["message"])


def _next(events: Iterator[VoiceEvent]) -> VoiceEvent | None:
    return next(events, None)
