"""Between the rows of the conversations' file and what they stand for."""

from __future__ import annotations

from pocketseek.apps.conversation import ConversationInfo, Role, SearchHit, Turn, default_title, storable
from pocketseek.apps.database import Row, Value
from pocketseek.errors import FormatError, UsageError

_EXCERPT_CHARS = 40  # on each side of what was found


def turn_texts(turn: Turn) -> tuple[str, ...]:
    if turn.role not in ("user", "assistant"):
        raise UsageError(f"the role {turn.role!r:.40} is unknown; use user or assistant")
    return (
        turn.role,
        *map(storable, (turn.content, turn.reasoning, turn.model, turn.finish_reason, turn.sources_json)),
    )


def info_of(row: Row) -> ConversationInfo:
    conversation_id, title, model, created_s, updated_s, revision, num_turns, question = row
    shown = str(title) or default_title(str(question or ""))
    created_s, updated_s = _number(created_s), _number(updated_s)
    return ConversationInfo(
        str(conversation_id), shown, str(model), created_s, updated_s, int(_number(num_turns)), int(_number(revision))
    )


def turn_of(row: Row) -> Turn:
    role, content, reasoning, created_s, model, finish_reason, num_tokens, sources_json = row
    known: Role = "user" if role == "user" else "assistant"
    texts = (str(content), str(reasoning), _number(created_s), str(model), str(finish_reason))
    return Turn(known, *texts, int(_number(num_tokens)), str(sources_json))


def _number(value: Value) -> float:
    if isinstance(value, int | float):
        return value
    raise FormatError("a kept conversation is damaged (a number is missing); delete it, or move conversations.db away")


def hit_of(info: ConversationInfo, row: Row | None, text: str) -> SearchHit:
    if row is None:
        return SearchHit(info, None, info.title)
    return SearchHit(info, int(_number(row[1])), _excerpt(str(row[2]), text))


def _excerpt(content: str, text: str) -> str:
    """Some of the text before and after what was found, in one line."""
    at = max(content.lower().find(text.lower()), 0)  # -1: the index sees more letters as equal; lower() may shift it
    first, last = max(at - _EXCERPT_CHARS, 0), at + len(text) + _EXCERPT_CHARS
    piece = " ".join(content[first:last].split())
    return ("…" if first else "") + piece + ("…" if last < len(content) else "")
