"""An engine without a model: one token for each character of a prompt, and an answer that the test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pocketseek.errors import ContextLengthError
from pocketseek.types import Message, SamplingParams, Service, TextEvent


class FakeEngine:
    """Answers with answer(prompt text), one character at a time; the last event says "stop"."""

    def __init__(self, context_length: int = 1000, answer: Callable[[str], str] = lambda prompt: "yes") -> None:
        self.context_length = context_length
        self.answer = answer
        self.prompts: list[str] = []
        self.services: list[Service] = []
        self.num_open_streams = 0

    def encode_prompt(self, prompt: str | Sequence[Message]) -> tuple[int, ...]:
        if isinstance(prompt, str):
            return tuple(map(ord, prompt))
        return tuple(ord(letter) for message in prompt for letter in f"{message.role[0]}:{message.content};")

    def stream_text(
        self,
        prompt: Sequence[Message],
        *,
        max_tokens: int,
        sampling: SamplingParams,
        service: Service,
    ) -> Iterator[TextEvent]:
        text = "".join(map(chr, self.encode_prompt(prompt)))
        if len(text) >= self.context_length:
            raise ContextLengthError(f"{len(text)} tokens; shorten the prompt")
        self.prompts.append(text)
        self.services.append(service)
        return self._events(self.answer(text), max_tokens)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        return [-1.0] * (len(token_ids) - 1)

    def _events(self, answer: str, max_tokens: int) -> Iterator[TextEvent]:
        self.num_open_streams += 1
        try:
            for number, letter in enumerate(answer[:max_tokens], 1):
                yield TextEvent(letter, "", number)
            yield TextEvent(num_tokens=len(answer), finish_reason="stop" if len(answer) <= max_tokens else "length")
        finally:
            self.num_open_streams -= 1
