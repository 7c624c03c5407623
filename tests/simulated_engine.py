"""The worker's loop on a clock that only moves when told: a pass takes what `pass_s` says, sleeping is a jump.

The scheduler, its policy and the executor of fakes.py are real code; the same history gives the same figures every
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fakes import VOCAB_SIZE, FakeExecutor, fake_logits, slow_embedding, slow_tokens
from prefix_bench import DictStore

from pocketseek.errors import StorageError
from pocketseek.runtime.applied_limits import AppliedLimits
from pocketseek.runtime.counts import SequenceEvent
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.archive import PrefixArchive
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.speculate import Speculation
from pocketseek.runtime.swap import SwapSpace
from pocketseek.runtime.work import Logits, Work
from pocketseek.types import Limits, Request


def choices(request: Request, count: int) -> list[Request]:
    """As Engine.stream_choices makes them."""
    seed = request.sampling.seed or 0
    return [replace(request, sampling=replace(request.sampling, seed=seed + i)) for i in range(count)]


_MOST_TURNS = 100_000


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def weights_and_rows(num_tokens: int) -> float:
    """4 ms for the weights and half a millisecond for every token, as the demo model on a small machine."""
    return 0.004 + 0.0005 * num_tokens


class SimulatedEngine:
    """By request id: `tokens`, `ended` (finish reason), `asked_s`, `first_s`, `ended_s` (of the fake clock).

    Its governor is what a test writes into `limits` and calls `set_memory` with. With `grows_on_demand` the pool grows
    before a pass when more pages are wanted. A pass takes at least executor.storage_s.
    """

    def __init__(
        self,
        num_pages: int = 64,
        *,
        limits: Limits | None = None,
        pass_s: Callable[[int], float] = weights_and_rows,
        vocab_size: int = VOCAB_SIZE,
        context_length: int = 1024,
        logits: Callable[[Sequence[int], int], Logits] = fake_logits,
        prefix_cache: bool = False,
        store: DictStore | None = None,
        speculation: Speculation | None = None,
        swap_folder: Path | None = None,
        before_run: Callable[[Work], object] = lambda work: None,
    ) -> None:
        self.limits = limits or Limits(1)
        self.pool = KvPool(num_pages)
        self.clock = FakeClock()
        self.policy = Policy(clock=self.clock)
        self.executor = FakeExecutor(
            vocab_size=vocab_size, context_length=context_length, logits=logits, before_run=before_run
        )
        self.executor.reserve_pages(num_pages)
        self.archive = PrefixArchive(store, self.executor) if store is not None else None
        self.cache = PrefixCache(self.pool, enabled=prefix_cache, archive=self.archive)
        self.swap = SwapSpace(swap_folder, self.executor) if swap_folder is not None else None
        self.scheduler = Scheduler(
            self.pool,
            vocab_size=vocab_size,
            context_length=context_length,
            policy=self.policy,
            cache=self.cache,
            speculation=speculation,
            memory=self.executor,
            swap=self.swap,
        )
        self.applied = AppliedLimits(self.scheduler, self.executor)
        self.grows_on_demand = False
        self._memory = Limits(1)  # only what is said of memory counts
        self._logits = logits
        self.requests: list[Request] = []
        self.tokens: list[list[int]] = []
        self.ended: dict[int, str] = {}
        self.embeddings: dict[int, tuple[float, ...] | None] = {}
        self.asked_s: list[float] = []
        self.first_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.num_wakeups = 0
        self._pass_s = pass_s
        self._slept = True

    def submit(self, *requests: Request, at_s: float | None = None) -> int:
        """Several: answers to one prompt. at_s: when it was asked, if during the last pass. Returns the first id."""
        first_id, now_s = len(self.requests), self.clock.now_s
        self.clock.now_s = now_s if at_s is None else at_s
        sequences = [self.scheduler.prepare(first_id + i, request) for i, request in enumerate(requests)]
        self.asked_s += [self.clock.now_s] * len(requests)
        self.clock.now_s = now_s
        self.scheduler.submit(*sequences)
        self.requests += [sequence.request for sequence in sequences]
        self.tokens += [[] for _ in requests]
        return first_id

    def resize(self, num_pages: int | None) -> None:
        self.set_memory(replace(self._memory, num_pages=num_pages))

    def set_memory(self, limits: Limits) -> None:
        """num_pages, max_pages and weight_bytes from now on."""
        self._memory = limits
        self.applied.apply(limits)
        self._give_memory_back()

    def _grow(self) -> None:
        num_wanted = min(self.scheduler.page_demand().pages_wanted, self._memory.max_pages or 0)
        if num_wanted > self.scheduler.num_pages:
            self.resize(num_wanted)

    def cancel(self, request_id: int) -> bool:
        event = self.scheduler.cancel(request_id)
        self._take([event] if event is not None else [])
        return event is not None

    def run_pass(self) -> Work | None:
        """One turn of the worker; None if it would sleep."""
        self._take(self.scheduler.expire())
        if self.grows_on_demand:
            self._grow()
        self.policy.costs.storage_s = self.executor.storage_s
        work = self.scheduler.plan(self.limits)
        self._give_memory_back()
        if work is None:
            self._slept = True
            if self.archive is not None and self.archive.has_work:
                self.archive.step()
            return None
        self.num_wakeups += self._slept
        self._slept = False
        self._take(self._run(work))
        self._give_memory_back()
        return work

    def _run(self, work: Work) -> list[SequenceEvent]:
        computing_s = self._pass_s(work.num_tokens)
        self.clock.now_s += max(computing_s, self.executor.storage_s)
        try:
            logits = self.executor.run(work)
        except StorageError as error:
            return self.scheduler.fail(work, error)
        self.policy.costs.observe(self.limits, work.num_tokens, computing_s)
        return self.scheduler.commit(work, logits, self.executor.states)

    def _give_memory_back(self) -> None:
        self.executor.release_pages(self.scheduler.take_vacated_pages())

    def play(self, arrivals: Iterable[tuple[float, Request]] = ()) -> None:
        """Until all of them, and all that was there before, have ended."""
        coming = sorted(arrivals, key=lambda arrival: arrival[0])
        num_turns = 0
        while coming or self.scheduler.has_work:
            num_turns += 1
            assert num_turns < _MOST_TURNS, "a request never ends"
            while coming and coming[0][0] <= self.clock.now_s:
                at_s, request = coming.pop(0)
                self.submit(request, at_s=at_s)
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
                self.embeddings[request_id] = event.token.embedding
                self.ended[request_id] = event.token.finish_reason
                self.ended_s[request_id] = self.clock.now_s

    def first_token_s(self, request_id: int) -> float:
        return self.first_s[request_id] - self.asked_s[request_id]

    def check_all_ended(self) -> None:
        """Everything ended, nothing leaked, and every text is that of the request alone (or its beginning)."""
        counts = self.scheduler.counts()
        assert (counts.num_running, counts.num_waiting) == (0, 0)
        assert self.cache.num_available == self.pool.num_pages
        assert self.pool.num_pages - self.pool.num_free == self.cache.num_cached
        assert self.swap is None or self.swap.num_bytes == 0
        for request_id, request in enumerate(self.requests):
            expected, got = slow_tokens(request, self.executor.vocab_size, self._logits), self.tokens[request_id]
            cut = self.ended[request_id] in ("cancelled", "deadline", "error")
            assert got == (expected[: len(got)] if cut else expected), request_id
            wanted = request.embed_prompt and not cut
            assert self.embeddings[request_id] == (slow_embedding(request.prompt_ids) if wanted else None)
