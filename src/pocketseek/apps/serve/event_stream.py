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
    """Each chunk, one event or several, is sent as soon as it is there."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    async for chunk in chunks:
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
