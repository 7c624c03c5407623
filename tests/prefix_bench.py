"""A scheduler with a prefix cache on the fake executor, and a store of pages that is a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fakes import FakeExecutor

from pocketseek.runtime.counts import SequenceEvent
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.prefix.archive import PrefixArchive
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.prefix.page import PageKey, key_of_page
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Request

LIMITS = Limits(num_threads=1)


class DictStore:
    """A PrefixStore without a disk. `full`: it keeps nothing more."""

    identity = b"dict"

    def __init__(self) -> None:
        self.pages: dict[PageKey, bytes] = {}
        self.full = False

    def refresh(self) -> None: ...

    def read(self, key: PageKey) -> memoryview | None:
        return memoryview(self.pages[key]) if key in self.pages else None

    def keep(self, key: PageKey, depth: int, page: memoryview, *, used_ns: int, label: str = "") -> bool:
        if not self.full:
            self.pages.setdefault(key, bytes(page))
        return key in self.pages


class PrefixBench:
    """What came out for each request, and how many of its prompt tokens went through a pass."""

    def __init__(
        self,
        num_pages: int = 64,
        *,
        executor: FakeExecutor | None = None,
        store: DictStore | None = None,
        key_of_page: Callable[[bytes, Sequence[int]], PageKey] = key_of_page,
        enabled: bool = True,
    ) -> None:
        self.executor = executor or FakeExecutor()
        self.executor.reserve_pages(num_pages)
        self.pool = KvPool(num_pages)
        self.archive = PrefixArchive(store, self.executor) if store is not None else None
        self.cache = PrefixCache(self.pool, enabled=enabled, archive=self.archive, key_of_page=key_of_page)
        self.scheduler = Scheduler(
            self.pool,
            vocab_size=self.executor.vocab_size,
            context_length=self.executor.context_length,
            cache=self.cache,
            memory=self.executor,
        )
        self.events: dict[int, list[SequenceEvent]] = {}
        self.num_computed: dict[int, int] = {}

    def submit(self, *requests: Request) -> None:
        for request in requests:
            request_id = len(self.events)
            self.scheduler.submit(self.scheduler.prepare(request_id, request))
            self.events[request_id] = []
            self.num_computed[request_id] = 0

    def run_pass(self, limits: Limits = LIMITS) -> Work:
        work = self.scheduler.plan(limits)
        assert work is not None
        for part in work.slices:
            self.num_computed[part.request_id] += part.num_tokens
            written = part.pages[part.first_position // 64 :]
            assert all(self.pool.num_references(page) == 1 for page in written), "a shared page is written"
        for event in self.scheduler.commit(work, self.executor.run(work)):
            self.events[event.request_id].append(event)
        return work

    def run(self, limits: Limits = LIMITS) -> None:
        while self.scheduler.has_work:
            self.run_pass(limits)
        self.check_nothing_leaked()

    def check_nothing_leaked(self) -> None:
        """All pages are free or idle when no sequence is left."""
        assert self.cache.num_available == self.pool.num_pages
        assert self.pool.num_pages - self.pool.num_free == self.cache.num_cached

    def generate(self, request: Request) -> list[int]:
        """Run one request (and all others that are there) to the end."""
        self.submit(request)
        self.run()
        return self.tokens(len(self.events) - 1)

    def tokens(self, request_id: int) -> list[int]:
        ids = (event.token.token_id for event in self.events[request_id])
        return [token_id for token_id in ids if token_id is not None]

    def logprobs(self, request_id: int) -> list[float | None]:
        return [event.token.logprob for event in self.events[request_id]]

    def num_cached(self, request_id: int) -> int:
        return self.events[request_id][-1].token.num_cached_prompt_tokens
