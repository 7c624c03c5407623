"""One request on its way through the passes: its tokens, its pages, how far it has been computed."""

from __future__ import annotations

import math
import secrets

from pocketseek.runtime.sampling import Choice, Sampler, log_probability
from pocketseek.runtime.work import Logits, Slice, pages_for
from pocketseek.types import Request

SCORE_ROWS = 64  # rows of logits that scoring may ask for in one pass: 39 MB at 152 000 tokens


class SequenceState:
    """Owned by the scheduler. Tokens from num_computed on still have to go through a pass.

    Giving up the pages (`forget`) only sets num_computed back: tokens and scores stay, and since a token is a function
    of logits, history, seed and position, computing them again leads to the same text.
    """

    def __init__(self, request_id: int, request: Request) -> None:
        seed = request.sampling.seed
        self.request_id = request_id
        self.request = request
        self.tokens = list(request.prompt_ids)
        self.pages: list[int] = []
        self.num_computed = 0
        self.last_pass = 0
        self.arrival = 0  # the scheduler's count of arrivals
        self.arrival_s = 0.0  # by the scheduler's clock
        self.num_served = 0  # tokens that ever went through a pass, a pre-emption notwithstanding
        self.prompt_logprobs: list[float] = []
        self._output: list[int] = []
        self._sampler = Sampler(
            request.sampling,
            secrets.randbits(64) if seed is None else seed,
            request.prompt_ids,
            logprobs=request.logprobs,
        )

    @property
    def deadline_at_s(self) -> float:
        return math.inf if self.request.deadline_s is None else self.arrival_s + self.request.deadline_s

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
    def num_missing_pages(self) -> int:
        return pages_for(len(self.tokens)) - len(self.pages)

    @property
    def is_full(self) -> bool:
        return self.num_output >= self.request.max_tokens

    def next_slice(self, max_tokens: int, max_score_rows: int) -> Slice | None:
        """The next tokens to compute, at most max_tokens; None if scoring must wait for a pass with room for rows."""
        end = min(len(self.tokens), self.num_computed + max_tokens)
        num_logits = int(end == len(self.tokens) and not self.is_full)
        if self._scores_from is not None and self.num_computed < self._scores_from:
            end, num_logits = min(end, self._scores_from), 0
        elif self._scores_from is not None:
            end = min(end, self.num_prompt, self.num_computed + max_score_rows)
            num_logits = end - self.num_computed
        if end == self.num_computed:
            return None
        token_ids = tuple(self.tokens[self.num_computed : end])
        pages = tuple(self.pages[: pages_for(end)])
        return Slice(self.request_id, token_ids, self.num_computed, pages, num_logits)

    @property
    def _scores_from(self) -> int | None:
        """The prompt row whose successor is scored next; None if nothing is left to score."""
        num_scores = len(self.prompt_logprobs)
        return num_scores if self.request.score_prompt and num_scores < self.num_prompt - 1 else None

    def advance(self, part: Slice, rows: Logits) -> None:
        """The slice went through a pass: its K and V are in the pages; take the prompt's scores from its rows."""
        self.num_computed = part.end_position
        if self._scores_from is not None:
            for row in rows[: self.num_prompt - 1 - part.first_position]:
                self.prompt_logprobs.append(log_probability(row, self.tokens[len(self.prompt_logprobs) + 1]))

    def choose(self, rows: Logits) -> Choice:
        """The next token, from the last row. Does not append it. Raises ModelOutputError for unusable logits."""
        return self._sampler.choose(rows[-1], self._output)

    def append(self, token_id: int) -> None:
        self.tokens.append(token_id)
        self._output.append(token_id)

    def forget(self) -> list[int]:
        """Give up the pages: everything has to be computed again."""
        pages, self.pages, self.num_computed = self.pages, [], 0
        return pages
