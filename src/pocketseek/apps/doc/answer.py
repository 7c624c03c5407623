"""A question about documents, answered by the model from the passages that retrieval found.

    Found, Found, ...  ->  numbered passages, as many as fit  ->  prompt  ->  answer with [n]  ->  citations.py

What is short is shown whole (whole_prompt). Nothing found means "not in the document" without asking the model; the
model may say so too. The language of the question decides that of the instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pocketseek.apps.doc.exchanges import Exchange
from pocketseek.apps.doc.retrieve import Found
from pocketseek.errors import ContextLengthError
from pocketseek.types import Message, SamplingParams, TextEvent

Language = Literal["en", "zh"]

MAX_PASSAGES = 6
_LEAST_ANSWER_SHARE = 4  # of the context, that is the most an answer takes from the passages
_LEAST_PASSAGE_CHARS = 80

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_SYSTEM: dict[Language, str] = {
    "en": "Answer the question with the numbered passages of a document and nothing else. After each statement write "
    "the number of the passage that it comes from, like [1]. If the answer is not in the passages, write only: Not in "
    "the document.",
    "zh": "只根据下面带编号的文档段落回答问题。每句话后面写出所依据段落的编号,例如[1]。"
    "如果段落中没有答案,只写:文中没有。",
}
_QUESTION: dict[Language, str] = {"en": "Question: {}", "zh": "问题:{}"}
_PAGE: dict[Language, str] = {"en": "page {}", "zh": "第 {} 页"}
NOT_IN_DOCUMENT: dict[Language, str] = {"en": "Not in the document.", "zh": "文中没有相关内容。"}
"""Said without asking the model, where nothing was found."""


class AnswerEngine(Protocol):
    """What is needed of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode_prompt(self, prompt: Sequence[Message], /) -> tuple[int, ...]: ...

    def stream_text(
        self, prompt: Sequence[Message], /, *, max_tokens: int, sampling: SamplingParams
    ) -> Iterator[TextEvent]: ...


@dataclass(frozen=True)
class AnswerPrompt:
    """passages: those that are in it, as they are numbered, from 1."""

    messages: tuple[Message, ...]
    passages: tuple[Found, ...]


def language_of(question: str) -> Language:
    return "zh" if _CHINESE.search(question) else "en"


def whole_prompt(
    engine: AnswerEngine,
    question: str,
    whole: Sequence[Found],
    *,
    max_tokens: int,
    earlier: Sequence[Exchange] = (),
) -> AnswerPrompt | None:
    """All of what is asked, in order, if it is not empty and fits, if need be without what was asked before."""
    last = [exchange for exchange in earlier if exchange.answer][-1:]
    for shown in [last, []] if whole else []:
        messages = tuple(_messages(question, whole, shown))
        if len(engine.encode_prompt(messages)) <= _room(engine, max_tokens):
            return AnswerPrompt(messages, tuple(whole))
    return None


def answer_prompt(
    engine: AnswerEngine,
    question: str,
    found: Sequence[Found],
    *,
    max_tokens: int,
    earlier: Sequence[Exchange] = (),
) -> AnswerPrompt:
    """As many passages as fit, the best first; of the best one at least its beginning. Raises ContextLengthError."""
    room = _room(engine, max_tokens)
    fitting = [exchange for exchange in earlier if exchange.answer][-1:]

    def made(passages: Sequence[Found]) -> AnswerPrompt:
        return AnswerPrompt(tuple(_messages(question, passages, fitting)), tuple(passages))

    def fits(prompt: AnswerPrompt) -> bool:
        return len(engine.encode_prompt(prompt.messages)) <= room

    for count in range(min(len(found), MAX_PASSAGES), 0, -1):
        prompt = made(found[:count])
        if fits(prompt):
            return prompt
    fitting = []
    best = found[0]
    while len(best.text) >= _LEAST_PASSAGE_CHARS:
        if fits(prompt := made([best])):
            return prompt
        length = len(best.text) * 3 // 4
        best = replace(best, text=best.text[:length], stop=best.start + length)
    raise ContextLengthError(
        f"a context of {engine.context_length} tokens has no room for a passage; use another model, or more --memory"
    )


def _room(engine: AnswerEngine, max_tokens: int) -> int:
    """For the prompt."""
    return engine.context_length - min(max_tokens, engine.context_length // _LEAST_ANSWER_SHARE)


def _messages(question: str, passages: Sequence[Found], earlier: Sequence[Exchange]) -> Iterator[Message]:
    language = language_of(question)
    yield Message("system", _SYSTEM[language])
    for exchange in earlier:
        yield Message("user", exchange.question)
        yield Message("assistant", exchange.answer)
    parts = [_numbered(number, passage, language) for number, passage in enumerate(passages, 1)]
    yield Message("user", "\n\n".join([*parts, _QUESTION[language].format(question)]))


def _numbered(number: int, passage: Found, language: Language) -> str:
    page = [_PAGE[language].format(passage.place.page)] if passage.place.page is not None else []
    return f"[{number}] {' > '.join([passage.document.title, *page, *passage.heading[-2:]])}\n{passage.text}"
