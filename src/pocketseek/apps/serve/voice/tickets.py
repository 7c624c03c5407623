"""Tickets for voice sessions: asked for with a token like everything else, handed in once to open the WebSocket.

A browser sends no headers of its own with a WebSocket, and an address with a secret in it ends up in logs. So the page
asks for a ticket over HTTP, where errors can be told properly, and offers it as a subprotocol. A ticket is 256 random
bits, good for one session within LIFETIME_S, and carries who asked for what. A token has a few at a time, and a new
one takes the place of its oldest. Used by the event loop alone.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable

from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.voice.chat import VoiceOrder

PROTOCOL = "pocketseek.voice"
"""The subprotocol that is spoken; the ticket is offered beside it."""
LIFETIME_S = 30.0
_PREFIX = "ticket."
_MOST_WAITING = 64
_MOST_OF_ONE = 8  # who asks for more takes nobody else's place


class Tickets:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._orders: dict[bytes, tuple[float, VoiceOrder]] = {}

    def issue(self, order: VoiceOrder) -> str:
        """What the client offers as a subprotocol. Raises RefusedError (429)."""
        self._forget_old()
        own = [key for key, (_, other) in self._orders.items() if other.caller.digest == order.caller.digest]
        if len(own) >= _MOST_OF_ONE:
            del self._orders[own[0]]  # a page that is loaded again and again uses the newest alone
        if len(self._orders) >= _MOST_WAITING:
            message = "too many voice sessions were asked for and not begun; try again soon"
            raise RefusedError(429, message, code="rate_limit_exceeded", headers={"Retry-After": str(int(LIFETIME_S))})
        ticket = _PREFIX + secrets.token_urlsafe(32)
        self._orders[_digest(ticket)] = (self._clock() + LIFETIME_S, order)
        return ticket

    def redeem(self, offered: Iterable[str]) -> VoiceOrder | None:
        """offered: the subprotocols of a client. None: there is no good ticket among them."""
        self._forget_old()
        found = None
        for name in offered:
            if name.startswith(_PREFIX):
                _, found = self._orders.pop(_digest(name), (0.0, found))
        return found

    def _forget_old(self) -> None:
        now_s = self._clock()
        self._orders = {key: value for key, value in self._orders.items() if value[0] > now_s}


def _digest(ticket: str) -> bytes:
    """Looked up by its hash, so that how long it takes tells nothing of the tickets that are there."""
    return hashlib.sha256(ticket.encode("utf-8", "replace")).digest()
