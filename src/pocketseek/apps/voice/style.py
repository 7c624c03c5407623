"""How answers are to be when they are spoken: what the model is told, and how long they may get.

The model is asked for what a voice can say: one to three sentences, no lists, no markdown. Small models do not always
keep to it; what comes anyway is put into words or left out by `spoken_text`. Reasoning is never spoken: the engine
keeps it apart from the answer, and what slips through is cut by `clauses` and `plain_text`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.apps.voice.clauses import Clauses
from pocketseek.apps.voice.words.spoken_text import SpokenPart, by_language, spoken

DEFAULT_MAX_TOKENS = 160
"""About a minute of English. An answer that reaches it ends where it is."""

_SYSTEM = {
    "en": (
        "You are a helpful voice assistant. Your answer is read aloud, so answer in one to three short sentences of "
        "plain spoken English. Use no lists, no markdown, no links, no code and no emoji."
    ),
    "zh": (
        "你是一个乐于助人的语音助手。你的回答会被朗读出来,所以请用一到三句简短的口语中文回答。"
        "不要使用列表、Markdown、链接、代码或表情符号。"
    ),
}


@dataclass(frozen=True)
class SpokenStyle:
    """language: of the conversation, "en" or "zh". system: the system message. max_tokens: longest answer."""

    language: str
    system: str
    max_tokens: int = DEFAULT_MAX_TOKENS


def spoken_style(language: str, *, system: str = "", max_tokens: int = DEFAULT_MAX_TOKENS) -> SpokenStyle:
    """system: of the user's own, put in front of how to speak. Other languages than Chinese are told in English."""
    known = "zh" if language == "zh" else "en"
    manner = _SYSTEM[known]
    return SpokenStyle(known, f"{system.strip()}\n\n{manner}" if system.strip() else manner, max_tokens)


class ReadAloud:
    """From what a model writes to what is read out: a `SpeechShape` (contract.py)."""

    def spoken(self, text: str, language: str) -> str:
        return spoken(text, language)

    def parts(self, text: str, language: str) -> list[SpokenPart]:
        """The same, each part with the language of the voice that can say it."""
        return by_language(text, language)

    def clauses(self, language: str) -> Clauses:
        """The same for all languages."""
        return Clauses()
