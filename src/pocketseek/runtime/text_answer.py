"""An answer's pieces of text as an iterator that any thread may close, also while another one waits in it."""

from __future__ import annotations

from collections.abc import Iterator

from pocketseek.runtime.token_stream import TokenStream
from pocketseek.types import TextEvent


class TextAnswer(Iterator[TextEvent]):
    """`events` are made of `tokens`. Closing it, or dropping the last reference, cancels the request within one pass.

    A reader that is blocked meanwhile gets an event that finishes with "cancelled".
    """

    def __init__(self, tokens: TokenStream, events: Iterator[TextEvent]) -> None:
        self._tokens = tokens
        self._events = events

    def __next__(self) -> TextEvent:
        return next(self._events)

    def close(self) -> None:
        self._tokens.close()
