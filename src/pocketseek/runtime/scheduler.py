"""Which tokens fill the next pass, and what its logits mean: plain continuous batching.

    work = scheduler.plan(limits);  logits = executor.run(work);  events = scheduler.commit(work, logits)

- Requests are admitted first come, first served, while their prompt's pages are free, with one spare page for every
  sequence already running so that admission does not at once force a pre-emption.
- A pass takes the decode rows first, then prompt chunks in order of arrival, up to limits.max_tokens_per_pass. If there
  are more decode rows than room, those served longest ago go first and a quarter of the room is kept for prompts.
- A sequence grows by a page when it needs one. If none is free the youngest sequence is pre-empted: it gives up its
  pages, waits at the head of the queue and is computed again later; its text does not change. The oldest sequence can
  always go on, because a request that does not fit the pool alone is refused by `prepare`: so every request ends.
- limits.max_sequences caps admission; sequences already running are not stopped when it falls.

Not thread-safe but for `prepare`: one thread (the engine's worker) owns it. submit and cancel are called between commit
and plan, not while a pass runs, because cancelling frees pages at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketseek.errors import ModelOutputError
from pocketseek.runtime.admission import Capacity, check_request
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.sequence import SCORE_ROWS, SequenceState
from pocketseek.runtime.work import Logits, Slice, Work
from pocketseek.types import FinishReason, Limits, Request, TokenEvent


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

    def __init__(self, pool: KvPool, *, vocab_size: int, context_length: int) -> None:
        self._pool = pool
        self._capacity = Capacity(vocab_size, context_length, pool.num_pages)
        self._waiting: deque[SequenceState] = deque()  # both in order of arrival, all of _running before _waiting
        self._running: list[SequenceState] = []
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
        return SequenceState(request_id, check_request(request, self._capacity))

    def submit(self, sequence: SequenceState) -> None:
        """Queue what `prepare` made; its id must not be in use."""
        self._waiting.append(sequence)

    def cancel(self, request_id: int) -> SequenceEvent | None:
        """Drop a request and free its pages; None if it is not here (any more)."""
        for sequence in (*self._running, *self._waiting):
            if sequence.request_id == request_id:
                return self._finish(sequence, "cancelled")
        return None

    # -- decide ---------------------------------------------------------------------------------------------------

    def plan(self, limits: Limits) -> Work | None:
        """Fill a pass; None if there is no request."""
        self._grow()
        self._admit(limits.max_sequences)
        slices = tuple(self._fill(max(1, limits.max_tokens_per_pass)))
        return Work(slices) if slices else None

    def _grow(self) -> None:
        """Give every running sequence the page its newest token needs, oldest first."""
        index = 0
        while index < len(self._running):
            sequence = self._running[index]
            if self._pool.can_allocate(sequence.num_missing_pages):
                sequence.pages += self._pool.allocate(sequence.num_missing_pages)
                index += 1
            else:
                self._preempt_youngest()  # maybe the sequence itself, if none is younger

    def _preempt_youngest(self) -> None:
        victim = self._running.pop()
        self._pool.release(victim.forget())
        self._waiting.appendleft(victim)
        self._num_preemptions += 1

    def _admit(self, max_sequences: int) -> None:
        while self._waiting and len(self._running) < max(1, max_sequences):
            num_missing = self._waiting[0].num_missing_pages
            if not self._pool.can_allocate(num_missing + len(self._running)):
                return
            sequence = self._waiting.popleft()
            sequence.pages += self._pool.allocate(num_missing)
            self._running.append(sequence)

    def _fill(self, room: int) -> Iterator[Slice]:
        decoding = [sequence for sequence in self._running if sequence.is_decoding]
        reading = [sequence for sequence in self._running if not sequence.is_decoding]
        if reading:  # at room 1 the decode rows go first; they end, and until then no prompt can add to them
            decoding = _served_longest_ago(decoding, max(1, room - max(1, room // 4)))
        else:
            decoding = _served_longest_ago(decoding, room)
        score_rows = SCORE_ROWS
        for sequence in (*decoding, *reading):
            part = sequence.next_slice(room, score_rows) if room else None
            if part is not None:
                room -= part.num_tokens
                if not sequence.is_decoding:
                    score_rows = max(0, score_rows - part.num_logits)
                sequence.last_pass = self._num_passes + 1
                yield part

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
        return events

    def _commit_slice(self, sequence: SequenceState, part: Slice, rows: Logits) -> SequenceEvent | None:
        if not sequence.is_decoding:
            self._num_prompt_tokens += part.num_tokens
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
        self._pool.release(sequence.forget())
        complete = sequence.request.score_prompt and reason in ("stop", "length")
        scores = tuple(sequence.prompt_logprobs) if complete else None
        return SequenceEvent(sequence.request_id, TokenEvent(token_id, logprob, reason, scores), error)


def _served_longest_ago(sequences: Sequence[SequenceState], count: int) -> list[SequenceState]:
    """At most `count` of them; the sort is stable, so equals keep their order of arrival."""
    if len(sequences) <= count:
        return list(sequences)
    return sorted(sequences, key=lambda sequence: sequence.last_pass)[:count]
