"""An engine without a model that answers many prompts at a time: a character is a token, the test chooses answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from pocketseek.errors import ModelOutputError
from pocketseek.runtime.prompt import EncodedPrompt
from pocketseek.types import Constraint, Message, SamplingParams, Service, TextEvent


class CharacterTokenizer:
    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        return list(map(ord, text))


class FakeAnswer:
    """Gives one event at each poll but the first, and announces the next."""

    def __init__(self, events: Iterator[TextEvent], announce: Callable[[], None]) -> None:
        self.has_ended = False
        self._events = events
        self._announce = announce
        self._is_ready = False
        self.is_closed = False
        announce()

    def poll(self) -> TextEvent | None:
        self._is_ready = not self._is_ready
        self._announce()
        if self._is_ready:
            return None
        event = next(self._events, None)
        self.has_ended = event is None
        return event

    def close(self) -> None:
        self.is_closed = True


class FakeTaskEngine:
    """`prompts` records what was asked, `most_at_once` how many answers were open at a time.

    answer: of a prompt; "" gives an empty one, None a model that computes NaN.
    """

    def __init__(
        self, answer: Callable[[str], str | None], context_length: int = 6000, *, starts_in_reasoning: bool = False
    ) -> None:
        self.context_length = context_length
        self.tokenizer = CharacterTokenizer()
        self.answer = answer
        self.prompts: list[str] = []
        self.answers: deque[FakeAnswer] = deque()
        self.most_at_once = 0
        self._starts_in_reasoning = starts_in_reasoning

    def encode(self, prompt: Sequence[Message]) -> EncodedPrompt:
        text = "".join(message.content for message in prompt)
        return EncodedPrompt(tuple(map(ord, text)), is_chat=True, starts_in_reasoning=self._starts_in_reasoning)

    def stream_text_choices(
        self,
        prompt: EncodedPrompt,
        count: int,
        *,
        max_tokens: int,
        sampling: SamplingParams,
        service: Service,
        constraint: Constraint | None,
        announce: Callable[[], None] | None,
    ) -> Sequence[FakeAnswer]:
        assert count == 1
        assert service.priority == "background"
        assert not service.keep_on_disk
        assert announce is not None
        answer = FakeAnswer(self._events("".join(map(chr, prompt.token_ids)), max_tokens), announce)
        self.answers.append(answer)
        self.most_at_once = max(self.most_at_once, self.num_open)
        return [answer]

    @property
    def num_open(self) -> int:
        return sum(not answer.has_ended and not answer.is_closed for answer in self.answers)

    def stream_text(
        self, prompt: Sequence[Message], *, max_tokens: int, sampling: SamplingParams, service: Service
    ) -> Iterator[TextEvent]:
        assert not service.keep_on_disk
        return self._events("".join(message.content for message in prompt), max_tokens)

    def _events(self, prompt: str, max_tokens: int) -> Iterator[TextEvent]:
        assert len(prompt) + max_tokens <= self.context_length
        self.prompts.append(prompt)
        answer = self.answer(prompt)
        if answer is None:
            raise ModelOutputError("the model computed NaN")
        text = answer[:max_tokens]
        for number, letter in enumerate(text, 1):
            yield TextEvent(letter, "", number)
        yield TextEvent(num_tokens=len(text), finish_reason="stop" if text == answer else "length")


class MemoryKeeper:
    """Keeps answers as long as the test lasts."""

    def __init__(self) -> None:
        self.notes: dict[str, object] = {}

    def find(self, key: str):  # type: ignore[no-untyped-def]
        return self.notes.get(key)

    def keep(self, key: str, note: object) -> None:
        self.notes[key] = note
