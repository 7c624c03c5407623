"""What callers and the worker say to each other: messages one way, a request's tokens the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from pocketseek.errors import PocketseekError
from pocketseek.runtime.sequence import SequenceState
from pocketseek.types import TokenEvent

Outcomes = SimpleQueue[TokenEvent | PocketseekError]


class AnnouncedOutcomes(SimpleQueue[TokenEvent | PocketseekError]):
    """For a reader that must not wait: it is told when something has come, by the worker, whom it must not hold up."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def put(self, item: TokenEvent | PocketseekError, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self._announce()


@dataclass(frozen=True)
class Submit:
    """One request, or several with the same prompt."""

    sequences: tuple[SequenceState, ...]
    outcomes: tuple[Outcomes, ...]


@dataclass(frozen=True)
class Cancel:
    request_id: int


@dataclass(frozen=True)
class WakeUp:
    """Only makes the worker look at its flags."""


@dataclass(frozen=True)
class ApplyLimits:
    """Asks the governor although there may be nothing to compute. done: called, by the worker, when its answer has been
    carried out."""

    done: Callable[[], None] = lambda: None


Message = Submit | Cancel | WakeUp | ApplyLimits
Inbox = SimpleQueue[Message]  # SimpleQueue.put is reentrant, hence safe in __del__


class TokenStream(Iterator[TokenEvent]):
    """The events of one request, which runs from the start whether or not they are read.

    Closing the stream, leaving its `with` block or dropping the last reference to it cancels the request: its pages are
    free at the next border between passes. Any thread may read or close it; a reader blocked meanwhile gets an event
    that finishes with "cancelled".
    """

    def __init__(self, request_id: int, outcomes: Outcomes, inbox: Inbox, owner: object) -> None:
        self._request_id = request_id
        self._outcomes = outcomes
        self._inbox = inbox
        self._owner = owner  # the engine must not be finalized while somebody reads
        self._ended = False

    def __next__(self) -> TokenEvent:
        if self._ended:
            raise StopIteration
        return self._seen(self._outcomes.get())

    def poll(self) -> TokenEvent | None:
        """As `next`, but None if nothing is there yet."""
        if self._ended:
            raise StopIteration
        try:
            return self._seen(self._outcomes.get_nowait())
        except Empty:
            return None

    def _seen(self, outcome: TokenEvent | PocketseekError) -> TokenEvent:
        if isinstance(outcome, PocketseekError):
            self._ended = True
            raise outcome
        self._ended = self._ended or outcome.finish_reason is not None
        return outcome

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._inbox.put(Cancel(self._request_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
