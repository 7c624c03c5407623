"""A question put to an engine, and what its answer cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pocketseek.apps.serve.bridge import EventBridge
from pocketseek.apps.serve.questions import Question
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.text_answer import TextAnswer
from pocketseek.types import TextEvent

_WITH_GRAMMAR = ThreadPoolExecutor(2, "pocketseek-constrained")  # who waits for a grammar holds up nobody else


class Asked(EventBridge[TextEvent]):
    """An EventBridge of the answers to one question; num_prompt_tokens is known once it has started."""

    def __init__(self, engine: Engine, question: Question) -> None:
        self._engine = engine
        self._question = question
        self.num_prompt_tokens = 0
        super().__init__(self._ask, None if question.constraint is None else _WITH_GRAMMAR)

    @property
    def with_tokens(self) -> bool:
        """Whether the answers come with their tokens and log-probabilities."""
        return self._question.logprobs is not None

    def _ask(self, announce: Callable[[], None]) -> Sequence[TextAnswer]:
        question = self._question
        encoded = self._engine.encode(question.prompt)
        self.num_prompt_tokens = len(encoded.token_ids)
        return self._engine.stream_text_choices(
            encoded,
            question.count,
            max_tokens=question.max_tokens,
            sampling=question.sampling,
            stop=question.stop,
            service=question.service,
            logprobs=question.logprobs,
            constraint=question.constraint,
            announce=announce,
        )


@dataclass
class Cost:
    """Adds up the tokens of the answers to one question."""

    num_prompt_tokens: int
    count: int

    def __post_init__(self) -> None:
        self._last: list[TextEvent] = [TextEvent()] * self.count

    def see(self, index: int, event: TextEvent) -> None:
        self._last[index] = event

    @property
    def num_tokens(self) -> int:
        return sum(event.num_tokens for event in self._last)

    @property
    def num_cached_tokens(self) -> int:
        return self._last[0].num_cached_prompt_tokens

    @property
    def num_reasoning_tokens(self) -> int:
        return sum(event.num_reasoning_tokens for event in self._last)

    def usage(self) -> dict[str, object]:
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": self.num_tokens,
            "total_tokens": self.num_prompt_tokens + self.num_tokens,
            "prompt_tokens_details": {"cached_tokens": self.num_cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.num_reasoning_tokens},
        }
