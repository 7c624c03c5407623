"""What a pass has brought: each slice's K and V are computed, its logits become tokens, and who is done leaves.

The scheduler's last third. It knows nothing about how passes are filled; it changes sequences, frees their pages and
counts. Used by the engine's worker between two passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from pocketseek.errors import ModelOutputError, PocketseekError, UsageError
from pocketseek.runtime.counts import SequenceEvent, Totals
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.roster import Roster
from pocketseek.runtime.sampling import LogitsRow
from pocketseek.runtime.sequence import SequenceState
from pocketseek.runtime.work import Logits, Slice, Work
from pocketseek.types import FinishReason, TokenEvent


class Accounts:
    """Of one scheduler, whose parts it shares."""

    def __init__(self, policy: Policy, roster: Roster, cache: PrefixCache, totals: Totals) -> None:
        self._policy = policy
        self._roster = roster
        self._cache = cache
        self._totals = totals

    def commit(self, work: Work, logits: Logits) -> list[SequenceEvent]:
        """One event for each new token, those of a request in order."""
        self._totals.num_passes += 1
        by_id = {sequence.request_id: sequence for sequence in self._roster.running}
        events: list[SequenceEvent] = []
        row = 0
        for part in work.slices:
            rows = logits[row : row + part.num_logits]
            row += part.num_logits
            events.extend(self._commit_slice(by_id[part.request_id], part, rows))
        self._policy.passed()
        return events

    def _commit_slice(self, sequence: SequenceState, part: Slice, rows: Logits) -> Iterator[SequenceEvent]:
        if not sequence.is_decoding:
            self._totals.num_prompt_tokens += part.num_tokens
        self._policy.served(sequence, part)
        draft = part.token_ids[sequence.num_pending :]
        try:
            sequence.advance(part, rows)
            self._cache.register(sequence)
        except ModelOutputError as error:  # unusable logits end this request, not the engine
            yield self.finish(sequence, "error", error=error)
            return
        if sequence.num_pending:
            return
        if sequence.num_output == 0:
            yield from self._begin_answers(sequence, rows)
        else:
            yield from self._next_tokens(sequence, draft, rows)

    def _begin_answers(self, sequence: SequenceState, rows: Logits) -> Iterator[SequenceEvent]:
        """The prompt is read: its own answer begins here, and those of its followers."""
        self._totals.num_cached_prompt_tokens += sequence.num_cached_prompt
        self._cache.keep(sequence)
        for one in (sequence, *self._roster.start_followers(sequence)):
            if one.is_full:  # max_tokens is 0: only the prompt was wanted
                yield self.finish(one, "length")
            else:
                yield from self._next_tokens(one, (), rows)

    def _next_tokens(self, sequence: SequenceState, draft: Sequence[int], rows: Logits) -> Iterator[SequenceEvent]:
        """The token that is due, and on while the draft had it right. The last rows are its own and the draft's."""
        self._totals.num_drafted += len(draft)
        for row, guess in zip_longest(rows[-1 - len(draft) :], draft):
            event = self._next_token(sequence, row)
            yield event
            if event.token.finish_reason is not None:
                return
            if event.token.token_id != guess:
                break
            self._totals.num_accepted += 1
            sequence.accept_draft()
        self._roster.take_back_pages(sequence)

    def _next_token(self, sequence: SequenceState, row: LogitsRow) -> SequenceEvent:
        try:
            choice = sequence.choose(row)
        except (ModelOutputError, UsageError) as error:
            return self.finish(sequence, "error", error=error)
        if choice.token_id in sequence.request.stop_ids:
            return self.finish(sequence, "stop", logprob=choice.logprob)
        sequence.append(choice.token_id)
        self._totals.num_tokens += 1
        if sequence.is_finished:
            return self.finish(sequence, "stop", token_id=choice.token_id, logprob=choice.logprob)
        if sequence.is_full:
            return self.finish(sequence, "length", token_id=choice.token_id, logprob=choice.logprob)
        token = TokenEvent(choice.token_id, choice.logprob, num_cached_prompt_tokens=sequence.num_cached_prompt)
        return SequenceEvent(sequence.request_id, token)

    def finish(
        self,
        sequence: SequenceState,
        reason: FinishReason,
        *,
        token_id: int | None = None,
        logprob: float | None = 0.0,
        error: PocketseekError | None = None,
    ) -> SequenceEvent:
        """Remove the sequence and free its pages."""
        self._policy.left(sequence)
        self._roster.remove(sequence)
        complete = sequence.request.score_prompt and reason in ("stop", "length")
        scores = tuple(sequence.prompt_logprobs) if complete else None
        token = TokenEvent(token_id, logprob, reason, scores, sequence.num_cached_prompt)
        return SequenceEvent(sequence.request_id, token, error)
