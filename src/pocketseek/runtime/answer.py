"""From the tokens of a request to pieces of text, and to a whole answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from pocketseek.errors import UsageError
from pocketseek.text.text_stream import TextStream
from pocketseek.types import FinishReason, TextEvent, TokenEvent


@dataclass(frozen=True)
class Answer:
    """A finished answer. finish_reason: "stop" (end token or stop string) or "length" (max_tokens or the context)."""

    text: str
    reasoning: str
    num_prompt_tokens: int
    num_tokens: int
    finish_reason: FinishReason
    num_cached_prompt_tokens: int = field(default=0, compare=False)

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
        )


class TokenSource(Protocol):
    """A TokenStream, or one that says None instead of waiting."""

    def __iter__(self) -> Iterator[TokenEvent | None]: ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def text_events(tokens: TokenSource, text_stream: TextStream) -> Iterator[TextEvent | None]:
    """Pieces as soon as they are certain; silent while a character or a possible stop string is incomplete.

    None where the source says so: it has nothing yet.
    """
    num_tokens = 0
    with tokens:
        for event in tokens:
            if event is None:
                yield None
                continue
            text = reasoning = ""
            if event.token_id is not None:
                num_tokens += 1
                text, reasoning = text_stream.push(event.token_id)
            if event.finish_reason is not None:
                late_text, late_reasoning = text_stream.flush()
                text, reasoning = text + late_text, reasoning + late_reasoning
            finish_reason: FinishReason | None = "stop" if text_stream.stopped else event.finish_reason
            if text or reasoning or finish_reason is not None:
                yield TextEvent(text, reasoning, num_tokens, finish_reason, event.num_cached_prompt_tokens)
            if text_stream.stopped:
                return


def checked_stop(stop: Sequence[str]) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in strings:
        if not isinstance(text, str) or not text:
            raise UsageError(f"{text!r:.40} is no stop string; use texts of one character or more")
    return strings
