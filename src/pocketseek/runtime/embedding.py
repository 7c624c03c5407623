"""The embedding of a text that an engine is reading: to be waited for, or polled like a TextAnswer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketseek.errors import PocketseekError
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.types import TokenEvent

Embedding = npt.NDArray[np.float32]


class PendingEmbedding:
    """Closing it, or dropping the last reference, cancels the request within one pass; any thread may do so.

    num_tokens: of the text. Errors as from `Engine.stream`, and PocketseekError if it was cut off by its deadline or by
    being closed.
    """

    def __init__(self, num_tokens: int, tokens: TokenStream) -> None:
        self.num_tokens = num_tokens
        self.has_ended = False
        self._tokens = tokens

    def wait(self) -> Embedding:
        """float32 (hidden_size,). Once, instead of `poll`."""
        self.has_ended = True
        for event in self._tokens:
            return _embedding(event)
        raise _cut_off("closed")

    def poll(self) -> Embedding | None:
        """The embedding, once; None if it is not there yet, or after it, when `has_ended`."""
        if self.has_ended:
            return None
        event = self._tokens.poll()
        if event is None:
            return None
        self.has_ended = True
        return _embedding(event)

    def close(self) -> None:
        self._tokens.close()


def _embedding(event: TokenEvent) -> Embedding:
    if event.embedding is None:
        raise _cut_off(event.finish_reason or "closed")
    return np.array(event.embedding, np.float32)


def _cut_off(reason: str) -> PocketseekError:
    return PocketseekError(f"the text was not read to its end ({reason}); ask again, with more time if it had a limit")
