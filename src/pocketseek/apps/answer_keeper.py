"""An answer that is kept while it is written: on the disk once a second, so that a crash loses no more than that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from pocketseek.apps.conversation import Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.types import TextEvent

_INTERVAL_S = 1.0


class AnswerKeeper:
    """One answer of one conversation. The turn is made at once, empty; not for use from several threads at a time.

    Raises what the store raises, NotFoundError if the turn or the conversation was removed meanwhile.
    """

    def __init__(
        self,
        store: ConversationStore,
        conversation_id: str,
        model: str,
        *,
        interval_s: float = _INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._model = model
        self._interval_s = interval_s
        self._clock = clock
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._num_tokens = 0
        self.turn_key = store.append(conversation_id, self._turn(""))
        self._kept_at_s = clock()

    @classmethod
    def ask(cls, store: ConversationStore, conversation_id: str, question: str, model: str) -> tuple[int, AnswerKeeper]:
        """Keep a question, too: its index among the turns, and the keeper of its answer."""
        question_index = store.info(conversation_id).num_turns
        store.append(conversation_id, Turn("user", question))
        return question_index, cls(store, conversation_id, model)

    @property
    def text(self) -> str:
        return "".join(self._text)

    def see(self, event: TextEvent) -> None:
        """Another piece; written with the others when a second has passed since the last writing."""
        self._text.append(event.text)
        self._reasoning.append(event.reasoning)
        self._num_tokens = max(self._num_tokens, event.num_tokens)
        if self._clock() - self._kept_at_s >= self._interval_s:
            self._store.update(self.turn_key, self._turn(""))
            self._kept_at_s = self._clock()

    def finish(self, finish_reason: str, sources_json: str = "") -> Turn:
        """All of it, without blanks around it. finish_reason: of the last event, or "cancelled"."""
        turn = replace(self._turn(finish_reason), sources_json=sources_json)
        self._store.update(self.turn_key, turn)
        return turn

    def _turn(self, finish_reason: str) -> Turn:
        text, reasoning = self.text.strip(), "".join(self._reasoning).strip()
        return Turn(
            "assistant", text, reasoning, model=self._model, finish_reason=finish_reason, num_tokens=self._num_tokens
        )
