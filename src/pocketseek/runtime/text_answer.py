"""An answer's pieces of text, for one who waits for them and for one who must not.

A reader with a thread of its own iterates. An event loop gives `announce` to the engine, which calls it when something
has come, and then takes what is there with `poll`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pocketseek.runtime.answer import text_events
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.text.text_stream import TextStream
from pocketseek.types import TextEvent, TokenEvent


class TextAnswer(Iterator[TextEvent]):
    """Closing it, or dropping the last reference, cancels the request within one pass; any thread may do so.

    A reader that is blocked meanwhile gets what comes next, and then the end.
    """

    def __init__(self, tokens: TokenStream, text: TextStream, *, polled: bool = False) -> None:
        self._tokens = tokens
        self._events = text_events(_PolledTokens(tokens) if polled else tokens, text)
        self.has_ended = False

    def __next__(self) -> TextEvent:
        for event in self._events:
            if event is not None:
                return event
        self.has_ended = True
        raise StopIteration

    def poll(self) -> TextEvent | None:
        """The next piece; None if it is not there yet, or after the last, when `has_ended`. Raises as `next`."""
        for event in self._events:
            return event
        self.has_ended = True
        return None

    def close(self) -> None:
        self._tokens.close()


class _PolledTokens:
    """A TokenStream that says None where it would wait."""

    def __init__(self, tokens: TokenStream) -> None:
        self._tokens = tokens

    def __iter__(self) -> Iterator[TokenEvent | None]:
        return self

    def __next__(self) -> TokenEvent | None:
        return self._tokens.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tokens.close()
