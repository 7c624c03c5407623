"""The worker's loop on a clock that only moves when told: a pass takes what `pass_s` says, sleeping is a jump.

The scheduler, its policy and the executor of fakes.py are real code; the same history gives the same figures every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fakes import VOCAB_SIZE, FakeExecutor, slow_tokens

from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.scheduler import Scheduler, SequenceEvent
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Request


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def weights_and_rows(num_tokens: int) -> float:
    """4 ms for the weights and half a millisecond for every token, as the demo model on a small machine."""
    return 0.004 + 0.0005 * num_tokens


class SimulatedEngine:
    """By request id: `tokens`, `ended` (finish reason), `asked_s`, `first_s` and `ended_s` (times of the fake clock)."""

    def __init__(
        self,
        num_pages: int = 64,
        *,
        limits: Limits | None = None,
        pass_s: Callable[[int], float] = weights_and_rows,
        vocab_size: int = VOCAB_SIZE,
        context_length: int = 1024,
    ) -> None:
        self.limits = limits or Limits(1)
        self.pool = KvPool(num_pages)
        self.clock = FakeClock()
        self.policy = Policy(clock=self.clock)
        self.executor = FakeExecutor(vocab_size=vocab_size, context_length=context_length)
        self.executor.reserve_pages(num_pages)
        self.scheduler = Scheduler(self.pool, vocab_size=vocab_size, context_length=context_length, policy=self.policy)
        self.requests: list[Request] = []
        self.tokens: list[list[int]] = []
        self.ended: dict[int, str] = {}
        self.asked_s: list[float] = []
        self.first_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.num_wakeups = 0
        self._pass_s = pass_s
        self._slept = True

    def submit(self, request: Request, at_s: float | None = None) -> int:
        """at_s: when it was asked, if that was during the last pass."""
        request_id, now_s = len(self.requests), self.clock.now_s
        self.clock.now_s = now_s if at_s is None else at_s
        sequence = self.scheduler.prepare(request_id, request)
        self.asked_s.append(self.clock.now_s)
        self.clock.now_s = now_s
        self.scheduler.submit(sequence)
        self.requests.append(sequence.request)
        self.tokens.append([])
        return request_id

    def cancel(self, request_id: int) -> bool:
        event = self.scheduler.cancel(request_id)
        self._take([event] if event is not None else [])
        return event is not None

    def run_pass(self) -> Work | None:
        """One turn of the worker; None if it would sleep."""
        self._take(self.scheduler.expire())
        work = self.scheduler.plan(self.limits)
        if work is None:
            self._slept = True
            return None
        self.num_wakeups += self._slept
        self._slept = False
        logits = self.executor.run(work)
        duration_s = self._pass_s(work.num_tokens)
        self.clock.now_s += duration_s
        self.policy.costs.observe(self.limits, work.num_tokens, duration_s)
        self._take(self.scheduler.commit(work, logits))
        return work

    def play(self, arrivals: Iterable[tuple[float, Request]] = ()) -> None:
        """Until all of them, and all that was there before, have ended."""
        coming = sorted(arrivals, key=lambda arrival: arrival[0])
        while coming or self.scheduler.has_work:
            while coming and coming[0][0] <= self.clock.now_s:
                self.submit(coming[0][1], coming.pop(0)[0])
            if self.run_pass() is None and (coming or self.scheduler.has_work):
                self._sleep(coming[0][0] if coming else None)

    def _sleep(self, next_arrival_s: float | None) -> None:
        wait_s = self.scheduler.wait_s()
        wakes_s = [] if wait_s is None else [self.clock.now_s + wait_s]
        wakes_s += [] if next_arrival_s is None else [next_arrival_s]
        assert wakes_s, "requests wait and nothing will ever wake the worker"
        self.clock.now_s = max(self.clock.now_s, min(wakes_s))

    def _take(self, events: Iterable[SequenceEvent]) -> None:
        for event in events:
            request_id = event.request_id
            assert request_id not in self.ended, "an event after the end"
            if event.token.token_id is not None:
                self.first_s.setdefault(request_id, self.clock.now_s)
                self.tokens[request_id].append(event.token.token_id)
            if event.token.finish_reason is not None:
                self.ended[request_id] = event.token.finish_reason
                self.ended_s[request_id] = self.clock.now_s

    def first_token_s(self, request_id: int) -> float:
        return self.first_s[request_id] - self.asked_s[request_id]

    def check_all_ended(self) -> None:
        """Everything ended, nothing leaked, and every text is that of the request alone (or its beginning)."""
        counts = self.scheduler.counts()
        assert (counts.num_running, counts.num_waiting) == (0, 0)
        assert self.pool.num_free == self.pool.num_pages
        for request_id, request in enumerate(self.requests):
            expected, got = slow_tokens(request, self.executor.vocab_size), self.tokens[request_id]
            cut = self.ended[request_id] in ("cancelled", "deadline")
            assert got == (expected[: len(got)] if cut else expected), request_id
