"""Which tokens a piece of text is made of, with their log-probabilities: for answers that were asked for them.

A token is reported once, with the first piece in which a character of it shows. The tokens that share a character (each
has some of its bytes) all belong to it. What shows nothing is not reported: special tokens, the reasoning tags, the
white space that is dropped around reasoning, and what a stop string cuts away. So the bytes of the tokens of an answer,
joined, are its text, but for such space or such a stop string inside a token that also shows something else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple, Protocol

from pocketseek.text.text_stream import Piece, TextStream
from pocketseek.types import TokenDetail, TokenEvent


class Vocabulary(Protocol):
    """The part of a Tokenizer that is needed here."""

    def token_bytes(self, token_id: int) -> bytes: ...


class _Pending(NamedTuple):
    """The token has a part in the characters first .. end - 1 of the sequence, dropped ones counted."""

    first: int
    end: int
    detail: TokenDetail


class TokenDetails:
    """Of one sequence, beside its TextStream: `push` after each token of that, `take` after each piece."""

    def __init__(self, vocabulary: Vocabulary, text: TextStream) -> None:
        self._vocabulary = vocabulary
        self._text = text
        self._num_characters = 0
        self._pending: deque[_Pending] = deque()

    def push(self, event: TokenEvent) -> None:
        """Of the token that the TextStream has just taken."""
        first, self._num_characters = self._num_characters, self._text.num_characters
        if event.token_id is None or event.logprob is None or not self._text.shows(event.token_id):
            return
        if data := self._vocabulary.token_bytes(event.token_id):
            top = tuple((self._vocabulary.token_bytes(score.token_id), score.logprob) for score in event.top_logprobs)
            detail = TokenDetail(event.token_id, data, event.logprob, top)
            self._pending.append(_Pending(first, max(first + 1, self._text.num_begun), detail))

    def take(self, piece: Piece) -> tuple[TokenDetail, ...]:
        """What shows in the piece that the TextStream has just given, and did not in those before."""
        reasoning = self._shown(self._text.reasoning_at, len(piece.reasoning), is_reasoning=True)
        return (*reasoning, *self._shown(self._text.text_at, len(piece.text), is_reasoning=False))

    def _shown(self, first: int, count: int, *, is_reasoning: bool) -> list[TokenDetail]:
        shown: list[TokenDetail] = []
        while count and self._pending and self._pending[0].first < first + count:
            token = self._pending.popleft()
            if token.end > first:
                shown.append(replace(token.detail, is_reasoning=True) if is_reasoning else token.detail)
        return shown
