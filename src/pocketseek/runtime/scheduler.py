"""Which tokens fill the next pass, and what its logits mean: continuous batching. Preferences are policy.py's.

    work = scheduler.plan(limits);  logits = executor.run(work);  events = scheduler.commit(work, logits)

- Requests are admitted, one class before the other, while their prompt's pages are free, with one spare page for every
  sequence already running so that admission does not at once force a pre-emption. Nobody overtakes the next in line.
- A pass takes decode rows, then prompt chunks, up to limits.max_tokens_per_pass (pass_room.py).
- A sequence grows by a page when it needs one. If none is free the last by rank is pre-empted (background before
  interactive, the youngest first): it gives up its pages, waits and is computed again later; its text does not change.
  The first by rank can always go on, because a request that does not fit the pool alone is refused by `prepare`: so
  every request ends.
- limits.max_sequences caps admission; sequences already running are not stopped when it falls.
- `plan` may find that nothing is to be done yet; `wait_s` says for how long. `expire` ends what missed its deadline.

Not thread-safe but for `prepare`: one thread (the engine's worker) owns it. submit, cancel and expire are called
between commit and plan, not while a pass runs, because ending a request frees its pages at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pocketseek.errors import ModelOutputError
from pocketseek.runtime.admission import Capacity, check_request
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.sequence import SCORE_ROWS, SequenceState
from pocketseek.runtime.work import Logits, Slice, Work
from pocketseek.types import FinishReason, Limits, Request, TokenEvent

RETRY_S = 1.0  # when nothing runs and yet nobody can be admitted: the limits may change without a message


@dataclass(frozen=True)
class SequenceEvent:
    """What happened to one request. `error` is set if it failed; the token event then finishes with "error"."""

    request_id: int
    token: TokenEvent
    error: ModelOutputError | None = None


@dataclass(frozen=True)
class SchedulerCounts:
    """Totals since the start, and the present load. Prompt tokens computed again after a pre-emption count again."""

    num_passes: int
    num_tokens: int
    num_prompt_tokens: int
    num_preemptions: int
    num_running: int
    num_waiting: int
    num_pages: int
    num_free_pages: int


class Scheduler:
    """Owns the sequences and the page accounting of one engine."""

    def __init__(self, pool: KvPool, *, vocab_size: int, context_length: int, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._pool = pool
        self._capacity = Capacity(vocab_size, context_length, pool.num_pages)
        self._waiting: deque[SequenceState] = deque()
        self._running: list[SequenceState] = []
        self._next_plan_s: float | None = None  # by the policy's clock; None: when something arrives
        self._num_passes = 0
        self._num_tokens = 0
        self._num_prompt_tokens = 0
        self._num_preemptions = 0

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting)

    @property
    def context_length(self) -> int:
        """Tokens that one request may have, answer included: the model's context, or what the KV memory holds."""
        return self._capacity.context_length

    def counts(self) -> SchedulerCounts:
        return SchedulerCounts(
            num_passes=self._num_passes,
            num_tokens=self._num_tokens,
            num_prompt_tokens=self._num_prompt_tokens,
            num_preemptions=self._num_preemptions,
            num_running=len(self._running),
            num_waiting=len(self._waiting),
            num_pages=self._pool.num_pages,
            num_free_pages=self._pool.num_free,
        )

    def prepare(self, request_id: int, request: Request) -> SequenceState:
        """Check a request and make it a sequence, on any thread. Raises UsageError or ContextLengthError."""
        sequence = SequenceState(request_id, check_request(request, self._capacity))
        sequence.arrival_s = self.policy.clock()
        return sequence

    def submit(self, sequence: SequenceState) -> None:
        """Queue what `prepare` made; its id must not be in use."""
        self._waiting.append(sequence)
        self.policy.arrived(sequence)
        self._next_plan_s = -math.inf

    def cancel(self, request_id: int) -> SequenceEvent | None:
        """Drop a request and free its pages; None if it is not here (any more)."""
        for sequence in (*self._running, *self._waiting):
            if sequence.request_id == request_id:
                return self._finish(sequence, "cancelled")
        return None

    def expire(self) -> list[SequenceEvent]:
        """Drop the requests whose deadline has passed and free their pages."""
        now_s = self.policy.clock()
        late = [sequence for sequence in (*self._running, *self._waiting) if sequence.deadline_at_s <= now_s]
        return [self._finish(sequence, "deadline") for sequence in late]

    def wait_s(self) -> float | None:
        """Seconds until `expire` or `plan` may have something to do: 0.0: now; None: not before something arrives."""
        if not self.has_work or self._next_plan_s is None:
            return None
        return max(0.0, self._next_plan_s - self.policy.clock())

    # -- decide ---------------------------------------------------------------------------------------------------

    def plan(self, limits: Limits) -> Work | None:
        """Fill a pass; None if there is nothing to compute, or not yet."""
        self._running.sort(key=self.policy.rank)
        self._grow()
        due_s = self.policy.coalesces_until_s(self._running, self._waiting, limits)
        if due_s is None:
            self._admit(max(1, limits.max_sequences))
        slices = tuple(self._fill(limits))
        self._next_plan_s = -math.inf if slices else self._next_due_s(due_s)
        return Work(slices) if slices else None

    def _grow(self) -> None:
        """Give every running sequence the page its newest token needs, the first by rank first."""
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            if self._pool.can_allocate(sequence.num_missing_pages):
                sequence.pages += self._pool.allocate(sequence.num_missing_pages)
                index += 1
            else:
                self._preempt(self._running[-1])  # maybe the sequence itself, if it is the last

    def _preempt(self, victim: SequenceState) -> None:
        self._running.remove(victim)
        self._pool.release(victim.forget())
        self._waiting.appendleft(victim)
        self._num_preemptions += 1

    def _admit(self, max_sequences: int) -> None:
        while (sequence := self.policy.next_in(self._waiting, self._running)) is not None:
            if not self._make_room(sequence, max_sequences):
                return
            self._waiting.remove(sequence)
            sequence.pages += self._pool.allocate(sequence.num_missing_pages)
            self._running.append(sequence)

    def _make_room(self, sequence: SequenceState, max_sequences: int) -> bool:
        """Whether the sequence may run; others give way to it, but not in vain."""
        victims = self.policy.victims(sequence, self._running)
        if not self._has_room(sequence, max_sequences, victims):
            return False
        for victim in victims:
            if self._has_room(sequence, max_sequences):
                break
            self._preempt(victim)
        return self._has_room(sequence, max_sequences)

    def _has_room(self, sequence: SequenceState, max_sequences: int, without: Collection[SequenceState] = ()) -> bool:
        """A place, its pages, and a spare one for every other that runs, if some of those were not there."""
        num_running = len(self._running) - len(without)
        num_given_back = sum(len(other.pages) for other in without)
        num_wanted = max(0, sequence.num_missing_pages + num_running - num_given_back)
        return num_running < max_sequences and self._pool.can_allocate(num_wanted)

    def _fill(self, limits: Limits) -> Iterator[Slice]:
        room = self.policy.room(self._running, limits)
        score_rows = SCORE_ROWS
        for sequence in room.order:
            most = room.most(sequence)
            part = sequence.next_slice(most, score_rows) if most else None
            if part is not None:
                room.take(sequence, part.num_tokens)
                if not sequence.is_decoding:
                    score_rows = max(0, score_rows - part.num_logits)
                sequence.last_pass = self._num_passes + 1
                yield part

    def _next_due_s(self, due_s: float | None) -> float | None:
        """When to look again without a pass: for a deadline, or when a wait for others (or for pages) may be over."""
        if due_s is None:
            due_s = self.policy.clock() + RETRY_S
        return min((due_s, *(sequence.deadline_at_s for sequence in self._waiting))) if self._waiting else None

    # -- account --------------------------------------------------------------------------------------------------

    def commit(self, work: Work, logits: Logits) -> list[SequenceEvent]:
        """Sample, finish, release. logits: [work.num_logits, vocab_size]. At most one event for each slice."""
        if logits.shape != (work.num_logits, self._capacity.vocab_size):
            raise ValueError(
                f"the executor returned {logits.shape}, not {(work.num_logits, self._capacity.vocab_size)}"
            )
        self._num_passes += 1
        by_id = {sequence.request_id: sequence for sequence in self._running}
        events: list[SequenceEvent] = []
        row = 0
        for part in work.slices:
            rows = logits[row : row + part.num_logits]
            row += part.num_logits
            event = self._commit_slice(by_id[part.request_id], part, rows)
            if event is not None:
                events.append(event)
        self.policy.passed()
        return events

    def _commit_slice(self, sequence: SequenceState, part: Slice, rows: Logits) -> SequenceEvent | None:
        if not sequence.is_decoding:
            self._num_prompt_tokens += part.num_tokens
        self.policy.served(sequence, part)
        try:
            sequence.advance(part, rows)
            if sequence.num_pending:
                return None
            return self._next_token(sequence, rows)
        except ModelOutputError as error:  # unusable logits end this request, not the engine
            return self._finish(sequence, "error", error=error)

    def _next_token(self, sequence: SequenceState, rows: Logits) -> SequenceEvent:
        if sequence.is_full:  # max_tokens is 0: only the prompt was wanted
            return self._finish(sequence, "length")
        choice = sequence.choose(rows)
        if choice.token_id in sequence.request.stop_ids:
            return self._finish(sequence, "stop", logprob=choice.logprob)
        sequence.append(choice.token_id)
        self._num_tokens += 1
        if sequence.is_full:
            return self._finish(sequence, "length", token_id=choice.token_id, logprob=choice.logprob)
        return SequenceEvent(sequence.request_id, TokenEvent(choice.token_id, choice.logprob))

    def _finish(
        self,
        sequence: SequenceState,
        reason: FinishReason,
        *,
        token_id: int | None = None,
        logprob: float | None = 0.0,
        error: ModelOutputError | None = None,
    ) -> SequenceEvent:
        """Remove the sequence and free its pages."""
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting.remove(sequence)
        self.policy.left(sequence)
        self._pool.release(sequence.forget())
        complete = sequence.request.score_prompt and reason in ("stop", "length")
        scores = tuple(sequence.prompt_logprobs) if complete else None
        return SequenceEvent(sequence.request_id, TokenEvent(token_id, logprob, reason, scores), error)
