"""What a kept conversation is made of, and what its texts may be. `ConversationStore` has them on disk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from pocketseek.errors import UsageError

Role = Literal["user", "assistant"]

MAX_TITLE_CHARS = 200
_DEFAULT_TITLE_CHARS = 60
_MAX_SETTINGS_CHARS = 65_536
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class ConversationInfo:
    """What a list shows. revision: grows with every change in the store, so the newest has the greatest."""

    id: str
    title: str
    model: str
    created_s: float
    updated_s: float
    num_turns: int
    revision: int


@dataclass(frozen=True)
class Turn:
    """Something that was said. created_s 0: now. model, finish_reason, num_tokens: of answers.

    finish_reason "": the answer is being written, or was when the program died. num_tokens: reasoning included.
    sources_json: "", or what an answer out of documents is made from: a JSON object, the caller's business.
    """

    role: Role
    content: str
    reasoning: str = ""
    created_s: float = 0.0
    model: str = ""
    finish_reason: str = ""
    num_tokens: int = 0
    sources_json: str = ""


@dataclass(frozen=True)
class Conversation:
    """All of it. settings_json: a JSON object, such as sampling; what is in it is the caller's business."""

    info: ConversationInfo
    system: str
    turns: tuple[Turn, ...]
    settings_json: str = "{}"


@dataclass(frozen=True)
class SearchHit:
    """turn_index: the first turn that has the text, and some text around it; None: it is in the title alone."""

    info: ConversationInfo
    turn_index: int | None
    excerpt: str


def storable(text: str) -> str:
    """Without what a text in a file cannot have: NUL and halves of surrogate pairs become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_title(text: str) -> str:
    return " ".join(storable(text).split())[:MAX_TITLE_CHARS]


def default_title(question: str) -> str:
    words = " ".join(question.split())
    return words if len(words) <= _DEFAULT_TITLE_CHARS else words[: _DEFAULT_TITLE_CHARS - 1].rstrip() + "…"


def checked_settings(text: str) -> str:
    if len(text) > _MAX_SETTINGS_CHARS:
        raise UsageError(f"settings of {len(text)} characters; at most {_MAX_SETTINGS_CHARS} are kept")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the settings are not JSON ({error}); give an object such as {{}}") from error
    if not isinstance(value, dict):
        raise UsageError("the settings are not a JSON object; give one, such as {}")
    return storable(text)
