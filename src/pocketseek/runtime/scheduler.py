"""Which tokens fill the next pass, and what its logits mean: continuous batching.

    work = scheduler.plan(limits);  logits = executor.run(work);  events = scheduler.commit(work, logits)

- Who runs, and on which pages, is the roster's part (roster.py); who comes first, how much of a pass each may take and
  when it is worth waiting for others is the policy's (policy.py, pass_room.py).
- What a pass has brought for each request in it is worked out by accounts.py.
- A pass takes decode rows, then drafts (speculate.py), then prompt chunks, up to limits.max_tokens_per_pass. A draft
  takes a page only if one is free after everybody else had his, and gives it back if it fails.
- Of prompts that have a beginning in common and are read at the same time, one computes it and the others wait for it.
- `submit` takes several sequences with one prompt: it is read once.
- `plan` may find that nothing is to be done yet; `wait_s` says for how long. `expire` ends what missed its deadline.
- New requests are measured by the largest pool that there ever was (`set_num_pages`) or could have been
  (`set_max_pages`). Who does not fit that of now waits for memory (memory_patience.py). `page_demand` tells how many
  pages it takes.
- A pass that failed is accounted for by `fail` instead of `commit`: it ends the requests in it and nobody else.

Not thread-safe but for `prepare`, `counts` and `page_demand`: one thread (the engine's worker) owns it. submit, cancel,
expire and the set_ functions are called between commit and plan, not while a pass runs: they free pages at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from pocketseek.errors import PocketseekError
from pocketseek.kernels.contract import LogitsMath
from pocketseek.runtime import memory_patience
from pocketseek.runtime.accounts import Accounts
from pocketseek.runtime.adapters import AdapterSource, LoadedAdapter, no_adapters
from pocketseek.runtime.admission import Capacity, check_request
from pocketseek.runtime.constrain import Constrainer
from pocketseek.runtime.counts import PageDemand, SchedulerCounts, SequenceEvent, Totals
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.pass_room import PassRoom
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.pooling import NO_STATES, States
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.roster import Roster
from pocketseek.runtime.sampling import PLAIN_MATH
from pocketseek.runtime.sequence import SCORE_ROWS, SequenceState
from pocketseek.runtime.speculate import MAX_DRAFTS_PER_PASS, Speculation, draft_lengths
from pocketseek.runtime.swap import SwapSpace
from pocketseek.runtime.work import Logits, PageMemory, Slice, Work
from pocketseek.types import Limits, Request

RETRY_S = 1.0  # when nothing runs and yet nobody can be admitted: the limits may change without a message


class Scheduler:
    """Owns the sequences of one engine."""

    def __init__(
        self,
        pool: KvPool,
        *,
        vocab_size: int,
        context_length: int,
        logits_math: LogitsMath = PLAIN_MATH,
        policy: Policy | None = None,
        cache: PrefixCache | None = None,
        speculation: Speculation | None = None,
        memory: PageMemory | None = None,
        swap: SwapSpace | None = None,
        constrainer: Constrainer | None = None,
        adapters: AdapterSource | None = None,
    ) -> None:
        """cache: of this pool; without one, nothing is shared. memory, swap: see `Roster`. constrainer: None if no
        request has a constraint. adapters: None if there are none.
        """
        self.policy = policy or Policy()
        self._pool = pool
        self._cache = cache or PrefixCache(pool, enabled=False)
        self._roster = Roster(self._cache, self.policy, memory=memory, swap=swap)
        self._capacity = Capacity(vocab_size, context_length, pool.num_pages)
        self._speculation = speculation
        self._logits_math = logits_math
        self._constrainer = constrainer
        self._adapters = adapters
        self._next_plan_s: float | None = None  # by the policy's clock; None: when something arrives
        self._totals = Totals()
        self._accounts = Accounts(self.policy, self._roster, self._cache, self._totals)

    @property
    def has_work(self) -> bool:
        return bool(self._roster.running or self._roster.waiting)

    @property
    def context_length(self) -> int:
        """Tokens that a request may have, answer included: the model's context, or what the pool holds at its best."""
        return self._capacity.context_length

    def counts(self) -> SchedulerCounts:
        """Readable from any thread; the figures may be a pass apart from each other."""
        return SchedulerCounts(
            **dataclasses.asdict(self._totals),
            num_preemptions=self._roster.num_preemptions,
            num_swapped_out=self._roster.num_swapped_out,
            num_running=len(self._roster.running),
            num_waiting=len(self._roster.waiting),
            num_pages=self._cache.num_pages,
            num_free_pages=self._cache.num_available,
            num_cached_pages=self._cache.num_cached,
        )

    def page_demand(self) -> PageDemand:
        """Cheap; readable from any thread, where it is rough while a pass runs."""
        num_in_use = self._cache.num_in_use
        num_idle = max(0, self._pool.num_used - num_in_use)
        roster = self._roster
        return PageDemand(
            num_in_use, roster.num_wanted_pages, num_idle, roster.num_least_pages, roster.num_wanted_tokens
        )

    def prepare(self, request_id: int, request: Request) -> SequenceState:
        """Check a request and make it a sequence, on any thread.

        Raises UsageError, ContextLengthError, for constraints UnsupportedError and BusyError, and for adapters what
        `AdapterSource.take` does.
        """
        speculation = None if request.score_prompt else self._speculation
        drafter = speculation.new_drafter() if speculation is not None else None
        request = check_request(request, self._capacity)
        guide = self._constrainer.guide(request) if self._constrainer is not None else None
        adapter = self._adapter(request)
        sequence = SequenceState(request_id, request, drafter, self._logits_math, guide, adapter)
        sequence.arrival_s = self.policy.clock()
        return sequence

    def _adapter(self, request: Request) -> LoadedAdapter | None:
        if not request.adapter:
            return None
        if self._adapters is None:
            raise no_adapters(request.adapter)
        return self._adapters.take(request.adapter)

    def submit(self, sequence: SequenceState, *followers: SequenceState) -> None:
        """Queue what `prepare` made; its id must not be in use. followers: other answers to the same prompt."""
        sequence.followers = list(followers)
        for follower in followers:  # it will run on the same pages
            follower.adapter = sequence.adapter
        self._roster.waiting.append(sequence)
        for arrival in (sequence, *followers):
            self.policy.arrived(arrival)
        self._next_plan_s = -math.inf

    def cancel(self, request_id: int) -> SequenceEvent | None:
        """Drop a request and free its pages; None if it is not here (any more)."""
        sequence = next((one for one in self._roster if one.request_id == request_id), None)
        if sequence is None:
            return None
        event = self._accounts.finish(sequence, "cancelled")
        self._roster.fit()
        return event

    def expire(self) -> list[SequenceEvent]:
        """Drop the requests whose deadline has passed, or who waited for memory too long, and free their pages."""
        now_s = self.policy.clock()
        late = [sequence for sequence in self._roster if sequence.deadline_at_s <= now_s]
        events = [self._accounts.finish(sequence, "deadline") for sequence in late]
        starved = memory_patience.lost(self._roster.waiting, now_s)
        events += [self._accounts.finish(one, "error", error=memory_patience.error(one)) for one in starved]
        if events:
            self._roster.fit()
        return events

    def wait_s(self) -> float | None:
        """Seconds until `expire` or `plan` may have something to do: 0.0: now; None: not before something arrives."""
        if not self.has_work or self._next_plan_s is None:
            return None
        return max(0.0, self._next_plan_s - self.policy.clock())

    def set_num_pages(self, num_pages: int | None) -> None:
        """Resize the pool; None: as many pages as at first. The executor must have reserved them. No text changes."""
        self._roster.resize(num_pages)
        self._measure()

    def set_max_pages(self, max_pages: int | None) -> None:
        """So many pages can be had if somebody needs them; None: those there are. The executor must have reserved them.

        Who needs more than there are to begin waits until `set_num_pages` gives them.
        """
        self._roster.max_pages = max_pages
        self._measure()

    def _measure(self) -> None:
        num_pages = max(self._capacity.num_pages, self._roster.num_most_pages)
        self._capacity = dataclasses.replace(self._capacity, num_pages=num_pages)

    @property
    def num_pages(self) -> int:
        """The size that was asked for."""
        return self._roster.num_pages

    @property
    def max_pages(self) -> int | None:
        return self._roster.max_pages

    @property
    def num_pool_pages(self) -> int:
        """What there are: more than asked for while somebody finishes on them."""
        return self._cache.num_pages

    @property
    def has_more_pages_than_asked(self) -> bool:
        """Because somebody finishes who was accepted when there were more."""
        return self._roster.has_more_pages_than_asked

    def take_vacated_pages(self) -> list[int]:
        """Pages whose memory is not needed any more, each reported once; to be released before the next plan."""
        return self._cache.take_vacated()

    # -- decide ---------------------------------------------------------------------------------------------------

    def plan(self, limits: Limits) -> Work | None:
        """Fill a pass; None if there is nothing to compute, or not yet."""
        due_s = self._roster.arrange(limits)
        slices = tuple(self._fill(self.policy.room(self._roster.running, limits), limits))
        self._totals.num_peak_pages = max(self._totals.num_peak_pages, self._cache.num_in_use)
        nobody_can_run = not slices and due_s is None
        memory_patience.note(self._roster.waiting, self.policy.clock(), nobody_can_run=nobody_can_run)
        self._next_plan_s = -math.inf if slices else self._next_due_s(due_s)
        return Work(slices) if slices else None

    def _fill(self, room: PassRoom, limits: Limits) -> Iterator[Slice]:
        drafts = self._drafts(room, limits)
        score_rows = SCORE_ROWS
        coming: set[bytes] = set()  # pages that this pass completes
        for sequence in room.order:
            most = room.most(sequence)
            if not most or self._cache.waits_for(sequence, coming):
                continue
            part = sequence.next_slice(most, score_rows, drafts.get(sequence.request_id, ())[: most - 1])
            if part is not None:
                coming |= self._cache.completed_by(sequence, part.end_position)
                room.take(sequence, part.num_tokens)
                if not sequence.is_decoding:
                    score_rows = max(0, score_rows - part.num_logits)
                sequence.last_pass = self._totals.num_passes + 1
                yield part

    def _drafts(self, room: PassRoom, limits: Limits) -> dict[int, Sequence[int]]:
        """What to add to the decode rows, by request id."""
        most = min(room.for_drafts, MAX_DRAFTS_PER_PASS)
        if self._speculation is None or most < 1:
            return {}
        longest = min(most, self.policy.most_draft_tokens(limits))
        drafts = [sequence.draft(longest) for sequence in room.writing]
        lengths = draft_lengths(
            drafts,
            room=most,
            num_tokens=room.num_tokens,
            num_sequences=len(room.order),
            pass_cost=self._speculation.pass_cost or self.policy.pass_cost(limits),
        )
        return {
            sequence.request_id: draft.token_ids[: self._roster.lend_pages(sequence, length)]
            for sequence, draft, length in zip(room.writing, drafts, lengths, strict=True)
            if length
        }

    def _next_due_s(self, due_s: float | None) -> float | None:
        """When to look again without a pass: for a deadline, or when a wait for others (or for pages) may be over."""
        if due_s is None:
            due_s = self.policy.clock() + RETRY_S
        deadlines_s = [sequence.deadline_at_s for sequence in self._roster]
        return min(due_s, *deadlines_s) if deadlines_s else None

    # -- account --------------------------------------------------------------------------------------------------

    def commit(self, work: Work, logits: Logits, states: States = NO_STATES) -> list[SequenceEvent]:
        """Sample, accept drafts, finish, release. logits: [work.num_logits, vocab_size]; states: `Executor.states`.

        One event for each new token, those of a request in order.
        """
        if logits.shape != (work.num_logits, self._capacity.vocab_size):
            raise ValueError(
                f"the executor returned {logits.shape}, not {(work.num_logits, self._capacity.vocab_size)}"
            )
        events = self._accounts.commit(work, logits, states)
        self._roster.fit_if_resized()
        return events

    def fail(self, work: Work, error: PocketseekError) -> list[SequenceEvent]:
        """The pass could not be run: everybody in it ends with the error. What earlier passes computed stays valid.

        Who only followed one of them goes on by himself. Each event has an error of its own, to be raised anywhere.
        """
        failed = {part.request_id for part in work.slices}
        sequences = [sequence for sequence in self._roster.running if sequence.request_id in failed]
        events = [self._accounts.finish(sequence, "error", error=_another(error)) for sequence in sequences]
        self._roster.fit_if_resized()
        return events


def _another(error: PocketseekError) -> PocketseekError:
    """Of the same class, with the same message, raised because of it."""
    other = type(error)(*error.args)
    other.__cause__ = error
    return other
