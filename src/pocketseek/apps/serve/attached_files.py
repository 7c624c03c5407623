"""Which uploaded files a kept conversation is about: a list of their ids in its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pocketseek.apps.conversation import Conversation, Turn
from pocketseek.apps.doc.exchanges import Exchange

_KEY = "documents"


def attached_files(conversation: Conversation) -> tuple[str, ...]:
    """Of settings that anybody may have written."""
    named = json.loads(conversation.settings_json).get(_KEY, ())
    return tuple(one for one in named if isinstance(one, str)) if isinstance(named, list) else ()


def settings_with_files(settings_json: str, file_ids: Sequence[str]) -> str:
    settings = json.loads(settings_json)
    settings.pop(_KEY, None)
    return json.dumps(settings | ({_KEY: list(file_ids)} if file_ids else {}), ensure_ascii=False)


def question_of(turns: Sequence[Turn]) -> tuple[str, tuple[Exchange, ...]]:
    """The last question, and the answered one before it."""
    questions = [place for place, turn in enumerate(turns) if turn.role == "user"]
    last = questions[-1]
    before = turns[:last]
    if len(before) >= 2 and before[-2].role == "user" and before[-1].role == "assistant" and before[-1].content:
        return turns[last].content, (Exchange(before[-2].content, before[-1].content),)
    return turns[last].content, ()
