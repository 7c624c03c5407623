"""A spoken conversation with an engine: prompts computed ahead, answers, and a memory of what was heard.

`warm` computes the prompt up to where the text so far may still change; what of it fills whole pages is found again by
the prefix cache, so more is never computed. It runs as background work, as somebody else's answer comes first, but does
not wait to be merged with others: it is of use for a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Protocol, TypeVar

from pocketseek.apps.conversation import Turn
from pocketseek.apps.prompt_fit import fitting_prompt
from pocketseek.apps.voice.contract import IsWanted, always
from pocketseek.errors import ContextLengthError
from pocketseek.types import Message, Request, SamplingParams, Service, TextEvent, TokenEvent

PAGE_TOKENS = 64  # of the prefix cache: what does not fill one is computed again anyway
_MORE = " and"  # words that may follow a text; tokens that this changes are not certain
_ANSWERING = Service(priority="interactive", client="voice", keep_on_disk=False)


class TokenSource(Iterator[TokenEvent], Protocol):
    def close(self) -> None: ...


class TextSource(Iterator[TextEvent], Protocol):
    def close(self) -> None: ...


S = TypeVar("S", "TokenSource", "TextSource")


class VoiceEngine(Protocol):
    """What is asked of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode_prompt(self, prompt: Sequence[Message], /) -> tuple[int, ...]: ...

    def stream(self, request: Request, /) -> TokenSource: ...

    def stream_text(
        self, prompt: Sequence[Message], /, *, max_tokens: int, sampling: SamplingParams | None, service: Service
    ) -> TextSource: ...


class EngineChat:
    """A `VoiceChat`. sampling: by default the model's own. turns, unanswered: what was said before, elsewhere."""

    def __init__(
        self,
        engine: VoiceEngine,
        *,
        system: str = "",
        max_tokens: int = 160,
        sampling: SamplingParams | None = None,
        turns: Sequence[Turn] = (),
        unanswered: str = "",
    ) -> None:
        self._engine = engine
        self._system = system
        self._max_tokens = max_tokens
        self._sampling = sampling
        self._turns = list(turns)
        self._unanswered = unanswered
        self._warmed: tuple[int, ...] = ()
        self._lock = Lock()  # guards the two below, and that nothing begins that is not wanted any more
        self._under_way: TokenSource | TextSource | None = None
        self._is_wanted: IsWanted = always

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said and heard."""
        return tuple(self._turns)

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        certain = self._certain_ids(text_so_far)
        whole = certain[: len(certain) // PAGE_TOKENS * PAGE_TOKENS]
        if not whole or self._warmed[: len(whole)] == whole:
            return len(whole)
        # One token more, whose page is not whole, so that all whole pages are computed at most once.
        request = Request(
            certain[: len(whole) + 1],
            max_tokens=0,
            logprobs=False,
            priority="background",
            gathers=False,
            client="voice",
            keep_on_disk=False,
        )
        if self._is_computed(request, is_wanted):
            self._warmed = whole
            return len(whole)
        return 0

    def stop_unwanted(self) -> None:
        with self._lock:
            if self._under_way is not None and not self._is_wanted():
                self._under_way.close()

    def _is_computed(self, request: Request, is_wanted: IsWanted) -> bool:
        """False if somebody stopped it."""
        with self._begun(lambda: self._engine.stream(request), is_wanted) as events:
            reasons = [event.finish_reason for event in events]
        return reasons[-1:] == ["length"]

    def answer(self, text: str, is_wanted: IsWanted = always) -> Generator[TextEvent, None, None]:
        prompt = self._prompt(text)

        def stream() -> TextSource:
            return self._engine.stream_text(
                prompt, max_tokens=self._max_tokens, sampling=self._sampling, service=_ANSWERING
            )

        with self._begun(stream, is_wanted) as events:
            yield from events

    @contextmanager
    def _begun(self, begin: Callable[[], S], is_wanted: IsWanted) -> Iterator[S | tuple[()]]:
        """Nothing, if it is not wanted by now; it is closed at the end."""
        with self._lock:
            self._is_wanted = is_wanted
            self._under_way = source = begin() if is_wanted() else None
        try:
            yield () if source is None else source
        finally:
            with self._lock:
                self._under_way = None
            if source is not None:
                source.close()

    def keep(self, question: str, answer: str, turn: int = 0) -> None:
        """A question of whose answer nothing was heard goes before the next one, as one question."""
        asked = self._asked(question)
        if not answer.strip():
            self._unanswered = asked
            return
        self._unanswered = ""
        self._turns += [Turn("user", asked), Turn("assistant", answer.strip())]

    def _asked(self, question: str) -> str:
        return f"{self._unanswered}\n{question}" if self._unanswered else question

    def _prompt(self, question: str) -> list[Message]:
        turns = [*self._turns, Turn("user", self._asked(question))]
        return fitting_prompt(self._engine, self._system, turns, self._max_tokens)

    def _certain_ids(self, text_so_far: str) -> tuple[int, ...]:
        """The beginning of the prompt that stays, whatever is said next."""
        with suppress(ContextLengthError):  # told when it is asked
            one = self._engine.encode_prompt(self._prompt(text_so_far or "I"))
            other = self._engine.encode_prompt(self._prompt((text_so_far + _MORE) if text_so_far else "You"))
            return _common(one, other)
        return ()


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:index]
    return one[: len(other)]
