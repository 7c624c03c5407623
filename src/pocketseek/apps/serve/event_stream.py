"""Server-sent events: how an answer is sent while it is being written.

Backpressure is the connection's: `send` waits while the client does not read, and connection.py ends the connection of
one who does not read for too long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.types import Send

DONE = b"data: [DONE]\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


async def send_events(send: Send, chunks: AsyncIterator[bytes]) -> None:
    """Each chunk, one event or several, is sent as soon as it is there. The headers wait for the first one: while a
    prompt is read, the cores are left alone, and what fails by then is answered with its own status."""
    has_started = False
    async for chunk in chunks:
        if not has_started:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            has_started = True
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
