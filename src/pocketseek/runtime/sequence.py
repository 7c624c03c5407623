"""One request on its way through the passes: its tokens, its pages, how far it has been computed."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

from pocketseek.kernels.contract import LogitsMath
from pocketseek.runtime.adapters import LoadedAdapter
from pocketseek.runtime.guide import Guide
from pocketseek.runtime.pooling import MeanPool, States
from pocketseek.runtime.prefix.page import PageKey
from pocketseek.runtime.sampling import PLAIN_MATH, Choice, LogitsRow, Sampler, log_probability
from pocketseek.runtime.speculate import NO_DRAFT, Draft, Drafter
from pocketseek.runtime.work import Logits, Slice, pages_for
from pocketseek.types import Request

SCORE_ROWS = 64  # rows of logits that scoring may ask for in one pass: 39 MB at 152 000 tokens


class SequenceState:
    """Owned by the scheduler. Tokens from num_computed on still have to go through a pass.

    num_registered: leading pages that the prefix cache knows. num_cached_prompt: prompt tokens that never went through
    a pass for this request, because others had computed them (a follower's is that of whom it follows). num_swapped:
    tokens whose pages wait on disk. followers: other answers to the same prompt, which begin (`follow`) when it has
    been read. is_promised: there was memory for it once, so it is finished whatever becomes of that.
    lacks_memory_since_s: since when it cannot go on for lack of memory; None: it is not that.

    Giving up the pages (`forget`) only sets num_computed back: tokens and scores stay, and since a token is a function
    of logits, history, seed and position, computing them again leads to the same text.
    """

    def __init__(
        self,
        request_id: int,
        request: Request,
        drafter: Drafter | None = None,
        logits_math: LogitsMath = PLAIN_MATH,
        guide: Guide | None = None,
        adapter: LoadedAdapter | None = None,
    ) -> None:
        seed = request.sampling.seed
        self.request_id = request_id
        self.request = request
        self.tokens = list(request.prompt_ids)
        self.pages: list[int] = []
        self.num_computed = 0
        self.num_registered = 0
        self.page_keys: list[PageKey] = []
        self.num_cached_prompt = 0
        self.num_swapped = 0
        self.followers: list[SequenceState] = []
        self.is_promised = False
        self.lacks_memory_since_s: float | None = None
        self.last_pass = 0
        self.arrival = 0  # the scheduler's count of arrivals
        self.arrival_s = 0.0  # by the scheduler's clock
        self.num_served = 0  # tokens that ever went through a pass, a pre-emption notwithstanding
        self.prompt_logprobs: list[float] = []
        self._output: list[int] = []
        self._num_seen = 0  # positions before it were computed or skipped at some time
        self._drafter = drafter
        self._pool = MeanPool(len(request.prompt_ids)) if request.embed_prompt else None
        self.adapter = adapter
        self._guide = guide  # None: any token may come
        self._logits_math = logits_math
        self._sampler = Sampler(
            request.sampling,
            secrets.randbits(64) if seed is None else seed,
            request.prompt_ids,
            logprobs=request.logprobs,
            top_logprobs=request.top_logprobs,
            logits_math=logits_math,
        )

    @property
    def deadline_at_s(self) -> float:
        return math.inf if self.request.deadline_s is None else self.arrival_s + self.request.deadline_s

    @property
    def may_leave_traces(self) -> bool:
        """Whether what is computed of it may go to disk, as far as its adapter says."""
        return self.adapter is None or self.adapter.may_leave_traces

    @property
    def num_prompt(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def num_output(self) -> int:
        return len(self._output)

    @property
    def num_pending(self) -> int:
        return len(self.tokens) - self.num_computed

    @property
    def is_decoding(self) -> bool:
        """Only the newest token is missing; otherwise a prompt (or what was forgotten) is being read."""
        return self.num_output > 0 and self.num_pending == 1

    @property
    def num_pages_to_begin(self) -> int:
        """For the prompt and the first token of the answer."""
        return pages_for(self.num_prompt + min(1, self.request.max_tokens))

    @property
    def num_missing_pages(self) -> int:
        return pages_for(len(self.tokens)) - len(self.pages)

    @property
    def is_finished(self) -> bool:
        """Its constraint lets nothing follow."""
        return self._guide is not None and self._guide.is_finished

    @property
    def is_full(self) -> bool:
        return self.num_output >= self.request.max_tokens

    def draft(self, max_tokens: int) -> Draft:
        """What may follow, up to an end token: nothing comes behind that, and nothing behind the answer's last token.

        The token that is due needs no draft, so that max_tokens - 1 are left of an answer.
        """
        most = min(max_tokens, self.request.max_tokens - self.num_output - 1)
        if self._drafter is None or most < 1:
            return NO_DRAFT
        if self._guide is not None:
            draft = self._guide.draft(self._drafter, self.tokens, most)
        else:
            draft = self._drafter.draft(self.tokens, most)
        ends = (i for i, token_id in enumerate(draft.token_ids) if token_id in self.request.stop_ids)
        end = next(ends, None)
        return draft if end is None else Draft(draft.token_ids[:end], draft.chances[:end])

    def next_slice(self, max_tokens: int, max_score_rows: int, draft: Sequence[int] = ()) -> Slice | None:
        """The next tokens to compute, at most max_tokens; None if scoring must wait for a pass with room for rows.

        draft: for a decoding sequence, what goes behind its newest token; the caller has seen to room and pages.
        """
        end = min(len(self.tokens), self.num_computed + max_tokens)
        num_logits = int(end == len(self.tokens) and not self.is_full)
        if self._scores_from is not None and self.num_computed < self._scores_from:
            end, num_logits = min(end, self._scores_from), 0
        elif self._scores_from is not None:
            end = min(end, self.num_prompt, self.num_computed + max_score_rows)
            num_logits = end - self.num_computed
        if end == self.num_computed:
            return None
        token_ids = (*self.tokens[self.num_computed : end], *draft)
        pages = tuple(self.pages[: pages_for(end + len(draft))])
        handle = None if self.adapter is None else self.adapter.handle
        wants_states = self._pool is not None and not self._pool.is_complete
        return Slice(
            self.request_id, token_ids, self.num_computed, pages, num_logits + len(draft), wants_states, handle
        )

    @property
    def _scores_from(self) -> int | None:
        """The prompt row whose successor is scored next; None if nothing is left to score."""
        row = self.first_scored_row + len(self.prompt_logprobs)
        return row if self.request.score_prompt and row < self.num_prompt - 1 else None

    @property
    def first_scored_row(self) -> int:
        """Of a request whose prompt is scored: what lies before needs no logits."""
        return max(0, self.request.score_from - 1)

    def advance(self, part: Slice, rows: Logits, states: States) -> None:
        """The slice went through a pass: its K and V are in the pages; take the prompt's scores from its rows, and its
        hidden states if it wanted them.

        K and V of a draft count when its tokens are accepted; what is not accepted is written over before it is read.
        """
        end = min(part.end_position, len(self.tokens))
        self.num_cached_prompt += max(0, min(part.first_position, self.num_prompt) - self._num_seen)
        self._num_seen = max(self._num_seen, end)
        self.num_computed = end
        if self._pool is not None and part.wants_states:
            self._pool.take(part.first_position, states)
        if self._scores_from is not None:
            for row in rows[: self.num_prompt - 1 - part.first_position]:
                token_id = self.tokens[self.first_scored_row + len(self.prompt_logprobs) + 1]
                self.prompt_logprobs.append(log_probability(row, token_id, self._logits_math))

    def embedding(self) -> tuple[float, ...] | None:
        """Once the prompt is read, if it was asked for."""
        return None if self._pool is None else self._pool.mean()

    def choose(self, row: LogitsRow) -> Choice:
        """The next token, from the newest one's row; does not append it. Raises ModelOutputError, or UsageError for a
        constraint that became too complex.
        """
        allowed = None if self._guide is None else self._guide.allowed()
        return self._sampler.choose(row, self._output, allowed)

    def append(self, token_id: int) -> None:
        self.tokens.append(token_id)
        self._output.append(token_id)
        if self._guide is not None:
            self._guide.accept(token_id)

    def accept_draft(self) -> None:
        """The newest token was in the pass that chose it: its K and V are in the pages."""
        self.num_computed += 1

    def spare_pages(self) -> list[int]:
        """Give up the pages that only a draft needed."""
        num_needed = pages_for(len(self.tokens))
        spare, self.pages = self.pages[num_needed:], self.pages[:num_needed]
        return spare

    def follow(self, leader: SequenceState) -> list[int]:
        """Stand where the leader stands, which has just read the same prompt. Returns its pages, now those of both."""
        self.pages = list(leader.pages)
        self.page_keys = list(leader.page_keys)
        self.num_computed, self.num_registered = leader.num_computed, leader.num_registered
        self.num_cached_prompt, self.num_served = leader.num_cached_prompt, leader.num_served
        self.prompt_logprobs = list(leader.prompt_logprobs)
        self._pool = leader._pool
        self._num_seen = self.num_computed
        return self.pages

    def forget(self) -> list[int]:
        """Give up the pages: everything has to be computed again."""
        pages, self.pages, self.num_computed, self.num_registered = self.pages, [], 0, 0
        return pages
