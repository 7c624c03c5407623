"""An answer while a model writes it: when it is over, and what it is worth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pocketseek.apps.doc.sentences import sentence_ends
from pocketseek.types import TextEvent

Outcome = Literal["complete", "cut", "empty", "refused", "failed"]

_LOOK_TOKENS = 16  # how often one looks whether an answer goes round in circles
_KEY_CHARS = 40
_MOST_PERIOD_CHARS = 400
_LEAST_LOOP_CHARS = 120
_NUM_ROUNDS = 3
_MOST_REFUSAL_CHARS = 400
_SENTENCE_MARK = re.compile("[.!?。！？\n]")
_REFUSAL = re.compile(
    r"(?:(?:i am|i['’]m) (?:very |so |really )?sorry[,.]? (?:but )?(?:i|as an)\b|"
    r"i(?:['’]m| am)? (?:cannot|can['’]t|can not|unable to|won['’]t) "
    r"(?:help|assist|provide|fulfil|comply|answer|summari|take notes|do that)|"
    r"(?:很)?(?:抱歉|对不起)[，,。!！]*(?:但)?(?:我|作为|目前)|我(?:无法|不能|不会)(?:回答|提供|协助|帮助|总结|完成))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Note:
    """A finished answer. outcome: "cut": it did not end by itself (its last half sentence is left out) or went round in
    circles (the circles are left out); "empty", "refused": the model gave nothing, or said that it will not; "failed":
    it could not be computed (problem says why).
    """

    text: str
    outcome: Outcome
    num_tokens: int = 0
    num_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        return self.outcome in ("complete", "cut")


class WrittenAnswer:
    """max_tokens: of the answer without its reasoning. is_prose: it may be shortened to whole sentences."""

    def __init__(self, max_tokens: int, *, is_prose: bool = True) -> None:
        self._max_tokens = max_tokens
        self._is_prose = is_prose
        self._text = ""
        self._looked_at = self._num_written = 0
        self._loop_start: int | None = None
        self._last = TextEvent()

    def add(self, event: TextEvent) -> bool:
        """False once there is nothing more to wait for."""
        self._text += event.text
        self._last = event
        self._num_written = event.num_tokens - event.num_reasoning_tokens
        if self._is_prose and self._num_written >= self._looked_at + _LOOK_TOKENS:
            self._looked_at = self._num_written
            self._loop_start = loop_start(self._text)
        is_over = self._loop_start is not None or self._num_written >= self._max_tokens
        return not is_over and event.finish_reason is None

    @property
    def goes_round(self) -> bool:
        """Whether it has begun to say the same again and again."""
        return self._loop_start is not None

    @property
    def share(self) -> float:
        """Of the longest answer, 0 to 1."""
        return min(1.0, self._num_written / self._max_tokens)

    def note(self, num_prompt_tokens: int = 0) -> Note:
        text = self._text[: self._loop_start].replace("\0", "\ufffd").strip()  # NUL is what no database keeps
        outcome: Outcome = "cut"
        if self._last.finish_reason == "stop" and self._loop_start is None:
            outcome = "complete"
        elif self._is_prose:
            text = without_half_sentence(text)
        if not text:
            outcome = "empty"
        elif is_refusal(text):
            outcome = "refused"
        last = self._last
        return Note(text, outcome, last.num_tokens, num_prompt_tokens, last.num_cached_prompt_tokens)


def loop_start(text: str) -> int | None:
    """Where a text begins to say the same again, if it ends with several rounds of it: after the first round, at the
    end of a sentence if there is one."""
    if len(text) < _LEAST_LOOP_CHARS:
        return None
    before = text.rfind(text[-_KEY_CHARS:], 0, len(text) - 1)
    period = len(text) - _KEY_CHARS - before
    if before < 0 or period > _MOST_PERIOD_CHARS:
        return None
    num_rounds = max(_NUM_ROUNDS, -(-_LEAST_LOOP_CHARS // period))
    if text[-period * num_rounds :] != text[-period:] * num_rounds:
        return None
    start = len(text) - period * num_rounds
    while start and text[start - 1] == text[start - 1 + period]:
        start -= 1
    end = start + period
    rest = _SENTENCE_MARK.search(text, end - 1, end + period)
    return rest.end() if rest else end


def is_refusal(text: str) -> bool:
    """Whether a short answer is the polite phrase of a model that will not."""
    return len(text) < _MOST_REFUSAL_CHARS and _REFUSAL.match(text) is not None


def without_half_sentence(text: str) -> str:
    """Up to the last sentence end, if there is one; what was cut within its first sentence stays as it is."""
    if text.endswith((".", "!", "?", "。", "！", "？")):
        return text
    end = max(sentence_ends(text), default=0)
    return text[:end].rstrip() if end else text
