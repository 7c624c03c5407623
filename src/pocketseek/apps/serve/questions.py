"""From what a client sent to what an engine is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pocketseek.apps.serve.bodies import (
    AnswerBody,
    ChatBody,
    CompletionBody,
    ContentPart,
    MessageBody,
    ResponseFormatBody,
    ToolBody,
    ToolChoiceBody,
    refuse_if_given,
)
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.tool_calls import closed, tool_constraint
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.prompt import Conversation, Prompt
from pocketseek.types import Constraint, Message, SamplingParams, Service, Tool, ToolCall

DEFAULT_COMPLETION_TOKENS = 16  # of /v1/completions, as OpenAI has it
_WITHOUT_LIMIT = 1_000_000  # the engine clips it to what the context leaves


@dataclass(frozen=True)
class Question:
    """count answers to one prompt. logprobs: None, or how many alternatives to report beside each token."""

    prompt: Prompt
    count: int
    max_tokens: int
    sampling: SamplingParams
    stop: tuple[str, ...]
    service: Service
    constraint: Constraint | None = None
    logprobs: int | None = None


def chat_question(body: ChatBody, engine: Engine, service: Service) -> Question:
    """Raises RefusedError, UsageError."""
    refuse_if_given(
        {
            "logit_bias": body.logit_bias,
            "functions": body.functions,
            "function_call": body.function_call,
            "modalities": [kind for kind in body.modalities or () if kind != "text"],
        }
    )
    tools = offered_tools(body)
    max_tokens = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    return Question(
        Conversation(tuple(_messages(body.messages)), tools),
        body.n or 1,
        _WITHOUT_LIMIT if max_tokens is None else max_tokens,
        sampling_of(body, engine.recommended_sampling),
        stop_of(body),
        service,
        _constraint(body, tools, engine),
        _logprobs(body),
    )


def completion_question(
    body: CompletionBody, prompt: str | tuple[int, ...], engine: Engine, service: Service
) -> Question:
    return Question(
        prompt,
        body.n or 1,
        DEFAULT_COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens,
        sampling_of(body, engine.recommended_sampling),
        stop_of(body),
        service,
        logprobs=body.logprobs,
    )


def sampling_of(body: AnswerBody, recommended: SamplingParams) -> SamplingParams:
    """What is not given is as the model's makers recommend."""
    top_p = None if body.top_p is None else max(body.top_p, 1e-6)  # 0 means the likeliest token, as OpenAI reads it
    given: dict[str, Any] = {
        "temperature": body.temperature,
        "top_p": top_p,
        "top_k": body.top_k,
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
    }
    chosen = replace(recommended, **{name: value for name, value in given.items() if value is not None})
    return chosen if body.seed is None else replace(chosen, seed=body.seed % 2**64)


def stop_of(body: AnswerBody) -> tuple[str, ...]:
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def offered_tools(body: ChatBody) -> tuple[Tool, ...]:
    """None if the client wants no calls."""
    return () if body.tool_choice == "none" else tuple(map(_tool, body.tools or ()))


def _tool(body: ToolBody) -> Tool:
    function = body.function
    schema = function.parameters if function.parameters is not None else {"type": "object", "properties": {}}
    return Tool(function.name, function.description or "", json.dumps(schema, ensure_ascii=False))


def _messages(bodies: Sequence[MessageBody]) -> list[Message]:
    names: dict[str, str] = {}
    messages = []
    for body in bodies:
        calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in body.tool_calls or ())
        names |= {call.id: call.name for call in calls}
        call_id = body.tool_call_id or ""
        role = "system" if body.role == "developer" else body.role
        name = (body.name or names.get(call_id, "")) if role == "tool" else ""
        messages.append(Message(role, _content(body.content), calls, call_id, name))
    return messages


def _content(content: str | list[ContentPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type != "text" or part.text is None:
            message = f"a part of type {part.type[:40]!r} is not supported; send parts of type 'text'"
            raise RefusedError(400, message, code="unsupported_content", param="messages")
    return "".join(part.text or "" for part in content)


def _constraint(body: ChatBody, tools: tuple[Tool, ...], engine: Engine) -> Constraint | None:
    choice = body.tool_choice
    wanted = choice.function.name if isinstance(choice, ToolChoiceBody) else choice
    if wanted not in (None, "none", "auto"):
        parallel = body.parallel_tool_calls is not False
        return tool_constraint(tools, wanted, engine.tool_form, parallel=parallel)
    return _format_constraint(body.response_format) if body.response_format is not None else None


def _format_constraint(wanted: ResponseFormatBody) -> Constraint | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Constraint("json_object")
    if wanted.json_schema is None:
        message = "response_format has no json_schema; give {'type': 'json_schema', 'json_schema': {'schema': ...}}"
        raise RefusedError(400, message, code="invalid_value", param="response_format")
    schema = wanted.json_schema.schema
    try:
        text = json.dumps(closed(schema) if wanted.json_schema.strict else schema, ensure_ascii=False)
    except RecursionError:
        message = "the JSON schema has too many levels; use a simpler one"
        raise RefusedError(400, message, code="invalid_value", param="response_format") from None
    return Constraint("json_schema", text)


def _logprobs(body: ChatBody) -> int | None:
    if body.top_logprobs and not body.logprobs:
        raise RefusedError(400, "top_logprobs needs logprobs: true", code="invalid_value", param="top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None
