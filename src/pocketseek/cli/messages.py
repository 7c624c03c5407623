"""What the commands say to a person, in English and Chinese. Error messages are not here: they stay English.

A message is a constant, so that a misspelt one is found by the type checker; `Words` chooses the language and fills in
the values. Both versions of a message use the same values (a test compares them). What depends on a number is written
"{count} {count:chunk|chunks}": the first of both for 1. Here is what several folders say; the rest is in the
`*_messages.py` beside the commands that say it, where the test finds it by that name.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, NamedTuple


class Message(NamedTuple):
    en: str
    zh: str


@dataclass(frozen=True)
class Words:
    """Messages in one language: "en" or "zh"."""

    language: str

    def __call__(self, message: Message, **values: object) -> str:
        return _FORMATTER.vformat(message.zh if self.language == "zh" else message.en, (), values)


class _Counting(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        for_one, is_choice, for_others = format_spec.partition("|")
        if is_choice:
            return for_one if value == 1 else for_others
        return str(super().format_field(value, format_spec))


_FORMATTER = _Counting()


UNKNOWN = Message("unknown", "未知")
NONE = Message("none", "无")
COLUMN_NAME = Message("name", "名称")
COLUMN_SIZE = Message("size", "大小")
MEMORY_VALUE = Message("{available} available of {total}", "共 {total}，可用 {available}")
HELD_OUT_ALL = Message("all texts", "全部文本")
VERIFYING = Message("verifying", "正在校验")
READING_PROMPT = Message("reading …", "正在阅读……")
ANSWER_CUT = Message("[cut at the token limit]", "[达到长度上限，已截断]")
