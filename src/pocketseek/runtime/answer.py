"""From the tokens of a request to pieces of text, and to a whole answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from pocketseek.errors import UsageError
from pocketseek.runtime.prompt import EncodedPrompt
from pocketseek.runtime.token_details import TokenDetails
from pocketseek.text.chat_template import DEFAULT_STOP, DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.text.text_stream import Piece, TextStream
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import FinishReason, TextEvent, TokenDetail, TokenEvent


@dataclass(frozen=True)
class Answer:
    """A finished answer. finish_reason: "stop" (end token or stop string) or "length" (max_tokens or the context).

    num_reasoning_tokens, tokens: as in TextEvent; the tokens of all pieces.
    """

    text: str
    reasoning: str
    num_prompt_tokens: int
    num_tokens: int
    finish_reason: FinishReason
    num_cached_prompt_tokens: int = field(default=0, compare=False)
    num_reasoning_tokens: int = 0
    tokens: tuple[TokenDetail, ...] = ()

    @classmethod
    def of(cls, num_prompt_tokens: int, events: Sequence[TextEvent]) -> Self:
        """The pieces put together."""
        last = events[-1]
        return cls(
            text="".join(event.text for event in events),
            reasoning="".join(event.reasoning for event in events),
            num_prompt_tokens=num_prompt_tokens,
            num_tokens=last.num_tokens,
            finish_reason=last.finish_reason or "stop",
            num_cached_prompt_tokens=last.num_cached_prompt_tokens,
            num_reasoning_tokens=last.num_reasoning_tokens,
            tokens=tuple(token for event in events for token in event.tokens),
        )


class TokenSource(Protocol):
    """A TokenStream, or one that says None instead of waiting."""

    def __iter__(self) -> Iterator[TokenEvent | None]: ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def text_events(
    tokens: TokenSource, text_stream: TextStream, details: TokenDetails | None = None
) -> Iterator[TextEvent | None]:
    """Pieces as soon as they are certain; silent while a character or a possible stop string is incomplete.

    None where the source says so: it has nothing yet. details: report the tokens, too.
    """
    pieces = _Pieces(text_stream, details)
    with tokens:
        for event in tokens:
            piece = None if event is None else pieces.after(event)
            if event is None or piece is not None:
                yield piece
            if text_stream.stopped:
                return


class _Pieces:
    """Counts, and makes a TextEvent of what a token adds."""

    def __init__(self, text: TextStream, details: TokenDetails | None) -> None:
        self._text = text
        self._details = details
        self._num_tokens = self._num_reasoning_tokens = 0

    def after(self, event: TokenEvent) -> TextEvent | None:
        """None if it adds nothing that shows, and more may come."""
        text = reasoning = ""
        tokens: tuple[TokenDetail, ...] = ()
        if event.token_id is not None:
            piece = self._push(event, event.token_id)
            text, reasoning = piece
            tokens = self._shown(piece)
        if event.finish_reason is not None:
            late = self._text.flush()
            text, reasoning = text + late.text, reasoning + late.reasoning
            tokens += self._shown(late)
        finish_reason: FinishReason | None = "stop" if self._text.stopped else event.finish_reason
        if not (text or reasoning) and finish_reason is None:
            return None
        num_tokens, num_reasoning, num_cached = (
            self._num_tokens,
            self._num_reasoning_tokens,
            event.num_cached_prompt_tokens,
        )
        return TextEvent(text, reasoning, num_tokens, finish_reason, num_cached, tokens, num_reasoning)

    def _push(self, event: TokenEvent, token_id: int) -> Piece:
        was_reasoning = self._text.in_reasoning
        piece = self._text.push(token_id)
        self._num_tokens += 1
        if was_reasoning or self._text.in_reasoning:
            self._num_reasoning_tokens = self._num_tokens
        if self._details is not None:
            self._details.push(event)
        return piece

    def _shown(self, piece: Piece) -> tuple[TokenDetail, ...]:
        return () if self._details is None else self._details.take(piece)


def text_stream_of(
    prompt: EncodedPrompt, stop: Sequence[str], tokenizer: Tokenizer, template: ChatTemplate
) -> TextStream:
    """For an answer to this prompt. Raises UsageError for a stop string that is none."""
    settings = tokenizer.settings
    # A model without a template of its own knows no end of turn; it would go on and play the user, too.
    template_stop = DEFAULT_STOP if prompt.is_chat and template.source == DEFAULT_TEMPLATE else ()
    return TextStream(
        tokenizer,
        stop=(*checked_stop(stop), *template_stop),
        reasoning_start=settings.reasoning_start,
        reasoning_end=settings.reasoning_end,
        starts_in_reasoning=prompt.starts_in_reasoning,
        continues_text=not prompt.is_chat,
    )


def checked_stop(stop: Sequence[str]) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in strings:
        if not isinstance(text, str) or not text:
            raise UsageError(f"{text!r:.40} is no stop string; use texts of one character or more")
    return strings
