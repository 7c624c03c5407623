"""What a synthesiser is to say for a clause of an answer; nothing in it has to be seen to be understood.

    spoken("**我用 Python 写了3个程序** 🎉", "zh")  ->  "我用 Python 写了三个程序"
    by_language(...)  ->  [("我用", "zh"), ("Python", "en"), ("写了三个程序", "zh")]

Text in both languages is cut by script, so that each part can be spoken by a voice that knows it. Figures belong to the
language of the text around them, unless they stand in a word in letters ("GPT-4").
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pocketseek.apps.voice.words.plain_text import plain
from pocketseek.apps.voice.words.spoken_chinese import in_chinese
from pocketseek.apps.voice.words.spoken_english import in_english

_LATIN_WORD = re.compile(r"(?<![\d/°A-Za-zÀ-ɏ])[A-Za-zÀ-ɏ]{2,}")  # no unit, and no letter of a formula
_SIGN = r"[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]"
_CHINESE = re.compile(_SIGN)  # characters and punctuation
_CHINESE_RUN = re.compile(rf"(?:[\d.]*\d)?{_SIGN}+(?:\d[\d.]*{_SIGN}+)*")
_PUNCTUATION = str.maketrans("，。！？：；、（）“”‘’", ",.!?:;,()\"\"''")
_WORD = r"[A-Za-zÀ-ɏ][0-9_A-Za-zÀ-ɏ'’.+#/-]*"
_LATIN_RUN = re.compile(rf"[0-9]*{_WORD}(?:[ ,]+{_WORD})*")


class SpokenPart(NamedTuple):
    text: str
    language: str


def spoken(text: str, language: str) -> str:
    """ "" if nothing of it can be said. language: "en" or "zh", of the conversation."""
    return " ".join(part.text for part in by_language(text, language))


def by_language(text: str, language: str) -> list[SpokenPart]:
    """As `spoken`, in parts of one language each. None has no letter or digit in it."""
    readable = plain(text, language if language in ("en", "zh") else "en")
    main = language_of(readable, language)
    parts: list[SpokenPart] = []
    if main == "zh":
        parts = _cut(in_chinese(readable), _LATIN_RUN, "en", "zh")
    elif main == "en":
        parts = _cut(readable, _CHINESE_RUN, "zh", "en")
    else:
        parts = [SpokenPart(readable, main)]
    return _sayable([SpokenPart(_said(part), part.language) for part in parts])


def language_of(text: str, language: str) -> str:
    """The language whose words prevail, if the text has Chinese characters or the conversation is in Chinese."""
    num_signs, num_words = len(_CHINESE.findall(text)), len(_LATIN_WORD.findall(text))
    if num_signs and num_signs >= num_words:
        return "zh"
    if language == "zh" or num_signs:
        return "en" if num_words else language
    return language


def _cut(text: str, others: re.Pattern[str], other: str, main: str) -> list[SpokenPart]:
    parts: list[SpokenPart] = []
    place = 0
    for found in others.finditer(text):
        parts += [SpokenPart(text[place : found.start()], main), SpokenPart(found[0], other)]
        place = found.end()
    return [*parts, SpokenPart(text[place:], main)]


def _said(part: SpokenPart) -> str:
    if part.language == "en":
        return in_english(part.text.translate(_PUNCTUATION)).strip()
    return in_chinese(part.text).strip() if part.language == "zh" else part.text.strip()


def _sayable(parts: list[SpokenPart]) -> list[SpokenPart]:
    """What has no letters (a full stop between two languages) goes with the part before it."""
    found: list[SpokenPart] = []
    for part in filter(lambda part: part.text, parts):
        has_words = any(character.isalnum() for character in part.text)
        if found and (not has_words or found[-1].language == part.language):
            found[-1] = _joined(found[-1], part.text, has_words)
        elif has_words:
            found.append(part)
    return found


def _joined(part: SpokenPart, text: str, has_words: bool) -> SpokenPart:
    if part.language == "en":
        text = (" " if has_words else "") + text.translate(_PUNCTUATION)
    return SpokenPart(part.text + text, part.language)
