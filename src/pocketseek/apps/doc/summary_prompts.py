"""What a model is told to take notes, to merge notes and to write a summary, in English and Chinese.

The instructions come first and are the same for every chunk, so that they are computed once for all of them; what
differs stands behind. A model follows instructions in the language that it is to answer in best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketseek.types import Message

Language = Literal["en", "zh"]
NOTHING: dict[Language, str] = {"en": "none", "zh": "无"}
"""What a model answers if a part has nothing about the focus."""
NOTHING_FOUND: dict[Language, str] = {
    "en": "The document says nothing about it.",
    "zh": "文档中没有相关内容。",
}
"""The summary if no part has anything about the focus."""

_CHINESE = re.compile("[\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2,}")
_CHARS_PER_WORD = 1.6  # a Chinese text says in 1.6 characters what an English one says in a word
_MOST_PATH_CHARS = 120


@dataclass(frozen=True)
class _Texts:
    notes: str
    notes_focus: str
    part: str
    notes_end: str
    merge: str
    merge_end: str
    summary: str
    summary_focus: str
    title: str
    notes_heading: str
    text_heading: str
    whole: str
    summary_end: str


_TEXTS: dict[Language, _Texts] = {
    "en": _Texts(
        notes=(
            "You take notes on one part of a long document. Somebody else will write a summary of the whole document "
            "from your notes and will not see the part itself.\n"
            "Write down what the part says: its claims, facts, names, numbers and conclusions. Write short sentences "
            "in English, {amount} at most. Use only what the part says. Do not comment on it and add nothing."
        ),
        notes_focus=(
            "\nThe summary is to answer this: {focus}\nNote only what helps to answer it. If the part has nothing "
            "about it, write one word: none"
        ),
        part="\n\nThe part{path}:\n\n{text}",
        notes_end="\n\nNotes on this part:",
        merge=(
            "Below are notes on consecutive parts of one long document. Make one set of notes of them, in the same "
            "order: keep claims, names, numbers and conclusions, drop what is said twice. Write short sentences in "
            "English, {amount} at most. Use only what the notes say."
        ),
        merge_end="\n\nThe notes in one:",
        summary=(
            "Write a summary of the document below in English, in about {amount}. Say first what it is about, then "
            "what matters most in it, in plain paragraphs. Use only what is written here and do not speak of notes."
        ),
        summary_focus="\nThe summary must answer this: {focus}",
        title='\nThe document is called "{title}".',
        notes_heading="\n\nNotes on all its parts, in order:",
        text_heading="\n\nThe document:",
        whole="\n\n{text}",
        summary_end="\n\nSummary:",
    ),
    "zh": _Texts(
        notes=(
            "你正在为一份长文档的一个部分做笔记。另一个人将只根据这些笔记为整份文档写摘要,他看不到原文。\n"
            "请写下这一部分的内容:观点、事实、名称、数字和结论。用简短的中文句子,不超过{amount}。"
            "只使用这一部分中的内容,不要评论,也不要添加任何东西。"
        ),
        notes_focus="\n摘要要回答这个问题:{focus}\n只记下有助于回答它的内容。如果这一部分与它无关,只写一个字:无",
        part="\n\n这一部分{path}:\n\n{text}",
        notes_end="\n\n这一部分的笔记:",
        merge=(
            "下面是一份长文档中连续几个部分的笔记。请按原来的顺序把它们合并成一份笔记:保留观点、名称、数字和结论,"
            "去掉重复的内容。用简短的中文句子,不超过{amount}。只使用笔记中的内容。"
        ),
        merge_end="\n\n合并后的笔记:",
        summary=(
            "请用中文为下面的文档写一份摘要,大约{amount}。先说明它讲的是什么,再写其中最重要的内容,分段叙述。"
            "只使用这里写到的内容,不要提到笔记或部分。"
        ),
        summary_focus="\n摘要必须回答这个问题:{focus}",
        title="\n文档名为“{title}”。",
        notes_heading="\n\n各部分的笔记(按顺序):",
        text_heading="\n\n文档:",
        whole="\n\n{text}",
        summary_end="\n\n摘要:",
    ),
}


def language_of(text: str) -> Language:
    """Chinese if there are more Chinese characters than words of any alphabet (a Chinese word has one or two)."""
    return "zh" if len(_CHINESE.findall(text)) > 2 * len(_LATIN_WORD.findall(text)) else "en"


def note_prompt(language: Language, num_words: int, focus: str, path: Sequence[str], text: str) -> tuple[Message, ...]:
    """path: the headings above the part; text: the part with its context."""
    texts = _TEXTS[language]
    shown = " > ".join(path)[:_MOST_PATH_CHARS]
    part = texts.part.format(path=f" ({shown})" if shown else "", text=text.strip())
    asked = texts.notes_focus.format(focus=focus) if focus else ""
    return _user(texts.notes.format(amount=_amount(language, num_words)) + asked + part + texts.notes_end)


def merge_prompt(language: Language, num_words: int, focus: str, notes: Sequence[str]) -> tuple[Message, ...]:
    texts = _TEXTS[language]
    asked = texts.summary_focus.format(focus=focus) if focus else ""
    listed = "".join(texts.whole.format(text=note) for note in notes)
    return _user(texts.merge.format(amount=_amount(language, num_words)) + asked + listed + texts.merge_end)


def summary_prompt(
    language: Language, num_words: int, focus: str, title: str, notes: Sequence[str], *, is_text: bool = False
) -> tuple[Message, ...]:
    """is_text: what is given is the document itself."""
    texts = _TEXTS[language]
    asked = texts.summary_focus.format(focus=focus) if focus else ""
    heading = texts.text_heading if is_text else texts.notes_heading
    named = texts.title.format(title=title) if title else ""
    listed = "".join(texts.whole.format(text=note.strip()) for note in notes)
    head = texts.summary.format(amount=_amount(language, num_words)) + asked + named
    return _user(head + heading + listed + texts.summary_end)


def says_nothing(language: Language, note: str) -> bool:
    """Whether a note only says that the part has nothing about the focus."""
    return note.strip(" \n\t.。!！*\"'“”").casefold() == NOTHING[language]


def _amount(language: Language, num_words: int) -> str:
    if language == "en":
        return f"{num_words} words"
    return f"{max(10, round(num_words * _CHARS_PER_WORD / 10) * 10)}字"


def _user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)
