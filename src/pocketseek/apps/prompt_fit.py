"""The part of a kept conversation that fits a model's context, as a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pocketseek.apps.conversation import Turn
from pocketseek.types import Message


class EncodesPrompts(Protocol):
    """What fitting needs of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode_prompt(self, prompt: Sequence[Message], /) -> tuple[int, ...]: ...


def fitting_prompt(engine: EncodesPrompts, system: str, turns: Sequence[Turn], max_tokens: int) -> list[Message]:
    """The system message and the newest turns, from a question on; at least the last question.

    Room for an answer is left: max_tokens, or a quarter of the context if that is less. When something has to go, more
    goes than must (to three quarters of the room), so that the next questions find the same beginning in the prefix
    cache. A question that was never answered is left out.
    """
    head = [Message("system", system)] if system else []
    messages = _answered(turns)
    room = engine.context_length - min(max_tokens, engine.context_length // 4)
    starts = [index for index, message in enumerate(messages) if message.role == "user"]
    for number, start in enumerate(starts):
        prompt = [*head, *messages[start:]]
        if len(starts) - number == 1 or len(engine.encode_prompt(prompt)) <= room:
            return prompt
        room = min(room, engine.context_length * 9 // 16)
    return head + messages


def _answered(turns: Sequence[Turn]) -> list[Message]:
    messages: list[Message] = []
    for turn in turns:
        if turn.role == "assistant" and not turn.content:
            if messages and messages[-1].role == "user":
                messages.pop()
            continue
        if turn.role == "user" and messages and messages[-1].role == "user":
            messages.pop()  # an error left it without an answer, and templates want them in turn
        messages.append(Message(turn.role, turn.content))
    return messages
