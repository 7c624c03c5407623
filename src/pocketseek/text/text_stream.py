"""From generated ids to text, piece by piece: characters whole, stop strings cut off, reasoning kept apart.

    ids --bytes--> _Characters --text--> TextStream --> Piece(text, reasoning)

What comes out depends only on the ids, never on how the bytes were cut into tokens: joined, the pieces are what
`Tokenizer.decode` gives for the whole sequence (before the stop string, without the reasoning tags; with DeepSeek's
marks of tool calls, which are special tokens). Text is held back
only as long as it could be the beginning of a stop string or tag, or of a character of several bytes; `flush` gives out
what is held when the sequence ends.

Reasoning is what stands between the tags (`<think>`, `</think>`), which may be special tokens or ordinary text. It can
begin only at the very beginning of an answer, so a model may write about the tag later on. White space next to the tags
is dropped. Stop strings are looked for in the answer only, not in the reasoning.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pocketseek.text.special_tokens import TOOL_TAGS


class TokenSource(Protocol):
    """The part of a Tokenizer that a stream needs."""

    @property
    def strips_leading_space(self) -> bool: ...

    def token_bytes(self, token_id: int) -> bytes: ...

    def is_special(self, token_id: int) -> bool: ...


class Piece(NamedTuple):
    """What one token added: `text` to the answer, `reasoning` to the thoughts. Often both are empty."""

    text: str = ""
    reasoning: str = ""


def opens_reasoning(prompt: str, reasoning_start: str) -> bool:
    """True if a rendered prompt ends in the opening tag, so that the answer begins in the middle of reasoning."""
    return bool(reasoning_start) and prompt.rstrip().endswith(reasoning_start)


class TextStream:
    """The text of one sequence. Not for use from several threads at once.

    reasoning_start, reasoning_end: the tags, both empty if the model has none. starts_in_reasoning: the prompt ended in
    the opening tag. continues_text: the answer continues raw text, so a SentencePiece tokenizer's first space is real.
    """

    def __init__(
        self,
        tokenizer: TokenSource,
        *,
        stop: Sequence[str] = (),
        reasoning_start: str = "",
        reasoning_end: str = "",
        starts_in_reasoning: bool = False,
        continues_text: bool = False,
    ) -> None:
        self._characters = _Characters(tokenizer, reasoning_start, reasoning_end, keep_space=continues_text)
        self._stops = tuple(text for text in stop if text)
        self._start_tag, self._end_tag = reasoning_start, reasoning_end
        self._in_reasoning = starts_in_reasoning and bool(reasoning_end)
        self._may_open = bool(reasoning_start and reasoning_end)  # nothing but white space has come yet
        self._after_tag = self._in_reasoning  # white space is to be dropped
        self._held = ""
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """True once a stop string has come; all later pieces are empty."""
        return self._stopped

    def push(self, token_id: int) -> Piece:
        """Take the next id."""
        return self._advance(self._characters.push(token_id), at_end=False)

    def flush(self) -> Piece:
        """The sequence is over: what was held back. Half a character becomes U+FFFD."""
        return self._advance(self._characters.flush(), at_end=True)

    def _advance(self, new: str, *, at_end: bool) -> Piece:
        if self._stopped:
            return Piece()
        self._held += new
        text, reasoning = "", ""
        while True:
            was_reasoning = self._in_reasoning
            part, changed = self._take_reasoning(at_end) if was_reasoning else self._take_answer(at_end)
            if was_reasoning:
                reasoning += part
            else:
                text += part
            if not changed:
                return Piece(text, reasoning)

    def _take_reasoning(self, at_end: bool) -> tuple[str, bool]:
        """The part of the held text that is surely reasoning, and whether a tag ended (or repeated the start of) it."""
        self._drop_space()
        if self._may_open and not at_end and self._start_tag.startswith(self._held):
            return "", False
        if self._may_open and self._held.startswith(self._start_tag):  # the model repeats the tag of its prompt
            self._held = self._held.removeprefix(self._start_tag)
            self._may_open, self._after_tag = False, True
            return "", True
        self._may_open = False
        before, tag, after = self._held.partition(self._end_tag)
        if tag:
            self._in_reasoning, self._after_tag, self._held = False, True, after
            return before.rstrip(), True
        kept = len(self._held) - (0 if at_end else _length_of_beginning(self._held, (self._end_tag,)))
        sure = self._held[:kept] if at_end else self._held[:kept].rstrip()
        self._held = self._held[len(sure) :]
        return sure, False

    def _take_answer(self, at_end: bool) -> tuple[str, bool]:
        """The part of the held text that is surely answer, and whether reasoning begins after it."""
        self._drop_space()
        if self._may_open and (opened := self._try_open(at_end)) is not None:
            return "", opened
        found = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:  # the one that was complete first; of those, the one that began first
            answer = self._held[: min(found)[1]]
            self._stopped, self._held = True, ""
            return answer, False
        kept = len(self._held) - (0 if at_end else _length_of_beginning(self._held, self._stops))
        answer, self._held = self._held[:kept], self._held[kept:]
        return answer, False

    def _try_open(self, at_end: bool) -> bool | None:
        """True if reasoning begins here, False if that is still open, None if it does not."""
        begun = self._held.lstrip()
        tag_end = len(self._held) - len(begun) + len(self._start_tag)
        stopped_before = any(stop in self._held[: tag_end - 1] for stop in self._stops)
        if not stopped_before and begun.startswith(self._start_tag):
            self._held = begun.removeprefix(self._start_tag)
            self._in_reasoning, self._may_open, self._after_tag = True, False, True
            return True
        if not stopped_before and not at_end and self._start_tag.startswith(begun):
            return False
        self._may_open = False
        return None

    def _drop_space(self) -> None:
        if self._after_tag:
            self._held = self._held.lstrip()
            self._after_tag = not self._held


class _Characters:
    """Ids to characters: bytes of split characters wait for the rest; special tokens vanish, unless they are tags of
    reasoning or of tool calls.
    """

    def __init__(self, tokenizer: TokenSource, start_tag: str, end_tag: str, *, keep_space: bool) -> None:
        self._tokenizer = tokenizer
        self._tags = {tag.encode("utf-8") for tag in (start_tag, end_tag, *TOOL_TAGS) if tag}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.strips_leading_space and not keep_space

    def push(self, token_id: int) -> str:
        data = self._tokenizer.token_bytes(token_id)
        if self._tokenizer.is_special(token_id) and data not in self._tags:
            return ""
        return self._strip(self._decoder.decode(data))

    def flush(self) -> str:
        return self._strip(self._decoder.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text


def _length_of_beginning(text: str, wanted: Sequence[str]) -> int:
    """How many characters at the end of `text` could be the beginning of one of `wanted`."""
    longest = min(len(text), max(map(len, wanted), default=1) - 1)
    for length in range(longest, 0, -1):
        if any(item.startswith(text[-length:]) for item in wanted):
            return length
    return 0
