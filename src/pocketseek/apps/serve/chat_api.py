"""/v1/chat/completions, whole and as a stream: OpenAI's form, with DeepSeek's `reasoning_content`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import Route

from pocketseek.apps.serve.asking import Asked, Cost
from pocketseek.apps.serve.bodies import ChatBody, parse_body
from pocketseek.apps.serve.endpoint import Call, Endpoint
from pocketseek.apps.serve.event_stream import DONE, event, send_events
from pocketseek.apps.serve.limits import check_model
from pocketseek.apps.serve.questions import Question, chat_question, offered_tools
from pocketseek.apps.serve.replies import describe_error, json_reply
from pocketseek.apps.serve.token_report import Value, chat_report
from pocketseek.apps.tool_calls import CallStart, Content, ToolCallParser
from pocketseek.apps.tool_calls import Event as ToolEvent
from pocketseek.types import TextEvent, TokenDetail

FINGERPRINT = "pocketseek"


def chat_routes() -> list[Route]:
    return [Route("/v1/chat/completions", Endpoint(_chat), methods=["POST"])]


async def _chat(call: Call) -> None:
    data = call.take_body()
    body = parse_body(data, ChatBody)
    name = call.services.model_name(body.model)
    check_model(call.caller, name)
    call.services.log.question(call.caller, name, data)
    del data
    async with call.services.leases.engine(name) as engine:
        question = chat_question(body, engine, call.service(body.user, body.priority))
        async with Asked(engine, question) as asked:
            await asked.started()
            parsers = [ToolCallParser(engine.tool_form) if offered_tools(body) else None for _ in range(question.count)]
            head = _Head(name)
            call.services.metrics.count_answers(name, question.count)
            if body.stream:
                with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
                await send_events(call.send, _chunks(asked, question, head, parsers, with_usage=with_usage))
            else:
                await call.reply(json_reply(await _whole(asked, question, head, parsers)))


@dataclass(frozen=True)
class _Head:
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


# -- whole ------------------------------------------------------------------------------------------------------------


@dataclass
class _Choice:
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


async def _whole(
    asked: Asked, question: Question, head: _Head, parsers: Sequence[ToolCallParser | None]
) -> dict[str, object]:
    choices = [_Choice(tokens=[] if asked.with_tokens else None) for _ in range(question.count)]
    cost = Cost(asked.num_prompt_tokens, question.count)
    async for batch in asked.batches():
        for index, piece in batch:
            cost.see(index, piece)
            choices[index].add(piece, _parts(piece, parsers[index]))
    asked.raise_error()
    values = [choice.value(index) for index, choice in enumerate(choices)]
    return head.value("chat.completion") | {"choices": values, "usage": cost.usage()}


# -- as a stream ------------------------------------------------------------------------------------------------------


async def _chunks(
    asked: Asked, question: Question, head: _Head, parsers: Sequence[ToolCallParser | None], *, with_usage: bool
) -> AsyncIterator[bytes]:
    """A role for each answer, then pieces, at last the usage if it is wanted; or an error, and then the end."""
    common = head.value("chat.completion.chunk") | ({"usage": None} if with_usage else {})
    cost = Cost(asked.num_prompt_tokens, question.count)
    data = bytearray().join(_chunk(common, i, {"role": "assistant", "content": ""}) for i in range(question.count))
    async for batch in asked.batches():
        for index, piece in batch:
            cost.see(index, piece)
            for chunk in _piece_chunks(common, index, piece, parsers[index]):
                data += chunk
        yield bytes(data)
        data.clear()
    if asked.error is not None:
        if data:  # nothing was sent yet
            raise asked.error
        yield event(describe_error(asked.error)[1])
        return
    if with_usage:
        yield event(common | {"choices": [], "usage": cost.usage()})
    yield DONE


def _piece_chunks(
    common: dict[str, object], index: int, piece: TextEvent, parser: ToolCallParser | None
) -> list[bytes]:
    deltas: list[dict[str, object]] = [{"reasoning_content": piece.reasoning}] if piece.reasoning else []
    deltas += [_delta(part) for part in _parts(piece, parser)]
    if piece.tokens and not deltas:  # of a call that has not begun yet
        deltas = [{}]
    reports = [chat_report(piece.tokens) if piece.tokens else None, *[None] * len(deltas)]
    chunks = [_chunk(common, index, delta, report=report) for delta, report in zip(deltas, reports, strict=False)]
    if piece.finish_reason is not None:
        reason = finish_reason(piece, has_calls=parser is not None and parser.num_calls > 0)
        chunks.append(_chunk(common, index, {}, reason))
    return chunks


def _delta(part: ToolEvent) -> dict[str, object]:
    if isinstance(part, Content):
        return {"content": part.text}
    if isinstance(part, CallStart):
        function: dict[str, str] = {"name": part.name, "arguments": ""}
        return {"tool_calls": [{"index": part.index, "id": part.id, "type": "function", "function": function}]}
    return {"tool_calls": [{"index": part.index, "function": {"arguments": part.text}}]}


def _chunk(
    common: dict[str, object],
    index: int,
    delta: dict[str, object],
    reason: str | None = None,
    *,
    report: Value | None = None,
) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": report, "finish_reason": reason}
    return event(common | {"choices": [choice]})


# -- both -------------------------------------------------------------------------------------------------------------


def _parts(piece: TextEvent, parser: ToolCallParser | None) -> list[ToolEvent]:
    if parser is None:
        return [Content(piece.text)] if piece.text else []
    parts = parser.push(piece.text) if piece.text else []
    return [*parts, *parser.flush()] if piece.finish_reason is not None else parts


def finish_reason(piece: TextEvent, *, has_calls: bool) -> str:
    """In OpenAI's words. An answer that reached its deadline was cut as by a length."""
    if piece.finish_reason in ("length", "deadline"):
        return "length"
    return "tool_calls" if has_calls else "stop"
