"""From what an app has (ids, a raw text, a conversation) to the ids of a prompt.

A raw text is the caller's own: special tokens written in it count, and bos is added if the model wants it. A
conversation goes through the chat template, which writes its own bos; the template's special tokens count, but those
that stand in a message's content do not: `<|im_end|>` typed by a user stays text and cannot end the user's turn.
This is done by breaking such a token up with a mark before rendering, and encoding the pieces between marks one by one;
so templates see the content as it is otherwise, and a conversation without special tokens is encoded in one piece,
like everywhere else. Not covered: a template that escapes the content (`tojson`) shows the mark to the model, and the
reasoning tags are left whole because templates cut old reasoning out by them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import SupportsIndex

from pocketseek.errors import UsageError
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.text_stream import opens_reasoning
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Message

Prompt = str | Sequence[int] | Sequence[Message]

_ROLES = ("system", "user", "assistant")
_MARK = "\ufdd0"  # a noncharacter: Unicode promises that it never stands for anything
_TAIL_TOKENS = 16  # more than a reasoning tag has, even spelled letter by letter


def encode_prompt(prompt: Prompt, tokenizer: Tokenizer, template: ChatTemplate) -> tuple[int, ...]:
    """The ids of a prompt. Raises UsageError if it is empty or of no known kind, TemplateError from the template."""
    if isinstance(prompt, str):
        return _not_empty(tokenizer.encode(prompt) if prompt else [])
    parts = list(prompt) if isinstance(prompt, Iterable) and not isinstance(prompt, bytes) else [None]
    messages = [part for part in parts if isinstance(part, Message)]
    ids = [operator.index(part) for part in parts if isinstance(part, SupportsIndex)]
    if len(parts) not in (len(messages), len(ids)):
        raise UsageError("the prompt must be a text, a list of token ids or a list of messages; give one of them")
    return _not_empty(_encode_chat(messages, tokenizer, template) if messages else ids)


def starts_in_reasoning(prompt_ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """True if the prompt ends with the model's opening reasoning tag, as some templates write it for the model."""
    tail = tokenizer.decode(prompt_ids[-_TAIL_TOKENS:], skip_special=False)
    return opens_reasoning(tail, tokenizer.settings.reasoning_start)


def is_chat(prompt: Prompt) -> bool:
    """True for a conversation, whose answer stands alone; an answer to a raw text or to ids continues it."""
    return not isinstance(prompt, str) and any(isinstance(part, Message) for part in prompt)


def _encode_chat(messages: Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate) -> list[int]:
    if not any(message.content.strip() for message in messages):
        raise UsageError("the conversation is empty; give at least one message with text")
    for message in messages:
        if message.role not in _ROLES:
            raise UsageError(f"the role {message.role!r:.40} is unknown; use one of {', '.join(_ROLES)}")
    mark = _unused_mark(messages)
    guarded = [replace(message, content=_break_up(message.content, mark, tokenizer)) for message in messages]
    pieces = template.render(guarded, add_generation_prompt=True).split(mark)
    return [token_id for piece in pieces if piece for token_id in tokenizer.encode(piece, add_special=False)]


def _unused_mark(messages: Sequence[Message]) -> str:
    mark = _MARK
    while any(mark in message.content for message in messages):
        mark += _MARK
    return mark


def _break_up(content: str, mark: str, tokenizer: Tokenizer) -> str:
    """Put the mark behind the first character of every special token in the content."""
    settings = tokenizer.settings
    kept = (settings.reasoning_start, settings.reasoning_end)
    for special in tokenizer.special_tokens:
        if len(special) > 1 and special not in kept and special in content:
            content = content.replace(special, special[0] + mark + special[1:])
    return content


def _not_empty(ids: list[int]) -> tuple[int, ...]:
    if not ids:
        raise UsageError("the prompt is empty; give at least one token of text")
    return tuple(ids)
