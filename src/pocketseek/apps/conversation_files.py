"""A kept conversation as a file: Markdown to read, JSON to read back.

The JSON is ours (`format`, `version`) and has everything but the id. Reading also takes `{"messages": [...]}` as
`/save` and many programs write it. A file is somebody else's text: wrong JSON, types, roles or sizes are a FormatError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pocketseek.apps.conversation import Conversation, ConversationInfo, Role, Turn
from pocketseek.errors import FormatError

ExportFormat = Literal["md", "json"]

MAX_IMPORT_BYTES = 64_000_000
_FORMAT = "pocketseek-conversation"
_VERSION = 1


def export_conversation(conversation: Conversation, file_format: ExportFormat) -> str:
    """The text of a file."""
    return _json(conversation) if file_format == "json" else _markdown(conversation)


def parse_conversation(data: bytes) -> Conversation:
    """What `export_conversation` wrote as JSON, or a list of messages; for `ConversationStore.add`. Its id is "".

    Raises FormatError.
    """
    if len(data) > MAX_IMPORT_BYTES:
        raise _wrong(f"{len(data)} bytes, more than {MAX_IMPORT_BYTES}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _wrong("the top is not an object")
    if "format" not in document and "messages" in document:
        return _from_messages(document)
    if document.get("format") != _FORMAT or document.get("version") != _VERSION:
        raise _wrong(f"format {document.get('format')!r:.40}, version {document.get('version')!r:.20}")
    return _from_document(document)


def _json(conversation: Conversation) -> str:
    info = conversation.info
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "title": info.title,
        "model": info.model,
        "created_s": info.created_s,
        "updated_s": info.updated_s,
        "system": conversation.system,
        "settings": json.loads(conversation.settings_json),
        "turns": [_turn_fields(turn) for turn in conversation.turns],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _turn_fields(turn: Turn) -> dict[str, object]:
    fields: dict[str, object] = {"role": turn.role, "content": turn.content, "created_s": turn.created_s}
    if turn.role == "assistant":
        made = {"model": turn.model, "finish_reason": turn.finish_reason, "num_tokens": turn.num_tokens}
        fields |= {"reasoning": turn.reasoning, **made}
    if turn.sources_json:
        fields["sources"] = json.loads(turn.sources_json)
    return fields


def _markdown(conversation: Conversation) -> str:
    info = conversation.info
    created = datetime.fromtimestamp(info.created_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [f"# {info.title}", f"*{info.model}, {created}*"]
    if conversation.system:
        parts += ["## system", conversation.system]
    for turn in conversation.turns:
        parts.append(f"## {turn.role}")
        if turn.reasoning:
            parts.append(f"<details><summary>reasoning</summary>\n\n{turn.reasoning.strip()}\n\n</details>")
        parts.append(turn.content)
    return "\n\n".join(parts) + "\n"


def _from_document(document: Mapping[str, object]) -> Conversation:
    turns = tuple(_turn(fields) for fields in _objects(document, "turns"))
    settings = document.get("settings", {})
    if not isinstance(settings, dict):
        raise _wrong("`settings` is not an object")
    created_s = _number(document, "created_s")
    info = ConversationInfo(
        "", _text(document, "title"), _text(document, "model"), created_s, created_s, len(turns), revision=0
    )
    return Conversation(info, _text(document, "system"), turns, json.dumps(settings, ensure_ascii=False))


def _from_messages(document: Mapping[str, object]) -> Conversation:
    messages = list(_objects(document, "messages"))
    systems = [_text(message, "content") for message in messages if message.get("role") == "system"]
    turns = tuple(_turn(message) for message in messages if message.get("role") != "system")
    info = ConversationInfo("", _text(document, "title"), _text(document, "model"), 0.0, 0.0, len(turns), revision=0)
    return Conversation(info, "\n\n".join(systems), turns)


def _turn(fields: Mapping[str, object]) -> Turn:
    role = fields.get("role")
    if role not in ("user", "assistant"):
        raise _wrong(f"the role {role!r:.40}")
    known: Role = "user" if role == "user" else "assistant"
    return Turn(
        known,
        _text(fields, "content"),
        _text(fields, "reasoning"),
        _number(fields, "created_s"),
        _text(fields, "model"),
        _text(fields, "finish_reason"),
        int(_number(fields, "num_tokens")),
    )


def _objects(document: Mapping[str, object], name: str) -> list[dict[str, object]]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(f"`{name}` is not a list of objects")
    return value


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise _wrong(f"`{name}` is not a text")
    return value


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53 or math.isnan(value):
        raise _wrong(f"`{name}` is not a number from 0 up")
    return value


def _wrong(problem: str) -> FormatError:
    return FormatError(f"this is not a conversation: {problem}; give a JSON file that pocketseek exported")
