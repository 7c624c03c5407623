"""From what an app has (ids, a raw text, a conversation) to the ids of a prompt.

A raw text is the caller's own: special tokens written in it count, and bos is added if the model wants it. A
conversation goes through the chat template, which writes its own bos; the template's special tokens count, but those
that stand in a message's content do not: `<|im_end|>` typed by a user stays text and cannot end the user's turn.
This is done by breaking such a token up with a mark before rendering, and encoding the pieces between marks one by one
(prompt_guard.py); so templates see the content as it is otherwise, and a conversation without special tokens is encoded
in one piece, like everywhere else. Not covered: a template that escapes contents as ASCII shows the mark to the model,
and the reasoning tags are left whole because templates cut old reasoning out by them.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from pocketseek.errors import ContextLengthError, UsageError
from pocketseek.runtime.prompt_guard import PromptGuard
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.text_stream import opens_reasoning
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Message, Tool

MAX_TOOLS = 128

_LONG_PROMPT_BYTES = 64 * 1024

_ROLES = ("system", "user", "assistant", "tool")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAIL_TOKENS = 16  # more than a reasoning tag has, even spelled letter by letter


@dataclass(frozen=True)
class Conversation:
    """Messages, and the tools that the model may call in its answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


Prompt = str | Sequence[int] | Sequence[Message] | Sequence[Mapping[str, str]] | Conversation
"""Mappings are messages as other libraries have them: {"role": "user", "content": "Hello"}."""


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt that need not be encoded again. is_chat: its answer stands alone; else it continues a text."""

    token_ids: tuple[int, ...]
    is_chat: bool
    starts_in_reasoning: bool


def encode_prompt(prompt: Prompt, tokenizer: Tokenizer, template: ChatTemplate) -> tuple[int, ...]:
    """The ids of a prompt. Raises UsageError if it is empty or of no known kind, TemplateError from the template."""
    if isinstance(prompt, str):
        return _not_empty(tokenizer.encode(prompt) if prompt else [])
    if isinstance(prompt, Conversation):
        return _not_empty(_encode_chat(prompt.messages, prompt.tools, tokenizer, template))
    parts = list(prompt) if isinstance(prompt, Iterable) and not isinstance(prompt, bytes) else [None]
    messages = [_message_of(part) for part in parts if isinstance(part, Message | Mapping)]
    ids = [operator.index(part) for part in parts if isinstance(part, SupportsIndex)]
    if len(parts) not in (len(messages), len(ids)):
        raise UsageError("the prompt must be a text, a list of token ids or a list of messages; give one of them")
    return _not_empty(_encode_chat(messages, (), tokenizer, template) if messages else ids)


def check_text_length(prompt: Prompt, tokenizer: Tokenizer, context_length: int) -> None:
    """Encoding takes a second for each megabyte: what cannot fit, twice over, is not encoded to find that out."""
    num_bytes = sum(len(text.encode("utf-8", "replace")) for text in _texts_of(prompt))
    if num_bytes < _LONG_PROMPT_BYTES:
        return
    least_tokens = num_bytes // tokenizer.longest_token_bytes
    if least_tokens > 2 * context_length:  # a tokenizer may leave white space or accents out
        raise ContextLengthError(
            f"the prompt has {num_bytes} bytes, at least {least_tokens} tokens, and the context is {context_length}, "
            "answer included; shorten the prompt or split it"
        )


def _texts_of(prompt: Prompt) -> Iterator[str]:
    if isinstance(prompt, str):
        yield prompt
    elif isinstance(prompt, Conversation):
        yield from (message.content for message in prompt.messages)
    elif isinstance(prompt, Sequence):
        yield from (_message_of(part).content for part in prompt if isinstance(part, Message | Mapping))


def starts_in_reasoning(prompt_ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """True if the prompt ends with the model's opening reasoning tag, as some templates write it for the model."""
    tail = tokenizer.decode(prompt_ids[-_TAIL_TOKENS:], skip_special=False)
    return opens_reasoning(tail, tokenizer.settings.reasoning_start)


def is_chat(prompt: Prompt) -> bool:
    """True for a conversation, whose answer stands alone; an answer to a raw text or to ids continues it."""
    if isinstance(prompt, Conversation):
        return True
    return not isinstance(prompt, str) and any(isinstance(part, Message | Mapping) for part in prompt)


def _message_of(part: Message | Mapping[str, str]) -> Message:
    if isinstance(part, Message):
        return part
    if set(part) != {"role", "content"} or not all(isinstance(text, str) for text in part.values()):
        raise UsageError(
            'a message that is a mapping has a text as "role" and one as "content" and nothing else; '
            "use pocketseek.types.Message for tool calls"
        )
    return Message(part["role"], part["content"])


def _encode_chat(
    messages: Sequence[Message], tools: Sequence[Tool], tokenizer: Tokenizer, template: ChatTemplate
) -> list[int]:
    if not any(message.content.strip() for message in messages):
        raise UsageError("the conversation is empty; give at least one message with text")
    for message in messages:
        if message.role not in _ROLES:
            raise UsageError(f"the role {message.role!r:.40} is unknown; use one of {', '.join(_ROLES)}")
    _check_tools(tools)
    guard = PromptGuard(messages, tools, tokenizer)
    guarded, shown = [guard.message(one) for one in messages], [guard.tool(one) for one in tools]
    text = template.render(guarded, tools=shown) if shown else template.render(guarded)
    return [id_ for piece in text.split(guard.mark) if piece for id_ in tokenizer.encode(piece, add_special=False)]


def _check_tools(tools: Sequence[Tool]) -> None:
    if len(tools) > MAX_TOOLS:
        raise UsageError(f"{len(tools)} tools are offered; offer at most {MAX_TOOLS}")
    names = [tool.name for tool in tools]
    for tool in tools:
        if not _TOOL_NAME.fullmatch(tool.name):
            raise UsageError(
                f"a tool is named {tool.name!r:.40}; use 1 to 64 letters, digits, dots, hyphens or underscores"
            )
        if names.count(tool.name) > 1:
            raise UsageError(f"two tools are named {tool.name}; give each a name of its own")
        try:
            is_object = isinstance(json.loads(tool.parameters_json), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise UsageError(f"the parameters of the tool {tool.name} are no JSON object; give a JSON schema")


def _not_empty(ids: list[int]) -> tuple[int, ...]:
    if not ids:
        raise UsageError("the prompt is empty; give at least one token of text")
    return tuple(ids)
