"""The forms that chat answers have in OpenAI's API, whole and in pieces, with DeepSeek's `reasoning_content`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketseek.apps.serve.event_stream import event
from pocketseek.apps.serve.token_report import Value, chat_report
from pocketseek.apps.tool_calls import CallStart, Content, ToolCallParser
from pocketseek.apps.tool_calls import Event as ToolEvent
from pocketseek.types import TextEvent, TokenDetail

FINGERPRINT = "pocketseek"


@dataclass(frozen=True)
class Head:
    """What all parts of an answer begin with."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def value(self, kind: str) -> dict[str, object]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }


@dataclass
class Choice:
    """An answer that is being put together. tokens: None if they are not wanted."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[TokenDetail] | None = None
    finish_reason: str = "stop"

    def add(self, piece: TextEvent, parts: Sequence[ToolEvent]) -> None:
        self.reasoning.append(piece.reasoning)
        if self.tokens is not None:
            self.tokens += piece.tokens
        for part in parts:
            if isinstance(part, Content):
                self.text.append(part.text)
            elif isinstance(part, CallStart):
                function = {"name": part.name, "arguments": ""}
                self.calls.append({"id": part.id, "type": "function", "function": function})
            else:
                self.calls[part.index]["function"]["arguments"] += part.text
        if piece.finish_reason is not None:
            self.finish_reason = finish_reason(piece, has_calls=bool(self.calls))

    def value(self, index: int) -> dict[str, object]:
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        message: dict[str, object] = {"role": "assistant", "content": text if text or not self.calls else None}
        if reasoning:
            message["reasoning_content"] = reasoning
        if self.calls:
            message["tool_calls"] = self.calls
        report = None if self.tokens is None else chat_report(self.tokens)
        return {"index": index, "message": message, "logprobs": report, "finish_reason": self.finish_reason}


def piece_chunks(common: dict[str, object], index: int, piece: TextEvent, parser: ToolCallParser | None) -> list[bytes]:
    deltas: list[dict[str, object]] = [{"reasoning_content": piece.reasoning}] if piece.reasoning else []
    deltas += [_delta(part) for part in tool_parts(piece, parser)]
    if piece.tokens and not deltas:  # of a call that has not begun yet
        deltas = [{}]
    reports = [chat_report(piece.tokens) if piece.tokens else None, *[None] * len(deltas)]
    chunks = [chunk(common, index, delta, report=report) for delta, report in zip(deltas, reports, strict=False)]
    if piece.finish_reason is not None:
        reason = finish_reason(piece, has_calls=parser is not None and parser.num_calls > 0)
        chunks.append(chunk(common, index, {}, reason))
    return chunks


def _delta(part: ToolEvent) -> dict[str, object]:
    if isinstance(part, Content):
        return {"content": part.text}
    if isinstance(part, CallStart):
        function: dict[str, str] = {"name": part.name, "arguments": ""}
        return {"tool_calls": [{"index": part.index, "id": part.id, "type": "function", "function": function}]}
    return {"tool_calls": [{"index": part.index, "function": {"arguments": part.text}}]}


def chunk(
    common: dict[str, object],
    index: int,
    delta: dict[str, object],
    reason: str | None = None,
    *,
    report: Value | None = None,
    more: Mapping[str, object] | None = None,
) -> bytes:
    """more: beside the choices."""
    choice = {"index": index, "delta": delta, "logprobs": report, "finish_reason": reason}
    return event(common | {"choices": [choice]} | dict(more or {}))


def tool_parts(piece: TextEvent, parser: ToolCallParser | None) -> list[ToolEvent]:
    if parser is None:
        return [Content(piece.text)] if piece.text else []
    parts = parser.push(piece.text) if piece.text else []
    return [*parts, *parser.flush()] if piece.finish_reason is not None else parts


def finish_reason(piece: TextEvent, *, has_calls: bool) -> str:
    """In OpenAI's words. An answer that reached its deadline was cut as by a length."""
    if piece.finish_reason in ("length", "deadline"):
        return "length"
    return "tool_calls" if has_calls else "stop"
