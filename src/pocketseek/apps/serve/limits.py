"""How many requests are let in: of everybody together, and of each token.

Everything that may be counted is counted here, in the event loop, in one place. A request that is let in holds its
place until it has ended. Requests that wait do so in the engine, which serves its clients fairly; here is only decided
when there are too many of them.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.replies import RefusedError

_MINUTE_S = 60.0
_TRY_AGAIN_S = 2


class Admission:
    """Of one server; used by its event loop alone."""

    def __init__(self, max_requests: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_requests = max_requests
        self._clock = clock
        self._begun_s: dict[str, deque[float]] = {}
        self._num_here: Counter[str] = Counter()

    @property
    def num_here(self) -> int:
        """Requests that run or wait."""
        return self._num_here.total()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Raises RefusedError (429, with the time after which it may work)."""
        if self.num_here >= self._max_requests:
            raise _too_many("too many requests are waiting; try again soon", _TRY_AGAIN_S)
        concurrent = caller.limits.concurrent
        if concurrent is not None and self._num_here[caller.name] >= concurrent:
            raise _too_many(f"this token may have {concurrent} requests at a time; wait for one to end", _TRY_AGAIN_S)
        self.count(caller)
        self._num_here[caller.name] += 1
        try:
            yield
        finally:
            self._num_here[caller.name] -= 1
            if not self._num_here[caller.name]:
                del self._num_here[caller.name]

    def count(self, caller: Caller) -> None:
        """One more request that begins, in a place that is held already. Raises RefusedError (429)."""
        most = caller.limits.requests_per_minute
        if most is None:
            return
        now_s = self._clock()
        begun_s = self._begun_s.setdefault(caller.name, deque())
        while begun_s and begun_s[0] <= now_s - _MINUTE_S:
            begun_s.popleft()
        if len(begun_s) >= most:
            wait_s = int(begun_s[0] + _MINUTE_S - now_s) + 1
            raise _too_many(f"this token may make {most} requests per minute; wait {wait_s} s", wait_s)
        begun_s.append(now_s)


class BodyBudget:
    """Of all bodies that are arriving together; used by the event loop alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.num_bytes = 0

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Gives what is to be called with the number of bytes that came, and raises RefusedError (429)."""
        mine = 0

        def arrived(num_bytes: int) -> None:
            nonlocal mine
            if self.num_bytes + num_bytes > self._most_bytes:
                raise _too_many("too much is being sent at the same time; try again soon", _TRY_AGAIN_S)
            mine += num_bytes
            self.num_bytes += num_bytes

        try:
            yield arrived
        finally:
            self.num_bytes -= mine


def may_use(caller: Caller, model: str) -> bool:
    """A token for a model is one for all its adapters ("model:adapter"), too; one that names an adapter is for that."""
    allowed = caller.limits.models
    return not allowed or model in allowed or model.partition(":")[0] in allowed


def check_model(caller: Caller, model: str) -> None:
    """Raises RefusedError (403) if the caller's token is not for that model."""
    if not may_use(caller, model):
        allowed = ", ".join(caller.limits.models)
        raise RefusedError(
            403, f"this token is not for the model {model[:80]!r}; use {allowed}", code="model_forbidden"
        )


def may_update(caller: Caller) -> bool:
    """Look for updates of models, and install them: who is at this machine, and tokens that say so."""
    return not caller.has_token or caller.limits.may_update


def check_may_update(caller: Caller) -> None:
    """Raises RefusedError (403)."""
    if not may_update(caller):
        message = "this token may not update models; `pocketseek token create NAME --may-update` makes one that may"
        raise RefusedError(403, message, code="update_forbidden")


def _too_many(message: str, wait_s: int) -> RefusedError:
    return RefusedError(429, message, code="rate_limit_exceeded", headers={"Retry-After": str(wait_s)})
